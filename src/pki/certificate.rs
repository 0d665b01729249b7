//! A certificate over its original octets (RFC 5280 section 4).
//!
//! Parsing is strict about structure and keeps every octet: signatures are verified over what arrived, never over a
//! re-encoding. What a certificate is worth is the question of `path`, not of this module.

mod addresses;
mod extensions;

pub use extensions::KeyUsage;
pub(super) use extensions::{DistributionPoint, Extension};

use super::{Name, NameError};
use crate::asn1::{Asn1Error, Fields, Tlv, tag};
use crate::crypto::key::{self, PublicKey};
use crate::crypto::{self, CryptoError, SignatureAlgorithm};
use crate::mail::Address;
use bytes::Bytes;
use der::Decode;
use extensions::Extensions;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};

/// A parsed certificate over its original DER. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Parsed>);

/// A certificate that somebody else keeps, or does not any more.
#[derive(Clone, Debug)]
pub struct WeakCertificate(Weak<Parsed>);

impl WeakCertificate {
    /// The certificate, if it is still kept.
    pub fn upgrade(&self) -> Option<Certificate> {
        self.0.upgrade().map(Certificate)
    }

    /// Whether nobody keeps it any more.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

struct Parsed {
    der: Bytes,
    tbs: Bytes,
    serial: Bytes,
    issuer: Name,
    subject: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    spki: Bytes,
    signature_algorithm: Result<SignatureAlgorithm, CryptoError>,
    signature: Bytes,
    extensions: Extensions,
    sha256: [u8; 32],
    /// certval's view of the same octets.
    validated: certval::PDVCertificate,
    /// certval's view as a trust anchor; made when first needed.
    anchor: OnceLock<Option<certval::PDVTrustAnchorChoice>>,
    addresses: OnceLock<Option<Vec<Address>>>,
    receives: OnceLock<bool>,
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parsed")
            .field("subject", &self.subject.to_string())
            .field("issuer", &self.issuer.to_string())
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// Why octets are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The structure breaks RFC 5280; says where.
    #[error("not a certificate: {0}")]
    Malformed(String),
    /// More octets or certificates than any real one has.
    #[error("too large")]
    TooComplex,
}

impl From<NameError> for CertificateError {
    fn from(_: NameError) -> Self {
        Self::Malformed("name".to_owned())
    }
}

/// The kind of a certificate's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyInfo {
    /// RSA, also for PSS only.
    Rsa {
        /// Significant bits of the modulus.
        bits: usize,
        /// The public exponent; `u64::MAX` stands for anything larger.
        exponent: u64,
    },
    /// A key on a named curve.
    Ec {
        /// The curve.
        curve: Curve,
    },
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// DSA: recognised, too weak.
    Dsa,
    /// Anything else, unreadable keys too.
    Other,
}

/// A named curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
    /// Less than 256 bits: too weak.
    Small,
    /// Not implemented.
    Other,
}

/// Octets of the largest certificate that is read. Real ones stay below 10 KiB; post-quantum ones reach 60 KiB.
const LARGEST: usize = 1 << 20;
/// Certificates in one file: the largest public bundles have some hundreds.
const MOST_IN_BUNDLE: usize = 10_000;

impl Certificate {
    /// Reads one certificate.
    ///
    /// # Errors
    /// `Malformed`, also for octets after the certificate; `TooComplex`.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > LARGEST {
            return Err(CertificateError::TooComplex);
        }
        let malformed = |error: Asn1Error| CertificateError::Malformed(error.to_string());
        let mut outer = Fields::within(der, tag::SEQUENCE).map_err(malformed)?;
        let tbs = outer.required(tag::SEQUENCE).map_err(malformed)?;
        let algorithm = outer.required(tag::SEQUENCE).map_err(malformed)?;
        let signature = outer.required(tag::BIT_STRING).map_err(malformed)?;
        let Some((0, signature)) = signature.content.split_first().map(|(unused, rest)| (*unused, rest)) else {
            return Err(CertificateError::Malformed("signature".to_owned()));
        };
        if !outer.is_empty() {
            return Err(malformed(Asn1Error::Trailing));
        }
        let fields = TbsFields::read(tbs.content).map_err(malformed)?;
        if fields.signature.whole != algorithm.whole {
            // RFC 5280 section 4.1.1.2: both MUST be the same.
            return Err(CertificateError::Malformed("two signature algorithms".to_owned()));
        }
        let extensions = Extensions::read(fields.extensions).map_err(malformed)?;
        let validated =
            certval::PDVCertificate::try_from(der).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let (not_before, not_after) = validity(fields.validity).map_err(malformed)?;
        Ok(Self(Arc::new(Parsed {
            der: Bytes::copy_from_slice(der),
            tbs: Bytes::copy_from_slice(tbs.whole),
            serial: Bytes::copy_from_slice(fields.serial),
            issuer: Name::from_der(fields.issuer)?,
            subject: Name::from_der(fields.subject)?,
            not_before,
            not_after,
            spki: Bytes::copy_from_slice(fields.spki),
            signature_algorithm: signature_algorithm(algorithm.whole),
            signature: Bytes::copy_from_slice(signature),
            extensions,
            sha256: crypto::sha256(der),
            validated,
            anchor: OnceLock::new(),
            addresses: OnceLock::new(),
            receives: OnceLock::new(),
        })))
    }

    /// One or many certificates from PEM (several blocks, other blocks ignored) or one DER.
    ///
    /// # Errors
    /// `Malformed` if there is none or one of them is broken.
    pub fn bundle(file: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if super::pem::is_der(file) {
            return Ok(vec![Self::from_der(file)?]);
        }
        let blocks = super::pem::blocks(file, &["CERTIFICATE", "X509 CERTIFICATE"])
            .ok_or_else(|| CertificateError::Malformed("broken PEM".to_owned()))?;
        if blocks.len() > MOST_IN_BUNDLE {
            return Err(CertificateError::TooComplex);
        }
        if blocks.is_empty() {
            return Err(CertificateError::Malformed("neither DER nor a PEM block `CERTIFICATE`".to_owned()));
        }
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The DER as it arrived.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The subject.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The issuer.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// Content octets of the INTEGER.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// Lower-case hex, no leading 00 unless alone.
    pub fn serial_hex(&self) -> String {
        serial_hex(&self.0.serial)
    }

    /// First second of validity.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// Last second of validity.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The kind of key; `Other` also for keys that cannot be read.
    pub fn key_info(&self) -> KeyInfo {
        match PublicKey::from_spki(&self.0.spki) {
            Ok(PublicKey::Rsa { modulus, exponent, .. }) => KeyInfo::Rsa {
                bits: key::bits(modulus),
                exponent: if exponent.len() > 8 {
                    u64::MAX
                } else {
                    exponent.iter().fold(0, |value, octet| (value << 8) | u64::from(*octet))
                },
            },
            Ok(PublicKey::Ec { curve, .. }) => KeyInfo::Ec {
                curve: match curve {
                    key::Curve::P256 => Curve::P256,
                    key::Curve::P384 => Curve::P384,
                    key::Curve::P521 => Curve::P521,
                    key::Curve::Small => Curve::Small,
                    key::Curve::Other => Curve::Other,
                },
            },
            Ok(PublicKey::Ed25519(_)) => KeyInfo::Ed25519,
            Ok(PublicKey::Dsa) => KeyInfo::Dsa,
            Ok(PublicKey::X25519(_) | PublicKey::Other) | Err(_) => KeyInfo::Other,
        }
    }

    /// The subjectKeyIdentifier extension (RFC 5280 section 4.2.1.2).
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_identifier.as_deref()
    }

    /// keyIdentifier of the authorityKeyIdentifier extension (RFC 5280 section 4.2.1.1).
    pub(super) fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.0.extensions.authority_key_identifier.as_deref()
    }

    /// basicConstraints says `cA` (RFC 5280 section 4.2.1.9).
    pub fn is_ca(&self) -> bool {
        self.0.extensions.is_ca
    }

    /// Whether an anchor may issue: `cA`, or a root from before basicConstraints.
    pub(super) fn may_issue_as_anchor(&self) -> bool {
        self.0.extensions.is_ca || !self.0.extensions.has_basic_constraints
    }

    /// Issuer and subject match and the signature verifies under the certificate's own key.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.verify_signed_by(self).is_ok()
    }

    /// Issuer and subject match (RFC 5280 section 3.2).
    pub(super) fn is_self_issued(&self) -> bool {
        self.0.issuer.matches(&self.0.subject)
    }

    /// SHA-256 of the DER: the fingerprint that is shown and blocked.
    pub fn sha256(&self) -> [u8; 32] {
        self.0.sha256
    }

    /// SHA-256 of what the CA has signed. A signature by ECDSA has a twin that verifies as well, and anybody can write it, so
    /// one certificate may have several fingerprints; it has one of these.
    pub fn signed_sha256(&self) -> [u8; 32] {
        crypto::sha256(&self.0.tbs)
    }

    /// Whether it is one of these, by its fingerprint or by what the CA has signed.
    pub fn is_among(&self, digests: &HashSet<[u8; 32]>) -> bool {
        !digests.is_empty() && (digests.contains(&self.0.sha256) || digests.contains(&self.signed_sha256()))
    }

    /// Every address the certificate names: rfc822Name, SmtpUTF8Mailbox, emailAddress in the subject; exact octets that are no address
    /// (NUL, wildcard, two @ …) are left out of matching and never truncated (I58). None for more than 1,000 names.
    pub fn addresses(&self) -> &[Address] {
        self.read_addresses().unwrap_or_default()
    }

    /// Whether it has more names than anybody looks at; then it names no address.
    pub fn has_too_many_names(&self) -> bool {
        self.read_addresses().is_none()
    }

    fn read_addresses(&self) -> Option<&[Address]> {
        let read = || {
            let texts = addresses::texts(&self.0.extensions, &self.0.subject)?;
            Some(texts.iter().filter_map(|text| Address::parse(text).ok()).collect())
        };
        self.0.addresses.get_or_init(read).as_deref()
    }

    /// Whether a content key can be sealed to its public key; tried once.
    pub fn key_receives(&self) -> bool {
        *self.0.receives.get_or_init(|| crypto::transport::is_usable(&self.0.spki))
    }

    /// The same certificate, for as long as somebody else keeps it.
    pub fn downgrade(&self) -> WeakCertificate {
        WeakCertificate(Arc::downgrade(&self.0))
    }

    /// Whether one of the addresses is this mailbox.
    pub fn names_address(&self, address: &Address) -> bool {
        self.addresses().iter().any(|named| named.same_mailbox(address))
    }

    /// One PEM block `CERTIFICATE` (RFC 7468 section 5).
    pub fn to_pem(&self) -> String {
        super::pem::write("CERTIFICATE", &self.0.der)
    }

    /// keyUsage, if the extension is there.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.extensions.key_usage
    }

    /// extKeyUsage as dotted text, if the extension is there.
    pub fn extended_key_usage(&self) -> Option<&[String]> {
        self.0.extensions.extended_key_usage.as_deref()
    }

    /// Whether every name in it can be read; what cannot be read cannot be constrained.
    pub(super) fn has_readable_names(&self) -> bool {
        !self.0.extensions.unreadable_names
    }

    /// cRLDistributionPoints; `Err` if they cannot be read.
    pub(super) fn distribution_points(&self) -> Result<&[DistributionPoint], Asn1Error> {
        self.0.extensions.distribution_points.as_deref().map_err(|error| *error)
    }

    /// rfc822Name subtrees of nameConstraints.
    pub(super) fn mail_constraints(&self) -> &extensions::MailConstraints {
        &self.0.extensions.mail_constraints
    }

    pub(super) fn signature_algorithm(&self) -> Result<SignatureAlgorithm, CryptoError> {
        self.0.signature_algorithm
    }

    /// Whether the certificate's signature verifies under `issuer`'s key; names and extensions are not looked at.
    ///
    /// # Errors
    /// It does not, or the algorithm is not known.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), CryptoError> {
        crypto::verify(self.0.signature_algorithm?, &issuer.0.spki, &self.0.tbs, &self.0.signature)
    }

    pub(super) fn validated(&self) -> &certval::PDVCertificate {
        &self.0.validated
    }

    pub(super) fn as_anchor(&self) -> Option<&certval::PDVTrustAnchorChoice> {
        self.0.anchor.get_or_init(|| certval::PDVTrustAnchorChoice::try_from(self.der()).ok()).as_ref()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

/// Lower-case hex of an INTEGER's content octets, no leading 00 unless alone.
pub(super) fn serial_hex(content: &[u8]) -> String {
    let significant = match content {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    data_encoding::HEXLOWER.encode(significant)
}

/// The AlgorithmIdentifier in `der`, as a signature algorithm.
pub(super) fn signature_algorithm(der: &[u8]) -> Result<SignatureAlgorithm, CryptoError> {
    let identifier = spki::AlgorithmIdentifierOwned::from_der(der).map_err(|_| CryptoError::Malformed)?;
    SignatureAlgorithm::from_identifier(&identifier, None)
}

/// The fields of TBSCertificate (RFC 5280 section 4.1) that are read by hand.
struct TbsFields<'a> {
    serial: &'a [u8],
    signature: Tlv<'a>,
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    extensions: Option<&'a [u8]>,
}

impl<'a> TbsFields<'a> {
    fn read(content: &'a [u8]) -> Result<Self, Asn1Error> {
        let mut fields = Fields::new(content);
        fields.optional(tag::context(0))?;
        let serial = fields.required(tag::INTEGER)?.content;
        let signature = fields.required(tag::SEQUENCE)?;
        let issuer = fields.required(tag::SEQUENCE)?.whole;
        let validity = fields.required(tag::SEQUENCE)?.content;
        let subject = fields.required(tag::SEQUENCE)?.whole;
        let spki = fields.required(tag::SEQUENCE)?.whole;
        fields.optional(tag::context_primitive(1))?;
        fields.optional(tag::context_primitive(2))?;
        let extensions = fields.optional(tag::context(3))?.map(|field| field.content);
        if !fields.is_empty() {
            return Err(Asn1Error::Trailing);
        }
        Ok(Self { serial, signature, issuer, validity, subject, spki, extensions })
    }
}

/// `Validity ::= SEQUENCE { notBefore Time, notAfter Time }`.
fn validity(content: &[u8]) -> Result<(Timestamp, Timestamp), Asn1Error> {
    let mut fields = Fields::new(content);
    let mut next = || time(&fields.next_any()?.ok_or(Asn1Error::Malformed(0))?);
    let bounds = (next()?, next()?);
    if fields.is_empty() { Ok(bounds) } else { Err(Asn1Error::Trailing) }
}

/// `Time ::= CHOICE { utcTime UTCTime, generalTime GeneralizedTime }`, in the forms of RFC 5280 section 4.1.2.5.
pub(super) fn time(tlv: &Tlv<'_>) -> Result<Timestamp, Asn1Error> {
    let malformed = Asn1Error::Malformed(0);
    let moment = match tlv.tag {
        tag::UTC_TIME => der::asn1::UtcTime::from_der(tlv.whole).map_err(|_| malformed)?.to_unix_duration(),
        tag::GENERALIZED_TIME => {
            der::asn1::GeneralizedTime::from_der(tlv.whole).map_err(|_| malformed)?.to_unix_duration()
        }
        _ => return Err(malformed),
    };
    let seconds = i64::try_from(moment.as_secs()).map_err(|_| malformed)?;
    // jiff ends in the year 9999 a little before X.509 does.
    Ok(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests;
