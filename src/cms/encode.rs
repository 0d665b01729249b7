//! Writing DER: definite lengths, SET OF in order.

use super::CmsError;
use der::Encode;
use der::asn1::ObjectIdentifier;

/// One TLV around the concatenation of `parts`.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    push_length(&mut out, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A SET OF in DER order (X.690 section 11.6) under `tag`.
pub(super) fn set_of(tag: u8, mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    tlv(tag, &parts)
}

/// An OBJECT IDENTIFIER.
pub(super) fn identifier(oid: &ObjectIdentifier) -> Result<Vec<u8>, CmsError> {
    oid.to_der().map_err(|_| CmsError::Unwritable("object identifier"))
}

/// One SEQUENCE or tag around an inner value, with what stands before and after that.
pub(super) struct Level<'a> {
    pub(super) tag: u8,
    pub(super) before: &'a [&'a [u8]],
    pub(super) after: &'a [u8],
}

/// A value with `tag` and `content` inside `levels`, outermost first. Long content is copied once.
pub(super) fn nested(levels: &[Level<'_>], tag: u8, content: &[u8]) -> Vec<u8> {
    // Headers from the inside out, each with the octets that follow before the next one.
    let mut heads = vec![head(tag, content.len())];
    let mut length = content.len() + heads.iter().map(Vec::len).sum::<usize>();
    for level in levels.iter().rev() {
        let before: usize = level.before.iter().map(|part| part.len()).sum();
        let mut header = head(level.tag, before + length + level.after.len());
        length += header.len() + before + level.after.len();
        level.before.iter().for_each(|part| header.extend_from_slice(part));
        heads.push(header);
    }
    let mut out = Vec::with_capacity(length);
    heads.iter().rev().for_each(|header| out.extend_from_slice(header));
    out.extend_from_slice(content);
    levels.iter().rev().for_each(|level| out.extend_from_slice(level.after));
    out
}

fn head(tag: u8, length: usize) -> Vec<u8> {
    let mut out = vec![tag];
    push_length(&mut out, length);
    out
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let significant: Vec<u8> = octets.into_iter().skip_while(|octet| *octet == 0).collect();
            // A usize has at most 8 octets.
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            out.extend_from_slice(&significant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, nested, set_of, tlv};

    #[test]
    fn nested_is_tlv_in_tlv() {
        for length in [0, 100, 120, 200, 70_000] {
            let content = vec![7; length];
            let inner = tlv(0x30, &[b"a", b"b", &tlv(0x80, &[&content]), b"z"]);
            let expected = tlv(0x31, &[&inner, b"end"]);
            let levels = [
                Level { tag: 0x31, before: &[], after: b"end" },
                Level { tag: 0x30, before: &[b"a", b"b"], after: b"z" },
            ];
            assert_eq!(nested(&levels, 0x80, &content), expected, "{length}");
        }
    }

    #[test]
    fn lengths_are_minimal() {
        for (length, header) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (70_000, &[4, 0x83, 1, 0x11, 0x70]),
        ] {
            let out = tlv(4, &[&vec![0; length]]);
            assert_eq!(&out[..header.len()], header, "{length}");
            assert_eq!(out.len(), header.len() + length);
        }
    }

    #[test]
    fn sets_are_sorted() {
        let out = set_of(0x31, vec![vec![2, 1, 9], vec![2, 1, 3], vec![1, 1, 0xff]]);
        assert_eq!(out, [0x31, 9, 1, 1, 0xff, 2, 1, 3, 2, 1, 9]);
    }
}
