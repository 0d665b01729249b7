//! The envelope: who a mail goes to and whom a failure is told, apart from what its header says.

use super::Address;
use super::address::AddressError;
use std::fmt;

/// The argument of `MAIL FROM` (RFC 5321 section 4.1.1.2).
#[derive(Clone, Debug)]
pub enum ReversePath {
    /// `<>`: a notice, to which nothing must be answered.
    Null,
    /// A mailbox, without source route.
    Mailbox(Address),
}

impl ReversePath {
    /// Parses `<>` or a path, source route ignored.
    ///
    /// # Errors
    /// As [`Address::parse_path`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text == "<>" {
            return Ok(Self::Null);
        }
        Address::parse_path(text).map(Self::Mailbox)
    }

    /// The mailbox, unless it is the null path.
    pub fn mailbox(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Mailbox(address) => Some(address),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(address) => write!(f, "<{address}>"),
        }
    }
}

/// `BODY=` of RFC 6152.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    /// Every octet below 128, the default.
    SevenBit,
    /// Octets above 127 may occur; lines are as long as ever.
    EightBitMime,
}

/// One transaction's envelope.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Whom a failure is told.
    pub reverse_path: ReversePath,
    /// Whom the mail goes to, as they were given, in order.
    pub recipients: Vec<Address>,
    /// What the client declared the content to be.
    pub body: BodyType,
}

#[cfg(test)]
mod tests {
    use super::ReversePath;

    #[test]
    fn paths_keep_their_form() {
        for (written, shown) in [("<>", "<>"), ("<UsEr@D>", "<UsEr@D>"), ("<@x:u@d>", "<u@d>")] {
            assert_eq!(ReversePath::parse(written).unwrap().to_string(), shown);
        }
        assert!(ReversePath::parse("").is_err());
        assert!(ReversePath::parse("<> ").is_err());
    }
}
