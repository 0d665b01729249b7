//! Decides what happens to a message: `Inspected` × `Facts` × `Policy` × now → `Decision`.
//!
//! Pure. It never looks anything up and never changes a message. What can't be decided because a fact is missing
//! is a deferral, never a guess.

pub mod decide;
pub mod facts;
pub mod rule;

pub use decide::{
    Decided, Decision, HoldClass, Mark, Refusal, RefusalKind, Signing, Treatment, codes, decide, recipient,
};
pub use facts::{Facts, KeyKind, SenderKey, Side, Standing};
pub use rule::{
    Authorise, DomainPolicy, Encrypt, IncomingPolicy, IncomingTreatment, Policy, Sign, Substitute, Unvouched,
};
