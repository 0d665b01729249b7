//! Takes leased deliveries, brings each to its next hop, and settles what became of it.
//!
//! One lane is one task with one connection; a next hop has as many lanes as it has work for, up to a bound, and a lane ends when
//! it was idle for some seconds. What is not settled when the process ends keeps its lease until that expires: nothing is lost.

use super::Settings;
use super::deliver::{Connection, deliver};
use crate::config::NextHop;
use crate::queue::{Delivery, Outcome, Queue, QueueError};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// The part of the queue that a worker needs.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// Due deliveries, leased; at most `limit`.
    fn claim(&self, limit: usize) -> impl Future<Output = Result<Vec<Delivery>, QueueError>> + Send;

    /// Records what became of the recipients.
    fn settle(
        &self,
        delivery: &Delivery,
        outcomes: Vec<(i64, Outcome)>,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;
}

impl Ledger for Queue {
    async fn claim(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        Self::claim(self, limit).await
    }

    async fn settle(&self, delivery: &Delivery, outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
        Self::settle(self, delivery, outcomes).await
    }
}

/// How often due deliveries are claimed.
const CLAIM_EVERY: Duration = Duration::from_secs(1);

/// Deliveries in memory at a time; above it nothing is claimed and nothing taken over.
const IN_MEMORY: usize = 1000;

/// How long a connection is kept without work.
const IDLE: Duration = Duration::from_secs(5);

/// How long deliveries under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(30);

/// Settlements of one lane that may be under way.
const SETTLING: usize = 64;

/// Tries to settle one delivery; between them a second, in which a busy database recovers.
const SETTLE_TRIES: u32 = 5;

/// Delivers until `shutdown` says true: what is handed over in memory, and what is due, at the start and every second.
/// Returns when the deliveries under way have ended, at the latest after a grace time.
pub async fn run<L: Ledger>(
    ledger: L,
    mut handoff: mpsc::Receiver<Delivery>,
    settings: Settings,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut worker = Worker::new(ledger, settings, shutdown.clone());
    let mut tick = interval(CLAIM_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = true;
    loop {
        let room = worker.in_memory() < IN_MEMORY;
        tokio::select! {
            biased;
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
            Some(ended) = worker.lanes.join_next() => worker.lane_ended(ended),
            delivery = handoff.recv(), if room && open => match delivery {
                Some(delivery) => worker.dispatch(delivery),
                None => open = false,
            },
            _ = tick.tick(), if room => worker.claim().await,
        }
    }
    drop(handoff);
    worker.drain().await;
}

struct Worker<L> {
    ledger: L,
    settings: Arc<Settings>,
    shutdown: watch::Receiver<bool>,
    hops: HashMap<NextHop, Arc<Hop>>,
    lanes: JoinSet<NextHop>,
    slots: Arc<Semaphore>,
}

/// The work for one next hop.
struct Hop {
    sender: mpsc::UnboundedSender<Delivery>,
    /// Whichever lane has nothing to do waits here.
    receiver: Mutex<mpsc::UnboundedReceiver<Delivery>>,
    /// Deliveries that no lane has taken yet.
    waiting: AtomicUsize,
    /// Deliveries that lanes have taken and not finished.
    working: AtomicUsize,
    /// Lanes with nothing to do.
    idle: AtomicUsize,
    lanes: AtomicUsize,
}

impl<L: Ledger> Worker<L> {
    fn new(ledger: L, settings: Settings, shutdown: watch::Receiver<bool>) -> Self {
        let slots = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        Self { ledger, settings: Arc::new(settings), shutdown, hops: HashMap::new(), lanes: JoinSet::new(), slots }
    }

    fn in_memory(&self) -> usize {
        let held = |hop: &Arc<Hop>| hop.waiting.load(Ordering::Acquire) + hop.working.load(Ordering::Acquire);
        self.hops.values().map(held).sum()
    }

    async fn claim(&mut self) {
        let limit = IN_MEMORY.saturating_sub(self.in_memory());
        match self.ledger.claim(limit).await {
            Ok(due) => due.into_iter().for_each(|delivery| self.dispatch(delivery)),
            Err(error) => tracing::error!(%error, "could not claim due deliveries"),
        }
    }

    fn dispatch(&mut self, delivery: Delivery) {
        let next_hop = delivery.next_hop.clone();
        let hop = Arc::clone(match self.hops.entry(next_hop.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Arc::new(Hop::new())),
        });
        hop.waiting.fetch_add(1, Ordering::AcqRel);
        // The receiver lives in the same value as the sender, so there always is one.
        if hop.sender.send(delivery).is_err() {
            hop.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        self.open_lane(next_hop, &hop);
    }

    /// Another lane where there is more work than lanes that wait for it.
    fn open_lane(&mut self, next_hop: NextHop, hop: &Arc<Hop>) {
        let needed = hop.waiting.load(Ordering::Acquire) > hop.idle.load(Ordering::Acquire);
        if needed && hop.lanes.load(Ordering::Acquire) < self.settings.per_hop.max(1) {
            hop.lanes.fetch_add(1, Ordering::AcqRel);
            let lane = Lane {
                ledger: self.ledger.clone(),
                settings: Arc::clone(&self.settings),
                shutdown: self.shutdown.clone(),
                slots: Arc::clone(&self.slots),
                hop: Arc::clone(hop),
                settling: JoinSet::new(),
            };
            self.lanes.spawn(async move {
                lane.run().await;
                next_hop
            });
        }
    }

    /// Work may have come between a lane's last look and its end: then there is another lane.
    fn lane_ended(&mut self, ended: Result<NextHop, JoinError>) {
        match ended {
            Ok(next_hop) => {
                let Some(hop) = self.hops.get(&next_hop).map(Arc::clone) else { return };
                let lanes = hop.lanes.fetch_sub(1, Ordering::AcqRel);
                if hop.waiting.load(Ordering::Acquire) > 0 {
                    self.open_lane(next_hop, &hop);
                } else if lanes == 1 {
                    self.hops.remove(&next_hop);
                }
            }
            Err(error) if error.is_panic() => tracing::error!(%error, "a delivery broke down"),
            Err(_) => {}
        }
    }

    async fn drain(mut self) {
        let drained = timeout(GRACE, async {
            while let Some(ended) = self.lanes.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a delivery broke down");
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!(lanes = self.lanes.len(), "deliveries cut off while stopping; their leases expire");
        }
        self.lanes.shutdown().await;
    }
}

impl Hop {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            sender,
            receiver: Mutex::new(receiver),
            waiting: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            lanes: AtomicUsize::new(0),
        }
    }
}

struct Lane<L> {
    ledger: L,
    settings: Arc<Settings>,
    shutdown: watch::Receiver<bool>,
    slots: Arc<Semaphore>,
    hop: Arc<Hop>,
    settling: JoinSet<()>,
}

impl<L: Ledger> Lane<L> {
    async fn run(mut self) {
        let mut connection: Option<Connection> = None;
        while let Some(delivery) = self.take().await {
            // Waiting lanes hold no slot, so an idle next hop takes none away from a busy one.
            if let Ok(_slot) = Arc::clone(&self.slots).acquire_owned().await {
                connection = connection.filter(|connection| !connection.is_stale());
                let outcomes = deliver(&delivery, &self.settings, &mut connection).await;
                self.settle(delivery, outcomes).await;
            }
            self.hop.working.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(connection) = connection {
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
            hop.working.fetch_add(1, Ordering::AcqRel);
            hop.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    /// Settles beside the next delivery: a commit takes milliseconds that the connection should not wait for.
    async fn settle(&mut self, delivery: Delivery, outcomes: Vec<(i64, Outcome)>) {
        while self.settling.try_join_next().is_some() {}
        if self.settling.len() >= SETTLING {
            self.settling.join_next().await;
        }
        self.settling.spawn(settle(self.ledger.clone(), delivery, outcomes));
    }
}

async fn settle<L: Ledger>(ledger: L, delivery: Delivery, outcomes: Vec<(i64, Outcome)>) {
    for attempt in 1..=SETTLE_TRIES {
        match ledger.settle(&delivery, outcomes.clone()).await {
            Ok(()) => return,
            Err(error) if attempt < SETTLE_TRIES => {
                tracing::warn!(queue_id = %delivery.queue_id, %error, attempt, "could not settle a delivery");
                sleep(Duration::from_secs(1)).await;
            }
            // The lease expires and the mail may be delivered twice: never lost.
            Err(error) => tracing::error!(queue_id = %delivery.queue_id, %error, "gave up settling a delivery"),
        }
    }
}

#[cfg(test)]
mod tests;
