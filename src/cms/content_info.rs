//! ContentInfo: which CMS content type some octets hold. RFC 5652 section 3.
//!
//! Recognition goes by content, never by file name or `smime-type`. Indefinite lengths and constructed
//! strings are normalised here, once. Trailing octets are an error.

use super::read::Fields;
use super::{CmsError, encode};
use crate::asn1::{Asn1Error, ber_to_der};
use crate::limits::Limits;
use bytes::Bytes;
use der::asn1::ObjectIdentifier;
use std::borrow::Cow;

/// `id-data`: content of no further CMS type.
pub const ID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// `id-signedData`.
pub const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// `id-envelopedData`.
pub const ID_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
/// `id-ct-authEnvelopedData` (RFC 5083).
pub const ID_AUTH_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");
/// `id-ct-compressedData` (RFC 3274).
pub const ID_COMPRESSED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.9");

/// The content types that S/MIME knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// AuthEnvelopedData.
    AuthEnveloped,
    /// CompressedData.
    Compressed,
    /// EnvelopedData.
    Enveloped,
    /// Any other.
    Other,
    /// SignedData.
    Signed,
}

/// ```text
/// ContentInfo ::= SEQUENCE {
///   contentType ContentType,
///   content [0] EXPLICIT ANY DEFINED BY contentType }
/// ```
#[derive(Clone, Debug)]
pub struct ContentInfo {
    /// What the content is.
    pub kind: ContentKind,
    /// The TLV of the content, as DER apart from the order of sets.
    pub content: Bytes,
}

impl ContentInfo {
    /// Reads the one ContentInfo in `ber`. Anything before or after it is an error.
    pub fn from_ber(ber: Vec<u8>, limits: &Limits) -> Result<Self, CmsError> {
        // Most things that are asked about are not CMS at all; this keeps the normaliser away from them.
        if ber.first() != Some(&0x30) {
            return Err(CmsError::Malformed("ContentInfo"));
        }
        let normalised = match ber_to_der(&ber, limits)? {
            Cow::Borrowed(whole) if whole.len() != ber.len() => return Err(Asn1Error::Trailing.into()),
            Cow::Borrowed(_) => None,
            Cow::Owned(der) => Some(der),
        };
        let der = Bytes::from(normalised.unwrap_or(ber));
        let mut fields = Fields::sequence(&der, "ContentInfo")?;
        let content_type = fields.identifier()?;
        let explicit = fields.expect_tag(0xa0)?;
        fields.finish()?;
        let mut inner = Fields::new(explicit.content, "ContentInfo");
        let content = inner.next()?;
        inner.finish()?;
        Ok(Self { kind: ContentKind::of(&content_type), content: der.slice_ref(content.whole) })
    }
}

impl ContentKind {
    fn of(identifier: &ObjectIdentifier) -> Self {
        match *identifier {
            ID_SIGNED_DATA => Self::Signed,
            ID_ENVELOPED_DATA => Self::Enveloped,
            ID_AUTH_ENVELOPED_DATA => Self::AuthEnveloped,
            ID_COMPRESSED_DATA => Self::Compressed,
            _ => Self::Other,
        }
    }
}

/// DER of a ContentInfo around the DER of its content.
pub fn encode(content_type: &ObjectIdentifier, content: &[u8]) -> Result<Vec<u8>, CmsError> {
    let explicit = encode::tlv(0xa0, &[content]);
    Ok(encode::tlv(0x30, &[&encode::identifier(content_type)?, &explicit]))
}
