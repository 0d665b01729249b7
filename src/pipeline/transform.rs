//! Makes the finished copies: the plan is pure, the private key acts in between.

use super::budget::{self, Room};
use super::{AcceptError, Arrival, Gateway, Snapshot};
use crate::crypto;
use crate::keys::KeyBackend;
use crate::metrics;
use crate::plan::mark::{self, Received, received};
use crate::plan::{self, Copies, Plan, PlanError, Source};
use crate::policy::{Decided, Facts, ForRecipient, Refusal, RefusalKind, Side};
use crate::queue::QueueId;
use crate::seal::PseudonymKey;
use jiff::Timestamp;
use std::sync::Arc;

/// What a message has become on its way: the decision, what it rests on, and the finished copies.
#[derive(Debug)]
pub struct Made {
    /// What it rests on.
    pub facts: Facts,
    /// What was decided.
    pub decided: Decided,
    /// The copies for the recipients that are delivered to; none where every recipient's mail is held.
    pub copies: Copies,
    /// The room that they take; to be kept until they are stored.
    pub room: Room,
}

/// Makes the copies, on a worker thread: signing and encrypting are work for a CPU.
pub async fn transform(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    facts: Facts,
    decided: Decided,
    id: &QueueId,
    now: Timestamp,
) -> Result<Made, AcceptError> {
    if !decided.recipients().iter().any(ForRecipient::is_delivered) {
        let copies = Copies { copies: Vec::new(), by_recipient: vec![None; decided.recipients().len()] };
        return Ok(Made { facts, decided, copies, room: Room::default() });
    }
    let room = room(gateway, arrival, &facts, &decided).await?;
    let id = id.to_string();
    let marks = gateway.marks.clone();
    // Mail that was taken before came when it came.
    let arrived = facts.again.as_ref().map_or(now, |again| again.taken);
    let trace = trace(snapshot, arrival, &id, arrived);
    let (snapshot, content, keys) = (Arc::clone(snapshot), arrival.content.clone(), gateway.keys.clone());
    let work = move || {
        let source = source(&snapshot, &facts, &content, &trace, &id, now);
        let copies = match plan::plan(&decided, &source).map_err(unplannable)? {
            Plan::Done(copies) => copies,
            Plan::Sign(waiting) => {
                let signature = keys.sign(waiting.key(), waiting.algorithm(), waiting.to_be_signed());
                waiting.finish(&signature.map_err(AcceptError::Signing)?).map_err(AcceptError::Plan)?
            }
        };
        let copies = finish(&marks, &snapshot, &facts, &decided, &content, copies)?;
        Ok(Made { facts, decided, copies, room })
    };
    gateway.cpu(work).await?
}

/// Whether the copies can be made, as far as that shows without the private key: for a dry run.
///
/// # Errors
/// What the client would hear.
pub fn can_be_made(
    snapshot: &Snapshot,
    arrival: &Arrival,
    facts: &Facts,
    decided: &Decided,
    now: Timestamp,
) -> Result<(), AcceptError> {
    if !decided.recipients().iter().any(ForRecipient::is_delivered) {
        return Ok(());
    }
    let (id, trace) = ("", trace(snapshot, arrival, "", now));
    plan::plan(decided, &source(snapshot, facts, &arrival.content, &trace, id, now)).map(drop).map_err(unplannable)
}

fn source<'a>(
    snapshot: &'a Snapshot,
    facts: &'a Facts,
    content: &'a [u8],
    trace: &'a str,
    id: &'a str,
    now: Timestamp,
) -> Source<'a> {
    Source {
        content,
        inspected: &facts.inspected,
        unopened: facts.unopened.as_ref(),
        sender: &facts.sender,
        own: &snapshot.config.policy.domains,
        received: trace,
        hostname: &snapshot.config.hostname,
        id,
        now,
        random: crypto::random(),
        limits: &snapshot.limits,
    }
}

/// What goes on top of finished copies: our mark where a key has acted on the content, and, last of all, DKIM for mail that
/// somebody vouches for: the domain in `From` answers for it (O59).
fn finish(
    marks: &PseudonymKey,
    snapshot: &Snapshot,
    facts: &Facts,
    decided: &Decided,
    content: &[u8],
    mut copies: Copies,
) -> Result<Copies, AcceptError> {
    let vouched = facts.inspected.from.mailbox().filter(|_| facts.side == Side::Inside && decided.is_vouched());
    let dkim = vouched.and_then(|from| snapshot.dkim(from.domain()));
    for copy in &mut copies.copies {
        let mut fields = String::new();
        if matches!(copy.treatment, "signed" | "encrypted" | "decrypted") {
            let mac = marks.of(&mark::bound(facts.side, copy.content.bytes()));
            fields = mark::passed(facts.side, &snapshot.config.hostname, &mac);
        }
        if facts.inspected.signed && !matches!(copy.treatment, "signed" | "encrypted" | "decrypted") {
            metrics::signed_body(copy.content.bytes().ends_with(body(content)));
        }
        if let Some(dkim) = dkim {
            let signatures = dkim.sign(copy.content.bytes()).map_err(AcceptError::Dkim)?;
            fields.insert_str(0, &signatures);
        }
        if !fields.is_empty() {
            copy.content = copy.content.clone().with_fields(&fields);
        }
    }
    Ok(copies)
}

/// What follows the header section.
fn body(content: &[u8]) -> &[u8] {
    let start = memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |end| end + 4);
    content.get(start..).unwrap_or_default()
}

/// Room for the copies. A refusal would tell that a private key was asked and for whom: such mail waits.
async fn room(gateway: &Gateway, arrival: &Arrival, facts: &Facts, decided: &Decided) -> Result<Room, AcceptError> {
    let octets = budget::estimate(arrival.content.len(), decided);
    if facts.inspected.asked_private_key {
        return gateway.budget.wait(arrival.side, octets).await.ok_or(AcceptError::Worker);
    }
    gateway.budget.take(arrival.side, octets).ok_or(AcceptError::NoRoom)
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
        tls: arrival.tls.as_deref(),
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
        PlanError::TooManyCopies(copies) => AcceptError::Refused(Refusal {
            kind: RefusalKind::TooManyCopies,
            addresses: Vec::new(),
            detail: format!("{copies} encrypted copies are more than limits.copies allows"),
            rule: "copies-refused",
        }),
        other => AcceptError::Plan(other),
    }
}
