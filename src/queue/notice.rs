//! Notices about failed mail: who gets one, and the record that carries it.

use super::commit::Prepared;
use super::content::{Missing, original_context};
use super::record::{NewCopy, NewRecipient, NewRecord, NewState};
use super::{Delivery, Direction, Queue, QueueError, QueueId};
use crate::audit::Event;
use crate::config::NextHop;
use crate::mail::{Address, BodyType, Domain, ReversePath};
use crate::plan::Transformed;
use crate::plan::notice::{Failure, NoticeRequest, Returned, failure};
use crate::smime::Verdict;
use jiff::Timestamp;
use std::sync::Arc;

/// What notices need to know of the configuration.
#[derive(Clone)]
pub struct Notices {
    /// Of the gateway.
    pub hostname: String,
    /// Who hears of double bounces.
    pub postmaster: Address,
    /// Whether a domain is an own one.
    pub own: Arc<dyn Fn(&Domain) -> bool + Send + Sync>,
    /// The next hop of a domain.
    pub router: Arc<dyn Fn(&Domain) -> NextHop + Send + Sync>,
}

impl Queue {
    /// The notice about these failures, if anybody is left to tell, and the event that says so.
    pub(super) async fn notice(
        &self,
        delivery: &Delivery,
        failures: &[Failure],
        now: Timestamp,
    ) -> Result<(Option<Prepared>, Event), QueueError> {
        let notices = self.notices();
        let (rule, verdict, original, discreet): (String, String, i64, bool) = sqlx::query_as(
            "SELECT rule, coalesce(outer_verdict, verdict), original, discreet <> 0 FROM record WHERE id = ?",
        )
        .bind(delivery.record)
        .fetch_one(self.0.store.readers())
        .await?;
        let discreet_failures: Vec<Failure> = failures.iter().map(discreetly).collect();
        let failures = if discreet { &discreet_failures } else { failures };
        let about = delivery.queue_id.to_string();
        let kind = addressee(delivery.direction, &rule, &verdict, &delivery.reverse_path);
        let (to, rule) = match (kind, &delivery.reverse_path) {
            (Addressee::Nobody, _) => {
                tracing::error!(queue_id = %about, "a notice to the postmaster failed; nobody is left to tell");
                return Ok((None, Event::Notice { queue_id: None, about, to: None }));
            }
            (Addressee::Sender, ReversePath::Mailbox(sender)) => (sender.clone(), FAILURE),
            _ => (notices.postmaster.clone(), DOUBLE_BOUNCE),
        };
        // The reverse-path is what the client said: with one outside, a subject would leave in clear by way of a failure.
        let foreign = delivery.direction == Direction::Outgoing && !(notices.own)(to.domain());
        let returned = if foreign && rule == FAILURE { Returned::Identification } else { Returned::Header };
        let original = match self.0.open_content(original, original_context(&delivery.queue_id)).await {
            Ok(original) => original,
            // A notice without the header section is better than none.
            Err(Missing::Damaged(_) | Missing::Destroyed) => bytes::Bytes::new(),
            Err(Missing::Failed(error)) => return Err(error),
        };
        let id = QueueId::random();
        let message_id = format!("{id}@{}", notices.hostname);
        let content = failure(&NoticeRequest {
            hostname: &notices.hostname,
            postmaster: notices.postmaster.as_str(),
            to: to.as_str(),
            original_id: &about,
            arrived: delivery.received,
            now,
            original: &original,
            returned,
            failures,
            boundary: &format!("segel-{}-{id}", QueueId::random()),
            message_id: &message_id,
        });
        let event = Event::Notice { queue_id: Some(id.to_string()), about, to: Some(to.clone()) };
        let next_hop = (notices.router)(to.domain());
        let to = NewRecipient {
            next_hop,
            address: to,
            dsn: crate::mail::RecipientDsn::default(),
            state: NewState::Pending { copy: 0 },
        };
        let record = record(id, &message_id, content, to, rule, delivery, now);
        Ok((Some(self.0.prepare(record).await?), event))
    }
}

/// The record that carries a notice: from nobody, to one mailbox.
fn record(
    id: QueueId,
    message_id: &str,
    content: Transformed,
    to: NewRecipient,
    rule: &str,
    about: &Delivery,
    now: Timestamp,
) -> NewRecord {
    NewRecord {
        id,
        direction: Direction::Notice,
        received: now,
        listener: String::new(),
        peer: String::new(),
        helo: String::new(),
        reverse_path: ReversePath::Null,
        // Addresses and header fields in it may hold UTF-8.
        body: if content.bytes().is_ascii() { BodyType::SevenBit } else { BodyType::EightBitMime },
        dsn: crate::mail::DsnRequest::default(),
        header_from: None,
        message_id: Some(format!("<{message_id}>")),
        verdict: Verdict::None,
        reasons: Vec::new(),
        signer: None,
        serial: None,
        original: content.bytes().clone(),
        copies: vec![NewCopy { content, treatment: "notice".to_owned() }],
        recipients: vec![to],
        details: serde_json::Value::Null,
        policy: String::new(),
        rule: rule.to_owned(),
        encrypted_to: Vec::new(),
        outer_verdict: None,
        evidence: crate::smime::inspect::Evidence::default(),
        notice_for: Some(about.queue_id.clone()),
        events: Vec::new(),
        lease: false,
    }
}

/// The same failure without a word of what the next hop said: it has seen what was inside an encrypted layer, and what it
/// answers may quote that or tell whether it could be opened (C42, C44).
fn discreetly(failure: &Failure) -> Failure {
    Failure {
        recipient: failure.recipient.clone(),
        status: "5.0.0".to_owned(),
        diagnostic: "x-segel; not accepted by the recipient's mail server".to_owned(),
        remote_mta: None,
    }
}

/// Who hears of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressee {
    Sender,
    Postmaster,
    Nobody,
}

/// Never a notice to a null reverse-path (RFC 5321 section 6.1), never one to the possibly forged sender of incoming mail
/// with a bad verdict (section 6.2), never more than one about a notice.
pub(super) fn addressee(direction: Direction, rule: &str, verdict: &str, reverse_path: &ReversePath) -> Addressee {
    match (direction, reverse_path) {
        (Direction::Notice, _) if rule == DOUBLE_BOUNCE => Addressee::Nobody,
        (_, ReversePath::Null) => Addressee::Postmaster,
        (Direction::Incoming, _) if verdict == "invalid" || verdict == "indeterminate" => Addressee::Postmaster,
        (_, ReversePath::Mailbox(_)) => Addressee::Sender,
    }
}

const FAILURE: &str = "failure-notice";
pub(super) const DOUBLE_BOUNCE: &str = "double-bounce";
