//! The server's side of the dialogue, without input or output (RFC 5321 section 4, 1870, 2034, 2920, 6152).
//!
//! [`Dialogue::next`] reads what has arrived and says what has to happen; replies gather in [`Dialogue::output`] in the order of the
//! commands, so a pipelined group is answered in one piece. Never waits, never stores, never decides about a recipient.
//! Whatever a client sends, it gets one reply per command and stays in step; who goes on sending nonsense is sent away.

use super::Reply;
use super::command::{Command, CommandError, ForwardPath, MailParameters};
use super::data::{Fault, MEMORY_STEP, Progress, Receiver};
use crate::mail::{Address, BodyType, Envelope, ReversePath};
use bytes::{Buf, Bytes, BytesMut};

/// What a dialogue is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name in the greeting and in the answer to EHLO.
    pub hostname: String,
    /// Octets of a message, announced as `SIZE`.
    pub message: usize,
    /// Recipients of one transaction.
    pub recipients: usize,
    /// Octets of a command line with its CRLF.
    pub command_line: usize,
}

/// What has to happen before the dialogue can go on.
#[derive(Debug)]
pub enum Action {
    /// Write the output, then read more.
    Read,
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

/// One connection's dialogue.
#[derive(Debug)]
pub struct Dialogue {
    settings: Settings,
    output: BytesMut,
    hello: Option<Hello>,
    transaction: Option<Transaction>,
    state: State,
    bad: u32,
}

/// What the client called itself, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Domain or address literal.
    pub name: String,
    /// EHLO: extensions are open to the client.
    pub extended: bool,
}

#[derive(Debug)]
struct Transaction {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Address>,
}

#[derive(Debug)]
enum State {
    Command,
    /// The rest of a line that was answered already.
    Swallow,
    /// MAIL waits for its answer.
    Mail(ReversePath, MailParameters),
    Rcpt,
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
        let mut dialogue =
            Self { output: BytesMut::new(), hello: None, transaction: None, state: State::Command, bad: 0, settings };
        let greeting = format!("{} ESMTP Segel", dialogue.settings.hostname);
        dialogue.say(&Reply::plain(220, &[&greeting]));
        dialogue
    }

    /// Octets to write; the caller takes them away.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What the client said in EHLO or HELO.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The recipients taken so far, and the octets that the client has declared with SIZE (0: it has not).
    pub fn transaction(&self) -> (&[Address], u64) {
        self.transaction.as_ref().map_or((&[], 0), |transaction| {
            (transaction.recipients.as_slice(), transaction.parameters.size.unwrap_or_default())
        })
    }

    /// Between 354 and the end of the message.
    pub fn in_data(&self) -> bool {
        matches!(self.state, State::Data(_) | State::DataMemory(_))
    }

    /// Goes on with what has arrived. Call again after every answer, and with more input after [`Action::Read`].
    pub fn next(&mut self, input: &mut BytesMut) -> Action {
        loop {
            let step = match std::mem::replace(&mut self.state, State::Closed) {
                State::Command => self.line(input),
                State::Swallow => self.swallow(input),
                State::Data(receiver) => self.data(receiver, input),
                State::Closed => Some(Action::Close),
                // An answer is missing: nothing can be said that is true.
                State::Mail(..) | State::Rcpt | State::Open | State::DataMemory(_) | State::Message => {
                    self.close(&Reply::new(421, 3, 0, "Internal error, closing"));
                    None
                }
            };
            if let Some(action) = step {
                return action;
            }
        }
    }

    /// Whether this reverse-path may begin a transaction; the reply of an `Err` goes to the client.
    pub fn answer_mail(&mut self, answer: Result<(), Reply>) {
        if let State::Mail(reverse_path, parameters) = std::mem::replace(&mut self.state, State::Command) {
            match answer {
                Ok(()) => {
                    self.transaction = Some(Transaction { reverse_path, parameters, recipients: Vec::new() });
                    self.say(&Reply::new(250, 1, 0, "Sender ok"));
                }
                Err(reply) => self.say(&reply),
            }
        }
    }

    /// The recipient as he is to be stored, or why not.
    pub fn answer_rcpt(&mut self, answer: Result<Address, Reply>) {
        self.state = State::Command;
        match (answer, &mut self.transaction) {
            (Ok(address), Some(transaction)) => {
                transaction.recipients.push(address);
                self.say(&Reply::new(250, 1, 5, "Recipient ok"));
            }
            (Err(reply), _) => self.say(&reply),
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
        if self.bad >= BAD_COMMANDS {
            self.close(&Reply::new(421, 7, 0, "Too many errors, closing"));
        } else {
            self.say(reply);
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
        let line = input.split_to(end + 1);
        if line.len() > self.settings.command_line {
            self.bad(&Reply::new(500, 5, 2, "Line too long"));
            return None;
        }
        match Command::parse(line.get(..end - 1).unwrap_or_default()) {
            Ok(command) => self.command(command),
            Err(error) => {
                self.command_error(error);
                None
            }
        }
    }

    /// Parameters after HELO are 555 whatever they are: nothing was announced.
    fn command_error(&mut self, error: CommandError) {
        let hello = self.hello.as_ref().is_some_and(|hello| !hello.extended);
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

    fn command(&mut self, command: Command) -> Option<Action> {
        match command {
            Command::Ehlo(name) => self.greet(Hello { name, extended: true }),
            Command::Helo(name) => self.greet(Hello { name, extended: false }),
            Command::Mail(reverse_path, parameters) => return self.mail(reverse_path, parameters),
            Command::Rcpt(path, _) => return self.rcpt(path),
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

    fn greet(&mut self, hello: Hello) {
        self.transaction = None;
        let hostname = self.settings.hostname.clone();
        if hello.extended {
            let size = format!("SIZE {}", self.settings.message);
            self.say(&Reply::plain(250, &[&hostname, "PIPELINING", &size, "8BITMIME", "ENHANCEDSTATUSCODES"]));
        } else {
            self.say(&Reply::plain(250, &[&hostname]));
        }
        self.hello = Some(hello);
    }

    fn mail(&mut self, reverse_path: ReversePath, parameters: MailParameters) -> Option<Action> {
        let refusal = match &self.hello {
            None => Some(out_of_order("Say EHLO or HELO first")),
            Some(_) if self.transaction.is_some() => Some(out_of_order("A transaction has begun already")),
            Some(hello) if !hello.extended && parameters.any() => Some(CommandError::Parameter.reply()),
            Some(_) => None,
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

    fn rcpt(&mut self, path: ForwardPath) -> Option<Action> {
        match &self.transaction {
            None => self.bad(&out_of_order("Need MAIL before RCPT")),
            Some(transaction) if transaction.recipients.len() >= self.settings.recipients => {
                self.say(&Reply::new(452, 5, 3, "Too many recipients, send the rest in another transaction"));
            }
            Some(_) => {
                self.state = State::Rcpt;
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
            Some(transaction) if transaction.recipients.is_empty() => {
                self.say(&Reply::new(554, 5, 1, "No valid recipients"));
            }
            Some(transaction) => {
                let declared = transaction.parameters.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
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
                    (Ok(content), Some(Transaction { reverse_path, parameters, recipients })) => {
                        self.state = State::Message;
                        let body = parameters.body.unwrap_or(BodyType::SevenBit);
                        return Some(Action::Message(Envelope::new(reverse_path, recipients, body), content));
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
