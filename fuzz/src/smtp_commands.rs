//! The server's dialogue: octets in, actions and replies out, however the octets are cut.

use super::Choices;
use bytes::BytesMut;
use segel::mail::{Address, ReversePath};
use segel::smtp::Reply;
use segel::smtp::command::{Command, ForwardPath};
use segel::smtp::reply::ReplyParser;
use segel::smtp::server::{Action, Attempt, Dialogue, Memory, Secured, Settings};

/// A client that says `data`, in one piece and in many.
pub fn check(data: &[u8]) {
    let (input, mut choices) = Choices::split(data);
    for line in input.split(|octet| *octet == b'\n').take(50) {
        command(line.strip_suffix(b"\r").unwrap_or(line));
    }
    let mut settings = Settings {
        hostname: "gate.example".to_owned(),
        message: 300,
        recipients: 3,
        command_line: 120,
        starttls: false,
        require_tls: choices.coin(),
        plain: true,
        external: choices.coin(),
        must_log_in: choices.coin(),
        strict: false,
        tarpit: choices.coin(),
    };
    // Inside TLS or without it: how STARTTLS itself is answered depends on what has arrived, by design.
    let secured = choices.coin();
    let whole = Run::new(&settings, secured).all(&[input]);
    let pieces = Run::new(&settings, secured).all(&choices.cut(input));
    assert_eq!(whole.transcript(), pieces.transcript(), "cut in another way");
    let singles: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(whole.transcript(), Run::new(&settings, secured).all(&singles).transcript(), "octet by octet");
    settings.starttls = true;
    settings.strict = choices.coin();
    let pieces = choices.cut(input);
    Run::new(&settings, false).all(&pieces);
}

/// A command that was understood means the same when it is written again.
fn command(line: &[u8]) {
    let Ok(command) = Command::parse(line) else { return };
    match command {
        Command::Mail(ReversePath::Mailbox(address), _) => {
            let again = Command::parse(format!("MAIL FROM:<{address}>").as_bytes());
            assert!(
                matches!(again, Ok(Command::Mail(ReversePath::Mailbox(same), _)) if same.as_str() == address.as_str())
            );
            plain(&address);
        }
        Command::Rcpt(ForwardPath::Mailbox(address), _) => {
            let again = Command::parse(format!("RCPT TO:<{address}>").as_bytes());
            assert!(
                matches!(again, Ok(Command::Rcpt(ForwardPath::Mailbox(same), _)) if same.as_str() == address.as_str())
            );
            plain(&address);
        }
        Command::Ehlo(name) | Command::Helo(name) => {
            // It stands in a Received field.
            assert!(name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.[]:".contains(&octet)), "{name}");
        }
        _ => {}
    }
}

fn plain(address: &Address) {
    assert!(address.as_str().bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{address}");
}

/// A dialogue with an environment that answers by what it is asked, never by when.
struct Run {
    dialogue: Dialogue,
    settings: Settings,
    input: BytesMut,
    output: Vec<u8>,
    events: Vec<String>,
    /// What the dialogue may do next.
    secured: bool,
    logged_in: bool,
    recipients: Option<usize>,
    closed: bool,
}

impl Run {
    fn new(settings: &Settings, secured: bool) -> Self {
        let mut run = Self {
            dialogue: Dialogue::new(settings.clone()),
            settings: settings.clone(),
            input: BytesMut::new(),
            output: Vec::new(),
            events: Vec::new(),
            secured,
            logged_in: false,
            recipients: None,
            closed: false,
        };
        if secured {
            run.dialogue.secured(Secured { tls: "TLSv1.3".to_owned(), certificate: Some("c.example".to_owned()) });
            run.logged_in = true;
        }
        run
    }

    fn all(mut self, pieces: &[&[u8]]) -> Self {
        // The greeting.
        self.go_on();
        for piece in pieces {
            if self.closed {
                break;
            }
            self.input.extend_from_slice(piece);
            self.go_on();
        }
        let codes = self.replies();
        assert!(self.closed || codes.last().is_none_or(|code| *code != 421), "421 and still open");
        self
    }

    fn go_on(&mut self) {
        // Each turn takes input, answers or ends; more than this is a dialogue that never waits.
        for _ in 0..100 + 10 * self.input.len() {
            let before = self.input.len();
            let action = self.dialogue.next(&mut self.input);
            assert!(self.input.len() <= before);
            self.output.extend_from_slice(&self.dialogue.output().split());
            match action {
                Action::Read => {
                    assert!(self.input.len() < self.settings.command_line.max(13_000), "what is kept is bounded");
                    return;
                }
                Action::Close => {
                    self.closed = true;
                    return;
                }
                other => self.answer(other),
            }
        }
        panic!("neither reads nor ends");
    }

    fn answer(&mut self, action: Action) {
        let refused = |text: &str| text.starts_with('x').then(|| Reply::new(550, 7, 1, "Not here"));
        match action {
            Action::Pause(pause) => self.events.push(format!("pause {}", pause.as_secs())),
            Action::StartTls => {
                assert!(
                    self.settings.starttls && !self.secured && self.input.is_empty(),
                    "nothing stands behind STARTTLS"
                );
                self.dialogue.answer_starttls(true);
            }
            Action::Handshake => {
                self.input.clear();
                self.dialogue.secured(Secured { tls: "TLSv1.3".to_owned(), certificate: None });
                assert!(self.dialogue.transaction().is_none(), "nothing said in clear counts");
                assert!(self.dialogue.client().hello.name.is_empty() && self.dialogue.client().login.is_none());
                self.secured = true;
            }
            Action::LogIn(credentials) => {
                assert!(self.secured, "no password without TLS");
                let passed = credentials.name.starts_with('s');
                self.events.push(format!("login {}", credentials.name));
                self.logged_in |= passed;
                self.dialogue.answer_login(if passed { Attempt::Passed(credentials.name) } else { Attempt::Failed });
            }
            Action::Mail(path) => {
                assert!(self.secured || !self.settings.require_tls, "mail without TLS");
                assert!(self.logged_in || !self.settings.must_log_in, "mail from nobody");
                self.events.push(format!("mail {path}"));
                let refusal = refused(path.mailbox().map_or("", Address::local));
                self.recipients = refusal.is_none().then_some(0);
                self.dialogue.answer_mail(refusal.map_or(Ok(()), Err));
            }
            Action::Rcpt(path) => {
                let recipients = self.dialogue.transaction().expect("MAIL comes first").recipients().len();
                assert!(recipients < self.settings.recipients);
                let address = match path {
                    ForwardPath::Postmaster => Address::parse("postmaster@own.example").unwrap(),
                    ForwardPath::Mailbox(address) => address,
                };
                self.events.push(format!("rcpt {address}"));
                self.dialogue.answer_rcpt(refused(address.local()).map_or(Ok(address), Err));
            }
            Action::Memory(octets) => {
                assert!(octets > 0 && octets <= (64 << 10).max(self.settings.message), "{octets}");
                self.dialogue.answer_memory(Memory::Granted(octets));
            }
            Action::Message(envelope, content) => {
                assert!(!envelope.recipients.is_empty() && content.len() <= self.settings.message);
                assert!(envelope.recipients.len() <= self.settings.recipients);
                assert!(envelope.recipient_dsn.len() == envelope.recipients.len());
                assert!(!content.contains(&0), "NUL passes");
                for (at, octet) in content.iter().enumerate() {
                    assert!(*octet != b'\n' || (at > 0 && content[at - 1] == b'\r'), "bare LF passes");
                    assert!(*octet != b'\r' || content.get(at + 1) == Some(&b'\n'), "bare CR passes");
                }
                self.events.push(format!("message {envelope:?} {content:?}"));
                self.dialogue.answer_message(&Reply::new(250, 6, 0, "Accepted"));
            }
            Action::Read | Action::Close => {}
        }
    }

    /// The output is replies and nothing else.
    fn replies(&self) -> Vec<u16> {
        let (mut parser, mut rest) = (ReplyParser::new(4096, 100), BytesMut::from(&self.output[..]));
        let mut codes = Vec::new();
        while let Some(reply) = parser.parse(&mut rest).expect("a client can read the replies") {
            codes.push(reply.code());
        }
        assert!(rest.is_empty(), "{rest:?}");
        codes
    }

    /// Codes of the replies, and what happened. Which of two things wrong with a message is named may depend on the cut.
    fn transcript(&self) -> (Vec<String>, &[String]) {
        let text = String::from_utf8_lossy(&self.output);
        let line = |line: &str| match line.get(..9).unwrap_or(line) {
            "550 5.6.0" | "552 5.3.4" => "refused".to_owned(),
            code => code.to_owned(),
        };
        (text.lines().map(line).collect(), &self.events)
    }
}
