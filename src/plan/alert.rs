//! What the security team is told when mail is held: which one, why, and what can be done. Never its content.
//!
//! Nothing of the held mail goes in but its envelope, its `From` and the reason codes: no subject, no names of attachments,
//! no text of anybody's certificate. In Indonesian first, then in English.

use super::Transformed;
use super::mark::{date, line};
use crate::reason::Reason;
use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use std::fmt::Write;

/// One held mail.
#[derive(Clone, Debug)]
pub struct HeldMail {
    /// Queue id.
    pub id: String,
    /// It came from outside.
    pub incoming: bool,
    /// `quarantine`, `signer-revoked` …
    pub class: &'static str,
    /// Why.
    pub reasons: Vec<Reason>,
    /// MAIL FROM; empty for the null reverse-path.
    pub reverse_path: String,
    /// The mailbox in `From`, if there is exactly one.
    pub from: Option<String>,
    /// For whom it is held.
    pub recipients: Vec<String>,
    /// When it was taken.
    pub received: Timestamp,
}

/// What is told and to whom.
#[derive(Debug)]
pub struct AlertRequest<'a> {
    /// Our host name.
    pub hostname: &'a str,
    /// The team.
    pub to: &'a [String],
    /// When it is told.
    pub now: Timestamp,
    /// At least one.
    pub held: &'a [HeldMail],
    /// How many more there are than are named.
    pub more: usize,
    /// `Message-ID`, without angle brackets.
    pub message_id: &'a str,
}

/// Recipients of one mail that are named; a mail may have a thousand.
const RECIPIENTS: usize = 20;
/// Characters of one text from outside: an address has 320 at most.
const TEXT: usize = 400;

/// `text/plain` from `MAILER-DAEMON`, `Auto-Submitted: auto-generated` (RFC 3834); the reverse-path is null, by the
/// caller's envelope.
pub fn alert(request: &AlertRequest<'_>) -> Transformed {
    let subject = match request.held {
        [one] if request.more == 0 => format!("Surat ditahan / Mail held: {}", printable(&one.id)),
        some => {
            let count = some.len().saturating_add(request.more);
            format!("{count} surat ditahan / {count} mails held")
        }
    };
    message(request, addresses(request.to), subject, body(request))
}

fn addresses(to: &[String]) -> String {
    to.iter().map(|to| format!("<{}>", printable(to))).collect::<Vec<_>>().join(",\r\n\t")
}

/// An emergency bypass that has begun or ended.
#[derive(Debug)]
pub struct BypassNotice<'a> {
    /// Our host name.
    pub hostname: &'a str,
    /// Who hears of it.
    pub to: &'a [String],
    /// When they are told.
    pub now: Timestamp,
    /// `Message-ID`, without angle brackets.
    pub message_id: &'a str,
    /// One own domain; none: all.
    pub domain: Option<&'a str>,
    /// When it began.
    pub started: &'a str,
    /// When it ends by itself.
    pub until: &'a str,
    /// Who started it.
    pub operator: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Who ended it, or `time`; none: it has just begun.
    pub ended_by: Option<&'a str>,
}

/// The notice about an emergency bypass, in both languages.
pub fn bypass(notice: &BypassNotice<'_>) -> Transformed {
    let host = printable(notice.hostname);
    let (subject, first) = match notice.ended_by {
        None => (
            "Penandatanganan dimatikan sementara / Signing is switched off for a while",
            format!(
                "Surat keluar dari gerbang {host} untuk sementara tidak ditandatangani. Enkripsi tetap berlaku.\r\n\
                 Mail that leaves the gateway {host} is not signed for a while. Encryption stays in force.\r\n"
            ),
        ),
        Some(_) => (
            "Penandatanganan berlaku lagi / Signing is in force again",
            format!(
                "Surat keluar dari gerbang {host} ditandatangani lagi.\r\n\
                 Mail that leaves the gateway {host} is signed again.\r\n"
            ),
        ),
    };
    let mut text = first;
    let domain = notice.domain.map_or_else(|| "semua / all".to_owned(), printable);
    put(&mut text, format_args!("\r\nDomain: {domain}\r\nMulai / Began: {}\r\n", printable(notice.started)));
    put(
        &mut text,
        format_args!("Oleh / By: {}\r\nAlasan / Why: {}\r\n", printable(notice.operator), printable(notice.reason)),
    );
    match notice.ended_by {
        None => put(
            &mut text,
            format_args!(
                "Berakhir sendiri / Ends by itself: {}\r\n\r\nMengakhiri sekarang / To end it now:\r\n    segel bypass stop\r\n",
                printable(notice.until)
            ),
        ),
        Some("time") => put(&mut text, format_args!("Berakhir / Ended: waktunya habis / its time was over\r\n")),
        Some(by) => put(&mut text, format_args!("Diakhiri oleh / Ended by: {}\r\n", printable(by))),
    }
    text.push_str("\r\nSurat yang lewat tanpa tanda tangan / Mail that passed unsigned:\r\n    segel audit search --event signing-bypassed\r\n");
    letter(notice.hostname, notice.message_id, notice.now, addresses(notice.to), subject.to_owned(), text)
}

pub(super) fn message(request: &AlertRequest<'_>, to: String, subject: String, body: String) -> Transformed {
    letter(request.hostname, request.message_id, request.now, to, subject, body)
}

fn letter(hostname: &str, message_id: &str, now: Timestamp, to: String, subject: String, body: String) -> Transformed {
    let text = ContentType::new("text/plain").attribute("charset", "us-ascii");
    let mut bytes = Vec::new();
    MessageBuilder::new()
        .header("From", Raw::new(format!("MAILER-DAEMON <MAILER-DAEMON@{}>", printable(hostname))))
        .header("To", Raw::new(to))
        .header("Subject", Raw::new(subject))
        .header("Date", Raw::new(date(now)))
        .header("Message-ID", Raw::new(format!("<{}>", printable(message_id))))
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .body(MimePart::new(text, body.into_bytes()).transfer_encoding("7bit"))
        .serialize(&mut bytes);
    Transformed { bytes: bytes.into() }
}

/// What recipients inside are told, if anything: that a mail to them is held, whose it claims to be, and whom to ask. It
/// names no recipient, so that nobody learns of another.
pub fn to_recipients(request: &AlertRequest<'_>, postmaster: &str) -> Transformed {
    let mut text = String::from(
        "Sebuah surat untuk Anda ditahan oleh gerbang surat dan belum disampaikan.\r\n\
         A mail to you is held by the mail gateway and was not delivered.\r\n",
    );
    for held in request.held {
        let from = held.from.as_deref().map_or_else(|| "-".to_owned(), printable);
        put(&mut text, format_args!("\r\nDari / From: {from}\r\nWaktu / When: {}\r\n", date(held.received)));
        put(&mut text, format_args!("Nomor / Id: {}\r\n", printable(&held.id)));
    }
    put(&mut text, format_args!("\r\nPertanyaan / Questions: {}\r\n", printable(postmaster)));
    let subject = "Surat untuk Anda ditahan / A mail to you is held".to_owned();
    message(request, "undisclosed-recipients:;".to_owned(), subject, text)
}

fn body(request: &AlertRequest<'_>) -> String {
    let mut text = format!(
        "Gerbang surat {host} menahan surat di bawah ini. Isinya tidak disertakan.\r\n\
         The mail gateway {host} holds the mail below. Its content is not included.\r\n",
        host = printable(request.hostname)
    );
    for held in request.held {
        one(&mut text, held);
    }
    if request.more > 0 {
        put(&mut text, format_args!("\r\n... dan {0} lagi / and {0} more.\r\n", request.more));
    }
    text.push_str("\r\nSemua yang ditahan / All that is held:\r\n    segel quarantine list\r\n");
    text
}

fn one(text: &mut String, held: &HeldMail) {
    let id = printable(&held.id);
    put(text, format_args!("\r\n== {id}\r\n"));
    put(text, format_args!("Waktu / When: {}\r\n", date(held.received)));
    let direction = if held.incoming { "masuk / incoming" } else { "keluar / outgoing" };
    put(text, format_args!("Arah / Direction: {direction}\r\nJenis / Held as: {}\r\n", held.class));
    put(text, format_args!("MAIL FROM: <{}>\r\n", printable(&held.reverse_path)));
    let from = held.from.as_deref().map_or_else(|| "-".to_owned(), printable);
    put(text, format_args!("From: {from}\r\n"));
    for to in held.recipients.iter().take(RECIPIENTS) {
        put(text, format_args!("Penerima / Recipient: <{}>\r\n", printable(to)));
    }
    if let Some(more @ 1..) = held.recipients.len().checked_sub(RECIPIENTS) {
        put(text, format_args!("... dan {more} penerima lagi / and {more} more\r\n"));
    }
    text.push_str("Alasan / Why:\r\n");
    if held.reasons.is_empty() {
        text.push_str("    aturan dalam policy.toml / a rule of policy.toml\r\n");
    }
    for reason in &held.reasons {
        let (indonesian, english) = words(*reason);
        put(text, format_args!("    {reason}: {indonesian} / {english}\r\n"));
    }
    let accept: String = held.reasons.iter().map(|reason| format!(" --accept {reason}")).collect();
    put(
        text,
        format_args!(
            "Lihat / Look at it:\r\n    segel quarantine show {id}\r\n    segel quarantine evidence {id}\r\n\
             Tindakan / What can be done:\r\n    segel quarantine release {id} --all --reason TEXT{accept}\r\n    \
             segel quarantine destroy {id} --reason TEXT\r\n"
        ),
    );
    if !held.incoming {
        put(text, format_args!("    segel quarantine reject {id} --reason TEXT\r\n"));
    }
}

/// What a code means, in few words: Indonesian, English.
const fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Altered => ("isi berubah setelah ditandatangani", "changed after it was signed"),
        Reason::BadSignature => ("tanda tangan tidak cocok", "the signature does not verify"),
        Reason::Untrusted => ("penerbit sertifikat tidak dipercaya", "no path to a trust anchor"),
        Reason::Expired => ("sertifikat kedaluwarsa", "a certificate has expired"),
        Reason::NotYetValid => ("sertifikat belum berlaku", "a certificate is not yet valid"),
        Reason::Revoked => ("sertifikat dicabut", "a certificate is revoked"),
        Reason::OnHold => ("sertifikat ditangguhkan", "a certificate is on hold"),
        Reason::RevocationUnknown => ("status pencabutan tidak diketahui", "the revocation status is unknown"),
        Reason::NotForMail => ("sertifikat bukan untuk surat", "the certificate is not for mail"),
        Reason::NoAddress => ("sertifikat tanpa alamat surat", "the certificate names no address"),
        Reason::AddressMismatch => ("sertifikat milik alamat lain", "the certificate names another address"),
        Reason::SignedBySender => ("ditandatangani oleh Sender, bukan From", "signed by Sender, not by From"),
        Reason::WeakAlgorithm => ("algoritme lemah", "a weak algorithm"),
        Reason::Partial => ("hanya sebagian yang ditandatangani", "only a part is signed"),
        Reason::Ambiguous => ("dapat dibaca dengan dua cara", "can be read in two ways"),
        Reason::Malformed => ("susunan surat rusak", "the structure is broken"),
        Reason::Unsupported => ("bentuk yang tidak didukung", "not supported"),
        Reason::TooComplex => ("terlalu rumit untuk diperiksa", "too complex to be checked"),
        Reason::Undecryptable => ("tidak dapat dibuka", "cannot be decrypted"),
        Reason::IntegrityUnproven => ("keutuhan isi tidak terbukti", "nothing proves that it was not changed"),
        Reason::PolicyConstraint => ("melanggar batasan kebijakan sertifikat", "violates a certificate constraint"),
        Reason::BlockedLocally => ("sertifikat diblokir di sini", "the certificate is blocked here"),
        Reason::KeyLocked => ("kunci pemilik terkunci", "the owner's key is locked"),
        Reason::NoRecipientCertificate => {
            ("tidak ada sertifikat penerima yang dapat dipakai", "no usable certificate of the recipient")
        }
        Reason::NoSigningKey => ("pengirim tanpa kunci", "the sender has no usable key"),
        Reason::SenderNotAuthorised => {
            ("memakai alamat domain sendiri tanpa bukti", "claims an own address without proof")
        }
    }
}

/// ASCII on one line, without control characters; others as RFC 6533 section 3 writes them.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in line(text).trim().chars() {
        if out.len() >= TEXT {
            break;
        }
        match character.is_ascii() {
            true => out.push(character),
            false => put(&mut out, format_args!("\\x{{{:X}}}", u32::from(character))),
        }
    }
    out
}

/// Writing to a `String` cannot fail.
pub(super) fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::{AlertRequest, HeldMail, alert, words};
    use crate::reason::Reason;

    fn held(id: &str) -> HeldMail {
        HeldMail {
            id: id.to_owned(),
            incoming: true,
            class: "quarantine",
            reasons: vec![Reason::Revoked],
            reverse_path: "joko@mitra.example\r\nEvil: field".to_owned(),
            from: Some("用户@mitra.example".to_owned()),
            recipients: (0..25).map(|number| format!("staf{number}@own.example")).collect(),
            received: "2026-11-22T03:00:00Z".parse().unwrap(),
        }
    }

    fn text(held: &[HeldMail], more: usize) -> String {
        let to = ["keamanan@own.example".to_owned(), "csirt@own.example".to_owned()];
        let now = "2026-11-22T03:00:01Z".parse().unwrap();
        let request = AlertRequest { hostname: "gw.own.example", to: &to, now, held, more, message_id: "1@gw" };
        String::from_utf8(alert(&request).into_bytes().to_vec()).unwrap()
    }

    #[test]
    fn p32_says_which_mail_and_why_in_two_languages() {
        let one = text(&[held("abc")], 0);
        assert!(one.is_ascii() && !one.contains("\nEvil:"), "{one}");
        for part in [
            "Subject: Surat ditahan / Mail held: abc\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "To: <keamanan@own.example>,\r\n\t<csirt@own.example>\r\n",
            "revoked: sertifikat dicabut / a certificate is revoked\r\n",
            "Penerima / Recipient: <staf19@own.example>\r\n... dan 5 penerima lagi",
            "segel quarantine release abc --all --reason TEXT --accept revoked\r\n",
            "\\x{7528}",
        ] {
            assert!(one.contains(part), "{part} in {one}");
        }
        assert!(one.lines().all(|line| line.len() < 998));
        let many = text(&[held("abc"), held("def")], 7);
        assert!(many.contains("Subject: 9 surat ditahan / 9 mails held\r\n") && many.contains("and 7 more"), "{many}");
    }

    #[test]
    fn every_reason_has_words() {
        for reason in Reason::ALL {
            let (indonesian, english) = words(reason);
            assert!(!indonesian.is_empty() && !english.is_empty() && indonesian.is_ascii() && english.is_ascii());
        }
    }
}
