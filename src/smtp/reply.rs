//! SMTP replies: the ones we write, and the reader for those of a next hop (RFC 5321 section 4.2).
//!
//! Text never carries control characters or octets above 126, in either direction.
//! What is read is bounded; a reply that breaks the form is an error, and the connection is of no more use.

use super::EnhancedCode;
use super::command::CommandError;
use bytes::BytesMut;
use std::fmt::Write as _;

/// A reply. The class of its enhanced code always equals the first digit (one constructor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    lines: Vec<String>,
}

impl Reply {
    /// `code` 200..=599; `subject.detail` completes the enhanced code with the class of `code`. Text is sanitised;
    /// each of its lines, and each piece of a long line, becomes a line of the reply.
    ///
    /// A 3yz reply has no enhanced code (RFC 2034 section 4). A code out of range becomes 451: it answers nothing wrong for ever.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        let code = if (200..=599).contains(&code) { code } else { 451 };
        let enhanced = match code / 100 {
            2 => Some(2),
            4 => Some(4),
            5 => Some(5),
            _ => None,
        }
        .map(|class| EnhancedCode { class, subject: subject.min(999), detail: detail.min(999) });
        let text: String = text.into();
        let mut lines: Vec<String> = text.lines().flat_map(pieces).collect();
        if lines.is_empty() {
            lines.push("Ok".to_owned());
        }
        Self { code, enhanced, lines }
    }

    /// A reply without enhanced code: the greeting, the answers to EHLO and HELO, and 354 (RFC 2034 section 4).
    pub(crate) fn plain(code: u16, lines: &[&str]) -> Self {
        Self { code, enhanced: None, lines: lines.iter().map(|line| sanitise(line.as_bytes())).collect() }
    }

    /// Three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code; of a received reply only if its class fits.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// Text of each line, without code and enhanced code.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 2yz
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5yz
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// As it goes over the wire, CRLF included, the enhanced code on every line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            let separator = if index == last { ' ' } else { '-' };
            // Writing to a String can't fail.
            write!(out, "{}{separator}", self.code).ok();
            if let Some(enhanced) = self.enhanced {
                write!(out, "{enhanced} ").ok();
            }
            out.push_str(line);
            out.push_str("\r\n");
        }
        out.into_bytes()
    }

    /// In one line, for log, audit and notices: `550 5.1.1 text / more text`.
    pub fn to_line(&self) -> String {
        let enhanced = self.enhanced.map(|code| format!("{code} ")).unwrap_or_default();
        format!("{} {enhanced}{}", self.code, self.lines.join(" / "))
    }

    /// Status for a notice (RFC 3464 section 2.3.4): the enhanced code, else `class.0.0`.
    pub fn status(&self) -> String {
        self.enhanced.map_or_else(|| format!("{}.0.0", self.code / 100), |code| code.to_string())
    }
}

/// Printable US-ASCII stays, everything else becomes `?`.
fn sanitise(text: &[u8]) -> String {
    text.iter().map(|&byte| if matches!(byte, 0x20..=0x7e) { char::from(byte) } else { '?' }).collect()
}

/// Room for text in a line of 512 octets (RFC 5321 section 4.5.3.1.5) with both codes and CRLF.
const TEXT_PER_LINE: usize = 480;

/// A sanitised line in pieces that fit, cut at spaces where there are some.
fn pieces(line: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in sanitise(line.as_bytes()).split_inclusive(' ') {
        if piece.len() + word.len() > TEXT_PER_LINE && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
        }
        for character in word.chars() {
            if piece.len() == TEXT_PER_LINE {
                pieces.push(std::mem::take(&mut piece));
            }
            piece.push(character);
        }
    }
    pieces.push(piece);
    pieces
}

/// What is wrong with a next hop's reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// More than `limits.reply_line` octets without a line end.
    #[error("reply line longer than {0} octets")]
    LineTooLong(usize),
    /// More than `limits.reply_lines` lines.
    #[error("reply of more than {0} lines")]
    TooManyLines(usize),
    /// A line that does not start with a code and a space or hyphen.
    #[error("not an SMTP reply: `{0}`")]
    Syntax(String),
    /// RFC 5321 section 4.2.1: all lines have the same code.
    #[error("reply changes its code from {first} to {then}")]
    CodeMismatch {
        /// Code of the first line.
        first: u16,
        /// Code of a later line.
        then: u16,
    },
}

/// Reads replies from a stream, line by line.
#[derive(Debug)]
pub struct ReplyParser {
    line_limit: usize,
    lines_limit: usize,
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyParser {
    /// `line_limit` in octets with the line end, `lines_limit` per reply.
    pub fn new(line_limit: usize, lines_limit: usize) -> Self {
        Self { line_limit, lines_limit, code: None, lines: Vec::new() }
    }

    /// Takes complete lines from `input`; a reply when one is complete, `None` when more octets are needed.
    /// A lone LF ends a line too: a reply carries no content that could be smuggled, and old servers write it.
    ///
    /// # Errors
    /// [`ReplyError`]; the stream can't be read any further.
    pub fn parse(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            if end >= self.line_limit {
                return Err(ReplyError::LineTooLong(self.line_limit));
            }
            let line = input.split_to(end + 1);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            if let Some(reply) = self.line(line.strip_suffix(b"\r").unwrap_or(line))? {
                return Ok(Some(reply));
            }
        }
        if input.len() >= self.line_limit { Err(ReplyError::LineTooLong(self.line_limit)) } else { Ok(None) }
    }

    /// `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`
    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let syntax = || ReplyError::Syntax(sanitise(line.get(..60).unwrap_or(line)));
        let (digits, rest) = line.split_at_checked(3).ok_or_else(syntax)?;
        let code = match *digits {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(syntax()),
        };
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(syntax()),
        };
        let first = *self.code.get_or_insert(code);
        if first != code {
            return Err(ReplyError::CodeMismatch { first, then: code });
        }
        if self.lines.len() >= self.lines_limit {
            return Err(ReplyError::TooManyLines(self.lines_limit));
        }
        self.lines.push(sanitise(text));
        Ok(last.then(|| self.complete(code)))
    }

    fn complete(&mut self, code: u16) -> Reply {
        self.code = None;
        let mut lines = std::mem::take(&mut self.lines);
        let enhanced = lines
            .first()
            .and_then(|line| EnhancedCode::parse_prefix(line))
            .map(|(enhanced, _)| enhanced)
            .filter(|enhanced| u16::from(enhanced.class) == code / 100);
        for line in &mut lines {
            let rest = EnhancedCode::parse_prefix(line).filter(|(found, _)| Some(*found) == enhanced);
            if let Some(rest) = rest.map(|(_, rest)| rest.to_owned()) {
                *line = rest;
            }
        }
        Reply { code, enhanced, lines }
    }
}

impl CommandError {
    /// What the client hears.
    pub fn reply(self) -> Reply {
        match self {
            Self::Octets => Reply::new(500, 5, 2, "Syntax error: line holds characters that no command has"),
            Self::Unknown => Reply::new(500, 5, 1, "Command not recognised"),
            Self::Arguments => Reply::new(501, 5, 4, "Syntax error in parameters or arguments"),
            Self::Host => Reply::new(501, 5, 2, "Expected a domain or an address literal"),
            Self::ReversePath => Reply::new(501, 1, 7, "Expected FROM:<address> or FROM:<>"),
            Self::ForwardPath => Reply::new(501, 1, 3, "Expected TO:<address>"),
            Self::Internationalised => Reply::new(553, 6, 7, "Addresses beyond US-ASCII are not supported"),
            Self::Parameter => Reply::new(555, 5, 4, "Parameter not recognised or not implemented"),
            Self::ParameterValue => Reply::new(501, 5, 4, "Bad value of a parameter"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reply, ReplyError, ReplyParser};
    use bytes::BytesMut;

    #[test]
    fn s36_class_equals_first_digit_on_every_line() {
        for code in (200..600).chain([0, 199, 600, u16::MAX]) {
            let reply = Reply::new(code, 1, 2, "one\ntwo");
            let text = String::from_utf8(reply.to_bytes()).unwrap();
            assert_eq!(text.lines().count(), 2);
            for (line, separator) in text.lines().zip(['-', ' ']) {
                let digit = line.chars().next().unwrap();
                assert_eq!(line.chars().nth(3), Some(separator));
                match digit {
                    '3' => assert!(line.ends_with("one") || line.ends_with("two")),
                    _ => assert!(line.get(4..).unwrap().starts_with(&format!("{digit}.1.2 ")), "{line}"),
                }
            }
        }
    }

    #[test]
    fn own_text_is_sanitised_and_lines_stay_below_512_octets() {
        let reply = Reply::new(550, 6, 0, format!("a\rb\0c\u{e9} {}", "word ".repeat(300)));
        assert!(reply.to_bytes().is_ascii());
        assert!(reply.lines().len() > 2);
        for line in reply.to_bytes().split_inclusive(|&byte| byte == b'\n') {
            assert!(line.len() <= 512 && line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r'));
        }
        assert_eq!(Reply::new(250, 0, 0, "").to_bytes(), b"250 2.0.0 Ok\r\n");
        assert_eq!(Reply::new(250, 0, 0, "x".repeat(1000)).lines().len(), 3);
    }

    #[track_caller]
    fn read(input: &[u8]) -> Result<Option<Reply>, ReplyError> {
        ReplyParser::new(100, 5).parse(&mut BytesMut::from(input))
    }

    #[test]
    fn c17_replies_are_bounded_and_sanitised() {
        #[track_caller]
        fn check(input: &[u8], code: u16, line: &str) {
            let reply = read(input).unwrap().unwrap();
            assert_eq!((reply.code(), reply.to_line().as_str()), (code, line));
        }
        check(b"250 2.1.0 fine\r\n", 250, "250 2.1.0 fine");
        check(b"250\r\n", 250, "250 ");
        check(b"250-a\r\n250 b\n", 250, "250 a / b");
        check(b"550-5.1.1 no\r\n550 5.1.1 user\r\n", 550, "550 5.1.1 no / user");
        check(b"550 2.1.1 class differs\r\n", 550, "550 2.1.1 class differs");
        check(b"550 \x1b[31mred\0\xff\r\n", 550, "550 ?[31mred??");
        assert_eq!(read(b"550 2.1.1 x\r\n").unwrap().unwrap().status(), "5.0.0");
        assert_eq!(read(b"250-only one line\r\n"), Ok(None));
        assert_eq!(read(b"25"), Ok(None));
        assert_eq!(read(b"250-a\r\n251 b\r\n"), Err(ReplyError::CodeMismatch { first: 250, then: 251 }));
        assert_eq!(read(&[b'2'; 100]), Err(ReplyError::LineTooLong(100)));
        assert_eq!(read(&[&b"250 "[..], &[b'a'; 200], b"\r\n"].concat()), Err(ReplyError::LineTooLong(100)));
        assert_eq!(read(&b"250-x\r\n".repeat(9)), Err(ReplyError::TooManyLines(5)));
        for broken in [&b"hello\r\n"[..], b"\r\n", b"199 x\r\n", b"600 x\r\n", b"2500 x\r\n", b"25\r\n", b"250_x\r\n"] {
            assert!(matches!(read(broken), Err(ReplyError::Syntax(_))), "{broken:?}");
        }
    }

    #[test]
    fn replies_arrive_octet_by_octet() {
        let mut parser = ReplyParser::new(100, 5);
        let (mut input, mut found) = (BytesMut::new(), Vec::new());
        for &octet in b"250-a\r\n250 b\r\n354 go\r\n" {
            input.extend_from_slice(&[octet]);
            found.extend(parser.parse(&mut input).unwrap());
        }
        assert_eq!(found.iter().map(Reply::to_line).collect::<Vec<_>>(), ["250 a / b", "354 go"]);
    }
}
