//! What one client, sender or login has done lately, and how many connections a client has (S64).
//!
//! Counters live as long as the process: a reload changes the limits and not what was counted. Their number is bounded; when
//! there are too many, those that were not touched for longest are forgotten. A client is an IPv4 address or an IPv6 /64.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Counters that are kept at most: half of them young, half of them old. 100 octets each.
const MOST: usize = 100_000;

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who<'a> {
    /// A client.
    Client(IpAddr),
    /// A reverse-path, as a key.
    Sender(&'a str),
    /// An identity.
    Login(&'a str),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Transactions begun.
    Mails,
    /// Recipients named.
    Recipients,
    /// Recipients that do not exist.
    Unknown,
    /// Commands that were wrong.
    Errors,
}

/// The counters. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub struct Counts {
    start: Instant,
    hasher: RandomState,
    windows: Arc<Mutex<Windows>>,
    connections: Connections,
}

type Connections = Arc<Mutex<HashMap<IpAddr, u32>>>;

#[derive(Debug, Default)]
struct Windows {
    young: HashMap<u64, Window>,
    old: HashMap<u64, Window>,
}

/// The counts of a minute and of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    minute: u64,
    now: [u32; 4],
    before: [u32; 4],
}

impl Default for Counts {
    fn default() -> Self {
        Self { start: Instant::now(), hasher: RandomState::new(), windows: Arc::default(), connections: Arc::default() }
    }
}

impl Counts {
    /// Counts `amount` more; false if that is more than `limit` within a minute. 0 is no limit, and nothing is counted then.
    pub fn within(&self, who: Who<'_>, what: What, amount: u32, limit: u32) -> bool {
        limit == 0 || self.count(who, what, amount, limit, self.start.elapsed().as_millis())
    }

    /// Whether `limit` is passed already; counts nothing.
    pub fn is_over(&self, who: Who<'_>, what: What, limit: u32) -> bool {
        !self.within(who, what, 0, limit)
    }

    /// `now` in milliseconds since the start. What was too much does not count: who waits is let in again.
    fn count(&self, who: Who<'_>, what: What, amount: u32, limit: u32, now: u128) -> bool {
        let (minute, within) =
            (u64::try_from(now / 60_000).unwrap_or(u64::MAX), u32::try_from(now % 60_000).unwrap_or(0));
        let key = self.hasher.hash_one(who.network());
        let mut windows = lock(&self.windows);
        let mut window = windows.take(key);
        window.advance(minute);
        let index = what as usize;
        let good = match (window.now.get_mut(index), window.before.get(index)) {
            (Some(count), Some(before)) => {
                // The minute that ends now: what is left of the last one, as if it had been spread evenly.
                let left = u64::from(*before) * u64::from(60_000 - within) / 60_000;
                let sum = left + u64::from(*count) + u64::from(amount);
                let good = sum <= u64::from(limit);
                // Errors and unknown recipients have happened; mails and recipients were refused.
                if good || matches!(what, What::Unknown | What::Errors) {
                    *count = count.saturating_add(amount);
                }
                good
            }
            _ => true,
        };
        if amount > 0 || window.is_of_use() {
            windows.young.insert(key, window);
        }
        good
    }

    /// A place among the client's connections; none if he has `limit` of them. 0 is no limit.
    pub fn enter(&self, client: IpAddr, limit: u32) -> Option<Connection> {
        if limit == 0 {
            return Some(Connection(None));
        }
        let client = network(client);
        let mut connections = lock(&self.connections);
        let count = connections.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Connection(Some((Arc::clone(&self.connections), client))))
    }
}

impl Windows {
    /// The window of a key, taken out of where it was.
    fn take(&mut self, key: u64) -> Window {
        if self.young.len() >= MOST / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.get(&key).copied().or_else(|| self.old.remove(&key)).unwrap_or_default()
    }
}

impl Window {
    fn is_of_use(&self) -> bool {
        self.now.iter().chain(&self.before).any(|count| *count > 0)
    }

    fn advance(&mut self, minute: u64) {
        if minute == self.minute {
            return;
        }
        self.before = if minute == self.minute + 1 { self.now } else { [0; 4] };
        self.now = [0; 4];
        self.minute = minute;
    }
}

impl Who<'_> {
    fn network(self) -> Self {
        match self {
            Self::Client(address) => Self::Client(network(address)),
            other => other,
        }
    }
}

/// An IPv4 address as it is, an IPv6 address as its /64: whoever has one address there has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection of a client; forgotten when dropped.
#[derive(Debug)]
pub struct Connection(Option<(Connections, IpAddr)>);

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((connections, client)) = self.0.take() {
            let mut connections = lock(&connections);
            if let Some(count) = connections.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    connections.remove(&client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, MOST, What, Who};
    use std::net::IpAddr;

    fn client(text: &str) -> Who<'static> {
        Who::Client(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn s64_a_minute_holds_so_many_and_no_more() {
        let counts = Counts::default();
        let count = |seconds: u128| counts.count(client("192.0.2.1"), What::Mails, 1, 10, seconds * 1000);
        assert!((0..10).all(|_| count(1)) && !count(1));
        // Half a minute into the next one, half of them are left.
        assert_eq!((0..20).filter(|_| count(90)).count(), 5);
        assert_eq!((0..20).filter(|_| count(300)).count(), 10);
        // Others and other things have counters of their own.
        assert!(counts.count(client("192.0.2.2"), What::Mails, 1, 10, 300_000));
        assert!(counts.count(client("192.0.2.1"), What::Recipients, 10, 10, 300_000));
        assert!(counts.count(Who::Sender("a@b.example"), What::Mails, 1, 1, 300_000));
        assert!(counts.count(Who::Login("a@b.example"), What::Mails, 1, 1, 300_000));
        assert!((0..1000).all(|_| counts.within(client("192.0.2.1"), What::Mails, 1, 0)));
    }

    #[test]
    fn s64_errors_count_though_they_are_too_many() {
        let counts = Counts::default();
        assert!(counts.within(client("192.0.2.1"), What::Errors, 3, 3));
        assert!(!counts.is_over(client("192.0.2.1"), What::Errors, 3));
        assert!(!counts.within(client("192.0.2.1"), What::Errors, 1, 3));
        assert!(counts.is_over(client("192.0.2.1"), What::Errors, 3));
    }

    #[test]
    fn s64_a_client_is_a_64_of_ipv6() {
        let counts = Counts::default();
        let count = |address: &str| counts.count(client(address), What::Mails, 1, 1, 0);
        assert!(count("2001:db8::1") && !count("2001:db8::ffff:2") && count("2001:db8:0:1::1"));
        assert!(count("192.0.2.1") && !count("::ffff:192.0.2.1"));
    }

    #[test]
    fn s64_connections_are_given_back() {
        let counts = Counts::default();
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let first = counts.enter(address, 2);
        let second = counts.enter("2001:db8::2".parse().unwrap(), 2);
        assert!(first.is_some() && second.is_some() && counts.enter(address, 2).is_none());
        assert!(counts.enter(address, 0).is_some());
        drop(first);
        assert!(counts.enter(address, 2).is_some());
        drop(second);
        assert!(counts.connections.lock().unwrap().is_empty());
    }

    #[test]
    fn s64_counters_are_bounded_and_the_oldest_go() {
        let counts = Counts::default();
        let limited = Who::Sender("first@b.example");
        assert!(counts.count(limited, What::Mails, 1, 1, 0));
        for number in 0..2 * u32::try_from(MOST).unwrap() {
            counts.count(Who::Client(IpAddr::from(number.to_be_bytes())), What::Mails, 1, 1, 0);
            if number % 1000 == 0 {
                // Whoever is looked at stays.
                assert!(!counts.count(limited, What::Mails, 1, 1, 0));
            }
        }
        let windows = counts.windows.lock().unwrap();
        assert!(windows.young.len() + windows.old.len() <= MOST + 1);
    }
}
