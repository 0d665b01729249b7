//! The decision: two tables, one for each side.
//!
//! Outgoing mail follows `From` against the reverse-path, then `sign`, then `encrypt` for each recipient
//! (`super::outgoing`). Incoming mail follows its reasons (`super::incoming`).

use super::protect::EncryptTo;
use super::rule::{Encrypt, IncomingTreatment, SignedForm};
use super::{Facts, Policy, SenderKey, Side, incoming, outgoing};
use crate::mail::Address;
use crate::mail::header::HeaderError;
use crate::reason::Reason;
use jiff::Timestamp;

/// What `decide` says about a message.
#[derive(Debug)]
pub enum Decision {
    /// It is taken; what happens to it for whom.
    Accept(Box<Decided>),
    /// It is refused for good.
    Refuse(Refusal),
    /// A fact is missing now: the sender's queue keeps it.
    Defer(Refusal),
}

/// Why a message is not taken. `pipeline::reply` alone turns it into an SMTP reply.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What stands against it.
    pub kind: RefusalKind,
    /// The addresses it concerns, for the reply.
    pub addresses: Vec<Address>,
    /// For the log alone; the peer never reads it.
    pub detail: String,
    /// The name of what fired, for the audit record.
    pub rule: &'static str,
}

/// The kinds of refusal and deferral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// `From` is none, several or ambiguous.
    AmbiguousSender,
    /// The header section can't be read, so nobody knows who has written it.
    UnreadableHeader(HeaderError),
    /// The reverse-path does not vouch for `From`.
    SenderNotAuthorised,
    /// Signing is required and there is no usable key.
    NoSigningKey,
    /// The status of the sender's own certificate can't be known now.
    OwnStatusUnknown,
    /// Incoming mail that the operator refuses for this reason.
    Rejected(Reason),
    /// Incoming mail that a rule of the policy file refuses, whatever it is.
    RejectedByRule,
    /// The status of the signer's certificate can't be known now.
    RevocationUnknown,
    /// The content can't be signed.
    Malformed,
    /// The outside side takes mail for own domains only.
    RelayDenied,
    /// Encryption is required, and the recipient has no certificate that can be used.
    NoRecipientCertificate,
    /// A recipient's certificate is known and can't be proven now.
    RecipientUnproven,
    /// Each recipient who is not named in the mail has an encrypted copy of his own, and together they are too large.
    TooManyCopies,
}

/// What was decided, for each recipient. Only `decide` makes one.
#[derive(Debug)]
pub struct Decided {
    pub(super) recipients: Vec<ForRecipient>,
    pub(super) signing: Option<Signing>,
    pub(super) mark: Mark,
    pub(super) rule: &'static str,
    pub(super) reasons: Vec<Reason>,
    pub(super) removals: Removals,
}

/// What happens for one recipient.
#[derive(Clone, Debug)]
pub struct ForRecipient {
    /// As in the envelope.
    pub address: Address,
    /// What he gets.
    pub treatment: Treatment,
    /// The name of what decided it for him: a row of DESIGN's tables or a rule of the policy file.
    pub rule: String,
    /// Outgoing: in which form his copy is signed; none: it is not.
    pub signature: Option<SignedForm>,
}

impl ForRecipient {
    /// Why he has to wait; empty where he does not.
    pub(super) fn held_for(&self) -> &[Reason] {
        match &self.treatment {
            Treatment::Hold { reasons, .. } => reasons,
            Treatment::Deliver(_) => &[],
        }
    }

    /// Whether a copy is made for him now.
    pub fn is_delivered(&self) -> bool {
        matches!(self.treatment, Treatment::Deliver(_))
    }
}

/// Tags and fields that made rules fire and leave the mail with that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Texts in `Subject`, without regard to case.
    pub tags: Vec<String>,
    /// Names of fields.
    pub fields: Vec<String>,
}

impl Removals {
    /// Whether the header section stays as it is.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.fields.is_empty()
    }
}

/// In which form a copy is delivered.
#[derive(Clone, Debug)]
pub enum Form {
    /// As it arrived, signed where the decision says so; incoming mail is marked with its verdict.
    Clear,
    /// Encrypted to the recipient.
    Encrypted(Box<EncryptTo>),
    /// What was inside the encrypted layers.
    Opened,
    /// As it arrived, marked as what it is to somebody without a key.
    Unopened,
}

/// What happens to the mail for one recipient.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// A finished copy is queued.
    Deliver(Form),
    /// The original waits; a copy is made at release.
    Hold {
        /// Who or what it waits for.
        class: HoldClass,
        /// Why.
        reasons: Vec<Reason>,
    },
}

/// Who or what held mail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldClass {
    /// The security team.
    Quarantine,
    /// A recipient's certificate or an owner's unlocked key.
    AwaitingKey,
    /// A fresh CRL.
    AwaitingRevocation,
    /// The own signer was revoked while it lay in the queue.
    SignerRevoked,
    /// An operator.
    Operator,
}

impl HoldClass {
    /// The word in the database, in listings and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::AwaitingKey => "awaiting-key",
            Self::AwaitingRevocation => "awaiting-revocation",
            Self::SignerRevoked => "signer-revoked",
            Self::Operator => "operator",
        }
    }
}

/// A signature to be made.
#[derive(Clone, Debug)]
pub struct Signing {
    /// With this key.
    pub key: SenderKey,
    /// A substitute's address, which goes into `Sender`.
    pub sender: Option<Address>,
}

/// Which of our fields the copy gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Incoming: `Segel-Verdict` and `Authentication-Results`.
    Verdict,
    /// Outgoing: none; forged ones are still removed.
    None,
}

impl Decided {
    /// The recipients in the envelope's order.
    pub fn recipients(&self) -> &[ForRecipient] {
        &self.recipients
    }

    /// What is taken out of the header section.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// Whether mail from inside is what its `From` says, as far as the reverse-path or a login vouch for it.
    pub fn is_vouched(&self) -> bool {
        !matches!(self.rule, "foreign-from" | "unvouched-passed")
    }

    /// The signature to be made, if any.
    pub fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// The same where a copy is made now that has it; not where all who are to get one have to wait.
    pub fn key_used(&self) -> Option<&Signing> {
        let signed = |one: &ForRecipient| one.signature.is_some() && one.is_delivered();
        self.signing.as_ref().filter(|_| self.recipients.iter().any(signed))
    }

    /// Which of our fields are written.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The name of the row that fired, for the audit record and `explain`.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// The reasons the decision rests on: the verdict's, and `sender-not-authorised` where it was found.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }
}

/// Decides what happens to a message. `now` is the time of receipt.
pub fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    match facts.side {
        Side::Inside => outgoing::decide(facts, policy, now),
        Side::Outside => incoming::decide(facts, policy, now),
    }
}

/// Whether a listener of this side takes mail for this recipient: the outside side takes own domains only, and
/// no local part that a next hop could read as another route (`%`, `!`, `@`).
pub fn recipient(policy: &Policy, side: Side, address: &Address) -> Result<(), Refusal> {
    let own = policy.domain(address.domain()).is_some();
    let routed = address.local().contains(['@', '%', '!']);
    if side == Side::Inside || (own && !routed) {
        return Ok(());
    }
    Err(Refusal {
        kind: RefusalKind::RelayDenied,
        addresses: vec![address.clone()],
        detail: format!("`{}` is not in an own domain", address.as_str()),
        rule: "no-relay",
    })
}

/// Whether mail to this recipient is refused whatever it turns out to be: a rule that depends on the envelope alone says so,
/// and no rule before it could still say otherwise. Outgoing mail that has to be encrypted, to a recipient without a
/// certificate; incoming mail that a rule rejects.
///
/// # Errors
/// The refusal. `known` says whether a certificate of the recipient is.
pub fn rule_at_rcpt(policy: &Policy, side: Side, address: &Address, known: bool) -> Result<(), Refusal> {
    let first = policy.rules.iter().find(|rule| rule.matches_envelope(side, address));
    let Some(rule) = first.filter(|rule| rule.needs_envelope_only()) else { return Ok(()) };
    let refusal = |kind, why: &str, row| Refusal {
        kind,
        addresses: vec![address.clone()],
        detail: format!("rule `{}` {why}", rule.name),
        rule: row,
    };
    match side {
        Side::Inside if rule.encrypt == Some(Encrypt::Required) && !known => Err(refusal(
            RefusalKind::NoRecipientCertificate,
            "requires encryption and no certificate is known",
            "encrypt-required-refused",
        )),
        Side::Outside if rule.action == Some(IncomingTreatment::Reject) => {
            Err(refusal(RefusalKind::RejectedByRule, "rejects it", "rule-rejected"))
        }
        Side::Inside | Side::Outside => Ok(()),
    }
}

/// Comma-separated codes, as in header fields and the log.
pub fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(",")
}

/// Whether mail that lacks a fact is still deferred, `defer_for` after it was seen first; then it is held.
pub(super) fn still_deferring(facts: &Facts, policy: &Policy, now: Timestamp) -> bool {
    if facts.again.is_some() {
        return false;
    }
    let Some(first) = facts.first_seen else { return true };
    match first.checked_add(policy.incoming.defer_for) {
        Ok(until) => now < until,
        Err(_) => true,
    }
}

#[cfg(test)]
pub(super) mod tests;
