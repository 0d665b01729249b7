//! Walking over the values inside one DER structure.

use super::CmsError;
use crate::asn1::{Tlv, read_tlv};
use der::Decode;
use der::asn1::ObjectIdentifier;
use spki::AlgorithmIdentifierOwned;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The values of a structure, one after the other.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// Over the content octets of a structure called `what` in errors.
    pub(super) const fn new(content: &'a [u8], what: &'static str) -> Self {
        Self { rest: content, what }
    }

    /// Over the content of the one SEQUENCE in `bytes`.
    pub(super) fn sequence(bytes: &'a [u8], what: &'static str) -> Result<Self, CmsError> {
        let mut outer = Self::new(bytes, what);
        let tlv = outer.expect_tag(SEQUENCE)?;
        outer.finish()?;
        Ok(Self::new(tlv.content, what))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn next(&mut self) -> Result<Tlv<'a>, CmsError> {
        if self.rest.is_empty() {
            return Err(CmsError::Malformed(self.what));
        }
        let (tlv, rest) = read_tlv(self.rest)?;
        self.rest = rest;
        Ok(tlv)
    }

    pub(super) fn expect_tag(&mut self, tag: u8) -> Result<Tlv<'a>, CmsError> {
        let tlv = self.next()?;
        if tlv.tag == tag { Ok(tlv) } else { Err(CmsError::Malformed(self.what)) }
    }

    /// The next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, CmsError> {
        if self.rest.first() == Some(&tag) { self.next().map(Some) } else { Ok(None) }
    }

    pub(super) fn identifier(&mut self) -> Result<ObjectIdentifier, CmsError> {
        let tlv = self.expect_tag(OBJECT_IDENTIFIER)?;
        ObjectIdentifier::from_bytes(tlv.content).map_err(|_| CmsError::Malformed(self.what))
    }

    pub(super) fn algorithm(&mut self) -> Result<AlgorithmIdentifierOwned, CmsError> {
        let tlv = self.expect_tag(SEQUENCE)?;
        AlgorithmIdentifierOwned::from_der(tlv.whole).map_err(|_| CmsError::Malformed(self.what))
    }

    pub(super) const fn finish(&self) -> Result<(), CmsError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CmsError::Malformed(self.what)) }
    }
}
