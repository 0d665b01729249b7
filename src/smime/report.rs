//! The values of a verdict as they are said outside: JSON, Authentication-Results, Segel-Verdict.
//!
//! States facts only. Text from certificates and header fields is escaped, never raw: nothing in it can end a
//! field, a quoted string or a line.

use super::Inspected;
use super::inspect::{Integrity, Layer, RecipientSummary};
use super::verdict::result;
use super::verify::{Signer, tidy};
use crate::crypto::{Digest, SignatureAlgorithm};
use crate::mail::Address;
use crate::pki::Certificate;
use crate::pki::revocation::{RevocationStatus, Source, Status};
use crate::reason::Reason;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The JSON of `inspect --json`, key for key. `action` is null without a policy.
pub fn json(inspected: &Inspected, action: Option<&str>) -> Value {
    json!({
        "schema": 1,
        "verdict": inspected.verdict.name(),
        "reasons": inspected.reasons,
        "warnings": inspected.warnings,
        "action": action,
        "from": inspected.from.mailbox().map(Address::as_str),
        "signed": inspected.signed,
        "encrypted": inspected.encrypted,
        "decrypted": inspected.decrypted,
        "covers_whole_message": inspected.covers_whole_message,
        "layers": inspected.layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

fn layer(layer: &Layer) -> Value {
    json!({
        "kind": layer.kind.name(),
        "reasons": layer.reasons,
        "decrypted": layer.decrypted,
        "integrity": layer.integrity.map(Integrity::name),
        "content_encryption": layer.content_encryption,
        "recipients": layer.recipients.iter().map(recipient).collect::<Vec<_>>(),
        "signers": layer.signers.iter().map(signer).collect::<Vec<_>>(),
    })
}

fn recipient(recipient: &RecipientSummary) -> Value {
    json!({ "type": recipient.kind, "issuer": recipient.issuer, "serial": recipient.serial })
}

fn signer(signer: &Signer) -> Value {
    json!({
        "verdict": signer.verdict.name(),
        "reasons": signer.reasons,
        "address": signer.address.as_ref().map(Address::as_str),
        "subject": signer.certificate.as_ref().map(|certificate| certificate.subject().to_string()),
        "issuer": signer.issuer.as_ref().map(ToString::to_string),
        "serial": signer.serial,
        "digest": signer.digest.map(Digest::name),
        "signature": signer.signature.map(SignatureAlgorithm::name),
        "signing_time": signer.signing_time.map(time),
        "revocation": revocation(&signer.revocation),
        "chain": signer.chain.iter().map(|certificate: &Certificate| certificate.subject().to_string()).collect::<Vec<_>>(),
    })
}

fn revocation(status: &RevocationStatus) -> Value {
    json!({
        "status": match status.status {
            Status::Good => "good",
            Status::Revoked => "revoked",
            Status::OnHold => "on-hold",
            Status::Unknown => "unknown",
            Status::NotChecked => "not-checked",
        },
        "source": status.source.map(|source| match source {
            Source::Crl => "crl",
            Source::Ocsp => "ocsp",
        }),
        "time": status.time.map(time),
        "reason": status.reason,
    })
}

/// RFC 3339 in UTC, whole seconds.
fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// One RFC 7281 resinfo per signature of the deciding layer, or `smime=none`. No authserv-id.
///
/// What is wrong with the whole message is wrong with each of its signatures: none of them passes then.
pub fn authentication_results(inspected: &Inspected) -> Vec<String> {
    let Some(layer) = inspected.deciding.and_then(|index| inspected.layers.get(index)) else {
        let word = if inspected.reasons.is_empty() { "none" } else { result(&inspected.reasons) };
        return vec![resinfo(word, &inspected.reasons)];
    };
    if layer.signers.is_empty() {
        // A signed layer without a readable signature never passes.
        let word = if inspected.reasons.is_empty() { "permerror" } else { result(&inspected.reasons) };
        return vec![resinfo(word, &inspected.reasons)];
    }
    let of_message = of_message(inspected, layer);
    layer.signers.iter().map(|signer| signature(signer, &of_message, layer.part.as_deref())).collect()
}

/// The reasons that none of the signers brought in, and that are not about what is inside the layer that decides.
fn of_message(inspected: &Inspected, layer: &Layer) -> Vec<Reason> {
    let around = inspected.layers.iter().take(inspected.deciding.unwrap_or_default());
    let around: Vec<Reason> = around.flat_map(|layer| &layer.reasons).copied().collect();
    let inside = |reason: &Reason| *reason == Reason::IntegrityUnproven && !around.contains(reason);
    let by_signer = |reason: &Reason| layer.signers.iter().any(|signer| signer.reasons.contains(reason));
    inspected.reasons.iter().copied().filter(|reason| !by_signer(reason) && !inside(reason)).collect()
}

fn signature(signer: &Signer, of_message: &[Reason], part: Option<&str>) -> String {
    let mut reasons = signer.reasons.clone();
    reasons.extend_from_slice(of_message);
    tidy(&mut reasons);
    let mut text = resinfo(result(&reasons), &reasons);
    if let Some(address) = &signer.address {
        text.push_str(&format!(" body.smime-identifier={}", quoted(address.as_str())));
    }
    if let Some(part) = part {
        text.push_str(&format!(" body.smime-part={part}"));
    }
    // RFC 7281 section 3: both or none.
    if let (Some(serial), Some(issuer)) = (&signer.serial, &signer.issuer) {
        text.push_str(&format!(" body.smime-serial={serial} body.smime-issuer={}", quoted(&issuer.to_string())));
    }
    text
}

/// `methodspec [CFWS reasonspec]` of RFC 8601 section 2.2.
fn resinfo(word: &str, reasons: &[Reason]) -> String {
    if reasons.is_empty() {
        return format!("smime={word}");
    }
    format!("smime={word} reason=\"{}\"", codes(reasons, ", "))
}

fn codes(reasons: &[Reason], separator: &str) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(separator)
}

/// `valid; reasons=a,b; signer="addr"; encrypted=yes` without id and by. `none` for mail without S/MIME.
pub fn segel_verdict(inspected: &Inspected) -> String {
    let mut items = vec![inspected.verdict.name().to_owned()];
    if !inspected.reasons.is_empty() {
        items.push(format!("reasons={}", codes(&inspected.reasons, ",")));
    }
    let signers =
        inspected.deciding.and_then(|index| inspected.layers.get(index)).map(|layer| layer.signers.as_slice());
    let signers = signers.unwrap_or_default();
    let named =
        signers.iter().find(|signer| signer.bound_to_from).or_else(|| signers.iter().find(|s| s.address.is_some()));
    if let Some(address) = named.and_then(|signer| signer.address.as_ref()) {
        items.push(format!("signer={}", quoted(address.as_str())));
    }
    if inspected.encrypted {
        items.push("encrypted=yes".to_owned());
    }
    items.join("; ")
}

/// A quoted-string of printable ASCII (RFC 5322 section 3.2.4). Other octets become `%` and two hex digits, so that a
/// certificate's text can neither break out nor hide anything, and the field needs no SMTPUTF8.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for octet in text.bytes() {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            0x20..=0x7e => out.push(char::from(octet)),
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
