//! Whether outgoing mail is encrypted, recipient by recipient.
//!
//! "When possible" is not "when convenient": no certificate known means that it is not possible; one that is known and
//! can't be proven now means a deferral, then a hold, never clear. Going back to clear needs `allow_downgrade`.

use super::decide::{ForRecipient, Form, HoldClass, Refusal, RefusalKind, Removals, Treatment, codes};
use super::facts::{RecipientCertificate, RecipientFacts, RecipientStanding};
use super::{DomainPolicy, Encrypt, Facts, Policy, Rule};
use crate::crypto::ContentCipher;
use crate::mail::header::Comparable;
use crate::mail::{Address, ReversePath};
use crate::pki::RecipientKey;
use crate::reason::Reason;
use crate::smime::inspect::Structure;
use jiff::Timestamp;

/// Encryption to one recipient.
#[derive(Clone, Debug)]
pub struct EncryptTo {
    /// The id of his certificate in the directory.
    pub id: String,
    /// His certificate, checked.
    pub key: RecipientKey,
    /// He has announced RSAES-OAEP.
    pub oaep: bool,
    /// The content-encryption algorithms that he reads, as we prefer them. Never empty.
    pub ciphers: Vec<ContentCipher>,
    /// Nobody else may learn of him: he has a copy of his own.
    pub hidden: bool,
}

/// What is written, as we prefer it; nothing below is ever used.
const FLOOR: [ContentCipher; 4] =
    [ContentCipher::Aes256Gcm, ContentCipher::Aes256Cbc, ContentCipher::Aes128Gcm, ContentCipher::Aes128Cbc];

/// The treatment of every recipient, or why the mail can't be taken.
pub(super) fn recipients(
    facts: &Facts,
    policy: &Policy,
    domain: Option<&DomainPolicy>,
    from: &Address,
    now: Timestamp,
) -> Result<Vec<ForRecipient>, Outcome> {
    let fired = fired(facts, policy, from);
    let (mut refused, mut unproven) = (Vec::new(), Vec::new());
    let mut all = Vec::with_capacity(facts.envelope.recipients.len());
    for (address, known) in facts.envelope.recipients.iter().zip(&facts.recipients) {
        let (wanted, by) = wanted(facts, policy, domain, &fired, address);
        match protection(facts, policy, domain, wanted, address, known) {
            Protection::Clear(why) => all.push(ForRecipient::deliver(address, Form::Clear, by.unwrap_or(why))),
            Protection::Encrypted(to) => {
                all.push(ForRecipient::deliver(address, Form::Encrypted(to), by.unwrap_or("encrypted".to_owned())));
            }
            // What was taken is not refused: it waits for a certificate that can be used.
            Protection::Impossible if facts.again.is_some() => all.push(waiting(address, unusable(known))),
            Protection::Impossible => refused.push((address.clone(), standings(&known.certificates))),
            Protection::Unproven(reasons) => {
                unproven.push((address.clone(), standings(&known.certificates)));
                all.push(waiting(address, reasons));
            }
        }
    }
    // A deferral outranks a refusal: nothing is final while a fact is missing (DESIGN section 4).
    if !unproven.is_empty() && super::decide::still_deferring(facts, policy, now) {
        return Err(Outcome::Defer(refusal(RefusalKind::RecipientUnproven, unproven, "recipient-unproven-deferred")));
    }
    if !refused.is_empty() {
        return Err(Outcome::Refuse(refusal(RefusalKind::NoRecipientCertificate, refused, "encrypt-required-refused")));
    }
    Ok(all)
}

/// He waits for a certificate of his that can be used.
fn waiting(address: &Address, reasons: Vec<Reason>) -> ForRecipient {
    let hold = Treatment::Hold { class: HoldClass::AwaitingKey, reasons };
    ForRecipient { address: address.clone(), treatment: hold, rule: "recipient-unproven-held".to_owned() }
}

/// What stands against his certificates; none being known is a reason too.
fn unusable(known: &RecipientFacts) -> Vec<Reason> {
    match reasons(known) {
        none if none.is_empty() => vec![Reason::NoRecipientCertificate],
        some => some,
    }
}

/// Why the mail is not taken.
pub(super) enum Outcome {
    Refuse(Refusal),
    Defer(Refusal),
}

fn refusal(kind: RefusalKind, who: Vec<(Address, String)>, rule: &'static str) -> Refusal {
    let detail = who.iter().map(|(to, why)| format!("{}: {why}", to.as_str())).collect::<Vec<_>>().join("; ");
    Refusal { kind, addresses: who.into_iter().map(|(to, _)| to).collect(), detail, rule }
}

/// What is wanted for this recipient, and the name of the rule that says so; none for the domain's own setting.
fn wanted(
    facts: &Facts,
    policy: &Policy,
    domain: Option<&DomainPolicy>,
    fired: &[&Rule],
    to: &Address,
) -> (Encrypt, Option<String>) {
    // What came encrypted does not leave in clear, whoever sends it on.
    if facts.returns_opened && policy.domain(to.domain()).is_none() {
        return (Encrypt::Required, Some("returns-opened-mail".to_owned()));
    }
    match fired.iter().find(|rule| rule.matches_envelope(facts.side, to)) {
        Some(rule) => (rule.encrypt, Some(rule.name.clone())),
        None => (domain.map_or(Encrypt::Never, |domain| domain.encrypt), None),
    }
}

/// The rules that hold for this mail, whoever its recipient is. Looked at once: a subject may be long, recipients many.
fn fired<'a>(facts: &Facts, policy: &'a Policy, from: &Address) -> Vec<&'a Rule> {
    let subject = Comparable::of(&facts.triggers.subject);
    let holds = |rule: &&Rule| {
        (rule.from.is_empty() || rule.from.iter().any(|one| one.matches(from)))
            && rule.subject.as_ref().is_none_or(|tag| has_tag(facts, &subject, tag))
            && rule.field.as_ref().is_none_or(|(name, value)| {
                let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
                facts.triggers.fields.iter().filter(same).any(|(_, found)| found.trim().eq_ignore_ascii_case(value))
            })
    };
    policy.rules.iter().filter(holds).collect()
}

fn has_tag(facts: &Facts, subject: &Comparable, tag: &str) -> bool {
    facts.triggers.cut || subject.contains(&Comparable::of(tag))
}

/// Every tag and field that a rule looks at leaves the mail, whether or not the rule held for anybody: what it meant is
/// nobody's business outside (O31).
pub(super) fn removals(facts: &Facts, policy: &Policy) -> Removals {
    let mut removals = Removals::default();
    let subject = Comparable::of(&facts.triggers.subject);
    for rule in &policy.rules {
        removals.tags.extend(rule.subject.iter().filter(|tag| has_tag(facts, &subject, tag)).cloned());
        let names = rule.field.iter().map(|(name, _)| name);
        let is_there = |name: &&String| facts.triggers.fields.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        removals.fields.extend(names.filter(is_there).cloned());
    }
    removals
}

enum Protection {
    Clear(String),
    Encrypted(Box<EncryptTo>),
    /// Required, and nothing that is known can be used.
    Impossible,
    /// Something is known and can't be proven now.
    Unproven(Vec<Reason>),
}

fn protection(
    facts: &Facts,
    policy: &Policy,
    domain: Option<&DomainPolicy>,
    wanted: Encrypt,
    address: &Address,
    known: &RecipientFacts,
) -> Protection {
    if facts.already_encrypted && !facts.returns_opened {
        return Protection::Clear("already-encrypted".to_owned());
    }
    // Programs write reports without a reverse-path (RFC 3461 section 6, RFC 8098 section 3); people may label anything so.
    let automatic = matches!(facts.envelope.reverse_path, ReversePath::Null);
    let report = automatic && facts.inspected.structure == Structure::Report;
    match wanted {
        Encrypt::Never => return Protection::Clear("encrypt-never".to_owned()),
        // Programs read reports; they leave encrypted only where nothing may leave in clear (O57).
        Encrypt::WhenPossible if report => return Protection::Clear("report".to_owned()),
        Encrypt::WhenPossible | Encrypt::Required => {}
    }
    if let Some((certificate, key)) = usable(known) {
        let capabilities = certificate.capabilities.as_ref();
        let default = domain.map_or(ContentCipher::Aes256Cbc, |domain| domain.content_encryption);
        return Protection::Encrypted(Box::new(EncryptTo {
            id: certificate.id.clone(),
            key: key.clone(),
            oaep: capabilities.is_some_and(|announced| announced.oaep),
            ciphers: ciphers(capabilities.map_or(&[], |announced| &announced.ciphers), default),
            hidden: known.hidden,
        }));
    }
    let reasons = reasons(known);
    let unknown = known.certificates.iter().any(|one| matches!(one.standing, RecipientStanding::Unknown));
    let never_clear = facts.again.as_ref().is_some_and(|again| again.never_clear);
    let clear_is_allowed =
        wanted == Encrypt::WhenPossible && policy.allow_downgrade.iter().any(|pattern| pattern.matches(address));
    match (wanted, reasons.is_empty()) {
        _ if clear_is_allowed => Protection::Clear("downgrade-allowed".to_owned()),
        (Encrypt::Required, _) if !unknown => Protection::Impossible,
        (_, true) if !known.encrypted_before && !never_clear => {
            Protection::Clear("no-recipient-certificate".to_owned())
        }
        (_, true) => Protection::Unproven(vec![Reason::NoRecipientCertificate]),
        (_, false) => Protection::Unproven(reasons),
    }
}

fn usable(known: &RecipientFacts) -> Option<(&RecipientCertificate, &RecipientKey)> {
    known.certificates.iter().find_map(|certificate| match &certificate.standing {
        RecipientStanding::Usable(key) => Some((certificate, key)),
        RecipientStanding::Unknown | RecipientStanding::Rejected(_) | RecipientStanding::Unconfirmed => None,
    })
}

/// What stands against the known certificates. Empty: none is known (the directory keeps none that is for signatures
/// alone).
fn reasons(known: &RecipientFacts) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for certificate in &known.certificates {
        match &certificate.standing {
            RecipientStanding::Unknown => reasons.push(Reason::RevocationUnknown),
            RecipientStanding::Rejected(found) => reasons.extend_from_slice(found),
            RecipientStanding::Usable(_) | RecipientStanding::Unconfirmed => {}
        }
    }
    if !reasons.is_empty() {
        reasons.push(Reason::NoRecipientCertificate);
    }
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

/// RFC 8551 section 2.7.1: what he has announced, as we prefer it; the domain's setting where he has announced nothing that
/// we write. Never below the floor.
fn ciphers(announced: &[ContentCipher], default: ContentCipher) -> Vec<ContentCipher> {
    let mut common: Vec<_> = FLOOR.into_iter().filter(|cipher| announced.contains(cipher)).collect();
    if common.is_empty() {
        common.push(default);
    }
    common
}

/// Each known certificate and what stands against it, for the log.
fn standings(certificates: &[RecipientCertificate]) -> String {
    if certificates.is_empty() {
        return "no certificate is known".to_owned();
    }
    certificates.iter().map(|one| format!("{}: {}", one.id, one.standing.describe())).collect::<Vec<_>>().join(", ")
}

impl RecipientStanding {
    /// In a few words, for the log and `explain`.
    pub fn describe(&self) -> String {
        match self {
            Self::Usable(_) => "usable".to_owned(),
            Self::Unknown => "unknown: revocation-unknown".to_owned(),
            Self::Rejected(reasons) => format!("rejected: {}", codes(reasons)),
            Self::Unconfirmed => {
                "rejected: seen only, an operator has to confirm it with `segel cert import`".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests;
