//! What is asked of one path. certval holds the rules of RFC 5280 section 6.1 (basic constraints, names, policies, critical
//! extensions); dates, strength, purpose, address and revocation are ours, so that each fault is reported and not only the first.

use super::{PathReport, PathRequest, TrustAnchor, WantedCrls};
use crate::crypto::{Digest, SignatureAlgorithm};
use crate::mail::Address;
use crate::pki::certificate::{Certificate, Curve, KeyInfo, KeyUsage};
use crate::pki::distribution;
use crate::pki::revocation::{RevocationMode, RevocationStatus, Rules, Status};
use crate::reason::Reason;
use certval::validator::path_validator as certval_rules;
use certval::{CertificationPath, CertificationPathResults, CertificationPathSettings, PkiEnvironment, TimeOfInterest};

/// Judges a whole path: end entity first, anchor last. `carried` are reasons that building it found.
pub(super) fn evaluate(
    request: &PathRequest<'_>,
    chain: Vec<Certificate>,
    anchor: &TrustAnchor,
    crl_signers: Vec<Certificate>,
    carried: &[Reason],
) -> PathReport {
    let mut reasons = carried.to_vec();
    add_reasons_without_anchor(request, &chain, &mut reasons);
    if chain.len() > 1 && !satisfies_rfc5280(request, &chain, anchor) {
        reasons.push(Reason::PolicyConstraint);
    }
    if let Some(address) = request.address
        && !anchor.domains.is_empty()
        && !anchor.domains.iter().any(|domain| domain.same(address.domain()))
    {
        reasons.push(Reason::Untrusted);
    }
    let mut report = PathReport {
        reasons,
        anchor: Some(anchor.clone()),
        revocation: RevocationStatus::bare(Status::NotChecked),
        warnings: Vec::new(),
        missing_issuers: Vec::new(),
        missing_crls: Vec::new(),
        wanted_crls: Vec::new(),
        chain,
    };
    check_revocation(request, anchor, &crl_signers, &mut report);
    report.reasons = in_order(report.reasons);
    report
}

/// What can be said about certificates whether or not they reach an anchor: dates, strength, purpose, address.
pub(super) fn add_reasons_without_anchor(request: &PathRequest<'_>, chain: &[Certificate], reasons: &mut Vec<Reason>) {
    for (index, certificate) in chain.iter().enumerate() {
        // Certificates count in whole seconds, and notAfter belongs to the validity (RFC 5280 section 4.1.2.5).
        let at = request.at.as_second();
        if at < certificate.not_before().as_second() {
            reasons.push(Reason::NotYetValid);
        }
        if certificate.not_after().as_second() < at {
            reasons.push(Reason::Expired);
        }
        if certificate.has_too_many_names() {
            reasons.push(Reason::TooComplex);
        }
        reasons.extend(key_fault(&certificate.key_info(), request.limits.rsa_bits_max));
        // The anchor is trusted for its key; who signed it does not matter.
        let trusted = request.anchors.iter().any(|anchor| anchor.certificate == *certificate);
        if !trusted && is_weakly_signed(certificate, request.allow_weak) {
            reasons.push(Reason::WeakAlgorithm);
        }
        let allowed = match index {
            0 => request.purpose.allows_end_entity(certificate),
            _ => trusted || request.purpose.allows_issuer(certificate),
        };
        if !allowed {
            reasons.push(Reason::NotForMail);
        }
    }
    if let Some(address) = request.address {
        if request.end_entity.addresses().is_empty() {
            reasons.push(Reason::NoAddress);
        } else if !request.end_entity.names_address(address) {
            reasons.push(Reason::AddressMismatch);
        }
    }
}

/// Sorted as reasons are reported, each once.
pub(super) fn in_order(mut reasons: Vec<Reason>) -> Vec<Reason> {
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

/// RFC 8550 section 4.3: RSA below 2,048 bits, DSA, and curves below 256 bits prove nothing. Even exponents and 1 are no RSA.
fn key_fault(key: &KeyInfo, rsa_bits_max: usize) -> Option<Reason> {
    match *key {
        KeyInfo::Rsa { bits, .. } if bits > rsa_bits_max => Some(Reason::Unsupported),
        KeyInfo::Rsa { bits, exponent } if bits < 2048 || exponent < 3 || exponent % 2 == 0 => {
            Some(Reason::WeakAlgorithm)
        }
        KeyInfo::Dsa | KeyInfo::Ec { curve: Curve::Small } => Some(Reason::WeakAlgorithm),
        _ => None,
    }
}

fn is_weakly_signed(certificate: &Certificate, allowed: &[Digest]) -> bool {
    certificate
        .signature_algorithm()
        .ok()
        .and_then(SignatureAlgorithm::digest)
        .is_some_and(|digest| digest.is_weak() && !allowed.contains(&digest))
}

/// RFC 5280 section 6.1 without dates and signatures, which were checked where the path was built.
fn satisfies_rfc5280(request: &PathRequest<'_>, chain: &[Certificate], anchor: &TrustAnchor) -> bool {
    let (Some((target, rest)), Some(trusted)) = (chain.split_first(), anchor.certificate.as_anchor()) else {
        return false;
    };
    // Between the end entity and the anchor, nearest to the anchor first, as certval wants them.
    let between: Vec<&Certificate> = rest.iter().rev().skip(1).collect();
    let path = CertificationPath::new(
        trusted.clone(),
        between.iter().map(|certificate| certificate.validated().clone()).collect(),
        target.validated().clone(),
    );
    let Ok(settings) = certval_rules::enforce_trust_anchor_constraints(&settings(request), trusted) else {
        return false;
    };
    let environment = PkiEnvironment::new();
    let mut results = CertificationPathResults::new();
    // RFC 5280 section 6.1.4 n: keyCertSign if keyUsage is there. certval also refuses CAs without the extension, which
    // older ones are; its result is not used, but the call marks the extension as processed.
    certval_rules::check_key_usage(&environment, &settings, &path, &mut results).ok();
    !chain.iter().any(Certificate::has_too_many_names)
        && anchor.certificate.may_issue_as_anchor()
        && rest.iter().all(|issuer| issuer.key_usage().is_none_or(|usage| usage.has(KeyUsage::KEY_CERT_SIGN)))
        && certval_rules::check_basic_constraints(&environment, &settings, &path, &mut results).is_ok()
        && certval_rules::check_names(&environment, &settings, &path, &mut results).is_ok()
        && certval::validator::policy_graph::check_certificate_policies_graph(&environment, &settings, &path, &mut results).is_ok()
        && certval_rules::check_extended_key_usage(&environment, &settings, &path, &mut results).is_ok()
        && certval_rules::check_critical_extensions(&environment, &settings, &path, &mut results).is_ok()
        && addresses_are_permitted(chain)
        && chain.iter().all(Certificate::has_readable_names)
        // RFC 5280 section 4.1.2.4: an issuer has a name.
        && rest.iter().all(|issuer| !issuer.subject().is_empty())
}

fn settings(request: &PathRequest<'_>) -> CertificationPathSettings {
    let mut settings = CertificationPathSettings::new();
    settings.set_time_of_interest(TimeOfInterest::disabled());
    settings.set_enforce_trust_anchor_constraints(true);
    settings.set_require_ta_store(false);
    settings.set_initial_explicit_policy_indicator(request.policy.explicit);
    settings.set_initial_policy_mapping_inhibit_indicator(request.policy.inhibit_mapping);
    settings.set_initial_inhibit_any_policy_indicator(request.policy.inhibit_any);
    if !request.policy.policies.is_empty() {
        settings.set_initial_policy_set_from_oid_set(request.policy.policies.iter().copied().collect());
    }
    settings
}

/// rfc822Name constraints over everything that can bind a certificate to a mailbox: rfc822Name, SmtpUTF8Mailbox (RFC 9598
/// section 6; certval leaves them alone) and emailAddress. Compared as that binding compares, without regard to case: what
/// is bound to a mailbox that its CA may not name proves nothing.
fn addresses_are_permitted(chain: &[Certificate]) -> bool {
    chain.iter().enumerate().all(|(index, certificate)| {
        let above = chain.get(index + 1..).unwrap_or_default();
        let exempt = index > 0 && certificate.is_self_issued();
        exempt
            || certificate.addresses().iter().all(|address| {
                above.iter().map(Certificate::mail_constraints).all(|constraints| {
                    let within = |subtree: &String| is_within(address, subtree);
                    (constraints.permitted.is_empty() || constraints.permitted.iter().any(within))
                        && !constraints.excluded.iter().any(within)
                })
            })
    })
}

/// Whether the address is in a subtree: a mailbox, a host, or with a leading dot the hosts of a domain (RFC 5280 section 4.2.1.10).
fn is_within(address: &Address, subtree: &str) -> bool {
    if subtree.contains('@') {
        return Address::parse(subtree).is_ok_and(|mailbox| mailbox.same_mailbox(address));
    }
    let (host, subtree) = (address.domain().ascii(), subtree.to_ascii_lowercase());
    if subtree.starts_with('.') { host.ends_with(&subtree) } else { host == subtree }
}

/// Every certificate below the anchor, by the request's mode or the anchor's.
fn check_revocation(
    request: &PathRequest<'_>,
    anchor: &TrustAnchor,
    crl_signers: &[Certificate],
    report: &mut PathReport,
) {
    let mode = request.revocation.unwrap_or(anchor.revocation);
    if mode == RevocationMode::None {
        report.warnings.push("revocation-not-checked");
        return;
    }
    let rules = Rules { at: request.at, grace: request.crl_grace, allow_weak: request.allow_weak };
    let fresh = Rules { grace: std::time::Duration::ZERO, ..rules };
    let proven = report.reasons.iter().all(|reason| leaves_proven(*reason));
    let below = report.chain.len().saturating_sub(1);
    for index in 0..below {
        let (Some(certificate), Some(above)) = (report.chain.get(index), report.chain.get(index + 1..)) else {
            continue;
        };
        let signers: Vec<Certificate> = above
            .iter()
            .chain(crl_signers)
            .filter(|signer| signer.subject().matches(certificate.issuer()))
            .cloned()
            .collect();
        let found = rules.status(certificate, &signers, request.crls);
        match found.status {
            Status::Revoked => report.reasons.push(Reason::Revoked),
            Status::OnHold => report.reasons.push(Reason::OnHold),
            Status::Unknown => {
                if !report.missing_crls.contains(certificate.issuer()) {
                    report.missing_crls.push(certificate.issuer().clone());
                }
                match mode {
                    RevocationMode::HardFail => report.reasons.push(Reason::RevocationUnknown),
                    RevocationMode::SoftFail | RevocationMode::None => report.warnings.push("revocation-unknown"),
                }
            }
            Status::Good | Status::NotChecked => {}
        }
        // A status that only the grace keeps alive is good enough, but a newer one is wanted.
        let stale = found.status == Status::Good
            && !request.crl_grace.is_zero()
            && fresh.status(certificate, &signers, request.crls).status == Status::Unknown;
        if proven && (stale || found.status == Status::Unknown) {
            want(&mut report.wanted_crls, certificate, signers);
        }
        if found.is_worse_than(&report.revocation) {
            report.revocation = found;
        }
    }
    report.warnings.dedup();
}

/// Whether a path with this reason still shows that its CAs issued what it says: dates and addresses don't change that.
const fn leaves_proven(reason: Reason) -> bool {
    matches!(reason, Reason::Expired | Reason::NotYetValid | Reason::NoAddress | Reason::AddressMismatch)
}

/// Adds the certificate's distribution points to what is wanted of its issuer.
fn want(wanted: &mut Vec<WantedCrls>, certificate: &Certificate, signers: Vec<Certificate>) {
    let points = distribution::addresses(certificate);
    if points.is_empty() {
        return;
    }
    match wanted.iter_mut().find(|known| known.issuer.matches(certificate.issuer())) {
        Some(known) => {
            let new: Vec<Vec<String>> = points.into_iter().filter(|point| !known.points.contains(point)).collect();
            known.points.extend(new);
        }
        None => wanted.push(WantedCrls { issuer: certificate.issuer().clone(), points, signers }),
    }
}
