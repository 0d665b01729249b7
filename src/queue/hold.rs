//! What this process holds in memory of the queue: which leases, and how much of it for which next hop.
//!
//! Two promises rest on it. A lease whose deliveries are still held here is never given out again by this process,
//! whatever the clock says. And memory is bounded, for each next hop and in all: one that hangs can neither fill the
//! memory nor take the places of the others. Never waits: who finds no room leaves the mail in the store.

use crate::config::NextHop;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Deliveries in memory. Eight times what is under way at 50 lanes is enough to never wait for a claim; the rest is for
/// next hops that hang.
const DELIVERIES: usize = 2000;
/// Deliveries for a next hop that has not greeted lately: enough to find out, and to defer when it does not.
const UNPROVEN: usize = 100;
/// Deliveries that every next hop may have, however many others hang.
const ALWAYS: usize = 10;
/// Octets of content in memory, unless [`Holds::limit_octets`] says more: two of the largest mails, signed and encoded.
const OCTETS: usize = 64 << 20;

/// The account of what is held.
#[derive(Debug)]
pub(super) struct Holds(Mutex<State>);

#[derive(Debug)]
struct State {
    tokens: HashSet<[u8; 16]>,
    hops: HashMap<NextHop, Hop>,
    deliveries: usize,
    octets: usize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Hop {
    deliveries: usize,
    octets: usize,
    proven: bool,
}

impl Hop {
    /// What one may hold is bounded by what all leave free: so there is always room for one more next hop.
    fn has_room(&self, octets: usize, state: &State) -> bool {
        let most = if self.proven { DELIVERIES } else { UNPROVEN };
        let most = most.min(DELIVERIES.saturating_sub(state.deliveries)).max(ALWAYS);
        let free = state.limit.saturating_sub(state.octets);
        // A mail that is larger than the budget must go out too: then alone.
        let fits = self.deliveries == 0 || (octets <= free && self.octets.saturating_add(octets) <= free.max(octets));
        self.deliveries < most && fits
    }
}

impl Holds {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            tokens: HashSet::new(),
            hops: HashMap::new(),
            deliveries: 0,
            octets: 0,
            limit: OCTETS,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At least the default.
    pub(super) fn limit_octets(&self, octets: usize) {
        self.state().limit = octets.max(OCTETS);
    }

    /// From before the lease is written until the last clone is dropped.
    pub(super) fn token(self: &Arc<Self>, token: [u8; 16]) -> Arc<Token> {
        self.state().tokens.insert(token);
        Arc::new(Token { holds: Arc::clone(self), token })
    }

    /// Room for one delivery; `None` if there is none now.
    pub(super) fn take(self: &Arc<Self>, next_hop: &NextHop, octets: usize) -> Option<Room> {
        let mut state = self.state();
        let room = match state.hops.get(next_hop) {
            Some(hop) => hop.has_room(octets, &state),
            None => Hop::default().has_room(octets, &state),
        };
        if !room {
            return None;
        }
        state.deliveries += 1;
        state.octets = state.octets.saturating_add(octets);
        let hop = state.hops.entry(next_hop.clone()).or_default();
        hop.deliveries += 1;
        hop.octets = hop.octets.saturating_add(octets);
        Some(Room { holds: Arc::clone(self), next_hop: next_hop.clone(), octets })
    }

    /// Whether a next hop has greeted lately.
    pub(super) fn set_proven(&self, next_hop: &NextHop, proven: bool) {
        let mut state = self.state();
        state.hops.entry(next_hop.clone()).or_default().proven = proven;
        state.hops.retain(|_, hop| hop.proven || hop.deliveries > 0);
    }

    /// Next hops that have no room for the smallest mail.
    pub(super) fn full(&self) -> Vec<NextHop> {
        let state = self.state();
        let full = state.hops.iter().filter(|(_, hop)| !hop.has_room(1, &state));
        full.map(|(next_hop, _)| next_hop.clone()).collect()
    }

    /// Tokens of what is held, as hexadecimal digits in a JSON array.
    pub(super) fn tokens(&self) -> String {
        let state = self.state();
        serde_json::Value::from_iter(state.tokens.iter().map(|token| data_encoding::HEXUPPER.encode(token))).to_string()
    }
}

/// Its lease is not given out again while this lives.
#[derive(Debug)]
pub(super) struct Token {
    holds: Arc<Holds>,
    token: [u8; 16],
}

impl Token {
    pub(super) fn value(&self) -> [u8; 16] {
        self.token
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.holds.state().tokens.remove(&self.token);
    }
}

/// Place of one delivery and its content.
#[derive(Debug)]
pub(super) struct Room {
    holds: Arc<Holds>,
    next_hop: NextHop,
    octets: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.holds.state();
        state.deliveries = state.deliveries.saturating_sub(1);
        state.octets = state.octets.saturating_sub(self.octets);
        let Some(hop) = state.hops.get_mut(&self.next_hop) else { return };
        hop.deliveries = hop.deliveries.saturating_sub(1);
        hop.octets = hop.octets.saturating_sub(self.octets);
        if hop.deliveries == 0 && !hop.proven {
            state.hops.remove(&self.next_hop);
        }
    }
}

/// What a delivery holds while it is in memory. Given back when its last clone is dropped.
#[derive(Clone, Debug, Default)]
pub struct Hold(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    since: Instant,
    _room: Room,
    _token: Arc<Token>,
}

impl Hold {
    pub(super) fn new(room: Room, token: Arc<Token>) -> Self {
        Self(Some(Arc::new(Held { since: Instant::now(), _room: room, _token: token })))
    }

    /// How long it has been in memory.
    pub fn age(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |held| held.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(port: u16) -> NextHop {
        NextHop::server("127.0.0.1", port, crate::config::DeliverTls::May)
    }

    fn fill(holds: &Arc<Holds>, port: u16, octets: usize) -> Vec<Room> {
        std::iter::from_fn(|| holds.take(&hop(port), octets)).take(10_000).collect()
    }

    #[test]
    fn c21_hanging_next_hops_leave_room_for_others() {
        let holds = Holds::new();
        let hanging: Vec<Vec<Room>> = (1..=3).map(|port| fill(&holds, port, 1000)).collect();
        assert!(hanging.iter().all(|rooms| rooms.len() == UNPROVEN));
        assert_eq!(holds.full().len(), 3);
        // They hung after they had greeted.
        (1..=3).for_each(|port| holds.set_proven(&hop(port), true));
        let more: Vec<Vec<Room>> = (1..=3).map(|port| fill(&holds, port, 1000)).collect();
        holds.set_proven(&hop(4), true);
        assert!(fill(&holds, 4, 1000).len() >= UNPROVEN);
        drop((hanging, more));
        assert_eq!(fill(&holds, 4, 1000).len(), DELIVERIES / 2);
    }

    #[test]
    fn s14_content_in_memory_is_bounded_and_no_mail_is_too_large() {
        let holds = Holds::new();
        let large = fill(&holds, 1, 20 << 20);
        let held: usize = large.iter().map(|room| room.octets).sum();
        assert!(!large.is_empty() && held <= OCTETS, "{held}");
        assert!(holds.take(&hop(2), 1000).is_some(), "room for another next hop");
        drop(large);
        assert_eq!(fill(&holds, 1, OCTETS * 2).len(), 1);
        let state = holds.state();
        assert_eq!((state.deliveries, state.octets, state.hops.len()), (0, 0, 0));
    }

    #[test]
    fn c02_a_token_is_held_until_its_last_delivery_is_dropped() {
        let holds = Holds::new();
        let token = holds.token([1; 16]);
        let one = Hold::new(holds.take(&hop(1), 1).unwrap(), Arc::clone(&token));
        let other = Hold::new(holds.take(&hop(2), 1).unwrap(), token);
        drop(one.clone());
        drop(one);
        assert_eq!(holds.tokens(), format!("[\"{}\"]", "01".repeat(16)));
        drop(other);
        assert_eq!(holds.tokens(), "[]");
    }
}
