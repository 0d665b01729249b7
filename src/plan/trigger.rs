//! Taking out of a header section what made a rule fire: tags in `Subject`, whole fields (O31).

use super::mark;
use crate::limits::Limits;
use crate::mail::header::{Comparable, HeaderSection, decode_words};
use crate::mail::span;
use crate::policy::Removals;

/// The message without them. All other octets stay; a `Subject` that held a tag is written anew.
pub(super) fn remove(message: &[u8], removals: &Removals, limits: &Limits) -> Vec<u8> {
    let mut out = untagged(message, removals, limits).unwrap_or_else(|| message.to_vec());
    for name in &removals.fields {
        out = mark::without(&out, name);
    }
    out
}

/// Nothing where the header section can't be read: no rule has fired then.
fn untagged(message: &[u8], removals: &Removals, limits: &Limits) -> Option<Vec<u8>> {
    if removals.tags.is_empty() {
        return None;
    }
    let header = HeaderSection::parse(message, limits).ok()?;
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut at = 0;
    for field in header.named(message, "Subject") {
        let text = header.text(message, field);
        let subject = decode_words(&String::from_utf8_lossy(&text)).into_owned();
        let kept = without_tags(&subject, &removals.tags);
        if kept != subject {
            out.extend_from_slice(span(message, at..field.whole.start));
            out.extend_from_slice(b"Subject: ");
            out.extend_from_slice(encoded(&kept).as_bytes());
            out.extend_from_slice(b"\r\n");
            at = field.whole.end;
        }
    }
    out.extend_from_slice(span(message, at..message.len()));
    Some(out)
}

/// `subject` without any of `tags`, however they are spelled, and without the blank that followed each.
fn without_tags(subject: &str, tags: &[String]) -> String {
    let mut kept = subject.to_owned();
    for tag in tags.iter().map(|tag| Comparable::of(tag)) {
        // Each round takes out at least one character.
        while let Some(place) = Comparable::of(&kept).find(&tag) {
            let before = kept.get(..place.start).unwrap_or_default();
            let after = kept.get(place.end..).unwrap_or_default();
            kept = if before.is_empty() || before.ends_with(' ') {
                format!("{before}{}", after.trim_start_matches(' '))
            } else {
                format!("{before}{after}")
            };
        }
    }
    kept.trim().to_owned()
}

/// As it stands in a field: as it is where that is short ASCII, else in encoded words of at most 75 characters (RFC 2047
/// section 2), cut between characters.
fn encoded(text: &str) -> String {
    const PLAIN: usize = 900;
    /// Octets of UTF-8 that fit into one word: 75 - 12 characters of base64.
    const OCTETS: usize = 45;
    let is_plain = text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) && !text.contains("=?");
    if is_plain && text.len() <= PLAIN {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        if word.len() + character.len_utf8() > OCTETS {
            words.push(std::mem::take(&mut word));
        }
        word.push(character);
    }
    words.push(word);
    let words = words.iter().map(|word| format!("=?UTF-8?B?{}?=", data_encoding::BASE64.encode(word.as_bytes())));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::remove;
    use crate::limits::Limits;
    use crate::policy::Removals;

    #[test]
    fn o31_tags_and_fields_leave_the_mail() {
        let removals = Removals { tags: vec!["[rahasia]".to_owned()], fields: vec!["X-Encrypt".to_owned()] };
        let check = |message: &str, expected: &str| {
            let out = remove(message.as_bytes(), &removals, &Limits::default());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check("Subject: [RAHASIA] Gaji\r\nTo: a@b\r\n\r\nx", "Subject: Gaji\r\nTo: a@b\r\n\r\nx");
        check("To: a@b\r\nX-Encrypt: yes\r\nSubject: Gaji [rahasia]\r\n\r\nx", "To: a@b\r\nSubject: Gaji\r\n\r\nx");
        check("Subject: =?utf-8?q?=5Brahasia=5D_Gaji?=\r\n\r\nx", "Subject: Gaji\r\n\r\nx");
        check(
            "Subject: =?utf-8?b?W3JhaGE=?=\r\n =?utf-8?b?c2lhXSBHYWppIMO8?=\r\n\r\n",
            "Subject: =?UTF-8?B?R2FqaSDDvA==?=\r\n\r\n",
        );
        check("Subject: [raha[rahasia]sia] x\r\n\r\n", "Subject: x\r\n\r\n");
        check("Subject: [raha\u{200b}sia] Gaji\r\n\r\n", "Subject: Gaji\r\n\r\n");
        check("Subject: Gaji\r\n\r\n[rahasia]", "Subject: Gaji\r\n\r\n[rahasia]");
    }
}
