//! RecipientInfo: to whom something is encrypted, as far as it can be read without a key. RFC 5652 section 6.2.
//!
//! Opens nothing. A recipient that cannot be read is left out of nothing: the whole structure is malformed.

use super::CmsError;
use super::read::{Fields, INTEGER, OCTET_STRING, SEQUENCE};
use crate::crypto::Digest;
use crate::pki::Name;
use der::asn1::ObjectIdentifier;

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

/// A key-derivation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// ANSI X9.63 (SEC 1 section 3.6.1).
    X963(Digest),
    /// RFC 5869.
    Hkdf(Digest),
}

/// RecipientInfos beyond this number make a mail too complex: a mailing to 1,000 addresses, each with two keys.
const MOST_RECIPIENTS: usize = 2000;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");

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
    let transport = match fields.algorithm()?.oid {
        RSA_ENCRYPTION => Transport::RsaPkcs1,
        RSAES_OAEP => Transport::RsaOaep,
        _ => Transport::Other,
    };
    fields.expect_tag(OCTET_STRING)?;
    fields.finish()?;
    Ok(Recipient { transport, identifier, sealed: SealedKey::Unsupported })
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
    fields.expect_tag(0xa0)?;
    fields.optional(0xa1)?;
    fields.algorithm()?;
    let keys = fields.expect_tag(SEQUENCE)?;
    fields.finish()?;
    let mut keys = Fields::new(keys.content, "RecipientEncryptedKeys");
    while !keys.is_empty() {
        let key = keys.expect_tag(SEQUENCE)?;
        let rid = Fields::new(key.content, "RecipientEncryptedKey").next()?;
        let identifier = match rid.tag {
            SEQUENCE => issuer_and_serial(rid.whole)?,
            0xa0 => {
                let mut inner = Fields::new(rid.content, "RecipientKeyIdentifier");
                RecipientIdentifier::KeyIdentifier(inner.expect_tag(OCTET_STRING)?.content.to_vec())
            }
            _ => return Err(CmsError::Malformed("KeyAgreeRecipientIdentifier")),
        };
        found.push(Recipient { transport: Transport::Ecdh, identifier, sealed: SealedKey::Unsupported });
        if found.len() > MOST_RECIPIENTS {
            return Err(CmsError::TooComplex("RecipientEncryptedKeys"));
        }
    }
    Ok(())
}

fn issuer_and_serial(whole: &[u8]) -> Result<RecipientIdentifier, CmsError> {
    let mut fields = Fields::sequence(whole, "IssuerAndSerialNumber")?;
    let issuer = fields.expect_tag(SEQUENCE)?;
    let serial = fields.expect_tag(INTEGER)?;
    fields.finish()?;
    let issuer = Name::from_der(issuer.whole).map_err(|_| CmsError::Malformed("issuer"))?;
    Ok(RecipientIdentifier::IssuerAndSerial(issuer, serial.content.to_vec()))
}
