//! BER to DER, bounded and without recursion; spans of the original bytes.
use crate::limits::Limits;
use std::borrow::Cow;
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Asn1Error {
    #[error("malformed BER at offset {0}")]
    Malformed(usize),
    #[error("ASN.1 limits exceeded at offset {0}")]
    TooComplex(usize),
    #[error("octets after the end of the value")]
    Trailing,
}
/// The one TLV in `ber`, as DER: definite lengths, primitive strings. SET OF is *not* re-sorted. Borrowed when nothing changes.
/// Constructed OCTET STRINGs are joined; implicitly tagged `[0]` content of EncryptedContentInfo too, told apart by the ContentInfo's type.
pub fn ber_to_der<'a>(_ber: &'a [u8], _limits: &Limits) -> Result<Cow<'a, [u8]>, Asn1Error> {
    todo!()
}
/// A TLV: identifier octet(s), header length, content, total length.
#[derive(Clone, Copy, Debug)]
pub struct Tlv<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}
/// The DER TLV at the start of `bytes` and what follows it.
pub fn read_tlv(_bytes: &[u8]) -> Result<(Tlv<'_>, &[u8]), Asn1Error> {
    todo!()
}
