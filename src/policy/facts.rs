//! What is known about a message besides its content.

use crate::mail::authentication::SenderAuthentication;
use crate::mail::header::FromTexts;
use crate::mail::{Address, Envelope};
use crate::pki::{Certificate, RecipientKey};
use crate::reason::Reason;
use crate::smime::{Capabilities, Inspected};
use jiff::Timestamp;

/// The side a listener serves. Authority follows from this, never from a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The government's mail server, on its way out.
    Inside,
    /// The Internet, on its way in.
    Outside,
}

impl Side {
    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }
}

/// Whom an own certificate stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// One person.
    Individual,
    /// An office that persons hold.
    Position,
    /// The government or one of its units.
    Organisation,
    /// A machine.
    System,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Individual, Self::Position, Self::Organisation, Self::System];

    /// The word in commands and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Position => "position",
            Self::Organisation => "organisation",
            Self::System => "system",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether an own key may sign now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its certificate was checked and nothing speaks against it.
    Usable,
    /// Expired, revoked, blocked, not for mail, another address: it never signs.
    Unusable(Vec<Reason>),
    /// Whether it is revoked can't be established now.
    Unknown,
}

/// An own key that could sign for the sender, or in his stead.
#[derive(Clone, Debug)]
pub struct SenderKey {
    /// Its id in the register.
    pub id: String,
    /// Whom it stands for.
    pub kind: KeyKind,
    /// Its certificate.
    pub certificate: Certificate,
    /// The issuing certificates that go with a signature, without the root.
    pub chain: Vec<Certificate>,
    /// The addresses it was imported for.
    pub addresses: Vec<Address>,
    /// The certificate that answers should be encrypted to, where it is another one.
    pub encryption: Option<Certificate>,
    /// Whether it may sign now.
    pub standing: Standing,
}

/// A certificate that is known for a recipient.
#[derive(Clone, Debug)]
pub struct RecipientCertificate {
    /// Its id in the directory.
    pub id: String,
    /// The certificate.
    pub certificate: Certificate,
    /// Whether it may be encrypted to now.
    pub standing: RecipientStanding,
    /// What the recipient has announced in validly signed mail.
    pub capabilities: Option<Capabilities>,
}

/// What a recipient's certificate is worth at this moment.
#[derive(Clone, Debug)]
pub enum RecipientStanding {
    /// It may be encrypted to.
    Usable(RecipientKey),
    /// Its revocation status can't be established now.
    Unknown,
    /// Something stands against it.
    Rejected(Vec<Reason>),
    /// It was learned under an anchor whose certificates an operator wants to confirm first. Counts as not known.
    Unconfirmed,
}

/// What is known about one recipient.
#[derive(Clone, Debug, Default)]
pub struct RecipientFacts {
    /// Outgoing: his certificates, best first.
    pub certificates: Vec<RecipientCertificate>,
    /// Outgoing: encrypted mail has left for him before.
    pub encrypted_before: bool,
    /// Outgoing: he stands in the envelope and neither in `To` nor in `Cc`.
    pub hidden: bool,
    /// Incoming: the ids of his keys that were asked to open the mail.
    pub asked_keys: Vec<String>,
}

/// What the rules look at in the header section of outgoing mail.
#[derive(Clone, Debug, Default)]
pub struct Triggers {
    /// `Subject`, encoded words decoded; several fields one after the other.
    pub subject: String,
    /// There is more of it than is looked at, or something that can't be read: then a tag counts as found for a rule that
    /// requires encryption.
    pub cut: bool,
    /// Fields that rules name: name as the rule has it, value.
    pub fields: Vec<(String, String)>,
}

/// All that `decide` looks at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The side it came from.
    pub side: Side,
    /// Who has authenticated on the inside listener, where somebody has.
    pub login: Option<String>,
    /// Incoming: what SPF, DKIM and DMARC say.
    pub sender: SenderAuthentication,
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// What the content is; encrypted layers are opened as far as the recipients' keys go.
    pub inspected: Inspected,
    /// The same without any key, where a key was asked: for recipients who own none, and for all that shows outside.
    pub unopened: Option<Inspected>,
    /// What a lenient reader may take for the author, for claims that no parser agrees on.
    pub from_texts: FromTexts,
    /// Outgoing: keys imported for the mailbox in `From`, in the order of preference.
    pub own_keys: Vec<SenderKey>,
    /// Outgoing: keys that may sign in the sender's stead.
    pub substitutes: Vec<SenderKey>,
    /// One for each recipient of the envelope, in its order.
    pub recipients: Vec<RecipientFacts>,
    /// This gateway has done its part on this very content already, in this direction.
    pub passed: bool,
    /// Outgoing: what rules look at.
    pub triggers: Triggers,
    /// Outgoing: the whole content is encrypted already.
    pub already_encrypted: bool,
    /// Outgoing: it returns mail that this gateway had opened (a bounce by the server inside).
    pub returns_opened: bool,
    /// Outgoing: nobody is signed for at the moment, by an operator's emergency bypass.
    pub bypass: bool,
    /// When this very mail was first deferred for want of a fact.
    pub first_seen: Option<Timestamp>,
    /// It was taken before and is decided again: nothing can be refused or deferred any more.
    pub again: Option<Again>,
}

/// Mail that was taken, held or queued, and is decided again.
#[derive(Clone, Debug)]
pub struct Again {
    /// When it was taken: `hold_for` counts from here.
    pub taken: Timestamp,
    /// The reasons that an operator answers for; none where nobody asks but time.
    pub accepted: Option<Vec<Reason>>,
    /// Outgoing: it waited for a recipient's certificate. That none is known any more is no way into the clear.
    pub never_clear: bool,
}
