//! One connection to a next hop, and the work it shares with the other lanes.

use super::Ledger;
use crate::config::NextHop;
use crate::outbound::Surroundings;
use crate::outbound::deliver::{Connection, open, send};
use crate::queue::{Delivery, Outcome, QueueError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a connection is kept without work.
const IDLE: Duration = Duration::from_secs(5);

/// Settlements of one lane that may be under way.
const SETTLING: usize = 64;

/// Pauses between tries to settle grow from the first to the second.
const SETTLE_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// After so long in memory a delivery's lease is looked at again before it is sent.
const DOUBTFUL: Duration = Duration::from_secs(10);

/// The work for one next hop.
pub(super) struct Hop {
    sender: mpsc::UnboundedSender<Delivery>,
    /// Whichever lane has nothing to do waits here.
    receiver: Mutex<mpsc::UnboundedReceiver<Delivery>>,
    /// Deliveries that no lane has taken yet.
    pub(super) waiting: AtomicUsize,
    /// Lanes with nothing to do.
    pub(super) idle: AtomicUsize,
    pub(super) lanes: AtomicUsize,
    /// Open connections that have greeted.
    connected: AtomicUsize,
    /// Has greeted, and not failed to since.
    pub(super) proven: AtomicBool,
}

impl Hop {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            sender,
            receiver: Mutex::new(receiver),
            waiting: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            lanes: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            proven: AtomicBool::new(false),
        }
    }

    pub(super) fn push(&self, delivery: Delivery) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        // The receiver lives in the same value as the sender, so there always is one.
        if self.sender.send(delivery).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Everything that no lane has taken. Nothing if a lane waits for work: then there is none, or it takes it.
    pub(super) fn take_all(&self) -> Vec<Delivery> {
        let Ok(mut receiver) = self.receiver.try_lock() else { return Vec::new() };
        let taken: Vec<Delivery> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        self.waiting.fetch_sub(taken.len(), Ordering::AcqRel);
        taken
    }
}

pub(super) struct Lane<L> {
    pub(super) ledger: L,
    pub(super) settings: Arc<Surroundings>,
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
            match self.deliver(&delivery).await {
                Done::Settle(outcomes) => self.settle(delivery, outcomes).await,
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
        while self.settling.join_next().await.is_some() {}
    }

    /// The next delivery; `None` after some idle seconds, or when the server stops.
    async fn take(&mut self) -> Option<Delivery> {
        let hop = &self.hop;
        hop.idle.fetch_add(1, Ordering::AcqRel);
        let next = async { hop.receiver.lock().await.recv().await };
        let taken = tokio::select! {
            biased;
            () = async { drop(self.shutdown.wait_for(|stop| *stop).await) } => None,
            taken = timeout(IDLE, next) => taken.ok().flatten(),
        };
        hop.idle.fetch_sub(1, Ordering::AcqRel);
        if taken.is_some() {
            hop.waiting.fetch_sub(1, Ordering::AcqRel);
        }
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
        loop {
            if self.connection.as_ref().is_some_and(Connection::is_stale) {
                self.disconnect();
            }
            if self.connection.is_none() {
                let opened = tokio::select! {
                    biased;
                    () = async { drop(self.shutdown.wait_for(|stop| *stop).await) } => return Done::Release,
                    opened = open(&self.next_hop, &self.settings) => opened,
                };
                match opened {
                    Ok(connection) => self.connected(connection),
                    Err(_) if self.hop.connected.load(Ordering::Acquire) > 0 => return Done::Back,
                    Err(why) => {
                        self.unreachable(&why).await;
                        return Done::Settle(everybody(delivery, &why));
                    }
                }
            }
            // Without an answer it is sent: the settlement looks at the lease again.
            if delivery.hold.age() > DOUBTFUL && matches!(self.ledger.stands(delivery).await, Ok(false)) {
                return Done::Forget;
            }
            let outcomes = send(delivery, &mut self.connection).await;
            if self.connection.is_none() {
                self.hop.connected.fetch_sub(1, Ordering::AcqRel);
            }
            if let Some(outcomes) = outcomes {
                return Done::Settle(outcomes);
            }
        }
    }

    fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.hop.connected.fetch_add(1, Ordering::AcqRel);
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
        for delivery in self.hop.take_all() {
            let outcomes = everybody(&delivery, why);
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

fn everybody(delivery: &Delivery, outcome: &Outcome) -> Vec<(i64, Outcome)> {
    delivery.recipients.iter().map(|recipient| (recipient.id, outcome.clone())).collect()
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
async fn settle<L: Ledger>(
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
