//! RecipientInfo: to whom something is encrypted, as far as it can be read without a key. RFC 5652 section 6.2.
//!
//! Opens nothing. A recipient that cannot be read is left out of nothing: the whole structure is malformed.

mod write;

pub use write::{NewAgreement, NewRecipient, derivation};

use super::read::{BIT_STRING, Fields, INTEGER, OCTET_STRING, SEQUENCE};
use super::{CmsError, encode};
pub use crate::crypto::agreement::Derivation;
use crate::crypto::transport::{Oaep, RSAES_OAEP};
use crate::crypto::{CryptoError, Digest, reads_as_text};
use crate::pki::Name;
use der::asn1::ObjectIdentifier;
use der::{Encode, Tagged};
use spki::AlgorithmIdentifierOwned;
use std::ops::RangeInclusive;

/// How the content key reaches the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Key agreement (RFC 5753 and others), `KeyAgreeRecipientInfo`.
    Ecdh,
    /// A shared key, `KEKRecipientInfo`.
    Kek,
    /// `OtherRecipientInfo`, or key transport by an algorithm that is not known.
    Other,
    /// A password, `PasswordRecipientInfo`.
    Password,
    /// RSAES-OAEP (RFC 3560).
    RsaOaep,
    /// RSAES-PKCS1-v1_5 (RFC 3370).
    RsaPkcs1,
}

impl Transport {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecdh => "ecdh",
            Self::Kek => "kek",
            Self::Other => "other",
            Self::Password => "password",
            Self::RsaOaep => "rsa-oaep",
            Self::RsaPkcs1 => "rsa-pkcs1",
        }
    }
}

/// Which certificate a recipient is meant by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientIdentifier {
    /// IssuerAndSerialNumber; the serial as content octets of the INTEGER.
    IssuerAndSerial(Name, Vec<u8>),
    /// SubjectKeyIdentifier.
    KeyIdentifier(Vec<u8>),
    /// A kind that names no certificate.
    None,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// How the key is transported.
    pub transport: Transport,
    /// For whom.
    pub identifier: RecipientIdentifier,
    /// The content key, and what a private key has to do to get at it.
    pub sealed: SealedKey,
}

/// A content key as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedKey {
    /// RSAES-PKCS1-v1_5 (RFC 3370 section 4.2.1).
    RsaPkcs1(Vec<u8>),
    /// RSAES-OAEP (RFC 3560).
    RsaOaep {
        /// The encrypted key.
        encrypted: Vec<u8>,
        /// Digest of the label.
        digest: Digest,
        /// Digest inside MGF1.
        mgf: Digest,
        /// pSource, mostly empty.
        label: Vec<u8>,
    },
    /// Ephemeral-static key agreement (RFC 5753, RFC 8418).
    Agreed(Agreement),
    /// By something that is not implemented.
    Unsupported,
}

/// A key agreement as the sender has left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The sender's ephemeral public key: an uncompressed point, or 32 octets of X25519.
    pub originator: Vec<u8>,
    /// From the shared secret to the key-encryption key.
    pub derivation: Derivation,
    /// Octets of the key-encryption key: 16 or 32, for AES key wrap (RFC 3394).
    pub wrap: usize,
    /// DER of ECC-CMS-SharedInfo (RFC 5753 section 7.2), or what HKDF takes as info (RFC 8418 section 2.2).
    pub shared_info: Vec<u8>,
    /// The content key, wrapped.
    pub wrapped: Vec<u8>,
}

/// Octets of the RSA moduli that anybody seals to: 1,024 to 16,384 bits.
const MODULUS: RangeInclusive<usize> = 128..=2048;

impl SealedKey {
    /// Whether it may be a content key of `length` octets, sealed to a public key.
    pub fn may_be_a_key(&self, length: usize) -> bool {
        match self {
            Self::RsaPkcs1(encrypted) | Self::RsaOaep { encrypted, .. } => {
                MODULUS.contains(&encrypted.len()) && !reads_as_text(encrypted)
            }
            // RFC 3394 section 2.2.1 adds one block of 8.
            Self::Agreed(agreement) => agreement.wrapped.len() == length + 8,
            Self::Unsupported => false,
        }
    }
}

/// RecipientInfos beyond this number make a mail too complex: a mailing to 1,000 addresses, each with two keys.
const MOST_RECIPIENTS: usize = 2000;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
/// `id-aes128-wrap` (RFC 3565).
const AES128_WRAP: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.5");
/// `id-aes256-wrap` (RFC 3565).
const AES256_WRAP: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.45");

/// Octets of user keying material that are read. RFC 2631 asks for 64; every recipient carries a copy.
const MOST_KEYING_MATERIAL: usize = 1024;
/// Octets of a wrapped content key that are unwrapped: 64 of key. The longest key in use has 32.
const LONGEST_WRAPPED: usize = 72;
/// Octets of an ephemeral public key: an uncompressed point of P-521.
const LONGEST_POINT: usize = 133;

/// dhSinglePass-stdDH and -cofactorDH with the KDF of X9.63 (RFC 5753 section 7.1.4), then HKDF (RFC 8418 section 2.2). All
/// curves here have the cofactor 1, so that both are the same.
const SCHEMES: [(&str, Derivation); 13] = [
    ("1.3.133.16.840.63.0.2", Derivation::X963(Digest::Sha1)),
    ("1.3.132.1.11.0", Derivation::X963(Digest::Sha224)),
    ("1.3.132.1.11.1", Derivation::X963(Digest::Sha256)),
    ("1.3.132.1.11.2", Derivation::X963(Digest::Sha384)),
    ("1.3.132.1.11.3", Derivation::X963(Digest::Sha512)),
    ("1.3.133.16.840.63.0.3", Derivation::X963(Digest::Sha1)),
    ("1.3.132.1.14.0", Derivation::X963(Digest::Sha224)),
    ("1.3.132.1.14.1", Derivation::X963(Digest::Sha256)),
    ("1.3.132.1.14.2", Derivation::X963(Digest::Sha384)),
    ("1.3.132.1.14.3", Derivation::X963(Digest::Sha512)),
    ("1.2.840.113549.1.9.16.3.19", Derivation::Hkdf(Digest::Sha256)),
    ("1.2.840.113549.1.9.16.3.20", Derivation::Hkdf(Digest::Sha384)),
    ("1.2.840.113549.1.9.16.3.21", Derivation::Hkdf(Digest::Sha512)),
];

/// ```text
/// RecipientInfo ::= CHOICE { ktri KeyTransRecipientInfo, kari [1], kekri [2], pwri [3], ori [4] }
/// ```
/// `content` is the content of the SET.
pub(super) fn recipients(content: &[u8]) -> Result<Vec<Recipient>, CmsError> {
    let mut fields = Fields::new(content, "RecipientInfos");
    let mut found = Vec::new();
    while !fields.is_empty() {
        let info = fields.next()?;
        match info.tag {
            SEQUENCE => found.push(key_transport(info.content)?),
            0xa1 => key_agreement(info.content, &mut found)?,
            0xa2 => found.push(anonymous(Transport::Kek)),
            0xa3 => found.push(anonymous(Transport::Password)),
            0xa4 => found.push(anonymous(Transport::Other)),
            _ => return Err(CmsError::Malformed("RecipientInfo")),
        }
        if found.len() > MOST_RECIPIENTS {
            return Err(CmsError::TooComplex("RecipientInfos"));
        }
    }
    Ok(found)
}

const fn anonymous(transport: Transport) -> Recipient {
    Recipient { transport, identifier: RecipientIdentifier::None, sealed: SealedKey::Unsupported }
}

/// ```text
/// KeyTransRecipientInfo ::= SEQUENCE {
///   version CMSVersion, rid RecipientIdentifier,
///   keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier, encryptedKey EncryptedKey }
/// ```
fn key_transport(content: &[u8]) -> Result<Recipient, CmsError> {
    let mut fields = Fields::new(content, "KeyTransRecipientInfo");
    fields.expect_tag(INTEGER)?;
    let rid = fields.next()?;
    let identifier = match rid.tag {
        SEQUENCE => issuer_and_serial(rid.whole)?,
        0x80 => RecipientIdentifier::KeyIdentifier(rid.content.to_vec()),
        _ => return Err(CmsError::Malformed("RecipientIdentifier")),
    };
    let algorithm = fields.algorithm()?;
    let encrypted = fields.expect_tag(OCTET_STRING)?.content.to_vec();
    fields.finish()?;
    let (transport, sealed) = match algorithm.oid {
        RSA_ENCRYPTION => (Transport::RsaPkcs1, SealedKey::RsaPkcs1(encrypted)),
        RSAES_OAEP => (Transport::RsaOaep, oaep(&algorithm, encrypted)?),
        _ => (Transport::Other, SealedKey::Unsupported),
    };
    Ok(Recipient { transport, identifier, sealed })
}

/// RFC 4055 section 4.1 asks for parameters; where they are absent all defaults are meant.
fn oaep(algorithm: &AlgorithmIdentifierOwned, encrypted: Vec<u8>) -> Result<SealedKey, CmsError> {
    const EMPTY: [u8; 2] = [SEQUENCE, 0];
    let malformed = CmsError::Malformed("RSAES-OAEP-params");
    let parameters = match &algorithm.parameters {
        Some(parameters) => parameters.to_der().map_err(|_| malformed)?,
        None => EMPTY.to_vec(),
    };
    match Oaep::from_der(&parameters) {
        Ok(Oaep { digest, mgf, label }) => Ok(SealedKey::RsaOaep { encrypted, digest, mgf, label }),
        Err(CryptoError::Unsupported) => Ok(SealedKey::Unsupported),
        Err(_) => Err(malformed),
    }
}

/// ```text
/// KeyAgreeRecipientInfo ::= SEQUENCE {
///   version CMSVersion, originator [0] EXPLICIT OriginatorIdentifierOrKey,
///   ukm [1] EXPLICIT UserKeyingMaterial OPTIONAL,
///   keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
///   recipientEncryptedKeys SEQUENCE OF SEQUENCE { rid KeyAgreeRecipientIdentifier, encryptedKey } }
/// ```
fn key_agreement(content: &[u8], found: &mut Vec<Recipient>) -> Result<(), CmsError> {
    let mut fields = Fields::new(content, "KeyAgreeRecipientInfo");
    fields.expect_tag(INTEGER)?;
    let originator = fields.expect_tag(0xa0)?;
    let ukm = fields.optional(0xa1)?.map(|tagged| keying_material(tagged.content)).transpose()?;
    let algorithm = fields.algorithm()?;
    let keys = fields.expect_tag(SEQUENCE)?;
    fields.finish()?;
    let agreement = agreement(originator.content, ukm, &algorithm)?;
    let mut keys = Fields::new(keys.content, "RecipientEncryptedKeys");
    while !keys.is_empty() {
        let mut key = Fields::new(keys.expect_tag(SEQUENCE)?.content, "RecipientEncryptedKey");
        let rid = key.next()?;
        let wrapped = key.expect_tag(OCTET_STRING)?.content.to_vec();
        key.finish()?;
        let identifier = match rid.tag {
            SEQUENCE => issuer_and_serial(rid.whole)?,
            0xa0 => {
                let mut inner = Fields::new(rid.content, "RecipientKeyIdentifier");
                RecipientIdentifier::KeyIdentifier(inner.expect_tag(OCTET_STRING)?.content.to_vec())
            }
            _ => return Err(CmsError::Malformed("KeyAgreeRecipientIdentifier")),
        };
        let sealed = match &agreement {
            Some(agreement) if wrapped.len() <= LONGEST_WRAPPED => {
                SealedKey::Agreed(Agreement { wrapped, ..agreement.clone() })
            }
            _ => SealedKey::Unsupported,
        };
        found.push(Recipient { transport: Transport::Ecdh, identifier, sealed });
        if found.len() > MOST_RECIPIENTS {
            return Err(CmsError::TooComplex("RecipientEncryptedKeys"));
        }
    }
    Ok(())
}

/// `UserKeyingMaterial ::= OCTET STRING`
fn keying_material(content: &[u8]) -> Result<&[u8], CmsError> {
    let mut fields = Fields::new(content, "UserKeyingMaterial");
    let octets = fields.expect_tag(OCTET_STRING)?.content;
    fields.finish()?;
    if octets.len() > MOST_KEYING_MATERIAL { Err(CmsError::TooComplex("UserKeyingMaterial")) } else { Ok(octets) }
}

/// What all keys of a KeyAgreeRecipientInfo have in common, still without the wrapped key. `None`: not implemented.
fn agreement(
    originator: &[u8],
    ukm: Option<&[u8]>,
    algorithm: &AlgorithmIdentifierOwned,
) -> Result<Option<Agreement>, CmsError> {
    let Some(originator) = ephemeral_key(originator)? else { return Ok(None) };
    let scheme = algorithm.oid.to_string();
    let Some((_, derivation)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else { return Ok(None) };
    // RFC 8418 section 2.2 makes the ukm the salt, others have it in the SharedInfo only: nobody sends both.
    if ukm.is_some() && matches!(derivation, Derivation::Hkdf(_)) {
        return Ok(None);
    }
    let malformed = CmsError::Malformed("KeyWrapAlgorithm");
    let Some(parameters) = &algorithm.parameters else { return Err(malformed) };
    let wrap_algorithm = parameters.to_der().map_err(|_| malformed)?;
    let Some(wrap) = wrap_length(&wrap_algorithm)? else { return Ok(None) };
    let shared_info = shared_info(&wrap_algorithm, ukm, wrap);
    Ok(Some(Agreement { originator, derivation: *derivation, wrap, shared_info, wrapped: Vec::new() }))
}

/// ```text
/// OriginatorIdentifierOrKey ::= CHOICE {
///   issuerAndSerialNumber IssuerAndSerialNumber, subjectKeyIdentifier [0] SubjectKeyIdentifier,
///   originatorKey [1] OriginatorPublicKey }
/// OriginatorPublicKey ::= SEQUENCE { algorithm AlgorithmIdentifier, publicKey BIT STRING }
/// ```
/// `None` for the key of a certificate, and for keys of other kinds.
fn ephemeral_key(content: &[u8]) -> Result<Option<Vec<u8>>, CmsError> {
    let mut outer = Fields::new(content, "OriginatorIdentifierOrKey");
    let choice = outer.next()?;
    outer.finish()?;
    match choice.tag {
        0xa1 => {}
        SEQUENCE | 0x80 => return Ok(None),
        _ => return Err(CmsError::Malformed("OriginatorIdentifierOrKey")),
    }
    let mut fields = Fields::new(choice.content, "OriginatorPublicKey");
    let algorithm = fields.algorithm()?;
    let bits = fields.expect_tag(BIT_STRING)?;
    fields.finish()?;
    if algorithm.oid != EC_PUBLIC_KEY && algorithm.oid != X25519 {
        return Ok(None);
    }
    match bits.content.split_first() {
        Some((0, point)) if point.len() <= LONGEST_POINT => Ok(Some(point.to_vec())),
        _ => Err(CmsError::Malformed("OriginatorPublicKey")),
    }
}

/// Octets of the key-encryption key of a KeyWrapAlgorithm; `None` for one that is not implemented.
fn wrap_length(algorithm: &[u8]) -> Result<Option<usize>, CmsError> {
    let algorithm = Fields::new(algorithm, "KeyWrapAlgorithm").algorithm()?;
    // RFC 3565 section 2.3.2: absent; NULL is seen.
    if algorithm.parameters.as_ref().is_some_and(|parameters| parameters.tag() != der::Tag::Null) {
        return Ok(None);
    }
    Ok(match algorithm.oid {
        AES128_WRAP => Some(16),
        AES256_WRAP => Some(32),
        _ => None,
    })
}

/// ```text
/// ECC-CMS-SharedInfo ::= SEQUENCE {
///   keyInfo AlgorithmIdentifier,
///   entityUInfo [0] EXPLICIT OCTET STRING OPTIONAL,
///   suppPubInfo [2] EXPLICIT OCTET STRING }
/// ```
/// `wrap_algorithm` is the DER of the KeyWrapAlgorithm as it stands in the RecipientInfo, `wrap` the octets of its key.
fn shared_info(wrap_algorithm: &[u8], ukm: Option<&[u8]>, wrap: usize) -> Vec<u8> {
    let entity = ukm.map_or(Vec::new(), |ukm| encode::tlv(0xa0, &[&encode::tlv(OCTET_STRING, &[ukm])]));
    // Only 16 and 32 come here.
    let bits = u32::try_from(wrap * 8).unwrap_or(u32::MAX).to_be_bytes();
    let public = encode::tlv(0xa2, &[&encode::tlv(OCTET_STRING, &[&bits])]);
    encode::tlv(SEQUENCE, &[wrap_algorithm, &entity, &public])
}

fn issuer_and_serial(whole: &[u8]) -> Result<RecipientIdentifier, CmsError> {
    let mut fields = Fields::sequence(whole, "IssuerAndSerialNumber")?;
    let issuer = fields.expect_tag(SEQUENCE)?;
    let serial = fields.expect_tag(INTEGER)?;
    fields.finish()?;
    let issuer = Name::from_der(issuer.whole).map_err(|_| CmsError::Malformed("issuer"))?;
    Ok(RecipientIdentifier::IssuerAndSerial(issuer, serial.content.to_vec()))
}

#[cfg(test)]
mod tests;
