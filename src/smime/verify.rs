//! One signature: first what the octets alone can say, then what the certificate's path and address say.
//!
//! Every SignerInfo is judged by itself. Never asks for anything: certificates and CRLs are arguments. All
//! reasons that can be established are reported; a broken signature does not hide a revoked certificate.

use super::Verdict;
use crate::cms::attributes::{EncryptionKeyPreference, SignedAttributes};
use crate::cms::{SignedData, SignerIdentifier, SignerInfo, content_info::ID_DATA};
use crate::crypto::{self, CryptoError, Digest, SignatureAlgorithm};
use crate::limits::Limits;
use crate::mail::Address;
use crate::pki::certificate::KeyInfo;
use crate::pki::path::{self, Memory, PolicyInputs};
use crate::pki::revocation::Status;
use crate::pki::{
    Certificate, Crl, Name, PathReport, PathRequest, Purpose, RevocationMode, RevocationStatus, TrustAnchor,
};
use crate::reason::Reason;
use jiff::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

mod altered;

/// What one SignerInfo says and whether its signature holds under a certificate that came with it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Reasons from the octets alone, in order.
    pub reasons: Vec<Reason>,
    /// `altered-in-transit`.
    pub warnings: Vec<&'static str>,
    /// Certificates that the identifier may mean: those whose key verifies, else those that match.
    pub certificates: Vec<Certificate>,
    /// Who signs, as the SignerInfo says it.
    pub identifier: SignerIdentifier,
    /// digestAlgorithm, where it is known.
    pub digest: Option<Digest>,
    /// signatureAlgorithm, where it is known.
    pub signature: Option<SignatureAlgorithm>,
    /// As the signer claims it. Proves nothing.
    pub signing_time: Option<Timestamp>,
    /// DER of SMIMECapabilities, as signed.
    pub capabilities: Option<Vec<u8>>,
    /// Which certificate the signer wants to be encrypted to.
    pub preference: Preference,
    digest_holds: bool,
    signature_holds: bool,
}

/// SMIMEEncryptionKeyPreference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preference {
    /// Nothing is said.
    None,
    /// This one.
    Named(EncryptionKeyPreference),
    /// Something is said that cannot be read.
    Unreadable,
}

impl Checked {
    /// Whether the digest is that of the content and the signature is over that digest, by the key of one of
    /// `certificates`. Says nothing about algorithms, nor about whose key it is.
    pub const fn holds(&self) -> bool {
        self.digest_holds && self.signature_holds
    }
}

type Hashed = Result<Vec<u8>, CryptoError>;

/// The octets that were or should have been signed. All signatures over them share what was computed.
#[derive(Debug)]
pub struct Content<'a> {
    octets: &'a [u8],
    digests: RefCell<Vec<(Digest, Hashed)>>,
    explained: Cell<bool>,
}

impl<'a> Content<'a> {
    /// Nothing is computed yet.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { octets, digests: RefCell::new(Vec::new()), explained: Cell::new(false) }
    }

    fn digest(&self, digest: Digest) -> Hashed {
        if let Some((_, known)) = self.digests.borrow().iter().find(|(of, _)| *of == digest) {
            return known.clone();
        }
        let computed = digest.hash(&[self.octets]);
        self.digests.borrow_mut().push((digest, computed.clone()));
        computed
    }

    /// Whether a relay may have altered it. Costs several digests, so the first signature that is altered gets an answer.
    fn altered_in_transit(&self, digest: Digest, expected: &[u8]) -> bool {
        !self.explained.replace(true) && altered::in_transit(digest, expected, self.octets)
    }
}

/// What one message may cost, and which digests count although weak.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// `--allow-weak`
    pub allow_weak: &'a [Digest],
    /// Bounds on what a message decides.
    pub limits: &'a Limits,
    /// The message's budget of signatures.
    pub memory: &'a Memory,
}

/// Checks `info` over `content`, the octets that were or should have been signed.
pub fn check(
    signed: &SignedData,
    info: &SignerInfo,
    content: &Content<'_>,
    certificates: &[Certificate],
    bounds: &Bounds<'_>,
) -> Checked {
    let digest = Digest::from_oid(&info.digest_algorithm.oid);
    let signature = SignatureAlgorithm::from_identifier(&info.signature_algorithm, digest);
    let mut checked = Checked {
        reasons: Vec::new(),
        warnings: Vec::new(),
        certificates: Vec::new(),
        identifier: info.identifier.clone(),
        digest,
        signature: signature.ok(),
        signing_time: None,
        capabilities: None,
        preference: Preference::None,
        digest_holds: false,
        signature_holds: false,
    };
    algorithms(info, signature, bounds.allow_weak, &mut checked);
    match &info.signed_attributes {
        Some(attributes) => attributes_hold(signed, info, attributes, content, &mut checked),
        // RFC 8551 section 2.5 wants signed attributes. Without them a signature over attributes can be
        // passed off as one over content (draft-ietf-lamps-cms-euf-cma-signeddata), so it never counts.
        None => checked.reasons.push(Reason::PolicyConstraint),
    }
    find_certificate(info, certificates, bounds, &mut checked);
    tidy(&mut checked.reasons);
    checked
}

fn algorithms(
    info: &SignerInfo,
    signature: Result<SignatureAlgorithm, CryptoError>,
    allow_weak: &[Digest],
    checked: &mut Checked,
) {
    let signature_digest = signature.ok().and_then(SignatureAlgorithm::digest);
    let weak = |digest: Option<Digest>| digest.is_some_and(|digest| digest.is_weak() && !allow_weak.contains(&digest));
    let is_weak = weak(checked.digest) || weak(signature_digest);
    if is_weak {
        checked.reasons.push(Reason::WeakAlgorithm);
    }
    match signature {
        Err(CryptoError::Malformed) => checked.reasons.push(Reason::Malformed),
        Err(_) if !is_weak => checked.reasons.push(Reason::Unsupported),
        _ => {}
    }
    if checked.digest.is_none() {
        checked.reasons.push(Reason::Unsupported);
    }
    // RFC 8933 section 3: with signed attributes both digests are the same one.
    let pinned = match signature {
        Ok(SignatureAlgorithm::Ed25519) => Some(Digest::Sha512),
        _ => signature_digest,
    };
    if info.signed_attributes.is_some() && pinned.is_some() && checked.digest.is_some() && pinned != checked.digest {
        checked.reasons.push(Reason::Malformed);
    }
}

fn attributes_hold(
    signed: &SignedData,
    info: &SignerInfo,
    attributes: &SignedAttributes,
    content: &Content<'_>,
    checked: &mut Checked,
) {
    if attributes.is_repeated() {
        checked.reasons.push(Reason::Malformed);
    }
    match attributes.content_type() {
        Ok(Some(kind)) if kind == signed.content_type => {}
        _ => checked.reasons.push(Reason::Malformed),
    }
    // Receipts (RFC 2634) and other content types are signed objects, but not mail.
    if signed.content_type != ID_DATA {
        checked.reasons.push(Reason::Unsupported);
    }
    match attributes.signing_time() {
        Ok(time) => checked.signing_time = time,
        Err(_) => checked.reasons.push(Reason::Malformed),
    }
    match attributes.algorithm_protection() {
        Ok(None) => {}
        Ok(Some(protected)) => {
            let signature_agrees = protected.signature.is_none_or(|id| id.oid == info.signature_algorithm.oid);
            if protected.digest.oid != info.digest_algorithm.oid || !signature_agrees {
                checked.reasons.push(Reason::BadSignature);
            }
        }
        Err(_) => checked.reasons.push(Reason::Malformed),
    }
    checked.capabilities = attributes.capabilities().map(<[u8]>::to_vec);
    checked.preference = match attributes.encryption_key_preference() {
        Ok(None) => Preference::None,
        Ok(Some(named)) => Preference::Named(named),
        Err(_) => Preference::Unreadable,
    };
    digest_holds(attributes, content, checked);
}

fn digest_holds(attributes: &SignedAttributes, content: &Content<'_>, checked: &mut Checked) {
    let expected = match attributes.message_digest() {
        Ok(Some(expected)) => expected,
        _ => return checked.reasons.push(Reason::Malformed),
    };
    let Some(digest) = checked.digest else { return };
    match content.digest(digest) {
        Ok(actual) if actual == expected => checked.digest_holds = true,
        Ok(_) => {
            checked.reasons.push(Reason::Altered);
            if content.altered_in_transit(digest, expected) {
                checked.warnings.push("altered-in-transit");
            }
        }
        // MD5 is never computed; it is weak anyway.
        Err(_) if checked.reasons.contains(&Reason::WeakAlgorithm) => {}
        Err(_) => checked.reasons.push(Reason::Unsupported),
    }
}

/// Below this RSA signatures are not computed at all, so nothing can be said about them but that they are weak.
const SMALLEST_MODULUS_BITS: usize = 1024;

/// Certificates that one SignerInfo may mean. Renewals over one key in one mail are two or three.
const MOST_MATCHING: usize = 4;

/// Finds the certificates that may be meant and those among them whose key verifies (I07, I66).
fn find_certificate(info: &SignerInfo, certificates: &[Certificate], bounds: &Bounds<'_>, checked: &mut Checked) {
    let mut matching: Vec<Certificate> = Vec::new();
    for certificate in certificates.iter().filter(|certificate| is_meant(&info.identifier, certificate)) {
        if matching.contains(certificate) {
            continue;
        }
        if matching.len() == MOST_MATCHING {
            // Which of them is meant cannot be told, and the one that matters may be left out.
            checked.reasons.push(Reason::Ambiguous);
            break;
        }
        matching.push(certificate.clone());
    }
    if matching.is_empty() {
        return checked.reasons.push(Reason::Untrusted);
    }
    let (Some(algorithm), Some(attributes)) = (checked.signature, &info.signed_attributes) else {
        // Without signed attributes it never counts, whether it verifies or not.
        checked.certificates = matching;
        return;
    };
    let (mut unsupported, mut weak, mut spent) = (false, false, false);
    let mut verifying = Vec::new();
    for certificate in matching.iter().filter(|certificate| is_named(attributes, certificate)) {
        let key = certificate.key_info();
        let too_short = matches!(key, KeyInfo::Rsa { bits, .. } if bits < SMALLEST_MODULUS_BITS);
        let too_long = matches!(key, KeyInfo::Rsa { bits, exponent }
            if bits > bounds.limits.rsa_bits_max || exponent > u64::from(u32::MAX));
        weak |= too_short;
        unsupported |= too_short || too_long;
        if too_long {
            continue;
        }
        if !bounds.memory.take_signature(bounds.limits) {
            spent = true;
            break;
        }
        match verifies(algorithm, attributes, info, certificate) {
            Ok(()) => verifying.push(certificate.clone()),
            Err(error) => unsupported |= error == CryptoError::Unsupported,
        }
    }
    if !verifying.is_empty() {
        checked.certificates = verifying;
        checked.signature_holds = true;
        return;
    }
    checked.certificates = matching;
    if weak {
        checked.reasons.push(Reason::WeakAlgorithm);
    }
    if spent {
        checked.reasons.push(Reason::TooComplex);
    } else if !unsupported {
        checked.reasons.push(Reason::BadSignature);
    } else if !checked.reasons.contains(&Reason::WeakAlgorithm) {
        checked.reasons.push(Reason::Unsupported);
    }
}

fn verifies(
    algorithm: SignatureAlgorithm,
    attributes: &SignedAttributes,
    info: &SignerInfo,
    certificate: &Certificate,
) -> Result<(), CryptoError> {
    let key = certificate.spki_der();
    let first = crypto::verify(algorithm, key, attributes.as_received(), &info.signature);
    // RFC 5652 section 5.4: the signature is over the DER encoding, even where the SET came unsorted.
    if first == Err(CryptoError::BadSignature) && attributes.as_received() != attributes.sorted() {
        return crypto::verify(algorithm, key, attributes.sorted(), &info.signature);
    }
    first
}

fn is_meant(identifier: &SignerIdentifier, certificate: &Certificate) -> bool {
    match identifier {
        SignerIdentifier::IssuerAndSerial(issuer, serial) => {
            certificate.serial() == serial && certificate.issuer().matches(issuer)
        }
        SignerIdentifier::KeyIdentifier(identifier) => {
            certificate.subject_key_identifier() == Some(identifier.as_slice())
        }
    }
}

/// Whether the ESS attributes, where there are any, name this certificate (RFC 5035 section 5.4).
fn is_named(attributes: &SignedAttributes, certificate: &Certificate) -> bool {
    let Ok(named) = attributes.signing_certificates() else { return false };
    named.iter().all(|identifier| {
        let hash = identifier.digest.and_then(|digest| digest.hash(&[certificate.der()]).ok());
        let issuer_serial = identifier.issuer_serial.as_ref();
        hash.as_deref() == Some(identifier.hash.as_slice())
            && issuer_serial
                .is_none_or(|(issuer, serial)| certificate.serial() == serial && certificate.issuer().matches(issuer))
    })
}

/// What certificates are judged against.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The time of the check: receipt, never signingTime (I26).
    pub at: Timestamp,
    /// Anchors that may speak for the sender's domain.
    pub anchors: &'a [TrustAnchor],
    /// Certificates from the mail and from look-ups.
    pub untrusted: &'a [Certificate],
    /// CRLs from look-ups; never from the mail.
    pub crls: &'a [Crl],
    /// Overrides the anchors' modes.
    pub revocation: Option<RevocationMode>,
    /// Digests accepted although weak.
    pub allow_weak: &'a [Digest],
    /// Certificates that an operator blocked, as [`Certificate::is_among`] finds them.
    pub blocked: &'a HashSet<[u8; 32]>,
    /// Bounds for path building.
    pub limits: &'a Limits,
    /// The one mailbox in `From`, if there is one.
    pub from: Option<&'a Address>,
    /// The mailboxes in `Sender`.
    pub senders: &'a [Address],
    /// The message's budget, and what its signers and rounds found out already.
    pub memory: &'a Memory,
    /// Reports of this round by the certificate's SHA-256: everything else that they depend on is the same.
    pub reports: &'a RefCell<HashMap<[u8; 32], PathReport>>,
}

/// One signature, judged.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Of this signature alone.
    pub verdict: Verdict,
    /// In order, each once.
    pub reasons: Vec<Reason>,
    /// The address by which it is bound to From, else the first one the certificate names.
    pub address: Option<Address>,
    /// Whether the certificate names the mailbox in From.
    pub bound_to_from: bool,
    /// The signer's certificate, if it was found.
    pub certificate: Option<Certificate>,
    /// Issuer and serial, or key identifier, as the SignerInfo says them.
    pub identifier: String,
    /// Issuer of the certificate, from the SignerInfo where no certificate was found.
    pub issuer: Option<Name>,
    /// Serial in lower-case hex, likewise.
    pub serial: Option<String>,
    /// Digest of the content.
    pub digest: Option<Digest>,
    /// Signature algorithm.
    pub signature: Option<SignatureAlgorithm>,
    /// As the signer claims it.
    pub signing_time: Option<Timestamp>,
    /// Status of the path, and what says so.
    pub revocation: RevocationStatus,
    /// End entity first, anchor last, as far as it could be built.
    pub chain: Vec<Certificate>,
}

/// A signature's judgement and what further facts could change it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The judgement.
    pub signer: Signer,
    /// From the checks and from the path.
    pub warnings: Vec<&'static str>,
    /// The path, if there was a certificate.
    pub path: Option<PathReport>,
    /// The revocation status is unknown, and the anchor tolerates that (`soft-fail`).
    pub soft: bool,
}

/// Clocks differ: a signing time this far ahead is not called future (Kerberos, RFC 4120, allows five minutes too).
const CLOCK_SKEW_SECONDS: i64 = 300;

/// Judges certificate, path and address of a checked signature.
pub fn judge(checked: &Checked, trust: &Trust<'_>) -> Judged {
    let best = best_path(checked, trust);
    let mut reasons = checked.reasons.clone();
    let mut warnings = checked.warnings.clone();
    let (certificate, path) = best.map_or((None, None), |(certificate, path)| (Some(certificate), Some(path)));
    let mut bound = None;
    let mut soft = false;
    if let Some(certificate) = &certificate {
        bound = bind(certificate, trust, &mut reasons);
        time_warnings(checked.signing_time, certificate, trust.at, &mut warnings);
    }
    if let Some(path) = &path {
        reasons.extend_from_slice(&path.reasons);
        warnings.extend_from_slice(&path.warnings);
        // A path may stand although nobody knows whether it was revoked; a signature by it is not proven then.
        soft = path.revocation.status == Status::Unknown && !path.reasons.contains(&Reason::RevocationUnknown);
        if soft {
            reasons.push(Reason::RevocationUnknown);
        }
        let mut in_use = path.chain.iter().chain(&certificate);
        if in_use.any(|certificate| certificate.is_among(trust.blocked)) {
            reasons.push(Reason::BlockedLocally);
        }
    }
    tidy(&mut reasons);
    let (issuer, serial) = issuer_and_serial(&checked.identifier, certificate.as_ref());
    let signer = Signer {
        verdict: Verdict::of(&reasons),
        reasons,
        bound_to_from: bound.is_some(),
        address: bound.or_else(|| certificate.as_ref().and_then(|c| c.addresses().first().cloned())),
        identifier: describe(&checked.identifier),
        issuer,
        serial,
        digest: checked.digest,
        signature: checked.signature,
        signing_time: checked.signing_time,
        revocation: path.as_ref().map_or_else(not_checked, |path| path.revocation.clone()),
        chain: path.as_ref().map_or_else(Vec::new, |path| path.chain.clone()),
        certificate,
    };
    Judged { signer, warnings, path, soft }
}

/// Of the certificates that may be meant, the first with a faultless path; else one with a path to an anchor, and one that
/// is revoked or blocked before others: a copy that nobody vouches for must not hide what is known about the genuine one.
/// One that names the mailbox in `From` goes before others with the same key.
fn best_path(checked: &Checked, trust: &Trust<'_>) -> Option<(Certificate, PathReport)> {
    let mut candidates: Vec<&Certificate> = checked.certificates.iter().collect();
    candidates.sort_by_key(|certificate| !trust.from.is_some_and(|from| certificate.names_address(from)));
    let mut best: Option<((bool, bool), &Certificate, PathReport)> = None;
    for certificate in candidates {
        let report = report(certificate, trust);
        if report.is_valid() {
            return Some((certificate.clone(), report));
        }
        let condemned = report.reasons.iter().any(|reason| matches!(reason, Reason::Revoked | Reason::OnHold))
            || certificate.is_among(trust.blocked);
        let rank = (report.anchor.is_some(), condemned);
        if best.as_ref().is_none_or(|(known, _, _)| *known < rank) {
            best = Some((rank, certificate, report));
        }
    }
    best.map(|(_, certificate, report)| (certificate.clone(), report))
}

fn report(certificate: &Certificate, trust: &Trust<'_>) -> PathReport {
    if let Some(known) = trust.reports.borrow().get(&certificate.sha256()) {
        return known.clone();
    }
    let report = path::validate_within(
        &PathRequest {
            end_entity: certificate,
            untrusted: trust.untrusted,
            anchors: trust.anchors,
            crls: trust.crls,
            at: trust.at,
            purpose: Purpose::EmailSign,
            // Bound to From below: the path alone can't tell Sender from From.
            address: None,
            revocation: trust.revocation,
            crl_grace: std::time::Duration::ZERO,
            policy: &PolicyInputs::default(),
            allow_weak: trust.allow_weak,
            limits: trust.limits,
        },
        trust.memory,
    );
    trust.reports.borrow_mut().insert(certificate.sha256(), report.clone());
    report
}

/// The address by which the certificate is bound to `From`; else says why it is not (I23, I24).
fn bind(certificate: &Certificate, trust: &Trust<'_>, reasons: &mut Vec<Reason>) -> Option<Address> {
    if certificate.addresses().is_empty() {
        reasons.push(Reason::NoAddress);
        return None;
    }
    // Without one mailbox in From the message as a whole is ambiguous; there is nothing to be bound to.
    let from = trust.from?;
    if certificate.names_address(from) {
        let named = certificate.addresses().iter().find(|address| address.same_mailbox(from));
        return Some(named.unwrap_or(from).clone());
    }
    let by_sender = trust.senders.iter().any(|sender| certificate.names_address(sender));
    reasons.push(if by_sender { Reason::SignedBySender } else { Reason::AddressMismatch });
    None
}

fn time_warnings(time: Option<Timestamp>, certificate: &Certificate, at: Timestamp, warnings: &mut Vec<&'static str>) {
    let Some(time) = time else { return };
    if time.as_second() > at.as_second().saturating_add(CLOCK_SKEW_SECONDS) {
        warnings.push("signing-time-future");
    }
    if time < certificate.not_before() || time > certificate.not_after() {
        warnings.push("signing-time-outside-validity");
    }
}

fn issuer_and_serial(
    identifier: &SignerIdentifier,
    certificate: Option<&Certificate>,
) -> (Option<Name>, Option<String>) {
    match (certificate, identifier) {
        (Some(certificate), _) => (Some(certificate.issuer().clone()), Some(certificate.serial_hex())),
        (None, SignerIdentifier::IssuerAndSerial(issuer, serial)) => {
            (Some(issuer.clone()), Some(super::serial_hex(serial)))
        }
        (None, SignerIdentifier::KeyIdentifier(_)) => (None, None),
    }
}

fn describe(identifier: &SignerIdentifier) -> String {
    match identifier {
        SignerIdentifier::IssuerAndSerial(issuer, serial) => {
            format!("issuer {issuer}, serial {}", super::serial_hex(serial))
        }
        SignerIdentifier::KeyIdentifier(octets) => {
            format!("key identifier {}", data_encoding::HEXLOWER.encode(octets))
        }
    }
}

const fn not_checked() -> RevocationStatus {
    RevocationStatus {
        status: Status::NotChecked,
        source: None,
        time: None,
        reason: None,
        evidence: None,
        serial: None,
    }
}

/// In the order of the list, each once.
pub(super) fn tidy(reasons: &mut Vec<Reason>) {
    reasons.sort_unstable();
    reasons.dedup();
}
