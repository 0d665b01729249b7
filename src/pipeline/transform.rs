//! Makes the finished copy: the plan is pure, the private key acts in between.

use super::{AcceptError, Arrival, Gateway, Snapshot, delivers};
use crate::crypto;
use crate::keys::KeyBackend;
use crate::plan::mark::{Received, received};
use crate::plan::{self, Plan, PlanError, Source, Transformed};
use crate::policy::{Decided, Facts, Refusal, RefusalKind};
use crate::queue::QueueId;
use jiff::Timestamp;
use std::sync::Arc;

/// The copy for the recipients that are delivered to; none where every recipient's mail is held.
pub async fn transform(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    facts: &Facts,
    decided: &Decided,
    id: &QueueId,
    now: Timestamp,
) -> Result<Option<Transformed>, AcceptError> {
    if !delivers(decided) {
        return Ok(None);
    }
    let id = id.to_string();
    let trace = trace(snapshot, arrival, &id, now);
    let source = Source {
        content: &arrival.content,
        inspected: &facts.inspected,
        received: &trace,
        hostname: &snapshot.config.hostname,
        id: &id,
        now,
        random: crypto::random(),
        limits: &snapshot.limits,
    };
    let waiting = match plan::plan(decided, &source).map_err(unplannable)? {
        Plan::Done(copy) => return Ok(Some(copy)),
        Plan::Sign(waiting) => waiting,
    };
    let keys = gateway.keys.clone();
    let signed = gateway
        .cpu(move || {
            let signature =
                keys.sign(waiting.key(), waiting.algorithm(), waiting.to_be_signed()).map_err(AcceptError::Signing)?;
            waiting.finish(&signature).map_err(AcceptError::Plan)
        })
        .await??;
    Ok(Some(signed))
}

fn trace(snapshot: &Snapshot, arrival: &Arrival, id: &str, now: Timestamp) -> String {
    let for_one = match arrival.envelope.recipients.as_slice() {
        [one] => Some(one.as_str()),
        _ => None,
    };
    received(&Received {
        helo: &arrival.helo,
        peer: arrival.peer,
        by: &snapshot.config.hostname,
        with: arrival.protocol,
        id,
        for_one,
        at: now,
    })
}

/// A structure that can't be signed is the sender's to mend; everything else is ours.
fn unplannable(error: PlanError) -> AcceptError {
    match error {
        PlanError::Structure(source) => AcceptError::Refused(Refusal {
            kind: RefusalKind::Malformed,
            addresses: Vec::new(),
            detail: source.to_string(),
            rule: "unsignable-structure",
        }),
        other => AcceptError::Plan(other),
    }
}
