//! Mailboxes and domains, and the one place where they are compared.
//!
//! An address is kept exactly as it was written, because it leaves as it came; only comparing uses a
//! normal form. What RFC 5321 and 6531 do not allow is not an address: nothing is repaired here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Octets of a local-part. RFC 5321 section 4.5.3.1.1 asks for 64; variable reverse-paths (VERP, SRS) are longer.
const LOCAL_PART: usize = 255;
/// Octets of a domain (RFC 5321 section 4.5.3.1.2, RFC 1035 section 3.1).
const DOMAIN: usize = 255;
/// Octets of a label (RFC 1035 section 2.3.4).
const LABEL: usize = 63;

/// A mailbox, `local-part@domain`, kept exactly as it was written.
///
/// There is no `==` on purpose: whether two addresses are the same is asked of [`Address::same_mailbox`].
#[derive(Clone, Debug)]
pub struct Address {
    text: String,
    at: usize,
    domain: Domain,
}

/// A mail domain or address literal: as written, and as A-labels in lower case.
#[derive(Clone, Debug)]
pub struct Domain {
    text: String,
    ascii: String,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is not `local-part@domain`.
    #[error("not a mailbox: `{0}`")]
    Syntax(String),
    /// The text after `@`, or given as a domain, is none.
    #[error("not a mail domain: `{0}`")]
    Domain(String),
    /// A part is longer than any mail system accepts.
    #[error("address longer than {LOCAL_PART} octets before or {DOMAIN} octets after the `@`")]
    TooLong,
}

impl Address {
    /// Parses a Mailbox without angle brackets and without source route.
    ///
    /// ```text
    /// Mailbox       = Local-part "@" ( Domain / address-literal )     ; RFC 5321 section 4.1.2
    /// Local-part    = Dot-string / Quoted-string                      ; UTF-8 by RFC 6531 section 3.3
    /// ```
    /// Control characters are no text, U+0080 to U+009F included (RFC 5198 section 2): terminals obey them.
    ///
    /// # Errors
    /// [`AddressError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let syntax = || AddressError::Syntax(text.escape_default().to_string());
        if text.len() > LOCAL_PART + 1 + DOMAIN {
            return Err(AddressError::TooLong);
        }
        let at = local_part_length(text.as_bytes()).ok_or_else(syntax)?;
        let domain = text.get(at..).and_then(|rest| rest.strip_prefix('@')).ok_or_else(syntax)?;
        if at > LOCAL_PART {
            return Err(AddressError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(syntax());
        }
        Ok(Self { text: text.to_owned(), at, domain: Domain::parse(domain)? })
    }

    /// Parses a forward- or reverse-path: an address in angle brackets, or without them; a source route
    /// before it is ignored (RFC 5321 section 4.1.1.3 and appendix C). The null path is not an address.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn parse_path(text: &str) -> Result<Self, AddressError> {
        let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
        if !inner.starts_with('@') {
            return Self::parse(inner);
        }
        // A-d-l = At-domain *( "," At-domain ), then ":". Literals hold colons, so `]` is skipped over.
        let mut inside_literal = false;
        let colon = inner.char_indices().find_map(|(at, character)| {
            match character {
                '[' => inside_literal = true,
                ']' => inside_literal = false,
                ':' if !inside_literal => return Some(at),
                _ => {}
            }
            None
        });
        let (route, mailbox) = colon
            .and_then(|at| Some((inner.get(..at)?, inner.get(at + 1..)?)))
            .ok_or_else(|| AddressError::Syntax(inner.escape_default().to_string()))?;
        for hop in route.split(',') {
            let domain = hop.strip_prefix('@').unwrap_or_default();
            Domain::parse(domain)?;
        }
        Self::parse(mailbox)
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local-part as it was written, quotes included.
    pub fn local(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The one place where addresses are compared.
    ///
    /// Domains are compared as A-labels in lower case, ASCII local-parts without case and in their unquoted
    /// form, and everything else octet by octet. `user+tag` is another mailbox than `user`.
    pub fn same_mailbox(&self, other: &Self) -> bool {
        self.domain.same(&other.domain) && local_key(self.local()) == local_key(other.local())
    }

    /// The normal form: two addresses are the same mailbox exactly if their keys are equal. For look-ups.
    pub fn mailbox_key(&self) -> String {
        let mut key = local_key(self.local());
        key.push('@');
        key.push_str(&self.domain.ascii);
        key
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Domain {
    /// Parses a domain name (LDH labels, underscores as they occur, or U-labels of RFC 5890) or an address literal.
    ///
    /// A name that IDNA would have to map by more than its case (full-width letters, invisible characters,
    /// ideographic full stops) is none: it would look like one domain and be compared as another.
    ///
    /// # Errors
    /// [`AddressError::Domain`], also for a trailing dot (RFC 5321 section 2.3.5 has none).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > DOMAIN {
            return Err(AddressError::TooLong);
        }
        let ascii = if text.starts_with('[') {
            is_literal(text).then(|| text.to_ascii_lowercase())
        } else if text.is_ascii() {
            is_name(text).then(|| text.to_ascii_lowercase())
        } else {
            a_labels(text)
        };
        match ascii {
            Some(ascii) => Ok(Self { text: text.to_owned(), ascii }),
            None => Err(AddressError::Domain(text.escape_default().to_string())),
        }
    }

    /// The domain as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A-labels, lower case, no trailing dot; literals as written in lower case.
    pub fn ascii(&self) -> &str {
        &self.ascii
    }

    /// Whether both name the same domain.
    pub fn same(&self, other: &Self) -> bool {
        self.ascii == other.ascii
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How many octets at the start of `text` are a local-part, if there is one.
fn local_part_length(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        let length = text.iter().position(|octet| !is_atext(*octet) && *octet != b'.').unwrap_or(text.len());
        let atoms = text.get(..length)?;
        return atoms.split(|octet| *octet == b'.').all(|atom| !atom.is_empty()).then_some(length);
    }
    // Quoted-string = DQUOTE *( %d32-33 / %d35-91 / %d93-126 / "\" %d32-126 / UTF8-non-ascii ) DQUOTE
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if matches!(text.get(at + 1), Some(32..=126)) => at += 2,
            b'\\' => return None,
            32..=126 | 128.. => at += 1,
            _ => return None,
        }
    }
}

/// `atext` of RFC 5322 section 3.2.3, and every octet of UTF-8 outside ASCII (RFC 6532).
pub(super) fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet) || octet >= 0x80
}

/// The normal form of a local-part.
fn local_key(local: &str) -> String {
    if !local.is_ascii() {
        return local.to_owned();
    }
    let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_ascii_lowercase();
    };
    let mut content = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let literal = if character == '\\' { characters.next() } else { Some(character) };
        content.extend(literal.map(|literal| literal.to_ascii_lowercase()));
    }
    if !content.is_empty() && local_part_length(content.as_bytes()) == Some(content.len()) && !content.starts_with('"')
    {
        return content;
    }
    let mut key = String::with_capacity(content.len() + 2);
    key.push('"');
    for character in content.chars() {
        if matches!(character, '"' | '\\') {
            key.push('\\');
        }
        key.push(character);
    }
    key.push('"');
    key
}

/// Whether ASCII text is a domain name. Underscores are not in the ABNF but in many host names.
fn is_name(text: &str) -> bool {
    text.split('.').all(|label| {
        let octet = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        (1..=LABEL).contains(&label.len())
            && label.bytes().all(octet)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// `"[" ( IPv4 / "IPv6:" IPv6 / tag ":" 1*dcontent ) "]"` (RFC 5321 section 4.1.3).
fn is_literal(text: &str) -> bool {
    let Some(content) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return false;
    };
    let Some((tag, value)) = content.split_once(':') else {
        return content.parse::<Ipv4Addr>().is_ok();
    };
    if tag.eq_ignore_ascii_case("ipv6") {
        return value.parse::<Ipv6Addr>().is_ok();
    }
    let ldh = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    let dcontent = |octet: u8| matches!(octet, 33..=90 | 94..=126);
    !tag.is_empty() && tag.bytes().all(ldh) && !tag.ends_with('-') && !value.is_empty() && value.bytes().all(dcontent)
}

/// The A-labels of a name with U-labels, or nothing if a label is not one already (but for its case).
fn a_labels(text: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii(text).ok().filter(|ascii| ascii.len() <= DOMAIN && is_name(ascii))?;
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    // A name may mix A-labels and U-labels, so the text is compared label by label in either form.
    let written = text.to_lowercase();
    let same = ascii.split('.').count() == written.split('.').count()
        && written
            .split('.')
            .zip(ascii.split('.').zip(unicode.split('.')))
            .all(|(label, (a_label, u_label))| label == a_label || label == u_label);
    (valid.is_ok() && same).then_some(ascii)
}

#[cfg(test)]
mod tests;
