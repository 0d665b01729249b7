//! Mail comes in: listeners and their sessions.
//!
//! Drives [`crate::smtp::server`] over sockets and hands complete messages to [`crate::pipeline`]. Decides nothing about
//! a message itself. Nothing here waits for memory or for a free place: what can't be had now is answered with 4yz.

pub mod listener;
pub mod reception;
pub mod session;

use crate::limits::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all sessions of all listeners share: places and octets. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub struct Admission {
    memory: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Admission {
    /// `limits.memory` octets and `limits.connections` places.
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory: Arc::new(AtomicUsize::new(limits.memory)),
            connections: Arc::new(AtomicUsize::new(limits.connections)),
        }
    }

    /// A place for one connection, if there is one.
    pub fn enter(&self) -> Option<Reservation> {
        let mut place = Reservation { from: Arc::clone(&self.connections), held: 0 };
        place.more(1).then_some(place)
    }

    /// An empty reservation of memory, to grow.
    pub fn memory(&self) -> Reservation {
        Reservation { from: Arc::clone(&self.memory), held: 0 }
    }
}

/// A share of something that there is only so much of; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    from: Arc<AtomicUsize>,
    held: usize,
}

impl Reservation {
    /// Takes `amount` more; false, and nothing taken, if there is not so much left.
    pub fn more(&mut self, amount: usize) -> bool {
        let taken =
            self.from.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(amount)).is_ok();
        if taken {
            self.held += amount;
        }
        taken
    }

    /// Gives everything back.
    pub fn release(&mut self) {
        self.from.fetch_add(std::mem::take(&mut self.held), Ordering::AcqRel);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}
