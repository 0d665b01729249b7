//! One command line → one [`Command`] (RFC 5321 section 4.1).
//!
//! Written here and not taken from `smtp-proto`: its parser drops the quotes of a local part (`"a b"@d` becomes `a b@d`), gives the
//! same empty path for `<>` and `<postmaster>`, takes `EHLO x y`, and sees line ends where there are none. A line is judged whole;
//! nothing of a refused line is ever used.

mod parameters;

pub use parameters::{MailParameters, RcptParameters};

use crate::mail::{Address, Domain, ReversePath};
use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;
use zeroize::Zeroizing;

/// A command that is well-formed. Its place in the dialogue is not judged here.
#[derive(Clone, Debug)]
pub enum Command {
    /// `EHLO` with a domain or address literal.
    Ehlo(String),
    /// `HELO` likewise.
    Helo(String),
    /// `MAIL FROM:`
    Mail(ReversePath, MailParameters),
    /// `RCPT TO:`
    Rcpt(ForwardPath, RcptParameters),
    /// `DATA`
    Data,
    /// `RSET`
    Rset,
    /// `NOOP`, with or without argument.
    Noop,
    /// `QUIT`
    Quit,
    /// `VRFY` of something.
    Vrfy,
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH` with its mechanism in upper case, and the initial response if there is one (RFC 4954 section 4).
    Auth(String, Option<Secret>),
    /// `EXPN`, `BDAT` and others that exist elsewhere, not here.
    Unimplemented,
    /// `HELP`, with or without argument.
    Help,
}

/// RFC 5321 section 4.1.1.3: `"<Postmaster>"` is a path of its own.
#[derive(Clone, Debug)]
pub enum ForwardPath {
    /// Without domain, in any case.
    Postmaster,
    /// Any other, its source route dropped.
    Mailbox(Address),
}

/// What a client says to prove who it is: zeroised, never printed.
#[derive(Clone)]
pub struct Secret(pub Zeroizing<String>);

impl Secret {
    /// A copy that forgets itself.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A control character, or an octet above 126 where none may be.
    #[error("line holds octets that no command has")]
    Octets,
    /// Not a verb of SMTP.
    #[error("unknown command")]
    Unknown,
    /// Verb without its argument, or with one that it does not have.
    #[error("syntax error in parameters or arguments")]
    Arguments,
    /// EHLO or HELO with something that is neither domain nor address literal.
    #[error("neither domain nor address literal")]
    Host,
    /// Reverse-path.
    #[error("bad reverse-path")]
    ReversePath,
    /// Forward-path.
    #[error("bad forward-path")]
    ForwardPath,
    /// Octets above 127 in a path: SMTPUTF8 is not announced.
    #[error("address is not US-ASCII")]
    Internationalised,
    /// A parameter that was not announced.
    #[error("parameter not recognised")]
    Parameter,
    /// A known parameter with a bad value, or twice.
    #[error("bad value of a parameter")]
    ParameterValue,
}

impl Command {
    /// `line` without its CRLF.
    ///
    /// # Errors
    /// [`CommandError`], which has a reply.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        if line.iter().any(|byte| byte.is_ascii_control()) {
            return Err(CommandError::Octets);
        }
        let line = str::from_utf8(line).map_err(|_| CommandError::Octets)?.trim_end_matches(' ');
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let argument = argument.trim_start_matches(' ');
        let alone = |command| if argument.is_empty() { Ok(command) } else { Err(CommandError::Arguments) };
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => Ok(Self::Ehlo(host(argument)?)),
            "HELO" => Ok(Self::Helo(host(argument)?)),
            "MAIL" => mail(argument),
            "RCPT" => rcpt(argument),
            "DATA" => alone(Self::Data),
            "RSET" => alone(Self::Rset),
            "NOOP" => Ok(Self::Noop),
            "QUIT" => alone(Self::Quit),
            "VRFY" if argument.is_empty() => Err(CommandError::Arguments),
            "VRFY" => Ok(Self::Vrfy),
            "HELP" => Ok(Self::Help),
            "STARTTLS" => alone(Self::StartTls),
            "AUTH" => auth(argument),
            "EXPN" | "BDAT" | "BURL" | "ETRN" | "ATRN" | "TURN" | "SEND" | "SOML" | "SAML" => Ok(Self::Unimplemented),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// `Domain / address-literal`. Underscores and single labels are taken (many clients send them); it need not resolve.
/// What passes is safe in a `Received` field.
fn host(argument: &str) -> Result<String, CommandError> {
    let literal = argument.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = match literal {
        Some(inside) => match inside.split_once(':') {
            Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => address.parse::<Ipv6Addr>().is_ok(),
            _ => inside.parse::<Ipv4Addr>().is_ok(),
        },
        None => {
            // An address without brackets is common and harmless.
            argument.parse::<Ipv6Addr>().is_ok()
                || argument.len() <= 255
                    && argument.strip_suffix('.').unwrap_or(argument).split('.').all(|label| {
                        !label.is_empty()
                            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                    })
        }
    };
    if good { Ok(argument.to_owned()) } else { Err(CommandError::Host) }
}

/// `"FROM:" Reverse-path [SP Mail-parameters]`
fn mail(argument: &str) -> Result<Command, CommandError> {
    let (path, parameters) = path(argument, "FROM:").ok_or(CommandError::ReversePath)?;
    let reverse = if path.is_empty() {
        ReversePath::Null
    } else {
        ReversePath::Mailbox(mailbox(path, CommandError::ReversePath)?)
    };
    Ok(Command::Mail(reverse, MailParameters::parse(parameters)?))
}

/// `"AUTH" SP sasl-mech [SP initial-response]`
fn auth(argument: &str) -> Result<Command, CommandError> {
    let (mechanism, response) = argument.split_once(' ').unwrap_or((argument, ""));
    let response = response.trim_start_matches(' ');
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if mechanism.is_empty() || !mechanism.bytes().all(named) || response.contains(' ') {
        return Err(CommandError::Arguments);
    }
    Ok(Command::Auth(mechanism.to_ascii_uppercase(), (!response.is_empty()).then(|| Secret::new(response))))
}

/// `"TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]`
fn rcpt(argument: &str) -> Result<Command, CommandError> {
    let (path, parameters) = path(argument, "TO:").ok_or(CommandError::ForwardPath)?;
    let forward = if path.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Mailbox(mailbox(path, CommandError::ForwardPath)?)
    };
    Ok(Command::Rcpt(forward, RcptParameters::parse(parameters)?))
}

/// The text between the angle brackets, without source route, and what stands behind them.
fn path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (found, rest) = argument.split_at_checked(keyword.len())?;
    // Space behind the colon is wrong and common.
    let inside = rest.trim_start_matches(' ').strip_prefix('<').filter(|_| found.eq_ignore_ascii_case(keyword))?;
    let (inside, behind) = inside.split_at_checked(unquoted(inside, '>')?)?;
    let behind = behind.strip_prefix('>')?;
    if !behind.is_empty() && !behind.starts_with(' ') {
        return None;
    }
    Some((without_route(inside)?, behind))
}

/// Offset of the first `wanted` outside of quoted strings and address literals.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut literal, mut escaped) = (false, false, false);
    for (offset, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !literal => quoted = !quoted,
            _ if quoted => {}
            _ if character == wanted && !literal => return Some(offset),
            '[' => literal = true,
            ']' => literal = false,
            _ => {}
        }
    }
    None
}

/// `A-d-l ":"` before the mailbox (RFC 5321 appendix C) is checked and ignored.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, mailbox) = path.split_at_checked(unquoted(path, ':')?)?;
    let good = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(|domain| Domain::parse(domain).is_ok()));
    mailbox.strip_prefix(':').filter(|mailbox| good && !mailbox.is_empty())
}

fn mailbox(text: &str, error: CommandError) -> Result<Address, CommandError> {
    if !text.is_ascii() {
        return Err(CommandError::Internationalised);
    }
    Address::parse(text).map_err(|_| error)
}

#[cfg(test)]
mod tests;
