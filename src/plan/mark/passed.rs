//! The mark of mail that this gateway has signed, encrypted or opened: it does so once (S20).
//!
//! ```text
//! Segel-Passed: ( "out" / "in" ) "; by=" HOST "; mac=" 64HEXDIG
//! ```
//! The MAC covers the direction and the octets below the header section. A mark that was made up, belongs to another
//! content or to the other direction says nothing, and leaves with what is done to the mail.

use crate::crypto::sha256;
use crate::mail::header::lenient::{self, Fields};
use crate::mail::span;
use crate::policy::Side;

/// Its name.
pub(super) const NAME: &str = "Segel-Passed";
/// Marks that are looked at: mail that loops has one for each time.
const MARKS: usize = 8;

/// What the MAC is made of.
pub fn bound(side: Side, message: &[u8]) -> String {
    let mut fields = Fields::of(message);
    fields.by_ref().for_each(drop);
    let below = span(message, fields.end()..message.len());
    let body = below.strip_prefix(b"\r\n").or_else(|| below.strip_prefix(b"\n")).unwrap_or(below);
    format!("{} {}", word(side), data_encoding::HEXLOWER.encode(&sha256(body)))
}

/// The field, with its CRLF.
pub fn passed(side: Side, hostname: &str, mac: &[u8; 32]) -> String {
    let mac = data_encoding::HEXLOWER.encode(mac);
    format!("{NAME}: {}; by={};\r\n\tmac={mac}\r\n", word(side), super::word(hostname))
}

/// The MACs that fields of this name claim; none where there is no such field, which costs one look at the header section.
pub fn claimed(message: &[u8]) -> Vec<[u8; 32]> {
    let named = |field: &&[u8]| super::is_named(field, NAME);
    Fields::of(message).map(|field| span(message, field)).filter(named).take(MARKS).filter_map(mac).collect()
}

fn mac(field: &[u8]) -> Option<[u8; 32]> {
    let (_, value) = lenient::name_and_value(field)?;
    let value = str::from_utf8(value).ok()?;
    let mac = value.split(';').find_map(|item| item.trim().strip_prefix("mac="))?;
    data_encoding::HEXLOWER.decode(mac.trim().as_bytes()).ok()?.try_into().ok()
}

const fn word(side: Side) -> &'static str {
    match side {
        Side::Inside => "out",
        Side::Outside => "in",
    }
}

#[cfg(test)]
mod tests {
    use super::{bound, claimed, passed};
    use crate::policy::Side;

    #[test]
    fn s20_a_mark_is_bound_to_content_and_direction() {
        let mail = b"From: a@b\r\nSubject: x\r\n\r\nText\r\n";
        let other_header = b"From: c@d\r\n\r\nText\r\n";
        assert_eq!(bound(Side::Inside, mail), bound(Side::Inside, other_header));
        assert_ne!(bound(Side::Inside, mail), bound(Side::Outside, mail));
        assert_ne!(bound(Side::Inside, mail), bound(Side::Inside, b"From: a@b\r\n\r\nText!\r\n"));
        let marked = [passed(Side::Inside, "gw.test", &[7; 32]).as_bytes(), mail].concat();
        assert_eq!(claimed(&marked), [[7; 32]]);
        assert_eq!(bound(Side::Inside, &marked), bound(Side::Inside, mail));
        assert!(claimed(mail).is_empty());
        for broken in ["out; by=x; mac=07", "out", "out; mac=zz", ""] {
            assert!(claimed(format!("Segel-Passed: {broken}\r\n\r\n").as_bytes()).is_empty(), "{broken}");
        }
    }
}
