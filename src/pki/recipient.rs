//! Whether a certificate may be encrypted to now: path, purpose, address and revocation (O31, O32).

use super::path::{self, PathReport, PathRequest, PolicyInputs, TrustAnchor};
use super::{Certificate, Crl, Purpose};
use crate::limits::Limits;
use crate::mail::Address;
use crate::reason::Reason;
use jiff::Timestamp;
use std::collections::HashSet;

/// A certificate that may be encrypted to at this moment. Only [`check`] makes one.
#[derive(Clone, Debug)]
pub struct RecipientKey {
    certificate: Certificate,
}

impl RecipientKey {
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// A question about one recipient's certificate.
pub struct RecipientRequest<'a> {
    /// The certificate in question.
    pub certificate: &'a Certificate,
    /// Whom it should reach. `None` where the registration officer has bound the certificate to the address.
    pub address: Option<&'a Address>,
    /// Certificates that may stand between it and an anchor.
    pub untrusted: &'a [Certificate],
    /// The anchors.
    pub anchors: &'a [TrustAnchor],
    /// CRLs from anywhere.
    pub crls: &'a [Crl],
    /// Certificates that an operator has blocked, as [`Certificate::is_among`] finds them: none may stand on the path.
    pub blocked: &'a HashSet<[u8; 32]>,
    /// The moment of encrypting.
    pub at: Timestamp,
    /// Budgets.
    pub limits: &'a Limits,
}

/// Checks a recipient's certificate: the key, or why not, with the path as far as it was found.
pub fn check(request: &RecipientRequest<'_>) -> (Result<RecipientKey, Vec<Reason>>, PathReport) {
    let report = path::validate(&PathRequest {
        end_entity: request.certificate,
        untrusted: request.untrusted,
        anchors: request.anchors,
        crls: request.crls,
        at: request.at,
        purpose: Purpose::EmailEncrypt,
        address: request.address,
        revocation: None,
        crl_grace: std::time::Duration::ZERO,
        policy: &PolicyInputs::default(),
        allow_weak: &[],
        limits: request.limits,
    });
    let mut reasons = report.reasons.clone();
    // A key that nothing can be sealed to is known now: later it would only be a failure that never ends.
    if !reasons.contains(&Reason::WeakAlgorithm) && !request.certificate.key_receives() {
        reasons.push(Reason::Unsupported);
    }
    if report.chain.iter().chain([request.certificate]).any(|one| one.is_among(request.blocked)) {
        reasons.push(Reason::BlockedLocally);
    }
    reasons.sort_unstable();
    reasons.dedup();
    let result = match reasons.is_empty() {
        true => Ok(RecipientKey { certificate: request.certificate.clone() }),
        false => Err(reasons),
    };
    (result, report)
}
