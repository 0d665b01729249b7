//! The reason codes: why a signature, a path or a message is not what it claims to be.
//!
//! The same codes stand in header fields, JSON, the audit log and reports, so they have one type,
//! above every module that finds one. This module finds nothing itself.

use std::fmt;

/// One reason code. The order of the variants is the order in which reasons are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The signed bytes are not the ones that were signed.
    Altered,
    /// The signature value does not verify under the signer's key.
    BadSignature,
    /// No path to a trust anchor.
    Untrusted,
    /// A certificate of the path has ended.
    Expired,
    /// A certificate of the path has not begun.
    NotYetValid,
    /// A certificate of the path is revoked.
    Revoked,
    /// A certificate of the path is suspended (`certificateHold`).
    OnHold,
    /// Whether a certificate of the path is revoked could not be established.
    RevocationUnknown,
    /// The certificate is not meant for signing mail (key usage, extended key usage).
    NotForMail,
    /// The certificate names no mail address.
    NoAddress,
    /// The certificate names other addresses than `From`.
    AddressMismatch,
    /// The certificate names the address in `Sender`, not the one in `From`.
    SignedBySender,
    /// An algorithm or key that is too weak to prove anything.
    WeakAlgorithm,
    /// The signature covers only a part of the message.
    Partial,
    /// Two readers could take the message for two different messages.
    Ambiguous,
    /// The structure breaks its standard.
    Malformed,
    /// An algorithm or structure that is not implemented.
    Unsupported,
    /// A limit was reached before the end.
    TooComplex,
    /// No key that opens the encrypted layer.
    Undecryptable,
    /// Decrypted, but nothing proves that the content was not changed on its way.
    IntegrityUnproven,
    /// Path validation failed for its policies or constraints.
    PolicyConstraint,
    /// The certificate was blocked here by an operator.
    BlockedLocally,
    /// The key is in its owner's custody and locked.
    KeyLocked,
    /// Encryption is required and no usable certificate of the recipient is known.
    NoRecipientCertificate,
    /// Signing is required and the sender has no usable key.
    NoSigningKey,
    /// The sender may not use this address.
    SenderNotAuthorised,
}

impl Reason {
    /// Every reason, in the order of reporting.
    pub const ALL: [Self; 26] = [
        Self::Altered,
        Self::BadSignature,
        Self::Untrusted,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::OnHold,
        Self::RevocationUnknown,
        Self::NotForMail,
        Self::NoAddress,
        Self::AddressMismatch,
        Self::SignedBySender,
        Self::WeakAlgorithm,
        Self::Partial,
        Self::Ambiguous,
        Self::Malformed,
        Self::Unsupported,
        Self::TooComplex,
        Self::Undecryptable,
        Self::IntegrityUnproven,
        Self::PolicyConstraint,
        Self::BlockedLocally,
        Self::KeyLocked,
        Self::NoRecipientCertificate,
        Self::NoSigningKey,
        Self::SenderNotAuthorised,
    ];

    /// The code as it is written everywhere outside.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::BadSignature => "bad-signature",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::OnHold => "on-hold",
            Self::RevocationUnknown => "revocation-unknown",
            Self::NotForMail => "not-for-mail",
            Self::NoAddress => "no-address",
            Self::AddressMismatch => "address-mismatch",
            Self::SignedBySender => "signed-by-sender",
            Self::WeakAlgorithm => "weak-algorithm",
            Self::Partial => "partial",
            Self::Ambiguous => "ambiguous",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::TooComplex => "too-complex",
            Self::Undecryptable => "undecryptable",
            Self::IntegrityUnproven => "integrity-unproven",
            Self::PolicyConstraint => "policy-constraint",
            Self::BlockedLocally => "blocked-locally",
            Self::KeyLocked => "key-locked",
            Self::NoRecipientCertificate => "no-recipient-certificate",
            Self::NoSigningKey => "no-signing-key",
            Self::SenderNotAuthorised => "sender-not-authorised",
        }
    }

    /// The reason with this code, if there is one.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn codes_round_trip_and_keep_their_order() {
        let mut sorted = Reason::ALL;
        sorted.sort();
        assert_eq!(sorted, Reason::ALL);
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code("fine"), None);
    }
}
