//! The only clock. Everything else is told what time it is.
//!
//! Certificates, CRLs and their verdicts hang on the time of day. [`Watch`] notices when it jumps: for a while after that
//! nothing is decided by it that could not be taken back (P33). Whether something keeps the clock in time (`adjtimex`) is not
//! asked: it takes a system call that has no safe form here.

use jiff::{SignedDuration, Timestamp};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time now, by the system's clock.
#[expect(clippy::disallowed_methods, reason = "this module is the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// How long the machine has run, sleep included: what the kernel tells of a process counts from there.
pub fn since_boot() -> Duration {
    let passed = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(passed).unwrap_or_default()
}

/// Between two looks the time of day may drift from the time that has passed by no more than this.
const JUMP: SignedDuration = SignedDuration::from_mins(5);
/// So long after a jump the time is not relied on: whoever set the clock may set it again.
const UNSETTLED: Duration = Duration::from_secs(300);

/// Compares the time of day with the time that has passed.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Option<Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    wall: Timestamp,
    passed: Instant,
    jumped: Option<Instant>,
}

impl Watch {
    /// Looks at both clocks. `false` for some minutes after the time of day has jumped; says so in the log once.
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    pub fn is_settled(&self) -> bool {
        self.look(now(), Instant::now())
    }

    fn look(&self, wall: Timestamp, passed: Instant) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jumped = None;
        if let Some(seen) = *held {
            let elapsed =
                SignedDuration::try_from(passed.saturating_duration_since(seen.passed)).unwrap_or(SignedDuration::MAX);
            let jump = wall.duration_since(seen.wall).saturating_sub(elapsed);
            jumped = seen.jumped.filter(|at| passed.saturating_duration_since(*at) < UNSETTLED);
            if jump.abs() > JUMP {
                tracing::error!(
                    seconds = jump.as_secs(),
                    "the clock jumped: mail whose verdict needs the time is deferred for {} minutes; look at what sets it.",
                    UNSETTLED.as_secs() / 60
                );
                jumped = Some(passed);
            }
        }
        *held = Some(Seen { wall, passed, jumped });
        jumped.is_none()
    }
}

/// A time to come that a clock that is set back does not put off: it is over when the time of day says so, or when as much time
/// has passed as was left.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    until: Timestamp,
    passed: Option<Instant>,
}

impl Deadline {
    /// `until`, as seen at `now`.
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    pub fn of(now: Timestamp, until: Timestamp) -> Self {
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        Self { until, passed: Instant::now().checked_add(left) }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// What is left.
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    pub fn left(&self) -> Duration {
        self.left_at(now(), Instant::now())
    }

    fn left_at(&self, wall: Timestamp, passed: Instant) -> Duration {
        let by_wall = Duration::try_from(self.until.duration_since(wall)).unwrap_or_default();
        let by_passed = self.passed.map_or(Duration::ZERO, |until| until.saturating_duration_since(passed));
        by_wall.min(by_passed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, Duration, Instant, SignedDuration, Timestamp, Watch};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    fn p33_a_jump_of_the_clock_is_noticed_both_ways() {
        let (wall, passed): (Timestamp, Instant) = (super::now(), Instant::now());
        // Seconds by the time of day and by the time that has passed, and whether the time is relied on.
        for (looks, jump) in [
            (&[(0, 0, true), (10, 10, true), (3600, 3600, true)][..], "none"),
            (&[(0, 0, true), (299, 0, true), (598, 0, true)], "small ones"),
            (&[(0, 0, true), (311, 10, false), (411, 110, false), (610, 309, false), (611, 310, true)], "ahead"),
            (&[(0, 0, true), (-400, 0, false), (-390, 10, false), (-90, 310, true)], "back"),
            (&[(0, 0, true), (4000, 0, false), (10, 10, false), (310, 310, true)], "there and back"),
        ] {
            let watch = Watch::default();
            for &(at, after, settled) in looks {
                let found = watch.look(wall + SignedDuration::from_secs(at), passed + Duration::from_secs(after));
                assert_eq!(found, settled, "{jump}: {at} {after}");
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    fn p33_a_clock_that_is_set_back_puts_no_deadline_off() {
        let (wall, passed) = (super::now(), Instant::now());
        let at = |seconds: i64| wall + SignedDuration::from_secs(seconds);
        let deadline = Deadline { until: at(3600), passed: passed.checked_add(Duration::from_secs(3600)) };
        for (by_wall, by_passed, left) in [
            (0, 0, 3600),
            (1800, 1800, 1800),
            (-86_400, 1800, 1800),
            (-86_400, 3600, 0),
            (3600, 10, 0),
            (86_400, 10, 0),
            (3590, 10, 10),
        ] {
            let found = deadline.left_at(at(by_wall), passed + Duration::from_secs(by_passed));
            assert_eq!(found, Duration::from_secs(left), "{by_wall} {by_passed}");
        }
        assert!(Deadline::of(at(10), at(0)).is_over() && !Deadline::of(wall, at(3600)).is_over());
    }
}
