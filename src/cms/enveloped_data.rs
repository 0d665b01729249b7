//! EnvelopedData and AuthEnvelopedData: what can be read without a key. RFC 5652 section 6, RFC 5083.
//!
//! Opens nothing.

use super::CmsError;
use super::read::{Fields, INTEGER, SEQUENCE, SET};
use super::recipient_info::{Recipient, recipients};
use der::asn1::ObjectIdentifier;

/// The readable part of an encrypted layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Everybody it is encrypted to.
    pub recipients: Vec<Recipient>,
    /// The content-encryption algorithm: `aes256-gcm`, or dotted where it has no name here.
    pub content_encryption: String,
}

/// ```text
/// EnvelopedData ::= SEQUENCE {
///   version CMSVersion, originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
///   recipientInfos RecipientInfos, encryptedContentInfo EncryptedContentInfo, … }
/// AuthEnvelopedData begins with the same four fields.
/// ```
/// `der` is the TLV as `ContentInfo` gives it.
pub fn envelope(der: &[u8]) -> Result<Envelope, CmsError> {
    let mut fields = Fields::sequence(der, "EnvelopedData")?;
    fields.expect_tag(INTEGER)?;
    fields.optional(0xa0)?;
    let infos = fields.expect_tag(SET)?;
    let encrypted = fields.expect_tag(SEQUENCE)?;
    let mut content = Fields::new(encrypted.content, "EncryptedContentInfo");
    content.identifier()?;
    let algorithm = content.algorithm()?;
    Ok(Envelope { recipients: recipients(infos.content)?, content_encryption: cipher_name(&algorithm.oid) })
}

fn cipher_name(oid: &ObjectIdentifier) -> String {
    let dotted = oid.to_string();
    CIPHERS.iter().find(|(known, _)| *known == dotted).map_or(dotted, |(_, name)| (*name).to_owned())
}

const CIPHERS: [(&str, &str); 11] = [
    ("2.16.840.1.101.3.4.1.2", "aes128-cbc"),
    ("2.16.840.1.101.3.4.1.22", "aes192-cbc"),
    ("2.16.840.1.101.3.4.1.42", "aes256-cbc"),
    ("2.16.840.1.101.3.4.1.6", "aes128-gcm"),
    ("2.16.840.1.101.3.4.1.26", "aes192-gcm"),
    ("2.16.840.1.101.3.4.1.46", "aes256-gcm"),
    ("2.16.840.1.101.3.4.1.7", "aes128-ccm"),
    ("2.16.840.1.101.3.4.1.47", "aes256-ccm"),
    ("1.2.840.113549.1.9.16.3.18", "chacha20-poly1305"),
    ("1.2.840.113549.3.7", "des-ede3-cbc"),
    ("1.2.840.113549.3.2", "rc2-cbc"),
];
