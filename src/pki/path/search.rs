//! Finding paths: depth first from the end entity, nearest anchors first, every signature checked once.
//!
//! Names and key identifiers only order the candidates; what counts is the signature. Cross-signed loops end because no
//! (subject, key) stands twice in a path; everything else ends with the budget.

use super::memory::Memory;
use super::rules;
use super::{PathReport, PathRequest, TrustAnchor};
use crate::crypto::CryptoError;
use crate::pki::certificate::{Certificate, Curve, KeyInfo};
use crate::pki::revocation::{RevocationStatus, Status};
use crate::reason::Reason;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};

/// Whether other certificates of an issuer may prove themselves as signers of its CRLs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CrlSigners {
    /// Yes: build a path for each.
    Search,
    /// No: this is such a path already.
    InPathOnly,
}

/// What the signature of one certificate under another's key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Verified,
    Failed,
    /// Cannot be told, for this reason; the path is followed and carries the reason.
    Unproven(Reason),
}

#[derive(Clone)]
struct Candidate<'a> {
    certificate: &'a Certificate,
    anchor: Option<&'a TrustAnchor>,
}

pub(super) struct Search<'a> {
    request: &'a PathRequest<'a>,
    signers: CrlSigners,
    by_subject: HashMap<Bytes, Vec<Candidate<'a>>>,
    /// How many certificates lie between a subject and an anchor, at least.
    distance: HashMap<Bytes, usize>,
    memory: &'a Memory,
    paths: usize,
    exhausted: bool,
    best: Option<PathReport>,
}

impl<'a> Search<'a> {
    pub(super) fn new(request: &'a PathRequest<'a>, signers: CrlSigners, memory: &'a Memory) -> Self {
        let mut by_subject: HashMap<Bytes, Vec<Candidate<'a>>> = HashMap::new();
        let anchors =
            request.anchors.iter().map(|anchor| Candidate { certificate: &anchor.certificate, anchor: Some(anchor) });
        let others = request.untrusted.iter().map(|certificate| Candidate { certificate, anchor: None });
        for candidate in anchors.chain(others) {
            by_subject.entry(candidate.certificate.subject().key().clone()).or_default().push(candidate);
        }
        Self {
            request,
            signers,
            distance: distances(request),
            by_subject,
            memory,
            paths: 0,
            exhausted: false,
            best: None,
        }
    }

    pub(super) fn run(mut self) -> PathReport {
        let end_entity = self.request.end_entity;
        if let Some(anchor) = self.request.anchors.iter().find(|anchor| anchor.certificate == *end_entity) {
            return rules::evaluate(self.request, vec![end_entity.clone()], anchor, Vec::new(), &[]);
        }
        self.extend(&mut vec![end_entity.clone()], &mut Vec::new());
        match self.best.take() {
            Some(best) => best,
            None => self.partial(),
        }
    }

    /// Tries every candidate above the last certificate; stops at the first path without a reason, or with the budget.
    fn extend(&mut self, chain: &mut Vec<Certificate>, carried: &mut Vec<Reason>) {
        let Some(child) = chain.last().cloned() else { return };
        if chain.len() >= self.request.limits.path_depth {
            self.exhausted = true;
            return;
        }
        for candidate in self.candidates(&child) {
            if self.is_done() {
                return;
            }
            let issuer = candidate.certificate;
            let reachable = candidate.anchor.is_some() || self.distance.contains_key(issuer.issuer().key());
            if !reachable || stands_in(chain, issuer) {
                continue;
            }
            let carried_before = carried.len();
            match self.edge(&child, issuer) {
                None | Some(Edge::Failed) => continue,
                Some(Edge::Verified) => {}
                Some(Edge::Unproven(reason)) => carried.push(reason),
            }
            chain.push(issuer.clone());
            match candidate.anchor {
                Some(anchor) => self.complete(chain, anchor, carried),
                None => self.extend(chain, carried),
            }
            chain.pop();
            carried.truncate(carried_before);
        }
    }

    fn is_done(&mut self) -> bool {
        let limits = self.request.limits;
        self.exhausted |= self.paths >= limits.path_candidates || !self.memory.take_step(limits);
        self.exhausted || self.best.as_ref().is_some_and(PathReport::is_valid)
    }

    /// Certificates with the issuer's name: anchors first, then matching key identifiers, then the way to an anchor.
    fn candidates(&self, child: &Certificate) -> Vec<Candidate<'a>> {
        let mut found = self.by_subject.get(child.issuer().key()).cloned().unwrap_or_default();
        let at = self.request.at;
        found.sort_by_cached_key(|candidate| {
            let certificate = candidate.certificate;
            let other_key = match (child.authority_key_identifier(), certificate.subject_key_identifier()) {
                (Some(wanted), Some(found)) => wanted != found,
                _ => false,
            };
            let outside = at < certificate.not_before() || certificate.not_after() < at;
            let distance = self.distance.get(certificate.issuer().key()).copied().unwrap_or(usize::MAX);
            (other_key, candidate.anchor.is_none(), outside, distance)
        });
        found
    }

    /// The signature of `child` under `issuer`'s key, looked up or verified. `None` when the budget is spent.
    fn edge(&mut self, child: &Certificate, issuer: &Certificate) -> Option<Edge> {
        let key = (child.sha256(), issuer.sha256());
        if let Some(edge) = self.memory.edge(&key) {
            return Some(edge);
        }
        let edge = match unproven_by(issuer, self.request.limits.rsa_bits_max) {
            Some(reason) => Edge::Unproven(reason),
            None if self.memory.take_edge(self.request.limits) => verify(child, issuer),
            None => {
                self.exhausted = true;
                return None;
            }
        };
        self.memory.remember(key, edge);
        Some(edge)
    }

    fn complete(&mut self, chain: &[Certificate], anchor: &TrustAnchor, carried: &[Reason]) {
        if !self.memory.take_path(self.request.limits) {
            self.exhausted = true;
            return;
        }
        self.paths += 1;
        let signers = match self.signers {
            CrlSigners::Search => self.crl_signers(chain, anchor),
            CrlSigners::InPathOnly => Vec::new(),
        };
        let report = rules::evaluate(self.request, chain.to_vec(), anchor, signers, carried);
        let rank = |report: &PathReport| (report.reasons.len(), std::cmp::Reverse(report.reasons.first().copied()));
        if self.best.as_ref().is_none_or(|best| rank(&report) < rank(best)) {
            self.best = Some(report);
        }
    }

    /// Certificates with other keys of the issuers in the path, proven by a path of their own to the same anchor.
    ///
    /// Needed only where a CRL is there that no certificate of the path signed (RFC 5280 section 6.3.3 f).
    fn crl_signers(&self, chain: &[Certificate], anchor: &TrustAnchor) -> Vec<Certificate> {
        let request = self.request;
        let wanted = |certificate: &Certificate| {
            !chain.contains(certificate)
                && chain.iter().any(|member| member.issuer().matches(certificate.subject()))
                && request.crls.iter().any(|crl| {
                    crl.issuer().matches(certificate.subject())
                        && !chain.iter().any(|member| member.subject().matches(crl.issuer()) && crl.verify(member))
                        && self.memory.take_crl(request.limits)
                        && crl.verify(certificate)
                })
        };
        let anchors = [anchor.clone()];
        request
            .untrusted
            .iter()
            .filter(|certificate| wanted(certificate))
            // A CA has a handful of keys at a time.
            .take(4)
            .filter(|certificate| {
                let own = PathRequest {
                    end_entity: certificate,
                    anchors: &anchors,
                    purpose: crate::pki::Purpose::Any,
                    address: None,
                    policy: &super::PolicyInputs::default(),
                    ..*request
                };
                Search::new(&own, CrlSigners::InPathOnly, self.memory).run().is_valid()
            })
            .cloned()
            .collect()
    }

    /// No path reaches an anchor: what can be said anyway, and what is missing.
    fn partial(mut self) -> PathReport {
        let mut chain = vec![self.request.end_entity.clone()];
        let mut reasons = Vec::new();
        let mut missing_issuers = Vec::new();
        while let Some(child) = chain.last().cloned() {
            if chain.len() >= self.request.limits.path_depth || (chain.len() > 1 && child.is_self_issued()) {
                break;
            }
            let mut above = None;
            for candidate in self.candidates(&child) {
                if !stands_in(&chain, candidate.certificate) {
                    match self.edge(&child, candidate.certificate) {
                        Some(Edge::Verified) => above = Some(candidate.certificate),
                        Some(Edge::Unproven(reason)) => {
                            reasons.push(reason);
                            above = Some(candidate.certificate);
                        }
                        Some(Edge::Failed) | None => continue,
                    }
                    break;
                }
            }
            let Some(above) = above else {
                if !child.is_self_issued() {
                    missing_issuers.push(child.issuer().clone());
                }
                break;
            };
            chain.push(above.clone());
        }
        reasons.push(if self.exhausted { Reason::TooComplex } else { Reason::Untrusted });
        rules::add_reasons_without_anchor(self.request, &chain, &mut reasons);
        PathReport {
            reasons: rules::in_order(reasons),
            chain,
            anchor: None,
            revocation: RevocationStatus::bare(Status::NotChecked),
            warnings: Vec::new(),
            missing_issuers,
            missing_crls: Vec::new(),
            wanted_crls: Vec::new(),
        }
    }
}

/// Whether the certificate, or another one for the same subject and key, is in the path already.
fn stands_in(chain: &[Certificate], certificate: &Certificate) -> bool {
    chain.iter().any(|member| {
        member == certificate
            || (member.spki_der() == certificate.spki_der() && member.subject().matches(certificate.subject()))
    })
}

/// Why nothing is computed with the issuer's key. A large modulus or exponent only costs time; the exponents in use are
/// 3 and 65537, and implementations end at 32 or 33 bits.
fn unproven_by(issuer: &Certificate, rsa_bits_max: usize) -> Option<Reason> {
    match issuer.key_info() {
        KeyInfo::Rsa { bits, .. } if bits > rsa_bits_max => Some(Reason::Unsupported),
        KeyInfo::Rsa { exponent, .. } if exponent > u64::from(u32::MAX) => Some(Reason::Unsupported),
        KeyInfo::Rsa { exponent, .. } if exponent < 3 || exponent % 2 == 0 => Some(Reason::WeakAlgorithm),
        // aws-lc-rs gives no answer below 1,024 bits.
        KeyInfo::Rsa { bits, .. } if bits < 1024 => Some(Reason::WeakAlgorithm),
        KeyInfo::Dsa | KeyInfo::Ec { curve: Curve::Small } => Some(Reason::WeakAlgorithm),
        _ => None,
    }
}

fn verify(child: &Certificate, issuer: &Certificate) -> Edge {
    let digest = child.signature_algorithm().ok().and_then(crate::crypto::SignatureAlgorithm::digest);
    match child.verify_signed_by(issuer) {
        Ok(()) => Edge::Verified,
        Err(CryptoError::Unsupported) if digest == Some(crate::crypto::Digest::Md5) => {
            Edge::Unproven(Reason::WeakAlgorithm)
        }
        Err(CryptoError::Unsupported) => Edge::Unproven(Reason::Unsupported),
        Err(CryptoError::BadSignature | CryptoError::Malformed | CryptoError::Unopened) => Edge::Failed,
    }
}

/// Breadth first from the anchors' names down, by names alone.
fn distances(request: &PathRequest<'_>) -> HashMap<Bytes, usize> {
    let mut below: HashMap<&Bytes, Vec<&Bytes>> = HashMap::new();
    for certificate in request.untrusted {
        below.entry(certificate.issuer().key()).or_default().push(certificate.subject().key());
    }
    let mut distance: HashMap<Bytes, usize> = HashMap::new();
    let mut queue: VecDeque<(&Bytes, usize)> =
        request.anchors.iter().map(|anchor| (anchor.certificate.subject().key(), 0)).collect();
    while let Some((name, steps)) = queue.pop_front() {
        if distance.contains_key(name) {
            continue;
        }
        distance.insert(name.clone(), steps);
        queue.extend(below.remove(name).unwrap_or_default().into_iter().map(|subject| (subject, steps + 1)));
    }
    distance
}
