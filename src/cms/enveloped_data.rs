//! EnvelopedData and AuthEnvelopedData: to whom, by which algorithm, and opening with a content key. RFC 5652 section 6,
//! RFC 5083.
//!
//! What can be said without a key (malformed, not implemented) is said when reading. Opening has one error only, so that
//! nobody learns from it what was wrong inside.

mod write;

pub use write::NewEnvelope;

use super::read::{Fields, INTEGER, OCTET_STRING, SEQUENCE, SET};
use super::recipient_info::{Recipient, recipients};
use super::{CmsError, ContentInfo, ContentKind, encode};
use crate::crypto::{ContentCipher, TAG, Unpadded, reads_as_text};
use bytes::Bytes;
use der::Encode;
use der::asn1::ObjectIdentifier;
use spki::AlgorithmIdentifierOwned;
use zeroize::Zeroizing;

/// An encrypted layer. The ciphertext is shared with the octets it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Everybody it is encrypted to.
    pub recipients: Vec<Recipient>,
    /// The content-encryption algorithm: `aes256-gcm`, or dotted where it has no name here.
    pub content_encryption: String,
    /// The cipher, if the content can be opened here with a content key.
    pub cipher: Option<ContentCipher>,
    /// contentType of the EncryptedContentInfo: id-data for a MIME entity (RFC 8551 section 3.3).
    pub content_type: ObjectIdentifier,
    /// Something stands beside the ciphertext that everybody can read: originatorInfo or attributes without protection.
    open_beside: bool,
    nonce: Vec<u8>,
    /// authAttrs as a SET OF, tag 0x31 (RFC 5083 section 2.2).
    authenticated: Vec<u8>,
    ciphertext: Bytes,
    tag: Vec<u8>,
}

/// Why an envelope gives no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key, the ciphertext or the tag is wrong; which of them is not said.
    #[error("cannot be opened with this key")]
    Failed,
    /// The algorithm or its parameters are not implemented; visible without a key.
    #[error("content encryption not supported")]
    Unsupported,
}

impl Envelope {
    /// Reads the content of `info`, by its kind.
    ///
    /// # Errors
    /// As [`envelope`]; `Malformed` for a ContentInfo of another kind.
    pub fn read(info: &ContentInfo) -> Result<Self, CmsError> {
        match info.kind {
            ContentKind::Enveloped => envelope(&info.content),
            ContentKind::AuthEnveloped => auth_envelope(&info.content),
            _ => Err(CmsError::Malformed("EnvelopedData")),
        }
    }

    /// The content, if `content_key` is its key. Nothing is released before an authenticated cipher's tag is verified.
    ///
    /// # Errors
    /// `Failed`, whatever is wrong; `Unsupported` if `cipher` is `None`.
    pub fn open(&self, content_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let cipher = self.cipher.ok_or(OpenError::Unsupported)?;
        cipher
            .open(content_key, &self.nonce, &self.authenticated, &self.ciphertext, &self.tag)
            .map_err(|_| OpenError::Failed)
    }

    /// As [`Envelope::open`], where nothing authenticates the content: it comes out whether its padding fits or not.
    ///
    /// # Errors
    /// `Failed` for what everybody can see without a key; `Unsupported` if `cipher` is `None`.
    pub fn open_unpadded(&self, content_key: &[u8]) -> Result<Unpadded, OpenError> {
        let cipher = self.cipher.ok_or(OpenError::Unsupported)?;
        cipher.open_unpadded(content_key, &self.nonce, &self.ciphertext).map_err(|_| OpenError::Failed)
    }

    /// Whether it hides what is in it from everybody without a recipient's private key, as far as can be told without one: a
    /// cipher that is not weak, a content key sealed to somebody, a ciphertext that can be one, and nothing beside it.
    pub fn is_sealed(&self) -> bool {
        let Some(cipher) = self.cipher.filter(|cipher| !cipher.is_weak()) else { return false };
        // CBC fills its last block.
        let whole_blocks = cipher.is_authenticated() || self.ciphertext.len().is_multiple_of(cipher.nonce_length());
        !self.open_beside
            && whole_blocks
            && self.has_ciphertext()
            && self.recipients.iter().any(|recipient| recipient.sealed.may_be_a_key(cipher.key_length()))
    }

    /// Whether there is something that can be a ciphertext, whoever can open it: not nothing, and not what everybody reads.
    pub fn has_ciphertext(&self) -> bool {
        !self.ciphertext.is_empty() && !reads_as_text(&self.ciphertext)
    }

    /// Octets of the ciphertext; the content is as long or up to 16 octets shorter.
    pub fn ciphertext_length(&self) -> usize {
        self.ciphertext.len()
    }
}

/// ```text
/// EnvelopedData ::= SEQUENCE {
///   version CMSVersion, originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
///   recipientInfos RecipientInfos, encryptedContentInfo EncryptedContentInfo,
///   unprotectedAttrs [1] IMPLICIT UnprotectedAttributes OPTIONAL }
/// ```
/// `der` is the TLV as `ContentInfo` gives it. An authenticated cipher in it is not opened: its tag stands nowhere.
///
/// # Errors
/// `Malformed`, also without encryptedContent; `TooComplex` for too many recipients.
pub fn envelope(der: &Bytes) -> Result<Envelope, CmsError> {
    let mut fields = Fields::sequence(der, "EnvelopedData")?;
    let (originator, recipients, content) = common(&mut fields)?;
    let attributes = fields.optional(0xa1)?;
    fields.finish()?;
    let name = cipher_name(&content.algorithm.oid);
    let cipher = ContentCipher::from_oid(&content.algorithm.oid).filter(|cipher| !cipher.is_authenticated());
    let mut nonce = Vec::new();
    if let Some(cipher) = cipher {
        nonce = octets(&content.algorithm, "IV")?;
        if nonce.len() != cipher.nonce_length() {
            return Err(CmsError::Malformed("IV"));
        }
    }
    Ok(Envelope {
        recipients,
        content_encryption: name,
        cipher,
        content_type: content.content_type,
        open_beside: originator || attributes.is_some(),
        nonce,
        authenticated: Vec::new(),
        ciphertext: der.slice_ref(content.ciphertext),
        tag: Vec::new(),
    })
}

/// ```text
/// AuthEnvelopedData ::= SEQUENCE {
///   version CMSVersion, originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
///   recipientInfos RecipientInfos, authEncryptedContentInfo EncryptedContentInfo,
///   authAttrs [1] IMPLICIT AuthAttributes OPTIONAL, mac MessageAuthenticationCode,
///   unauthAttrs [2] IMPLICIT UnauthAttributes OPTIONAL }
/// ```
/// As [`envelope`]. A cipher without authentication in it is not opened: somebody would have turned one into the other.
///
/// # Errors
/// As [`envelope`]; `Malformed` also for a tag below 12 octets, or of another length than the parameters say (I52).
pub fn auth_envelope(der: &Bytes) -> Result<Envelope, CmsError> {
    let mut fields = Fields::sequence(der, "AuthEnvelopedData")?;
    let (originator, recipients, content) = common(&mut fields)?;
    let attributes = fields.optional(0xa1)?;
    let tag = fields.expect_tag(OCTET_STRING)?.content.to_vec();
    let unprotected = fields.optional(0xa2)?;
    fields.finish()?;
    let name = cipher_name(&content.algorithm.oid);
    let known = ContentCipher::from_oid(&content.algorithm.oid).filter(|cipher| cipher.is_authenticated());
    let mut cipher = None;
    let mut nonce = Vec::new();
    if let Some(known) = known {
        let length;
        (nonce, length) = match known {
            ContentCipher::ChaCha20Poly1305 => (octets(&content.algorithm, "AEADChaCha20Poly1305Nonce")?, TAG),
            _ => gcm_parameters(&content.algorithm)?,
        };
        if tag.len() != length {
            return Err(CmsError::Malformed("mac"));
        }
        cipher = Some(known).filter(|known| length == TAG && nonce.len() == known.nonce_length());
    }
    Ok(Envelope {
        recipients,
        content_encryption: name,
        cipher,
        content_type: content.content_type,
        open_beside: originator || attributes.is_some() || unprotected.is_some(),
        nonce,
        authenticated: attributes.map_or(Vec::new(), |set| encode::tlv(SET, &[set.content])),
        ciphertext: der.slice_ref(content.ciphertext),
        tag,
    })
}

/// What both types begin with, and whether there is an originatorInfo, which is passed over.
fn common<'a>(fields: &mut Fields<'a>) -> Result<(bool, Vec<Recipient>, EncryptedContent<'a>), CmsError> {
    fields.expect_tag(INTEGER)?;
    let originator = fields.optional(0xa0)?.is_some();
    let infos = fields.expect_tag(SET)?;
    let content = fields.expect_tag(SEQUENCE)?;
    Ok((originator, recipients(infos.content)?, EncryptedContent::read(content.content)?))
}

/// ```text
/// EncryptedContentInfo ::= SEQUENCE {
///   contentType ContentType, contentEncryptionAlgorithm ContentEncryptionAlgorithmIdentifier,
///   encryptedContent [0] IMPLICIT OCTET STRING OPTIONAL }
/// ```
struct EncryptedContent<'a> {
    content_type: ObjectIdentifier,
    algorithm: AlgorithmIdentifierOwned,
    ciphertext: &'a [u8],
}

impl<'a> EncryptedContent<'a> {
    /// A mail has nothing beside it that could be the content: absent is malformed.
    fn read(content: &'a [u8]) -> Result<Self, CmsError> {
        let mut fields = Fields::new(content, "EncryptedContentInfo");
        let content_type = fields.identifier()?;
        let algorithm = fields.algorithm()?;
        let ciphertext = fields.expect_tag(0x80)?.content;
        fields.finish()?;
        Ok(Self { content_type, algorithm, ciphertext })
    }
}

/// Parameters that are one OCTET STRING.
fn octets(algorithm: &AlgorithmIdentifierOwned, what: &'static str) -> Result<Vec<u8>, CmsError> {
    let malformed = CmsError::Malformed(what);
    let der = algorithm.parameters.as_ref().ok_or(malformed)?.to_der().map_err(|_| malformed)?;
    Ok(Fields::new(&der, what).expect_tag(OCTET_STRING)?.content.to_vec())
}

/// The nonce, and the octets of the tag (RFC 5084 section 3.2).
///
/// ```text
/// GCMParameters ::= SEQUENCE { aes-nonce OCTET STRING, aes-ICVlen AES-GCM-ICVlen DEFAULT 12 }
/// AES-GCM-ICVlen ::= INTEGER (12 | 13 | 14 | 15 | 16)
/// ```
fn gcm_parameters(algorithm: &AlgorithmIdentifierOwned) -> Result<(Vec<u8>, usize), CmsError> {
    let malformed = CmsError::Malformed("GCMParameters");
    let der = algorithm.parameters.as_ref().ok_or(malformed)?.to_der().map_err(|_| malformed)?;
    let mut fields = Fields::sequence(&der, "GCMParameters")?;
    let nonce = fields.expect_tag(OCTET_STRING)?.content.to_vec();
    let length = match fields.optional(INTEGER)?.map(|integer| integer.content) {
        None => 12,
        Some(&[length @ 12..=16]) => usize::from(length),
        Some(_) => return Err(malformed),
    };
    fields.finish()?;
    Ok((nonce, length))
}

fn cipher_name(oid: &ObjectIdentifier) -> String {
    if let Some(cipher) = ContentCipher::from_oid(oid) {
        return cipher.name().to_owned();
    }
    let dotted = oid.to_string();
    OTHERS.iter().find(|(known, _)| *known == dotted).map_or(dotted, |(_, name)| (*name).to_owned())
}

/// Names of algorithms that are not opened.
const OTHERS: [(&str, &str); 5] = [
    ("2.16.840.1.101.3.4.1.7", "aes128-ccm"),
    ("2.16.840.1.101.3.4.1.27", "aes192-ccm"),
    ("2.16.840.1.101.3.4.1.47", "aes256-ccm"),
    ("1.3.14.3.2.7", "des-cbc"),
    ("1.2.840.113549.3.2", "rc2-cbc"),
];

#[cfg(test)]
mod tests;
