//! When certificates end: which warnings are due, and the mail that gives them. In Indonesian first, then in English.

use super::Transformed;
use super::alert::{AlertRequest, message, printable, put};
use super::mark::date;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Days before the end at which a warning is given; the first one that is not below the days left counts.
pub const STEPS: [u16; 6] = [1, 7, 14, 30, 60, 90];
/// The step of a certificate that has ended.
pub const ENDED: u16 = 0;
/// What ended longer ago than this and was never told of is history: old keys are kept for ever, to open old mail.
const HISTORY: Duration = Duration::from_secs(30 * 86_400);
/// Certificates that one mail describes.
const NAMED: usize = 200;
/// Addresses of one certificate that are named.
const ADDRESSES: usize = 10;

/// What a certificate is to this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It signs or opens mail of an own mailbox.
    Own,
    /// It stands above an own one.
    OwnIssuer,
    /// TLS of the listeners.
    Server,
    /// A trust anchor.
    Anchor,
    /// An operator has taken it in for a correspondent.
    Partner,
}

impl Role {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::OwnIssuer => "own-issuer",
            Self::Server => "server",
            Self::Anchor => "anchor",
            Self::Partner => "partner",
        }
    }

    /// From how many days before its end on anybody is told: nobody can do anything about a partner's earlier.
    const fn first_step(self) -> u16 {
        match self {
            Self::Partner => 30,
            _ => 90,
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Own => ("sertifikat sendiri", "own certificate"),
            Self::OwnIssuer => ("penerbit sertifikat sendiri", "issuer of own certificates"),
            Self::Server => ("sertifikat TLS listener", "TLS certificate of the listeners"),
            Self::Anchor => ("jangkar kepercayaan", "trust anchor"),
            Self::Partner => ("sertifikat mitra", "a partner's certificate"),
        }
    }

    /// What to do.
    const fn advice(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Own => (
                "Minta sertifikat baru dari penerbit, lalu masukkan. Kunci lama tetap membuka surat lama.",
                "Ask the CA for a new certificate and import it. The old key stays and opens old mail.",
                "segel key import --password-file FILE NEW.p12",
            ),
            Self::OwnIssuer => (
                "Sesudah itu sertifikat di bawahnya tidak berlaku. Minta sertifikat baru dari penerbit yang baru.",
                "No certificate below it holds after that. Ask for new ones from the CA's successor.",
                "segel key list",
            ),
            Self::Server => (
                "Ganti berkas yang disebut di [tls], lalu muat ulang.",
                "Replace the files that [tls] names, then reload.",
                "segel reload",
            ),
            Self::Anchor => (
                "Sesudah itu tidak ada tanda tangan di bawahnya yang terbukti. Masukkan penggantinya.",
                "No signature below it is proven after that. Take its successor in.",
                "segel trust import FILE",
            ),
            Self::Partner => (
                "Sesudah itu surat kepadanya tidak dapat dienkripsi. Minta sertifikat barunya.",
                "Mail to them can't be encrypted after that. Ask for their new one.",
                "segel cert import FILE",
            ),
        }
    }
}

/// A certificate whose end is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// What it is here.
    pub role: Role,
    /// Its subject, RFC 4514.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// The mailboxes it is for; those that have a successor are left out.
    pub addresses: Vec<String>,
    /// First digits of its SHA-256, as the listings show it.
    pub id: String,
    /// Its end.
    pub not_after: Timestamp,
}

/// The step that a certificate is at: days are those of the calendar in UTC, so that all of a day's come at once.
pub fn step(role: Role, not_after: Timestamp, now: Timestamp) -> Option<u16> {
    if not_after <= now {
        return Some(ENDED);
    }
    let days = days_left(not_after, now);
    STEPS.into_iter().find(|step| days <= i64::from(*step)).filter(|step| *step <= role.first_step())
}

/// Whether it is told now that was last told of at `told`.
pub fn is_due(step: u16, told: Option<u16>, not_after: Timestamp, now: Timestamp) -> bool {
    match told {
        Some(told) => step < told,
        None if step == ENDED => not_after.checked_add(HISTORY).is_ok_and(|history| now < history),
        None => true,
    }
}

/// Calendar days in UTC.
fn days_left(not_after: Timestamp, now: Timestamp) -> i64 {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let span = day(not_after).since((jiff::Unit::Day, day(now)));
    span.map_or(i64::MAX, |span| i64::from(span.get_days()))
}

/// Who is told, and of what.
#[derive(Debug)]
pub struct ExpiryRequest<'a> {
    /// Our host name.
    pub hostname: &'a str,
    /// The addressees.
    pub to: &'a [String],
    /// When.
    pub now: Timestamp,
    /// At least one; the one that ends first comes first.
    pub expiring: &'a [Expiring],
    /// `Message-ID`, without angle brackets.
    pub message_id: &'a str,
}

/// One mail for all that is due today.
pub fn notice(request: &ExpiryRequest<'_>) -> Transformed {
    let ended = request.expiring.iter().filter(|one| one.not_after <= request.now).count();
    let count = request.expiring.len();
    let subject = match ended {
        0 => format!("{count} sertifikat akan berakhir / {count} certificates will expire"),
        _ => format!(
            "{ended} sertifikat telah berakhir, {0} akan berakhir / {ended} certificates have expired, {0} will",
            count - ended
        ),
    };
    let mut text = format!(
        "Gerbang surat {host} memberitahukan masa berlaku sertifikat di bawah ini.\r\n\
         The mail gateway {host} reports the end of the certificates below.\r\n",
        host = printable(request.hostname)
    );
    for one in request.expiring.iter().take(NAMED) {
        describe(&mut text, one, request.now);
    }
    if let Some(more @ 1..) = count.checked_sub(NAMED) {
        put(&mut text, format_args!("\r\n... dan {more} lagi / and {more} more.\r\n"));
    }
    text.push_str(
        "\r\nPeringatan datang 90, 60, 30, 14, 7 dan 1 hari sebelumnya, dan tidak lagi sesudah penggantinya ada.\r\n\
         Warnings come 90, 60, 30, 14, 7 and 1 days before, and no more once there is a successor.\r\n\
         Semua / All:\r\n    segel key list\r\n",
    );
    let to = request.to.iter().map(|to| format!("<{}>", printable(to))).collect::<Vec<_>>().join(",\r\n\t");
    let request = AlertRequest {
        hostname: request.hostname,
        to: request.to,
        now: request.now,
        held: &[],
        more: 0,
        message_id: request.message_id,
    };
    message(&request, to, subject, text)
}

fn describe(text: &mut String, one: &Expiring, now: Timestamp) {
    let (indonesian, english) = one.role.words();
    put(text, format_args!("\r\n== {indonesian} / {english}\r\n"));
    let (days_id, days_en) = match days_left(one.not_after, now) {
        _ if one.not_after <= now => ("telah berakhir".to_owned(), "has expired".to_owned()),
        0 => ("hari ini".to_owned(), "today".to_owned()),
        1 => ("besok".to_owned(), "tomorrow".to_owned()),
        days => (format!("{days} hari lagi"), format!("in {days} days")),
    };
    put(text, format_args!("Berakhir / Ends: {} ({days_id} / {days_en})\r\n", date(one.not_after)));
    for address in one.addresses.iter().take(ADDRESSES) {
        put(text, format_args!("Alamat / Address: <{}>\r\n", printable(address)));
    }
    if let Some(more @ 1..) = one.addresses.len().checked_sub(ADDRESSES) {
        put(text, format_args!("... dan {more} alamat lagi / and {more} more\r\n"));
    }
    put(text, format_args!("Pemilik / Subject: {}\r\n", printable(&one.subject)));
    put(text, format_args!("Penerbit / Issuer: {}\r\n", printable(&one.issuer)));
    put(text, format_args!("Nomor seri / Serial: {}\r\nId: {}\r\n", printable(&one.serial), printable(&one.id)));
    let (indonesian, english, command) = one.role.advice();
    put(text, format_args!("Tindakan / What to do:\r\n    {indonesian}\r\n    {english}\r\n    {command}\r\n"));
}

#[cfg(test)]
mod tests {
    use super::{ENDED, Expiring, ExpiryRequest, Role, is_due, notice, step};
    use jiff::Timestamp;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn p26_each_step_is_given_once_and_after_a_pause_the_nearest_only() {
        let end = at("2026-12-31T12:00:00Z");
        for (now, role, expected) in [
            ("2026-10-01T23:59:59Z", Role::Own, None),
            ("2026-10-02T00:00:00Z", Role::Own, Some(90)),
            ("2026-10-02T00:00:00Z", Role::Partner, None),
            ("2026-11-01T12:00:01Z", Role::Own, Some(60)),
            ("2026-12-01T00:00:00Z", Role::Partner, Some(30)),
            ("2026-12-17T00:00:00Z", Role::Anchor, Some(14)),
            ("2026-12-24T00:00:00Z", Role::Server, Some(7)),
            ("2026-12-29T23:00:00Z", Role::Own, Some(7)),
            ("2026-12-30T00:00:00Z", Role::Own, Some(1)),
            ("2026-12-31T11:59:59Z", Role::Own, Some(1)),
            ("2026-12-31T12:00:00Z", Role::Own, Some(ENDED)),
            ("2027-12-31T12:00:00Z", Role::OwnIssuer, Some(ENDED)),
        ] {
            assert_eq!(step(role, end, at(now)), expected, "{now}");
        }
        for (step, told, now, expected) in [
            (90, None, "2026-10-02T00:00:00Z", true),
            (90, Some(90), "2026-10-03T00:00:00Z", false),
            // The gateway stood still from 90 to 7: one warning, and not those between.
            (7, Some(90), "2026-12-24T00:00:00Z", true),
            (7, Some(7), "2026-12-25T00:00:00Z", false),
            (ENDED, Some(1), "2026-12-31T12:00:00Z", true),
            (ENDED, Some(ENDED), "2027-01-01T00:00:00Z", false),
            // A key of long ago that is imported to open old mail.
            (ENDED, None, "2027-03-01T00:00:00Z", false),
            (ENDED, None, "2027-01-02T00:00:00Z", true),
        ] {
            assert_eq!(is_due(step, told, end, at(now)), expected, "{step} {told:?} {now}");
        }
    }

    #[test]
    fn p26_the_mail_says_whose_when_and_what_to_do_in_two_languages() {
        let one = |role, not_after: &str| Expiring {
            role,
            subject: "CN=Siti\r\nEvil: field".to_owned(),
            issuer: "CN=Penerbit".to_owned(),
            serial: "0a1b".to_owned(),
            addresses: vec!["siti@own.example".to_owned()],
            id: "0123456789abcdef".to_owned(),
            not_after: at(not_after),
        };
        let expiring = [one(Role::Own, "2026-11-22T00:00:00Z"), one(Role::Anchor, "2026-12-22T00:00:00Z")];
        let to = ["postmaster@own.example".to_owned()];
        let now = at("2026-11-22T03:00:00Z");
        let request =
            ExpiryRequest { hostname: "gw.own.example", to: &to, now, expiring: &expiring, message_id: "1@gw" };
        let text = String::from_utf8(notice(&request).into_bytes().to_vec()).unwrap();
        assert!(text.is_ascii() && !text.contains("\nEvil:"), "{text}");
        for part in [
            "Subject: 1 sertifikat telah berakhir, 1 akan berakhir / 1 certificates have\r\n expired, 1 will\r\n",
            "To: <postmaster@own.example>\r\n",
            "telah berakhir / has expired",
            "30 hari lagi / in 30 days",
            "Alamat / Address: <siti@own.example>\r\n",
            "Nomor seri / Serial: 0a1b\r\n",
            "segel key import",
            "segel trust import",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.lines().all(|line| line.len() < 998));
    }
}
