//! Base64 and quoted-printable (RFC 2045 sections 6.7 and 6.8), both ways.

use crate::mail::{line_end, span};
use data_encoding::{BASE64_MIME, Encoding, Specification};
use std::sync::LazyLock;

/// Base64 over any line lengths; what else may not be in it has been checked before.
static BASE64_IN_LINES: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    specification.padding = Some('=');
    specification.ignore.push_str(" \t\r\n");
    specification.check_trailing_bits = false;
    specification.encoding().ok()
});

/// For every octet: part of the alphabet (1), white space (0), padding (2), anything else (3).
const CLASSES: [u8; 256] = {
    let mut classes = [3_u8; 256];
    let mut octet = 0_usize;
    while octet < 256 {
        #[expect(clippy::indexing_slicing, reason = "the loop ends at the length of the array")]
        {
            classes[octet] = match octet as u8 {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => 1,
                b' ' | b'\t' | b'\r' | b'\n' => 0,
                b'=' => 2,
                _ => 3,
            };
        }
        octet += 1;
    }
    classes
};

/// Whether every reader decodes `body` to the same octets: alphabet and white space only, one padding at the end.
pub(super) fn is_clean_base64(body: &[u8]) -> bool {
    let data = body.trim_ascii_end();
    let padding = data.iter().rev().take_while(|octet| **octet == b'=').count();
    let symbols = span(data, 0..data.len() - padding);
    let (mut count, mut worst) = (0_usize, 0_u8);
    for octet in symbols {
        let class = CLASSES.get(usize::from(*octet)).copied().unwrap_or(3);
        worst |= class;
        count += usize::from(class & 1);
    }
    // Classes 2 and 3 share the second bit.
    worst < 2 && padding <= 2 && (count + padding) % 4 == 0
}

/// The decoded octets, if `body` is clean.
pub(super) fn decode_base64(body: &[u8]) -> Option<Vec<u8>> {
    if !is_clean_base64(body) {
        return None;
    }
    BASE64_IN_LINES.as_ref()?.decode(body).ok()
}

/// Appends `data` as base64 in lines of 76 characters, each with CRLF.
pub(crate) fn append_base64(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(BASE64_MIME.encode(data).as_bytes());
}

/// The value of two hexadecimal digits at the start of `text`, in either case.
pub(super) fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let value = digit(text.first()?)? * 16 + digit(text.get(1)?)?;
    u8::try_from(value).ok()
}

/// Decodes quoted-printable as lenient readers do: an `=` that begins no escape stays.
pub(super) fn decode_quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        let (end, next) = line_end(body, at);
        // White space at the end of a line was added in transit (rule 3).
        let mut line = span(body, at..end);
        while let Some((b' ' | b'\t', rest)) = line.split_last() {
            line = rest;
        }
        let soft = line.last() == Some(&b'=');
        decode_line(if soft { span(line, 0..line.len() - 1) } else { line }, &mut decoded);
        if !soft {
            decoded.extend_from_slice(span(body, end..next));
        }
        at = next;
    }
    decoded
}

fn decode_line(line: &[u8], decoded: &mut Vec<u8>) {
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'=', rest) {
        decoded.extend_from_slice(span(rest, 0..at));
        let after = rest.get(at + 1..).unwrap_or_default();
        match hex_pair(after) {
            Some(octet) => {
                decoded.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(b'=');
                rest = after;
            }
        }
    }
    decoded.extend_from_slice(rest);
}

/// Characters of a quoted-printable line, its final `=` included (rule 5).
const LINE: usize = 76;

/// Appends text as quoted-printable that no relay has a reason to touch (RFC 8551 section 3.1.4): besides what must
/// be encoded, `From ` and `--` at the start of a line, a lone dot, and blanks at its end. Line breaks stay.
pub(crate) fn append_quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let (end, next) = line_end(text, at);
        encode_line(span(text, at..end), out);
        if next > end {
            out.extend_from_slice(b"\r\n");
        }
        at = next;
    }
}

fn encode_line(line: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    for (at, octet) in line.iter().enumerate() {
        let last = at + 1 == line.len();
        let plain = match octet {
            b'=' => false,
            b' ' | b'\t' => !last,
            b'!'..=b'~' => !(column == 0 && is_delicate(*octet, line.get(at..).unwrap_or_default())),
            _ => false,
        };
        let width = if plain { 1 } else { 3 };
        // One place is kept for the `=` of a soft break unless this is the last character.
        let room = if last { LINE } else { LINE - 1 };
        let mut plain = plain;
        if column + width > room {
            out.extend_from_slice(b"=\r\n");
            column = 0;
            plain = plain && !is_delicate(*octet, line.get(at..).unwrap_or_default());
        }
        if plain {
            out.push(*octet);
            column += 1;
        } else {
            out.extend_from_slice(&[b'=', hex_digit(octet >> 4), hex_digit(octet & 15)]);
            column += 3;
        }
    }
}

/// Whether a line must not begin with `rest`: mailbox files quote `From `, some relays take a dot for the end, and `--`
/// could have become a delimiter of an enclosing multipart.
fn is_delicate(octet: u8, rest: &[u8]) -> bool {
    match octet {
        b'F' => rest.starts_with(b"From "),
        b'.' => true,
        b'-' => rest.starts_with(b"--"),
        _ => false,
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}
