//! Takes leased deliveries, brings each to its next hop, and settles what became of it.
//!
//! One lane is one task with one connection. A next hop begins with two lanes; once it has greeted it gets one more for
//! each mail that it has dealt with, up to a bound and never more than it leaves free: next hops that hang can't take the
//! lanes of the others. Within a next hop senders take turns. One that can't be reached rests for a while, and what comes for it
//! meanwhile is deferred without a try.
//! What became of a delivery is kept until it is settled, and while the store can't settle nothing new is begun. What was
//! not begun when the server stops is given back; what is not settled when the process dies is delivered again: nothing
//! is lost.

mod hop;
mod lane;
mod rest;

use super::{Current, told};
use crate::config::NextHop;
use crate::queue::{Delivery, Outcome, Queue, QueueError};
use hop::Hop;
use lane::Lane;
use rest::Rests;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The part of the queue that a worker needs.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// Due deliveries, leased; at most `limit`, and what memory has room for.
    fn claim(&self, limit: usize) -> impl Future<Output = Result<Vec<Delivery>, QueueError>> + Send;

    /// Records what became of the recipients.
    fn settle(
        &self,
        delivery: &Delivery,
        outcomes: Vec<(i64, Outcome)>,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Gives a lease back without a try.
    fn release(&self, delivery: &Delivery) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Whether the lease is still this delivery's.
    fn stands(&self, delivery: &Delivery) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// Whether outcomes can be settled at all before the next start: without that nothing may be begun.
    fn can_settle(&self) -> bool {
        true
    }

    /// How long until this mail is given up.
    fn time_left(&self, _delivery: &Delivery) -> Duration {
        Duration::MAX
    }

    /// Takes note whether a next hop has greeted lately.
    fn set_proven(&self, next_hop: &NextHop, proven: bool);
}

impl Ledger for Queue {
    async fn claim(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        Self::claim(self, limit).await
    }

    async fn settle(&self, delivery: &Delivery, outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
        Self::settle(self, delivery, outcomes).await
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), QueueError> {
        Self::release(self, delivery).await
    }

    async fn stands(&self, delivery: &Delivery) -> Result<bool, QueueError> {
        Self::stands(self, delivery).await
    }

    fn can_settle(&self) -> bool {
        Self::can_settle(self)
    }

    fn time_left(&self, delivery: &Delivery) -> Duration {
        Self::time_left(self, delivery)
    }

    fn set_proven(&self, next_hop: &NextHop, proven: bool) {
        Self::set_proven(self, next_hop, proven);
    }
}

/// How often due deliveries are claimed.
const CLAIM_EVERY: Duration = Duration::from_secs(1);

/// Recipients of one claim. How much is in memory at a time is the queue's affair.
const CLAIM: usize = 1000;

/// Lanes of a next hop that has not greeted yet, and lanes that each may have however many the others have.
const FIRST_LANES: usize = 2;

/// Lanes in all, each with a socket: a process may often open no more than 1024 files. More next hops wait for their turn.
const MOST_LANES: usize = 500;

/// How long deliveries under way may take when the server stops; less than the server waits for its parts.
const GRACE: Duration = Duration::from_secs(10);

/// Delivers until `shutdown` says true: what is handed over in memory, and what is due, at the start and every second.
/// Returns when the deliveries under way have ended, at the latest after a grace time; what was not begun is given back.
pub async fn run<L: Ledger>(
    ledger: L,
    mut handoff: mpsc::Receiver<Delivery>,
    current: Current,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut worker = Worker::new(ledger, current, shutdown.clone());
    let proven = Arc::clone(&worker.proven);
    let mut tick = interval(CLAIM_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
            Some(ended) = worker.lanes.join_next() => worker.lane_ended(ended),
            () = proven.notified() => worker.grow(),
            delivery = handoff.recv(), if open => match delivery {
                Some(delivery) => worker.dispatch(delivery),
                None => open = false,
            },
            _ = tick.tick() => worker.claim().await,
        }
    }
    handoff.close();
    worker.drain(handoff).await;
}

struct Worker<L> {
    ledger: L,
    current: Current,
    shutdown: watch::Receiver<bool>,
    hops: HashMap<NextHop, Arc<Hop>>,
    lanes: JoinSet<NextHop>,
    /// A next hop has greeted: it may have more lanes.
    proven: Arc<Notify>,
    /// Settlements that the store refuses at present.
    stalled: Arc<watch::Sender<usize>>,
    rests: Arc<Rests>,
    /// Of deliveries whose next hop rests.
    settling: JoinSet<()>,
}

impl<L: Ledger> Worker<L> {
    fn new(ledger: L, current: Current, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            ledger,
            current,
            shutdown,
            hops: HashMap::new(),
            lanes: JoinSet::new(),
            proven: Arc::new(Notify::new()),
            stalled: Arc::new(watch::Sender::new(0)),
            rests: Arc::default(),
            settling: JoinSet::new(),
        }
    }

    async fn claim(&mut self) {
        self.grow();
        while self.settling.try_join_next().is_some() {}
        if !self.ledger.can_settle() {
            return;
        }
        self.give_up();
        if *self.stalled.borrow() > 0 {
            return;
        }
        match self.ledger.claim(CLAIM).await {
            Ok(due) => due.into_iter().for_each(|delivery| self.dispatch(delivery)),
            Err(error) => tracing::error!(%error, "could not claim due deliveries"),
        }
    }

    /// What has expired while it waited for a lane: a next hop that hangs must not keep it.
    fn give_up(&mut self) {
        for hop in self.hops.values() {
            for delivery in hop.take_if(|delivery| self.ledger.time_left(delivery).is_zero()) {
                let outcomes = lane::everybody(&delivery, &lane::too_late());
                told::ended(&delivery, &outcomes, (self.current)().names, None);
                self.settling.spawn(lane::settle(self.ledger.clone(), delivery, outcomes, Arc::clone(&self.stalled)));
            }
        }
    }

    fn dispatch(&mut self, delivery: Delivery) {
        let next_hop = delivery.next_hop.clone();
        if let Some(why) = self.rests.why(&next_hop, Instant::now()) {
            let outcomes = lane::everybody(&delivery, &why);
            told::ended(&delivery, &outcomes, (self.current)().names, None);
            self.settling.spawn(lane::settle(self.ledger.clone(), delivery, outcomes, Arc::clone(&self.stalled)));
            return;
        }
        let hop = Arc::clone(match self.hops.entry(next_hop.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Arc::new(Hop::new())),
        });
        hop.push(delivery);
        self.open_lane(next_hop, &hop);
    }

    /// Lanes for what waits: a next hop has greeted, or another one has ended its lanes.
    fn grow(&mut self) {
        let waiting: Vec<_> = self.hops.iter().map(|(next_hop, hop)| (next_hop.clone(), Arc::clone(hop))).collect();
        for (next_hop, hop) in waiting {
            for _ in 0..hop.waiting.load(Ordering::Acquire) {
                if !self.open_lane(next_hop.clone(), &hop) {
                    break;
                }
            }
        }
    }

    /// Another lane where there is more work than lanes that wait for it; whether there is one.
    fn open_lane(&mut self, next_hop: NextHop, hop: &Arc<Hop>) -> bool {
        let needed = hop.waiting.load(Ordering::Acquire) > hop.idle.load(Ordering::Acquire);
        let lanes = hop.lanes.load(Ordering::Acquire);
        let surroundings = (self.current)();
        let free = surroundings.concurrency.saturating_sub(self.lanes.len());
        let most = if hop.proven.load(Ordering::Acquire) { free.max(FIRST_LANES) } else { FIRST_LANES };
        if !needed || self.lanes.len() >= MOST_LANES || lanes >= most.min(hop.window()).min(surroundings.per_hop.max(1))
        {
            return false;
        }
        hop.lanes.fetch_add(1, Ordering::AcqRel);
        let lane = Lane {
            ledger: self.ledger.clone(),
            current: Arc::clone(&self.current),
            rests: Arc::clone(&self.rests),
            shutdown: self.shutdown.clone(),
            next_hop: next_hop.clone(),
            hop: Arc::clone(hop),
            proven: Arc::clone(&self.proven),
            stalled: Arc::clone(&self.stalled),
            connection: None,
            settling: JoinSet::new(),
        };
        self.lanes.spawn(async move {
            lane.run().await;
            next_hop
        });
        true
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
                    self.ledger.set_proven(&next_hop, false);
                    self.hops.remove(&next_hop);
                }
            }
            Err(error) if error.is_panic() => tracing::error!(%error, "a delivery broke down"),
            Err(_) => {}
        }
    }

    async fn drain(mut self, mut handoff: mpsc::Receiver<Delivery>) {
        let mut releasing = JoinSet::new();
        let drained = timeout(GRACE, async {
            // Ends when the last commit that had reserved a place has filled it.
            while let Some(delivery) = handoff.recv().await {
                lane::release(&mut releasing, &self.ledger, delivery);
            }
            for hop in self.hops.values() {
                for delivery in hop.take_all() {
                    lane::release(&mut releasing, &self.ledger, delivery);
                }
            }
            while releasing.join_next().await.is_some() {}
            while let Some(ended) = self.lanes.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a delivery broke down");
                }
            }
            while self.settling.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!(lanes = self.lanes.len(), "deliveries cut off while stopping; the next start takes them up");
        }
        self.lanes.shutdown().await;
        self.settling.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
