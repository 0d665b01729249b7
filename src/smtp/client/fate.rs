//! What becomes of a recipient, and what a next hop offers.

use crate::smtp::Reply;

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next hop has taken the mail and the responsibility.
    Delivered {
        /// Its reply to the end of data.
        reply: String,
    },
    /// To be tried again.
    Deferred {
        /// Enhanced status code, class 4.
        status: String,
        /// `smtp;` and the reply, or what happened.
        diagnostic: String,
    },
    /// Never to be tried again.
    Failed {
        /// Enhanced status code, class 5.
        status: String,
        /// `smtp;` and the reply, or what is in the way.
        diagnostic: String,
    },
}

impl Fate {
    /// Deferred by something that no reply said.
    pub fn deferred(status: &str, diagnostic: impl Into<String>) -> Self {
        Self::Deferred { status: status.to_owned(), diagnostic: diagnostic.into() }
    }

    pub(super) fn failed(status: &str, diagnostic: impl Into<String>) -> Self {
        Self::Failed { status: status.to_owned(), diagnostic: diagnostic.into() }
    }

    /// A refusal by reply: 5yz is final, anything else is tried again.
    pub(super) fn refused(reply: &Reply) -> Self {
        let diagnostic = said(reply);
        match reply.code() / 100 {
            5 => Self::Failed { status: reply.status(), diagnostic },
            4 => Self::Deferred { status: reply.status(), diagnostic },
            _ => Self::deferred("4.5.0", format!("unexpected reply: {}", reply.to_line())),
        }
    }
}

/// RFC 3464 section 2.3.6: the type says whose words these are.
pub(super) fn said(reply: &Reply) -> String {
    format!("smtp; {}", reply.to_line())
}

/// What a next hop offers in its answer to EHLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920
    pub pipelining: bool,
    /// RFC 6152
    pub eight_bit_mime: bool,
    /// RFC 1870: `None` not offered, `Some(0)` without fixed limit.
    pub size: Option<u64>,
    /// RFC 3207
    pub start_tls: bool,
    /// RFC 3461
    pub dsn: bool,
    /// RFC 4954 with RFC 4616
    pub auth_plain: bool,
}

impl Capabilities {
    pub(super) fn from_reply(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.lines().iter().skip(1) {
            let (keyword, parameter) = line.split_once(' ').unwrap_or((line, ""));
            match keyword.to_ascii_uppercase().as_str() {
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit_mime = true,
                "SIZE" => found.size = Some(parameter.trim().parse().unwrap_or(0)),
                "STARTTLS" => found.start_tls = true,
                "DSN" => found.dsn = true,
                "AUTH" => {
                    found.auth_plain |= parameter.split(' ').any(|mechanism| mechanism.eq_ignore_ascii_case("PLAIN"));
                }
                _ => {}
            }
        }
        found
    }
}
