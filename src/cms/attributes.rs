//! Signed attributes: RFC 5652 section 11, RFC 5035 (signing certificate), RFC 6211 (algorithm protection), RFC 8551
//! section 2.5 (capabilities, key preference).
//!
//! Keeps the octets as they were signed. Each attribute type stands once and the known ones have one
//! value; anything else is `Malformed`, because readers differ in which of two values they take.

mod write;

pub use write::{NewAttributes, Parameters, algorithm_identifier};

use super::read::{Fields, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET};
use super::{CmsError, encode};
use crate::crypto::Digest;
use crate::limits::Limits;
use crate::pki::Name;
use bytes::Bytes;
use der::Decode;
use der::asn1::{GeneralizedTime, ObjectIdentifier, UtcTime};
use jiff::Timestamp;
use spki::AlgorithmIdentifierOwned;

/// `id-contentType`.
pub const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
/// `id-messageDigest`.
pub const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// `id-signingTime`.
pub const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// `id-aa-signingCertificate`.
pub const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
/// `id-aa-signingCertificateV2`.
pub const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
/// `id-aa-CMSAlgorithmProtection`.
pub const ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");
const CAPABILITIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.15");
const KEY_PREFERENCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.11");

const SINGLE_VALUED: [ObjectIdentifier; 8] = [
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_TIME,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    ALGORITHM_PROTECTION,
    CAPABILITIES,
    KEY_PREFERENCE,
];

/// ```text
/// SignedAttributes ::= SET SIZE (1..MAX) OF Attribute
/// Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
/// ```
#[derive(Clone, Debug)]
pub struct SignedAttributes {
    as_received: Vec<u8>,
    sorted: Vec<u8>,
    attributes: Vec<(ObjectIdentifier, Vec<Bytes>)>,
    repeated: bool,
}

/// Which certificate an ESS attribute names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHash {
    /// The hash algorithm; absent where it is not known here.
    pub digest: Option<Digest>,
    /// Hash of the whole certificate.
    pub hash: Vec<u8>,
    /// Issuer and serial (content octets), where the attribute says them.
    pub issuer_serial: Option<(Name, Vec<u8>)>,
}

/// CMSAlgorithmProtection: the algorithms as the signer meant them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmProtection {
    /// digestAlgorithm.
    pub digest: AlgorithmIdentifierOwned,
    /// signatureAlgorithm.
    pub signature: Option<AlgorithmIdentifierOwned>,
}

/// Which certificate a signer wants to be encrypted to (RFC 8551 section 2.5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncryptionKeyPreference {
    /// Issuer, and the content octets of the serial's INTEGER.
    IssuerAndSerial(Name, Vec<u8>),
    /// subjectKeyIdentifier of a RecipientKeyIdentifier.
    RecipientKeyId(Vec<u8>),
    /// subjectAltKeyIdentifier, which is a SubjectKeyIdentifier in spite of its name.
    SubjectAltKeyIdentifier(Vec<u8>),
}

impl SignedAttributes {
    /// From the content octets of the `[0]`.
    pub(super) fn from_content(content: &[u8], limits: &Limits) -> Result<Self, CmsError> {
        let mut fields = Fields::new(content, "SignedAttributes");
        let mut attributes: Vec<(ObjectIdentifier, Vec<Bytes>)> = Vec::new();
        let mut elements = Vec::new();
        let mut repeated = false;
        while !fields.is_empty() {
            let attribute = fields.expect_tag(SEQUENCE)?;
            if elements.len() >= limits.attributes {
                return Err(CmsError::TooComplex("attributes"));
            }
            elements.push(attribute.whole.to_vec());
            let (kind, values) = read_attribute(attribute.content, limits)?;
            repeated |= attributes.iter().any(|(known, _)| *known == kind);
            repeated |= values.len() != 1 && SINGLE_VALUED.contains(&kind);
            attributes.push((kind, values));
        }
        let as_received = encode::tlv(SET, &[content]);
        Ok(Self { as_received, sorted: encode::set_of(SET, elements), attributes, repeated })
    }

    /// The SET as it was received, tag 0x31: what the signature is over, unless the signer sorted it first.
    pub fn as_received(&self) -> &[u8] {
        &self.as_received
    }

    /// The same in DER order.
    pub fn sorted(&self) -> &[u8] {
        &self.sorted
    }

    /// Whether a type stands twice, or a known one has not exactly one value.
    pub const fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// contentType.
    pub fn content_type(&self) -> Result<Option<ObjectIdentifier>, CmsError> {
        self.single(&CONTENT_TYPE)
            .map(|value| ObjectIdentifier::from_der(value).map_err(|_| CmsError::Malformed("contentType")))
            .transpose()
    }

    /// messageDigest.
    pub fn message_digest(&self) -> Result<Option<&[u8]>, CmsError> {
        self.single(&MESSAGE_DIGEST)
            .map(|value| {
                let mut fields = Fields::new(value, "messageDigest");
                let octets = fields.expect_tag(OCTET_STRING)?;
                fields.finish()?;
                Ok(octets.content)
            })
            .transpose()
    }

    /// signingTime.
    pub fn signing_time(&self) -> Result<Option<Timestamp>, CmsError> {
        self.single(&SIGNING_TIME).map(|value| read_time(value)).transpose()
    }

    /// The certificates that signingCertificate and signingCertificateV2 name for the signature (the first of each).
    pub fn signing_certificates(&self) -> Result<Vec<CertificateHash>, CmsError> {
        let mut found = Vec::new();
        if let Some(value) = self.single(&SIGNING_CERTIFICATE) {
            found.push(read_certificate_hash(value, Some(Digest::Sha1))?);
        }
        if let Some(value) = self.single(&SIGNING_CERTIFICATE_V2) {
            found.push(read_certificate_hash(value, None)?);
        }
        Ok(found)
    }

    /// CMSAlgorithmProtection.
    pub fn algorithm_protection(&self) -> Result<Option<AlgorithmProtection>, CmsError> {
        self.single(&ALGORITHM_PROTECTION).map(|value| read_protection(value)).transpose()
    }

    /// DER of SMIMECapabilities, for `smime::Capabilities::from_der`.
    pub fn capabilities(&self) -> Option<&[u8]> {
        self.single(&CAPABILITIES).map(Bytes::as_ref)
    }

    /// SMIMEEncryptionKeyPreference.
    pub fn encryption_key_preference(&self) -> Result<Option<EncryptionKeyPreference>, CmsError> {
        self.single(&KEY_PREFERENCE).map(|value| read_preference(value)).transpose()
    }

    fn single(&self, kind: &ObjectIdentifier) -> Option<&Bytes> {
        self.attributes.iter().find(|(known, _)| known == kind).and_then(|(_, values)| values.first())
    }
}

fn read_attribute(content: &[u8], limits: &Limits) -> Result<(ObjectIdentifier, Vec<Bytes>), CmsError> {
    let mut fields = Fields::new(content, "Attribute");
    let kind = fields.identifier()?;
    let set = fields.expect_tag(SET)?;
    fields.finish()?;
    let mut values = Vec::new();
    let mut inner = Fields::new(set.content, "AttributeValues");
    while !inner.is_empty() {
        values.push(Bytes::copy_from_slice(inner.next()?.whole));
        if values.len() > limits.attributes {
            return Err(CmsError::TooComplex("attribute values"));
        }
    }
    Ok((kind, values))
}

/// `Time ::= CHOICE { utcTime UTCTime, generalTime GeneralizedTime }`
fn read_time(value: &[u8]) -> Result<Timestamp, CmsError> {
    let malformed = CmsError::Malformed("signingTime");
    let since_epoch = UtcTime::from_der(value)
        .map(|time| time.to_unix_duration())
        .or_else(|_| GeneralizedTime::from_der(value).map(|time| time.to_unix_duration()))
        .map_err(|_| malformed)?;
    let seconds = i64::try_from(since_epoch.as_secs()).map_err(|_| malformed)?;
    Timestamp::from_second(seconds).map_err(|_| malformed)
}

/// ```text
/// SigningCertificateV2 ::= SEQUENCE { certs SEQUENCE OF ESSCertIDv2, policies … OPTIONAL }
/// ESSCertIDv2 ::= SEQUENCE {
///   hashAlgorithm AlgorithmIdentifier DEFAULT {algorithm id-sha256},
///   certHash OCTET STRING, issuerSerial IssuerSerial OPTIONAL }
/// IssuerSerial ::= SEQUENCE { issuer GeneralNames, serialNumber CertificateSerialNumber }
/// ```
/// The first version lacks hashAlgorithm and means SHA-1.
fn read_certificate_hash(value: &[u8], fixed: Option<Digest>) -> Result<CertificateHash, CmsError> {
    let mut outer = Fields::sequence(value, "SigningCertificate")?;
    let identifiers = outer.expect_tag(SEQUENCE)?;
    let first = Fields::new(identifiers.content, "ESSCertIDs").expect_tag(SEQUENCE)?;
    let mut fields = Fields::new(first.content, "ESSCertID");
    let mut digest = fixed.or(Some(Digest::Sha256));
    if fixed.is_none()
        && let Some(algorithm) = fields.optional(SEQUENCE)?
    {
        let mut inner = Fields::new(algorithm.content, "hashAlgorithm");
        digest = Digest::from_oid(&inner.identifier()?);
    }
    let hash = fields.expect_tag(OCTET_STRING)?.content.to_vec();
    let issuer_serial = fields.optional(SEQUENCE)?.map(|value| read_issuer_serial(value.content)).transpose()?;
    Ok(CertificateHash { digest, hash, issuer_serial: issuer_serial.flatten() })
}

fn read_issuer_serial(content: &[u8]) -> Result<Option<(Name, Vec<u8>)>, CmsError> {
    let mut fields = Fields::new(content, "IssuerSerial");
    let names = fields.expect_tag(SEQUENCE)?;
    let serial = fields.expect_tag(INTEGER)?.content.to_vec();
    fields.finish()?;
    // GeneralName directoryName is [4] EXPLICIT, since Name is a CHOICE.
    let Some(directory) = Fields::new(names.content, "GeneralNames").optional(0xa4)? else { return Ok(None) };
    let name = Name::from_der(directory.content).map_err(|_| CmsError::Malformed("IssuerSerial"))?;
    Ok(Some((name, serial)))
}

/// ```text
/// SMIMEEncryptionKeyPreference ::= CHOICE {
///   issuerAndSerialNumber   [0] IMPLICIT IssuerAndSerialNumber,
///   receipentKeyId          [1] IMPLICIT RecipientKeyIdentifier,
///   subjectAltKeyIdentifier [2] IMPLICIT SubjectKeyIdentifier }
/// ```
fn read_preference(value: &[u8]) -> Result<EncryptionKeyPreference, CmsError> {
    const WHAT: &str = "SMIMEEncryptionKeyPreference";
    let mut outer = Fields::new(value, WHAT);
    let choice = outer.next()?;
    outer.finish()?;
    let mut fields = Fields::new(choice.content, WHAT);
    match choice.tag {
        0xa0 => {
            let issuer = fields.expect_tag(SEQUENCE)?;
            let serial = fields.expect_tag(INTEGER)?.content.to_vec();
            fields.finish()?;
            let issuer = Name::from_der(issuer.whole).map_err(|_| CmsError::Malformed(WHAT))?;
            Ok(EncryptionKeyPreference::IssuerAndSerial(issuer, serial))
        }
        0xa1 => Ok(EncryptionKeyPreference::RecipientKeyId(fields.expect_tag(OCTET_STRING)?.content.to_vec())),
        0x82 => Ok(EncryptionKeyPreference::SubjectAltKeyIdentifier(choice.content.to_vec())),
        _ => Err(CmsError::Malformed(WHAT)),
    }
}

/// ```text
/// CMSAlgorithmProtection ::= SEQUENCE {
///   digestAlgorithm DigestAlgorithmIdentifier,
///   signatureAlgorithm [1] SignatureAlgorithmIdentifier OPTIONAL,
///   macAlgorithm [2] MessageAuthenticationCodeAlgorithm OPTIONAL }
/// ```
fn read_protection(value: &[u8]) -> Result<AlgorithmProtection, CmsError> {
    let mut fields = Fields::sequence(value, "CMSAlgorithmProtection")?;
    let digest = fields.algorithm()?;
    let signature = match fields.optional(0xa1)? {
        Some(tagged) => Some(
            AlgorithmIdentifierOwned::from_der(&encode::tlv(SEQUENCE, &[tagged.content]))
                .map_err(|_| CmsError::Malformed("CMSAlgorithmProtection"))?,
        ),
        None => None,
    };
    Ok(AlgorithmProtection { digest, signature })
}

/// The first octet of a DER SET OF Attribute and what follows it: used to recognise content made to look like one.
pub fn looks_like_attributes(content: &[u8]) -> bool {
    let Ok(mut fields) = outer_set(content) else { return false };
    let mut any = false;
    while !fields.is_empty() {
        let Ok(attribute) = fields.expect_tag(SEQUENCE) else { return false };
        let mut inner = Fields::new(attribute.content, "Attribute");
        if inner.expect_tag(OBJECT_IDENTIFIER).is_err() || inner.expect_tag(SET).is_err() {
            return false;
        }
        any = true;
    }
    any
}

fn outer_set(content: &[u8]) -> Result<Fields<'_>, CmsError> {
    let mut outer = Fields::new(content, "content");
    let set = outer.expect_tag(SET)?;
    outer.finish()?;
    Ok(Fields::new(set.content, "content"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i20_each_attribute_once_with_one_value() {
        let check = |attributes: &[Vec<u8>], repeated: bool| {
            let content = attributes.concat();
            let read = SignedAttributes::from_content(&content, &Limits::default()).unwrap();
            assert_eq!(read.is_repeated(), repeated, "{content:x?}");
        };
        let digest = |octet: u8| encode::tlv(OCTET_STRING, &[&[octet; 32]]);
        let with = |kind: &ObjectIdentifier, values: &[u8]| {
            encode::tlv(SEQUENCE, &[&encode::identifier(kind).unwrap(), &encode::tlv(SET, &[values])])
        };
        let once = with(&MESSAGE_DIGEST, &digest(1));
        let other = ObjectIdentifier::new_unwrap("1.2.3.4");
        check(std::slice::from_ref(&once), false);
        check(&[once.clone(), with(&other, &digest(1))], false);
        check(&[once.clone(), once.clone()], true);
        check(&[once.clone(), with(&MESSAGE_DIGEST, &digest(2))], true);
        check(&[with(&MESSAGE_DIGEST, &[digest(1), digest(2)].concat())], true);
        check(&[with(&MESSAGE_DIGEST, &[])], true);
        check(&[once, with(&other, &[digest(1), digest(2)].concat())], false);
    }

    #[test]
    fn o22_key_preferences_are_read() {
        let check = |value: &[u8], expected: Result<EncryptionKeyPreference, CmsError>| {
            assert_eq!(read_preference(value), expected, "{value:x?}");
        };
        let broken = Err(CmsError::Malformed("SMIMEEncryptionKeyPreference"));
        let identifier = encode::tlv(OCTET_STRING, &[b"key"]);
        check(&encode::tlv(0xa1, &[&identifier]), Ok(EncryptionKeyPreference::RecipientKeyId(b"key".to_vec())));
        // With a date (RFC 5652 section 10.2.4).
        let dated = encode::tlv(0xa1, &[&identifier, &encode::tlv(0x18, &[b"20260101000000Z"])]);
        check(&dated, Ok(EncryptionKeyPreference::RecipientKeyId(b"key".to_vec())));
        check(&encode::tlv(0x82, &[b"key"]), Ok(EncryptionKeyPreference::SubjectAltKeyIdentifier(b"key".to_vec())));
        check(&encode::tlv(0xa3, &[&identifier]), broken.clone());
        check(&encode::tlv(0xa1, &[]), broken.clone());
        check(&[encode::tlv(0x82, &[b"key"]), vec![5, 0]].concat(), broken);
        let name = encode::tlv(SEQUENCE, &[]);
        let preference = |rest: &[u8]| encode::tlv(0xa0, &[&name, &encode::tlv(INTEGER, &[&[0, 0x80]]), rest]);
        let expected = EncryptionKeyPreference::IssuerAndSerial(Name::from_der(&name).unwrap(), vec![0, 0x80]);
        check(&preference(&[]), Ok(expected));
        assert!(read_preference(&preference(&[5, 0])).is_err());
    }
}
