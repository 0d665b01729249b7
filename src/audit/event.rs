//! The events, and which of their fields are personal.

use crate::mail::Address;
use crate::reason::Reason;
use serde_json::{Value, json};

/// One thing that happened. Queue ids are written as text; addresses and Message-IDs are personal and sealed.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants' comments say what their fields are")]
pub enum Event {
    /// Mail was taken: 250. `direction` and `verdict` by their names; `sender` is the mailbox in `From`, or the
    /// reverse-path.
    Accepted {
        queue_id: String,
        direction: String,
        verdict: String,
        reasons: Vec<Reason>,
        policy: String,
        rule: String,
        recipients: usize,
        held: usize,
        encrypted: usize,
        opened: bool,
        size: usize,
        message_id: Option<String>,
        sender: Option<Address>,
    },
    /// Mail was refused after `DATA`; nothing was stored.
    Refused {
        queue_id: String,
        reply: String,
        rule: String,
        reasons: Vec<Reason>,
        policy: String,
        sender: Option<Address>,
    },
    /// A recipient's mail is held.
    Held { queue_id: String, class: String, reasons: Vec<Reason>, recipient: Address },
    /// The next hop answered 250.
    Delivered { queue_id: String, next_hop: String, message_id: Option<String>, recipient: Address },
    /// The next hop could not take it now.
    Deferred { queue_id: String, status: String, tries: u32, recipient: Address },
    /// The next hop refused it for good, or it expired.
    Failed { queue_id: String, status: String, message_id: Option<String>, recipient: Address },
    /// A notice was made about `about`; `to` is who gets it. `None`: nobody is left to tell.
    Notice { queue_id: Option<String>, about: String, to: Option<Address> },
    /// Stored content does not open; the recipient was set aside.
    Damaged { queue_id: String, what: String, recipient: Option<Address> },
    /// A message was signed with this key.
    KeyUsed { queue_id: String, key: String, sender: Option<Address> },
    /// A message left without the signature that it would have had: an emergency bypass was in force.
    SigningBypassed { queue_id: String, sender: Option<Address> },
    /// Nobody is signed for until `until`, an RFC 3339 time; `domain`: one own domain, else all.
    BypassStarted { domain: Option<String>, until: String, operator: String, reason: String },
    /// They are again. `by` is the operator who ended it, or `time`.
    BypassEnded { domain: Option<String>, started: String, by: String },
    /// A key came in.
    KeyImported { key: String, kind: String, custody: String, serial: String, address: Option<Address> },
    /// A key may not be used from now on.
    KeyBlocked { key: String },
    /// It may again.
    KeyUnblocked { key: String },
    /// The private key is gone for good.
    KeyDestroyed { key: String },
    /// Everything that the one master key wrapped is wrapped by the other; ids of both.
    MasterRotated { from: String, to: String },
    /// A trust anchor was added.
    AnchorImported { sha256: String, subject: String },
    /// A trust anchor was removed.
    AnchorRemoved { sha256: String },
    /// An operator took somebody's certificate in; without an address: a CA's, to build paths with.
    CertificateImported { certificate: String, issuer: String, serial: String, address: Option<Address> },
    /// A certificate was learned from validly signed mail.
    CertificateHarvested { certificate: String, trust: String, issuer: String, address: Address },
    /// Validly signed mail brought a certificate of another CA than the one that holds the mailbox; it is not used.
    CertificateConflict { certificate: String, issuer: String, holder: String, address: Address },
    /// A certificate neither receives nor verifies from now on.
    CertificateBlocked { certificate: String },
    /// It does again.
    CertificateUnblocked { certificate: String },
    /// An operator brought a CRL; `sha256` of its DER.
    CrlImported { sha256: String, issuer: String, number: Option<String>, operator: String },
    /// Certificates, keys and policy were read again.
    Reloaded { policy: String },
    /// The gateway started.
    Started { version: String, policy: String },
    /// The gateway stopped in order.
    Stopped,
    /// What was done to the store as a whole, and about certificates that end: `backup-made`, `restored`, `expiry-told`,
    /// `records-removed`. Holds nothing personal.
    Maintenance { name: &'static str, public: Value },
    /// An operator asked for another try now.
    OperatorRetry { queue_id: String, operator: String, recipients: u64 },
    /// An operator held, let go or deleted mail for a recipient: `operator-held`, `operator-released`, `operator-deleted`.
    OperatorChanged { name: &'static str, queue_id: String, operator: String, reason: String, recipient: Address },
    /// An operator took evidence or an original out.
    OperatorRead { queue_id: String, operator: String, what: String },
    /// Mail that was held left as the mail `into`; `accepted` are the reasons that the operator answers for.
    Released {
        queue_id: String,
        into: String,
        operator: String,
        accepted: Vec<Reason>,
        comment: String,
        recipient: Address,
    },
    /// Held mail was given back to its sender with a failure notice.
    Rejected { queue_id: String, operator: String, comment: String, recipient: Address },
    /// Held mail was destroyed.
    Destroyed { queue_id: String, operator: String, comment: String, recipient: Address },
}

/// What a row holds.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) queue_id: Option<String>,
    pub(super) public: Value,
    /// Mailbox key of the subject, and the fields to seal.
    pub(super) personal: Option<(String, Value)>,
}

impl Event {
    /// The row: name, queue id, public and personal fields.
    pub(super) fn row(&self) -> Row {
        let row = |name, queue_id: Option<&String>, public, personal| Row {
            name,
            queue_id: queue_id.cloned(),
            public,
            personal,
        };
        match self {
            Self::Accepted { .. } | Self::Refused { .. } => self.arrival_row(),
            Self::Held { queue_id, class, reasons, recipient } => {
                row("held", Some(queue_id), json!({"class": class, "reasons": reasons}), person("recipient", recipient))
            }
            Self::Delivered { queue_id, next_hop, message_id, recipient } => row(
                "delivered",
                Some(queue_id),
                json!({"next_hop": next_hop}),
                recipient_and_message_id(recipient, message_id.as_deref()),
            ),
            Self::Deferred { queue_id, status, tries, recipient } => row(
                "deferred",
                Some(queue_id),
                json!({"status": status, "tries": tries}),
                person("recipient", recipient),
            ),
            Self::Failed { queue_id, status, message_id, recipient } => row(
                "failed",
                Some(queue_id),
                json!({"status": status}),
                recipient_and_message_id(recipient, message_id.as_deref()),
            ),
            Self::Notice { queue_id, about, to } => row(
                "notice",
                queue_id.as_ref(),
                json!({"about": about, "sent": to.is_some()}),
                to.as_ref().and_then(|to| person("to", to)),
            ),
            Self::Damaged { queue_id, what, recipient } => row(
                "damaged",
                Some(queue_id),
                json!({"what": what}),
                recipient.as_ref().and_then(|recipient| person("recipient", recipient)),
            ),
            Self::KeyUsed { queue_id, key, sender } => row(
                "key-used",
                Some(queue_id),
                json!({"key": key}),
                sender.as_ref().and_then(|sender| person("sender", sender)),
            ),
            Self::SigningBypassed { queue_id, sender } => row(
                "signing-bypassed",
                Some(queue_id),
                json!({}),
                sender.as_ref().and_then(|sender| person("sender", sender)),
            ),
            Self::Released { .. } | Self::Rejected { .. } | Self::Destroyed { .. } => self.end_of_hold_row(),
            _ => self.operations_row(),
        }
    }

    /// What ends a hold. The comment is an operator's free text about somebody: it is sealed with his address.
    fn end_of_hold_row(&self) -> Row {
        let about = |recipient: &Address, comment: &str| {
            Some((recipient.mailbox_key(), json!({"recipient": recipient.as_str(), "comment": comment})))
        };
        let (name, queue_id, public, personal) = match self {
            Self::Released { queue_id, into, operator, accepted, comment, recipient } => (
                "released",
                queue_id,
                json!({"into": into, "operator": operator, "accepted": accepted}),
                about(recipient, comment),
            ),
            Self::Rejected { queue_id, operator, comment, recipient } => {
                ("rejected", queue_id, json!({"operator": operator}), about(recipient, comment))
            }
            Self::Destroyed { queue_id, operator, comment, recipient } => {
                ("destroyed", queue_id, json!({"operator": operator}), about(recipient, comment))
            }
            _ => return self.operations_row(),
        };
        Row { name, queue_id: Some(queue_id.clone()), public, personal }
    }

    fn arrival_row(&self) -> Row {
        match self {
            Self::Accepted {
                queue_id,
                direction,
                verdict,
                reasons,
                policy,
                rule,
                recipients,
                held,
                encrypted,
                opened,
                size,
                message_id,
                sender,
            } => Row {
                name: "accepted",
                queue_id: Some(queue_id.clone()),
                public: json!({"direction": direction, "verdict": verdict, "reasons": reasons, "policy": policy,
                    "rule": rule, "recipients": recipients, "held": held, "encrypted": encrypted, "opened": opened,
                    "size": size}),
                personal: sender.as_ref().map(|sender| {
                    let fields = json!({"sender": sender.as_str(), "message_id": message_id});
                    (sender.mailbox_key(), fields)
                }),
            },
            Self::Refused { queue_id, reply, rule, reasons, policy, sender } => Row {
                name: "refused",
                queue_id: Some(queue_id.clone()),
                public: json!({"reply": reply, "rule": rule, "reasons": reasons, "policy": policy}),
                personal: sender.as_ref().and_then(|sender| person("sender", sender)),
            },
            _ => self.operations_row(),
        }
    }

    fn operations_row(&self) -> Row {
        let (name, queue_id, public, personal) = match self {
            Self::KeyImported { key, kind, custody, serial, address } => (
                "key-imported",
                None,
                json!({"key": key, "kind": kind, "custody": custody, "serial": serial}),
                address.as_ref().and_then(|address| person("address", address)),
            ),
            Self::KeyBlocked { key } => ("key-blocked", None, json!({"key": key}), None),
            Self::KeyUnblocked { key } => ("key-unblocked", None, json!({"key": key}), None),
            Self::KeyDestroyed { key } => ("key-destroyed", None, json!({"key": key}), None),
            Self::MasterRotated { from, to } => ("master-rotated", None, json!({"from": from, "to": to}), None),
            Self::AnchorImported { sha256, subject } => {
                ("anchor-imported", None, json!({"sha256": sha256, "subject": subject}), None)
            }
            Self::AnchorRemoved { sha256 } => ("anchor-removed", None, json!({"sha256": sha256}), None),
            Self::CertificateImported { .. }
            | Self::CertificateHarvested { .. }
            | Self::CertificateConflict { .. }
            | Self::CertificateBlocked { .. }
            | Self::CertificateUnblocked { .. } => return self.certificate_row(),
            Self::CrlImported { sha256, issuer, number, operator } => (
                "crl-imported",
                None,
                json!({"sha256": sha256, "issuer": issuer, "number": number, "operator": operator}),
                None,
            ),
            Self::BypassStarted { domain, until, operator, reason } => (
                "bypass-started",
                None,
                json!({"domain": domain, "until": until, "operator": operator, "reason": reason}),
                None,
            ),
            Self::BypassEnded { domain, started, by } => {
                ("bypass-ended", None, json!({"domain": domain, "started": started, "by": by}), None)
            }
            Self::Reloaded { policy } => ("reloaded", None, json!({"policy": policy}), None),
            Self::Started { version, policy } => ("started", None, json!({"version": version, "policy": policy}), None),
            Self::Maintenance { name, public } => (*name, None, public.clone(), None),
            Self::OperatorRetry { queue_id, operator, recipients } => (
                "operator-retry",
                Some(queue_id.clone()),
                json!({"operator": operator, "recipients": recipients}),
                None,
            ),
            Self::OperatorChanged { name, queue_id, operator, reason, recipient } => (
                *name,
                Some(queue_id.clone()),
                json!({"operator": operator, "reason": reason}),
                person("recipient", recipient),
            ),
            Self::OperatorRead { queue_id, operator, what } => {
                ("operator-read", Some(queue_id.clone()), json!({"operator": operator, "what": what}), None)
            }
            _ => ("stopped", None, json!({}), None),
        };
        Row { name, queue_id, public, personal }
    }
}

impl Event {
    fn certificate_row(&self) -> Row {
        let (name, public, personal) = match self {
            Self::CertificateImported { certificate, issuer, serial, address } => (
                "certificate-imported",
                json!({"certificate": certificate, "issuer": issuer, "serial": serial}),
                address.as_ref().and_then(|address| person("address", address)),
            ),
            Self::CertificateHarvested { certificate, trust, issuer, address } => (
                "certificate-harvested",
                json!({"certificate": certificate, "trust": trust, "issuer": issuer}),
                person("address", address),
            ),
            Self::CertificateConflict { certificate, issuer, holder, address } => (
                "certificate-conflict",
                json!({"certificate": certificate, "issuer": issuer, "holder": holder}),
                person("address", address),
            ),
            Self::CertificateBlocked { certificate } => {
                ("certificate-blocked", json!({"certificate": certificate}), None)
            }
            Self::CertificateUnblocked { certificate } => {
                ("certificate-unblocked", json!({"certificate": certificate}), None)
            }
            _ => return self.operations_row(),
        };
        Row { name, queue_id: None, public, personal }
    }
}

fn person(field: &str, address: &Address) -> Option<(String, Value)> {
    Some((address.mailbox_key(), json!({field: address.as_str()})))
}

fn recipient_and_message_id(recipient: &Address, message_id: Option<&str>) -> Option<(String, Value)> {
    Some((recipient.mailbox_key(), json!({"recipient": recipient.as_str(), "message_id": message_id})))
}
