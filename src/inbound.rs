//! Mail comes in: listeners and their sessions.
//!
//! Drives [`crate::smtp::server`] over sockets and hands complete messages to [`crate::pipeline`]. Decides nothing about
//! a message itself. Nothing here waits for memory or for a free place: what can't be had now is answered with 4yz.

pub mod call_ahead;
pub mod listener;
mod login;
pub mod rates;
pub mod reception;
pub mod session;
mod space;
mod wire;

pub use space::free_space;

use crate::limits::Limits;
use crate::policy::Side;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all sessions of all listeners share: places, octets, counters and what was learned. Cloning gives another handle on
/// the same, and a reload changes none of it.
///
/// The outside may take four fifths of both, so that strangers who hold all they can get never keep the inside from
/// sending (S65).
#[derive(Clone, Debug)]
pub struct Admission {
    memory: Counters,
    connections: Counters,
    /// What clients, senders and logins have done.
    pub rates: rates::Counts,
    /// Which recipients exist.
    pub call_ahead: call_ahead::CallAhead,
    logins: login::Checks,
    space: space::Space,
}

/// What is free: for everybody, and of that for the outside.
#[derive(Clone, Debug)]
struct Counters {
    all: Arc<AtomicUsize>,
    outside: Arc<AtomicUsize>,
    size: usize,
}

impl Counters {
    fn new(all: usize) -> Self {
        Self { all: Arc::new(AtomicUsize::new(all)), outside: Arc::new(AtomicUsize::new(all - all / 5)), size: all }
    }

    fn reservation(&self, side: Side) -> Reservation {
        let from = match side {
            Side::Inside => vec![Arc::clone(&self.all)],
            Side::Outside => vec![Arc::clone(&self.outside), Arc::clone(&self.all)],
        };
        Reservation { from, held: 0 }
    }
}

impl Admission {
    /// `limits.memory` octets and `limits.connections` places.
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory: Counters::new(limits.memory),
            connections: Counters::new(limits.connections),
            rates: rates::Counts::default(),
            call_ahead: call_ahead::CallAhead::default(),
            logins: login::Checks::default(),
            space: space::Space::default(),
        }
    }

    /// A place for one connection, if there is one.
    pub fn enter(&self, side: Side) -> Option<Reservation> {
        let mut place = self.connections.reservation(side);
        place.more(1).then_some(place)
    }

    /// Octets of memory that sessions hold.
    pub fn memory_held(&self) -> usize {
        self.memory.size.saturating_sub(self.memory.all.load(Ordering::Acquire))
    }

    /// An empty reservation of memory, to grow.
    pub fn memory(&self, side: Side) -> Reservation {
        self.memory.reservation(side)
    }
}

/// A share of something that there is only so much of; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    from: Vec<Arc<AtomicUsize>>,
    held: usize,
}

impl Reservation {
    /// Takes `amount` more; false, and nothing taken, if there is not so much left.
    pub fn more(&mut self, amount: usize) -> bool {
        let take = |from: &AtomicUsize| {
            from.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(amount)).is_ok()
        };
        for (taken, from) in self.from.iter().enumerate() {
            if !take(from) {
                for from in self.from.iter().take(taken) {
                    from.fetch_add(amount, Ordering::AcqRel);
                }
                return false;
            }
        }
        self.held += amount;
        true
    }

    /// Gives everything back.
    pub fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        for from in &self.from {
            from.fetch_add(held, Ordering::AcqRel);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}
