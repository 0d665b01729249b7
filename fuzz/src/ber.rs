//! BER to DER: what comes out is DER and says what the input said.

use segel::asn1::{ber_to_der, read_tlv};
use segel::limits::Limits;
use std::borrow::Cow;

/// The normaliser against a second reader of BER and one of DER.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let Ok(der) = ber_to_der(data, &limits) else {
        return;
    };
    // A BIT STRING of no segments takes two octets and becomes three; a length above 64 KiB may take more than the two of the
    // indefinite form and its end.
    assert!(der.len() <= data.len() / 2 * 3 + data.len() / 512, "{} octets of {}", der.len(), data.len());
    assert!(matches!(ber_to_der(&der, &limits), Ok(Cow::Borrowed(again)) if again == &*der), "not DER: {der:02x?}");
    let (value, rest) = strict(&der, 0).expect("a strict reader reads it");
    assert!(rest.is_empty());
    let (lenient, rest) = Value::read(data, 0).expect("a lenient reader reads the input");
    assert!(rest.is_empty());
    assert!(lenient.says(&value), "{lenient:?} became {value:?}");
    if let Ok((tlv, rest)) = read_tlv(&der) {
        assert!(rest.is_empty() && tlv.whole == &*der && der.ends_with(tlv.content));
    }
    if der::SliceReader::new(&der).is_ok_and(|reader| der::Header::peek(&reader).is_ok()) {
        use der::Decode;
        der::asn1::AnyRef::from_der(&der).expect("the crate `der` reads it");
    }
}

/// A value with definite or indefinite length, as it stands there.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Primitive(Vec<u8>, Vec<u8>),
    Constructed(Vec<u8>, Vec<Value>),
}

/// Levels: more than the product allows.
const DEPTH: usize = 100;

fn identifier(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 1;
    if bytes.first()? & 0x1f == 0x1f {
        while bytes.get(length)? & 0x80 != 0 {
            length += 1;
        }
        length += 1;
    }
    bytes.split_at_checked(length)
}

/// The length octets after an identifier: `Some(None)` is indefinite; and whether they are those of DER.
fn length(bytes: &[u8]) -> Option<(Option<usize>, bool, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return Some((Some(usize::from(*first)), true, rest));
    }
    let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    if octets.is_empty() {
        return Some((None, false, rest));
    }
    let mut value = 0usize;
    for octet in octets {
        value = value.checked_mul(256)?.checked_add(usize::from(*octet))?;
    }
    Some((Some(value), octets[0] != 0 && value > 127, rest))
}

impl Value {
    fn read(bytes: &[u8], depth: usize) -> Option<(Self, &[u8])> {
        let (tag, rest) = identifier(bytes)?;
        let (size, _, rest) = length(rest)?;
        if depth > DEPTH {
            return None;
        }
        if tag[0] & 0x20 == 0 {
            let (content, rest) = rest.split_at_checked(size?)?;
            return Some((Self::Primitive(tag.to_vec(), content.to_vec()), rest));
        }
        let mut members = Vec::new();
        match size {
            Some(size) => {
                let (mut content, rest) = rest.split_at_checked(size)?;
                while !content.is_empty() {
                    let (member, after) = Self::read(content, depth + 1)?;
                    members.push(member);
                    content = after;
                }
                Some((Self::Constructed(tag.to_vec(), members), rest))
            }
            None => {
                let mut content = rest;
                while !content.starts_with(&[0, 0]) {
                    let (member, after) = Self::read(content, depth + 1)?;
                    members.push(member);
                    content = after;
                }
                Some((Self::Constructed(tag.to_vec(), members), &content[2..]))
            }
        }
    }

    /// Whether `der` is this value, strings joined.
    fn says(&self, der: &Self) -> bool {
        match (self, der) {
            (Self::Primitive(..), _) => self == der,
            (Self::Constructed(tag, members), Self::Constructed(kept, same)) => {
                tag == kept && members.len() == same.len() && members.iter().zip(same).all(|(one, two)| one.says(two))
            }
            (Self::Constructed(tag, _), Self::Primitive(joined, content)) => {
                let plain = [&[tag[0] & !0x20], &tag[1..]].concat();
                let mut octets = Vec::new();
                let mut unused = 0;
                self.join(joined.as_slice() == [3], &mut unused, &mut octets);
                let expected = if joined.as_slice() == [3] { [&[unused][..], &octets].concat() } else { octets };
                plain == *joined && expected == *content
            }
        }
    }

    /// Appends the segments; `unused` becomes the unused bits of the last one of a BIT STRING that is not empty itself.
    fn join(&self, bits: bool, unused: &mut u8, octets: &mut Vec<u8>) {
        match self {
            Self::Primitive(_, content) if bits => {
                *unused = content[0];
                octets.extend_from_slice(&content[1..]);
            }
            Self::Primitive(_, content) => octets.extend_from_slice(content),
            Self::Constructed(_, members) => members.iter().for_each(|member| member.join(bits, unused, octets)),
        }
    }
}

/// A reader that takes definite, minimal lengths and primitive strings only.
fn strict(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    const STRINGS: [u8; 13] = [3, 4, 12, 18, 19, 20, 21, 22, 25, 26, 27, 28, 30];
    let (tag, rest) = identifier(bytes)?;
    let (size, minimal, rest) = length(rest)?;
    let (content, rest) = rest.split_at_checked(size?)?;
    if !minimal || depth > DEPTH {
        return None;
    }
    if tag[0] & 0x20 == 0 {
        return Some((Value::Primitive(tag.to_vec(), content.to_vec()), rest));
    }
    if tag[0] & 0xc0 == 0 && STRINGS.contains(&(tag[0] & 0x1f)) {
        return None;
    }
    let (mut members, mut content) = (Vec::new(), content);
    while !content.is_empty() {
        let (member, after) = strict(content, depth + 1)?;
        members.push(member);
        content = after;
    }
    Some((Value::Constructed(tag.to_vec(), members), rest))
}
