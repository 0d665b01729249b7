use crate::limits::Limits;
use std::ops::Range;
/// A MIME entity as offsets into the message. Built with `mail-parser`, its delimiter lines re-checked exactly.
#[derive(Clone, Debug)]
pub struct Entity {
    /// header section and body: what a signature over this entity covers (without the CRLF before the next delimiter)
    pub whole: Range<usize>,
    pub header: super::header::HeaderSection, /* offsets relative to whole.start */
    pub body: Range<usize>,
    pub content_type: ContentType,
    pub encoding: Encoding,
    pub disposition_filename: Option<String>,
    pub children: Vec<Entity>,
    /// For multipart: octets outside the parts, preamble and epilogue, that hold more than white space.
    pub text_outside_parts: bool,
}
/// Lower-case type and subtype, parameters with lower-case names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    pub main: String,
    pub sub: String,
    pub parameters: Vec<(String, String)>,
    pub explicit: bool,
}
impl ContentType {
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.0 == name).map(|p| p.1.as_str())
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    SevenBit,
    EightBit,
    Binary,
    QuotedPrintable,
    Base64,
    Unknown,
}
/// What makes two readers see two messages (I65, I55).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    DuplicateField,
    Boundary,
    BareCarriageReturn,
    BareLineFeed,
    Nul,
    Parameter,
    Encoding,
    LongLine,
    EightBitHeader,
    Base64Junk,
    /** add what is needed */
    Other,
}
#[derive(Clone, Debug)]
pub struct Structure {
    pub root: Entity,
    pub ambiguities: Vec<Ambiguity>,
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MimeError {
    #[error("more entities or levels than allowed")]
    TooComplex,
    #[error(transparent)]
    Header(#[from] super::header::HeaderError),
}
/// Parses the message or entity `bytes`. Never recurses on input depth without a bound.
pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Structure, MimeError> {
    todo!()
}
impl Structure {
    /// Decoded content of a leaf (base64, quoted-printable); `Err` names what is wrong with the encoding.
    pub fn decode<'a>(&self, _bytes: &'a [u8], _entity: &Entity) -> Result<std::borrow::Cow<'a, [u8]>, Ambiguity> {
        todo!()
    }
}
