//! Header fields as the most forgiving reader would take them.
//!
//! What has to be removed or refused is looked for here, so everything errs on the side of finding more: no line ends a
//! header section but an empty one, and a character that nobody sees does not make a name another. Nothing here decides
//! what a mail says; [`super::HeaderSection`] and [`super::from()`] do.

use super::decode_words;
use crate::mail::{line_end, span};
use std::ops::Range;

/// The fields of a header section as byte ranges, read as leniently as possible: a line ends at CRLF, LF or a bare CR, a
/// line that is no field is one by itself, and only an empty line ends the section.
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// Of the section at the start of `message`. Finding its end takes one pass.
    pub fn of(message: &'a [u8]) -> Self {
        let mut end = 0;
        loop {
            let (content, next) = line_end(message, end);
            if content == end {
                return Self { message, at: 0, end };
            }
            end = next;
        }
    }

    /// Where the empty line stands, or the end of the message.
    pub fn end(&self) -> usize {
        self.end
    }
}

impl Iterator for Fields<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        if self.at >= self.end {
            return None;
        }
        let start = self.at;
        loop {
            self.at = any_line_end(self.message, self.at, self.end);
            if self.at >= self.end || !matches!(self.message.get(self.at), Some(b' ' | b'\t')) {
                return Some(start..self.at);
            }
        }
    }
}

/// Where the line after the one at `from` begins; CR alone ends a line too.
fn any_line_end(message: &[u8], from: usize, end: usize) -> usize {
    match memchr::memchr2(b'\r', b'\n', span(message, from..end)) {
        Some(at) if span(message, from + at..end).starts_with(b"\r\n") => from + at + 2,
        Some(at) => from + at + 1,
        None => end,
    }
}

/// What stands before and after the first colon of a field, folding and all.
pub fn name_and_value(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', field)?;
    Some((span(field, 0..colon), span(field, colon + 1..field.len())))
}

/// A field name as a forgiving reader understands it: nothing invisible, encoded words decoded, lower case, the hyphens
/// kept. Longer names than `longest` octets (of what is visible) belong to no field that matters: none.
pub fn plain_name(name: &[u8], longest: usize) -> Option<String> {
    let visible = |text: &str| -> String {
        text.chars().filter(|character| !is_invisible(*character)).map(compatible).collect::<String>().to_lowercase()
    };
    // Encoded words are case-sensitive where they are base64, so they are decoded before the case is folded.
    let text: String = String::from_utf8_lossy(name).chars().filter(|character| !is_invisible(*character)).collect();
    (text.len() <= longest).then(|| visible(&decode_words(&text)))
}

/// White space, controls, what has no width, and what stands for octets that are no text.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || character.is_whitespace()
        || is_bidi_control(character)
        || matches!(character, '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{feff}' | '\u{fffd}' | '\u{3164}' | '\u{ffa0}')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(character, '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}')
        || matches!(character, '\u{e0000}'..='\u{e0fff}')
}

/// The characters of the Unicode property `Bidi_Control`: they change the order in which text is shown.
pub fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The ASCII character that a full-width, mathematical or enclosed one stands for, and `.` for every full stop that
/// domain names know (RFC 3490 section 3.1, UTS 46); all others stay.
pub fn compatible(character: char) -> char {
    let letter = |number: u32| u32::from(b'a') + number;
    let code = match u32::from(character) {
        code @ 0xff01..=0xff5e => code - 0xfee0,
        // 52 of each mathematical alphabet in a row, capitals first.
        code @ 0x1d400..=0x1d6a3 => letter((code - 0x1d400) % 52 % 26),
        code @ 0x24b6..=0x24e9 => letter((code - 0x24b6) % 26),
        code @ (0x1f130..=0x1f149 | 0x1f150..=0x1f169 | 0x1f170..=0x1f189) => letter((code - 0x1f130) % 32),
        0x3002 | 0xff61 | 0xfe52 | 0x2024 => u32::from(b'.'),
        0xfe6b => u32::from(b'@'),
        0xfe64 | 0x2039 | 0x3008 | 0x2329 => u32::from(b'<'),
        0xfe65 | 0x203a | 0x3009 | 0x232a => u32::from(b'>'),
        code => code,
    };
    char::from_u32(code).unwrap_or(character)
}

/// `text` with each comment (RFC 5322 section 3.2.2, nested) replaced by `instead`; one without end goes on to the end.
pub fn without_comments(text: &str, instead: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut quoted) = (0_usize, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    out.push_str(instead);
                }
                continue;
            }
            '\\' if depth > 0 => {
                characters.next();
            }
            _ => {}
        }
        if depth == 0 {
            out.push(character);
        }
    }
    out
}

/// The same for a reader that knows neither quoted strings nor escapes, and keeps a parenthesis that has no partner.
pub(super) fn without_closed_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open = Vec::new();
    for character in text.chars() {
        match character {
            '(' => open.push(out.len()),
            ')' => {
                if let Some(start) = open.pop() {
                    // Where a character was pushed, so a boundary.
                    out.truncate(start);
                    continue;
                }
            }
            _ => {}
        }
        out.push(character);
    }
    out
}
