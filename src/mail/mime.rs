//! The MIME structure of a message, as offsets into its bytes, and whatever two readers could see differently.
//!
//! The splitter is ours, not that of `mail-parser`: that one matches a boundary by its beginning, takes the last
//! of two `Content-Type` fields, and gives offsets into a decoded copy inside an encoded `message/rfc822`. A
//! signature covers exact octets, so delimiter lines are matched exactly here, on the bytes that arrived, and a
//! line that a less exact reader would take for a delimiter is reported. `mail-parser` still decodes encoded
//! words and reads addresses. Reading is lenient: odd mail has a structure, only limits and a root header
//! section that is none are errors.

mod content_type;
pub(crate) mod encoding;

use super::header::{HeaderError, HeaderSection};
use super::span;
use crate::limits::Limits;
use memchr::memmem;
use std::borrow::Cow;
use std::ops::Range;

/// A MIME entity as offsets into the message.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Header section and body: what a signature over this entity covers, from the first octet of the header to
    /// before the line break that belongs to the next delimiter.
    pub whole: Range<usize>,
    /// The header section; its offsets are relative to `whole.start`.
    pub header: HeaderSection,
    /// The body, after the empty line.
    pub body: Range<usize>,
    /// `Content-Type`, or the default of RFC 2045 section 5.2.
    pub content_type: ContentType,
    /// `Content-Transfer-Encoding`, or 7bit.
    pub encoding: Encoding,
    /// `filename` of `Content-Disposition`, decoded.
    pub disposition_filename: Option<String>,
    /// The parts of a multipart; the message in a `message/rfc822` or `message/global`.
    pub children: Vec<Entity>,
    /// For multipart: octets outside the parts, preamble and epilogue, that hold more than white space.
    pub text_outside_parts: bool,
}

/// Lower-case type and subtype, parameters with lower-case names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// The type, as `multipart`.
    pub main: String,
    /// The subtype, as `signed`.
    pub sub: String,
    /// Parameters with decoded values, in order, each name once.
    pub parameters: Vec<(String, String)>,
    /// Whether a field said so, or it is the default.
    pub explicit: bool,
}

impl ContentType {
    /// Whether it is this type and subtype, given in lower case.
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }

    /// The value of the parameter with this lower-case name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|parameter| parameter.0 == name).map(|parameter| parameter.1.as_str())
    }

    fn implied(main: &str, sub: &str) -> Self {
        Self { main: main.to_owned(), sub: sub.to_owned(), parameters: Vec::new(), explicit: false }
    }
}

/// A content transfer encoding (RFC 2045 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `7bit`, also where no field says anything.
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `binary`.
    Binary,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
    /// Any other word.
    Unknown,
}

impl Encoding {
    /// Whether the body is the content.
    pub fn is_identity(self) -> bool {
        matches!(self, Self::SevenBit | Self::EightBit | Self::Binary)
    }
}

/// What makes two readers see two messages (I65, I55).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// Two of `Content-Type`, `Content-Transfer-Encoding`, `MIME-Version` or `Content-Disposition` in one entity.
    DuplicateField,
    /// No boundary, a boundary that is none, one that readers find at different lines.
    Boundary,
    /// CR without LF.
    BareCarriageReturn,
    /// Delimiter lines of one multipart end in LF here and in CRLF there: a strict reader sees some of them only. (That
    /// whole lines of a file end in LF is not reported: SMTP has refused it, and readers of files take it like CRLF.)
    BareLineFeed,
    /// NUL outside binary content.
    Nul,
    /// A type or parameter that can be read in two ways.
    Parameter,
    /// An unknown or a forbidden transfer encoding.
    Encoding,
    /// A header line over 998 octets.
    LongLine,
    /// Octets above 127 in a field that decides on the structure, or in a field name.
    EightBitHeader,
    /// Base64 with other characters, wrong padding, or data after the padding.
    Base64Junk,
    /// White space between the name of a deciding field and its colon, or an encoded word in the name of a field.
    FieldName,
    /// A line of white space only within a header section, at which some readers end it.
    BlankLine,
    /// A part or a nested message that begins with a line which is no field.
    PartHeader,
    /// A header section that a delimiter ends instead of an empty line: who looks for that line only reads over the delimiter.
    HeaderEnd,
}

/// The tree of entities and its ambiguities, each kind once.
#[derive(Clone, Debug)]
pub struct Structure {
    /// The message itself.
    pub root: Entity,
    /// Empty for mail that every reader takes the same way.
    pub ambiguities: Vec<Ambiguity>,
}

/// Why there is no structure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MimeError {
    /// [`Limits::mime_entities`] or [`Limits::mime_depth`] was reached.
    #[error("more entities or levels than allowed")]
    TooComplex,
    /// The header section of the message cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Parses the message or entity `bytes`. It descends at most [`Limits::mime_depth`] levels and searches each
/// octet once per level.
///
/// # Errors
/// [`MimeError`], for limits and for a root header section that is none.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Structure, MimeError> {
    let header = HeaderSection::parse(bytes, limits)?;
    let mut parser = Parser { bytes, limits, entities: 0, boundaries: Vec::new(), ambiguities: Vec::new() };
    let root = parser.entity(0..bytes.len(), header, ("text", "plain"), 0)?;
    if root.encoding != Encoding::Binary || !root.children.is_empty() {
        parser.stray_octets(bytes);
    } else {
        parser.stray_octets(span(bytes, 0..root.body.start));
    }
    Ok(Structure { root, ambiguities: parser.ambiguities })
}

impl Structure {
    /// Decoded content of a leaf (base64, quoted-printable).
    ///
    /// # Errors
    /// What is wrong with the encoding. Quoted-printable has no errors: every reader keeps what it cannot decode.
    pub fn decode<'a>(&self, bytes: &'a [u8], entity: &Entity) -> Result<Cow<'a, [u8]>, Ambiguity> {
        let body = span(bytes, entity.body.clone());
        match entity.encoding {
            Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => Ok(Cow::Borrowed(body)),
            Encoding::QuotedPrintable => Ok(Cow::Owned(encoding::decode_quoted_printable(body))),
            Encoding::Base64 => encoding::decode_base64(body).map(Cow::Owned).ok_or(Ambiguity::Base64Junk),
            Encoding::Unknown => Err(Ambiguity::Encoding),
        }
    }
}

/// Octets of a boundary (RFC 2046 section 5.1.1).
const BOUNDARY: usize = 70;
/// Octets of a header line without CRLF (RFC 5322 section 2.1.1).
const LINE: usize = 998;
/// The fields that decide how an entity is read.
const DECIDING: [&str; 4] = ["Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Content-Disposition"];

struct Parser<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    entities: usize,
    /// Of the enclosing multiparts.
    boundaries: Vec<String>,
    ambiguities: Vec<Ambiguity>,
}

impl Parser<'_> {
    fn report(&mut self, ambiguity: Ambiguity) {
        if !self.ambiguities.contains(&ambiguity) {
            self.ambiguities.push(ambiguity);
        }
    }

    /// Recursion is bounded by `limits.mime_depth`, which is checked before descending.
    fn entity(
        &mut self,
        whole: Range<usize>,
        header: HeaderSection,
        default: (&str, &str),
        depth: usize,
    ) -> Result<Entity, MimeError> {
        self.entities += 1;
        if self.entities > self.limits.mime_entities || depth > self.limits.mime_depth {
            return Err(MimeError::TooComplex);
        }
        let bytes = span(self.bytes, whole.clone());
        self.lines_and_names(bytes, &header);
        let [content_type, transfer_encoding, _, disposition] = self.deciding_fields(bytes, &header);
        let content_type = match content_type {
            Some(value) => self.content_type(&value),
            None => ContentType::implied(default.0, default.1),
        };
        // A fold inside the quotes of a boundary becomes a blank for some readers and nothing for others.
        if content_type.parameter("boundary").is_some_and(|boundary| boundary.contains([' ', '\t']))
            && header.named(bytes, "Content-Type").any(|field| folds_inside_quotes(span(bytes, field.value.clone())))
        {
            self.report(Ambiguity::Boundary);
        }
        let mut entity = Entity {
            body: whole.start + header.body()..whole.end,
            encoding: transfer_encoding.map_or(Encoding::SevenBit, |value| self.encoding(&value)),
            disposition_filename: disposition.and_then(|value| self.filename(&value)),
            children: Vec::new(),
            text_outside_parts: false,
            whole,
            header,
            content_type,
        };
        self.content(&mut entity, depth)?;
        Ok(entity)
    }

    fn content(&mut self, entity: &mut Entity, depth: usize) -> Result<(), MimeError> {
        let multipart = entity.content_type.main == "multipart";
        let message = entity.content_type.is("message", "rfc822") || entity.content_type.is("message", "global");
        let encoded = !entity.encoding.is_identity();
        match (multipart, message) {
            // RFC 2045 section 6.4 forbids it; some readers decode, others do not.
            (true, _) | (_, true) if encoded => self.report(Ambiguity::Encoding),
            (true, _) => self.multipart(entity, depth)?,
            (_, true) => {
                let range = entity.body.clone();
                let header = self.part_header(range.clone());
                entity.children.push(self.entity(range, header, ("text", "plain"), depth + 1)?);
            }
            _ if entity.encoding == Encoding::Base64
                && !encoding::is_clean_base64(span(self.bytes, entity.body.clone())) =>
            {
                self.report(Ambiguity::Base64Junk);
            }
            _ => {}
        }
        Ok(())
    }

    /// A part whose first lines are no fields is read as one without header by some and skipped over by others.
    fn part_header(&mut self, range: Range<usize>) -> HeaderSection {
        let part = span(self.bytes, range);
        let Ok(header) = HeaderSection::parse(part, self.limits) else {
            self.report(Ambiguity::PartHeader);
            return HeaderSection::default();
        };
        // The line break before the delimiter is none of the part's: with an empty line there is another one before it.
        if header.body() == part.len() && part.last().is_some_and(|octet| *octet != b'\n') {
            self.report(Ambiguity::HeaderEnd);
        }
        header
    }

    fn lines_and_names(&mut self, bytes: &[u8], header: &HeaderSection) {
        for field in header.fields() {
            // A whole field within the limit has no line over it.
            if field.whole.len() > LINE
                && span(bytes, field.whole.clone())
                    .split(|octet| *octet == b'\n')
                    .any(|line| line.trim_ascii_end().len() > LINE)
            {
                self.report(Ambiguity::LongLine);
            }
            let name = span(bytes, field.name.clone());
            if !name.is_ascii() {
                self.report(Ambiguity::EightBitHeader);
            }
            if memmem::find(name, b"=?").is_some() {
                self.report(Ambiguity::FieldName);
            }
        }
        if header.has_blank_line() {
            self.report(Ambiguity::BlankLine);
        }
    }

    /// The unfolded values of [`DECIDING`], the first of each.
    fn deciding_fields<'b>(&mut self, bytes: &'b [u8], header: &HeaderSection) -> [Option<Cow<'b, [u8]>>; 4] {
        let mut values = [const { None }; 4];
        for field in header.fields() {
            let name = span(bytes, field.name.clone());
            // All of them contain a hyphen at one of two places; most fields end here.
            let slot = DECIDING
                .iter()
                .zip(values.iter_mut())
                .find(|(deciding, _)| name.eq_ignore_ascii_case(deciding.as_bytes()));
            let Some((_, slot)) = slot else { continue };
            if slot.is_some() {
                self.report(Ambiguity::DuplicateField);
                continue;
            }
            if field.space_before_colon {
                self.report(Ambiguity::FieldName);
            }
            // Blanks for some readers, and part of a parameter's value for others. (ESC and shifts stand in old file names.)
            if span(bytes, field.value.clone()).iter().any(|octet| matches!(octet, 0x0b | 0x0c | 0x1c..=0x1f)) {
                self.report(Ambiguity::Parameter);
            }
            *slot = Some(header.text(bytes, field));
        }
        values
    }

    fn content_type(&mut self, value: &[u8]) -> ContentType {
        let parsed = content_type::parse(value);
        parsed.ambiguities.iter().for_each(|ambiguity| self.report(*ambiguity));
        let Some((main, sub)) = parsed.value.split_once('/').filter(|(main, sub)| is_token(main) && is_token(sub))
        else {
            // `Content-Type: text` is older than MIME, and text to everybody.
            if parsed.value != "text" {
                self.report(Ambiguity::Parameter);
            }
            return ContentType { explicit: true, ..ContentType::implied("text", "plain") };
        };
        let content_type = ContentType {
            main: main.to_owned(),
            sub: sub.to_owned(),
            explicit: true,
            parameters: parsed.parameters.into_iter().map(|parameter| (parameter.name, parameter.value)).collect(),
        };
        if parsed.comment && content_type.main != "text" {
            self.report(Ambiguity::Parameter);
        }
        content_type
    }

    fn filename(&mut self, value: &[u8]) -> Option<String> {
        let parsed = content_type::parse(value);
        parsed.ambiguities.into_iter().for_each(|ambiguity| self.report(ambiguity));
        parsed.parameters.into_iter().find(|parameter| parameter.name == "filename").map(|parameter| parameter.value)
    }

    fn encoding(&mut self, value: &[u8]) -> Encoding {
        let word = content_type::without_comments(value);
        let known = [
            ("7bit", Encoding::SevenBit),
            ("8bit", Encoding::EightBit),
            ("binary", Encoding::Binary),
            ("quoted-printable", Encoding::QuotedPrintable),
            ("base64", Encoding::Base64),
        ];
        let word = word.trim_ascii();
        let found = known.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map_or_else(
            || {
                self.report(Ambiguity::Encoding);
                Encoding::Unknown
            },
            |(_, encoding)| encoding,
        )
    }

    fn multipart(&mut self, entity: &mut Entity, depth: usize) -> Result<(), MimeError> {
        let boundary = entity.content_type.parameter("boundary").unwrap_or_default().to_owned();
        let printable = |octet: u8| matches!(octet, b' '..=b'~');
        if boundary.is_empty() || boundary.ends_with(' ') || !boundary.bytes().all(printable) {
            self.report(Ambiguity::Boundary);
            return Ok(());
        }
        if !is_boundary(&boundary) || self.boundaries.contains(&boundary) {
            self.report(Ambiguity::Boundary);
        }
        let parts = self.parts(entity, &boundary);
        let default = if entity.content_type.sub == "digest" { ("message", "rfc822") } else { ("text", "plain") };
        self.boundaries.push(boundary);
        for part in parts {
            let header = self.part_header(part.clone());
            entity.children.push(self.entity(part, header, default, depth + 1)?);
        }
        self.boundaries.pop();
        Ok(())
    }

    /// Splits the body at its delimiter lines.
    ///
    /// ```text
    /// delimiter         = CRLF "--" boundary                                       ; RFC 2046 section 5.1.1
    /// multipart-body    = [preamble CRLF] dash-boundary transport-padding CRLF body-part
    ///                     *(delimiter transport-padding CRLF body-part)
    ///                     delimiter "--" transport-padding [CRLF epilogue]
    /// transport-padding = *LWSP-char
    /// ```
    fn parts(&mut self, entity: &mut Entity, boundary: &str) -> Vec<Range<usize>> {
        let body = entity.body.clone();
        let dash_boundary = format!("--{boundary}");
        let (mut parts, mut open, mut closed, mut line_break) = (Vec::new(), None, false, None);
        let mut outside = body.start;
        for at in memmem::find_iter(span(self.bytes, body.clone()), dash_boundary.as_bytes()) {
            let line = body.start + at;
            // The line break before the body is the empty line's, so a delimiter on the first line is found too.
            let starts_line = span(self.bytes, 0..line).last().is_none_or(|octet| *octet == b'\n');
            let delimiter = delimiter(self.bytes, line + dash_boundary.len(), body.end);
            let Some(delimiter) = delimiter.filter(|_| starts_line) else {
                // RFC 2046 lets a reader compare beginnings only, and some look in the middle of lines while they decode: they
                // would see a delimiter here.
                self.report(Ambiguity::Boundary);
                continue;
            };
            if closed {
                self.report(Ambiguity::Boundary);
                break;
            }
            if delimiter.line_break > 0 && *line_break.get_or_insert(delimiter.line_break) != delimiter.line_break {
                self.report(Ambiguity::BareLineFeed);
            }
            let before = before_line_break(self.bytes, line);
            match open.take() {
                Some(start) => parts.push(start..before.max(start)),
                None => self.outside(entity, outside..line, false),
            }
            closed = delimiter.closes;
            outside = delimiter.next;
            open = (!closed).then_some(delimiter.next);
            // One more than allowed is enough for the error.
            if parts.len() > self.limits.mime_entities {
                break;
            }
        }
        match open {
            // Never closed: the last part runs to the end, for every reader.
            Some(start) => parts.push(start..body.end),
            None if parts.is_empty() => self.report(Ambiguity::Boundary),
            None => {}
        }
        if closed {
            self.outside(entity, outside..body.end, true);
        }
        parts
    }

    /// Notes what stands in a preamble or an epilogue. A line there that begins as a delimiter does is one for a reader that
    /// takes another boundary from the header, however it comes to that.
    fn outside(&mut self, entity: &mut Entity, range: Range<usize>, epilogue: bool) {
        let text = span(self.bytes, range);
        entity.text_outside_parts |= has_text(text);
        // Lists put `-- ` and their footer into the epilogue; a delimiter has more than the two hyphens.
        let delimits = |line: &[u8]| {
            line.strip_prefix(b"--")
                .is_some_and(|rest| !epilogue || rest.first().is_some_and(|octet| !octet.is_ascii_whitespace()))
        };
        if text.split(|octet| *octet == b'\n').any(delimits) {
            self.report(Ambiguity::Boundary);
        }
    }

    /// Bare CR and NUL.
    fn stray_octets(&mut self, bytes: &[u8]) {
        if memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n')) {
            self.report(Ambiguity::BareCarriageReturn);
        }
        if memchr::memchr(0, bytes).is_some() {
            self.report(Ambiguity::Nul);
        }
    }
}

struct Delimiter {
    closes: bool,
    /// Octets of the line break at its end, 0 at the end of the message.
    line_break: usize,
    /// Where the next line begins.
    next: usize,
}

/// What stands after `--boundary` at `at`, if the line is exactly a delimiter line.
fn delimiter(bytes: &[u8], at: usize, end: usize) -> Option<Delimiter> {
    let rest = span(bytes, at..end);
    let (closes, padding) = match rest.strip_prefix(b"--") {
        Some(padding) => (true, padding),
        None => (false, rest),
    };
    let blanks = padding.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let line_break = match padding.get(blanks..)? {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        [] => 0,
        _ => return None,
    };
    Some(Delimiter { closes, line_break, next: end - padding.len() + blanks + line_break })
}

/// The offset before the line break that ends at `line`.
fn before_line_break(bytes: &[u8], line: usize) -> usize {
    let length = if span(bytes, line.saturating_sub(2)..line) == b"\r\n" { 2 } else { 1 };
    line.saturating_sub(length)
}

fn has_text(bytes: &[u8]) -> bool {
    bytes.iter().any(|octet| !octet.is_ascii_whitespace())
}

/// Whether a line break stands inside a quoted string.
fn folds_inside_quotes(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut octets = value.trim_ascii().iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                octets.next();
            }
            b'\n' if quoted => return true,
            _ => {}
        }
    }
    false
}

/// `boundary` of RFC 2046 section 5.1.1, without quotes around it, which some readers strip. Braces are not in the grammar,
/// but some programs write a GUID in them, and no reader takes them away.
///
/// ```text
/// boundary      = 0*69<bchars> bcharsnospace
/// bcharsnospace = DIGIT / ALPHA / "'" / "(" / ")" / "+" / "_" / "," / "-" / "." / "/" / ":" / "=" / "?"
/// ```
fn is_boundary(text: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=?{} ".contains(&octet);
    (1..=BOUNDARY).contains(&text.len()) && text.bytes().all(allowed) && text.trim_matches([' ', '\'']) == text
}

/// `token` of RFC 2045 section 5.1.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet))
}

#[cfg(test)]
mod tests;
