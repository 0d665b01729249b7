//! Finding mail of ours in a report that returns it: what this gateway has opened must not leave in clear (C42).

use crate::limits::Limits;
use crate::mail::mime::{self, Encoding, Entity};
use crate::mail::span;

/// What [`super::segel_verdict`] says of a copy that was opened.
pub(super) const OPENED: &str = "opened=yes";

/// Whether `message`, in its header section, in its body or in a part that is encoded, holds a `Segel-Verdict` by
/// `hostname` that says that the mail below it was opened here: a bounce, a redirect or a forwarded mail.
pub fn returns_opened(message: &[u8], hostname: &str, limits: &Limits) -> bool {
    if holds_mark(message, hostname) {
        return true;
    }
    let Ok(structure) = mime::parse(message, limits) else { return false };
    // Bounded by `limits.mime_entities`.
    let mut waiting: Vec<&Entity> = vec![&structure.root];
    while let Some(entity) = waiting.pop() {
        waiting.extend(&entity.children);
        // What else is encoded is nothing that shows a header section.
        let is_text = matches!(entity.content_type.main.as_str(), "text" | "message");
        if is_text
            && matches!(entity.encoding, Encoding::Base64 | Encoding::QuotedPrintable)
            && structure.decode(message, entity).is_ok_and(|content| holds_mark(&content, hostname))
        {
            return true;
        }
    }
    false
}

/// Everything in `message` that has the form of a Message-ID, each once and at most 64: what a report is about stands in
/// its own fields or in those that it returns, also where somebody has taken ours away.
pub fn message_ids(message: &[u8]) -> Vec<String> {
    const MOST: usize = 64;
    /// Octets between the angle brackets. RFC 5322 section 2.1.1 wants lines below 998.
    const LONGEST: usize = 998;
    let mut ids: Vec<String> = Vec::new();
    for at in memchr::memchr_iter(b'<', message) {
        let rest = span(message, at..message.len().min(at + LONGEST));
        let Some(end) = memchr::memchr3(b'>', b' ', b'\n', rest) else { continue };
        let token = span(rest, 0..end + 1);
        if ids.len() < MOST
            && token.ends_with(b">")
            && token.contains(&b'@')
            && let Ok(id) = std::str::from_utf8(token)
            && !ids.iter().any(|known| known == id)
        {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The name may stand anywhere in a line: servers indent, quote and dress up what they return. What follows it within the
/// length of such a field decides.
fn holds_mark(text: &[u8], hostname: &str) -> bool {
    const NAME: &[u8] = b"egel-verdict";
    // All letters but the first are rarer than that.
    memchr::memchr2_iter(b'S', b's', text).any(|at| {
        let rest = span(text, at + 1..text.len());
        rest.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
            && is_opened(span(rest, NAME.len()..rest.len().min(NAME.len() + FIELD)), hostname)
    })
}

/// Octets behind the name in which the field's items stand, markup and quoting included.
const FIELD: usize = 2048;

fn is_opened(value: &[u8], hostname: &str) -> bool {
    let visible = |octet: &&u8| !matches!(**octet, b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'|');
    let value: Vec<u8> = value.iter().filter(visible).map(u8::to_ascii_lowercase).collect();
    let holds = |wanted: &[u8]| memchr::memmem::find(&value, wanted);
    match (holds(OPENED.as_bytes()), holds(format!("by={hostname}").as_bytes())) {
        (Some(opened), Some(by)) => opened < by,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{message_ids, returns_opened};
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
        check(&format!("\t{}\r\n", mark.replace("\r\n", "\r\n\t")), true);
        check(&format!("<p>{}</p>\r\n", mark.replace(";\r\n", ";<br>\r\n")), true);
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
        let redirected = format!("{mark}\r\nFrom: rina@mitra.example\r\n\r\ntext\r\n");
        assert!(returns_opened(redirected.as_bytes(), "gate.example", &Limits::default()));
    }

    #[test]
    fn c42_what_a_report_is_about_is_found_by_its_message_id() {
        let report = b"References: <a@b.example>\r\n <c@d.example>\r\n\r\n<p>x</p> <no sign> Message-ID: <a@b.example>\r\n<e@\nf>";
        assert_eq!(message_ids(report), ["<a@b.example>", "<c@d.example>"]);
        let many: String = (0..100).map(|number| format!("<{number}@b.example>")).collect();
        assert_eq!(message_ids(many.as_bytes()).len(), 64);
    }
}
