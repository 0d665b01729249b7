//! The decision: two tables, one for each side.
//!
//! Outgoing mail follows `From` against the reverse-path, then `sign`. Incoming mail follows its reasons;
//! nothing here can turn a bad verdict into a good one, only choose what happens to the mail.

use super::rule::{IncomingTreatment, Sign, Substitute, Unvouched};
use super::{DomainPolicy, Facts, Policy, SenderKey, Side, Standing};
use crate::mail::header::From;
use crate::mail::{Address, ReversePath};
use crate::reason::Reason;
use crate::smime::Verdict;
use crate::smime::inspect::Structure;
use jiff::Timestamp;

/// What `decide` says about a message.
#[derive(Debug)]
pub enum Decision {
    /// It is taken; what happens to it for whom.
    Accept(Decided),
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
    /// The reverse-path does not vouch for `From`.
    SenderNotAuthorised,
    /// Signing is required and there is no usable key.
    NoSigningKey,
    /// The status of the sender's own certificate can't be known now.
    OwnStatusUnknown,
    /// Incoming mail that the operator refuses for this reason.
    Rejected(Reason),
    /// The status of the signer's certificate can't be known now.
    RevocationUnknown,
    /// The content can't be signed.
    Malformed,
    /// The outside side takes mail for own domains only.
    RelayDenied,
}

/// What was decided, for each recipient. Only `decide` makes one.
#[derive(Debug)]
pub struct Decided {
    treatments: Vec<(Address, Treatment)>,
    signing: Option<Signing>,
    mark: Mark,
    rule: &'static str,
    reasons: Vec<Reason>,
}

/// What happens for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// A finished copy is queued.
    Deliver,
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
    pub fn treatments(&self) -> &[(Address, Treatment)] {
        &self.treatments
    }

    /// The signature to be made, if any.
    pub fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
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

    fn outgoing(facts: &Facts, rule: &'static str, signing: Option<Signing>) -> Decision {
        let treatments = facts.envelope.recipients.iter().map(|to| (to.clone(), Treatment::Deliver)).collect();
        Decision::Accept(Self { treatments, signing, mark: Mark::None, rule, reasons: Vec::new() })
    }
}

/// Decides what happens to a message. `now` is the time of receipt.
pub fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    match facts.side {
        Side::Inside => outgoing(facts, policy),
        Side::Outside => incoming(facts, policy, now),
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

/// `From` against the reverse-path.
fn outgoing(facts: &Facts, policy: &Policy) -> Decision {
    let From::Mailbox(from) = &facts.inspected.from else {
        return Decision::Refuse(Refusal {
            kind: RefusalKind::AmbiguousSender,
            addresses: Vec::new(),
            detail: format!("From is {:?}", facts.inspected.from),
            rule: "from-not-one-mailbox",
        });
    };
    let Some(domain) = policy.domain(from.domain()) else {
        return Decided::outgoing(facts, "foreign-from", None);
    };
    let vouched = match &facts.envelope.reverse_path {
        ReversePath::Null => return Decided::outgoing(facts, "null-reverse-path", None),
        ReversePath::Mailbox(path) => path.same_mailbox(from) || policy.authorises(path, from),
    };
    match (vouched, domain.unvouched) {
        (true, _) => sign(facts, domain, from),
        (false, Unvouched::PassUnsigned) => Decided::outgoing(facts, "unvouched-passed", None),
        (false, Unvouched::Refuse) => Decision::Refuse(Refusal {
            kind: RefusalKind::SenderNotAuthorised,
            addresses: vec![from.clone()],
            detail: "the reverse-path does not vouch for From".to_owned(),
            rule: "unvouched-refused",
        }),
    }
}

/// The domain's `sign` for a vouched sender.
fn sign(facts: &Facts, domain: &DomainPolicy, from: &Address) -> Decision {
    match facts.inspected.structure {
        Structure::SmimeSigned | Structure::SmimeEncrypted | Structure::PgpMime => {
            return Decided::outgoing(facts, "already-protected", None);
        }
        Structure::Report => return Decided::outgoing(facts, "report", None),
        Structure::Plain | Structure::Broken => {}
    }
    if domain.sign == Sign::Never {
        return Decided::outgoing(facts, "sign-never", None);
    }
    match choose_key(facts, domain) {
        Choice::Key(rule, signing) => Decided::outgoing(facts, rule, Some(*signing)),
        Choice::Unknown => Decision::Defer(Refusal {
            kind: RefusalKind::OwnStatusUnknown,
            addresses: vec![from.clone()],
            detail: "the revocation status of the sender's certificate is unknown".to_owned(),
            rule: "own-status-unknown",
        }),
        Choice::Nothing if domain.sign == Sign::WhenPossible => Decided::outgoing(facts, "no-key-passed", None),
        Choice::Nothing => Decision::Refuse(Refusal {
            kind: RefusalKind::NoSigningKey,
            addresses: vec![from.clone()],
            detail: standings(&facts.own_keys),
            rule: "no-key-refused",
        }),
    }
}

enum Choice {
    Key(&'static str, Box<Signing>),
    /// A key could sign if its status were known.
    Unknown,
    Nothing,
}

/// The sender's own key, else the substitute that the domain names.
///
/// An own key whose status is unknown defers: a substitute signing in its place would say that
/// the sender has none.
fn choose_key(facts: &Facts, domain: &DomainPolicy) -> Choice {
    let usable = |key: &&SenderKey| key.standing == Standing::Usable;
    let unknown = |key: &SenderKey| key.standing == Standing::Unknown;
    if let Some(key) = facts.own_keys.iter().find(usable) {
        return Choice::Key("signed", Box::new(Signing { key: key.clone(), sender: None }));
    }
    if facts.own_keys.iter().any(unknown) {
        return Choice::Unknown;
    }
    if domain.substitute == Substitute::None {
        return Choice::Nothing;
    }
    if let Some(key) = facts.substitutes.iter().find(usable) {
        let sender = key.certificate.addresses().first().or_else(|| key.addresses.first()).cloned();
        return Choice::Key("substitute", Box::new(Signing { key: key.clone(), sender }));
    }
    if facts.substitutes.iter().any(unknown) { Choice::Unknown } else { Choice::Nothing }
}

fn standings(keys: &[SenderKey]) -> String {
    if keys.is_empty() {
        return "no key was imported for the sender".to_owned();
    }
    let each: Vec<String> = keys
        .iter()
        .map(|key| match &key.standing {
            Standing::Usable => format!("{}: usable", key.id),
            Standing::Unknown => format!("{}: revocation-unknown", key.id),
            Standing::Unusable(reasons) => format!("{}: {}", key.id, codes(reasons)),
        })
        .collect();
    each.join("; ")
}

/// Comma-separated codes, as in header fields and the log.
pub fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(",")
}

/// The strongest treatment of all reasons.
fn incoming(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    let reasons = incoming_reasons(facts, policy);
    let explicit = policy.incoming.explicit(Reason::RevocationUnknown);
    let soft = facts.inspected.revocation_soft;
    let unknown = reasons.contains(&Reason::RevocationUnknown) && explicit.is_none() && !soft;
    let strongest = reasons
        .iter()
        .filter(|reason| **reason != Reason::RevocationUnknown || explicit.is_some())
        .map(|reason| (policy.incoming.treatment(*reason), *reason))
        .max_by_key(|(treatment, reason)| (*treatment, std::cmp::Reverse(*reason)));
    match strongest {
        Some((IncomingTreatment::Reject, reason)) => Decision::Refuse(Refusal {
            kind: RefusalKind::Rejected(reason),
            addresses: facts.envelope.recipients.clone(),
            detail: codes(&reasons),
            rule: "incoming-rejected",
        }),
        Some((IncomingTreatment::Quarantine, _)) => held(facts, reasons, "quarantined"),
        _ if unknown && still_deferring(facts, policy, now) => Decision::Defer(Refusal {
            kind: RefusalKind::RevocationUnknown,
            addresses: facts.envelope.recipients.clone(),
            detail: codes(&reasons),
            rule: "revocation-unknown-deferred",
        }),
        _ if unknown => held(facts, reasons, "revocation-unknown-held"),
        _ => {
            let rule = match facts.inspected.verdict {
                Verdict::Valid => "verified",
                Verdict::None => "plain",
                Verdict::Invalid | Verdict::Indeterminate => "marked",
            };
            let treatments = facts.envelope.recipients.iter().map(|to| (to.clone(), Treatment::Deliver)).collect();
            Decision::Accept(Decided { treatments, signing: None, mark: Mark::Verdict, rule, reasons })
        }
    }
}

/// The verdict's reasons, and `sender-not-authorised` where mail claims an own domain and does not prove it.
///
/// Only a valid signature proves it: one by a stranger (`untrusted` …) proves as little as none. The reverse-path
/// proves nothing here, so `[[authorise]]` by envelope does not clear mail from outside.
fn incoming_reasons(facts: &Facts, policy: &Policy) -> Vec<Reason> {
    let mut reasons = facts.inspected.reasons.clone();
    if facts.inspected.verdict != Verdict::Valid && claims_own_domain(facts, policy) {
        reasons.push(Reason::SenderNotAuthorised);
        reasons.sort_unstable();
        reasons.dedup();
    }
    reasons
}

fn claims_own_domain(facts: &Facts, policy: &Policy) -> bool {
    let own = |address: &Address| policy.domain(address.domain()).is_some();
    let in_path = matches!(&facts.envelope.reverse_path, ReversePath::Mailbox(path) if own(path));
    let texts = &facts.from_texts;
    let in_from = match &facts.inspected.from {
        From::Mailbox(address) => own(address),
        From::Several(addresses) => addresses.iter().any(own) || text_claims(&texts.from, policy) || texts.cut,
        From::Ambiguous(_) => text_claims(&texts.from, policy) || texts.cut,
        // A reader without `From` shows what comes next to it.
        From::Absent => text_claims(&texts.from, policy) || text_claims(&texts.others, policy) || texts.cut,
    };
    in_path || in_from
}

/// Where parsers disagree, the text itself counts: an own domain anywhere in it is a claim.
fn text_claims(texts: &[String], policy: &Policy) -> bool {
    texts.iter().any(|text| {
        policy
            .domains
            .iter()
            .any(|own| text.contains(own.domain.ascii()) || text.contains(own.domain.as_str().to_lowercase().as_str()))
    })
}

fn still_deferring(facts: &Facts, policy: &Policy, now: Timestamp) -> bool {
    let Some(first) = facts.first_seen else { return true };
    match first.checked_add(policy.incoming.defer_for) {
        Ok(until) => now < until,
        Err(_) => true,
    }
}

fn held(facts: &Facts, reasons: Vec<Reason>, rule: &'static str) -> Decision {
    let hold = Treatment::Hold { class: HoldClass::Quarantine, reasons: reasons.clone() };
    let treatments = facts.envelope.recipients.iter().map(|to| (to.clone(), hold.clone())).collect();
    Decision::Accept(Decided { treatments, signing: None, mark: Mark::Verdict, rule, reasons })
}

#[cfg(test)]
mod tests;
