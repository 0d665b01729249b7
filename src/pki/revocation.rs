//! Revocation status from full CRLs (RFC 5280 section 6.3), for one certificate and for a path.
//!
//! Fails closed: a CRL counts only if it is current, in scope, understood, and signed by a key that may sign CRLs for the
//! issuer. No delta and no indirect CRLs, no OCSP.

use super::certificate::Certificate;
use super::crl::{Crl, Entry, EntryReason};
use super::distribution::Reasons;
use crate::crypto::Digest;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;

/// How an anchor's certificates are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// Unknown is a reason of its own.
    HardFail,
    /// Unknown is a warning.
    SoftFail,
    /// Nothing is checked.
    None,
}

/// What is known about a certificate or a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A usable answer says that it is not revoked.
    Good,
    /// Revoked.
    Revoked,
    /// Suspended (certificateHold).
    OnHold,
    /// No usable answer.
    Unknown,
    /// Nobody asked.
    NotChecked,
}

/// Where the answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A CRL.
    Crl,
    /// An OCSP response.
    Ocsp,
}

/// The status of one path: the worst of its certificates, and what says so.
#[derive(Clone, Debug)]
pub struct RevocationStatus {
    /// The status itself.
    pub status: Status,
    /// Where it came from.
    pub source: Option<Source>,
    /// thisUpdate for good; revocationDate for revoked and on hold.
    pub time: Option<Timestamp>,
    /// `keyCompromise` … as RFC 5280 spells them.
    pub reason: Option<&'static str>,
    /// DER of the CRL (or OCSP response) that decided.
    pub evidence: Option<bytes::Bytes>,
    /// Serial (hex) of the certificate that is revoked: leaf or intermediate.
    pub serial: Option<String>,
}

impl RevocationStatus {
    /// A status without evidence.
    pub fn bare(status: Status) -> Self {
        Self { status, source: None, time: None, reason: None, evidence: None, serial: None }
    }

    /// Whether `self` is worse news than `other`.
    pub(super) fn is_worse_than(&self, other: &Self) -> bool {
        let rank = |status| match status {
            Status::NotChecked => 0,
            Status::Good => 1,
            Status::Unknown => 2,
            Status::OnHold => 3,
            Status::Revoked => 4,
        };
        rank(self.status) > rank(other.status)
    }
}

/// What CRLs are judged by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) at: Timestamp,
    pub(super) grace: std::time::Duration,
    pub(super) allow_weak: &'a [Digest],
}

impl Rules<'_> {
    /// The status of one certificate. `signers` are certificates of its issuer that were validated: the one above it in the
    /// path first, then others with the same name.
    pub(super) fn status(&self, certificate: &Certificate, signers: &[Certificate], crls: &[Crl]) -> RevocationStatus {
        let mut candidates: Vec<&Crl> = crls
            .iter()
            .filter(|crl| crl.issuer().matches(certificate.issuer()) && crl.this_update() <= self.at)
            .filter(|crl| crl.reasons_for(certificate) != Reasons::NONE && self.is_signed(crl, signers))
            .collect();
        // The newest CRL knows best: a hold may have ended since the one before it.
        candidates.sort_by_key(|crl| Reverse(crl.this_update()));
        let (current, stale): (Vec<&Crl>, Vec<&Crl>) = candidates.into_iter().partition(|crl| self.is_current(crl));
        let mut covered = Reasons::NONE;
        let mut decided = None;
        for crl in current {
            let reasons = crl.reasons_for(certificate);
            if !reasons.adds_to(covered) {
                continue;
            }
            covered = covered.or(reasons);
            if let Some(found) = judge(certificate, crl) {
                return found;
            }
            decided = decided.or(Some(crl));
        }
        match decided.filter(|_| covered == Reasons::ALL) {
            Some(crl) => RevocationStatus {
                status: Status::Good,
                source: Some(Source::Crl),
                time: Some(crl.this_update()),
                evidence: Some(crl.bytes()),
                ..RevocationStatus::bare(Status::Good)
            },
            // Revocation is for good (except a hold), so an old list may still condemn, though never clear.
            None => stale
                .into_iter()
                .filter_map(|crl| judge(certificate, crl))
                .find(|found| found.status == Status::Revoked)
                .unwrap_or_else(|| RevocationStatus::bare(Status::Unknown)),
        }
    }

    /// nextUpdate, with grace, is not over. A CRL without one (RFC 5280 section 5.1.2.5 forbids that) is never current.
    fn is_current(&self, crl: &Crl) -> bool {
        let grace = SignedDuration::try_from(self.grace).unwrap_or(SignedDuration::MAX);
        crl.next_update().is_some_and(|next| self.at <= next.saturating_add(grace).unwrap_or(Timestamp::MAX))
    }

    fn is_signed(&self, crl: &Crl, signers: &[Certificate]) -> bool {
        let weak = crl.signature_algorithm().map_or(true, |algorithm| {
            algorithm.digest().is_some_and(|digest| digest.is_weak() && !self.allow_weak.contains(&digest))
        });
        !weak && signers.iter().any(|signer| crl.is_signed_by(signer))
    }
}

/// What the CRL says about the certificate, if it names it.
fn judge(certificate: &Certificate, crl: &Crl) -> Option<RevocationStatus> {
    let Entry { date, reason } = crl.entry(certificate.serial())?;
    let (status, reason) = match reason {
        EntryReason::OnHold => (Status::OnHold, "certificateHold"),
        EntryReason::Revoked(reason) => (Status::Revoked, reason),
        // Only a delta CRL may say that (RFC 5280 section 5.3.1); in a full one the entry means that there is none.
        EntryReason::RemoveFromCrl => return None,
    };
    Some(RevocationStatus {
        status,
        source: Some(Source::Crl),
        time: Some(date),
        reason: Some(reason),
        evidence: Some(crl.bytes()),
        serial: Some(certificate.serial_hex()),
    })
}
