//! ASN.1 before it reaches the typed decoders: BER to DER, bounded and without recursion, and spans of original bytes.
//!
//! This module knows tags and lengths (X.690) and the one place where CMS makes them depend on a type (RFC 5652
//! section 6.1). It never interprets values. Anything doubtful is `Malformed`; what passes a limit is `TooComplex`.

mod ber;

use crate::limits::Limits;
use std::borrow::Cow;

/// Why bytes are not one usable ASN.1 value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Asn1Error {
    /// The encoding rules are broken at this offset.
    #[error("malformed BER at offset {0}")]
    Malformed(usize),
    /// A bound of `Limits` was passed at this offset.
    #[error("ASN.1 limits exceeded at offset {0}")]
    TooComplex(usize),
    /// The value ends before the bytes do.
    #[error("octets after the end of the value")]
    Trailing,
}

/// The one TLV in `ber`, as DER: definite lengths, primitive strings. SET OF is *not* re-sorted. Borrowed when nothing changes.
///
/// Constructed strings are joined (X.690 section 8.7.3). The implicitly tagged `[0]` content of an EncryptedContentInfo is
/// joined too; it looks like the explicit `[0]` of other types, so the type of the outer ContentInfo decides.
///
/// # Errors
/// `Malformed`, `TooComplex` or `Trailing`; never a partial result.
pub fn ber_to_der<'a>(ber: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Asn1Error> {
    if ber.len() > limits.message {
        return Err(Asn1Error::TooComplex(limits.message));
    }
    ber::to_der(ber, limits)
}

/// A DER value: identifier octet, content, and the whole with its header.
#[derive(Clone, Copy, Debug)]
pub struct Tlv<'a> {
    /// The identifier octet. Values with tag numbers over 30 are refused by `read_tlv`.
    pub tag: u8,
    /// The content octets.
    pub content: &'a [u8],
    /// Header and content, as they stood in the input.
    pub whole: &'a [u8],
}

/// The DER TLV at the start of `bytes` and what follows it.
///
/// # Errors
/// `Malformed` if the header is not DER (X.690 section 10.1), the tag has more than one octet, or the content is cut off.
pub fn read_tlv(bytes: &[u8]) -> Result<(Tlv<'_>, &[u8]), Asn1Error> {
    let header = ber::Header::read(bytes, 0, bytes.len())?;
    let (Some(length), 1, true) = (header.length, header.identifier, header.minimal) else {
        return Err(Asn1Error::Malformed(0));
    };
    let end = header.size.saturating_add(length);
    let (whole, rest) = bytes.split_at_checked(end).ok_or(Asn1Error::Malformed(0))?;
    let content = whole.get(header.size..).unwrap_or_default();
    Ok((Tlv { tag: header.tag, content, whole }, rest))
}

/// One DER value with this identifier octet and content.
pub(crate) fn write_tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    ber::write_length(&mut out, content.len());
    out.extend_from_slice(content);
    out
}

/// Walks the values that stand one after another in a content: fields of a SEQUENCE, members of a SET.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields in `content`, a SEQUENCE's content octets.
    pub(crate) fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// The content of the one value with this tag that `der` must be.
    pub(crate) fn within(der: &'a [u8], tag: u8) -> Result<Self, Asn1Error> {
        match read_tlv(der)? {
            (tlv, []) if tlv.tag == tag => Ok(Self(tlv.content)),
            (_, []) => Err(Asn1Error::Malformed(0)),
            _ => Err(Asn1Error::Trailing),
        }
    }

    /// What is left, unread.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever its tag; `None` at the end.
    pub(crate) fn next_any(&mut self) -> Result<Option<Tlv<'a>>, Asn1Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (tlv, rest) = read_tlv(self.0)?;
        self.0 = rest;
        Ok(Some(tlv))
    }

    /// The next value, which must have this tag.
    pub(crate) fn required(&mut self, tag: u8) -> Result<Tlv<'a>, Asn1Error> {
        self.optional(tag)?.ok_or(Asn1Error::Malformed(0))
    }

    /// The next value if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, Asn1Error> {
        if self.0.first() == Some(&tag) { self.next_any() } else { Ok(None) }
    }
}

/// Identifier octets that this crate reads by hand.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    /// `[number]`, constructed.
    pub(crate) const fn context(number: u8) -> u8 {
        0xa0 | number
    }
    /// `[number]`, primitive.
    pub(crate) const fn context_primitive(number: u8) -> u8 {
        0x80 | number
    }
}

#[cfg(test)]
mod tests;
