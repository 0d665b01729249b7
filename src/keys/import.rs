//! Reading a key pair that an operator brings: which key, which certificate, which chain, and whether it can sign at all.
//!
//! Nothing is stored here. A pair that can never sign mail is refused with the reason (RFC 8550
//! section 4.4); dates, path and revocation are judged when it signs, by `pki`.

use super::pbes2::Budget;
use super::software::OpenKey;
use super::{KeyError, Unfit, pem as pem_file, pkcs12 as pkcs12_file};
use crate::crypto;
use crate::limits::Limits;
use crate::pki::Certificate;
use crate::pki::certificate::{Curve, KeyInfo};
use const_oid::db::{rfc5280::ANY_EXTENDED_KEY_USAGE, rfc5280::ID_KP_EMAIL_PROTECTION};
use der::Decode;
use std::fmt;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use zeroize::Zeroizing;

/// Octets of a PEM file, as of a PKCS#12 one.
const MAX_FILE: usize = 1 << 20;

/// A key pair that could sign mail.
pub struct Imported {
    /// PKCS#8 PrivateKeyInfo, DER.
    pub key_der: Zeroizing<Vec<u8>>,
    /// The certificate with the key's public half.
    pub certificate: Certificate,
    /// Its issuers found in the same file, next issuer first.
    pub chain: Vec<Certificate>,
    /// What was left out or is unusual, for the operator.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_der: _, certificate, chain, warnings } = self;
        f.debug_struct("Imported")
            .field("serial", &certificate.serial_hex())
            .field("chain", &chain.len())
            .field("warnings", warnings)
            .finish_non_exhaustive()
    }
}

/// Reads a PKCS#12 file. Of several pairs that could sign, the one whose certificate began last is taken and the
/// others are named in the warnings.
///
/// # Errors
/// See [`KeyError`]: wrong password, outdated encryption, no key, no certificate for it, a certificate that can never sign.
pub fn pkcs12(bytes: &[u8], password: &str) -> Result<Imported, KeyError> {
    let contents = pkcs12_file::read(bytes, password)?;
    choose(contents.keys, contents.certificates, contents.warnings)
}

/// Reads a certificate file (PEM, chain allowed, or one DER) and a PEM key file (PKCS#8 plain or encrypted, PKCS#1, SEC1).
///
/// # Errors
/// As [`pkcs12`]; `PasswordNeeded` if the key is encrypted and `password` is absent.
pub fn pem(certificate: &[u8], key: &[u8], password: Option<&str>) -> Result<Imported, KeyError> {
    if certificate.len().max(key.len()) > MAX_FILE {
        return Err(KeyError::TooComplex("PEM file"));
    }
    let key = pem_file::private_key(key, password, &mut Budget::new())?;
    let certificates = Certificate::bundle(certificate).map_err(|_| KeyError::Malformed("certificate"))?;
    choose(vec![key], certificates, Vec::new())
}

fn choose(
    keys: Vec<Zeroizing<Vec<u8>>>,
    certificates: Vec<Certificate>,
    mut warnings: Vec<String>,
) -> Result<Imported, KeyError> {
    if keys.is_empty() {
        return Err(KeyError::NoKey);
    }
    if certificates.is_empty() {
        return Err(KeyError::NoCertificate);
    }
    let mut pairs = Vec::new();
    let mut refused = None;
    for key in keys {
        match pair(&key, &certificates) {
            Ok(certificate) => pairs.push((key, certificate)),
            Err(error) => {
                warnings.push(format!("a key was left out: {}", described(&error)));
                refused.get_or_insert(error);
            }
        }
    }
    // Newest first; the sort is stable, so that the file's order decides between equals.
    pairs.sort_by_key(|(_, certificate)| std::cmp::Reverse(certificate.not_before()));
    let mut pairs = pairs.into_iter();
    let Some((key_der, certificate)) = pairs.next() else { return Err(refused.unwrap_or(KeyError::Mismatch)) };
    for (_, other) in pairs {
        warnings.push(format!("another key was left out: certificate `{}` is older", other.serial_hex()));
    }
    let chain = chain(&certificate, &certificates);
    Ok(Imported { key_der, certificate, chain, warnings })
}

/// The error with its source, on one line.
fn described(error: &KeyError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The certificate of this key, of several the one that can sign and began last.
fn pair(key: &[u8], certificates: &[Certificate]) -> Result<Certificate, KeyError> {
    let open = OpenKey::from_pkcs8(key)?;
    let mut candidates: Vec<_> = certificates.iter().filter(|c| open.belongs_to(c.spki_der())).collect();
    candidates.sort_by_key(|certificate| std::cmp::Reverse(certificate.not_before()));
    let mut refused = None;
    for certificate in candidates {
        match check(&open, certificate) {
            Ok(()) => return Ok(certificate.clone()),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Err(refused.unwrap_or(KeyError::Mismatch))
}

/// Whether the pair belongs together and could ever sign mail.
///
/// # Errors
/// `Mismatch` or `Unfit` with the reason.
pub fn check(key: &OpenKey, certificate: &Certificate) -> Result<(), KeyError> {
    if !key.belongs_to(certificate.spki_der()) {
        return Err(KeyError::Mismatch);
    }
    suitable(certificate).map_err(|why| KeyError::Unfit { serial: certificate.serial_hex(), why })?;
    // A key whose numbers look right and that signs wrongly is found now, not in a recipient's mail program.
    const PROBE: &[u8] = b"segel: pairwise consistency";
    let signature = key.sign(key.algorithm(), PROBE)?;
    crypto::verify(key.algorithm(), certificate.spki_der(), PROBE, &signature).map_err(|_| KeyError::Mismatch)
}

/// RFC 8550 section 4.4.2 (key usage) and 4.4.4 (extended key usage): absent extensions allow everything.
fn suitable(certificate: &Certificate) -> Result<(), Unfit> {
    match certificate.key_info() {
        KeyInfo::Rsa { bits, .. } if bits < 2048 => return Err(Unfit::ShortKey(bits)),
        KeyInfo::Rsa { .. } | KeyInfo::Ec { curve: Curve::P256 | Curve::P384 } => {}
        KeyInfo::Ec { .. } | KeyInfo::Ed25519 | KeyInfo::Dsa | KeyInfo::Other => return Err(Unfit::KeyType),
    }
    if certificate.is_ca() {
        return Err(Unfit::Authority);
    }
    let Ok(parsed) = x509_cert::Certificate::from_der(certificate.der()) else { return Err(Unfit::KeyType) };
    let tbs = parsed.tbs_certificate();
    let usage = tbs.get_extension::<KeyUsage>().map_err(|_| Unfit::KeyUsage)?;
    if let Some((_, KeyUsage(usage))) = usage
        && !usage.contains(KeyUsages::DigitalSignature)
        && !usage.contains(KeyUsages::NonRepudiation)
    {
        return Err(Unfit::KeyUsage);
    }
    let extended = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| Unfit::ExtendedKeyUsage)?;
    if let Some((_, ExtendedKeyUsage(purposes))) = extended
        && !purposes.contains(&ID_KP_EMAIL_PROTECTION)
        && !purposes.contains(&ANY_EXTENDED_KEY_USAGE)
    {
        return Err(Unfit::ExtendedKeyUsage);
    }
    Ok(())
}

/// The issuers in order; certificates that are not on the way are left out, so that no other person's is sent along.
fn chain(certificate: &Certificate, others: &[Certificate]) -> Vec<Certificate> {
    let depth = Limits::default().path_depth;
    let mut chain: Vec<Certificate> = Vec::new();
    let mut current = certificate;
    while chain.len() + 1 < depth && !current.is_self_signed() {
        let next = others.iter().find(|other| {
            other.is_ca()
                && other.subject().matches(current.issuer())
                && !chain.iter().any(|seen| seen.sha256() == other.sha256())
        });
        let Some(next) = next else { break };
        chain.push(next.clone());
        current = next;
    }
    chain
}
