//! Decides what happens to a message: `Inspected` × `Facts` × `Policy` × now → `Decision`.
//!
//! Pure. It never looks anything up and never changes a message. What can't be decided because a fact is missing
//! is a deferral, never a guess.

pub mod decide;
pub mod facts;
mod incoming;
pub mod protect;
pub mod rule;

pub use decide::{
    Decided, Decision, ForRecipient, Form, HoldClass, Mark, Refusal, RefusalKind, Removals, Signing, Treatment, codes,
    decide, encryption_at_rcpt, recipient,
};
pub use facts::{
    Again, Facts, KeyKind, RecipientCertificate, RecipientFacts, RecipientStanding, SenderKey, Side, Standing, Triggers,
};
pub use protect::EncryptTo;
pub use rule::{
    Authorise, DomainPolicy, Encrypt, IncomingPolicy, IncomingTreatment, Pattern, Policy, Rule, Sign, Substitute,
    Unvouched, Voucher,
};
