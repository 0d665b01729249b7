//! What the demo sends, and what should become of it.

use super::DemoError;
use super::authority::{
    COLLEAGUE, HIDDEN_PARTNER, KEYLESS, OTHER_PARTNER, PARTNER, People, REVOKED, STAFF, STRANGER, UNCERTIFIED,
};
use super::letter::{altered, encrypted, plain, signed};
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

/// A part of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Mail leaves signed.
    Signing,
    /// Signatures of others are judged, and their certificates learned.
    Verifying,
    /// Mail leaves encrypted.
    Encrypting,
    /// Encrypted mail is opened for whom it is meant.
    Decrypting,
}

impl Act {
    /// In the order of the story: what is learned in one is used in a later one.
    pub(super) const ALL: [Self; 4] = [Self::Signing, Self::Verifying, Self::Encrypting, Self::Decrypting];

    /// The heading over its scenarios.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Signing => "Mail on its way out: signed",
            Self::Verifying => "Mail on its way in: verified",
            Self::Encrypting => "Mail on its way out: encrypted",
            Self::Decrypting => "Mail on its way in: decrypted",
        }
    }

    const fn direction(self) -> Direction {
        match self {
            Self::Signing | Self::Encrypting => Direction::Outgoing,
            Self::Verifying | Self::Decrypting => Direction::Incoming,
        }
    }
}

/// What makes mail confidential when it stands in `Subject`.
pub(super) const TAG: &str = "[rahasia]";

/// The policy file.
pub(super) const POLICY: &str = "# Whoever writes this in the subject wants nobody else to read the mail.\n\
    [[rule]]\n\
    name = \"rahasia\"\n\
    match = { subject = \"[rahasia]\" }\n\
    then = { encrypt = \"required\" }\n";

/// One mail and the expectation.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// Short name, also in the Message-ID.
    pub(super) name: &'static str,
    /// Which way it goes.
    pub(super) direction: Direction,
    /// Reverse-path; none is `<>`.
    pub(super) reverse_path: Option<&'static str>,
    /// What stands in `From`.
    pub(super) from: &'static str,
    /// The envelope's recipients.
    pub(super) to: Vec<Recipient>,
    /// The mail itself.
    pub(super) content: Vec<u8>,
}

/// One recipient and the outcome that is right for him.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipient {
    /// The address in the envelope.
    pub(super) address: &'static str,
    /// What goes in, in a few words.
    pub(super) about: &'static str,
    /// The outcome that is right.
    pub(super) expected: &'static str,
}

/// The scenarios of one act, in the order in which they tell the story.
pub(super) fn all(people: &People, act: Act) -> Result<Vec<Scenario>, DemoError> {
    match act {
        Act::Signing => signing(people),
        Act::Verifying => verifying(people),
        Act::Encrypting => Ok(encrypting()),
        Act::Decrypting => decrypting(people),
    }
}

/// A mail whose sender stands in `From` and in the envelope alike.
fn mail(
    act: Act,
    name: &'static str,
    from: &'static str,
    content: Vec<u8>,
    to: &[(&'static str, &'static str, &'static str)],
) -> Scenario {
    let to = to.iter().map(|(address, about, expected)| Recipient { address, about, expected });
    Scenario { name, direction: act.direction(), reverse_path: Some(from), from, to: to.collect(), content }
}

fn signing(people: &People) -> Result<Vec<Scenario>, DemoError> {
    let mail = |name, from, content, to: &[_]| mail(Act::Signing, name, from, content, to);
    let letter = |name, from, subject, text| plain(name, from, &[PARTNER], subject, text);
    let invitation =
        plain("signed", STAFF, &[PARTNER, OTHER_PARTNER], "Undangan rapat", "Rapat hari Senin, pukul 9. Salam — Siti");
    let own = letter("already-signed", COLLEAGUE, "Ditandatangani sendiri", "Surat ini sudah ditandatangani.");
    let own = signed("already-signed", &own, people.person(COLLEAGUE)?)?;
    Ok(vec![
        mail(
            "signed",
            STAFF,
            invitation,
            &[
                (PARTNER, "Siti writes to two partners: Rina's copy", "signed"),
                (OTHER_PARTNER, "  and Dewi's", "signed"),
            ],
        ),
        Scenario {
            reverse_path: Some(COLLEAGUE),
            ..mail(
                "forged-inside",
                STAFF,
                letter("forged-inside", STAFF, "Transfer", "Mohon segera ditransfer."),
                &[(PARTNER, "Budi writes with From: Siti", "refused")],
            )
        },
        mail("already-signed", COLLEAGUE, own, &[(PARTNER, "Budi's mail program has signed already", "unchanged")]),
        Scenario {
            reverse_path: None,
            ..mail(
                "null-reverse-path",
                STAFF,
                letter("null-reverse-path", STAFF, "Sedang cuti", "Saya kembali hari Senin."),
                &[(PARTNER, "a vacation notice, reverse-path <>", "plain")],
            )
        },
    ])
}

const CONTRACT: &str = "Nilai kontrak: Rp 100.000.000.";

fn verifying(people: &People) -> Result<Vec<Scenario>, DemoError> {
    let scenario =
        |name, from, content, about, expected| mail(Act::Verifying, name, from, content, &[(STAFF, about, expected)]);
    let letter = |name, from| plain(name, from, &[STAFF], "Kontrak", CONTRACT);
    let by = |name: &'static str, from, signer| signed(name, &letter(name, from), people.person(signer)?);
    Ok(vec![
        scenario("incoming-valid", PARTNER, by("incoming-valid", PARTNER, PARTNER)?, "Rina's signed mail", "verified"),
        scenario(
            "incoming-altered",
            PARTNER,
            altered(&by("incoming-altered", PARTNER, PARTNER)?, "100.000.000", "900.000.000"),
            "the same, an amount changed on the way",
            "marked",
        ),
        scenario(
            "incoming-revoked",
            REVOKED,
            by("incoming-revoked", REVOKED, REVOKED)?,
            "Joko's signed mail, certificate revoked",
            "quarantined",
        ),
        scenario(
            "incoming-wrong-address",
            PARTNER,
            by("incoming-wrong-address", PARTNER, OTHER_PARTNER)?,
            "From: Rina, signed with Dewi's certificate",
            "marked",
        ),
        scenario(
            "incoming-untrusted",
            STRANGER,
            by("incoming-untrusted", STRANGER, STRANGER)?,
            "signed under a root that nobody knows",
            "marked",
        ),
        scenario(
            "incoming-plain",
            PARTNER,
            letter("incoming-plain", PARTNER),
            "Rina's mail without a signature",
            "plain",
        ),
    ])
}

/// By now an operator has imported the certificates of Dewi and Wayan, and Rina's was learned from her signed mail.
fn encrypting() -> Vec<Scenario> {
    // `To` names those to whom Siti writes openly.
    let scenario = |name, open: &[&str], subject: &str, to: &[_]| {
        let content = plain(name, STAFF, open, subject, "Anggaran tahun depan: Rp 2.500.000.000.");
        mail(Act::Encrypting, name, STAFF, content, to)
    };
    vec![
        scenario("encrypted", &[OTHER_PARTNER], "Anggaran", &[(OTHER_PARTNER, "Siti writes to Dewi", "encrypted")]),
        scenario(
            "mixed",
            &[OTHER_PARTNER, UNCERTIFIED],
            "Anggaran",
            &[
                (OTHER_PARTNER, "Siti writes to Dewi and Eko: Dewi's copy", "encrypted"),
                (UNCERTIFIED, "  and Eko's, whose certificate nobody knows", "signed"),
            ],
        ),
        scenario(
            "bcc-private",
            &[OTHER_PARTNER],
            "Anggaran",
            &[
                (OTHER_PARTNER, "Siti writes to Dewi, Bcc Wayan: Dewi's copy", "encrypted"),
                (HIDDEN_PARTNER, "  and Wayan's", "encrypted"),
            ],
        ),
        scenario(
            "required-impossible",
            &[UNCERTIFIED],
            "[rahasia] Anggaran",
            &[(UNCERTIFIED, "Siti writes to Eko, Subject: [rahasia] ...", "refused")],
        ),
        scenario(
            "required",
            &[OTHER_PARTNER],
            "[rahasia] Anggaran",
            &[(OTHER_PARTNER, "Siti writes to Dewi, Subject: [rahasia] ...", "encrypted")],
        ),
        scenario(
            "learned-key",
            &[PARTNER],
            "Re: Kontrak",
            &[(PARTNER, "Siti answers Rina's signed mail", "encrypted")],
        ),
    ]
}

fn decrypting(people: &People) -> Result<Vec<Scenario>, DemoError> {
    let scenario = |name, content, to: &[_]| mail(Act::Decrypting, name, OTHER_PARTNER, content, to);
    let by_dewi = |name: &'static str, to: &[&str], change| {
        let letter = plain(name, OTHER_PARTNER, to, "Kontrak", CONTRACT);
        let letter = signed(name, &letter, people.person(OTHER_PARTNER)?)?;
        encrypted(name, &letter, people.to(STAFF)?, change)
    };
    Ok(vec![
        scenario(
            "encrypted-incoming",
            by_dewi("encrypted-incoming", &[STAFF, KEYLESS], None)?,
            &[
                (STAFF, "Dewi's mail, encrypted to Siti: Siti's copy", "decrypted"),
                (KEYLESS, "  and Ani's, who has no key for it", "unopened"),
            ],
        ),
        scenario(
            "encrypted-altered",
            by_dewi("encrypted-altered", &[STAFF], Some(("100.000.000", "900.000.000")))?,
            &[(STAFF, "the same, its ciphertext changed on the way", "quarantined")],
        ),
    ])
}
