//! What may be learned from validly signed mail. Pure: values in, an answer out (RFC 8551 sections 2.5.2, 2.5.3 and 2.7.1).

use super::index::Announced;
use super::{Trust, Unfit};
use crate::pki::certificate::{Curve, KeyInfo};
use crate::pki::{Certificate, Name, Purpose};
use jiff::{SignedDuration, Timestamp};

/// Whether a certificate's key can ever be encrypted to for mail.
///
/// # Errors
/// Why not.
pub(super) fn receives(certificate: &Certificate) -> Result<(), Unfit> {
    if certificate.is_ca() {
        return Err(Unfit::Authority);
    }
    match certificate.key_info() {
        KeyInfo::Rsa { .. } | KeyInfo::Ec { curve: Curve::P256 | Curve::P384 | Curve::P521 } => {}
        KeyInfo::Other if certificate.spki_der().starts_with(X25519) => {}
        _ => return Err(Unfit::KeyType),
    }
    if !Purpose::EmailEncrypt.allows_end_entity(certificate) {
        return Err(Unfit::Usage);
    }
    if certificate.key_receives() { Ok(()) } else { Err(Unfit::Key) }
}

/// What is known for a mailbox: who issued it and what it is worth. Blocked ones are left out by the caller: they hold
/// no place.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) issuer: Name,
    pub(super) trust: Trust,
}

/// Whether a harvested certificate may stand for a mailbox beside what is known for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Nothing is known for the mailbox.
    First,
    /// The same CA has issued one before.
    Renewal,
    /// Another CA has, or one of the same name that is trusted more: an operator decides.
    Conflict(Name),
}

/// P10: a new certificate never takes the place of one from another CA by itself.
///
/// Where an operator has imported certificates, only their CAs count. A CA's name alone is not enough: under an anchor
/// that is trusted less, somebody else could bear it.
pub(super) fn admit(known: &[Standing], issuer: &Name, trust: Trust) -> Admission {
    let pinned = known.iter().any(|standing| standing.trust == Trust::Imported);
    let mut holders = known.iter().filter(|standing| !pinned || standing.trust == Trust::Imported);
    let Some(first) = holders.clone().next() else { return Admission::First };
    // `Trust` is ordered best first. What an operator imported is met by what a trusted CA says.
    let enough = |standing: &Standing| trust <= standing.trust.max(Trust::Trusted);
    match holders.find(|standing| standing.issuer.matches(issuer) && enough(standing)) {
        Some(_) => Admission::Renewal,
        None => Admission::Conflict(first.issuer.clone()),
    }
}

/// What becomes of announced capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// They are not taken.
    Ignored,
    /// They are what is known, said again later.
    Again,
    /// They take the place of what is known.
    Taken,
}

/// O33: the newest signing time wins, a future one is refused, and without one only what is not known yet is learned.
pub(super) fn announce(
    known: Option<&Announced>,
    der: &[u8],
    signed: Option<Timestamp>,
    now: Timestamp,
) -> Announcement {
    let in_future = signed.is_some_and(|signed| signed.duration_since(now) > CLOCKS_DIFFER);
    if in_future || der.len() > LARGEST_ANNOUNCEMENT {
        return Announcement::Ignored;
    }
    match (known, signed) {
        (None, _) => Announcement::Taken,
        (Some(_), None) => Announcement::Ignored,
        (Some(known), Some(signed)) if known.signed.is_some_and(|before| signed <= before) => Announcement::Ignored,
        (Some(known), Some(_)) if known.der == der => Announcement::Again,
        (Some(_), Some(_)) => Announcement::Taken,
    }
}

/// The beginning of every SubjectPublicKeyInfo with id-X25519 (RFC 8410 section 4).
const X25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e];
/// How far ahead of ours an honest sender's clock may be.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// Octets. Real programs announce less than 300.
const LARGEST_ANNOUNCEMENT: usize = 4096;
