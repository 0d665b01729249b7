//! Reading the key pairs that an operator brings: which key, which certificate, which chain, and what each is good for.
//!
//! Nothing is stored here. A pair that can neither sign nor decrypt mail is refused with the reason (RFC 8550
//! section 4.4); dates, path and revocation are judged when it signs, by `pki`. Old pairs are welcome: they open old mail.

use super::pbes2::Budget;
use super::software::OpenKey;
use super::{KeyError, Unfit, pem as pem_file, pkcs12 as pkcs12_file};
use crate::crypto;
use crate::limits::Limits;
use crate::pki::Certificate;
use crate::pki::certificate::{Curve, KeyInfo};
use const_oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_EMAIL_PROTECTION};
use const_oid::db::{rfc5912::ID_RSASSA_PSS, rfc8410::ID_X_25519};
use der::Decode;
use spki::SubjectPublicKeyInfoRef;
use std::fmt;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use zeroize::Zeroizing;

/// Octets of a PEM file, as of a PKCS#12 one.
const MAX_FILE: usize = 1 << 20;

/// What a file holds.
#[derive(Debug)]
pub struct Import {
    /// Every pair that can be used, the one whose certificate began last first. Never empty.
    pub pairs: Vec<Imported>,
    /// What was left out or is unusual, for the operator.
    pub warnings: Vec<String>,
}

/// A key pair that could sign or decrypt mail.
pub struct Imported {
    /// PKCS#8 PrivateKeyInfo, DER.
    pub key_der: Zeroizing<Vec<u8>>,
    /// The certificate with the key's public half.
    pub certificate: Certificate,
    /// Its issuers found in the same file, next issuer first.
    pub chain: Vec<Certificate>,
    /// What the certificate lets the key do.
    pub uses: Uses,
}

/// What a certificate lets its key do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Sign mail: keyUsage digitalSignature or nonRepudiation, or none at all.
    pub sign: bool,
    /// Open mail: keyUsage keyEncipherment (RSA) or keyAgreement (curves), or none at all.
    pub decrypt: bool,
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_der: _, certificate, chain, uses } = self;
        f.debug_struct("Imported")
            .field("serial", &certificate.serial_hex())
            .field("chain", &chain.len())
            .field("uses", uses)
            .finish_non_exhaustive()
    }
}

/// Reads a PKCS#12 file: every pair in it that can be used. People have one to sign and one to decrypt, and old ones.
///
/// # Errors
/// See [`KeyError`]: wrong password, outdated encryption, no key, no certificate for it, none that can be used.
pub fn pkcs12(bytes: &[u8], password: &str) -> Result<Import, KeyError> {
    let contents = pkcs12_file::read(bytes, password)?;
    choose(contents.keys, &contents.certificates, contents.warnings)
}

/// Reads a certificate file (PEM, chain allowed, or one DER) and a PEM key file (PKCS#8 plain or encrypted, PKCS#1, SEC1).
///
/// # Errors
/// As [`pkcs12`]; `PasswordNeeded` if the key is encrypted and `password` is absent.
pub fn pem(certificate: &[u8], key: &[u8], password: Option<&str>) -> Result<Import, KeyError> {
    if certificate.len().max(key.len()) > MAX_FILE {
        return Err(KeyError::TooComplex("PEM file"));
    }
    let key = pem_file::private_key(key, password, &mut Budget::new())?;
    let certificates = Certificate::bundle(certificate).map_err(|_| KeyError::Malformed("certificate"))?;
    choose(vec![key], &certificates, Vec::new())
}

pub(super) fn choose(
    keys: Vec<Zeroizing<Vec<u8>>>,
    certificates: &[Certificate],
    mut warnings: Vec<String>,
) -> Result<Import, KeyError> {
    if keys.is_empty() {
        return Err(KeyError::NoKey);
    }
    if certificates.is_empty() {
        return Err(KeyError::NoCertificate);
    }
    let mut pairs = Vec::new();
    let mut refused = Vec::new();
    for key in keys {
        match pairs_of(&key, certificates, &mut refused) {
            Ok(found) => pairs.extend(found),
            Err(error) => refused.push(error),
        }
    }
    if pairs.is_empty() {
        return Err(refused.into_iter().next().unwrap_or(KeyError::Mismatch));
    }
    warnings.extend(refused.iter().map(|error| format!("a key was left out: {}", described(error))));
    // Newest first; the sort is stable, so that the file's order decides between equals.
    pairs.sort_by_key(|pair: &Imported| std::cmp::Reverse(pair.certificate.not_before()));
    Ok(Import { pairs, warnings })
}

/// The error with its source, on one line.
fn described(error: &KeyError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A pair for each certificate of this key that can be used: mail may be encrypted to an older one of them.
fn pairs_of(key: &[u8], certificates: &[Certificate], refused: &mut Vec<KeyError>) -> Result<Vec<Imported>, KeyError> {
    let open = OpenKey::from_pkcs8(key)?;
    let mut pairs: Vec<Imported> = Vec::new();
    let mut owned = false;
    for certificate in certificates.iter().filter(|c| open.belongs_to(c.spki_der())) {
        owned = true;
        if pairs.iter().any(|pair| pair.certificate.sha256() == certificate.sha256()) {
            continue;
        }
        match check(&open, certificate) {
            Ok(uses) => pairs.push(Imported {
                key_der: Zeroizing::new(key.to_vec()),
                certificate: certificate.clone(),
                chain: chain(certificate, certificates),
                uses,
            }),
            Err(error) => refused.push(error),
        }
    }
    if owned { Ok(pairs) } else { Err(KeyError::Mismatch) }
}

/// Whether the pair belongs together, and what it could do for mail.
///
/// # Errors
/// `Mismatch` or `Unfit` with the reason.
pub fn check(key: &OpenKey, certificate: &Certificate) -> Result<Uses, KeyError> {
    if !key.belongs_to(certificate.spki_der()) {
        return Err(KeyError::Mismatch);
    }
    let uses = suitable(certificate).map_err(|why| KeyError::Unfit { serial: certificate.serial_hex(), why })?;
    // A key whose numbers look right and that signs or opens wrongly is found now, not in a recipient's mail program.
    if uses.sign {
        const PROBE: &[u8] = b"segel: pairwise consistency";
        let signature = key.sign(key.algorithm(), PROBE)?;
        crypto::verify(key.algorithm(), certificate.spki_der(), PROBE, &signature).map_err(|_| KeyError::Mismatch)?;
    }
    if uses.decrypt && !key.opens_for(certificate.spki_der()) {
        return Err(KeyError::Mismatch);
    }
    Ok(uses)
}

/// What the kind of key is capable of, whatever its certificate says.
fn capable(certificate: &Certificate) -> Result<(Uses, KeyUsages), Unfit> {
    let spki = SubjectPublicKeyInfoRef::from_der(certificate.spki_der()).map_err(|_| Unfit::KeyType)?;
    let oid = spki.algorithm.oid;
    let both = Uses { sign: true, decrypt: true };
    match certificate.key_info() {
        KeyInfo::Rsa { bits, .. } if bits < 2048 => Err(Unfit::ShortKey(bits)),
        // RFC 4055 section 1.2: a key for PSS is for PSS only.
        KeyInfo::Rsa { .. } => Ok((Uses { sign: true, decrypt: oid != ID_RSASSA_PSS }, KeyUsages::KeyEncipherment)),
        KeyInfo::Ec { curve: Curve::P256 | Curve::P384 } => Ok((both, KeyUsages::KeyAgreement)),
        KeyInfo::Ec { curve: Curve::P521 } => Ok((Uses { sign: false, decrypt: true }, KeyUsages::KeyAgreement)),
        KeyInfo::Other if oid == ID_X_25519 => Ok((Uses { sign: false, decrypt: true }, KeyUsages::KeyAgreement)),
        KeyInfo::Ec { .. } | KeyInfo::Ed25519 | KeyInfo::Dsa | KeyInfo::Other => Err(Unfit::KeyType),
    }
}

/// RFC 8550 section 4.4.2 (key usage) and 4.4.4 (extended key usage): absent extensions allow everything.
pub(super) fn suitable(certificate: &Certificate) -> Result<Uses, Unfit> {
    let (mut uses, to_decrypt) = capable(certificate)?;
    if certificate.is_ca() {
        return Err(Unfit::Authority);
    }
    let Ok(parsed) = x509_cert::Certificate::from_der(certificate.der()) else { return Err(Unfit::KeyType) };
    let tbs = parsed.tbs_certificate();
    if let Some((_, KeyUsage(usage))) = tbs.get_extension::<KeyUsage>().map_err(|_| Unfit::KeyUsage)? {
        let signs = usage.contains(KeyUsages::DigitalSignature) || usage.contains(KeyUsages::NonRepudiation);
        if signs && !uses.sign && !usage.contains(to_decrypt) {
            return Err(Unfit::KeyType);
        }
        uses = Uses { sign: uses.sign && signs, decrypt: uses.decrypt && usage.contains(to_decrypt) };
    }
    if !uses.sign && !uses.decrypt {
        return Err(Unfit::KeyUsage);
    }
    let extended = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| Unfit::ExtendedKeyUsage)?;
    if let Some((_, ExtendedKeyUsage(purposes))) = extended
        && !purposes.contains(&ID_KP_EMAIL_PROTECTION)
        && !purposes.contains(&ANY_EXTENDED_KEY_USAGE)
    {
        return Err(Unfit::ExtendedKeyUsage);
    }
    Ok(uses)
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
