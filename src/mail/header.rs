//! Header sections as byte ranges of the message, and what `From` says.
//!
//! Fields are found, never rewritten. A line that is no field makes the section an error: readers differ on
//! whether it ends the header there. `From` is read by a strict grammar and again by `mail-parser`; where
//! they disagree, or where mail programs are known to disagree, it is ambiguous.

mod from;
pub mod lenient;
mod tag;
mod texts;

use super::{Address, line_end, span};
use crate::limits::Limits;
use mail_parser::parsers::MessageStream;
use std::borrow::Cow;
use std::ops::Range;

pub use from::{From, from};
pub use tag::Comparable;
pub use texts::{FromTexts, from_texts, misleading_name};

/// One header field as byte ranges of the message it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, without white space after it.
    pub name: Range<usize>,
    /// What stands after the colon, without the final CRLF, folding kept.
    pub value: Range<usize>,
    /// The whole field with its final CRLF.
    pub whole: Range<usize>,
    /// White space stood between name and colon, which RFC 5322 section 4.5 allows for old mail only.
    pub space_before_colon: bool,
}

/// The header section at the start of a message or entity.
#[derive(Clone, Debug, Default)]
pub struct HeaderSection {
    fields: Vec<Field>,
    body: usize,
    blank_line: bool,
}

/// Why a header section cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// More octets than [`Limits::header_section`].
    #[error("header section too large")]
    TooLarge,
    /// More fields than [`Limits::header_fields`].
    #[error("too many header fields")]
    TooMany,
    /// The line with this number, counted from 1, has no field name, or continues nothing.
    #[error("line {0} of the header section is not a field")]
    NotAField(usize),
}

impl HeaderSection {
    /// Finds the fields at the start of `bytes` (a message or an entity); offsets are relative to `bytes`.
    ///
    /// ```text
    /// field = field-name *WSP ":" unstructured CRLF        ; RFC 5322 sections 2.2 and 4.5
    /// ```
    /// Lines may end at LF alone, and names may hold octets above 127: both are for the caller to judge.
    ///
    /// # Errors
    /// [`HeaderError`] says which limit or which line.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, HeaderError> {
        let mut fields: Vec<Field> = Vec::with_capacity(24);
        let (mut at, mut line, mut blank_line) = (0, 0, false);
        loop {
            let (end, next) = line_end(bytes, at);
            if end == at {
                // The empty line, or the end of a message that has no body.
                return Ok(Self { fields, body: next, blank_line });
            }
            line += 1;
            if next > limits.header_section {
                return Err(HeaderError::TooLarge);
            }
            if matches!(bytes.get(at), Some(b' ' | b'\t')) {
                let field = fields.last_mut().ok_or(HeaderError::NotAField(line))?;
                blank_line |= span(bytes, at..end).trim_ascii().is_empty();
                field.value.end = end;
                field.whole.end = next;
            } else {
                if fields.len() == limits.header_fields {
                    return Err(HeaderError::TooMany);
                }
                fields.push(Self::field(bytes, at, end, next).ok_or(HeaderError::NotAField(line))?);
            }
            at = next;
        }
    }

    fn field(bytes: &[u8], at: usize, end: usize, next: usize) -> Option<Field> {
        let line = span(bytes, at..end);
        let colon = memchr::memchr(b':', line)?;
        let written = span(line, 0..colon);
        let name = written.trim_ascii_end();
        let printable = |octet: &u8| *octet > b' ' && *octet != 0x7f;
        (!name.is_empty() && name.iter().all(printable)).then(|| Field {
            name: at..at + name.len(),
            value: at + colon + 1..end,
            whole: at..next,
            space_before_colon: name.len() != written.len(),
        })
    }

    /// The fields in their order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Offset of the first octet of the body (after the empty line), or the length if there is no body.
    pub fn body(&self) -> usize {
        self.body
    }

    /// Whether a line within the section is white space only. It continues a field (RFC 5322 section 4.2), but many readers
    /// take it for the end of the header.
    pub fn has_blank_line(&self) -> bool {
        self.blank_line
    }

    /// Fields with this name in any case, in order. Space before the colon counts as the same name.
    pub fn named<'a>(&'a self, bytes: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a Field> + 'a {
        self.fields.iter().filter(move |field| span(bytes, field.name.clone()).eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Unfolded, trimmed value.
    pub fn text<'a>(&self, bytes: &'a [u8], field: &Field) -> Cow<'a, [u8]> {
        unfold(span(bytes, field.value.clone()))
    }
}

/// The value of a field without its folding (RFC 5322 section 2.2.3) and without white space around it.
pub(crate) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut unfolded = Vec::with_capacity(value.len());
    let mut at = 0;
    while at < value.len() {
        let (end, next) = line_end(value, at);
        unfolded.extend_from_slice(span(value, at..end));
        at = next;
    }
    Cow::Owned(unfolded)
}

/// `text` with its encoded words (RFC 2047) decoded, wherever they stand: mail programs do not agree on where
/// they may. White space between two of them falls away.
pub(crate) fn decode_words(text: &str) -> Cow<'_, str> {
    if !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    let (mut after_word, mut failures) = (false, 0);
    while let Some(start) = rest.find("=?")
        && failures < FAILURES
    {
        let (before, from_word) = rest.split_at_checked(start).unwrap_or((rest, ""));
        let blank = after_word && before.chars().all(|character| matches!(character, ' ' | '\t'));
        let word = word_at(from_word);
        let content = word.and_then(|(word, _)| content_of(word));
        failures += usize::from(word.is_some() && content.is_none());
        match (word, content) {
            (Some((_, after)), Some(content)) => {
                decoded.push_str(if blank { "" } else { before });
                decoded.push_str(&content);
                (rest, after_word) = (after, true);
            }
            _ => {
                // No word begins here, but one may begin before this one would have ended.
                decoded.push_str(before);
                decoded.push_str("=?");
                (rest, after_word) = (from_word.get(2..).unwrap_or_default(), false);
            }
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// Whether an encoded word stands in `text` whose content can't be read for sure: in a character set that is not known
/// here, or broken. Somebody else may read it.
pub(crate) fn has_unclear_word(text: &str) -> bool {
    let starts = text.match_indices("=?").take(FAILURES).filter_map(|(start, _)| word_at(text.get(start..)?));
    starts.map(|(word, _)| content_of(word)).any(|content| content.is_none_or(|text| text.contains('\u{fffd}')))
}

/// What a word says, read as forgivingly as mail programs do: base64 without its padding, UTF-16 without a mark of its
/// order, which is big-endian then (RFC 2781 section 4.3). `word` is without its first `=`.
fn content_of(word: &str) -> Option<String> {
    let mut parts = word.splitn(4, '?').skip(1);
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?.strip_suffix("?=")?);
    let base64 = encoding.eq_ignore_ascii_case("b");
    let marks = if base64 { ["/v8", "//4"] } else { ["=FE=FF", "=FF=FE"] };
    let marked = marks.iter().any(|mark| text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark)));
    let charset = if charset.eq_ignore_ascii_case("utf-16") && !marked { "utf-16be" } else { charset };
    let padding = if base64 { "=".repeat((4 - text.trim_end_matches('=').len() % 4) % 4) } else { String::new() };
    let text = if base64 { text.trim_end_matches('=') } else { text };
    MessageStream::new(format!("?{charset}?{encoding}?{text}{padding}?=").as_bytes()).decode_rfc2047()
}

/// Octets of an encoded word: RFC 2047 section 2 allows 75, many programs write more. With [`FAILURES`], it bounds what is
/// read again and again.
const WORD: usize = 4096;
/// What looks like an encoded word and is none, in one text.
const FAILURES: usize = 10_000;

/// The word that begins with the `=?` at the start of `text`, without its first `=`, and the rest.
///
/// ```text
/// encoded-word = "=?" charset "?" encoding "?" encoded-text "?="      ; RFC 2047 section 2
/// ```
fn word_at(text: &str) -> Option<(&str, &str)> {
    let mut end = text.len().min(WORD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let inside = text.get(2..end)?;
    let (charset, after) = inside.split_once('?')?;
    let (encoding, content) = after.split_once('?')?;
    if charset.contains([' ', '\t', '=']) || !matches!(encoding, "q" | "Q" | "b" | "B") {
        return None;
    }
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + content.find("?=")? + 2;
    Some((text.get(1..length)?, text.get(length..)?))
}

/// Addresses of all fields named `name` (`Sender`, `To`, `Cc`), leniently: unparsable ones are left out.
pub fn mailboxes(bytes: &[u8], headers: &HeaderSection, name: &str) -> Vec<Address> {
    headers.named(bytes, name).flat_map(|field| from::read_by_mail_parser(&headers.text(bytes, field))).collect()
}

#[cfg(test)]
mod tests;
