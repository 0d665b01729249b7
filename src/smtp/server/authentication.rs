//! STARTTLS and AUTH (RFC 3207, 4954, 4616, 4422 appendix A).
//!
//! After STARTTLS nothing is left of what was said in clear. AUTH is for clients inside TLS alone, and a failure says no more
//! than that it failed.

use super::{Action, Client, Dialogue, Secured, State, out_of_order};
use crate::smtp::Reply;
use crate::smtp::command::Secret;
use bytes::{Buf, BytesMut};
use data_encoding::BASE64;
use zeroize::{Zeroize, Zeroizing};

/// Octets of an AUTH line without CRLF (RFC 4954 section 4).
const LINE: usize = 12_288;

/// Failed attempts before a client is sent away.
const MOST_ATTEMPTS: u32 = 3;

/// Octets of a name and of a password (RFC 4616 section 2 asks for at least 255 of each).
const NAME: usize = 255;
const PASSWORD: usize = 1024;

/// A name and a password to check. The password is zeroised and never printed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Authentication identity.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// What came of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// He is this identity.
    Passed(String),
    /// Wrong name or password.
    Failed,
    /// Cannot be checked now.
    Later,
}

/// The mechanism that waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Plain,
    External,
}

impl Dialogue {
    /// Whether a handshake can begin.
    pub fn answer_starttls(&mut self, ready: bool) {
        self.state = State::Command;
        if ready {
            self.state = State::Handshake;
            self.say(&Reply::new(220, 0, 0, "Ready to start TLS"));
        } else {
            self.say(&Reply::new(454, 7, 0, "TLS not available now"));
        }
    }

    /// TLS is on: everything known from the client is forgotten (RFC 3207 section 4.2).
    pub fn secured(&mut self, secured: Secured) {
        self.client = Client { tls: Some(secured.tls), certificate: secured.certificate, ..Client::default() };
        self.hello = false;
        self.transaction = None;
        if matches!(self.state, State::Shaking) {
            self.state = State::Command;
        }
    }

    pub(super) fn starttls(&mut self) -> Option<Action> {
        if self.client.tls.is_some() {
            self.bad(&out_of_order("TLS is on already"));
        } else if self.settings.starttls {
            self.state = State::StartTls;
            return Some(Action::StartTls);
        } else {
            self.bad(&Reply::new(502, 5, 1, "Command not implemented"));
        }
        None
    }

    /// The line of EHLO's answer.
    pub(super) fn mechanisms(&self) -> Option<&'static str> {
        match (self.client.tls.is_some(), self.offers(Exchange::Plain), self.offers(Exchange::External)) {
            (true, true, true) => Some("AUTH PLAIN EXTERNAL"),
            (true, true, false) => Some("AUTH PLAIN"),
            (true, false, true) => Some("AUTH EXTERNAL"),
            _ => None,
        }
    }

    fn offers(&self, exchange: Exchange) -> bool {
        match exchange {
            Exchange::Plain => self.settings.plain,
            Exchange::External => self.settings.external && self.client.certificate.is_some(),
        }
    }

    pub(super) fn auth(&mut self, mechanism: &str, response: Option<Secret>) -> Option<Action> {
        let exchange = match mechanism {
            "PLAIN" => Some(Exchange::Plain),
            "EXTERNAL" => Some(Exchange::External),
            _ => None,
        };
        let exchange = exchange.filter(|exchange| self.offers(*exchange));
        let settings = &self.settings;
        let refusal = if !settings.plain && !settings.external {
            Some(Reply::new(502, 5, 1, "Command not implemented"))
        } else if self.client.tls.is_none() {
            Some(Reply::new(538, 7, 11, "Encryption required for authentication"))
        } else if !self.client.hello.extended {
            Some(out_of_order("Say EHLO first"))
        } else if self.client.login.is_some() {
            Some(out_of_order("Authenticated already"))
        } else if self.transaction.is_some() {
            Some(out_of_order("No AUTH within a transaction"))
        } else if exchange.is_none() {
            Some(Reply::new(504, 5, 4, "Mechanism not available"))
        } else {
            None
        };
        match (refusal, exchange, response) {
            (Some(refusal), _, _) => self.bad(&refusal),
            (None, Some(exchange), Some(response)) => {
                // "=" is a response of no octets (RFC 4954 section 4).
                let text = if response.0.as_str() == "=" { "" } else { response.0.as_str() };
                return self.judge(exchange, text.as_bytes());
            }
            (None, Some(exchange), None) => {
                self.say(&Reply::plain(334, &[""]));
                self.state = State::Response(exchange);
            }
            (None, None, _) => {}
        }
        None
    }

    /// The line behind 334. What it held is zeroised where it was read.
    pub(super) fn response(&mut self, exchange: Exchange, input: &mut BytesMut) -> Option<Action> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            if input.len() <= LINE {
                self.state = State::Response(exchange);
                return Some(Action::Read);
            }
            self.state = State::Swallow;
            self.bad(&Reply::new(500, 5, 6, "Authentication exchange line is too long"));
            return None;
        };
        self.state = State::Command;
        let mut line = input.split_to(end);
        input.advance(1);
        let text = line.strip_suffix(b"\r");
        let action = match text {
            None => {
                self.state = State::Swallow;
                self.bad(&Reply::new(500, 5, 2, "Lines end with <CR><LF>"));
                None
            }
            Some(text) if text.len() > LINE => {
                self.bad(&Reply::new(500, 5, 6, "Authentication exchange line is too long"));
                None
            }
            Some(b"*") => {
                self.bad(&Reply::new(501, 7, 0, "Authentication cancelled"));
                None
            }
            Some(text) => self.judge(exchange, text),
        };
        line.as_mut().zeroize();
        action
    }

    /// `response` in base64.
    fn judge(&mut self, exchange: Exchange, response: &[u8]) -> Option<Action> {
        let Some(decoded) = BASE64.decode(response).ok().map(Zeroizing::new) else {
            self.bad(&Reply::new(501, 5, 2, "Expected base64"));
            return None;
        };
        match exchange {
            Exchange::Plain => match credentials(&decoded) {
                Some(credentials) => {
                    self.state = State::LogIn;
                    return Some(Action::LogIn(credentials));
                }
                None => self.failed(),
            },
            Exchange::External => {
                // RFC 4422 appendix A: no octets, or the identity that is asked for.
                let asked = self.client.certificate.clone();
                match asked.filter(|name| decoded.is_empty() || decoded.as_slice() == name.as_bytes()) {
                    Some(name) => self.passed(name),
                    None => self.failed(),
                }
            }
        }
        None
    }

    /// What came of the login.
    pub fn answer_login(&mut self, attempt: Attempt) {
        self.state = State::Command;
        match attempt {
            Attempt::Passed(name) => self.passed(name),
            Attempt::Failed => self.failed(),
            Attempt::Later => self.say(&Reply::new(454, 7, 0, "Cannot authenticate now, try again later")),
        }
    }

    fn passed(&mut self, name: String) {
        self.client.login = Some(name);
        self.say(&Reply::new(235, 7, 0, "Authenticated"));
    }

    fn failed(&mut self) {
        self.attempts += 1;
        if self.attempts < MOST_ATTEMPTS {
            self.bad(&Reply::new(535, 7, 8, "Authentication credentials invalid"));
        } else {
            self.error();
            self.close(&Reply::new(421, 7, 0, "Too many failed logins, closing"));
        }
    }
}

/// `message = [authzid] UTF8NUL authcid UTF8NUL passwd` (RFC 4616 section 2); acting for somebody else is not on offer.
fn credentials(message: &[u8]) -> Option<Credentials> {
    let mut parts = str::from_utf8(message).ok()?.split('\0');
    let (authorisation, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let good = parts.next().is_none()
        && (1..=NAME).contains(&name.len())
        && (1..=PASSWORD).contains(&password.len())
        && (authorisation.is_empty() || authorisation == name);
    good.then(|| Credentials { name: name.to_owned(), password: Secret::new(password) })
}
