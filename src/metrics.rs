//! What is counted while mail passes. Rendered at the console's `/metrics`, which adds what can be looked at just then.
//!
//! One set for the process. On the path of a message nothing but additions to atomics, and labels come from closed sets: never
//! an address, a name that a stranger chooses, or anything secret. `docs/operations.md` explains each metric.

mod set;

use crate::config::{Destination, NextHop};
use crate::policy::Side;
use crate::reason::Reason;
use crate::smime::Verdict;
use set::Set;
use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::Instant;

/// Made when first used. `None` only if a name below breaks Prometheus's rules, which a test looks at.
static SET: LazyLock<Option<Set>> = LazyLock::new(|| {
    let made = Set::new();
    made.inspect_err(|error| tracing::error!(%error, "nothing is counted.")).ok()
});

fn with(count: impl FnOnce(&Set)) {
    if let Some(set) = &*SET {
        count(set);
    }
}

fn observe(which: impl FnOnce(&Set) -> Option<&prometheus::Histogram>, took: Duration) {
    with(|set| {
        which(set).inspect(|histogram| histogram.observe(took.as_secs_f64()));
    });
}

/// Everything counted so far, in Prometheus's text format.
///
/// # Errors
/// The set could not be made or written.
pub fn text() -> Result<String, prometheus::Error> {
    match &*SET {
        Some(set) => prometheus::TextEncoder::new().encode_to_string(&set.registry.gather()),
        None => Err(prometheus::Error::Msg("nothing is counted".to_owned())),
    }
}

/// How a message ended at the final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 2yz.
    Accepted,
    /// 4yz.
    Deferred,
    /// 5yz.
    Refused,
}

impl Ended {
    const ALL: [Self; 3] = [Self::Accepted, Self::Deferred, Self::Refused];

    /// The word in labels and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Refused => "refused",
        }
    }
}

/// A part of accepting a message that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the structure, opening and verifying, with the look-ups in between.
    Inspect,
    /// What else the decision needs.
    Gather,
    /// The decision.
    Decide,
    /// Signing, encrypting, writing the copies.
    Transform,
    /// Until it is on disk.
    Commit,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Inspect, Self::Gather, Self::Decide, Self::Transform, Self::Commit];

    const fn name(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Gather => "gather",
            Self::Decide => "decide",
            Self::Transform => "transform",
            Self::Commit => "commit",
        }
    }
}

const SIDES: [Side; 2] = [Side::Inside, Side::Outside];
const VERDICTS: [Verdict; 4] = [Verdict::Valid, Verdict::Invalid, Verdict::Indeterminate, Verdict::None];

/// A clock of one's own.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub fn passed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Times a stage of accepting.
pub async fn timed<T>(stage: Stage, work: impl Future<Output = T>) -> T {
    let watch = Stopwatch::start();
    let done = work.await;
    observe(|set| set.stage(stage), watch.passed());
    done
}

/// A message was answered after `took`.
pub fn answered(side: Side, ended: Ended, took: Duration, octets: usize) {
    with(|set| {
        set.answered(side, ended).inspect(|counter| counter.inc());
        set.octets(side).inspect(|counter| counter.inc_by(u64::try_from(octets).unwrap_or(u64::MAX)));
    });
    observe(|set| set.took(side), took);
}

/// What an accepted message is worth, and why.
pub fn judged(side: Side, verdict: Verdict, reasons: &[Reason]) {
    with(|set| {
        set.verdict(side, verdict).inspect(|counter| counter.inc());
        for reason in reasons {
            set.reasons.with_label_values(&[side.name(), reason.code()]).inc();
        }
    });
}

/// Why a message was not accepted: the row of the decision or the trouble that said so, and the reply's code.
pub fn not_accepted(side: Side, reply: u16, rule: &'static str) {
    with(|set| set.not_accepted.with_label_values(&[side.name(), &reply.to_string(), rule]).inc());
}

/// A copy was made: `plain`, `signed`, `encrypted`, `decrypted` …
pub fn copied(side: Side, treatment: &'static str) {
    with(|set| set.copies.with_label_values(&[side.name(), treatment]).inc());
}

/// Recipients of accepted mail whose copy is delivered, or who wait: `class` says for what.
pub fn recipients(side: Side, class: Option<&'static str>, count: usize) {
    let treatment = class.unwrap_or("deliver");
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    with(|set| set.recipients.with_label_values(&[side.name(), treatment]).inc_by(count));
}

/// Mail that somebody had signed left, its body as it came or not.
pub fn signed_body(unchanged: bool) {
    with(|set| set.signed_bodies.with_label_values(&[if unchanged { "unchanged" } else { "changed" }]).inc());
}

/// An open connection to a listener; dropped when it ends.
#[derive(Debug)]
pub struct Connected(String);

impl Connected {
    /// One more.
    pub fn to(listener: &str) -> Self {
        with(|set| {
            set.connections.with_label_values(&[listener]).inc();
            set.connected.with_label_values(&[listener]).inc();
            set.sessions.inc();
        });
        Self(listener.to_owned())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        with(|set| {
            set.connected.with_label_values(&[&self.0]).dec();
            set.sessions.dec();
        });
    }
}

/// A client was not let in, or heard 4yz for a limit.
pub fn limited(listener: &str, limit: &'static str) {
    with(|set| set.limited.with_label_values(&[listener, limit]).inc());
}

/// A login with a name and a password.
pub fn login(good: bool) {
    with(|set| set.logins.with_label_values(&[if good { "good" } else { "failed" }]).inc());
}

/// A delivery that is under way; dropped when it ends.
#[derive(Debug)]
pub struct UnderWay(());

impl UnderWay {
    /// One more.
    pub fn begin() -> Self {
        with(|set| set.under_way.inc());
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        with(|set| set.under_way.dec());
    }
}

/// Open sessions of all listeners, and deliveries under way: what a stop waits for.
pub fn busy() -> (i64, i64) {
    let Some(set) = &*SET else { return (0, 0) };
    (set.sessions.get(), set.under_way.get())
}

/// How the recipients of one delivery fared at their next hop, and how long it took.
pub fn delivered(next_hop: &NextHop, [delivered, deferred, failed]: [usize; 3], took: Option<Duration>) {
    let hop = hop_label(next_hop);
    with(|set| {
        for (count, result) in [(delivered, "delivered"), (deferred, "deferred"), (failed, "failed")] {
            if count > 0 {
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                set.deliveries.with_label_values(&[&hop, result]).inc_by(count);
            }
        }
        if let Some(took) = took {
            set.delivery_seconds.with_label_values(&[&hop]).observe(took.as_secs_f64());
        }
    });
}

/// Servers by the name that the configuration gives them; whatever DNS says for a domain is `mx`, whoever it is.
fn hop_label(next_hop: &NextHop) -> String {
    match next_hop.to {
        Destination::Mx(_) => "mx".to_owned(),
        Destination::Servers(_) => next_hop.name(),
    }
}

/// So many jobs came to disk in one transaction.
pub fn committed(jobs: usize, took: Duration) {
    with(|set| {
        set.commit_seconds.observe(took.as_secs_f64());
        set.batch.observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
    });
}

/// A transaction was rolled back.
pub fn not_committed() {
    with(|set| set.transactions_failed.inc());
}

/// A place was asked for its CRL.
pub fn crl_asked(good: bool) {
    with(|set| set.crl_fetches.with_label_values(&[if good { "good" } else { "failed" }]).inc());
}

/// The heads of the audit chains were signed.
pub fn checkpoint(at: jiff::Timestamp) {
    with(|set| set.checkpoint.set(at.as_second()));
}

/// The configuration was read again, or was not good.
pub fn reloaded(good: bool, at: jiff::Timestamp) {
    with(|set| {
        set.reloads.with_label_values(&[if good { "good" } else { "failed" }]).inc();
        set.last_reload_good.set(i64::from(good));
        if good {
            set.last_reload.set(at.as_second());
        }
    });
}

/// The configuration was read at the start.
pub fn reloaded_at_start(at: jiff::Timestamp) {
    with(|set| {
        set.last_reload_good.set(1);
        set.last_reload.set(at.as_second());
    });
}

#[cfg(test)]
mod tests {
    use super::{Connected, Ended, Stage, UnderWay, busy, delivered, judged, text, timed};
    use crate::config::{DeliverTls, Destination, NextHop};
    use crate::policy::Side;
    use crate::reason::Reason;
    use crate::smime::Verdict;
    use std::time::Duration;

    /// The value of a sample.
    fn value(sample: &str) -> f64 {
        let text = text().unwrap();
        let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {sample} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn what_is_counted_is_shown() {
        super::answered(Side::Outside, Ended::Deferred, Duration::from_millis(3), 7);
        judged(Side::Outside, Verdict::Invalid, &[Reason::Revoked]);
        timed(Stage::Decide, async {}).await;
        assert!(value("segel_mail_total{outcome=\"deferred\",side=\"outside\"}") >= 1.0);
        assert!(value("segel_verdicts_total{side=\"outside\",verdict=\"invalid\"}") >= 1.0);
        assert!(value("segel_reasons_total{reason=\"revoked\",side=\"outside\"}") >= 1.0);
        assert!(value("segel_stage_seconds_count{stage=\"decide\"}") >= 1.0);
        // There from the start, so that a rate can be had of the first one.
        assert!(value("segel_mail_total{outcome=\"refused\",side=\"inside\"}") >= 0.0);
    }

    #[test]
    fn a_stranger_chooses_no_label() {
        let hop = |to| NextHop { to, tls: DeliverTls::May };
        delivered(&hop(Destination::Mx("of-a-stranger.example".to_owned())), [1, 0, 2], None);
        assert!(value("segel_deliveries_total{next_hop=\"mx\",result=\"failed\"}") >= 2.0);
        delivered(&NextHop::server("10.0.0.5", 25, DeliverTls::Verify), [0, 1, 0], Some(Duration::from_secs(1)));
        assert!(value("segel_deliveries_total{next_hop=\"smtp://10.0.0.5:25\",result=\"deferred\"}") >= 1.0);
        assert!(!text().unwrap().contains("of-a-stranger"));
    }

    #[test]
    fn what_has_ended_counts_no_more() {
        let here = Connected::to("busy-test");
        let delivery = UnderWay::begin();
        assert!(busy().0 >= 1 && busy().1 >= 1);
        drop((here, delivery));
        assert!(value("segel_connections{listener=\"busy-test\"}") < 1.0);
        assert!(value("segel_connections_total{listener=\"busy-test\"}") >= 1.0);
    }
}
