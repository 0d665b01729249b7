//! The decision: two tables, one for each side.
//!
//! Outgoing mail follows `From` against the reverse-path, then `sign`, then `encrypt` for each recipient
//! (`super::protect`). Incoming mail follows its reasons (`super::incoming`).

use super::protect::{self, EncryptTo, Outcome};
use super::rule::{Encrypt, Sign, Substitute, Unvouched};
use super::{DomainPolicy, Facts, Policy, SenderKey, Side, Standing, incoming};
use crate::mail::header::From;
use crate::mail::{Address, ReversePath};
use crate::reason::Reason;
use crate::smime::inspect::Structure;
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
}

impl ForRecipient {
    pub(super) fn deliver(address: &Address, form: Form, rule: String) -> Self {
        Self { address: address.clone(), treatment: Treatment::Deliver(form), rule }
    }
}

impl ForRecipient {
    /// Why he has to wait; empty where he does not.
    fn held_for(&self) -> &[Reason] {
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
        Side::Inside => outgoing(facts, policy, now),
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

/// Whether encryption to this recipient is required whatever the mail turns out to be: a rule that depends on the envelope
/// alone says so, and no rule before it could still say otherwise. Then a recipient without a certificate is refused at
/// once.
///
/// # Errors
/// The refusal, where `known` says that no certificate is known for him.
pub fn encryption_at_rcpt(policy: &Policy, side: Side, address: &Address, known: bool) -> Result<(), Refusal> {
    let first = policy.rules.iter().find(|rule| rule.matches_envelope(side, address));
    let required = first.is_some_and(|rule| rule.needs_envelope_only() && rule.encrypt == Encrypt::Required);
    if side == Side::Outside || known || !required {
        return Ok(());
    }
    Err(Refusal {
        kind: RefusalKind::NoRecipientCertificate,
        addresses: vec![address.clone()],
        detail: format!(
            "rule `{}` requires encryption and no certificate is known",
            first.map_or("", |rule| &rule.name)
        ),
        rule: "encrypt-required-refused",
    })
}

/// `From` against the reverse-path, then what its domain says about encryption.
fn outgoing(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    let From::Mailbox(from) = &facts.inspected.from else {
        return Decision::Refuse(Refusal {
            kind: RefusalKind::AmbiguousSender,
            addresses: Vec::new(),
            detail: format!("From is {:?}", facts.inspected.from),
            rule: "from-not-one-mailbox",
        });
    };
    let domain = policy.domain(from.domain());
    if let Some(refusal) = forbidden_login(facts, policy, domain, from) {
        return Decision::Refuse(refusal);
    }
    let (rule, signing) = match domain {
        Some(domain) => match vouched(facts, policy, domain, from) {
            Ok(signature) => signature,
            Err(decision) => return *decision,
        },
        // Redirects and lists are never signed for; rules hold for them too.
        None => ("foreign-from", None),
    };
    match protect::recipients(facts, policy, domain, from, now) {
        Err(Outcome::Refuse(refusal)) => Decision::Refuse(refusal),
        Err(Outcome::Defer(refusal)) => Decision::Defer(refusal),
        Ok(recipients) => {
            let reasons = recipients.iter().flat_map(ForRecipient::held_for).copied();
            let mut reasons: Vec<Reason> = reasons.collect();
            reasons.sort_unstable();
            reasons.dedup();
            let removals = protect::removals(facts, policy);
            Decision::Accept(Box::new(Decided { recipients, signing, mark: Mark::None, rule, reasons, removals }))
        }
    }
}

/// S45: an authenticated client writes as who it is, or as whom `[[authorise]]` names for it. A login that stands for a whole
/// domain is a server: what it sends on for others passes, as from a server known by its address.
fn forbidden_login(facts: &Facts, policy: &Policy, domain: Option<&DomainPolicy>, from: &Address) -> Option<Refusal> {
    let login = facts.login.as_deref()?;
    let allowed = match domain {
        Some(_) => policy.login_may_use(login, from),
        None => policy.login_is_server(login),
    };
    (!allowed).then(|| Refusal {
        kind: RefusalKind::SenderNotAuthorised,
        addresses: vec![from.clone()],
        detail: format!("login `{login}` may not write as this address"),
        rule: "login-refused",
    })
}

/// A signature to be made or not, and the row that says so.
type Signature = (&'static str, Option<Signing>);

/// The reverse-path against `From`, then the domain's `sign`.
fn vouched(facts: &Facts, policy: &Policy, domain: &DomainPolicy, from: &Address) -> Result<Signature, Box<Decision>> {
    let vouched = match &facts.envelope.reverse_path {
        ReversePath::Null => return Ok(("null-reverse-path", None)),
        ReversePath::Mailbox(path) => {
            let by_login = || facts.login.as_deref().is_some_and(|login| policy.login_may_use(login, path));
            path.same_mailbox(from) || policy.authorises(path, from) || by_login()
        }
    };
    match (vouched, domain.unvouched) {
        (true, _) => sign(facts, domain, from),
        (false, Unvouched::PassUnsigned) => Ok(("unvouched-passed", None)),
        (false, Unvouched::Refuse) => Err(Box::new(Decision::Refuse(Refusal {
            kind: RefusalKind::SenderNotAuthorised,
            addresses: vec![from.clone()],
            detail: "the reverse-path does not vouch for From".to_owned(),
            rule: "unvouched-refused",
        }))),
    }
}

/// The domain's `sign` for a vouched sender.
fn sign(facts: &Facts, domain: &DomainPolicy, from: &Address) -> Result<Signature, Box<Decision>> {
    match facts.inspected.structure {
        Structure::SmimeSigned | Structure::SmimeEncrypted | Structure::PgpMime => {
            return Ok(("already-protected", None));
        }
        _ if facts.passed => return Ok(("passed-before", None)),
        Structure::Report => return Ok(("report", None)),
        Structure::Plain | Structure::Broken => {}
    }
    if domain.sign == Sign::Never {
        return Ok(("sign-never", None));
    }
    match choose_key(facts, domain) {
        Choice::Key(rule, signing) => Ok((rule, Some(*signing))),
        Choice::Unknown => Err(Box::new(Decision::Defer(Refusal {
            kind: RefusalKind::OwnStatusUnknown,
            addresses: vec![from.clone()],
            detail: "the revocation status of the sender's certificate is unknown".to_owned(),
            rule: "own-status-unknown",
        }))),
        Choice::Nothing if domain.sign == Sign::WhenPossible => Ok(("no-key-passed", None)),
        Choice::Nothing => Err(Box::new(Decision::Refuse(Refusal {
            kind: RefusalKind::NoSigningKey,
            addresses: vec![from.clone()],
            detail: standings(&facts.own_keys),
            rule: "no-key-refused",
        }))),
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
