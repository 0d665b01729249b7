//! What is known about a message besides its content.
use crate::mail::{Address, Envelope};
use crate::pki::Certificate;
use crate::reason::Reason;
use crate::smime::Inspected;
use jiff::Timestamp;
/// Which listener it came through. Authority follows from this, never from a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Inside,
    Outside,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Individual,
    Position,
    Organisation,
    System,
}
impl KeyKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Position => "position",
            Self::Organisation => "organisation",
            Self::System => "system",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Individual, Self::Position, Self::Organisation, Self::System].into_iter().find(|k| k.name() == name)
    }
}
/// Whether an own key may sign now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Usable,
    /** expired, revoked, blocked, not for mail … */
    Unusable(Vec<Reason>),
    /** revocation could not be established now */
    Unknown,
}
/// An own key that could sign for the sender (or substitute for him).
#[derive(Clone, Debug)]
pub struct SenderKey {
    pub id: String,
    pub kind: KeyKind,
    pub certificate: Certificate,
    pub chain: Vec<Certificate>,
    /** addresses it was imported for */
    pub addresses: Vec<Address>,
    pub standing: Standing,
}
#[derive(Clone, Debug)]
pub struct Facts {
    pub side: Side,
    pub envelope: Envelope,
    pub inspected: Inspected,
    /// Keys for the mailbox in `From`, best first; then substitutes of its domain.
    pub keys: Vec<SenderKey>,
    /// When this very mail was first deferred for revocation-unknown.
    pub first_seen: Option<Timestamp>,
}
