//! What a decision says: what happens to the mail for each recipient, or why it is not taken.

use super::SenderKey;
use super::protect::EncryptTo;
use super::rule::SignedForm;
use crate::mail::Address;
use crate::mail::header::HeaderError;
use crate::reason::Reason;

/// Why a message is not taken. `pipeline::reply` alone turns it into an SMTP reply.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What stands against it.
    pub kind: RefusalKind,
    /// The addresses it concerns, for the reply.
    pub addresses: Vec<Address>,
    /// For the log alone; the peer never reads it.
    pub detail: String,
    /// The name of what fired, for the audit record.
    pub rule: &'static str,
}

/// The kinds of refusal and deferral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// `From` is none, several or ambiguous.
    AmbiguousSender,
    /// The header section can't be read, so nobody knows who has written it.
    UnreadableHeader(HeaderError),
    /// The reverse-path does not vouch for `From`.
    SenderNotAuthorised,
    /// Signing is required and there is no usable key.
    NoSigningKey,
    /// The status of the sender's own certificate can't be known now.
    OwnStatusUnknown,
    /// Incoming mail that the operator refuses for this reason.
    Rejected(Reason),
    /// Incoming mail that a rule of the policy file refuses, whatever it is.
    RejectedByRule,
    /// The status of the signer's certificate can't be known now.
    RevocationUnknown,
    /// The content can't be signed.
    Malformed,
    /// The outside side takes mail for own domains only.
    RelayDenied,
    /// Encryption is required, and the recipient has no certificate that can be used.
    NoRecipientCertificate,
    /// A recipient's certificate is known and can't be proven now.
    RecipientUnproven,
    /// Each recipient who is not named in the mail has an encrypted copy of his own, and together they are too large.
    TooManyCopies,
}

/// What was decided, for each recipient. Only `decide` makes one.
#[derive(Debug)]
pub struct Decided {
    pub(super) recipients: Vec<ForRecipient>,
    pub(super) signing: Option<Signing>,
    pub(super) mark: Mark,
    pub(super) rule: &'static str,
    pub(super) reasons: Vec<Reason>,
    pub(super) removals: Removals,
}

/// What happens for one recipient.
#[derive(Clone, Debug)]
pub struct ForRecipient {
    /// As in the envelope.
    pub address: Address,
    /// What he gets.
    pub treatment: Treatment,
    /// The name of what decided it for him: a row of DESIGN's tables or a rule of the policy file.
    pub rule: String,
    /// Outgoing: in which form his copy is signed; none: it is not.
    pub signature: Option<SignedForm>,
}

impl ForRecipient {
    /// Why he has to wait; empty where he does not.
    pub(super) fn held_for(&self) -> &[Reason] {
        match &self.treatment {
            Treatment::Hold { reasons, .. } => reasons,
            Treatment::Deliver(_) => &[],
        }
    }

    /// Whether a copy is made for him now.
    pub fn is_delivered(&self) -> bool {
        matches!(self.treatment, Treatment::Deliver(_))
    }
}

/// Tags and fields that made rules fire and leave the mail with that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Texts in `Subject`, without regard to case.
    pub tags: Vec<String>,
    /// Names of fields.
    pub fields: Vec<String>,
}

impl Removals {
    /// Whether the header section stays as it is.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.fields.is_empty()
    }
}

/// In which form a copy is delivered.
#[derive(Clone, Debug)]
pub enum Form {
    /// As it arrived, signed where the decision says so; incoming mail is marked with its verdict.
    Clear,
    /// Encrypted to the recipient.
    Encrypted(Box<EncryptTo>),
    /// What was inside the encrypted layers.
    Opened,
    /// As it arrived, marked as what it is to somebody without a key.
    Unopened,
}

/// What happens to the mail for one recipient.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// A finished copy is queued.
    Deliver(Form),
    /// The original waits; a copy is made at release.
    Hold {
        /// Who or what it waits for.
        class: HoldClass,
        /// Why.
        reasons: Vec<Reason>,
    },
}

/// Who or what held mail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldClass {
    /// The security team.
    Quarantine,
    /// A recipient's certificate or an owner's unlocked key.
    AwaitingKey,
    /// A fresh CRL.
    AwaitingRevocation,
    /// The own signer was revoked while it lay in the queue.
    SignerRevoked,
    /// An operator.
    Operator,
}

impl HoldClass {
    /// The word in the database, in listings and in JSON.
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

/// A signature to be made.
#[derive(Clone, Debug)]
pub struct Signing {
    /// With this key.
    pub key: SenderKey,
    /// A substitute's address, which goes into `Sender`.
    pub sender: Option<Address>,
}

/// Which of our fields the copy gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Incoming: `Segel-Verdict` and `Authentication-Results`.
    Verdict,
    /// Outgoing: none; forged ones are still removed.
    None,
}

impl Decided {
    /// The recipients in the envelope's order.
    pub fn recipients(&self) -> &[ForRecipient] {
        &self.recipients
    }

    /// What is taken out of the header section.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// Whether mail from inside is what its `From` says, as far as the reverse-path or a login vouch for it.
    pub fn is_vouched(&self) -> bool {
        !matches!(self.rule, "foreign-from" | "unvouched-passed")
    }

    /// The signature to be made, if any.
    pub fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// The same where a copy is made now that has it; not where all who are to get one have to wait.
    pub fn key_used(&self) -> Option<&Signing> {
        let signed = |one: &ForRecipient| one.signature.is_some() && one.is_delivered();
        self.signing.as_ref().filter(|_| self.recipients.iter().any(signed))
    }

    /// Which of our fields are written.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The name of the row that fired, for the audit record and `explain`.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// The reasons the decision rests on: the verdict's, and `sender-not-authorised` where it was found.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }
}
