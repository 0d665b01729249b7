//! The server's side of the dialogue, without input or output (RFC 5321 section 4, 1870, 2034, 2920, 3207, 3461, 4954, 6152).
//!
//! [`Dialogue::next`] reads what has arrived and says what has to happen; replies gather in [`Dialogue::output`] in the order of the
//! commands, so a pipelined group is answered in one piece. Never waits, never stores, never decides about a recipient.
//! Whatever a client sends, it gets one reply per command and stays in step; who goes on sending nonsense is answered ever more
//! slowly, then sent away.

mod authentication;
mod settings;
mod transaction;

pub use authentication::{Attempt, Credentials};
pub use settings::{Client, Hello, Secured, Settings};
pub use transaction::Transaction;

use super::Reply;
use super::command::{Command, CommandError, ForwardPath, MailParameters};
use super::data::{Fault, MEMORY_STEP, Progress, Receiver};
use crate::mail::{Address, Envelope, RecipientDsn, ReversePath};
use authentication::Exchange;
use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;

use zeroize::Zeroize;

/// What has to happen before the dialogue can go on.
#[derive(Debug)]
pub enum Action {
    /// Write the output, then read more.
    Read,
    /// Wait so long, write the output, go on. Counts against nothing else.
    Pause(Duration),
    /// STARTTLS was asked for: [`Dialogue::answer_starttls`].
    StartTls,
    /// Write the output, throw away what was read, do the handshake: [`Dialogue::secured`].
    Handshake,
    /// Is this who it says? [`Dialogue::answer_login`].
    LogIn(Credentials),
    /// Answer with [`Dialogue::answer_mail`].
    Mail(ReversePath),
    /// Answer with [`Dialogue::answer_rcpt`].
    Rcpt(ForwardPath),
    /// Reserve so many octets: [`Dialogue::answer_memory`].
    Memory(usize),
    /// A message is complete: [`Dialogue::answer_message`].
    Message(Envelope, Bytes),
    /// Write the output, then close.
    Close,
}

/// Whether memory was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// So many octets more are reserved.
    Granted(usize),
    /// The budget is spent.
    Spent,
}

/// Bad commands before a client is sent away.
const BAD_COMMANDS: u32 = 20;

/// Errors that are answered at once; after them each takes a second longer, up to [`LONGEST_PAUSE`] (S66).
const PATIENCE: u32 = 3;
const LONGEST_PAUSE: u32 = 5;

/// One connection's dialogue.
#[derive(Debug)]
pub struct Dialogue {
    settings: Settings,
    output: BytesMut,
    client: Client,
    hello: bool,
    transaction: Option<Transaction>,
    state: State,
    bad: u32,
    /// Errors since the last message that was taken, and how many of all were taken away by [`Dialogue::errors`].
    errors: u32,
    fresh_errors: u32,
    pause: Option<Duration>,
    attempts: u32,
    early: bool,
}

#[derive(Debug)]
enum State {
    Command,
    /// The rest of a line that was answered already.
    Swallow,
    /// STARTTLS waits for its answer.
    StartTls,
    /// 220 was said; nothing in clear counts any more.
    Handshake,
    Shaking,
    /// AUTH waits for the client's response.
    Response(Exchange),
    /// AUTH waits for its answer.
    LogIn,
    /// MAIL waits for its answer.
    Mail(ReversePath, MailParameters),
    Rcpt(RecipientDsn),
    /// DATA waits for memory.
    Open,
    Data(Receiver),
    /// The receiver waits for memory.
    DataMemory(Receiver),
    Message,
    Closed,
}

impl Dialogue {
    /// The greeting is in the output at once.
    pub fn new(settings: Settings) -> Self {
        let mut dialogue = Self {
            output: BytesMut::new(),
            client: Client::default(),
            hello: false,
            transaction: None,
            state: State::Command,
            bad: 0,
            errors: 0,
            fresh_errors: 0,
            pause: None,
            attempts: 0,
            early: false,
            settings,
        };
        let greeting = format!("{} ESMTP Segel", dialogue.settings.hostname);
        dialogue.say(&Reply::plain(220, &[&greeting]));
        dialogue
    }

    /// Octets to write; the caller takes them away.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What is known of the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Errors since the last call.
    pub fn errors(&mut self) -> u32 {
        std::mem::take(&mut self.fresh_errors)
    }

    /// Whether the client was sent away because it did not wait for its turn.
    pub fn was_early(&self) -> bool {
        self.early
    }

    /// What has been said of the mail under way.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// Between 354 and the end of the message.
    pub fn in_data(&self) -> bool {
        matches!(self.state, State::Data(_) | State::DataMemory(_))
    }

    /// Goes on with what has arrived. Call again after every answer, and with more input after [`Action::Read`].
    pub fn next(&mut self, input: &mut BytesMut) -> Action {
        loop {
            if let Some(pause) = self.pause.take() {
                return Action::Pause(pause);
            }
            let step = match std::mem::replace(&mut self.state, State::Closed) {
                State::Command => self.line(input),
                State::Swallow => self.swallow(input),
                State::Response(exchange) => self.response(exchange, input),
                State::Data(receiver) => self.data(receiver, input),
                State::Handshake => {
                    self.state = State::Shaking;
                    Some(Action::Handshake)
                }
                State::Closed => Some(Action::Close),
                // An answer is missing: nothing can be said that is true.
                _ => {
                    self.close(&Reply::new(421, 3, 0, "Internal error, closing"));
                    None
                }
            };
            if let Some(action) = step {
                return action;
            }
        }
    }

    /// Whether this reverse-path may begin a transaction; the reply of an `Err` goes to the client, and a 421 ends the
    /// dialogue.
    pub fn answer_mail(&mut self, answer: Result<(), Reply>) {
        if let State::Mail(reverse_path, parameters) = std::mem::replace(&mut self.state, State::Command) {
            match answer {
                Ok(()) => {
                    self.transaction = Some(Transaction::new(reverse_path, parameters));
                    self.say(&Reply::new(250, 1, 0, "Sender ok"));
                }
                Err(reply) => self.refuse(&reply),
            }
        }
    }

    /// The recipient as he is to be stored, or why not; as for MAIL.
    pub fn answer_rcpt(&mut self, answer: Result<Address, Reply>) {
        let State::Rcpt(dsn) = std::mem::replace(&mut self.state, State::Command) else { return };
        match (answer, &mut self.transaction) {
            (Ok(address), Some(transaction)) => {
                transaction.push(address, dsn);
                self.say(&Reply::new(250, 1, 5, "Recipient ok"));
            }
            (Err(reply), _) => self.refuse(&reply),
            (Ok(_), None) => self.bad(&out_of_order("Need MAIL before RCPT")),
        }
    }

    /// Whether the memory that was asked for is reserved.
    pub fn answer_memory(&mut self, answer: Memory) {
        match (std::mem::replace(&mut self.state, State::Command), answer) {
            (State::Open, Memory::Granted(octets)) => {
                self.state = State::Data(Receiver::new(self.settings.message, octets));
                self.say(&Reply::plain(354, &["End data with <CR><LF>.<CR><LF>"]));
            }
            (State::Open, Memory::Spent) => {
                self.transaction = None;
                self.say(&fault(Fault::Memory));
            }
            (State::DataMemory(mut receiver), answer) => {
                match answer {
                    Memory::Granted(octets) => receiver.grant(octets),
                    Memory::Spent => receiver.fail(Fault::Memory),
                }
                self.state = State::Data(receiver);
            }
            (state, _) => self.state = state,
        }
    }

    /// What became of the message.
    pub fn answer_message(&mut self, reply: &Reply) {
        self.state = State::Command;
        if reply.is_positive() {
            self.bad = 0;
            self.errors = 0;
        }
        self.say(reply);
    }

    /// Ends the dialogue with this reply (a 421), whatever state it is in.
    pub fn close(&mut self, reply: &Reply) {
        self.say(reply);
        self.state = State::Closed;
    }

    fn say(&mut self, reply: &Reply) {
        self.output.extend_from_slice(&reply.to_bytes());
    }

    /// A reply to a command that was wrong in itself or out of order.
    fn bad(&mut self, reply: &Reply) {
        self.bad += 1;
        self.error();
        if self.bad >= BAD_COMMANDS {
            self.close(&Reply::new(421, 7, 0, "Too many errors, closing"));
        } else {
            self.say(reply);
        }
    }

    /// A refusal of something that was well-formed.
    fn refuse(&mut self, reply: &Reply) {
        if reply.is_permanent() {
            self.error();
        }
        if reply.code() == 421 { self.close(reply) } else { self.say(reply) }
    }

    fn error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        self.fresh_errors = self.fresh_errors.saturating_add(1);
        if self.settings.tarpit && self.errors > PATIENCE {
            self.pause = Some(Duration::from_secs(u64::from((self.errors - PATIENCE).min(LONGEST_PAUSE))));
        }
    }

    /// One command line: CRLF alone ends it. A bare LF is answered at once and the line swallowed to its CRLF.
    fn line(&mut self, input: &mut BytesMut) -> Option<Action> {
        self.state = State::Command;
        let Some(end) = memchr::memchr(b'\n', input) else {
            if input.len() < self.settings.command_line {
                return Some(Action::Read);
            }
            self.state = State::Swallow;
            self.bad(&Reply::new(500, 5, 2, "Line too long"));
            return None;
        };
        if end.checked_sub(1).and_then(|before| input.get(before)) != Some(&b'\r') {
            input.advance(end + 1);
            self.state = State::Swallow;
            self.bad(&Reply::new(500, 5, 2, "Lines end with <CR><LF>"));
            return None;
        }
        let mut line = input.split_to(end + 1);
        if line.len() > self.settings.command_line {
            self.bad(&Reply::new(500, 5, 2, "Line too long"));
            return None;
        }
        match Command::parse(line.get(..end - 1).unwrap_or_default()) {
            Ok(command) => {
                if matches!(command, Command::Auth(..)) {
                    line.as_mut().zeroize();
                }
                self.command(command, input)
            }
            Err(error) => {
                self.command_error(error);
                None
            }
        }
    }

    /// Parameters after HELO are 555 whatever they are: nothing was announced.
    fn command_error(&mut self, error: CommandError) {
        let hello = self.hello && !self.client.hello.extended;
        let error = if hello && error == CommandError::ParameterValue { CommandError::Parameter } else { error };
        self.bad(&error.reply());
    }

    fn swallow(&mut self, input: &mut BytesMut) -> Option<Action> {
        match memchr::memmem::find(input, b"\r\n") {
            Some(end) => {
                input.advance(end + 2);
                self.state = State::Command;
                None
            }
            None => {
                // A CR at the end may be half of a CRLF.
                let keep = usize::from(input.ends_with(b"\r"));
                input.advance(input.len() - keep);
                self.state = State::Swallow;
                Some(Action::Read)
            }
        }
    }

    fn command(&mut self, command: Command, input: &BytesMut) -> Option<Action> {
        if let Some(refusal) = self.in_clear(&command) {
            self.bad(&refusal);
            return None;
        }
        // RFC 2920 section 3.1: these end a group, because what follows depends on their answer.
        let last = matches!(command, Command::Ehlo(_) | Command::Helo(_) | Command::StartTls | Command::Data);
        let early = last && !input.is_empty();
        match command {
            // What stands behind STARTTLS may be another's who sits in between: never executed (RFC 3207 section 4.2).
            Command::StartTls if early && self.settings.starttls && self.client.tls.is_none() => self.out_of_sync(),
            _ if early && self.settings.strict => self.out_of_sync(),
            Command::Ehlo(name) => self.greet(Hello { name, extended: true }),
            Command::Helo(name) => self.greet(Hello { name, extended: false }),
            Command::StartTls => return self.starttls(),
            Command::Auth(mechanism, response) => return self.auth(&mechanism, response),
            Command::Mail(reverse_path, parameters) => return self.mail(reverse_path, parameters),
            Command::Rcpt(path, parameters) => return self.rcpt(path, parameters.any(), parameters.dsn),
            Command::Data => return self.open(),
            Command::Rset => {
                self.transaction = None;
                self.say(&Reply::new(250, 0, 0, "Ok"));
            }
            Command::Noop => self.say(&Reply::new(250, 0, 0, "Ok")),
            Command::Quit => self.close(&Reply::new(221, 0, 0, "Bye")),
            Command::Vrfy => self.say(&Reply::new(252, 1, 5, "Not verified; send some mail, it will be tried")),
            Command::Help => self.say(&Reply::new(214, 0, 0, "Segel relays mail: RFC 5321")),
            Command::Unimplemented => self.bad(&Reply::new(502, 5, 1, "Command not implemented")),
        }
        None
    }

    /// RFC 3207 section 4: what is answered without TLS where TLS is required.
    fn in_clear(&self, command: &Command) -> Option<Reply> {
        let allowed = matches!(
            command,
            Command::Ehlo(_) | Command::Helo(_) | Command::Noop | Command::Quit | Command::StartTls | Command::Rset
        );
        let wanted = self.settings.require_tls && self.client.tls.is_none() && !allowed;
        wanted.then(|| Reply::new(530, 7, 0, "Must issue a STARTTLS command first"))
    }

    /// Input that came before its time (S24): nothing of it is used.
    pub fn out_of_sync(&mut self) {
        self.early = true;
        self.error();
        self.pause = None;
        self.close(&Reply::new(554, 5, 0, "SMTP protocol synchronization"));
    }

    fn greet(&mut self, hello: Hello) {
        self.transaction = None;
        let settings = &self.settings;
        if hello.extended {
            let size = format!("SIZE {}", settings.message);
            let auth = self.mechanisms();
            let mut lines =
                vec![settings.hostname.as_str(), "PIPELINING", &size, "8BITMIME", "ENHANCEDSTATUSCODES", "DSN"];
            if settings.starttls && self.client.tls.is_none() {
                lines.push("STARTTLS");
            }
            lines.extend(auth);
            let reply = Reply::plain(250, &lines);
            self.say(&reply);
        } else {
            let reply = Reply::plain(250, &[settings.hostname.as_str()]);
            self.say(&reply);
        }
        self.client.hello = hello;
        self.hello = true;
    }

    fn mail(&mut self, reverse_path: ReversePath, parameters: MailParameters) -> Option<Action> {
        let refusal = if !self.hello {
            Some(out_of_order("Say EHLO or HELO first"))
        } else if self.transaction.is_some() {
            Some(out_of_order("A transaction has begun already"))
        } else if !self.client.hello.extended && parameters.any() {
            Some(CommandError::Parameter.reply())
        } else if self.settings.must_log_in && self.client.identity().is_none() {
            Some(Reply::new(530, 7, 0, "Authentication required"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.bad(&refusal);
            return None;
        }
        let limit = u64::try_from(self.settings.message).unwrap_or(u64::MAX);
        if parameters.size.is_some_and(|size| size > limit) {
            self.say(&fault(Fault::TooLarge));
            return None;
        }
        self.state = State::Mail(reverse_path.clone(), parameters);
        Some(Action::Mail(reverse_path))
    }

    fn rcpt(&mut self, path: ForwardPath, parameters: bool, dsn: RecipientDsn) -> Option<Action> {
        match &self.transaction {
            None => self.bad(&out_of_order("Need MAIL before RCPT")),
            Some(_) if parameters && !self.client.hello.extended => self.bad(&CommandError::Parameter.reply()),
            Some(transaction) if transaction.recipients().len() >= self.settings.recipients => {
                self.say(&Reply::new(452, 5, 3, "Too many recipients, send the rest in another transaction"));
            }
            Some(_) => {
                self.state = State::Rcpt(dsn);
                return Some(Action::Rcpt(path));
            }
        }
        None
    }

    /// DATA.
    fn open(&mut self) -> Option<Action> {
        match &self.transaction {
            None => self.bad(&out_of_order("Need MAIL and RCPT before DATA")),
            // Not counted as bad: a pipelining client sends DATA before it knows that all recipients were refused.
            Some(transaction) if transaction.recipients().is_empty() => {
                self.say(&Reply::new(554, 5, 1, "No valid recipients"));
            }
            Some(transaction) => {
                let declared = usize::try_from(transaction.declared()).unwrap_or(0);
                self.state = State::Open;
                return Some(Action::Memory(if declared == 0 { MEMORY_STEP } else { declared }));
            }
        }
        None
    }

    fn data(&mut self, mut receiver: Receiver, input: &mut BytesMut) -> Option<Action> {
        match receiver.receive(input) {
            Progress::Input => {
                self.state = State::Data(receiver);
                Some(Action::Read)
            }
            Progress::Memory(octets) => {
                self.state = State::DataMemory(receiver);
                Some(Action::Memory(octets))
            }
            Progress::Done => {
                self.state = State::Command;
                let transaction = self.transaction.take();
                match (receiver.finish(), transaction) {
                    (Ok(content), Some(transaction)) => {
                        self.state = State::Message;
                        return Some(Action::Message(transaction.into_envelope(), content));
                    }
                    (Err(found), _) => self.say(&fault(found)),
                    (Ok(_), None) => self.bad(&out_of_order("Need MAIL and RCPT before DATA")),
                }
                None
            }
        }
    }
}

fn out_of_order(text: &str) -> Reply {
    Reply::new(503, 5, 1, text)
}

fn fault(fault: Fault) -> Reply {
    match fault {
        Fault::BareCarriageReturn => Reply::new(550, 6, 0, "Message refused: it holds a bare carriage return"),
        Fault::BareLineFeed => Reply::new(550, 6, 0, "Message refused: it holds a bare line feed"),
        Fault::Nul => Reply::new(550, 6, 0, "Message refused: it holds an octet zero"),
        Fault::TooLarge => Reply::new(552, 3, 4, "Message exceeds the size limit"),
        Fault::Memory => Reply::new(452, 3, 1, "Too busy to take a message of this size now"),
    }
}

#[cfg(test)]
mod tests;
