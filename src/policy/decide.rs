//! The decision.
use super::{Facts, Policy, SenderKey};
use crate::mail::Address;
use crate::reason::Reason;
use jiff::Timestamp;
#[derive(Debug)]
pub enum Decision {
    Accept(Decided),
    Refuse(Refusal),
    Defer(Refusal),
}
/// Why not. One function in `pipeline::reply` turns it into an SMTP reply; `detail` is for the log only.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub addresses: Vec<Address>,
    pub detail: String,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /** From is none, several or ambiguous: 550 5.6.0 */
    AmbiguousSender,
    /** 550 5.7.1 */
    SenderNotAuthorised,
    /** required and no key: 550 5.7.1 */
    NoSigningKey,
    /** own key's status can't be known now: 451 4.7.5 */
    OwnStatusUnknown,
    /** incoming `reject`: 550 5.7.7/5.7.1 */
    Rejected(Reason),
    /** revocation-unknown under hard-fail: 451 4.7.5 */
    RevocationUnknown,
    /** 550 5.6.0 */
    Malformed,
}
/// What was decided, per recipient. Only `decide` makes one.
#[derive(Debug)]
pub struct Decided {
    pub(in crate::policy) treatments: Vec<(Address, Treatment)>,
    pub(in crate::policy) signing: Option<Signing>,
    pub(in crate::policy) mark: Mark,
    pub(in crate::policy) rule: String,
}
#[derive(Clone, Debug)]
pub enum Treatment {
    Deliver,
    Hold { class: HoldClass, reasons: Vec<Reason> },
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldClass {
    Quarantine,
    AwaitingKey,
    AwaitingRevocation,
    SignerRevoked,
    Operator,
}
impl HoldClass {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::AwaitingKey => "awaiting-key",
            Self::AwaitingRevocation => "awaiting-revocation",
            Self::SignerRevoked => "signer-revoked",
            Self::Operator => "operator",
        }
    }
}
/// Sign with this key; `sender` names the substitute's address for the `Sender` field.
#[derive(Clone, Debug)]
pub struct Signing {
    pub key: SenderKey,
    pub sender: Option<Address>,
}
/// Which of our fields are written. Incoming: verdict and results. Outgoing: forged ones are removed, none is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Verdict,
    None,
}
impl Decided {
    pub fn treatments(&self) -> &[(Address, Treatment)] {
        &self.treatments
    }
    pub fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }
    pub fn mark(&self) -> Mark {
        self.mark
    }
    /// Name of the table row or rule that fired, for audit and `explain`.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}
pub fn decide(_facts: &Facts, _policy: &Policy, _now: Timestamp) -> Decision {
    todo!()
}
