//! Distinguished names: compared as RFC 5280 section 7.1 says, shown as RFC 4514 says.
//!
//! Text from certificates never leaves this module raw: control and direction characters are escaped.

use crate::asn1::{Asn1Error, Fields, tag};
use bytes::Bytes;
use der::asn1::ObjectIdentifier;
use std::fmt::{self, Write as _};

/// A distinguished name: its DER, and RFC 4514 text for people (escaped, never raw).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    der: Bytes,
    /// Equal for names that match.
    key: Bytes,
}

/// Why octets are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The structure breaks RFC 5280 section 4.1.2.4.
    #[error("not a name")]
    Malformed,
}

impl Name {
    /// Reads `Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }` (RFC 5280 section 4.1.2.4).
    ///
    /// # Errors
    /// `Malformed` if it is anything else.
    pub fn from_der(der: &[u8]) -> Result<Self, NameError> {
        let key = matching_key(der).map_err(|_| NameError::Malformed)?;
        Ok(Self { der: Bytes::copy_from_slice(der), key: key.into() })
    }

    /// The DER as it stood in the certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Equal after RFC 5280 section 7.1 folding: case, leading, trailing and repeated spaces and the kind of string do not count.
    pub fn matches(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Octets that are equal exactly for names that match; for maps.
    pub(crate) fn key(&self) -> &Bytes {
        &self.key
    }

    /// Whether the name has no attribute at all.
    pub fn is_empty(&self) -> bool {
        Fields::within(&self.der, tag::SEQUENCE).is_ok_and(|fields| fields.is_empty())
    }

    /// The attribute values of one type, with their string tags, in the order of the name.
    pub(super) fn values(&self, of: &ObjectIdentifier) -> Vec<(u8, &[u8])> {
        attributes(&self.der)
            .unwrap_or_default()
            .into_iter()
            .flatten()
            .filter(|attribute| attribute.oid == of.as_bytes())
            .map(|attribute| (attribute.tag, attribute.value))
            .collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 4514 section 2.1: the last RDN comes first.
        for (index, rdn) in attributes(&self.der).unwrap_or_default().iter().rev().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            for (index, attribute) in rdn.iter().enumerate() {
                if index > 0 {
                    f.write_char('+')?;
                }
                write_attribute(f, attribute)?;
            }
        }
        Ok(())
    }
}

/// One AttributeTypeAndValue.
struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
    /// The value with its header.
    whole: &'a [u8],
}

fn attributes(der: &[u8]) -> Result<Vec<Vec<Attribute<'_>>>, Asn1Error> {
    let mut rdns = Vec::new();
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    while let Some(rdn) = fields.next_any()? {
        let mut members = Fields::within(rdn.whole, tag::SET)?;
        let mut attributes = Vec::new();
        while let Some(member) = members.next_any()? {
            let mut parts = Fields::within(member.whole, tag::SEQUENCE)?;
            let oid = parts.required(tag::OID)?.content;
            let value = parts.next_any()?.ok_or(Asn1Error::Malformed(0))?;
            if !parts.is_empty() {
                return Err(Asn1Error::Trailing);
            }
            attributes.push(Attribute { oid, tag: value.tag, value: value.content, whole: value.whole });
        }
        rdns.push(attributes);
    }
    Ok(rdns)
}

/// The key that `matches` compares: every part with its length before it, so that no two names run together.
fn matching_key(der: &[u8]) -> Result<Vec<u8>, Asn1Error> {
    let mut key = Vec::with_capacity(der.len());
    let put = |bytes: &[u8], into: &mut Vec<u8>| {
        into.extend_from_slice(&bytes.len().to_be_bytes());
        into.extend_from_slice(bytes);
    };
    for rdn in attributes(der)? {
        let mut members: Vec<Vec<u8>> = rdn
            .iter()
            .map(|attribute| {
                let mut member = Vec::new();
                put(attribute.oid, &mut member);
                match text(attribute.tag, attribute.value) {
                    Some(text) => put(fold(&text).as_bytes(), &mut member),
                    None => put(attribute.whole, &mut member),
                }
                member
            })
            .collect();
        members.sort();
        put(&members.concat(), &mut key);
    }
    Ok(key)
}

/// Lower case, without outer spaces, inner runs of spaces as one (RFC 4518 section 2.6.1, without normalisation).
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// The text of a directory string or IA5String; `None` for other types and for octets that are no text of their type.
pub(super) fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        tag::UTF8_STRING => std::str::from_utf8(value).ok().map(str::to_owned),
        // NumericString, PrintableString, IA5String, VisibleString: ASCII; CAs put UTF-8 there, so accept it for showing.
        0x12 | 0x13 | 0x16 | 0x1a => std::str::from_utf8(value).ok().map(str::to_owned),
        // TeletexString is Latin-1 in every certificate that was ever seen.
        0x14 => Some(value.iter().copied().map(char::from).collect()),
        0x1e => {
            let (pairs, []) = value.as_chunks::<2>() else { return None };
            char::decode_utf16(pairs.iter().map(|pair| u16::from_be_bytes(*pair))).collect::<Result<_, _>>().ok()
        }
        0x1c => {
            let (quads, []) = value.as_chunks::<4>() else { return None };
            quads.iter().map(|quad| char::from_u32(u32::from_be_bytes(*quad))).collect()
        }
        _ => None,
    }
}

fn write_attribute(f: &mut fmt::Formatter<'_>, attribute: &Attribute<'_>) -> fmt::Result {
    let oid = ObjectIdentifier::from_bytes(attribute.oid).map(|oid| oid.to_string()).unwrap_or_default();
    match SHORT_NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, short)) => f.write_str(short)?,
        None => f.write_str(&oid)?,
    }
    f.write_char('=')?;
    match text(attribute.tag, attribute.value) {
        Some(text) => write_escaped(f, &text),
        None => {
            f.write_char('#')?;
            f.write_str(&data_encoding::HEXLOWER.encode(attribute.whole))
        }
    }
}

/// RFC 4514 section 2.4, and hex pairs for everything that could hide or reorder text.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, char) in text.chars().enumerate() {
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{char}")?,
            '#' | ' ' if index == 0 => write!(f, "\\{char}")?,
            ' ' if index == last => write!(f, "\\{char}")?,
            _ if hides(char) => {
                let mut octets = [0; 4];
                for octet in char.encode_utf8(&mut octets).bytes() {
                    write!(f, "\\{octet:02X}")?;
                }
            }
            _ => f.write_char(char)?,
        }
    }
    Ok(())
}

/// Controls, line and paragraph separators, zero-width characters, direction marks and overrides, tags.
pub(crate) fn hides(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

const SHORT_NAMES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat()
    }

    fn rdn(oid: &str, tag: u8, value: &[u8]) -> Vec<u8> {
        let oid = ObjectIdentifier::new_unwrap(oid);
        super::tests::tlv(0x31, &tlv(0x30, &[tlv(6, oid.as_bytes()), tlv(tag, value)].concat()))
    }

    fn name(rdns: &[Vec<u8>]) -> Name {
        Name::from_der(&tlv(0x30, &rdns.concat())).unwrap()
    }

    #[test]
    fn i58_names_are_shown_escaped() {
        let check = |tag: u8, value: &[u8], expected: &str| {
            assert_eq!(name(&[rdn("2.5.4.3", tag, value)]).to_string(), expected);
        };
        check(0x0c, b"Siti", "CN=Siti");
        check(0x0c, b"Dinas, Kota", "CN=Dinas\\, Kota");
        check(0x0c, b" a ", "CN=\\ a\\ ");
        check(0x0c, b"#1", "CN=\\#1");
        check(0x13, b"a\0b\r\n", "CN=a\\00b\\0D\\0A");
        check(0x0c, "a\u{202e}b".as_bytes(), "CN=a\\E2\\80\\AEb");
        check(0x0c, "z\u{200b}\u{feff}".as_bytes(), "CN=z\\E2\\80\\8B\\EF\\BB\\BF");
        check(0x14, b"caf\xe9", "CN=caf\u{e9}");
        check(0x1e, &[0, b'a', 0x20, 0x2e], "CN=a\\E2\\80\\AE");
        check(0x0c, b"\xff", "CN=#0c01ff");
        check(0x05, b"", "CN=#0500");
        let several = name(&[rdn("2.5.4.6", 0x13, b"ID"), rdn("2.5.4.10", 0x0c, b"Kab"), rdn("1.2.3", 0x0c, b"x")]);
        assert_eq!(several.to_string(), "1.2.3=x,O=Kab,C=ID");
    }

    #[test]
    fn names_match_after_folding() {
        let check = |left: &[u8], right: &[u8], expected: bool| {
            let left = name(&[rdn("2.5.4.3", 0x13, left)]);
            let right = name(&[rdn("2.5.4.3", 0x0c, right)]);
            assert_eq!(left.matches(&right), expected);
        };
        check(b"Root CA", b" root  ca ", true);
        check(b"Root CA", b"RootCA", false);
        check(b"a", b"a\0b", false);
        let two = name(&[rdn("2.5.4.3", 0x0c, b"a"), rdn("2.5.4.3", 0x0c, b"b")]);
        let swapped = name(&[rdn("2.5.4.3", 0x0c, b"b"), rdn("2.5.4.3", 0x0c, b"a")]);
        assert!(!two.matches(&swapped));
        for bad in [&[0x30u8, 2, 0x31, 1][..], &[0x31, 0], &[0x30, 0, 0], &[0x30, 4, 0x31, 2, 0x30, 0]] {
            assert!(Name::from_der(bad).is_err());
        }
    }
}
