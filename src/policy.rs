//! Decides what happens to a message: Inspected × Facts × Policy × now → Decision. Pure.
pub mod decide;
pub mod facts;
pub mod rule;
pub use decide::{Decided, Decision, HoldClass, Refusal, RefusalKind, Treatment, decide};
pub use facts::{Facts, KeyKind, SenderKey, Side, Standing};
pub use rule::{
    Authorise, DomainPolicy, Encrypt, IncomingPolicy, IncomingTreatment, Policy, Sign, Substitute, Unvouched,
};
