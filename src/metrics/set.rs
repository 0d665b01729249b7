//! The metrics themselves: names, help, labels. What lies on the path of a message is found by its place, not by its labels.

use super::{Ended, SIDES, Stage, VERDICTS};
use crate::policy::Side;
use crate::smime::Verdict;
use prometheus::core::Collector;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Seconds: from what a small mail takes to the deadline of accepting.
const TIMES: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];
/// Jobs of one transaction, up to the most that the writer takes.
const JOBS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const ACCEPT: &str =
    "From the final dot to the decided reply. The wait for the time grid comes on top where a key was asked.";
const REASONS: &str = "Reason codes of accepted messages; one message may have several.";
const NOT_ACCEPTED: &str = "Messages refused or deferred at the final dot, by reply code and by what said so.";
const RECIPIENTS: &str = "Recipients of accepted messages: deliver, or what their mail is held for.";
const SIGNED_BODIES: &str =
    "Copies of mail that others had signed, compared with what came. Changed ones are a defect.";
const LIMITED: &str = "Clients that were turned away or put off because of a limit.";
const LOGINS: &str = "Logins with a name and a password.";
const DELIVERIES: &str = "Recipients by how a try to deliver to them ended. Next hops that DNS names count as mx.";
const DELIVERY: &str = "One delivery: connecting where needed, and the dialogue.";
const COMMIT: &str = "One transaction, flush included.";
const CHECKPOINT: &str = "When the heads of the audit log were last signed.";
const LAST_RELOAD: &str = "When the configuration in use was read.";

pub(super) struct Set {
    pub(super) registry: Registry,
    mail: Vec<IntCounter>,
    verdicts: Vec<IntCounter>,
    accept: [Histogram; 2],
    stages: [Histogram; 5],
    received: [IntCounter; 2],
    pub(super) reasons: IntCounterVec,
    pub(super) not_accepted: IntCounterVec,
    pub(super) copies: IntCounterVec,
    pub(super) recipients: IntCounterVec,
    pub(super) signed_bodies: IntCounterVec,
    pub(super) connections: IntCounterVec,
    pub(super) connected: IntGaugeVec,
    /// Of all listeners together; shown by `connected`.
    pub(super) sessions: IntGauge,
    pub(super) limited: IntCounterVec,
    pub(super) logins: IntCounterVec,
    pub(super) under_way: IntGauge,
    pub(super) deliveries: IntCounterVec,
    pub(super) delivery_seconds: HistogramVec,
    pub(super) commit_seconds: Histogram,
    pub(super) batch: Histogram,
    pub(super) transactions_failed: IntCounter,
    pub(super) crl_fetches: IntCounterVec,
    pub(super) checkpoint: IntGauge,
    pub(super) reloads: IntCounterVec,
    pub(super) last_reload: IntGauge,
    pub(super) last_reload_good: IntGauge,
}

/// Makes metrics in a registry.
struct Maker(Registry);

impl Maker {
    fn keep<C: Collector + Clone + 'static>(&self, made: Result<C, Error>) -> Result<C, Error> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// Lines that are there from the start, so that a rate can be had of the first one.
    fn words(&self, name: &str, help: &str, label: &str, words: &[&str]) -> Result<IntCounterVec, Error> {
        let counters = self.counters(name, help, &[label])?;
        words.iter().for_each(|word| drop(counters.with_label_values(&[word])));
        Ok(counters)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.keep(IntGauge::new(name, help))
    }

    fn times(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, Error> {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(TIMES.to_vec()), labels))
    }
}

impl Set {
    pub(super) fn new() -> Result<Self, Error> {
        let make = Maker(Registry::new());
        let mail = make.counters("segel_mail_total", "Messages answered at the final dot.", &["side", "outcome"])?;
        let verdicts = make.counters("segel_verdicts_total", "Accepted messages by verdict.", &["side", "verdict"])?;
        let accept = make.times("segel_accept_seconds", ACCEPT, &["side"])?;
        let stages = make.times("segel_stage_seconds", "Stages of accepting a message.", &["stage"])?;
        let received = make.counters("segel_received_bytes_total", "Octets of answered messages.", &["side"])?;
        let sides = SIDES.map(Side::name);
        let ended = Ended::ALL.map(Ended::name);
        let words = VERDICTS.map(Verdict::name);
        Ok(Self {
            mail: pairs(sides, ended, |labels| mail.with_label_values(&labels)),
            verdicts: pairs(sides, words, |labels| verdicts.with_label_values(&labels)),
            accept: sides.map(|side| accept.with_label_values(&[side])),
            stages: Stage::ALL.map(|stage| stages.with_label_values(&[stage.name()])),
            received: sides.map(|side| received.with_label_values(&[side])),
            reasons: make.counters("segel_reasons_total", REASONS, &["side", "reason"])?,
            not_accepted: make.counters("segel_not_accepted_total", NOT_ACCEPTED, &["side", "reply", "rule"])?,
            copies: make.counters("segel_copies_total", "Copies made, by what was done.", &["side", "treatment"])?,
            recipients: make.counters("segel_recipients_total", RECIPIENTS, &["side", "treatment"])?,
            signed_bodies: make.words(
                "segel_signed_bodies_total",
                SIGNED_BODIES,
                "result",
                &["unchanged", "changed"],
            )?,
            connections: make.counters("segel_connections_total", "Connections let in.", &["listener"])?,
            connected: make.gauges("segel_connections", "Open connections.", &["listener"])?,
            sessions: IntGauge::new("segel_sessions", "Open connections of all listeners.")?,
            limited: make.counters("segel_limited_total", LIMITED, &["listener", "limit"])?,
            logins: make.words("segel_logins_total", LOGINS, "result", &["good", "failed"])?,
            under_way: make.gauge("segel_deliveries_under_way", "Deliveries at a next hop just now.")?,
            deliveries: make.counters("segel_deliveries_total", DELIVERIES, &["next_hop", "result"])?,
            delivery_seconds: make.times("segel_delivery_seconds", DELIVERY, &["next_hop"])?,
            commit_seconds: make.times("segel_store_commit_seconds", COMMIT, &[])?.with_label_values(&[] as &[&str]),
            batch: make.keep(Histogram::with_opts(
                HistogramOpts::new("segel_store_batch_jobs", "Jobs that shared a transaction.").buckets(JOBS.to_vec()),
            ))?,
            transactions_failed: make
                .keep(IntCounter::new("segel_store_failures_total", "Transactions that were rolled back."))?,
            crl_fetches: make.words(
                "segel_crl_fetches_total",
                "Places asked for a CRL.",
                "result",
                &["good", "failed"],
            )?,
            checkpoint: make.gauge("segel_audit_checkpoint_timestamp_seconds", CHECKPOINT)?,
            reloads: make.words(
                "segel_reloads_total",
                "Reloads of the configuration.",
                "result",
                &["good", "failed"],
            )?,
            last_reload: make.gauge("segel_last_good_reload_timestamp_seconds", LAST_RELOAD)?,
            last_reload_good: make.gauge("segel_last_reload_good", "1: the last reload (or the start) took effect.")?,
            registry: make.0,
        })
    }

    pub(super) fn answered(&self, side: Side, ended: Ended) -> Option<&IntCounter> {
        self.mail.get(place(side) * Ended::ALL.len() + Ended::ALL.iter().position(|one| *one == ended)?)
    }

    pub(super) fn verdict(&self, side: Side, verdict: Verdict) -> Option<&IntCounter> {
        self.verdicts.get(place(side) * VERDICTS.len() + VERDICTS.iter().position(|one| *one == verdict)?)
    }

    pub(super) fn stage(&self, stage: Stage) -> Option<&Histogram> {
        self.stages.get(Stage::ALL.iter().position(|one| *one == stage)?)
    }

    pub(super) fn took(&self, side: Side) -> Option<&Histogram> {
        self.accept.get(place(side))
    }

    pub(super) fn octets(&self, side: Side) -> Option<&IntCounter> {
        self.received.get(place(side))
    }
}

/// In [`SIDES`].
fn place(side: Side) -> usize {
    match side {
        Side::Inside => 0,
        Side::Outside => 1,
    }
}

fn pairs<const N: usize, const M: usize>(
    first: [&'static str; N],
    second: [&'static str; M],
    of: impl Fn([&'static str; 2]) -> IntCounter,
) -> Vec<IntCounter> {
    first.iter().flat_map(|one| second.iter().map(|other| of([one, other]))).collect()
}
