//! What the operator has set, as checked values.
use crate::mail::{Address, Domain};
use crate::reason::Reason;
use std::time::Duration;

/// `sign` of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Required,
    WhenPossible,
    Never,
}
/// `encrypt` of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encrypt {
    Required,
    WhenPossible,
    Never,
}
/// `substitute`: who signs for a sender without a key of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitute {
    None,
    Organisation,
    System,
}
/// `unvouched`: own address in `From`, another in the reverse-path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unvouched {
    Refuse,
    PassUnsigned,
}
/// A reason's treatment for incoming mail, weakest first: the strongest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncomingTreatment {
    Deliver,
    Quarantine,
    Reject,
}

#[derive(Clone, Debug)]
pub struct DomainPolicy {
    pub domain: Domain,
    pub sign: Sign,
    pub encrypt: Encrypt,
    pub substitute: Substitute,
    pub unvouched: Unvouched,
}
/// `[[authorise]]`: who may be signed for besides himself.
#[derive(Clone, Debug)]
pub struct Authorise {
    pub envelope: Address,
    pub from: Vec<Address>,
}
#[derive(Clone, Debug)]
pub struct IncomingPolicy {
    /** one entry per reason; reasons that are absent have the default */
    pub treatments: Vec<(Reason, IncomingTreatment)>,
    pub own_domain: IncomingTreatment,
    pub defer_for: Duration,
    pub hold_for: Duration,
}
/// Everything `decide` needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /** authserv-id, name in Received */
    pub hostname: String,
    pub domains: Vec<DomainPolicy>,
    pub authorise: Vec<Authorise>,
    pub incoming: IncomingPolicy,
    /** SHA-256 of the canonical policy, stands in every decision */
    pub hash: String,
}
impl Policy {
    pub fn domain(&self, domain: &Domain) -> Option<&DomainPolicy> {
        self.domains.iter().find(|own| own.domain.same(domain))
    }
}
impl IncomingPolicy {
    /// DESIGN section 5's defaults.
    pub fn default_treatment(_reason: Reason) -> IncomingTreatment {
        todo!()
    }
    pub fn treatment(&self, _reason: Reason) -> IncomingTreatment {
        todo!()
    }
}
impl Default for IncomingPolicy {
    fn default() -> Self {
        Self {
            treatments: Vec::new(),
            own_domain: IncomingTreatment::Quarantine,
            defer_for: Duration::from_secs(3600),
            hold_for: Duration::from_secs(86_400),
        }
    }
}
