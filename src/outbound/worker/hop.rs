//! The work that waits for one next hop: senders take turns.

use crate::mail::Address;
use crate::queue::Delivery;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Lanes that a next hop begins with.
const FIRST: usize = super::FIRST_LANES;

/// The work for one next hop, and how it bears it.
pub(super) struct Hop {
    lines: Mutex<Lines>,
    /// One for each delivery in the lines: whichever lane has nothing to do waits for it.
    ready: Semaphore,
    /// Deliveries that no lane has taken yet.
    pub(super) waiting: AtomicUsize,
    /// Lanes with nothing to do.
    pub(super) idle: AtomicUsize,
    pub(super) lanes: AtomicUsize,
    /// Open connections that have greeted.
    pub(super) connected: AtomicUsize,
    /// Has greeted, and not failed to since.
    pub(super) proven: AtomicBool,
    /// Lanes that it may have: one more after each mail, half as many when it takes no further connection.
    window: AtomicUsize,
}

/// A line for each sender, and whose turn it is.
#[derive(Default)]
struct Lines {
    of: HashMap<String, VecDeque<Delivery>>,
    turns: VecDeque<String>,
}

impl Lines {
    fn push(&mut self, delivery: Delivery) {
        let sender = delivery.reverse_path.mailbox().map(Address::mailbox_key).unwrap_or_default();
        let line = self.of.entry(sender.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(sender);
        }
        line.push_back(delivery);
    }

    /// The first that is meant, whoever's turn it is.
    fn remove(&mut self, is_meant: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        let found = self.of.iter().find_map(|(sender, line)| Some((sender.clone(), line.iter().position(&is_meant)?)));
        let (sender, place) = found?;
        let line = self.of.get_mut(&sender)?;
        let delivery = line.remove(place);
        if line.is_empty() {
            self.of.remove(&sender);
            self.turns.retain(|one| *one != sender);
        }
        delivery
    }

    fn pop(&mut self) -> Option<Delivery> {
        let sender = self.turns.pop_front()?;
        let line = self.of.get_mut(&sender)?;
        let delivery = line.pop_front();
        if line.is_empty() {
            self.of.remove(&sender);
        } else {
            self.turns.push_back(sender);
        }
        delivery
    }
}

impl Hop {
    pub(super) fn new() -> Self {
        Self {
            lines: Mutex::default(),
            ready: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            lanes: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            proven: AtomicBool::new(false),
            window: AtomicUsize::new(FIRST),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, delivery: Delivery) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.lines().push(delivery);
        self.ready.add_permits(1);
    }

    /// The next delivery, as soon as there is one. Nothing is lost if the wait is given up.
    pub(super) async fn next(&self) -> Option<Delivery> {
        self.ready.acquire().await.ok()?.forget();
        self.take()
    }

    fn take(&self) -> Option<Delivery> {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.lines().pop()
    }

    /// Everything that no lane has taken.
    pub(super) fn take_all(&self) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while let Ok(permit) = self.ready.try_acquire() {
            permit.forget();
            taken.extend(self.take());
        }
        taken
    }

    /// Those that no lane has taken and that are meant.
    pub(super) fn take_if(&self, is_meant: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let mut taken = Vec::new();
        // With a permit one of them is ours, whoever takes others meanwhile.
        while let Ok(permit) = self.ready.try_acquire() {
            let Some(delivery) = self.lines().remove(&is_meant) else { break };
            permit.forget();
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            taken.push(delivery);
        }
        taken
    }

    /// How many lanes it may have.
    pub(super) fn window(&self) -> usize {
        self.window.load(Ordering::Acquire)
    }

    /// It has dealt with a mail: one lane more, at most so many; whether that helps.
    pub(super) fn widen(&self, most: usize) -> bool {
        let wider = |window: usize| (window < most).then_some(window + 1);
        self.window.fetch_update(Ordering::AcqRel, Ordering::Acquire, wider).is_ok()
            && self.waiting.load(Ordering::Acquire) > 0
    }

    /// It takes no further connection.
    pub(super) fn shrink(&self) {
        let narrower = |window: usize| Some((window / 2).max(1));
        self.window.fetch_update(Ordering::AcqRel, Ordering::Acquire, narrower).ok();
    }

    /// It can't be reached at all.
    pub(super) fn begin_anew(&self) {
        self.window.store(FIRST, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::Hop;
    use crate::config::{DeliverTls, NextHop};
    use crate::mail::{Address, ReversePath};
    use crate::outbound::deliver::tests::delivery;
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn c21_senders_take_turns() {
        let next_hop = NextHop::server("127.0.0.1", 1, DeliverTls::May);
        let hop = Hop::new();
        for (id, sender) in (1..).zip(["bulk", "bulk", "bulk", "siti", "", "bulk", "Siti", "budi"]) {
            let mut one = delivery(&next_hop, id, &["u@b.example"]);
            one.reverse_path = match sender {
                "" => ReversePath::Null,
                name => ReversePath::Mailbox(Address::parse(&format!("{name}@own.example")).unwrap()),
            };
            hop.push(one);
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            order.push(hop.next().await.unwrap().record);
        }
        assert_eq!(order, [1, 4, 5, 8, 2, 7]);
        assert_eq!(hop.take_all().iter().map(|one| one.record).collect::<Vec<_>>(), [3, 6]);
        assert!(hop.take_all().is_empty() && hop.lines().of.is_empty());
        for (id, sender) in [(1, "siti"), (2, "budi"), (3, "siti")] {
            let mut one = delivery(&next_hop, id, &["u@b.example"]);
            one.reverse_path = ReversePath::Mailbox(Address::parse(&format!("{sender}@own.example")).unwrap());
            hop.push(one);
        }
        let taken: Vec<i64> = hop.take_if(|one| one.record != 1).iter().map(|one| one.record).collect();
        assert_eq!((taken.len(), hop.waiting.load(Ordering::Acquire)), (2, 1), "{taken:?}");
        assert_eq!(hop.next().await.unwrap().record, 1);
        assert!(hop.take_if(|_| true).is_empty() && hop.lines().of.is_empty() && hop.lines().turns.is_empty());
    }

    #[test]
    fn c21_the_window_grows_and_shrinks() {
        let hop = Hop::new();
        assert_eq!(hop.window(), 2);
        for _ in 0..30 {
            hop.widen(20);
        }
        assert_eq!(hop.window(), 20);
        hop.shrink();
        assert_eq!(hop.window(), 10);
        hop.begin_anew();
        assert_eq!(hop.window(), 2);
    }
}
