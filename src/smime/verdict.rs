//! The verdict on a message, and what it is called in Authentication-Results: the table of reasons.
//!
//! Finds no reason itself. A reason that is not in the table counts as invalid, never as valid.

use crate::reason::Reason;

/// What is said about a message as a whole, or about one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed, and everything holds.
    Valid,
    /// Signed, and something is wrong.
    Invalid,
    /// Signed, and it could not be established whether it holds.
    Indeterminate,
    /// Nothing to judge: no S/MIME, or encrypted to somebody else and not signed outside.
    None,
}

impl Verdict {
    /// As in headers, JSON and the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Indeterminate => "indeterminate",
            Self::None => "none",
        }
    }

    /// The verdict of a signed message with these reasons: any of `invalid` outranks `indeterminate`.
    pub fn of(reasons: &[Reason]) -> Self {
        match reasons.iter().map(|reason| class(*reason)).min() {
            None => Self::Valid,
            Some(Class::Fail | Class::Policy | Class::Malformed) => Self::Invalid,
            Some(Class::Temporary | Class::Neutral | Class::TooComplex) => Self::Indeterminate,
        }
    }
}

/// The RFC 7281 result of a signature with these reasons: `pass`, `fail`, `policy`, `permerror`, `temperror` or `neutral`.
pub fn result(reasons: &[Reason]) -> &'static str {
    match reasons.iter().map(|reason| class(*reason)).min() {
        None => "pass",
        Some(Class::Fail) => "fail",
        Some(Class::Policy) => "policy",
        Some(Class::Malformed | Class::TooComplex) => "permerror",
        Some(Class::Temporary) => "temperror",
        Some(Class::Neutral) => "neutral",
    }
}

/// The rows of the table, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Fail,
    Policy,
    Malformed,
    Temporary,
    Neutral,
    TooComplex,
}

const fn class(reason: Reason) -> Class {
    match reason {
        Reason::Altered
        | Reason::BadSignature
        | Reason::AddressMismatch
        | Reason::Ambiguous
        | Reason::Revoked
        | Reason::OnHold
        | Reason::BlockedLocally
        | Reason::Expired
        | Reason::NotYetValid
        | Reason::NoAddress
        | Reason::NoRecipientCertificate
        | Reason::NoSigningKey
        | Reason::SenderNotAuthorised => Class::Fail,
        Reason::Partial
        | Reason::SignedBySender
        | Reason::NotForMail
        | Reason::WeakAlgorithm
        | Reason::PolicyConstraint => Class::Policy,
        Reason::Malformed => Class::Malformed,
        Reason::RevocationUnknown => Class::Temporary,
        Reason::Untrusted
        | Reason::Unsupported
        | Reason::Undecryptable
        | Reason::IntegrityUnproven
        | Reason::KeyLocked => Class::Neutral,
        Reason::TooComplex => Class::TooComplex,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, result};
    use crate::reason::Reason::{self, *};

    #[test]
    fn reasons_give_verdict_and_result() {
        let check = |reasons: &[Reason], verdict, word| {
            assert_eq!((Verdict::of(reasons), result(reasons)), (verdict, word), "{reasons:?}");
        };
        check(&[], Verdict::Valid, "pass");
        for reason in [
            Altered,
            BadSignature,
            AddressMismatch,
            Ambiguous,
            Revoked,
            OnHold,
            BlockedLocally,
            Expired,
            NotYetValid,
            NoAddress,
        ] {
            check(&[reason], Verdict::Invalid, "fail");
        }
        for reason in [Partial, SignedBySender, NotForMail, WeakAlgorithm, PolicyConstraint] {
            check(&[reason], Verdict::Invalid, "policy");
        }
        check(&[Malformed], Verdict::Invalid, "permerror");
        check(&[RevocationUnknown], Verdict::Indeterminate, "temperror");
        for reason in [Untrusted, Unsupported, Undecryptable, IntegrityUnproven, KeyLocked] {
            check(&[reason], Verdict::Indeterminate, "neutral");
        }
        check(&[TooComplex], Verdict::Indeterminate, "permerror");
        check(&[Untrusted, Altered], Verdict::Invalid, "fail");
        check(&[Untrusted, WeakAlgorithm], Verdict::Invalid, "policy");
        check(&[RevocationUnknown, Partial], Verdict::Invalid, "policy");
        check(&[Untrusted, RevocationUnknown], Verdict::Indeterminate, "temperror");
        for reason in Reason::ALL {
            assert_ne!(Verdict::of(&[reason]), Verdict::Valid, "{reason}");
        }
    }
}
