//! Next hops that could not be reached rest for a while: a dead one costs no lanes, however much mail comes for it.
//!
//! The rests are short. Each mail has its own schedule in the queue; what is spared here is one try after another.

use crate::config::NextHop;
use crate::queue::Outcome;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The first rest, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Next hops that are remembered.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Rests(Mutex<HashMap<NextHop, Rest>>);

#[derive(Debug)]
struct Rest {
    failures: u32,
    until: Instant,
    why: Outcome,
}

impl Rests {
    fn all(&self) -> MutexGuard<'_, HashMap<NextHop, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It could not be reached: a rest twice as long as the last one. What is final is so for the mail that is there,
    /// and needs none.
    pub(super) fn begin(&self, next_hop: &NextHop, why: &Outcome, now: Instant) {
        if !matches!(why, Outcome::Deferred { .. }) {
            return;
        }
        let mut all = self.all();
        if all.len() >= MOST {
            all.retain(|_, rest| rest.until > now);
        }
        if all.len() >= MOST && !all.contains_key(next_hop) {
            return;
        }
        let rest = all.entry(next_hop.clone()).or_insert(Rest { failures: 0, until: now, why: why.clone() });
        if rest.until > now {
            // Another lane has said so already.
            return;
        }
        let [jitter] = crate::seal::random::<1>();
        let pause = REST.0.saturating_mul(1 << rest.failures.min(10)).min(REST.1);
        *rest = Rest {
            failures: rest.failures.saturating_add(1),
            until: now + pause + pause * u32::from(jitter) / (4 * 255),
            why: why.clone(),
        };
    }

    /// It has greeted.
    pub(super) fn end(&self, next_hop: &NextHop) {
        self.all().remove(next_hop);
    }

    /// Why it rests, if it does.
    pub(super) fn why(&self, next_hop: &NextHop, now: Instant) -> Option<Outcome> {
        self.all().get(next_hop).filter(|rest| rest.until > now).map(|rest| rest.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Rests;
    use crate::config::{DeliverTls, NextHop};
    use crate::queue::Outcome;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn c21_rests_grow_and_end() {
        let hop = NextHop::server("127.0.0.1", 1, DeliverTls::May);
        let why = Outcome::Deferred { status: "4.4.1".to_owned(), diagnostic: "no".to_owned() };
        let rests = Rests::default();
        let mut now = Instant::now();
        rests.begin(&hop, &Outcome::Failed { status: "5.1.10".to_owned(), diagnostic: "no".to_owned() }, now);
        assert_eq!(rests.why(&hop, now), None);
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            rests.begin(&hop, &why, now);
            rests.begin(&hop, &why, now);
            now += Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(rests.why(&hop, now), Some(why.clone()));
            now += Duration::from_millis(seconds * 250 + 2);
            assert_eq!(rests.why(&hop, now), None);
        }
        rests.begin(&hop, &why, now);
        rests.end(&hop);
        assert_eq!(rests.why(&hop, now), None);
    }
}
