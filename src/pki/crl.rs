//! Certificate revocation lists (RFC 5280 section 5): full ones, indexed by serial number.
//!
//! A CRL that Segel does not fully understand (a delta, an indirect one, an unknown critical extension) is kept but marked
//! unusable: it can then neither clear nor condemn a certificate.

use super::certificate::{Extension, KeyUsage, serial_hex, signature_algorithm, time};
use super::distribution::{PointName, Reasons, point_names};
use super::{Certificate, Name};
use crate::asn1::{Asn1Error, Fields, tag};
use crate::crypto::{self, CryptoError, SignatureAlgorithm};
use crate::limits::Limits;
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A full CRL over its original DER, indexed by serial. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Crl(Arc<ParsedCrl>);

struct ParsedCrl {
    der: Bytes,
    tbs: Bytes,
    issuer: Name,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    number: Option<String>,
    signature_algorithm: Result<SignatureAlgorithm, CryptoError>,
    signature: Bytes,
    entries: HashMap<Box<[u8]>, Entry>,
    scope: Scope,
    /// Keys (SHA-256 of the SubjectPublicKeyInfo) that were tried, and what came out.
    verified: Mutex<HashMap<[u8; 32], bool>>,
}

impl std::fmt::Debug for ParsedCrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParsedCrl")
            .field("issuer", &self.issuer.to_string())
            .field("this_update", &self.this_update)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// One revoked certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) date: Timestamp,
    pub(super) reason: EntryReason,
}

/// `CRLReason` (RFC 5280 section 5.3.1); absent means unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryReason {
    OnHold,
    RemoveFromCrl,
    Revoked(&'static str),
}

/// Which certificates and reasons the CRL speaks about.
#[derive(Debug, PartialEq, Eq)]
struct Scope {
    /// A delta, an indirect CRL, or a critical extension that is not understood.
    usable: bool,
    names: Vec<PointName>,
    only_users: bool,
    only_authorities: bool,
    reasons: Reasons,
}

/// Why octets are not a usable CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// The structure breaks RFC 5280; says where.
    #[error("not a CRL: {0}")]
    Malformed(String),
    /// `Limits::crl` or `Limits::crl_entries`.
    #[error("larger than allowed")]
    TooComplex,
}

impl From<Asn1Error> for CrlError {
    fn from(error: Asn1Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Keys whose results one CRL remembers. It has one issuer; more only come from hostile mail.
const REMEMBERED_KEYS: usize = 64;

impl Crl {
    /// Reads one CRL.
    ///
    /// # Errors
    /// `Malformed`, also for octets after it; `TooComplex`.
    pub fn from_der(der: &[u8], limits: &Limits) -> Result<Self, CrlError> {
        if der.len() > limits.crl {
            return Err(CrlError::TooComplex);
        }
        let mut outer = Fields::within(der, tag::SEQUENCE)?;
        let tbs = outer.required(tag::SEQUENCE)?;
        let algorithm = outer.required(tag::SEQUENCE)?;
        let signature = outer.required(tag::BIT_STRING)?;
        let Some((0, signature)) = signature.content.split_first().map(|(unused, rest)| (*unused, rest)) else {
            return Err(CrlError::Malformed("signature".to_owned()));
        };
        let mut fields = Fields::new(tbs.content);
        // RFC 5280 section 5.1.2.1: v2 is written as 1, v1 not at all; v1 has no extensions.
        let version = fields.optional(tag::INTEGER)?.map(|field| field.content);
        let inner = fields.required(tag::SEQUENCE)?;
        if !outer.is_empty() || inner.whole != algorithm.whole {
            return Err(CrlError::Malformed("two signature algorithms".to_owned()));
        }
        let issuer = Name::from_der(fields.required(tag::SEQUENCE)?.whole)
            .map_err(|_| CrlError::Malformed("issuer".to_owned()))?;
        let this_update = time(&fields.next_any()?.ok_or(Asn1Error::Malformed(0))?)?;
        let next_update = match fields.optional(tag::UTC_TIME)? {
            Some(field) => Some(field),
            None => fields.optional(tag::GENERALIZED_TIME)?,
        };
        let next_update = next_update.map(|field| time(&field)).transpose()?;
        let revoked = fields.optional(tag::SEQUENCE)?.map_or(&[][..], |field| field.content);
        let extensions = fields.optional(tag::context(0))?;
        if !fields.is_empty() {
            return Err(Asn1Error::Trailing.into());
        }
        if version.is_some_and(|version| version != [1]) || (version.is_none() && extensions.is_some()) {
            return Err(CrlError::Malformed("version".to_owned()));
        }
        let (mut scope, number) = scope(extensions.map(|field| field.content), &issuer)?;
        let entries = entries(revoked, limits, version.is_some(), &mut scope)?;
        Ok(Self(Arc::new(ParsedCrl {
            der: Bytes::copy_from_slice(der),
            tbs: Bytes::copy_from_slice(tbs.whole),
            issuer,
            this_update,
            next_update,
            number,
            signature_algorithm: signature_algorithm(algorithm.whole),
            signature: Bytes::copy_from_slice(signature),
            entries,
            scope,
            verified: Mutex::default(),
        })))
    }

    /// PEM (several) or DER.
    ///
    /// # Errors
    /// `Malformed` if there is none or one of them is broken; `TooComplex`.
    pub fn bundle(file: &[u8], limits: &Limits) -> Result<Vec<Self>, CrlError> {
        if super::pem::is_der(file) {
            return Ok(vec![Self::from_der(file, limits)?]);
        }
        let blocks =
            super::pem::blocks(file, &["X509 CRL"]).ok_or_else(|| CrlError::Malformed("broken PEM".to_owned()))?;
        if blocks.is_empty() {
            return Err(CrlError::Malformed("neither DER nor a PEM block `X509 CRL`".to_owned()));
        }
        blocks.iter().map(|der| Self::from_der(der, limits)).collect()
    }

    /// The DER as it arrived.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The same without copying.
    pub(super) fn bytes(&self) -> Bytes {
        self.0.der.clone()
    }

    /// Who issued it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// When it was made.
    pub fn this_update(&self) -> Timestamp {
        self.0.this_update
    }

    /// When the next one comes at the latest.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.0.next_update
    }

    /// cRLNumber in lower-case hex.
    pub fn number(&self) -> Option<String> {
        self.0.number.clone()
    }

    /// Certificates on the list.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether the list names no certificate.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Signature under the issuer's key; remembered per issuer key so that it costs once. Names are not compared.
    pub fn verify(&self, issuer: &Certificate) -> bool {
        let key = crypto::sha256(issuer.spki_der());
        let remembered = self.0.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(result) = remembered {
            return result;
        }
        let result = self.0.signature_algorithm.is_ok_and(|algorithm| {
            crypto::verify(algorithm, issuer.spki_der(), &self.0.tbs, &self.0.signature).is_ok()
        });
        let mut verified = self.0.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= REMEMBERED_KEYS {
            verified.clear();
        }
        verified.insert(key, result);
        result
    }

    /// Whether `issuer` has the CRL's issuer name, may sign CRLs (RFC 5280 section 6.3.3 f) and did sign it. Says nothing about
    /// who vouches for `issuer`.
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        issuer.subject().matches(self.issuer())
            && issuer.key_usage().is_none_or(|usage| usage.has(KeyUsage::CRL_SIGN))
            && self.verify(issuer)
    }

    /// Whether it can say anything about anyone: deltas, indirect CRLs and those with a critical extension that is not
    /// understood can't.
    pub fn is_usable(&self) -> bool {
        self.0.scope.usable
    }

    /// Whether both speak about the same certificates of one issuer (RFC 5280 section 5.2.5).
    pub fn same_scope(&self, other: &Self) -> bool {
        self.issuer().matches(other.issuer()) && self.0.scope == other.0.scope
    }

    pub(super) fn signature_algorithm(&self) -> Result<SignatureAlgorithm, CryptoError> {
        self.0.signature_algorithm
    }

    pub(super) fn entry(&self, serial: &[u8]) -> Option<Entry> {
        self.0.entries.get(serial).copied()
    }

    /// The reasons for which this CRL speaks about `certificate` (RFC 5280 section 6.3.3 b to d); `NONE` if it does not.
    pub(super) fn reasons_for(&self, certificate: &Certificate) -> Reasons {
        let scope = &self.0.scope;
        let wrong_kind = if certificate.is_ca() { scope.only_users } else { scope.only_authorities };
        if !scope.usable || wrong_kind {
            return Reasons::NONE;
        }
        if scope.names.is_empty() {
            return scope.reasons;
        }
        let Ok(points) = certificate.distribution_points() else { return Reasons::NONE };
        points.iter().fold(Reasons::NONE, |covered, point| match point.read(certificate.issuer()) {
            Ok(Some((names, reasons))) if names.iter().any(|name| scope.names.contains(name)) => {
                covered.or(scope.reasons.and(reasons))
            }
            _ => covered,
        })
    }
}

/// Reads crlExtensions (RFC 5280 section 5.2): the scope, and cRLNumber in hex.
fn scope(der: Option<&[u8]>, issuer: &Name) -> Result<(Scope, Option<String>), CrlError> {
    let mut scope =
        Scope { usable: true, names: Vec::new(), only_users: false, only_authorities: false, reasons: Reasons::ALL };
    let mut number = None;
    for extension in der.map_or(Ok(Vec::new()), Extension::list)? {
        match extension.oid.as_str() {
            "2.5.29.20" => {
                let value = Fields::within(extension.value, tag::INTEGER)?;
                number = Some(serial_hex(value.rest()));
            }
            "2.5.29.28" => issuing_distribution_point(extension.value, issuer, &mut scope)?,
            // deltaCRLIndicator
            "2.5.29.27" => scope.usable = false,
            // authorityKeyIdentifier, issuerAltName, freshestCRL, authorityInfoAccess: nothing to obey.
            "2.5.29.35" | "2.5.29.18" | "2.5.29.46" | "1.3.6.1.5.5.7.1.1" => {}
            _ => scope.usable &= !extension.critical,
        }
    }
    Ok((scope, number))
}

/// ```text
/// IssuingDistributionPoint ::= SEQUENCE {
///      distributionPoint          [0] DistributionPointName OPTIONAL,
///      onlyContainsUserCerts      [1] BOOLEAN DEFAULT FALSE,
///      onlyContainsCACerts        [2] BOOLEAN DEFAULT FALSE,
///      onlySomeReasons            [3] ReasonFlags OPTIONAL,
///      indirectCRL                [4] BOOLEAN DEFAULT FALSE,
///      onlyContainsAttributeCerts [5] BOOLEAN DEFAULT FALSE }
/// ```
fn issuing_distribution_point(der: &[u8], issuer: &Name, scope: &mut Scope) -> Result<(), Asn1Error> {
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    if fields.is_empty() {
        return Err(Asn1Error::Malformed(0));
    }
    if let Some(field) = fields.optional(tag::context(0))? {
        scope.names = point_names(field.content, issuer)?;
        // A point without names could be taken for no point at all.
        scope.usable &= !scope.names.is_empty();
    }
    let flag = |fields: &mut Fields<'_>, number| {
        Ok::<_, Asn1Error>(fields.optional(tag::context_primitive(number))?.is_some_and(|field| field.content != [0]))
    };
    scope.only_users = flag(&mut fields, 1)?;
    scope.only_authorities = flag(&mut fields, 2)?;
    if let Some(field) = fields.optional(tag::context_primitive(3))? {
        scope.reasons = Reasons::read(field.content);
    }
    let indirect = flag(&mut fields, 4)?;
    let attributes = flag(&mut fields, 5)?;
    scope.usable &= !indirect && !attributes && fields.is_empty();
    Ok(())
}

/// ```text
/// revokedCertificates SEQUENCE OF SEQUENCE {
///      userCertificate         CertificateSerialNumber,
///      revocationDate          Time,
///      crlEntryExtensions      Extensions OPTIONAL }
/// ```
fn entries(
    content: &[u8],
    limits: &Limits,
    extensible: bool,
    scope: &mut Scope,
) -> Result<HashMap<Box<[u8]>, Entry>, CrlError> {
    let mut entries = HashMap::new();
    let mut fields = Fields::new(content);
    while !fields.is_empty() {
        if entries.len() >= limits.crl_entries {
            return Err(CrlError::TooComplex);
        }
        let mut parts = Fields::new(fields.required(tag::SEQUENCE)?.content);
        let serial = parts.required(tag::INTEGER)?.content;
        let date = time(&parts.next_any()?.ok_or(Asn1Error::Malformed(0))?)?;
        let mut reason = EntryReason::Revoked("unspecified");
        let extensions = parts.optional(tag::SEQUENCE)?;
        if !parts.is_empty() || (extensions.is_some() && !extensible) {
            return Err(CrlError::Malformed("entry".to_owned()));
        }
        if let Some(extensions) = extensions {
            for extension in Extension::list(extensions.whole)? {
                match extension.oid.as_str() {
                    "2.5.29.21" => reason = entry_reason(extension.value)?,
                    // invalidityDate
                    "2.5.29.24" => {}
                    // RFC 5280 section 5.3: a CRL with a critical entry extension that is not understood says nothing about anyone.
                    _ => scope.usable &= !extension.critical,
                }
            }
        }
        entries.insert(serial.into(), Entry { date, reason });
    }
    Ok(entries)
}

/// `CRLReason ::= ENUMERATED`
fn entry_reason(der: &[u8]) -> Result<EntryReason, Asn1Error> {
    Ok(match Fields::within(der, tag::ENUMERATED)?.rest() {
        [1] => EntryReason::Revoked("keyCompromise"),
        [2] => EntryReason::Revoked("cACompromise"),
        [3] => EntryReason::Revoked("affiliationChanged"),
        [4] => EntryReason::Revoked("superseded"),
        [5] => EntryReason::Revoked("cessationOfOperation"),
        [6] => EntryReason::OnHold,
        [8] => EntryReason::RemoveFromCrl,
        [9] => EntryReason::Revoked("privilegeWithdrawn"),
        [10] => EntryReason::Revoked("aACompromise"),
        _ => EntryReason::Revoked("unspecified"),
    })
}
