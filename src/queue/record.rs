//! The values that go in and come out.

use super::{Hold, QueueId};
use crate::audit::Event;
use crate::config::{DeliverTls, Destination, NextHop};
use crate::mail::{Address, BodyType, DsnRequest, Notify, RecipientDsn, Ret, ReversePath};
use crate::plan::Transformed;
use crate::policy::HoldClass;
use crate::reason::Reason;
use crate::smime::{Verdict, inspect::Evidence};
use bytes::Bytes;
use jiff::Timestamp;

/// Which way mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From inside.
    Outgoing,
    /// From outside.
    Incoming,
    /// Made here, about other mail.
    Notice,
}

impl Direction {
    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
            Self::Notice => "notice",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Outgoing, Self::Incoming, Self::Notice].into_iter().find(|direction| direction.name() == name)
    }
}

/// Accepted mail, ready to be committed.
#[derive(Debug)]
pub struct NewRecord {
    /// Its id, already in its header fields.
    pub id: QueueId,
    /// Which way it goes.
    pub direction: Direction,
    /// When it arrived.
    pub received: Timestamp,
    /// Name of the listener.
    pub listener: String,
    /// The peer's address.
    pub peer: String,
    /// What it said in EHLO.
    pub helo: String,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// BODY.
    pub body: BodyType,
    /// RET and ENVID.
    pub dsn: DsnRequest,
    /// Whether the reverse-path is the sender's own, as far as can be known. Where it may be forged, no notice goes there.
    pub sender_proven: bool,
    /// The mailbox in `From`, if there is exactly one.
    pub header_from: Option<Address>,
    /// Message-ID as it stands in the header.
    pub message_id: Option<String>,
    /// Of the inspection.
    pub verdict: Verdict,
    /// Of the inspection.
    pub reasons: Vec<Reason>,
    /// The signer's address.
    pub signer: Option<String>,
    /// Serial number of the signer's certificate, hex.
    pub serial: Option<String>,
    /// What arrived, octet by octet.
    pub original: Bytes,
    /// The finished copies.
    pub copies: Vec<NewCopy>,
    /// Who gets it.
    pub recipients: Vec<NewRecipient>,
    /// Whose copy is encrypted: remembered, so that later mail does not go back to clear by itself.
    pub encrypted_to: Vec<Address>,
    /// A private key was asked: the verdict as somebody without a key sees it. Then notices say nothing else.
    pub outer_verdict: Option<Verdict>,
    /// Subject, report and decision; sealed.
    pub details: serde_json::Value,
    /// Hash of the policy that decided.
    pub policy: String,
    /// What fired.
    pub rule: String,
    /// What the verdict rests on.
    pub evidence: Evidence,
    /// The mail a notice is about.
    pub notice_for: Option<QueueId>,
    /// Audit events of the same transaction.
    pub events: Vec<Event>,
    /// Whether pending recipients are leased at once and returned for delivery from memory.
    pub lease: bool,
}

impl NewRecord {
    /// One that carries a notice of ours: from nobody. What it is about, and its events, are the caller's to say.
    pub fn notice(
        id: QueueId,
        message_id: &str,
        content: Transformed,
        recipients: Vec<NewRecipient>,
        rule: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            direction: Direction::Notice,
            received: now,
            listener: String::new(),
            peer: String::new(),
            helo: String::new(),
            reverse_path: ReversePath::Null,
            // A returned mail may hold octets above 127.
            body: if content.bytes().is_ascii() { BodyType::SevenBit } else { BodyType::EightBitMime },
            dsn: DsnRequest::default(),
            sender_proven: true,
            header_from: None,
            message_id: Some(format!("<{message_id}>")),
            verdict: Verdict::None,
            reasons: Vec::new(),
            signer: None,
            serial: None,
            original: content.bytes().clone(),
            copies: vec![NewCopy { content, treatment: "notice".to_owned() }],
            recipients,
            encrypted_to: Vec::new(),
            outer_verdict: None,
            details: serde_json::Value::Null,
            policy: String::new(),
            rule: rule.to_owned(),
            evidence: Evidence::default(),
            notice_for: None,
            events: Vec::new(),
            lease: false,
        }
    }
}

/// A finished copy.
#[derive(Debug)]
pub struct NewCopy {
    /// The message.
    pub content: Transformed,
    /// `plain`, `signed` …
    pub treatment: String,
}

/// One recipient of accepted mail.
#[derive(Debug)]
pub struct NewRecipient {
    /// RCPT TO.
    pub address: Address,
    /// What the sender wants to hear of it.
    pub dsn: RecipientDsn,
    /// Where it goes.
    pub next_hop: NextHop,
    /// What was decided.
    pub state: NewState,
}

/// The state a recipient begins in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewState {
    /// To be delivered: index of the copy.
    Pending {
        /// Index in [`NewRecord::copies`].
        copy: usize,
    },
    /// Held, without a copy.
    Held {
        /// Why, roughly.
        class: HoldClass,
        /// Why, exactly.
        reasons: Vec<Reason>,
    },
}

/// Mail to be delivered to one next hop in one transaction, under a lease.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Row of the record.
    pub record: i64,
    /// Its id.
    pub queue_id: QueueId,
    /// Row of the copy.
    pub copy: i64,
    /// The same octets at every try.
    pub content: Bytes,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// BODY.
    pub body: BodyType,
    /// RET and ENVID.
    pub dsn: DsnRequest,
    /// Where it goes.
    pub next_hop: NextHop,
    /// RCPT TO.
    pub recipients: Vec<DeliveryRecipient>,
    /// Proves the lease.
    pub token: [u8; 16],
    /// Which way it goes.
    pub direction: Direction,
    /// When the mail was accepted.
    pub received: Timestamp,
    /// Message-ID, for the audit log.
    pub message_id: Option<String>,
    /// Its lease and its place in memory.
    pub hold: Hold,
}

/// One recipient of a delivery.
#[derive(Clone, Debug)]
pub struct DeliveryRecipient {
    /// Row of the recipient.
    pub id: i64,
    /// RCPT TO.
    pub address: Address,
    /// What the sender wants to hear of it.
    pub dsn: RecipientDsn,
    /// Tries before this one.
    pub tries: u32,
    /// The sender was told of the delay.
    pub warned: bool,
}

/// A next hop that takes nothing: in place of one that can't be read.
pub(super) fn nowhere() -> NextHop {
    NextHop { to: Destination::Servers(Vec::new()), tls: DeliverTls::Verify }
}

pub(super) fn body_name(body: BodyType) -> &'static str {
    match body {
        BodyType::SevenBit => "7bit",
        BodyType::EightBitMime => "8bitmime",
    }
}

pub(super) fn body_from_name(name: &str) -> BodyType {
    if name == "7bit" { BodyType::SevenBit } else { BodyType::EightBitMime }
}

/// `NOTIFY=… ORCPT=…`, as in RCPT; nothing where neither was given.
pub(super) fn dsn_text(dsn: &RecipientDsn) -> Option<String> {
    let notify = dsn.notify.map(|notify| format!("NOTIFY={}", notify.text()));
    // xtext has no space.
    let original = dsn.original.as_ref().map(|original| format!("ORCPT={original}"));
    let words: Vec<String> = notify.into_iter().chain(original).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Reads what [`dsn_text`] writes.
pub(super) fn dsn_from_text(text: Option<&str>) -> RecipientDsn {
    let mut dsn = RecipientDsn::default();
    for word in text.unwrap_or_default().split(' ') {
        match word.split_once('=') {
            Some(("NOTIFY", value)) => dsn.notify = Notify::parse(value),
            Some(("ORCPT", value)) => dsn.original = Some(value.to_owned()),
            _ => {}
        }
    }
    dsn
}

/// What the sender asked for, as far as it may go on. Mail that a private key acted on: whether it was delivered tells what
/// was inside, and nobody behind us may send back what was opened (C42, C44).
pub(super) fn keep_discreet(record: &mut NewRecord) {
    if record.outer_verdict.is_none() {
        return;
    }
    record.dsn.returned = Some(Ret::Headers);
    for recipient in &mut record.recipients {
        recipient.dsn.notify = match recipient.dsn.notify {
            Some(Notify::On { failure: false, delay: false, .. }) => Some(Notify::Never),
            Some(Notify::On { failure, delay, .. }) => Some(Notify::On { success: false, failure, delay }),
            other => other,
        };
    }
}

pub(super) fn reasons_text(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::{dsn_from_text, dsn_text};
    use crate::mail::{Notify, RecipientDsn};

    #[test]
    fn s47_parameters_of_a_recipient_are_stored_as_text() {
        let original = || Some("rfc822;a+2Bb@example.org".to_owned());
        for (notify, original, text) in [
            (None, None, None),
            (Some(Notify::Never), None, Some("NOTIFY=NEVER")),
            (None, original(), Some("ORCPT=rfc822;a+2Bb@example.org")),
            (
                Some(Notify::On { success: true, failure: false, delay: true }),
                original(),
                Some("NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@example.org"),
            ),
        ] {
            let dsn = RecipientDsn { notify, original };
            assert_eq!(dsn_text(&dsn).as_deref(), text);
            assert_eq!(dsn_from_text(text), dsn);
        }
    }
}
