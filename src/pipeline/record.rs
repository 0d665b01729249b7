//! What the queue and the audit log are told about a message.

use super::transform::Made;
use super::{AcceptError, Arrival, Gateway, Snapshot, reply};
use crate::audit::Event;
use crate::mail::header::HeaderSection;
use crate::mail::{Address, BodyType, RecipientDsn, ReversePath};
use crate::plan::{Copies, Copy};
use crate::policy::{BYPASS, Decided, Facts, ForRecipient, Form, HoldClass, Side, Treatment};
use crate::queue::{Direction, NewCopy, NewRecipient, NewRecord, NewState, QueueId};
use crate::smime::{Inspected, Verdict, report};
use jiff::Timestamp;
use serde_json::json;

/// The record of an accepted message: the original, the finished copy, each recipient's state, the verdict with what it
/// rests on, and the audit events, all for one transaction.
pub fn of(snapshot: &Snapshot, arrival: &Arrival, made: Made, id: &QueueId, now: Timestamp) -> NewRecord {
    let Made { facts, decided, copies, room: _ } = made;
    let decided = &decided;
    let headers = Headers::read(snapshot, arrival);
    let inspected = &facts.inspected;
    let details = json!({
        "subject": headers.subject,
        // To write `Received` again, should it be decided again.
        "arrival": {"protocol": arrival.protocol, "tls": arrival.tls, "login": arrival.login},
        "report": report::json(inspected, Some(action(decided))),
        "rule": decided.rule(),
        "sender": facts.sender.resinfo(),
        "key": decided.key_used().map(|signing| signing.key.id.clone()),
        "opened_by": inspected.opened.as_ref().map(|opened| &opened.keys),
        "recipients": decided.recipients().iter().map(detail).collect::<Vec<_>>(),
    });
    let deciding = inspected.layers.iter().find_map(|layer| layer.signers.first());
    NewRecord {
        id: id.clone(),
        direction: direction(arrival),
        received: now,
        listener: arrival.listener.clone(),
        peer: arrival.peer.to_string(),
        helo: arrival.helo.clone(),
        reverse_path: arrival.envelope.reverse_path.clone(),
        dsn: arrival.envelope.dsn.clone(),
        sender_proven: sender_proven(arrival, &facts),
        body: body(arrival.envelope.body, copies.copies.iter().map(|copy| copy.content.bytes().as_ref())),
        header_from: inspected.from.mailbox().cloned(),
        verdict: inspected.verdict,
        reasons: decided.reasons().to_vec(),
        signer: bound_signer(inspected).map(|address| address.as_str().to_owned()),
        serial: deciding.and_then(|signer| signer.certificate.as_ref()).map(|certificate| certificate.serial_hex()),
        original: arrival.content.clone(),
        recipients: recipients(snapshot, arrival, decided, &copies),
        copies: copies.copies.into_iter().map(new_copy).collect(),
        encrypted_to: newly_encrypted_to(decided, &facts),
        outer_verdict: facts.unopened.as_ref().map(|unopened| unopened.verdict),
        details,
        policy: snapshot.config.policy.hash.clone(),
        rule: decided.rule().to_owned(),
        events: events(snapshot, arrival, &facts, decided, id, headers.message_id.as_deref()),
        message_id: headers.message_id,
        evidence: facts.inspected.evidence,
        notice_for: None,
        lease: true,
    }
}

/// Whether a notice to the reverse-path goes to who has sent the mail: it came from inside, the path's domain answers for it
/// (SPF, DKIM), or the signer is who the path names. Anybody else may be a stranger whose name was forged (RFC 5321
/// section 6.2).
fn sender_proven(arrival: &Arrival, facts: &Facts) -> bool {
    let Some(path) = arrival.envelope.reverse_path.mailbox().filter(|_| arrival.side == Side::Outside) else {
        return arrival.side == Side::Inside;
    };
    // Without a key, who stands outside sees no signature inside: neither may a notice.
    let outside = facts.unopened.as_ref().unwrap_or(&facts.inspected);
    let signed =
        outside.verdict == Verdict::Valid && outside.from.mailbox().is_some_and(|from| from.same_mailbox(path));
    signed || facts.sender.proves_reverse_path(path.domain())
}

fn direction(arrival: &Arrival) -> Direction {
    match arrival.side {
        Side::Inside => Direction::Outgoing,
        Side::Outside => Direction::Incoming,
    }
}

/// As it came, but for what was inside an encrypted layer: that may need 8BITMIME where the mail around it did not.
fn body<'a>(arrived: BodyType, mut copies: impl Iterator<Item = &'a [u8]>) -> BodyType {
    if copies.all(<[u8]>::is_ascii) { arrived } else { BodyType::EightBitMime }
}

/// `deliver` or `quarantine`: what `inspect --json` calls `action`.
pub fn action(decided: &Decided) -> &'static str {
    if decided.recipients().iter().any(ForRecipient::is_delivered) { "deliver" } else { "quarantine" }
}

fn new_copy(copy: Copy) -> NewCopy {
    NewCopy { content: copy.content, treatment: copy.treatment.to_owned() }
}

/// Who gets encrypted mail for the first time: from now on it does not go back to clear by itself.
fn newly_encrypted_to(decided: &Decided, facts: &Facts) -> Vec<Address> {
    let pairs = decided.recipients().iter().zip(&facts.recipients);
    pairs
        .filter(|(one, known)| is_encrypted(one) && !known.encrypted_before)
        .map(|(one, _)| one.address.clone())
        .collect()
}

fn is_encrypted(recipient: &ForRecipient) -> bool {
    matches!(recipient.treatment, Treatment::Deliver(Form::Encrypted(_)))
}

/// What was decided for one recipient and with which certificate, for those who may read it.
fn detail(recipient: &ForRecipient) -> serde_json::Value {
    let (treatment, certificate) = match &recipient.treatment {
        Treatment::Deliver(Form::Clear) => ("deliver", None),
        Treatment::Deliver(Form::Encrypted(to)) => ("encrypt", Some(&to.id)),
        Treatment::Deliver(Form::Opened) => ("open", None),
        Treatment::Deliver(Form::Unopened) => ("deliver-unopened", None),
        Treatment::Hold { .. } => ("hold", None),
    };
    json!({
        "address": recipient.address.as_str(),
        "treatment": treatment,
        "rule": recipient.rule,
        "signed": recipient.signature.is_some(),
        "certificate": certificate,
    })
}

/// A recipient without a copy has to wait: mail is never lost for want of one.
fn recipients(snapshot: &Snapshot, arrival: &Arrival, decided: &Decided, copies: &Copies) -> Vec<NewRecipient> {
    let state = |recipient: &ForRecipient, copy: Option<usize>| match (&recipient.treatment, copy) {
        (Treatment::Deliver(_), Some(copy)) => NewState::Pending { copy },
        (Treatment::Deliver(_), None) => {
            NewState::Held { class: HoldClass::Operator, reasons: decided.reasons().to_vec() }
        }
        (Treatment::Hold { class, reasons }, _) => NewState::Held { class: *class, reasons: reasons.clone() },
    };
    let copies = copies.by_recipient.iter().copied().chain(std::iter::repeat(None));
    let dsn = arrival.envelope.recipient_dsn.iter().cloned().chain(std::iter::repeat_with(RecipientDsn::default));
    let recipient = |((recipient, copy), dsn): ((&ForRecipient, Option<usize>), RecipientDsn)| NewRecipient {
        address: recipient.address.clone(),
        dsn,
        next_hop: snapshot.config.next_hop(recipient.address.domain()),
        state: state(recipient, copy),
    };
    decided.recipients().iter().zip(copies).zip(dsn).map(recipient).collect()
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

fn events(
    snapshot: &Snapshot,
    arrival: &Arrival,
    facts: &Facts,
    decided: &Decided,
    id: &QueueId,
    message_id: Option<&str>,
) -> Vec<Event> {
    let queue_id = id.to_string();
    let sender = sender(arrival, facts.inspected.from.mailbox());
    let held: Vec<&ForRecipient> = decided.recipients().iter().filter(|one| !one.is_delivered()).collect();
    let mut events = vec![Event::Accepted {
        queue_id: queue_id.clone(),
        direction: direction(arrival).name().to_owned(),
        verdict: facts.inspected.verdict.name().to_owned(),
        reasons: decided.reasons().to_vec(),
        policy: snapshot.config.policy.hash.clone(),
        rule: decided.rule().to_owned(),
        recipients: decided.recipients().len(),
        held: held.len(),
        encrypted: decided.recipients().iter().filter(|one| is_encrypted(one)).count(),
        opened: facts.inspected.opened.is_some(),
        size: arrival.content.len(),
        message_id: message_id.map(str::to_owned),
        sender: sender.clone(),
    }];
    for recipient in held {
        if let Treatment::Hold { class, reasons } = &recipient.treatment {
            events.push(Event::Held {
                queue_id: queue_id.clone(),
                class: class.name().to_owned(),
                reasons: reasons.clone(),
                recipient: recipient.address.clone(),
            });
        }
    }
    if decided.rule() == BYPASS {
        events.push(Event::SigningBypassed { queue_id: queue_id.clone(), sender: sender.clone() });
    }
    if let Some(signing) = decided.key_used() {
        events.push(Event::KeyUsed { queue_id, key: signing.key.id.clone(), sender });
    }
    events
}

fn sender(arrival: &Arrival, from: Option<&Address>) -> Option<Address> {
    from.cloned().or_else(|| match &arrival.envelope.reverse_path {
        ReversePath::Null => None,
        ReversePath::Mailbox(path) => Some(path.clone()),
    })
}

/// A refusal after the final dot leaves an audit row, without the mail. The row is best effort: the client keeps its
/// mail either way, and a store that fails must not keep it from hearing so.
pub async fn refused(gateway: &Gateway, snapshot: &Snapshot, arrival: &Arrival, id: &QueueId, error: &AcceptError) {
    let reply = reply::of(error);
    let code = format!("{} {}", reply.code(), reply.status());
    let event = Event::Refused {
        queue_id: id.to_string(),
        reply: code,
        rule: error.rule().to_owned(),
        reasons: Vec::new(),
        policy: snapshot.config.policy.hash.clone(),
        sender: sender(arrival, None),
    };
    if let Err(error) = gateway.audit.record(vec![event]).await {
        tracing::error!(%error, "the refusal could not be recorded.");
    }
}

#[cfg(test)]
mod tests {
    use super::{BodyType, body};

    #[test]
    fn i11_body_says_what_the_copies_need() {
        use BodyType::{EightBitMime, SevenBit};
        for (arrived, copies, expected) in [
            (SevenBit, &[&b"a"[..], b"b"][..], SevenBit),
            (SevenBit, &[b"a", b"\xe9"], EightBitMime),
            (SevenBit, &[], SevenBit),
            (EightBitMime, &[b"a"], EightBitMime),
        ] {
            assert_eq!(body(arrived, copies.iter().copied()), expected, "{copies:?}");
        }
    }
}
