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
    /// What the sender wants to hear of its fate, as a whole.
    pub dsn: DsnRequest,
    /// The same for each recipient, in the order of `recipients`; who has none wants the default.
    pub recipient_dsn: Vec<RecipientDsn>,
}

impl Envelope {
    /// An envelope that asks for nothing special.
    pub fn new(reverse_path: ReversePath, recipients: Vec<Address>, body: BodyType) -> Self {
        Self { reverse_path, recipients, body, dsn: DsnRequest::default(), recipient_dsn: Vec::new() }
    }
}

/// Parameters of `MAIL` for delivery status notifications (RFC 3461 section 4.3 and 4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DsnRequest {
    /// `RET=`: how much of the mail comes back.
    pub returned: Option<Ret>,
    /// `ENVID=`, as xtext, up to 100 characters.
    pub envelope_id: Option<String>,
}

/// `RET=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// `FULL`
    Full,
    /// `HDRS`
    Headers,
}

/// Parameters of `RCPT` for delivery status notifications (RFC 3461 section 4.1 and 4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientDsn {
    /// `NOTIFY=`; absent: failures, and delays if the server likes.
    pub notify: Option<Notify>,
    /// `ORCPT=`, `addr-type ";" xtext`, up to 500 characters.
    pub original: Option<String>,
}

/// `NOTIFY=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// `NEVER`
    Never,
    /// Any of the others, at least one.
    On {
        /// `SUCCESS`
        success: bool,
        /// `FAILURE`
        failure: bool,
        /// `DELAY`
        delay: bool,
    },
}

impl Ret {
    /// The word of the parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }

    /// In any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Full, Self::Headers].into_iter().find(|one| one.name().eq_ignore_ascii_case(text))
    }
}

impl Notify {
    /// `"NEVER" / ( "SUCCESS" / "FAILURE" / "DELAY" ) *( "," … )`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Some(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in text.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => success = true,
                "FAILURE" => failure = true,
                "DELAY" => delay = true,
                _ => return None,
            }
        }
        Some(Self::On { success, failure, delay })
    }

    /// As the parameter's value.
    pub fn text(self) -> String {
        let Self::On { success, failure, delay } = self else { return "NEVER".to_owned() };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
    }
}

impl RecipientDsn {
    /// Whether the sender wants to hear of a failure.
    pub fn wants_failure(&self) -> bool {
        matches!(self.notify, None | Some(Notify::On { failure: true, .. }))
    }

    /// Whether he wants to hear of a delay.
    pub fn wants_delay(&self) -> bool {
        matches!(self.notify, None | Some(Notify::On { delay: true, .. }))
    }

    /// Whether he wants to hear of success.
    pub fn wants_success(&self) -> bool {
        matches!(self.notify, Some(Notify::On { success: true, .. }))
    }
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
