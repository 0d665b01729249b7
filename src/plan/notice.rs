//! Delivery status notifications (RFC 3464 in RFC 6522), built with `mail-builder`.
//!
//! A notice holds text of other servers and of the failed mail: it is made printable first, so that nothing of it can
//! become a field or a part. Only the header section of the failed mail goes back, never its content.

use super::Transformed;
use super::mark::{date, line};
use crate::mail::line_end;
use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use std::fmt::Write;

/// One recipient's failure.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The address as it was given.
    pub recipient: String,
    /// The enhanced status code, as `5.1.1`.
    pub status: String,
    /// `smtp; 550 …`; made printable here.
    pub diagnostic: String,
    /// The next hop that refused, if one did.
    pub remote_mta: Option<String>,
}

/// What a notice tells and to whom.
pub struct NoticeRequest<'a> {
    /// Our host name.
    pub hostname: &'a str,
    /// Whom to ask.
    pub postmaster: &'a str,
    /// Reverse-path of the failed mail, or the postmaster for a double bounce.
    pub to: &'a str,
    /// Queue id of the failed mail.
    pub original_id: &'a str,
    /// When the failed mail was received.
    pub arrived: Timestamp,
    /// When the notice is made.
    pub now: Timestamp,
    /// The original message; only of its header section anything is returned.
    pub original: &'a [u8],
    /// How much of it.
    pub returned: Returned,
    /// At least one.
    pub failures: &'a [Failure],
    /// Random; the boundary of the report.
    pub boundary: &'a str,
    /// `Message-ID` of the notice, without angle brackets.
    pub message_id: &'a str,
}

/// What of the original's header section goes back. Blind-copy recipients never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Every field: the reader has written it, or has it already.
    Header,
    /// `Message-ID` and `Date`: enough to find the mail again, for a reader outside who may not know its subject (C43).
    Identification,
}

impl Returned {
    fn takes(self, name: &[u8]) -> bool {
        let is = |wanted: &str| name.trim_ascii_end().eq_ignore_ascii_case(wanted.as_bytes());
        match self {
            Self::Header => !is("Bcc") && !is("Resent-Bcc"),
            Self::Identification => is("Message-ID") || is("Date"),
        }
    }
}

/// Octets of the original's header section that are returned. Its trace and subject stand far above this.
const HEADERS: usize = 32 << 10;
/// Characters of one outside text. A reply of a server is at most some lines of 512 (RFC 5321 section 4.5.3.1.5).
const TEXT: usize = 900;

/// `multipart/report` from `MAILER-DAEMON`, `Auto-Submitted: auto-generated` (RFC 3834); the reverse-path is null, by the
/// caller's envelope.
pub fn failure(request: &NoticeRequest<'_>) -> Transformed {
    let report = ContentType::new("multipart/report")
        .attribute("report-type", "delivery-status")
        .attribute("boundary", request.boundary);
    let headers = returned_headers(request.original, request.returned);
    // Quoted-printable would be wrong for what must stay readable by programs, so all parts are ASCII already.
    let part = |kind: &'static str, text: String| {
        MimePart::new(ContentType::new(kind), text.into_bytes()).transfer_encoding("7bit")
    };
    let text = MimePart::new(
        ContentType::new("text/plain").attribute("charset", "us-ascii"),
        explanation(request).into_bytes(),
    )
    .transfer_encoding("7bit");
    let parts = vec![text, part("message/delivery-status", status(request)), part("text/rfc822-headers", headers)];
    let mut bytes = Vec::new();
    MessageBuilder::new()
        .header("From", Raw::new(format!("MAILER-DAEMON <MAILER-DAEMON@{}>", printable(request.hostname))))
        .header("To", Raw::new(format!("<{}>", printable(request.to))))
        .header("Subject", Raw::new("Undelivered mail returned / Surat tidak terkirim"))
        .header("Date", Raw::new(date(request.now)))
        .header("Message-ID", Raw::new(format!("<{}>", printable(request.message_id))))
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .body(MimePart::new(report, parts))
        .serialize(&mut bytes);
    Transformed { bytes: bytes.into() }
}

/// The part for people, the plain statement first.
fn explanation(request: &NoticeRequest<'_>) -> String {
    let mut text = String::from(
        "Your message could not be delivered to the recipients below. It will not be tried again.\r\n\
         Surat Anda tidak dapat disampaikan kepada penerima di bawah ini dan tidak akan dicoba lagi.\r\n",
    );
    for failure in request.failures {
        put(&mut text, format_args!("\r\n<{}>\r\n", printable(&failure.recipient)));
        put(&mut text, format_args!("    {} {}\r\n", printable(&failure.status), printable(&failure.diagnostic)));
    }
    put(
        &mut text,
        format_args!(
            "\r\nThe message was received by {} under the id {}.\r\nQuestions / Pertanyaan: {}\r\n",
            printable(request.hostname),
            printable(request.original_id),
            printable(request.postmaster)
        ),
    );
    text
}

/// The part for programs (RFC 3464 section 2): fields of the message, then of each recipient.
fn status(request: &NoticeRequest<'_>) -> String {
    let mut text = String::new();
    put(&mut text, format_args!("Reporting-MTA: dns; {}\r\n", printable(request.hostname)));
    put(&mut text, format_args!("X-Segel-Queue-ID: {}\r\n", printable(request.original_id)));
    put(&mut text, format_args!("Arrival-Date: {}\r\n", date(request.arrived)));
    for failure in request.failures {
        let kind = if failure.recipient.is_ascii() { "rfc822" } else { "utf-8" };
        put(&mut text, format_args!("\r\nFinal-Recipient: {kind}; {}\r\n", printable(&failure.recipient)));
        put(&mut text, format_args!("Action: failed\r\nStatus: {}\r\n", status_code(&failure.status)));
        if let Some(remote) = &failure.remote_mta {
            put(&mut text, format_args!("Remote-MTA: dns; {}\r\n", printable(remote)));
        }
        put(&mut text, format_args!("Diagnostic-Code: {}\r\n", diagnostic(&failure.diagnostic)));
    }
    text
}

/// `diagnostic-code-type ";" text`; without a type it is ours.
fn diagnostic(text: &str) -> String {
    let text = printable(text);
    match text.split_once(';') {
        Some((kind, _))
            if !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-') =>
        {
            text
        }
        _ => format!("x-segel; {text}"),
    }
}

/// `DIGIT "." 1*3DIGIT "." 1*3DIGIT` (RFC 3464 section 2.3.4), or the code for an unknown failure.
fn status_code(status: &str) -> &str {
    let mut parts = status.split('.');
    let digits = |part: Option<&str>| {
        part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit()))
    };
    let class = matches!(parts.next(), Some("2" | "4" | "5"));
    if class && digits(parts.next()) && digits(parts.next()) && parts.next().is_none() { status } else { "5.0.0" }
}

/// ASCII on one line, without control characters; others as RFC 6533 section 3 writes them, `\x{E9}`.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in line(text).trim().chars() {
        if out.len() >= TEXT {
            break;
        }
        if character.is_ascii() {
            out.push(character);
        } else {
            put(&mut out, format_args!("\\x{{{:X}}}", u32::from(character)));
        }
    }
    out
}

/// The header section of the original as far as it goes back, ASCII and capped at a line's end.
fn returned_headers(original: &[u8], returned: Returned) -> String {
    let mut text = String::new();
    let mut taken = false;
    let mut at = 0;
    loop {
        let (end, next) = line_end(original, at);
        if end == at || text.len() + (end - at) > HEADERS {
            return text;
        }
        let content = original.get(at..end).unwrap_or_default();
        at = next;
        // A folded line belongs to the field above it; a line without a colon is no field.
        if !matches!(content.first(), Some(b' ' | b'\t')) {
            let colon = content.iter().position(|octet| *octet == b':');
            taken = colon.and_then(|colon| content.get(..colon)).is_some_and(|name| returned.takes(name));
        }
        if !taken {
            continue;
        }
        text.extend(content.iter().map(|octet| match octet {
            b'\t' | b' '..=b'~' => char::from(*octet),
            _ => '?',
        }));
        text.push_str("\r\n");
    }
}

/// Writing to a `String` cannot fail.
fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::{Failure, NoticeRequest, Returned, failure, returned_headers};
    use std::io::Write;
    use std::process::{Command, Stdio};

    const READER: &str = r#"
import sys, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
p = list(m.iter_parts())
s = p[1].get_payload()
print(m.get_content_type(), m["content-type"].params["report-type"], m["auto-submitted"], m["from"], m["to"], len(m.defects))
print([x.get_content_type() for x in p], [k.lower() for k in m.keys()].count("mime-version"))
print([sorted(x.keys()) for x in s])
print(s[1]["final-recipient"], "|", s[1]["status"], "|", s[1]["diagnostic-code"], "|", s[2]["final-recipient"], "|", s[2]["status"])
print(p[2].get_content().strip().replace("\r\n", "\n").splitlines())
"#;

    #[test]
    fn c43_blind_copies_never_go_back_and_a_stranger_reads_no_subject() {
        let original = b"Received: from a\r\n\tby b\r\nSubject: [rahasia]\r\n two\r\nMessage-Id: <1@x>\r\nbcc : a@b.example,\r\n\
            \tc@d.example\r\nResent-Bcc: e@f.example\r\nDate: today\r\n folded\r\nno field\r\nX: y\r\n\r\nSubject: body\r\n";
        for (returned, expected) in [
            (
                Returned::Header,
                "Received: from a\r\n\tby b\r\nSubject: [rahasia]\r\n two\r\nMessage-Id: <1@x>\r\nDate: today\r\n folded\r\nX: y\r\n",
            ),
            (Returned::Identification, "Message-Id: <1@x>\r\nDate: today\r\n folded\r\n"),
        ] {
            assert_eq!(returned_headers(original, returned), expected);
        }
    }

    #[test]
    fn c40_failure_is_a_report_that_others_read() {
        let request = NoticeRequest {
            hostname: "gerbang.example",
            postmaster: "postmaster@kabupaten.example",
            to: "siti@kabupaten.example",
            original_id: "abc234",
            arrived: "2026-11-22T03:00:00Z".parse().unwrap(),
            now: "2026-11-22T04:00:00Z".parse().unwrap(),
            original: b"Subject: halo\r\nX: \xffy\r\n\r\nsecret body\r\n",
            returned: Returned::Header,
            failures: &[
                Failure {
                    recipient: "tidak@ada.example".into(),
                    status: "5.1.1".into(),
                    diagnostic: "smtp; 550 no such user\r\nEvil: field\r\n\r\n--b".into(),
                    remote_mta: Some("mx.ada.example".into()),
                },
                Failure {
                    recipient: "用户@ada.example".into(),
                    status: "x".into(),
                    diagnostic: "expired".into(),
                    remote_mta: None,
                },
            ],
            boundary: "b123",
            message_id: "n1@gerbang.example",
        };
        let bytes = failure(&request).into_bytes();
        assert!(bytes.is_ascii());
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        let mut python =
            Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
        let expected = "\
multipart/report delivery-status auto-generated MAILER-DAEMON <MAILER-DAEMON@gerbang.example> siti@kabupaten.example 0
['text/plain', 'message/delivery-status', 'text/rfc822-headers'] 1
[['Arrival-Date', 'Reporting-MTA', 'X-Segel-Queue-ID'], ['Action', 'Diagnostic-Code', 'Final-Recipient', 'Remote-MTA', 'Status'], ['Action', 'Diagnostic-Code', 'Final-Recipient', 'Status']]
rfc822; tidak@ada.example | 5.1.1 | smtp; 550 no such user  Evil: field    --b | utf-8; \\x{7528}\\x{6237}@ada.example | 5.0.0
['Subject: halo', 'X: ?y']
";
        assert_eq!(
            output.replace("<siti@kabupaten.example>", "siti@kabupaten.example"),
            expected,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}
