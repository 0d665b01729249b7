//! Whether something that calls itself PGP/MIME is OpenPGP (RFC 3156, RFC 9580): by its packets, since armour alone may hold
//! anything, a letter that everybody can read included.
//!
//! Opens and verifies nothing.

use crate::crypto::reads_as_text;
use crate::mail::mime::{self, Entity};
use std::borrow::Cow;

/// What the packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pgp {
    /// A detached signature over the first part (RFC 3156 section 5).
    Signed,
    /// A message that somebody's private key opens, and nothing beside it that anybody could read (section 4).
    Encrypted,
}

/// What `structure`, which claims PGP/MIME, really is; nothing where the claim is all there is.
pub(super) fn pgp(structure: &mime::Structure, bytes: &[u8]) -> Option<Pgp> {
    let root = &structure.root;
    let [first, second] = root.children.as_slice() else { return None };
    // As it lies in the mail where that can be: it may be large.
    let text = |entity: &Entity| -> Cow<'_, [u8]> { structure.decode(bytes, entity).unwrap_or_default() };
    if root.content_type.is("multipart", "signed") {
        let packets = packets(&armoured(&text(second), "SIGNATURE")?)?;
        let signs = second.content_type.is("application", "pgp-signature")
            && !packets.is_empty()
            && packets.iter().all(|packet| packet.tag == SIGNATURE);
        return signs.then_some(Pgp::Signed);
    }
    let two_parts = structure.ambiguities.is_empty()
        && root.content_type.is("multipart", "encrypted")
        && !root.text_outside_parts
        && first.content_type.is("application", "pgp-encrypted")
        && text(first).trim_ascii().eq_ignore_ascii_case(b"Version: 1")
        && second.content_type.is("application", "octet-stream");
    if !two_parts {
        return None;
    }
    let packets = packets(&armoured(&text(second), "MESSAGE")?)?;
    is_encrypted(&packets).then_some(Pgp::Encrypted)
}

/// ```text
/// Encrypted Message :- Encrypted Data | ESK Sequence, Encrypted Data                    ; RFC 9580 section 10.3
/// ```
/// One of the keys must be sealed to a public key; a password may be known to anybody.
fn is_encrypted(packets: &[Packet]) -> bool {
    let Some((data, keys)) = packets.split_last() else { return false };
    DATA.contains(&data.tag)
        && !reads_as_text(&data.body)
        && keys.iter().any(|key| key.tag == PUBLIC_KEY_ESK)
        && keys.iter().all(|key| matches!(key.tag, PUBLIC_KEY_ESK | PASSWORD_ESK) && !reads_as_text(&key.body))
}

const PUBLIC_KEY_ESK: u8 = 1;
const SIGNATURE: u8 = 2;
const PASSWORD_ESK: u8 = 3;
/// Marker and padding say nothing (RFC 9580 sections 5.8, 5.14).
const IGNORED: [u8; 2] = [10, 21];
/// Encrypted data: without and with integrity protection, and the AEAD of a draft that programs write.
const DATA: [u8; 3] = [9, 18, 20];

/// Packets of one message: one for each recipient's key, and the data. As many as RecipientInfos.
const MOST_PACKETS: usize = 2000;
/// Lines, and octets of a line, that may stand between the first line of an armour and its base64: version, comment, charset.
const ARMOUR_LINES: usize = 5;
const ARMOUR_LINE: usize = 120;

/// The octets in the one armour (RFC 9580 section 6.2) that `text` is.
fn armoured(text: &[u8], kind: &str) -> Option<Vec<u8>> {
    let (head, tail) = (format!("-----BEGIN PGP {kind}-----"), format!("-----END PGP {kind}-----"));
    let inside = std::str::from_utf8(text.trim_ascii()).ok()?.strip_prefix(&head)?.strip_suffix(&tail)?;
    let mut lines = inside.split('\n').map(|line| line.trim_end_matches(['\r', ' ', '\t']));
    if !lines.next()?.is_empty() {
        return None;
    }
    for number in 0.. {
        let line = lines.next()?;
        if line.is_empty() {
            break;
        }
        if number >= ARMOUR_LINES || line.len() > ARMOUR_LINE || !line.contains(": ") {
            return None;
        }
    }
    let mut base64 = String::with_capacity(inside.len());
    let mut sum = false;
    for line in lines.filter(|line| !line.is_empty()) {
        // `=` and four characters are the checksum; nothing comes after it.
        if sum {
            return None;
        }
        match line.strip_prefix('=') {
            Some(rest) if rest.len() == 4 && !rest.contains('=') => sum = true,
            _ => base64.push_str(line),
        }
    }
    data_encoding::BASE64.decode(base64.as_bytes()).ok()
}

/// A packet: its type, and its octets without the lengths between them.
struct Packet {
    tag: u8,
    body: Vec<u8>,
}

/// All packets, if `rest` is nothing but packets (RFC 9580 section 4.2).
fn packets(mut rest: &[u8]) -> Option<Vec<Packet>> {
    let mut found = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let mut body = Vec::new();
        let tag;
        (tag, rest) = match first & 0xc0 {
            0xc0 => (first & 0x3f, new_format(after, &mut body)?),
            0x80 => ((first >> 2) & 0x0f, old_format(first & 3, after, &mut body)?),
            _ => return None,
        };
        if !IGNORED.contains(&tag) {
            found.push(Packet { tag, body });
        }
        if found.len() > MOST_PACKETS {
            return None;
        }
    }
    Some(found)
}

/// Section 4.2.1: lengths of one, two or five octets, and parts of a power of two.
fn new_format<'a>(mut rest: &'a [u8], body: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (first, after) = rest.split_first()?;
        let (octets, length, more) = match first {
            0..=191 => (0, usize::from(*first), false),
            192..=223 => (1, (usize::from(*first) - 192) * 256 + number(after.get(..1)?) + 192, false),
            224..=254 => (0, 1_usize << (first & 0x1f), true),
            255 => (4, number(after.get(..4)?), false),
        };
        rest = take(after.get(octets..)?, length, body)?;
        if !more {
            return Some(rest);
        }
    }
}

/// Section 4.2.2: lengths of one, two or four octets, or to the end.
fn old_format<'a>(kind: u8, rest: &'a [u8], body: &mut Vec<u8>) -> Option<&'a [u8]> {
    let octets = match kind {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => return take(rest, rest.len(), body),
    };
    take(rest.get(octets..)?, number(rest.get(..octets)?), body)
}

fn take<'a>(rest: &'a [u8], length: usize, body: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (taken, rest) = rest.split_at_checked(length)?;
    body.extend_from_slice(taken);
    Some(rest)
}

/// Big-endian, four octets at most.
fn number(octets: &[u8]) -> usize {
    octets.iter().fold(0, |value, octet| (value << 8) | usize::from(*octet))
}

#[cfg(test)]
mod tests;
