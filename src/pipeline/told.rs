//! What operators hear of each message at its final dot: one line of the log, and the counters.
//!
//! People are named only where the configuration asks for that: the audit log seals their addresses, and the log is open to
//! whoever reads it.

use super::{AcceptError, Arrival, Snapshot};
use crate::mail::{ReversePath, without_addresses};
use crate::metrics::{self, Ended, Stopwatch};
use crate::plan::Copy;
use crate::policy::HoldClass;
use crate::queue::{NewRecord, NewState, QueueId};
use crate::reason::Reason;
use crate::smime::Verdict;
use crate::smtp::Reply;

/// What is said of an accepted message, taken before its record is given away.
pub(super) struct Summary {
    verdict: Verdict,
    reasons: Vec<Reason>,
    rule: String,
    copies: Vec<&'static str>,
    delivered: usize,
    held: Vec<HoldClass>,
    /// Only where lines name people.
    message_id: Option<String>,
}

impl Summary {
    pub(super) fn of(snapshot: &Snapshot, record: &NewRecord, copies: Vec<&'static str>) -> Self {
        let held = record.recipients.iter().filter_map(|recipient| match &recipient.state {
            NewState::Held { class, .. } => Some(*class),
            NewState::Pending { .. } => None,
        });
        let held: Vec<HoldClass> = held.collect();
        Self {
            verdict: record.verdict,
            reasons: record.reasons.clone(),
            rule: record.rule.clone(),
            copies,
            delivered: record.recipients.len() - held.len(),
            held,
            message_id: record.message_id.clone().filter(|_| snapshot.config.log.addresses),
        }
    }

    /// `signed`, `hold-quarantine`, or several, each once.
    fn treatment(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let copies = self.copies.iter().map(|copy| (*copy).to_owned());
        for word in copies.chain(self.held.iter().map(|class| format!("hold-{}", class.name()))) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(",")
    }
}

/// What was made of a copy, in one word. Marked is mail from outside that got our fields and nothing else.
pub(super) fn treatment(copy: &Copy) -> &'static str {
    match copy.treatment {
        known @ ("signed" | "encrypted" | "decrypted" | "unopened" | "unchanged" | "plain") => known,
        _ => "marked",
    }
}

/// It was taken.
pub(super) fn accepted(snapshot: &Snapshot, arrival: &Arrival, id: &QueueId, told: &Summary, watch: Stopwatch) {
    let took = watch.passed();
    metrics::answered(arrival.side, Ended::Accepted, took, arrival.content.len());
    metrics::judged(arrival.side, told.verdict, &told.reasons);
    told.copies.iter().for_each(|treatment| metrics::copied(arrival.side, treatment));
    metrics::recipients(arrival.side, None, told.delivered);
    for class in &told.held {
        metrics::recipients(arrival.side, Some(class.name()), 1);
    }
    let people = People::of(snapshot, arrival);
    let reasons = Some(told.reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(","));
    tracing::info!(
        queue_id = %id,
        side = %arrival.side.name(),
        listener = %arrival.listener,
        client = %arrival.peer,
        recipients = arrival.envelope.recipients.len(),
        verdict = %told.verdict.name(),
        reasons = reasons.filter(|reasons| !reasons.is_empty()).map(tracing::field::display),
        rule = %told.rule,
        treatment = %told.treatment(),
        size = arrival.content.len(),
        ms = millis(took),
        from = people.from,
        to = people.to,
        login = people.login,
        message_id = told.message_id,
        "mail accepted."
    );
}

/// It was refused or deferred. What is our own trouble needs somebody to look at it.
pub(super) fn not_accepted(
    snapshot: &Snapshot,
    arrival: &Arrival,
    id: &QueueId,
    error: &AcceptError,
    reply: &Reply,
    watch: Stopwatch,
) {
    let took = watch.passed();
    let ended = if reply.is_permanent() { Ended::Refused } else { Ended::Deferred };
    metrics::answered(arrival.side, ended, took, arrival.content.len());
    metrics::not_accepted(arrival.side, reply.code(), error.rule());
    let names = snapshot.config.log.addresses;
    let detail = match error {
        AcceptError::Refused(refusal) | AcceptError::Deferred(refusal) => refusal.detail.clone(),
        other => chain(other),
    };
    let detail = if names { detail } else { without_addresses(&detail).into_owned() };
    let people = People::of(snapshot, arrival);
    let text = if ended == Ended::Refused { "mail refused." } else { "mail deferred." };
    tracing::info!(
        queue_id = %id,
        side = %arrival.side.name(),
        listener = %arrival.listener,
        client = %arrival.peer,
        recipients = arrival.envelope.recipients.len(),
        rule = %error.rule(),
        reply = format!("{} {}", reply.code(), reply.status()),
        detail,
        size = arrival.content.len(),
        ms = millis(took),
        from = people.from,
        to = people.to,
        login = people.login,
        "{text}"
    );
    if is_our_trouble(error) {
        tracing::error!(queue_id = %id, rule = %error.rule(), detail, "mail was not taken.");
    }
}

fn is_our_trouble(error: &AcceptError) -> bool {
    matches!(
        error,
        AcceptError::Plan(_)
            | AcceptError::Signing(_)
            | AcceptError::Dkim(_)
            | AcceptError::Queue(_)
            | AcceptError::Worker
            | AcceptError::Rounds
    )
}

/// Who wrote to whom, where that may be said.
struct People {
    from: Option<String>,
    to: Option<String>,
    login: Option<String>,
}

impl People {
    fn of(snapshot: &Snapshot, arrival: &Arrival) -> Self {
        if !snapshot.config.log.addresses {
            return Self { from: None, to: None, login: None };
        }
        let from = match &arrival.envelope.reverse_path {
            ReversePath::Null => "<>".to_owned(),
            ReversePath::Mailbox(address) => address.as_str().to_owned(),
        };
        let to: Vec<&str> = arrival.envelope.recipients.iter().map(|address| address.as_str()).collect();
        Self { from: Some(from), to: Some(to.join(",")), login: arrival.login.clone() }
    }
}

fn millis(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The error and its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
