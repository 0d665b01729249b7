//! One connection to a next hop, and the work it shares with the other lanes.

use super::Ledger;
use super::hop::Hop;
use super::rest::Rests;
use crate::config::NextHop;
use crate::metrics::{Stopwatch, UnderWay};
use crate::outbound::Current;
use crate::outbound::connect::{Connection, TOO_LATE, open};
use crate::outbound::deliver::send;
use crate::outbound::told;
use crate::queue::{Delivery, Outcome, QueueError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a connection is kept without work.
const IDLE: Duration = Duration::from_secs(5);

/// Settlements of one lane that may be under way.
const SETTLING: usize = 64;

/// Pauses between tries to settle grow from the first to the second.
const SETTLE_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// After so long in memory a delivery's lease is looked at again before it is sent.
const DOUBTFUL: Duration = Duration::from_secs(10);

pub(super) struct Lane<L> {
    pub(super) ledger: L,
    pub(super) current: Current,
    pub(super) rests: Arc<Rests>,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) next_hop: NextHop,
    pub(super) hop: Arc<Hop>,
    pub(super) proven: Arc<Notify>,
    pub(super) stalled: Arc<watch::Sender<usize>>,
    pub(super) connection: Option<Connection>,
    pub(super) settling: JoinSet<()>,
}

/// What became of a delivery.
enum Done {
    Settle(Vec<(i64, Outcome)>),
    /// The server stops before it was begun.
    Release,
    /// It is somebody else's by now.
    Forget,
    /// The next hop takes no further connection: for the lanes that have one.
    Back,
}

impl<L: Ledger> Lane<L> {
    pub(super) async fn run(mut self) {
        while let Some(delivery) = self.take().await {
            let (under_way, watch) = (UnderWay::begin(), Stopwatch::start());
            let done = self.deliver(&delivery).await;
            drop(under_way);
            match done {
                Done::Settle(outcomes) => {
                    told::ended(&delivery, &outcomes, (self.current)().names, Some(watch.passed()));
                    self.settle(delivery, outcomes).await;
                }
                Done::Release => release(&mut self.settling, &self.ledger, delivery),
                Done::Forget => {
                    tracing::warn!(queue_id = %delivery.queue_id, "the lease was lost while waiting; not sent here");
                }
                Done::Back => {
                    self.hop.push(delivery);
                    self.pause().await;
                }
            }
        }
        if *self.shutdown.borrow() {
            for delivery in self.hop.take_all() {
                release(&mut self.settling, &self.ledger, delivery);
            }
        }
        if let Some(connection) = self.disconnect() {
            connection.quit().await;
        }
        // One that can't be settled, because of damage in its rows, must not keep a place of the next hop's for ever.
        let mut settling = self.settling;
        let settled = async { while settling.join_next().await.is_some() {} };
        if timeout(SETTLE_PAUSE.1 * 2, settled).await.is_err() {
            settling.detach_all();
        }
    }

    /// The next delivery; `None` after some idle seconds, or when the server stops.
    async fn take(&mut self) -> Option<Delivery> {
        let hop = &self.hop;
        hop.idle.fetch_add(1, Ordering::AcqRel);
        let taken = tokio::select! {
            biased;
            () = async { drop(self.shutdown.wait_for(|stop| *stop).await) } => None,
            taken = timeout(IDLE, hop.next()) => taken.ok().flatten(),
        };
        hop.idle.fetch_sub(1, Ordering::AcqRel);
        taken
    }

    async fn deliver(&mut self, delivery: &Delivery) -> Done {
        if *self.stalled.borrow() > 0 {
            // What can't be settled must not be begun.
            let mut stalled = self.stalled.subscribe();
            tokio::select! {
                biased;
                () = async { drop(self.shutdown.wait_for(|stop| *stop).await) } => return Done::Release,
                _ = stalled.wait_for(|count| *count == 0) => {}
            }
        }
        // A next hop that hangs must not keep it past its expiry.
        let until = Instant::now().checked_add(self.ledger.time_left(delivery));
        loop {
            if until.is_some_and(|until| until <= Instant::now()) {
                return Done::Settle(everybody(delivery, &too_late()));
            }
            let surroundings = (self.current)();
            if let Some(connection) = &mut self.connection
                && (!connection.is_of(&surroundings) || connection.is_stale().await)
                && let Some(connection) = self.disconnect()
            {
                tokio::spawn(connection.quit());
            }
            if self.connection.is_none() {
                let opened = tokio::select! {
                    biased;
                    () = async { drop(self.shutdown.wait_for(|stop| *stop).await) } => return Done::Release,
                    () = passed(until) => return Done::Settle(everybody(delivery, &too_late())),
                    opened = open(&self.next_hop, &surroundings) => opened,
                };
                match opened {
                    Ok(connection) => self.connected(connection),
                    Err(_) if self.hop.connected.load(Ordering::Acquire) > 0 => {
                        self.hop.shrink();
                        return Done::Back;
                    }
                    Err(why) => {
                        self.unreachable(&why).await;
                        return Done::Settle(everybody(delivery, &why));
                    }
                }
            }
            if !self.ledger.can_settle() {
                drop(self.shutdown.wait_for(|stop| *stop).await);
                return Done::Release;
            }
            // Without an answer it is sent: the settlement looks at the lease again.
            if delivery.hold.age() > DOUBTFUL && matches!(self.ledger.stands(delivery).await, Ok(false)) {
                return Done::Forget;
            }
            let outcomes = send(delivery, &mut self.connection, until).await;
            match &self.connection {
                // A dialogue to its end: the next hop bears one more at a time.
                Some(_) if self.hop.widen(surroundings.per_hop) => self.proven.notify_one(),
                Some(_) => {}
                None => {
                    self.hop.connected.fetch_sub(1, Ordering::AcqRel);
                }
            }
            if let Some(outcomes) = outcomes {
                return Done::Settle(outcomes);
            }
        }
    }

    fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.hop.connected.fetch_add(1, Ordering::AcqRel);
        self.rests.end(&self.next_hop);
        if !self.hop.proven.swap(true, Ordering::AcqRel) {
            self.ledger.set_proven(&self.next_hop, true);
            self.proven.notify_one();
        }
    }

    fn disconnect(&mut self) -> Option<Connection> {
        let connection = self.connection.take();
        if connection.is_some() {
            self.hop.connected.fetch_sub(1, Ordering::AcqRel);
        }
        connection
    }

    /// Before another connection is tried. The lane counts meanwhile, so that none is opened in its place.
    async fn pause(&mut self) {
        let stopping = async { drop(self.shutdown.wait_for(|stop| *stop).await) };
        if timeout(IDLE, stopping).await.is_err() {
            tracing::debug!(next_hop = %self.next_hop, "the next hop took no further connection");
        }
    }

    /// No other connection is open either: what waits for this next hop would fare no better, and is deferred with the
    /// same words, not one by one after as many timeouts.
    async fn unreachable(&mut self, why: &Outcome) {
        if self.hop.proven.swap(false, Ordering::AcqRel) {
            self.ledger.set_proven(&self.next_hop, false);
        }
        self.hop.begin_anew();
        self.rests.begin(&self.next_hop, why, Instant::now());
        for delivery in self.hop.take_all() {
            let outcomes = everybody(&delivery, why);
            told::ended(&delivery, &outcomes, (self.current)().names, None);
            self.settle(delivery, outcomes).await;
        }
    }

    /// Settles beside the next delivery: a commit takes milliseconds that the connection should not wait for.
    async fn settle(&mut self, delivery: Delivery, outcomes: Vec<(i64, Outcome)>) {
        while self.settling.try_join_next().is_some() {}
        if self.settling.len() >= SETTLING {
            self.settling.join_next().await;
        }
        self.settling.spawn(settle(self.ledger.clone(), delivery, outcomes, Arc::clone(&self.stalled)));
    }
}

pub(super) fn everybody(delivery: &Delivery, outcome: &Outcome) -> Vec<(i64, Outcome)> {
    delivery.recipients.iter().map(|recipient| (recipient.id, outcome.clone())).collect()
}

/// Never, where there is no such time.
async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// What is said of mail that expires before a next hop has taken it. The last reply, if there was one, says more.
pub(super) fn too_late() -> Outcome {
    Outcome::Deferred { status: "4.4.7".to_owned(), diagnostic: TOO_LATE.to_owned() }
}

/// Gives a lease back; the next start would do it too.
pub(super) fn release<L: Ledger>(tasks: &mut JoinSet<()>, ledger: &L, delivery: Delivery) {
    let ledger = ledger.clone();
    tasks.spawn(async move {
        if let Err(error) = ledger.release(&delivery).await {
            tracing::warn!(queue_id = %delivery.queue_id, %error, "could not give a lease back");
        }
    });
}

/// Counts as stalled while it lives.
struct Stall(Arc<watch::Sender<usize>>);

impl Stall {
    fn new(stalled: &Arc<watch::Sender<usize>>) -> Self {
        stalled.send_modify(|count| *count += 1);
        Self(Arc::clone(stalled))
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Keeps the outcome until it is on disk: forgotten, the mail would be delivered twice.
pub(super) async fn settle<L: Ledger>(
    ledger: L,
    delivery: Delivery,
    outcomes: Vec<(i64, Outcome)>,
    stalled: Arc<watch::Sender<usize>>,
) {
    let mut pause = SETTLE_PAUSE.0;
    let mut stall = None;
    loop {
        match ledger.settle(&delivery, outcomes.clone()).await {
            Ok(()) => return,
            Err(error @ QueueError::LeaseLost(_)) => {
                tracing::warn!(queue_id = %delivery.queue_id, %error, "a delivery was settled by somebody else");
                return;
            }
            Err(error) => {
                tracing::error!(queue_id = %delivery.queue_id, %error, "could not settle a delivery; tried again");
                // Trouble with this mail alone must not stop the others.
                stall = error.is_temporary().then(|| stall.take().unwrap_or_else(|| Stall::new(&stalled)));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(SETTLE_PAUSE.1);
    }
}
