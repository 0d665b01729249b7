//! What the queue and the audit log are told about a message.

use super::{AcceptError, Arrival, Gateway, Snapshot};
use crate::audit::Event;
use crate::mail::header::{From, HeaderSection};
use crate::mail::{Address, ReversePath};
use crate::plan::{self, Transformed};
use crate::policy::{Decided, Facts, Refusal, Side, Treatment, codes};
use crate::queue::{Direction, NewCopy, NewRecipient, NewRecord, NewState, QueueId};
use crate::smime::{Inspected, report};
use jiff::Timestamp;
use serde_json::json;

/// The record of an accepted message: the original, the finished copy, each recipient's state, the verdict with what it
/// rests on, and the audit events, all for one transaction.
pub fn of(
    snapshot: &Snapshot,
    arrival: &Arrival,
    facts: Facts,
    decided: &Decided,
    copy: Option<Transformed>,
    id: &QueueId,
    now: Timestamp,
) -> NewRecord {
    let headers = Headers::read(snapshot, arrival);
    let inspected = &facts.inspected;
    let treatment = plan::treatment_name(decided, inspected).to_owned();
    let details = json!({
        "subject": headers.subject,
        "report": report::json(inspected, Some(action(decided))),
        "rule": decided.rule(),
        "key": decided.signing().map(|signing| signing.key.id.clone()),
    });
    let deciding = inspected.layers.iter().find_map(|layer| layer.signers.first());
    NewRecord {
        id: id.clone(),
        direction: match arrival.side {
            Side::Inside => Direction::Outgoing,
            Side::Outside => Direction::Incoming,
        },
        received: now,
        listener: arrival.listener.clone(),
        peer: arrival.peer.to_string(),
        helo: arrival.helo.clone(),
        reverse_path: arrival.envelope.reverse_path.clone(),
        body: arrival.envelope.body,
        header_from: inspected.from.mailbox().cloned(),
        message_id: headers.message_id,
        verdict: inspected.verdict,
        reasons: decided.reasons().to_vec(),
        signer: bound_signer(inspected).map(|address| address.as_str().to_owned()),
        serial: deciding.and_then(|signer| signer.certificate.as_ref()).map(|certificate| certificate.serial_hex()),
        original: arrival.content.clone(),
        copies: copy.into_iter().map(|content| NewCopy { content, treatment: treatment.clone() }).collect(),
        recipients: recipients(snapshot, decided),
        details,
        policy: snapshot.config.policy.hash.clone(),
        rule: decided.rule().to_owned(),
        events: events(arrival, inspected, decided, id),
        evidence: facts.inspected.evidence,
        notice_for: None,
        lease: true,
    }
}

/// `deliver` or `quarantine`: what `inspect --json` calls `action`.
pub fn action(decided: &Decided) -> &'static str {
    if super::delivers(decided) { "deliver" } else { "quarantine" }
}

fn recipients(snapshot: &Snapshot, decided: &Decided) -> Vec<NewRecipient> {
    decided
        .treatments()
        .iter()
        .map(|(address, treatment)| NewRecipient {
            address: address.clone(),
            next_hop: snapshot.config.next_hop(address.domain()).clone(),
            state: match treatment {
                Treatment::Deliver => NewState::Pending { copy: 0 },
                Treatment::Hold { class, reasons } => NewState::Held { class: *class, reasons: reasons.clone() },
            },
        })
        .collect()
}

fn bound_signer(inspected: &Inspected) -> Option<&Address> {
    let signers = inspected.layers.iter().find(|layer| !layer.signers.is_empty()).map(|layer| &layer.signers)?;
    signers.iter().find(|signer| signer.bound_to_from).or_else(|| signers.first())?.address.as_ref()
}

struct Headers {
    message_id: Option<String>,
    subject: Option<String>,
}

impl Headers {
    fn read(snapshot: &Snapshot, arrival: &Arrival) -> Self {
        let text = |name: &str| {
            let headers = HeaderSection::parse(&arrival.content, &snapshot.limits).ok()?;
            let field = headers.named(&arrival.content, name).next()?;
            let text = headers.text(&arrival.content, field);
            Some(String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).take(1000).collect())
        };
        Self { message_id: text("Message-ID"), subject: text("Subject") }
    }
}
