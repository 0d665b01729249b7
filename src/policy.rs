//! Decides what happens to a message: `Inspected` × `Facts` × `Policy` × now → `Decision`.
//!
//! Pure. It never looks anything up and never changes a message. What can't be decided because a fact is missing
//! is a deferral, never a guess.

pub mod decide;
pub mod decided;
pub mod facts;
mod incoming;
pub mod matching;
mod outgoing;
pub mod protect;
pub mod rule;
mod signing;
pub mod trial;

pub use decide::{Decision, codes, decide, recipient, reverse_path, rule_at_rcpt};
pub use decided::{Decided, ForRecipient, Form, HoldClass, Mark, Refusal, RefusalKind, Removals, Signing, Treatment};
pub use facts::{
    Again, Facts, KeyKind, RecipientCertificate, RecipientFacts, RecipientStanding, SenderKey, Side, Standing, Triggers,
};
pub use incoming::found_for;
pub use matching::{Condition, Trace, trace};
pub use outgoing::{Wanted, wanted_for};
pub use protect::EncryptTo;
pub use rule::{
    Authorise, DomainPolicy, Encrypt, IncomingPolicy, IncomingTreatment, Pattern, Policy, Rule, Sign, SignedForm,
    Substitute, Unvouched, Voucher,
};
pub use signing::{Vouched, vouched};

/// What decides while an emergency bypass lasts; no rule of the policy file may be called so.
pub const BYPASS: &str = "emergency-bypass";

#[cfg(test)]
mod tests;
