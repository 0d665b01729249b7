//! Finding mail of ours in a report that returns it: what this gateway has opened must not leave in clear (C42).

use crate::limits::Limits;
use crate::mail::header::lenient::{Fields, name_and_value};
use crate::mail::mime::{self, Encoding, Entity};
use crate::mail::span;
use memchr::memchr_iter;

/// What [`super::segel_verdict`] says of a copy that was opened.
pub(super) const OPENED: &str = "opened=yes";

/// Whether the body of `message`, as it is or in a part that is encoded, holds a `Segel-Verdict` by `hostname` that says
/// that the mail below it was opened here.
pub fn returns_opened(message: &[u8], hostname: &str, limits: &Limits) -> bool {
    let header = Fields::of(message).end();
    if holds_mark(span(message, header..message.len()), hostname) {
        return true;
    }
    let Ok(structure) = mime::parse(message, limits) else { return false };
    // Bounded by `limits.mime_entities`.
    let mut waiting: Vec<&Entity> = vec![&structure.root];
    while let Some(entity) = waiting.pop() {
        waiting.extend(&entity.children);
        if matches!(entity.encoding, Encoding::Base64 | Encoding::QuotedPrintable)
            && structure.decode(message, entity).is_ok_and(|content| holds_mark(&content, hostname))
        {
            return true;
        }
    }
    false
}

fn holds_mark(text: &[u8], hostname: &str) -> bool {
    const NAME: &[u8] = b"segel-verdict";
    let starts = std::iter::once(0).chain(memchr_iter(b'\n', text).map(|at| at + 1));
    for start in starts {
        let rest = span(text, start..text.len());
        // Some servers quote what they return.
        let quoted = rest.iter().take_while(|octet| matches!(octet, b'>' | b' ' | b'|')).count();
        let rest = span(rest, quoted..rest.len());
        if rest.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) && is_opened(rest, hostname) {
            return true;
        }
    }
    false
}

fn is_opened(field: &[u8], hostname: &str) -> bool {
    let Some(whole) = Fields::of(field).next() else { return false };
    let Some((_, value)) = name_and_value(span(field, whole)) else { return false };
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    let items: Vec<&str> = value.split(';').map(str::trim).collect();
    items.contains(&OPENED) && items.iter().any(|item| item.strip_prefix("by=") == Some(hostname))
}

#[cfg(test)]
mod tests {
    use super::returns_opened;
    use crate::limits::Limits;

    #[test]
    fn c42_a_returned_mail_that_was_opened_is_recognised() {
        let check = |body: &str, expected: bool| {
            let report = format!("From: a@b\r\nContent-Type: multipart/report; boundary=b\r\n\r\n{body}");
            assert_eq!(returns_opened(report.as_bytes(), "gate.example", &Limits::default()), expected, "{body}");
        };
        let mark = "Segel-Verdict: valid; encrypted=yes;\r\n opened=yes; id=x; by=gate.example";
        check(&format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{mark}\r\nSubject: x\r\n\r\ny\r\n--b--\r\n"), true);
        check(&format!("{}\r\n\r\n", mark.to_uppercase().replace("GATE.EXAMPLE", "gate.example")), true);
        check(&format!("> {mark}\r\n"), true);
        let encoded = data_encoding::BASE64.encode(format!("{mark}\r\nSubject: x\r\n").as_bytes());
        check(
            &format!(
                "--b\r\nContent-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--b--\r\n"
            ),
            true,
        );
        check("Segel-Verdict: valid; encrypted=yes; id=x; by=gate.example\r\n", false);
        check("Segel-Verdict: valid; opened=yes; id=x; by=other.example\r\n", false);
        check("nothing\r\n", false);
    }
}
