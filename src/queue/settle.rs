//! What becomes of a recipient after a try: the whole retry and expiry policy. Pure.

use crate::mail::{Notify, RecipientDsn};
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
    /// `NOTIFY=`
    pub notify: Option<Notify>,
    /// The reverse-path is a mailbox: who sent the mail can be told.
    pub answerable: bool,
    /// The sender was told of the delay already.
    pub warned: bool,
}

/// When to try again, when to tell, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// `queue.expire`: after this long, a recipient fails.
    pub expire: Duration,
    /// `queue.warn`: after this long, the sender is told that the mail still waits.
    pub warn: Duration,
    /// How long a lease lasts; longer than any delivery.
    pub lease: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            expire: Duration::from_secs(5 * 86_400),
            warn: Duration::from_secs(4 * 3600),
            lease: Duration::from_secs(1800),
        }
    }
}

impl Schedule {
    /// The same, and nothing is given up or told of.
    #[must_use]
    pub fn without_end(self) -> Self {
        Self { expire: Duration::MAX, warn: Duration::MAX, ..self }
    }

    /// When mail that was accepted at this time is given up.
    pub fn expiry(&self, received: Timestamp) -> Timestamp {
        received.saturating_add(self.expire).unwrap_or(Timestamp::MAX)
    }
}

/// What becomes of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Final.
    Delivered {
        /// The reply.
        reply: String,
        /// The sender wants to hear of it, and nobody behind us will tell: a notice `relayed` (RFC 3461 section 5.2.2).
        relayed: bool,
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
        /// It has been long: a notice `delayed`, once.
        delayed: bool,
    },
    /// Final.
    Failed {
        /// Why.
        status: String,
        /// The last reply.
        diagnostic: String,
        /// A notice `failed`. For mail from the null reverse-path it is the postmaster's.
        told: bool,
    },
}

/// Decides. RFC 5321 section 4.5.4.1: the first tries after minutes, later ones at least 30 minutes apart, giving up
/// after 4 to 5 days (status 5.4.7, RFC 3463 section 3.5). RFC 3461 section 5.2: who is told.
pub fn settle(recipient: &RecipientRecord, outcome: &Outcome, now: Timestamp, schedule: &Schedule) -> Settlement {
    let notify = RecipientDsn { notify: recipient.notify, original: None };
    let failed = |status: &str, diagnostic: &str| Settlement::Failed {
        status: status.to_owned(),
        diagnostic: diagnostic.to_owned(),
        told: notify.wants_failure(),
    };
    match outcome {
        Outcome::Delivered { reply, via } => Settlement::Delivered {
            reply: reply.clone(),
            relayed: recipient.answerable && notify.wants_success() && !via.dsn,
        },
        Outcome::Failed { status, diagnostic } => failed(status, diagnostic),
        Outcome::Deferred { status, diagnostic } => {
            let due = now.saturating_add(wait(recipient)).unwrap_or(Timestamp::MAX);
            if due > schedule.expiry(recipient.received) {
                return failed("5.4.7", diagnostic);
            }
            let late = recipient.received.saturating_add(schedule.warn).unwrap_or(Timestamp::MAX) <= now;
            Settlement::Retry {
                due,
                tries: recipient.tries.saturating_add(1),
                status: status.clone(),
                diagnostic: diagnostic.clone(),
                delayed: late && !recipient.warned && recipient.answerable && notify.wants_delay(),
            }
        }
    }
}

/// No retry is put off for longer: a time further ahead was written by a clock that was ahead.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

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

    const PLAIN: RecipientRecord =
        RecipientRecord { tries: 0, received: T, jitter: 0, notify: None, answerable: true, warned: false };

    fn hours(hours: u64) -> Timestamp {
        T + Duration::from_secs(hours * 3600)
    }

    #[test]
    fn c15_each_outcome_concerns_its_own_recipient_only() {
        let schedule = Schedule::default();
        let failed = Outcome::Failed { status: "5.1.1".to_owned(), diagnostic: "smtp; 550 no".to_owned() };
        assert!(matches!(settle(&PLAIN, &deferred(), T, &schedule), Settlement::Retry { tries: 1, .. }));
        assert!(
            matches!(settle(&PLAIN, &failed, T, &schedule), Settlement::Failed { status, .. } if status == "5.1.1")
        );
        assert!(matches!(settle(&PLAIN, &delivered(false), T, &schedule), Settlement::Delivered { .. }));
    }

    fn delivered(dsn: bool) -> Outcome {
        Outcome::Delivered { reply: "250 ok".to_owned(), via: Via { dsn, ..Via::default() } }
    }

    #[test]
    fn c14_retries_begin_after_minutes_and_grow_to_hours() {
        let schedule = Schedule::default();
        let mut last = 0;
        for tries in 0..15 {
            let minutes = |jitter| {
                let recipient = RecipientRecord { tries, jitter, ..PLAIN };
                match settle(&recipient, &deferred(), T, &schedule) {
                    Settlement::Retry { due, .. } => due.as_second() / 60,
                    other => panic!("{other:?}"),
                }
            };
            let wait = minutes(0);
            assert!(if tries < 3 { (5..30).contains(&wait) } else { (30..=240).contains(&wait) }, "{tries}: {wait}");
            assert!(wait >= last);
            assert_eq!(minutes(255), wait * 6 / 5);
            assert!(wait * 6 / 5 < LONGEST_WAIT.as_secs() as i64 / 60);
            last = wait;
        }
    }

    #[test]
    fn c14_a_recipient_expires_with_5_4_7() {
        let schedule = Schedule::default();
        let recipient = RecipientRecord { tries: 40, ..PLAIN };
        assert!(matches!(settle(&recipient, &deferred(), hours(115), &schedule), Settlement::Retry { .. }));
        match settle(&recipient, &deferred(), hours(117), &schedule) {
            Settlement::Failed { status, diagnostic, told } => {
                assert_eq!((status.as_str(), diagnostic.as_str(), told), ("5.4.7", "no connection", true));
            }
            other => panic!("{other:?}"),
        }
        let never = schedule.without_end();
        assert!(matches!(
            settle(&recipient, &deferred(), hours(1 << 20), &never),
            Settlement::Retry { delayed: false, .. }
        ));
        let short = Schedule { expire: Duration::from_secs(3600), ..schedule };
        assert!(matches!(settle(&recipient, &deferred(), T, &short), Settlement::Failed { .. }));
    }

    const fn on(success: bool, failure: bool, delay: bool) -> Option<Notify> {
        Some(Notify::On { success, failure, delay })
    }

    #[test]
    fn c14_s47_a_delay_is_told_once_after_the_time_to_whom_it_concerns() {
        let schedule = Schedule::default();
        for (at, notify, answerable, warned, expected) in [
            (3, None, true, false, false),
            (4, None, true, false, true),
            (4, None, true, true, false),
            (40, None, true, false, true),
            (4, None, false, false, false),
            (4, on(false, false, true), true, false, true),
            (4, on(true, true, false), true, false, false),
            (4, Some(Notify::Never), true, false, false),
        ] {
            let recipient = RecipientRecord { notify, answerable, warned, ..PLAIN };
            let settled = settle(&recipient, &deferred(), hours(at), &schedule);
            let Settlement::Retry { delayed, .. } = settled else { panic!("{settled:?}") };
            assert_eq!(delayed, expected, "{at} {notify:?} {answerable} {warned}");
        }
    }

    #[test]
    fn s47_s48_notify_says_who_hears_of_failure_and_success() {
        let schedule = Schedule::default();
        let failed = Outcome::Failed { status: "5.1.1".to_owned(), diagnostic: String::new() };
        for (notify, failure, success) in [
            (None, true, false),
            (on(false, true, false), true, false),
            (on(true, false, false), false, true),
            (on(true, true, true), true, true),
            (on(false, false, true), false, false),
            (Some(Notify::Never), false, false),
        ] {
            let recipient = RecipientRecord { notify, ..PLAIN };
            let told = |settled| matches!(settled, Settlement::Failed { told: true, .. });
            let relayed = |settled| matches!(settled, Settlement::Delivered { relayed: true, .. });
            assert_eq!(told(settle(&recipient, &failed, T, &schedule)), failure, "{notify:?}");
            assert_eq!(relayed(settle(&recipient, &delivered(false), T, &schedule)), success, "{notify:?}");
            assert!(!relayed(settle(&recipient, &delivered(true), T, &schedule)), "the next hop tells");
            let nobody = RecipientRecord { answerable: false, ..recipient };
            assert!(!relayed(settle(&nobody, &delivered(false), T, &schedule)), "null reverse-path");
        }
    }
}
