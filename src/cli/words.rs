//! Reason codes and states in plain words: what was found, and what a person can do about it.

use crate::mail::Address;
use crate::pki::certificate::KeyInfo;
use crate::pki::revocation::{RevocationStatus, Source, Status};
use crate::pki::{Certificate, Purpose};
use crate::reason::Reason;
use jiff::Timestamp;

/// What the code means, and what to do.
pub(super) fn reason(reason: Reason) -> (&'static str, &'static str) {
    let known = REASONS.iter().find(|(code, _, _)| *code == reason);
    known.map_or((reason.code(), ""), |(_, meaning, advice)| (*meaning, *advice))
}

/// Code, meaning, advice; a test holds that none is left out.
const REASONS: [(Reason, &str, &str); 26] = [
    (
        Reason::Altered,
        "the text is not the one that was signed: its digest differs from the signed one",
        "Something on the way changed it (a list, a disclaimer, a scanner), or somebody did. Ask the sender for it by another way.",
    ),
    (
        Reason::BadSignature,
        "the signature does not verify with the key in the signer's certificate",
        "Treat it as forged. A broken mail program is possible: ask the sender to send it again.",
    ),
    (
        Reason::Untrusted,
        "no path of certificates leads from the signer to a trust anchor",
        "Either the CA is not trusted here (`segel trust list`), or an intermediate certificate is missing (`--untrusted`).",
    ),
    (
        Reason::Expired,
        "a certificate of the path had ended at the time of the check",
        "The signer needs a new certificate. `--at TIME` judges as of another time.",
    ),
    (
        Reason::NotYetValid,
        "a certificate of the path had not begun at the time of the check",
        "Look at the clocks, of this machine and of the signer's CA.",
    ),
    (
        Reason::Revoked,
        "the CA has revoked a certificate of the path",
        "Do not rely on it. Date and reason stand under `revocation`; ask the sender by another way.",
    ),
    (
        Reason::OnHold,
        "the CA has suspended a certificate of the path (certificateHold)",
        "Wait: the CA either revokes it or takes it off hold with its next CRL.",
    ),
    (
        Reason::RevocationUnknown,
        "whether a certificate of the path is revoked could not be established",
        "A current CRL of the issuer is missing or does not verify: `segel revocation status` says what is at hand, `segel revocation import FILE` takes one in; `inspect` is given one with `--crl`.",
    ),
    (
        Reason::NotForMail,
        "the certificate is not meant for signing mail (key usage or extended key usage)",
        "The signer has to choose another certificate.",
    ),
    (
        Reason::NoAddress,
        "the certificate names no mail address, so it can't be tied to the sender",
        "The signer needs a certificate with his address in it.",
    ),
    (
        Reason::AddressMismatch,
        "the certificate names other addresses than the one in From",
        "Somebody else signed it than From says. Trust the signer's address, not From.",
    ),
    (
        Reason::SignedBySender,
        "the certificate names the address in Sender, not the one in From",
        "Mail sent by one person in the name of another. Whether that is right, only these two can say.",
    ),
    (
        Reason::WeakAlgorithm,
        "a digest or key is too weak to prove anything",
        "The signer's program is outdated. `--allow-weak sha1` looks past SHA-1 in old mail.",
    ),
    (
        Reason::Partial,
        "the signature covers only a part of what a reader sees",
        "Text outside the signed part can be anybody's.",
    ),
    (
        Reason::Ambiguous,
        "two programs could read two different messages in it",
        "Treat it as an attack unless the sender can explain it.",
    ),
    (
        Reason::Malformed,
        "its structure breaks the standard",
        "It is damaged, or was made to look so. Ask for it again.",
    ),
    (
        Reason::Unsupported,
        "it uses an algorithm or a structure that this version does not implement",
        "It is neither good nor bad. Another program may be able to tell.",
    ),
    (
        Reason::TooComplex,
        "a limit was reached before its end (layers, parts, certificates)",
        "Honest mail does not get there. Treat it as an attack.",
    ),
    (
        Reason::Undecryptable,
        "no key here opens the encrypted layer",
        "It is for somebody else, or for a key that is gone.",
    ),
    (
        Reason::IntegrityUnproven,
        "it can be decrypted, but nothing proves that nobody changed it on its way",
        "Don't open its links and pictures. Ask the sender to sign as well.",
    ),
    (
        Reason::PolicyConstraint,
        "the path breaks a rule of one of its certificates (policies, names, length)",
        "The CA issued it outside its own rules: tell the CA.",
    ),
    (
        Reason::BlockedLocally,
        "an operator has blocked this certificate here",
        "Who and when stands in the audit log; `unblock` undoes it.",
    ),
    (Reason::KeyLocked, "the key is in its owner's custody, and locked", "The owner has to unlock it."),
    (
        Reason::NoRecipientCertificate,
        "encryption is required, and no usable certificate of the recipient is known",
        "Import the recipient's certificate.",
    ),
    (
        Reason::NoSigningKey,
        "a signature is required, and the sender has no usable key",
        "Import one with `segel key import`; `segel key list` shows what is there.",
    ),
    (
        Reason::SenderNotAuthorised,
        "the sender may not use this address",
        "From outside: mail that claims to be your own. From inside: [[authorise]] says who may write for whom.",
    ),
];

/// Codes with commas.
pub(super) fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(", ")
}

/// A status as a sentence.
pub(super) fn revocation(status: &RevocationStatus) -> String {
    let source = match status.source {
        Some(Source::Crl) => " (says the CRL)",
        Some(Source::Ocsp) => " (says OCSP)",
        None => "",
    };
    let time = status.time.map(|time| time.to_string()).unwrap_or_default();
    let since = if time.is_empty() { String::new() } else { format!(" since {time}") };
    let serial = status.serial.as_ref().map(|serial| format!(", certificate {serial}")).unwrap_or_default();
    match status.status {
        Status::Good if time.is_empty() => format!("good{source}"),
        Status::Good => format!("good as of {time}{source}"),
        Status::Revoked => {
            let reason = status.reason.map(|reason| format!(", reason {reason}")).unwrap_or_default();
            format!("REVOKED{since}{reason}{serial}{source}")
        }
        Status::OnHold => format!("ON HOLD{since}{serial}{source}"),
        Status::Unknown => "unknown: no current CRL of an issuer says anything".to_owned(),
        Status::NotChecked => "not checked".to_owned(),
    }
}

/// The word of JSON.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Good => "good",
        Status::Revoked => "revoked",
        Status::OnHold => "on-hold",
        Status::Unknown => "unknown",
        Status::NotChecked => "not-checked",
    }
}

/// The word of JSON.
pub(super) fn source(source: Source) -> &'static str {
    match source {
        Source::Crl => "crl",
        Source::Ocsp => "ocsp",
    }
}

/// The word of `--purpose`, as a verb.
pub(super) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Any => "anything",
        Purpose::EmailSign => "signing mail",
        Purpose::EmailEncrypt => "encrypting mail",
        Purpose::Ocsp => "signing OCSP responses",
        Purpose::Tsa => "time stamping",
        Purpose::TlsServer => "TLS servers",
        Purpose::TlsClient => "TLS clients",
    }
}

/// `from` to `until`, and a word where now is outside.
pub(super) fn validity(certificate: &Certificate, now: Timestamp) -> String {
    let (from, until) = (certificate.not_before(), certificate.not_after());
    let remark = if now < from {
        " (NOT YET)"
    } else if now > until {
        " (ENDED)"
    } else {
        ""
    };
    format!("{from} to {until}{remark}")
}

/// `RSA 2048 bits`
pub(super) fn key(key: &KeyInfo) -> String {
    match key {
        KeyInfo::Rsa { bits, .. } => format!("RSA, {bits} bits"),
        KeyInfo::Ec { curve } => format!("EC, {curve:?}"),
        KeyInfo::Ed25519 => "Ed25519".to_owned(),
        KeyInfo::Dsa => "DSA".to_owned(),
        KeyInfo::Other => "of an unknown kind".to_owned(),
    }
}

/// The addresses that a certificate names.
pub(super) fn addresses(certificate: &Certificate) -> String {
    if certificate.has_too_many_names() {
        return "more than 1,000, so none of them counts".to_owned();
    }
    let named: Vec<&str> = certificate.addresses().iter().map(Address::as_str).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(", ") }
}

/// SHA-256 in groups of four digits, which people can compare.
pub(super) fn fingerprint(sha256: &[u8]) -> String {
    let digits = data_encoding::HEXUPPER.encode(sha256);
    let groups = digits.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_said_in_words() {
        for code in Reason::ALL {
            let (meaning, advice) = reason(code);
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
            assert!(advice.ends_with('.'), "{code}");
        }
    }
}
