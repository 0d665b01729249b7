//! Delivery status notifications (RFC 3464 in RFC 6522), built with `mail-builder`: one builder for failed, delayed and
//! relayed mail.
//!
//! A notice holds text of other servers and of the mail that it is about: it is made printable first, so that nothing of it
//! can become a field or a part. Of the mail, the header section goes back; its content only where the sender asked for it,
//! and where he has it already.

use super::Transformed;
use super::mark::{date, line};
use crate::mail::{line_end, span};
use crate::smtp::data::{Form, form};
use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use std::fmt::Write;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It will not be tried again.
    Failed,
    /// It is tried further, at the latest until then.
    Delayed {
        /// When it is given up.
        until: Timestamp,
    },
    /// It went to a server that gives no notices (RFC 3461 section 5.2.2).
    Relayed,
}

impl Kind {
    /// `action-value` of RFC 3464 section 2.3.3.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed { .. } => "delayed",
            Self::Relayed => "relayed",
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::Failed => "Undelivered mail returned / Surat tidak terkirim",
            Self::Delayed { .. } => "Mail is delayed, still being tried / Surat tertunda, masih dicoba",
            Self::Relayed => "Mail was passed on / Surat telah diteruskan",
        }
    }

    /// The plain statement first, in both languages.
    fn statement(self) -> String {
        match self {
            Self::Failed => {
                "Your message could not be delivered to the recipients below. It will not be tried again.\r\n\
                 Surat Anda tidak dapat disampaikan kepada penerima di bawah ini dan tidak akan dicoba lagi.\r\n"
                    .to_owned()
            }
            Self::Delayed { until } => format!(
                "This is a warning only. Your message has not reached the recipients below yet.\r\n\
                 It is tried further until {until}; you need not send it again.\r\n\
                 Ini hanya pemberitahuan. Surat Anda belum sampai kepada penerima di bawah ini.\r\n\
                 Pengiriman masih dicoba hingga {until}; Anda tidak perlu mengirim ulang.\r\n",
                until = date(until)
            ),
            Self::Relayed => {
                "Your message for the recipients below was passed on to a mail server that gives no notices of\r\n\
                 delivery. You may hear no more of it.\r\n\
                 Surat Anda untuk penerima di bawah ini telah diteruskan ke server surat yang tidak mengirim\r\n\
                 pemberitahuan penyampaian. Mungkin tidak ada kabar lebih lanjut.\r\n"
                    .to_owned()
            }
        }
    }
}

/// One recipient, and what has become of him.
#[derive(Clone, Debug)]
pub struct Told {
    /// The address as it was given.
    pub recipient: String,
    /// `ORCPT=`, `addr-type ";" xtext`; made printable here.
    pub original: Option<String>,
    /// The enhanced status code, as `5.1.1`.
    pub status: String,
    /// `smtp; 550 …`; made printable here.
    pub diagnostic: Option<String>,
    /// The next hop that said so, if one did.
    pub remote_mta: Option<String>,
}

/// What a notice tells and to whom.
pub struct NoticeRequest<'a> {
    /// What has happened.
    pub kind: Kind,
    /// Our host name.
    pub hostname: &'a str,
    /// Whom to ask.
    pub postmaster: &'a str,
    /// Reverse-path of the mail, or the postmaster for a double bounce.
    pub to: &'a str,
    /// Queue id of the mail.
    pub original_id: &'a str,
    /// `ENVID=`, xtext; made printable here.
    pub envelope_id: Option<&'a str>,
    /// When the mail was received.
    pub arrived: Timestamp,
    /// When the notice is made.
    pub now: Timestamp,
    /// The original message.
    pub original: &'a [u8],
    /// How much of it goes back.
    pub returned: Returned,
    /// At least one.
    pub recipients: &'a [Told],
    /// Random; the boundary of the report.
    pub boundary: &'a str,
    /// `Message-ID` of the notice, without angle brackets.
    pub message_id: &'a str,
}

/// What of the original goes back. Fields that name blind-copy recipients never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The whole mail, where it is small enough and can be sent as it is; else as [`Self::Header`].
    Full,
    /// Every field: the reader has written it, or has it already.
    Header,
    /// `Message-ID` and `Date`: enough to find the mail again, for a reader outside who may not know its subject (C43).
    Identification,
}

impl Returned {
    fn takes(self, name: &[u8]) -> bool {
        let is = |wanted: &str| name.trim_ascii_end().eq_ignore_ascii_case(wanted.as_bytes());
        match self {
            Self::Full | Self::Header => !is("Bcc") && !is("Resent-Bcc"),
            Self::Identification => is("Message-ID") || is("Date"),
        }
    }
}

/// Octets of the original's header section that are returned. Its trace and subject stand far above this.
const HEADERS: usize = 32 << 10;
/// Octets of an original that is returned whole. More would make a notice a way to fill mailboxes; RFC 3461 section 4.3
/// leaves a limit to us.
const FULL: usize = 100 << 10;
/// Octets of a line without its end (RFC 5322 section 2.1.1).
const LINE: usize = 998;
/// Characters of one outside text. A reply of a server is at most some lines of 512 (RFC 5321 section 4.5.3.1.5).
const TEXT: usize = 900;

/// `multipart/report` from `MAILER-DAEMON`, `Auto-Submitted: auto-generated` (RFC 3834); the reverse-path is null, by the
/// caller's envelope.
pub fn notice(request: &NoticeRequest<'_>) -> Transformed {
    let report = ContentType::new("multipart/report")
        .attribute("report-type", "delivery-status")
        .attribute("boundary", request.boundary);
    // Quoted-printable would be wrong for what must stay readable by programs, so all parts but a returned mail are ASCII
    // already.
    let part = |kind: ContentType<'static>, text: Vec<u8>| MimePart::new(kind, text).transfer_encoding("7bit");
    let text = part(ContentType::new("text/plain").attribute("charset", "us-ascii"), explanation(request).into_bytes());
    let status = part(ContentType::new("message/delivery-status"), status(request).into_bytes());
    let whole = (request.returned == Returned::Full).then(|| whole(request.original)).flatten();
    let eight_bit = whole.as_ref().is_some_and(|whole| !whole.is_ascii());
    let returned = match whole {
        Some(whole) if eight_bit => MimePart::new(ContentType::new("message/rfc822"), whole).transfer_encoding("8bit"),
        Some(whole) => part(ContentType::new("message/rfc822"), whole),
        None => {
            let headers = returned_headers(request.original, request.returned);
            part(ContentType::new("text/rfc822-headers"), headers.into_bytes())
        }
    };
    let mut body = MimePart::new(report, vec![text, status, returned]);
    if eight_bit {
        body = body.transfer_encoding("8bit");
    }
    let mut bytes = Vec::new();
    MessageBuilder::new()
        .header("From", Raw::new(format!("MAILER-DAEMON <MAILER-DAEMON@{}>", printable(request.hostname))))
        .header("To", Raw::new(format!("<{}>", printable(request.to))))
        .header("Subject", Raw::new(request.kind.subject()))
        .header("Date", Raw::new(date(request.now)))
        .header("Message-ID", Raw::new(format!("<{}>", printable(request.message_id))))
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .body(body)
        .serialize(&mut bytes);
    Transformed { bytes: bytes.into() }
}

/// The part for people, the plain statement first.
fn explanation(request: &NoticeRequest<'_>) -> String {
    let mut text = request.kind.statement();
    for told in request.recipients {
        put(&mut text, format_args!("\r\n<{}>\r\n", printable(&told.recipient)));
        let diagnostic = told.diagnostic.as_deref().unwrap_or_default();
        put(&mut text, format_args!("    {} {}\r\n", printable(&told.status), printable(diagnostic)));
        if let Some(meaning) = meaning(&told.status) {
            put(&mut text, format_args!("    {meaning}\r\n"));
        }
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

/// What a sender can do about it, for codes that say little to people.
fn meaning(status: &str) -> Option<&'static str> {
    Some(match status {
        "5.3.4" | "5.2.3" => {
            "The message is larger than that server takes; sealing enlarges a message by about half.\r\n    \
             Surat terlalu besar bagi server tujuan; penyegelan memperbesar surat kira-kira separuhnya."
        }
        "5.4.7" => {
            "It was tried for as long as the administrator allows.\r\n    \
             Pengiriman telah dicoba selama waktu yang ditetapkan administrator."
        }
        _ => return None,
    })
}

/// The part for programs (RFC 3464 section 2): fields of the message, then of each recipient.
fn status(request: &NoticeRequest<'_>) -> String {
    let mut text = String::new();
    if let Some(envelope_id) = request.envelope_id {
        put(&mut text, format_args!("Original-Envelope-Id: {}\r\n", printable(&from_xtext(envelope_id))));
    }
    put(&mut text, format_args!("Reporting-MTA: dns; {}\r\n", printable(request.hostname)));
    put(&mut text, format_args!("X-Segel-Queue-ID: {}\r\n", printable(request.original_id)));
    put(&mut text, format_args!("Arrival-Date: {}\r\n", date(request.arrived)));
    for told in request.recipients {
        text.push_str("\r\n");
        if let Some((kind, address)) = told.original.as_deref().and_then(|original| original.split_once(';')) {
            put(
                &mut text,
                format_args!("Original-Recipient: {}; {}\r\n", printable(kind), printable(&from_xtext(address))),
            );
        }
        let kind = if told.recipient.is_ascii() { "rfc822" } else { "utf-8" };
        put(&mut text, format_args!("Final-Recipient: {kind}; {}\r\n", printable(&told.recipient)));
        put(&mut text, format_args!("Action: {}\r\n", request.kind.action()));
        put(&mut text, format_args!("Status: {}\r\n", status_code(&told.status, request.kind)));
        if let Some(remote) = &told.remote_mta {
            put(&mut text, format_args!("Remote-MTA: dns; {}\r\n", printable(remote)));
        }
        if let Some(text_of) = &told.diagnostic {
            put(&mut text, format_args!("Diagnostic-Code: {}\r\n", diagnostic(text_of)));
        }
        put(&mut text, format_args!("Last-Attempt-Date: {}\r\n", date(request.now)));
        if let Kind::Delayed { until } = request.kind {
            put(&mut text, format_args!("Will-Retry-Until: {}\r\n", date(until)));
        }
    }
    text
}

/// RFC 3461 section 4: `+` and two hexadecimal digits stand for an octet. What is no xtext stays as it is.
fn from_xtext(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.split_first_chunk::<2>().filter(|_| *first == b'+');
        let octet = digits.and_then(|(digits, _)| {
            let digit = |at: u8| char::from(at).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let [high, low] = *digits;
            Some(digit(high)? * 16 + digit(low)?)
        });
        match (octet, digits) {
            (Some(octet), Some((_, more))) => {
                octets.push(octet);
                rest = more;
            }
            _ => {
                octets.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
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
fn status_code(status: &str, kind: Kind) -> &str {
    let unknown = match kind {
        Kind::Failed => "5.0.0",
        Kind::Delayed { .. } => "4.0.0",
        Kind::Relayed => "2.0.0",
    };
    let mut parts = status.split('.');
    let digits = |part: Option<&str>| {
        part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit()))
    };
    let class = matches!(parts.next(), Some("2" | "4" | "5"));
    if class && digits(parts.next()) && digits(parts.next()) && parts.next().is_none() { status } else { unknown }
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

/// The whole original but for fields that name blind-copy recipients; `None` where it is too large for a notice, or can't
/// stand in one as it is: `message/rfc822` takes no encoding (RFC 2046 section 5.2.1).
fn whole(original: &[u8]) -> Option<Vec<u8>> {
    if original.len() > FULL || form(original) == Form::Unsendable {
        return None;
    }
    let mut out = Vec::with_capacity(original.len());
    let (mut at, mut taken) = (0, true);
    // The header section line by line; from the empty line on, everything.
    loop {
        let (end, next) = line_end(original, at);
        if end == at {
            break;
        }
        let content = span(original, at..end);
        if !matches!(content.first(), Some(b' ' | b'\t')) {
            taken = field_name(content).is_none_or(|name| Returned::Full.takes(name));
        }
        if taken {
            out.extend_from_slice(span(original, at..next));
        }
        at = next;
    }
    out.extend_from_slice(span(original, at..original.len()));
    let short = out.split(|octet| *octet == b'\n').all(|line| line.len() <= LINE + 1);
    short.then_some(out)
}

fn field_name(line: &[u8]) -> Option<&[u8]> {
    line.iter().position(|octet| *octet == b':').and_then(|colon| line.get(..colon))
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
            taken = field_name(content).is_some_and(|name| returned.takes(name));
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
mod tests;
