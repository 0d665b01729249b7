//! Whether outgoing mail is encrypted, recipient by recipient.
//!
//! "When possible" is not "when convenient": no certificate known means that it is not possible; one that is known and
//! can't be proven now means a deferral, then a hold, never clear. Going back to clear needs `allow_downgrade`.

use super::decide::codes;
use super::decided::{Refusal, RefusalKind};
use super::facts::{RecipientCertificate, RecipientFacts, RecipientStanding};
use super::outgoing::{Outcome, Wish};
use super::rule::SignedForm;
use super::{DomainPolicy, Encrypt, Facts, Policy};
use crate::crypto::ContentCipher;
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

/// What the certificates that are known for a recipient allow.
#[derive(Clone, Debug, Default)]
pub(super) struct CertificateMeans {
    /// One may be encrypted to now.
    pub(super) usable: bool,
    /// The status of one can't be established now.
    pub(super) unknown: bool,
    /// What stands against those that are known. Empty: none is known.
    pub(super) reasons: Vec<Reason>,
    /// Encrypted mail has left for him before.
    pub(super) encrypted_before: bool,
}

impl CertificateMeans {
    pub(super) fn of(known: &RecipientFacts) -> Self {
        Self {
            usable: usable(known).is_some(),
            unknown: known.certificates.iter().any(|one| matches!(one.standing, RecipientStanding::Unknown)),
            reasons: reasons(known),
            encrypted_before: known.encrypted_before,
        }
    }
}

/// What becomes of a recipient's copy.
#[derive(Clone, Debug)]
pub(super) struct Prospect {
    pub(super) protected: Protected,
    /// What decided.
    pub(super) rule: String,
    /// In which form it is signed, if it is.
    pub(super) signature: Option<SignedForm>,
}

/// Whether it is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Protected {
    Clear,
    Encrypted,
    /// For a certificate that can be used.
    Waits(Vec<Reason>),
}

/// The protection of every recipient's copy, or why the mail can't be taken.
pub(super) fn recipients(
    facts: &Facts,
    policy: &Policy,
    wishes: &[Wish<'_>],
    means: &[CertificateMeans],
    now: Timestamp,
) -> Result<Vec<Prospect>, Outcome> {
    let (mut refused, mut unproven) = (Vec::new(), Vec::new());
    let mut all = Vec::with_capacity(wishes.len());
    let known = facts.envelope.recipients.iter().zip(&facts.recipients);
    for (((address, known), wish), means) in known.zip(wishes).zip(means) {
        match protection(facts, policy, wish.encrypt, address, means) {
            Protection::Clear(why) => all.push(Prospect::of(Protected::Clear, wish, why)),
            Protection::Encrypted => all.push(Prospect::of(Protected::Encrypted, wish, "encrypted")),
            // What was taken is not refused: it waits for a certificate that can be used.
            Protection::Impossible if facts.again.is_some() => all.push(Prospect::waiting(unusable(means))),
            Protection::Impossible => refused.push((address.clone(), standings(&known.certificates))),
            Protection::Unproven(reasons) => {
                unproven.push((address.clone(), standings(&known.certificates)));
                all.push(Prospect::waiting(reasons));
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

impl Prospect {
    fn of(protected: Protected, wish: &Wish<'_>, why: &str) -> Self {
        Self { protected, rule: wish.by.clone().unwrap_or_else(|| why.to_owned()), signature: None }
    }

    /// He waits for a certificate of his that can be used.
    fn waiting(reasons: Vec<Reason>) -> Self {
        Self { protected: Protected::Waits(reasons), rule: "recipient-unproven-held".to_owned(), signature: None }
    }
}

/// What stands against his certificates; none being known is a reason too.
fn unusable(means: &CertificateMeans) -> Vec<Reason> {
    match &means.reasons {
        none if none.is_empty() => vec![Reason::NoRecipientCertificate],
        some => some.clone(),
    }
}

fn refusal(kind: RefusalKind, who: Vec<(Address, String)>, rule: &'static str) -> Refusal {
    let detail = who.iter().map(|(to, why)| format!("{}: {why}", to.as_str())).collect::<Vec<_>>().join("; ");
    Refusal { kind, addresses: who.into_iter().map(|(to, _)| to).collect(), detail, rule }
}

enum Protection {
    Clear(&'static str),
    Encrypted,
    /// Required, and nothing that is known can be used.
    Impossible,
    /// Something is known and can't be proven now.
    Unproven(Vec<Reason>),
}

fn protection(
    facts: &Facts,
    policy: &Policy,
    wanted: Encrypt,
    address: &Address,
    means: &CertificateMeans,
) -> Protection {
    if facts.already_encrypted && !facts.returns_opened {
        return Protection::Clear("already-encrypted");
    }
    // Programs write reports without a reverse-path (RFC 3461 section 6, RFC 8098 section 3); people may label anything so.
    let automatic = matches!(facts.envelope.reverse_path, ReversePath::Null);
    let report = automatic && facts.inspected.structure == Structure::Report;
    match wanted {
        Encrypt::Never => return Protection::Clear("encrypt-never"),
        // Programs read reports; they leave encrypted only where nothing may leave in clear (O57).
        Encrypt::WhenPossible if report => return Protection::Clear("report"),
        Encrypt::WhenPossible | Encrypt::Required => {}
    }
    if means.usable {
        return Protection::Encrypted;
    }
    let never_clear = facts.again.as_ref().is_some_and(|again| again.never_clear);
    let clear_is_allowed =
        wanted == Encrypt::WhenPossible && policy.allow_downgrade.iter().any(|pattern| pattern.matches(address));
    match (wanted, means.reasons.is_empty()) {
        _ if clear_is_allowed => Protection::Clear("downgrade-allowed"),
        (Encrypt::Required, _) if !means.unknown => Protection::Impossible,
        (_, true) if !means.encrypted_before && !never_clear => Protection::Clear("no-recipient-certificate"),
        (_, true) => Protection::Unproven(vec![Reason::NoRecipientCertificate]),
        (_, false) => Protection::Unproven(means.reasons.clone()),
    }
}

/// Encryption to the best of his certificates that may be used.
pub(super) fn encrypt_to(known: &RecipientFacts, domain: Option<&DomainPolicy>) -> Option<EncryptTo> {
    let (certificate, key) = usable(known)?;
    let capabilities = certificate.capabilities.as_ref();
    let default = domain.map_or(ContentCipher::Aes256Cbc, |domain| domain.content_encryption);
    Some(EncryptTo {
        id: certificate.id.clone(),
        key: key.clone(),
        oaep: capabilities.is_some_and(|announced| announced.oaep),
        ciphers: ciphers(capabilities.map_or(&[], |announced| &announced.ciphers), default),
        hidden: known.hidden,
    })
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
