//! Path building and validation (RFC 5280 section 6, RFC 8550 section 4, RFC 9618).
//!
//! `search` finds paths under a budget, `rules` holds each one against RFC 5280 (with certval) and against what mail asks
//! for. All reasons that can be established are reported. Nothing here fetches anything; what would help is named in
//! `missing_issuers` and `missing_crls`.

mod memory;
mod rules;
mod search;

pub use memory::Memory;

use super::{Certificate, Crl, Name, Purpose, RevocationMode, RevocationStatus};
use crate::limits::Limits;
use crate::mail::{Address, Domain};
use crate::reason::Reason;
use jiff::Timestamp;

/// A certificate that is trusted because an operator said so.
#[derive(Clone, Debug)]
pub struct TrustAnchor {
    /// A CA (self-signed or not), or one end entity that is trusted by itself.
    pub certificate: Certificate,
    /// How certificates below it are checked.
    pub revocation: RevocationMode,
    /// Sender domains it may speak for; empty: any.
    pub domains: Vec<Domain>,
    /// Where it came from.
    pub source: AnchorSource,
    /// What certificates learned from mail signed under it are worth.
    pub harvest: Harvesting,
}

/// What a certificate is worth that was learned from validly signed mail (`trust.anchor.harvest`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Harvesting {
    /// The CA checks whom it certifies: it may be encrypted to.
    #[default]
    Trusted,
    /// It was seen, no more.
    Seen,
}

/// Where `trust list` says it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorSource {
    /// The configuration, with the file.
    Configuration(String),
    /// `trust import`, with what was said about it.
    Imported(String),
    /// `--trust`.
    CommandLine,
}

/// Inputs of RFC 5280 section 6.1.1 c and e to g.
#[derive(Clone, Debug, Default)]
pub struct PolicyInputs {
    /// initial set; empty: anyPolicy
    pub policies: Vec<der::asn1::ObjectIdentifier>,
    /// initial-explicit-policy
    pub explicit: bool,
    /// initial-policy-mapping-inhibit
    pub inhibit_mapping: bool,
    /// initial-any-policy-inhibit
    pub inhibit_any: bool,
}

/// A question about one certificate.
pub struct PathRequest<'a> {
    /// The certificate in question.
    pub end_entity: &'a Certificate,
    /// Certificates that may stand between it and an anchor; nothing is believed about them.
    pub untrusted: &'a [Certificate],
    /// The anchors.
    pub anchors: &'a [TrustAnchor],
    /// CRLs from anywhere; each proves itself.
    pub crls: &'a [Crl],
    /// The moment for which the question is asked.
    pub at: Timestamp,
    /// What it should be good for.
    pub purpose: Purpose,
    /// The address that the end entity must name, if one is asked for: gives no-address or address-mismatch.
    pub address: Option<&'a Address>,
    /// Overrides the anchor's mode (`--revocation`).
    pub revocation: Option<RevocationMode>,
    /// How long a CRL may be used past its nextUpdate (`status_grace`; zero for others' certificates).
    pub crl_grace: std::time::Duration,
    /// Policies that are asked for.
    pub policy: &'a PolicyInputs,
    /// Digests accepted although weak (`--allow-weak sha1`).
    pub allow_weak: &'a [crate::crypto::Digest],
    /// Budgets.
    pub limits: &'a Limits,
}

/// All that could be established, in the order of `Reason`.
#[derive(Clone, Debug)]
pub struct PathReport {
    /// Empty exactly if the path is valid.
    pub reasons: Vec<Reason>,
    /// End entity first, anchor last. As far as it could be built when there is no whole path.
    pub chain: Vec<Certificate>,
    /// The anchor that the path ends in.
    pub anchor: Option<TrustAnchor>,
    /// The worst status in the path.
    pub revocation: RevocationStatus,
    /// `revocation-not-checked`, `revocation-unknown`.
    pub warnings: Vec<&'static str>,
    /// Issuer names that were looked for and not found (for look-ups).
    pub missing_issuers: Vec<Name>,
    /// Issuers whose CRLs would be needed (for look-ups).
    pub missing_crls: Vec<Name>,
    /// Where these CRLs are, as the certificates of a proven path say. Empty where anything but a date or an address stands
    /// against the path: what an untrusted certificate names is never asked (I67).
    pub wanted_crls: Vec<WantedCrls>,
}

/// CRLs of one issuer that would be needed, and where they are.
#[derive(Clone, Debug)]
pub struct WantedCrls {
    /// The issuer.
    pub issuer: Name,
    /// For each distribution point the `http` and `https` addresses of its CRL; any one of a point's will do. The `ldap` ones,
    /// where there are no others: they can't be asked, only told.
    pub points: Vec<Vec<String>>,
    /// Certificates of the path with the issuer's name: one of these signs the CRL.
    pub signers: Vec<Certificate>,
}

impl PathReport {
    /// Whether there is nothing to say against the path.
    pub fn is_valid(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Builds and validates under a budget; of several paths the best one is reported.
pub fn validate(request: &PathRequest<'_>) -> PathReport {
    validate_within(request, &Memory::default())
}

/// As [`validate`], with the budget and the findings of `memory`: for several certificates of one message.
pub fn validate_within(request: &PathRequest<'_>, memory: &Memory) -> PathReport {
    search::Search::new(request, search::CrlSigners::Search, memory).run()
}

#[cfg(test)]
mod tests;
