use super::{Certificate, Crl, Name, Purpose, RevocationMode, RevocationStatus};
use crate::limits::Limits;
use crate::mail::{Address, Domain};
use crate::reason::Reason;
use jiff::Timestamp;
#[derive(Clone, Debug)]
pub struct TrustAnchor {
    pub certificate: Certificate,
    pub revocation: RevocationMode,
    /** sender domains it may speak for; empty: any */
    pub domains: Vec<Domain>,
    pub source: AnchorSource,
}
/// Where `trust list` says it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorSource {
    Configuration(String),
    Imported(String),
    CommandLine,
}
/// Inputs of RFC 5280 section 6.1.1 d to g.
#[derive(Clone, Debug, Default)]
pub struct PolicyInputs {
    /** initial set; empty: anyPolicy */
    pub policies: Vec<der::asn1::ObjectIdentifier>,
    pub explicit: bool,
    pub inhibit_mapping: bool,
    pub inhibit_any: bool,
}
pub struct PathRequest<'a> {
    pub end_entity: &'a Certificate,
    pub untrusted: &'a [Certificate],
    pub anchors: &'a [TrustAnchor],
    pub crls: &'a [Crl],
    pub at: Timestamp,
    pub purpose: Purpose,
    /// The address that the end entity must name, if one is asked for: gives no-address or address-mismatch.
    pub address: Option<&'a Address>,
    /// Overrides the anchor's mode (`--revocation`).
    pub revocation: Option<RevocationMode>,
    /// How long a CRL may be used past its nextUpdate (`status_grace`; zero for others' certificates).
    pub crl_grace: std::time::Duration,
    pub policy: &'a PolicyInputs,
    /// Digests accepted although weak (`--allow-weak sha1`).
    pub allow_weak: &'a [crate::crypto::Digest],
    pub limits: &'a Limits,
}
/// All that could be established, in the order of `Reason`.
#[derive(Clone, Debug)]
pub struct PathReport {
    pub reasons: Vec<Reason>,
    /// End entity first, anchor last. As far as it could be built when there is no whole path.
    pub chain: Vec<Certificate>,
    pub anchor: Option<TrustAnchor>,
    pub revocation: RevocationStatus,
    /// `revocation-not-checked`, `revocation-unknown-soft` …
    pub warnings: Vec<&'static str>,
    /// Issuer names that were looked for and not found (for look-ups).
    pub missing_issuers: Vec<Name>,
    /// Issuers whose CRLs would be needed (for look-ups).
    pub missing_crls: Vec<Name>,
}
impl PathReport {
    pub fn is_valid(&self) -> bool {
        self.reasons.is_empty()
    }
}
/// Builds and validates under a budget; of several paths the best one is reported.
pub fn validate(_request: &PathRequest<'_>) -> PathReport {
    todo!()
}
