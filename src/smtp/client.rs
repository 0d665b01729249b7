//! The client's side of the dialogue, without input or output (RFC 5321 section 4, 1870, 2920, 3207, 3461, 4954, 6152).
//!
//! [`Client`] writes commands into an output buffer, reads replies, and says per recipient what became of him. It never sends a bare
//! CR or LF, never an extension that was not offered, and never the same mail twice over one connection.
//! Whatever breaks defers what is undecided: only a reply of the next hop, or content that can't be sent to it, is final.

mod ask;
mod fate;
mod outgoing;
mod secure;

pub use ask::Answer;
pub use fate::{Capabilities, Fate};
pub use outgoing::{Mail, Recipient};

use super::Reply;
use super::data::{Form, form, stuffed};
use super::reply::{ReplyError, ReplyParser};
use crate::limits::Limits;
use crate::mail::ReversePath;
use bytes::{Bytes, BytesMut};
use outgoing::{Outgoing, wire};
use std::collections::VecDeque;
use std::time::Duration;

/// What is being waited for: each has its own timeout (RFC 5321 section 4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The greeting.
    Greeting,
    /// EHLO, HELO, STARTTLS, AUTH, RSET, QUIT and MAIL.
    Command,
    /// RCPT.
    Recipient,
    /// 354.
    DataInitiation,
    /// A block of content to be written.
    DataBlock,
    /// The reply to the final dot.
    DataTermination,
}

impl Phase {
    /// Per-command timeout: 5, 5, 5, 2, 3, 10 minutes.
    pub const fn timeout(self) -> Duration {
        let minutes = match self {
            Self::Greeting | Self::Command | Self::Recipient => 5,
            Self::DataInitiation => 2,
            Self::DataBlock => 3,
            Self::DataTermination => 10,
        };
        Duration::from_secs(minutes * 60)
    }
}

/// What has to happen next. First write what is in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read, at most so long as the phase allows.
    Read(Phase),
    /// Write these pieces, then go on with [`Client::content_sent`].
    Content(Vec<Bytes>),
    /// Shake hands, then go on with [`Client::secured`], or with [`Client::lost`].
    Handshake,
    /// Ready for [`Client::send`]. After a mail: [`Client::take_fates`].
    Ready,
    /// Of no more use: [`Client::take_fates`], close.
    Broken,
}

/// A command whose reply is not in yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt(usize),
    Data,
    /// End of data; whether anybody was accepted.
    End,
    /// The lone dot after a 354 that should not have come.
    EmptyEnd,
    Rset,
}

impl Pending {
    fn phase(self) -> Phase {
        match self {
            Self::Greeting => Phase::Greeting,
            Self::Ehlo | Self::Helo | Self::StartTls | Self::Auth | Self::Mail | Self::Rset => Phase::Command,
            Self::Rcpt(_) => Phase::Recipient,
            Self::Data => Phase::DataInitiation,
            Self::End | Self::EmptyEnd => Phase::DataTermination,
        }
    }
}

/// Commands that may be unanswered at a time: what they and their replies take fits the socket buffers of both sides,
/// so that neither waits for the other to read (RFC 2920 section 3.1).
const WINDOW: usize = 100;

/// One connection to a next hop.
#[derive(Debug)]
pub struct Client {
    hostname: String,
    /// Octets of a reply's line, and its lines.
    limits: (usize, usize),
    parser: ReplyParser,
    output: BytesMut,
    capabilities: Capabilities,
    to_send: VecDeque<Pending>,
    pending: VecDeque<Pending>,
    mail: Option<Outgoing>,
    content: bool,
    handshake: bool,
    tls_refusal: Option<String>,
    /// The first word of the greeting: what the next hop calls itself.
    name: Option<String>,
    broken: Option<Fate>,
}

impl Client {
    /// A connection that was just opened; the greeting is waited for.
    pub fn new(hostname: &str, limits: &Limits) -> Self {
        Self {
            hostname: hostname.to_owned(),
            limits: (limits.reply_line, limits.reply_lines),
            parser: ReplyParser::new(limits.reply_line, limits.reply_lines),
            output: BytesMut::new(),
            capabilities: Capabilities::default(),
            to_send: VecDeque::new(),
            pending: VecDeque::from([Pending::Greeting]),
            mail: None,
            content: false,
            handshake: false,
            tls_refusal: None,
            name: None,
            broken: None,
        }
    }

    /// Octets to write; the caller takes them away.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What the next hop offers.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What the next hop calls itself in its greeting.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the end of the data of the current mail may have left: from here on a lost connection is not proof that the
    /// next hop has nothing.
    pub fn committed(&self) -> bool {
        self.mail.as_ref().is_some_and(|mail| mail.committed)
    }

    /// Begins a mail; only after [`Step::Ready`]. Recipients whom nothing can be sent to have their fate at once.
    pub fn send(&mut self, mail: Mail) {
        let found = form(&mail.content);
        let eight_bit = found == Form::EightBit;
        let obstacle = self.obstacle(&mail, found);
        let mut outgoing = Outgoing::new(mail, eight_bit);
        if let Some(fate) = obstacle {
            outgoing.decide_all(&fate);
        }
        for index in outgoing.open() {
            if outgoing.mail.recipients.get(index).is_none_or(|recipient| wire(&recipient.address).is_none()) {
                let why = Fate::failed("5.6.7", "the next hop does not take internationalised addresses");
                outgoing.decide(index, why);
            }
        }
        self.mail = Some(outgoing);
        self.begin();
        self.fill();
    }

    /// A transaction for everybody of whom nothing is known yet.
    fn begin(&mut self) {
        let open = self.mail.as_ref().map(Outgoing::open).unwrap_or_default();
        if !open.is_empty() {
            self.to_send.push_back(Pending::Mail);
            self.to_send.extend(open.into_iter().map(Pending::Rcpt));
            self.to_send.push_back(Pending::Data);
        }
    }

    /// What makes this mail undeliverable here, before anything is sent (RFC 1870 section 6.2, RFC 6152 section 3).
    fn obstacle(&self, mail: &Mail, found: Form) -> Option<Fate> {
        let size = u64::try_from(mail.content.len()).unwrap_or(u64::MAX);
        if found == Form::Unsendable {
            return Some(Fate::failed("5.6.0", "content holds a bare CR, a bare LF or NUL"));
        }
        if let Some(limit) = self.capabilities.size.filter(|&limit| limit > 0 && size > limit) {
            return Some(Fate::failed("5.3.4", format!("message of {size} octets, the next hop takes {limit}")));
        }
        if found == Form::EightBit && !self.capabilities.eight_bit_mime {
            return Some(Fate::failed("5.6.3", "content has 8-bit octets, the next hop does not offer 8BITMIME"));
        }
        if let ReversePath::Mailbox(address) = &mail.reverse_path
            && wire(address).is_none()
        {
            return Some(Fate::failed("5.6.7", "the next hop does not take internationalised addresses"));
        }
        None
    }

    /// Reads what has arrived and says what has to happen. Call after every read, and after [`Client::send`].
    pub fn next(&mut self, input: &mut BytesMut) -> Step {
        loop {
            if self.broken.is_some() {
                return Step::Broken;
            }
            if self.handshake {
                return if self.may_shake_hands(input) { Step::Handshake } else { Step::Broken };
            }
            if self.content {
                let content = self.mail.as_ref().map(|mail| stuffed(&mail.mail.content));
                return Step::Content(content.unwrap_or_default());
            }
            let Some(&awaited) = self.pending.front() else {
                return Step::Ready;
            };
            match self.parser.parse(input) {
                Ok(Some(reply)) => self.reply(awaited, &reply),
                Ok(None) => return Step::Read(awaited.phase()),
                Err(error) => self.garbled(&error),
            }
        }
    }

    /// The content is about to leave whole: from now on a loss of the connection is ambiguous.
    pub fn content_ending(&mut self) {
        if let Some(mail) = &mut self.mail {
            mail.committed = true;
        }
    }

    /// The pieces of [`Step::Content`] are written.
    pub fn content_sent(&mut self) {
        self.content_ending();
        self.content = false;
        self.pending.push_back(Pending::End);
    }

    /// The connection is lost, or a timeout has passed: what is undecided is deferred.
    pub fn lost(&mut self, diagnostic: &str) {
        self.break_off(Fate::deferred("4.4.2", diagnostic));
    }

    /// Says goodbye; the answer need not be waited for.
    pub fn quit(&mut self) {
        if self.broken.is_none() && self.pending.is_empty() {
            self.output.extend_from_slice(b"QUIT\r\n");
        }
    }

    /// The fates of the last mail's recipients, in their order; undecided ones are deferred.
    pub fn take_fates(&mut self) -> Vec<Fate> {
        let undecided = self.trouble();
        self.mail.take().map_or_else(Vec::new, |mail| mail.into_fates(&undecided))
    }

    /// What broke the connection.
    pub fn trouble(&self) -> Fate {
        self.broken.clone().unwrap_or_else(|| Fate::deferred("4.4.2", "the dialogue has not ended"))
    }

    fn garbled(&mut self, error: &ReplyError) {
        self.break_off(Fate::deferred("4.5.0", error.to_string()));
    }

    fn break_off(&mut self, fate: Fate) {
        self.broken.get_or_insert(fate);
        self.pending.clear();
        self.to_send.clear();
        self.content = false;
    }

    /// Sends what may be sent: a group where pipelining is offered, one command otherwise.
    fn fill(&mut self) {
        let window = if self.capabilities.pipelining { WINDOW } else { 1 };
        while self.pending.len() < window
            && let Some(next) = self.to_send.pop_front()
        {
            let command = match (next, &self.mail) {
                (Pending::Mail, Some(mail)) => mail.mail_command(self.capabilities),
                (Pending::Rcpt(index), Some(mail)) => mail.rcpt_command(index, self.capabilities),
                (Pending::Data, _) => "DATA\r\n".to_owned(),
                (Pending::Rset, _) => "RSET\r\n".to_owned(),
                _ => continue,
            };
            self.output.extend_from_slice(command.as_bytes());
            self.pending.push_back(next);
        }
    }

    fn reply(&mut self, awaited: Pending, reply: &Reply) {
        self.pending.pop_front();
        if reply.code() == 421 {
            // The next hop closes: nothing that was sent after this has an effect.
            self.break_off(Fate::refused(reply));
            return;
        }
        match awaited {
            Pending::Greeting if reply.code() == 220 => {
                let first = reply.lines().first().and_then(|line| line.split(' ').next());
                self.name = first.filter(|word| !word.is_empty()).map(str::to_owned);
                self.hello(Pending::Ehlo, "EHLO");
            }
            // A hop that refuses everybody, or whom we call wrongly, is our operator's affair: no mail is lost over it.
            Pending::Greeting => self.break_off(Fate::deferred("4.3.0", format!("greeting: {}", reply.to_line()))),
            Pending::Ehlo if reply.is_positive() => self.capabilities = Capabilities::from_reply(reply),
            // Mail that needs an extension then has its obstacle; anything else goes without.
            Pending::Ehlo if reply.is_permanent() => self.hello(Pending::Helo, "HELO"),
            Pending::Helo if reply.is_positive() => {}
            Pending::Ehlo | Pending::Helo => {
                self.break_off(Fate::deferred("4.3.0", format!("EHLO: {}", reply.to_line())));
            }
            Pending::StartTls => self.start_tls_reply(reply),
            Pending::Auth => self.auth_reply(reply),
            Pending::Rset if reply.is_positive() => {}
            Pending::Rset => self.break_off(Fate::deferred("4.5.0", format!("RSET: {}", reply.to_line()))),
            Pending::EmptyEnd => {}
            Pending::Mail | Pending::Rcpt(_) | Pending::Data | Pending::End => self.mail_reply(awaited, reply),
        }
        self.fill();
    }

    fn hello(&mut self, pending: Pending, verb: &str) {
        let line = format!("{verb} {}\r\n", self.hostname);
        self.output.extend_from_slice(line.as_bytes());
        self.pending.push_back(pending);
    }

    fn mail_reply(&mut self, awaited: Pending, reply: &Reply) {
        let Some(mail) = &mut self.mail else { return };
        match awaited {
            Pending::Mail if !reply.is_positive() => {
                mail.mail_refused = true;
                mail.decide_all(&Fate::refused(reply));
                self.abandon();
            }
            Pending::Rcpt(index) => {
                mail.recipient(index, reply);
                if !self.capabilities.pipelining && !mail.any_accepted() && self.to_send.front() == Some(&Pending::Data)
                {
                    self.abandon();
                }
            }
            Pending::Data if reply.code() == 354 && mail.any_accepted() => self.content = true,
            Pending::Data if reply.code() == 354 => {
                // RFC 2920 section 3.1: nobody was accepted, so nobody gets anything.
                self.output.extend_from_slice(b".\r\n");
                self.pending.push_back(Pending::EmptyEnd);
            }
            Pending::Data => {
                mail.decide_all(&Fate::refused(reply));
                self.abandon();
            }
            Pending::End => {
                let fate =
                    if reply.is_positive() { Fate::Delivered { reply: reply.to_line() } } else { Fate::refused(reply) };
                mail.decide_all(&fate);
                if reply.is_positive() {
                    mail.reopen();
                    self.begin();
                }
            }
            _ => {}
        }
    }

    /// The transaction leads nowhere: what is not sent yet is not sent, and RSET makes room for the next one.
    fn abandon(&mut self) {
        self.to_send.clear();
        if !self.pending.contains(&Pending::Data) {
            self.to_send.push_back(Pending::Rset);
        }
    }
}

#[cfg(test)]
mod tests;
