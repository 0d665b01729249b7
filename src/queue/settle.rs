//! What becomes of a recipient after a try: the whole retry and expiry policy. Pure.

use jiff::Timestamp;
use std::time::Duration;

/// What a try gave for one recipient. Texts are sanitised by whoever read them from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx after the data.
    Delivered {
        /// The reply.
        reply: String,
        /// Who has taken it, and how.
        via: Via,
    },
    /// 4xx, or no connection.
    Deferred {
        /// Enhanced status code, such as `4.4.1`.
        status: String,
        /// `smtp; 451 …`, or what went wrong.
        diagnostic: String,
    },
    /// 5xx.
    Failed {
        /// Enhanced status code, such as `5.1.1`.
        status: String,
        /// `smtp; 550 …`.
        diagnostic: String,
    },
}

/// How mail went to the server that has taken it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// Name (or address) of the server, as DNS or the configuration has it.
    pub host: String,
    /// `TLSv1.3 TLS_AES_256_GCM_SHA384 verified`; none: plain text.
    pub tls: Option<String>,
    /// It offers DSN (RFC 3461): notices of success are its duty from here on.
    pub dsn: bool,
}

/// What the policy needs to know of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientRecord {
    /// Tries before this one.
    pub tries: u32,
    /// When the mail was accepted.
    pub received: Timestamp,
    /// 0 to 255: how much of the jitter this recipient gets.
    pub jitter: u8,
}

/// When to try again, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// `queue.expire`: after this long, a recipient fails.
    pub expire: Duration,
    /// How long a lease lasts; longer than any delivery.
    pub lease: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { expire: Duration::from_secs(5 * 86_400), lease: Duration::from_secs(1800) }
    }
}

/// What becomes of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Final.
    Delivered {
        /// The reply.
        reply: String,
    },
    /// Still pending.
    Retry {
        /// Not before.
        due: Timestamp,
        /// Tries so far.
        tries: u32,
        /// Why.
        status: String,
        /// The last reply.
        diagnostic: String,
    },
    /// Final.
    Failed {
        /// Why.
        status: String,
        /// The last reply.
        diagnostic: String,
    },
}

/// Decides. RFC 5321 section 4.5.4.1: the first tries after minutes, later ones at least 30 minutes apart, giving up
/// after 4 to 5 days (status 5.4.7, RFC 3463 section 3.5).
pub fn settle(recipient: &RecipientRecord, outcome: &Outcome, now: Timestamp, schedule: &Schedule) -> Settlement {
    match outcome {
        Outcome::Delivered { reply, .. } => Settlement::Delivered { reply: reply.clone() },
        Outcome::Failed { status, diagnostic } => {
            Settlement::Failed { status: status.clone(), diagnostic: diagnostic.clone() }
        }
        Outcome::Deferred { status, diagnostic } => {
            let due = now.saturating_add(wait(recipient)).unwrap_or(Timestamp::MAX);
            let expiry = recipient.received.saturating_add(schedule.expire).unwrap_or(Timestamp::MAX);
            if due > expiry {
                return Settlement::Failed { status: "5.4.7".to_owned(), diagnostic: diagnostic.clone() };
            }
            let tries = recipient.tries.saturating_add(1);
            Settlement::Retry { due, tries, status: status.clone(), diagnostic: diagnostic.clone() }
        }
    }
}

/// Up to 20 % longer, so that what failed together does not come back together.
fn wait(recipient: &RecipientRecord) -> Duration {
    let index = usize::try_from(recipient.tries).unwrap_or(usize::MAX);
    let base = Duration::from_secs(60 * MINUTES.get(index).copied().unwrap_or(LATER_MINUTES));
    base + base * u32::from(recipient.jitter) / (5 * 255)
}

const MINUTES: [u64; 9] = [5, 10, 20, 30, 45, 60, 90, 120, 180];
const LATER_MINUTES: u64 = 240;

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::UNIX_EPOCH;

    fn deferred() -> Outcome {
        Outcome::Deferred { status: "4.4.1".to_owned(), diagnostic: "no connection".to_owned() }
    }

    #[test]
    fn c15_each_outcome_concerns_its_own_recipient_only() {
        let recipient = RecipientRecord { tries: 0, received: T, jitter: 0 };
        let schedule = Schedule::default();
        let failed = Outcome::Failed { status: "5.1.1".to_owned(), diagnostic: "smtp; 550 no".to_owned() };
        let delivered = Outcome::Delivered { reply: "250 ok".to_owned(), via: crate::queue::Via::default() };
        assert!(matches!(settle(&recipient, &deferred(), T, &schedule), Settlement::Retry { tries: 1, .. }));
        assert!(
            matches!(settle(&recipient, &failed, T, &schedule), Settlement::Failed { status, .. } if status == "5.1.1")
        );
        assert!(matches!(settle(&recipient, &delivered, T, &schedule), Settlement::Delivered { .. }));
    }

    #[test]
    fn c15_retries_begin_after_minutes_and_grow_to_hours() {
        let schedule = Schedule::default();
        let mut last = 0;
        for tries in 0..15 {
            let minutes = |jitter| {
                let recipient = RecipientRecord { tries, received: T, jitter };
                match settle(&recipient, &deferred(), T, &schedule) {
                    Settlement::Retry { due, .. } => due.as_second() / 60,
                    other => panic!("{other:?}"),
                }
            };
            let wait = minutes(0);
            assert!(if tries < 3 { (5..30).contains(&wait) } else { (30..=240).contains(&wait) }, "{tries}: {wait}");
            assert!(wait >= last);
            assert_eq!(minutes(255), wait * 6 / 5);
            last = wait;
        }
    }

    #[test]
    fn c15_a_recipient_expires_with_5_4_7() {
        let schedule = Schedule::default();
        let recipient = RecipientRecord { tries: 40, received: T, jitter: 0 };
        let day = |hours: u64| T + Duration::from_secs(hours * 3600);
        assert!(matches!(settle(&recipient, &deferred(), day(115), &schedule), Settlement::Retry { .. }));
        match settle(&recipient, &deferred(), day(117), &schedule) {
            Settlement::Failed { status, diagnostic } => {
                assert_eq!((status.as_str(), diagnostic.as_str()), ("5.4.7", "no connection"));
            }
            other => panic!("{other:?}"),
        }
    }
}
