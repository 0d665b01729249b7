//! When a place is asked again. Pure; chance comes from outside.

use jiff::{SignedDuration, Timestamp};

/// A CRL without an end in sight is asked for this often all the same: CAs publish before they must, above all after an incident.
const AT_LEAST: SignedDuration = SignedDuration::from_hours(24);
/// Failures: after the first, and at most.
const BACK_OFF: SignedDuration = SignedDuration::from_mins(1);
const BACK_OFF_MOST: SignedDuration = SignedDuration::from_hours(1);

/// After an answer at `now` whose CRL ends at `next`: between a half and nine tenths of the time that is left, at least every
/// day, so that several tries lie before the end and gateways that began together do not come together.
pub(super) fn after_success(now: Timestamp, next: Timestamp, chance: u16) -> Timestamp {
    let left = next.duration_since(now).max(SignedDuration::ZERO);
    let share = 0.5 + 0.4 * fraction(chance);
    later(now, left.min(AT_LEAST), share)
}

/// After the failure number `failures`: a minute, doubled each time, at most an hour; a fifth more or less.
pub(super) fn after_failure(now: Timestamp, failures: u32, chance: u16) -> Timestamp {
    let doubled = BACK_OFF.checked_mul(1_i32 << failures.saturating_sub(1).min(10)).unwrap_or(BACK_OFF_MOST);
    later(now, doubled.min(BACK_OFF_MOST), 0.8 + 0.4 * fraction(chance))
}

fn fraction(chance: u16) -> f64 {
    f64::from(chance) / f64::from(u16::MAX)
}

fn later(now: Timestamp, time: SignedDuration, share: f64) -> Timestamp {
    let share = SignedDuration::try_from_secs_f64(time.as_secs_f64() * share).unwrap_or(time);
    now.saturating_add(share).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::{after_failure, after_success};
    use jiff::{SignedDuration, Timestamp};

    fn seconds(from: Timestamp, to: Timestamp) -> i64 {
        to.duration_since(from).as_secs()
    }

    #[test]
    fn p03_crls_are_fetched_before_they_end() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        for (left, chance, expected) in [
            (1000, 0, 500),
            (1000, u16::MAX, 900),
            (1000, u16::MAX / 2, 699),
            (0, 7, 0),
            (-50, 7, 0),
            (30 * 86_400, 0, 43_200),
            (30 * 86_400, u16::MAX, 77_760),
        ] {
            let next = now + SignedDuration::from_secs(left);
            assert_eq!(seconds(now, after_success(now, next, chance)), expected, "{left} {chance}");
        }
    }

    #[test]
    fn p03_a_server_that_fails_is_left_alone_for_longer_each_time() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        for (failures, chance, expected) in
            [(1, 0, 48), (1, u16::MAX, 72), (2, 0, 96), (6, 0, 1536), (7, 0, 2880), (1000, u16::MAX, 4320)]
        {
            assert_eq!(seconds(now, after_failure(now, failures, chance)), expected, "{failures} {chance}");
        }
    }
}
