use super::Address;
use crate::limits::Limits;
use std::ops::Range;
/// One header field as byte ranges of the message it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Range<usize>,
    /** after the colon, without the final CRLF, folding kept */
    pub value: Range<usize>,
    /** the whole field with its final CRLF */
    pub whole: Range<usize>,
    /** white space stood between name and colon */
    pub space_before_colon: bool,
}
/// The header section at the start of `bytes` (a message or an entity).
#[derive(Clone, Debug)]
pub struct HeaderSection {
    fields: Vec<Field>,
    body: usize,
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("header section too large")]
    TooLarge,
    #[error("too many header fields")]
    TooMany,
    #[error("line {0} of the header section is not a field")]
    NotAField(usize),
}
impl HeaderSection {
    pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Self, HeaderError> {
        todo!()
    }
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
    /// Offset of the first octet of the body (after the empty line), or the length if there is no body.
    pub fn body(&self) -> usize {
        self.body
    }
    /// Fields with this name in any case, in order. Space before the colon counts as the same name.
    pub fn named<'a>(&'a self, _bytes: &'a [u8], _name: &'a str) -> impl Iterator<Item = &'a Field> + 'a {
        [].iter()
    }
    /// Unfolded, trimmed value.
    pub fn text<'a>(&self, _bytes: &'a [u8], _field: &Field) -> std::borrow::Cow<'a, [u8]> {
        todo!()
    }
}
/// What `From` says (I56). Only `Mailbox` can be signed for or verified against.
#[derive(Clone, Debug)]
pub enum From {
    Mailbox(Address),
    Absent,
    Several(Vec<Address>),
    Ambiguous(&'static str),
}
impl From {
    pub fn mailbox(&self) -> Option<&Address> {
        match self {
            Self::Mailbox(a) => Some(a),
            _ => None,
        }
    }
}
/// Exactly one From field with exactly one mailbox; anything a reader could take differently is `Ambiguous`
/// (NUL, group, `From : `, two fields, bare CR, display name that holds another address-like ... see I56).
pub fn from(_bytes: &[u8], _headers: &HeaderSection) -> From {
    todo!()
}
/// Addresses of a `Sender` field, and of To/Cc, leniently: unparsable ones are left out.
pub fn mailboxes(_bytes: &[u8], _headers: &HeaderSection, _name: &str) -> Vec<Address> {
    todo!()
}
