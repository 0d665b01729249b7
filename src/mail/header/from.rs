//! The one mailbox of `From`, or why there is none (I56).

use super::lenient::plain_name;
use super::{HeaderError, HeaderSection, decode_words};
use crate::mail::address::{Address, is_atext};
use crate::mail::span;
use mail_parser::parsers::MessageStream;
use mail_parser::{Address as ParsedAddress, HeaderValue};

/// What `From` says. Only `Mailbox` can be signed for or verified against.
#[derive(Clone, Debug)]
pub enum From {
    /// One field, one mailbox, and no reader could take it for another.
    Mailbox(Address),
    /// No field.
    Absent,
    /// One field with several mailboxes, each of them clear.
    Several(Vec<Address>),
    /// Readers could differ; why.
    Ambiguous(&'static str),
    /// Nobody can tell, because the header section can't be read.
    Unreadable(HeaderError),
}

impl From {
    /// The mailbox, if there is exactly one.
    pub fn mailbox(&self) -> Option<&Address> {
        match self {
            Self::Mailbox(address) => Some(address),
            _ => None,
        }
    }
}

/// Octets of `From`. A hundred mailboxes with their names have less, and a name may have to be compared with each of them.
const FIELD: usize = 16 << 10;

/// Octets of a line that every reader takes whole (RFC 5322 section 2.1.1).
const LINE: usize = 998;

/// Reads the `From` of a header section: exactly one field with exactly one mailbox, or something else.
///
/// ```text
/// from         = "From:" mailbox-list CRLF                            ; RFC 5322 section 3.6.2
/// mailbox      = ( [phrase] [CFWS] "<" addr-spec ">" [CFWS] ) / addr-spec
/// ```
/// Of the obsolete forms only dots in a phrase are read. Comments may stand around the address, without an
/// address in them; UTF-8 is read as RFC 6532 allows.
pub fn from(bytes: &[u8], headers: &HeaderSection) -> From {
    if span(bytes, 0..headers.body()).contains(&0) {
        return From::Ambiguous("NUL in the header section");
    }
    if has_bare_carriage_return(span(bytes, 0..headers.body())) {
        return From::Ambiguous("bare CR in the header section");
    }
    let disguised = |name: &[u8]| {
        !name.eq_ignore_ascii_case(b"From")
            && (!name.is_ascii() || name.starts_with(b"=?"))
            && plain_name(name, LINE).as_deref() == Some("from")
    };
    if headers.fields().iter().any(|field| disguised(span(bytes, field.name.clone()))) {
        return From::Ambiguous("a field that readers could take for From");
    }
    let mut fields = headers.named(bytes, "From");
    let Some(field) = fields.next() else {
        return From::Absent;
    };
    if fields.next().is_some() {
        return From::Ambiguous("several From fields");
    }
    if field.space_before_colon {
        return From::Ambiguous("white space before the colon of From");
    }
    if field.whole.len() > FIELD {
        return From::Ambiguous("From is too long");
    }
    if span(bytes, field.whole.clone()).split(|octet| *octet == b'\n').any(|line| line.len() > LINE + 1) {
        return From::Ambiguous("a line of From is too long");
    }
    if folds_inside_address(span(bytes, field.value.clone())) {
        return From::Ambiguous("From is folded inside an address");
    }
    let value = headers.text(bytes, field);
    let Ok(text) = std::str::from_utf8(&value) else {
        return From::Ambiguous("From holds octets that are no UTF-8");
    };
    if text.chars().any(|character| character.is_control() && character != '\t') {
        return From::Ambiguous("control character in From");
    }
    let addresses = match mailbox_list(text) {
        Ok(addresses) => addresses,
        Err(reason) => return From::Ambiguous(reason),
    };
    if !confirmed_by_mail_parser(&value, &addresses) {
        return From::Ambiguous("two parsers read From differently");
    }
    match <[Address; 1]>::try_from(addresses) {
        Ok([address]) => From::Mailbox(address),
        Err(addresses) => From::Several(addresses),
    }
}

fn has_bare_carriage_return(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'))
}

/// Whether a line break stands between `<` and `>`, where old and new readers join the halves differently.
fn folds_inside_address(value: &[u8]) -> bool {
    let (mut quoted, mut angle) = (false, false);
    for octet in value.trim_ascii() {
        match octet {
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b'\n' if angle => return true,
            _ => {}
        }
    }
    false
}

/// Reads the value leniently, with `mail-parser`; what is no address is left out.
pub(super) fn read_by_mail_parser(value: &[u8]) -> Vec<Address> {
    parsed_texts(value).iter().filter_map(|text| Address::parse(text).ok()).collect()
}

fn parsed_texts(value: &[u8]) -> Vec<String> {
    let mut line = Vec::with_capacity(value.len() + 1);
    line.extend_from_slice(value);
    line.push(b'\n');
    let HeaderValue::Address(parsed) = MessageStream::new(&line).parse_address() else {
        return Vec::new();
    };
    let members = match parsed {
        ParsedAddress::List(members) => members,
        ParsedAddress::Group(groups) => groups.into_iter().flat_map(|group| group.addresses).collect(),
    };
    members.into_iter().filter_map(|member| member.address.map(|address| address.into_owned())).collect()
}

/// Whether `mail-parser` finds the same addresses. It drops the quotes of a local-part, so they do not count.
fn confirmed_by_mail_parser(value: &[u8], addresses: &[Address]) -> bool {
    let bare = |text: &str| text.replace(['"', '\\'], "");
    let parsed = parsed_texts(value);
    parsed.len() == addresses.len()
        && parsed.iter().zip(addresses).all(|(text, address)| bare(text) == bare(address.as_str()))
}

/// Mailboxes of one field. RFC 5322 sets no number; a `From` with more than this many is no letter.
const MAILBOXES: usize = 100;

fn mailbox_list(text: &str) -> Result<Vec<Address>, &'static str> {
    let mut reader = Reader { text, at: 0 };
    let mut addresses = Vec::with_capacity(1);
    loop {
        addresses.push(reader.mailbox()?);
        match reader.next() {
            None => return Ok(addresses),
            Some(b',') if addresses.len() < MAILBOXES => reader.at += 1,
            Some(b',') => return Err("too many mailboxes in From"),
            Some(_) => return Err("text after the address in From"),
        }
    }
}

/// A position in the unfolded value. Every step moves on, so reading takes one pass.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn mailbox(&mut self) -> Result<Address, &'static str> {
        self.white_space_and_comments()?;
        let start = self.at;
        let (mut words, mut end) = (0_usize, start);
        loop {
            match self.next() {
                Some(b'<') => {
                    check_display_name(self.slice(start, end))?;
                    return self.angle_address();
                }
                Some(b'@') if words == 1 && end == self.at => return self.bare_address(start),
                Some(b'@') => return Err("address outside of angle brackets in From"),
                Some(b':') => return Err("group in From"),
                Some(b'"') => self.quoted_string()?,
                Some(octet) if is_atext(octet) || octet == b'.' => self.atom(),
                Some(b',' | b';') | None => return Err("no address in From"),
                Some(_) => return Err("From does not follow the grammar"),
            }
            words += 1;
            end = self.at;
            self.white_space_and_comments()?;
        }
    }

    fn atom(&mut self) {
        while self.next().is_some_and(|octet| is_atext(octet) || octet == b'.') {
            self.at += 1;
        }
    }

    fn quoted_string(&mut self) -> Result<(), &'static str> {
        self.at += 1;
        loop {
            match self.next() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err("quoted string without end in From"),
            }
        }
    }

    fn white_space_and_comments(&mut self) -> Result<(), &'static str> {
        let mut depth = 0_usize;
        loop {
            match self.next() {
                Some(b'(') => depth += 1,
                Some(b')') if depth > 0 => depth -= 1,
                Some(b' ' | b'\t') => {}
                Some(b'@' | b'<' | b'>') if depth > 0 => return Err("address in a comment of From"),
                Some(b'\\') if depth > 0 => self.at += 1,
                Some(_) if depth > 0 => {}
                None if depth > 0 => return Err("comment without end in From"),
                _ => return Ok(()),
            }
            self.at += 1;
        }
    }

    fn angle_address(&mut self) -> Result<Address, &'static str> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.next() {
                Some(b'>') => break,
                Some(b'"') => self.quoted_string()?,
                Some(_) => self.at += 1,
                None => return Err("angle bracket without end in From"),
            }
        }
        let content = self.slice(start, self.at).trim_matches([' ', '\t']);
        self.at += 1;
        if content.starts_with('@') {
            return Err("source route in From");
        }
        let address = address(content)?;
        self.white_space_and_comments()?;
        Ok(address)
    }

    fn bare_address(&mut self, start: usize) -> Result<Address, &'static str> {
        while self.next().is_some_and(|octet| !matches!(octet, b' ' | b'\t' | b',' | b'(' | b'<' | b';')) {
            self.at += 1;
        }
        let address = address(self.slice(start, self.at))?;
        self.white_space_and_comments()?;
        Ok(address)
    }
}

fn address(text: &str) -> Result<Address, &'static str> {
    if text.contains("=?") {
        return Err("encoded word in the address of From");
    }
    Address::parse(text).map_err(|_| "the address in From is none")
}

/// A display name may look like an address; it must not hold one in angle brackets, openly or in encoded words,
/// nor anything at which a reader that decodes first would stop.
fn check_display_name(name: &str) -> Result<(), &'static str> {
    let decoded = decode_words(name);
    if decoded.chars().any(|character| character.is_control() && character != '\t') {
        return Err("encoded word in From hides a control character");
    }
    if decoded.contains('@') && decoded.contains(['<', '>']) {
        return Err("display name of From holds an address in angle brackets");
    }
    Ok(())
}
