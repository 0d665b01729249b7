//! What the demo sends, and what should become of it.

use super::DemoError;
use super::authority::{COLLEAGUE, OTHER_PARTNER, PARTNER, People, REVOKED, STAFF, STRANGER};
use super::letter::{altered, plain, signed};
use serde::Serialize;

/// Which way a mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the government to somebody.
    Outgoing,
    /// From somebody to the government.
    Incoming,
}

impl Direction {
    /// The heading over its scenarios.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Outgoing => "Mail on its way out                                   became        because",
            Self::Incoming => "Mail on its way in                                    became        because",
        }
    }
}

/// One mail and the expectation.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// Short name, also in the Message-ID.
    pub(super) name: &'static str,
    /// Which way it goes.
    pub(super) direction: Direction,
    /// What goes in, in a few words.
    pub(super) about: &'static str,
    /// Reverse-path; none is `<>`.
    pub(super) reverse_path: Option<&'static str>,
    /// What stands in `From`.
    pub(super) from: &'static str,
    /// The envelope's recipients.
    pub(super) to: Vec<&'static str>,
    /// The mail itself.
    pub(super) content: Vec<u8>,
    /// The outcome that is right.
    pub(super) expected: &'static str,
}

/// The scenarios of one direction, in the order in which they tell the story.
pub(super) fn all(people: &People, direction: Direction) -> Result<Vec<Scenario>, DemoError> {
    match direction {
        Direction::Outgoing => outgoing(people),
        Direction::Incoming => incoming(people),
    }
}

fn outgoing(people: &People) -> Result<Vec<Scenario>, DemoError> {
    let to = vec![PARTNER];
    let scenario = |name, about, reverse_path, from, content, expected| Scenario {
        name,
        direction: Direction::Outgoing,
        about,
        reverse_path,
        from,
        to: vec![PARTNER],
        content,
        expected,
    };
    let letter = |name, from, subject, text| plain(name, from, &to, subject, text);
    let own = letter("already-signed", COLLEAGUE, "Ditandatangani sendiri", "Surat ini sudah ditandatangani.");
    Ok(vec![
        Scenario {
            to: vec![PARTNER, OTHER_PARTNER],
            ..scenario(
                "signed",
                "Siti writes to two partners",
                Some(STAFF),
                STAFF,
                plain(
                    "signed",
                    STAFF,
                    &[PARTNER, OTHER_PARTNER],
                    "Undangan rapat",
                    "Rapat hari Senin, pukul 9. Salam — Siti",
                ),
                "signed",
            )
        },
        scenario(
            "forged-inside",
            "Budi writes with From: Siti",
            Some(COLLEAGUE),
            STAFF,
            letter("forged-inside", STAFF, "Transfer", "Mohon segera ditransfer."),
            "refused",
        ),
        scenario(
            "already-signed",
            "Budi's mail program has signed already",
            Some(COLLEAGUE),
            COLLEAGUE,
            signed("already-signed", &own, people.person(COLLEAGUE)?)?,
            "unchanged",
        ),
        scenario(
            "null-reverse-path",
            "a vacation notice, reverse-path <>",
            None,
            STAFF,
            letter("null-reverse-path", STAFF, "Sedang cuti", "Saya kembali hari Senin."),
            "plain",
        ),
    ])
}

fn incoming(people: &People) -> Result<Vec<Scenario>, DemoError> {
    let scenario = |name, about, from, content, expected| Scenario {
        name,
        direction: Direction::Incoming,
        about,
        reverse_path: Some(from),
        from,
        to: vec![STAFF],
        content,
        expected,
    };
    let text = "Nilai kontrak: Rp 100.000.000.";
    let letter = |name, from| plain(name, from, &[STAFF], "Kontrak", text);
    let by = |name: &'static str, from, signer| signed(name, &letter(name, from), people.person(signer)?);
    Ok(vec![
        scenario("incoming-valid", "Rina's signed mail", PARTNER, by("incoming-valid", PARTNER, PARTNER)?, "verified"),
        scenario(
            "incoming-altered",
            "the same, an amount changed on the way",
            PARTNER,
            altered(&by("incoming-altered", PARTNER, PARTNER)?, "100.000.000", "900.000.000"),
            "marked",
        ),
        scenario(
            "incoming-revoked",
            "Joko's signed mail, certificate revoked",
            REVOKED,
            by("incoming-revoked", REVOKED, REVOKED)?,
            "quarantined",
        ),
        scenario(
            "incoming-wrong-address",
            "From: Rina, signed with Dewi's certificate",
            PARTNER,
            by("incoming-wrong-address", PARTNER, OTHER_PARTNER)?,
            "marked",
        ),
        scenario(
            "incoming-untrusted",
            "signed under a root that nobody knows",
            STRANGER,
            by("incoming-untrusted", STRANGER, STRANGER)?,
            "marked",
        ),
        scenario(
            "incoming-plain",
            "Rina's mail without a signature",
            PARTNER,
            letter("incoming-plain", PARTNER),
            "plain",
        ),
    ])
}
