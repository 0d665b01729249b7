//! The demo's mails: plain ones, and signed and encrypted ones as a partner's mail program makes them.

use super::DemoError;
use super::authority::Person;
use crate::crypto::{ContentCipher, Digest, SignatureAlgorithm};
use crate::limits::Limits;
use crate::mail::canonical::{as_it_is, canonical, multipart_signed, pkcs7_mime};
use crate::pki::certificate::KeyInfo;
use crate::smime::encrypt::{To, encrypt, smime_type};
use crate::smime::sign::{Signer, prepare};
use rcgen::SigningKey;

/// A plain text mail.
pub(super) fn plain(scenario: &str, from: &str, to: &[&str], subject: &str, text: &str) -> Vec<u8> {
    let date = jiff::fmt::rfc2822::to_string(&crate::clock::now().to_zoned(jiff::tz::TimeZone::UTC));
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: {id}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n",
        to = to.join(", "),
        date = date.unwrap_or_default(),
        id = message_id(scenario),
    )
    .into_bytes()
}

/// The Message-ID of a scenario's mail.
pub(super) fn message_id(scenario: &str) -> String {
    format!("<{scenario}@demo.example>")
}

/// `message` as `multipart/signed` by `signer`.
pub(super) fn signed(scenario: &str, message: &[u8], signer: &Person) -> Result<Vec<u8>, DemoError> {
    attempt(message, signer).ok_or_else(|| DemoError::Signature(scenario.to_owned()))
}

fn attempt(message: &[u8], person: &Person) -> Option<Vec<u8>> {
    let parts = canonical(message, &Limits::default()).ok()?;
    let signer = Signer {
        certificate: person.certificate.clone(),
        chain: vec![person.issuer.clone()],
        algorithm: match person.certificate.key_info() {
            KeyInfo::Ec { .. } => SignatureAlgorithm::Ecdsa(Digest::Sha256),
            _ => SignatureAlgorithm::RsaPkcs1(Digest::Sha256),
        },
        digest: Digest::Sha256,
        encryption: None,
    };
    let prepared = prepare(&parts.entity, &signer, crate::clock::now(), false).ok()?;
    let signature = person.key.sign(prepared.to_be_signed()).ok()?;
    let der = prepared.assemble(&signature).ok()?;
    Some(multipart_signed(&parts.outer, &parts.entity, &der, "sha-256", "=_segel_demo_boundary"))
}

/// What CBC encrypts at a time.
const BLOCK: usize = 16;
const CIPHER: ContentCipher = ContentCipher::Aes256Cbc;

/// `message` encrypted to one certificate in CBC mode, as most mail programs still do it. With `change` somebody who has no
/// key changes one word of it into another on the way: octets of the block before are flipped, and that block is lost.
pub(super) fn encrypted(
    scenario: &str,
    message: &[u8],
    to: To,
    change: Option<(&str, &str)>,
) -> Result<Vec<u8>, DemoError> {
    seal(message, to, change).ok_or_else(|| DemoError::Encryption(scenario.to_owned()))
}

fn seal(message: &[u8], to: To, change: Option<(&str, &str)>) -> Option<Vec<u8>> {
    let parts = as_it_is(message, &Limits::default()).ok()?;
    let mut der = encrypt(&parts.entity, CIPHER, &[to]).ok()?;
    if let Some((word, other)) = change {
        // The ciphertext ends the structure: whole blocks, the last one with padding.
        let ciphertext = der.len().checked_sub((parts.entity.len() / BLOCK + 1) * BLOCK)?;
        let place = parts.entity.windows(word.len()).position(|window| window == word.as_bytes())?;
        let before = (ciphertext + place).checked_sub(BLOCK)?;
        for (octet, (old, new)) in der.get_mut(before..)?.iter_mut().zip(word.bytes().zip(other.bytes())) {
            *octet ^= old ^ new;
        }
    }
    Some(pkcs7_mime(&parts.outer, smime_type(CIPHER), &der))
}

/// `message` with one word of its text changed on the way; the length stays.
pub(super) fn altered(message: &[u8], word: &str, other: &str) -> Vec<u8> {
    let (word, other) = (word.as_bytes(), other.as_bytes());
    let mut changed = message.to_vec();
    let found = message.windows(word.len()).position(|window| window == word);
    if let Some(place) = found.and_then(|start| changed.get_mut(start..start + word.len()))
        && place.len() == other.len()
    {
        place.copy_from_slice(other);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::altered;

    #[test]
    fn a_word_is_changed_once_and_only_by_one_as_long() {
        assert_eq!(altered(b"pay 100 or 100", "100", "900"), b"pay 900 or 100");
        assert_eq!(altered(b"pay 100", "100", "9"), b"pay 100");
        assert_eq!(altered(b"pay", "100", "900"), b"pay");
    }
}
