//! What is known about a message besides its content.

use crate::mail::header::FromTexts;
use crate::mail::{Address, Envelope};
use crate::pki::Certificate;
use crate::reason::Reason;
use crate::smime::Inspected;
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
    /// Whether it may sign now.
    pub standing: Standing,
}

/// All that `decide` looks at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The side it came from.
    pub side: Side,
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// What the content is.
    pub inspected: Inspected,
    /// What a lenient reader may take for the author, for claims that no parser agrees on.
    pub from_texts: FromTexts,
    /// Outgoing: keys imported for the mailbox in `From`, in the order of preference.
    pub own_keys: Vec<SenderKey>,
    /// Outgoing: keys that may sign in the sender's stead.
    pub substitutes: Vec<SenderKey>,
    /// Incoming: when this very mail was first deferred because a revocation status was unknown.
    pub first_seen: Option<Timestamp>,
}
