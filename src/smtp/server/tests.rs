#![expect(clippy::string_slice, reason = "replies are US-ASCII, and a test may panic")]

mod authentication;
mod manners;

use super::{Action, Attempt, BAD_COMMANDS, Dialogue, Memory, Secured, Settings};
use crate::mail::{Address, Envelope};
use crate::smtp::Reply;
use crate::smtp::command::ForwardPath;
use bytes::{Bytes, BytesMut};

/// A dialogue whose other end takes `…@own.example` and postmaster, and keeps what it got.
struct Server {
    dialogue: Dialogue,
    input: BytesMut,
    memory: usize,
    messages: Vec<(Vec<String>, Bytes)>,
    envelopes: Vec<Envelope>,
    /// What a handshake establishes; none: there is no TLS now.
    tls: Option<Secured>,
    /// What was waited for, in seconds.
    pauses: Vec<u64>,
    closed: bool,
}

impl Server {
    fn new(message: usize, memory: usize) -> Self {
        Self::with(Settings { message, ..settings() }, memory)
    }

    fn with(settings: Settings, memory: usize) -> Self {
        let mut server = Self {
            dialogue: Dialogue::new(settings),
            input: BytesMut::new(),
            memory,
            messages: Vec::new(),
            envelopes: Vec::new(),
            tls: Some(Secured { tls: "TLSv1.3 TLS_AES_128_GCM_SHA256".to_owned(), certificate: None }),
            pauses: Vec::new(),
            closed: false,
        };
        assert_eq!(server.read(), "220 gate.example ESMTP Segel\r\n");
        server
    }

    fn greeted() -> Self {
        let mut server = Self::new(1000, 1 << 20);
        server.send("EHLO c.example\r\n");
        server
    }

    fn read(&mut self) -> String {
        String::from_utf8(self.dialogue.output().split().to_vec()).unwrap()
    }

    fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        loop {
            match self.dialogue.next(&mut self.input) {
                Action::Read => break,
                Action::Pause(pause) => self.pauses.push(pause.as_secs()),
                Action::StartTls => self.dialogue.answer_starttls(self.tls.is_some()),
                Action::Handshake => {
                    assert!(self.input.is_empty());
                    self.dialogue.secured(self.tls.clone().unwrap());
                }
                Action::LogIn(credentials) => {
                    let right = credentials.name == "siti" && credentials.password.0.as_str() == "rahasia";
                    self.dialogue.answer_login(match credentials.name.as_str() {
                        "later" => Attempt::Later,
                        name if right => Attempt::Passed(name.to_owned()),
                        _ => Attempt::Failed,
                    });
                }
                Action::Mail(_) => self.dialogue.answer_mail(Ok(())),
                Action::Rcpt(ForwardPath::Postmaster) => {
                    self.dialogue.answer_rcpt(Ok(Address::parse("postmaster@own.example").unwrap()));
                }
                Action::Rcpt(ForwardPath::Mailbox(address)) if address.as_str().ends_with("@own.example") => {
                    self.dialogue.answer_rcpt(Ok(address));
                }
                Action::Rcpt(_) => self.dialogue.answer_rcpt(Err(Reply::new(550, 7, 1, "Not here"))),
                Action::Memory(octets) if octets <= self.memory => {
                    self.memory -= octets;
                    self.dialogue.answer_memory(Memory::Granted(octets));
                }
                Action::Memory(_) => self.dialogue.answer_memory(Memory::Spent),
                Action::Message(envelope, content) => {
                    let recipients = envelope.recipients.iter().map(|address| address.as_str().to_owned()).collect();
                    self.messages.push((recipients, content));
                    self.envelopes.push(envelope);
                    self.dialogue.answer_message(&Reply::new(250, 6, 0, "Accepted as q1"));
                }
                Action::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
    }

    fn send(&mut self, octets: impl AsRef<[u8]>) -> String {
        self.feed(octets.as_ref());
        self.read()
    }

    /// Sends lines and compares the first words of each reply.
    #[track_caller]
    fn script(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let reply = self.send(format!("{line}\r\n"));
            assert!(reply.starts_with(expected) && reply.lines().count() == 1, "{line}: {reply}");
        }
    }
}

fn settings() -> Settings {
    Settings {
        hostname: "gate.example".to_owned(),
        message: 1000,
        recipients: 100,
        command_line: 600,
        ..Settings::default()
    }
}

const ENVELOPE: [(&str, &str); 2] =
    [("MAIL FROM:<a@b.example>", "250 2.1.0 "), ("RCPT TO:<u@own.example>", "250 2.1.5 ")];

#[test]
fn s01_command_order() {
    let mut server = Server::new(1000, 1 << 20);
    server.script(&[
        ("MAIL FROM:<a@b.example>", "503 5.5.1 "),
        ("RCPT TO:<u@own.example>", "503 5.5.1 "),
        ("DATA", "503 5.5.1 "),
    ]);
    server.send("EHLO c.example\r\n");
    server.script(&[
        ("RCPT TO:<u@own.example>", "503 5.5.1 "),
        ("DATA", "503 5.5.1 "),
        ("MAIL FROM:<a@b.example>", "250 2.1.0 "),
        ("MAIL FROM:<c@b.example>", "503 5.5.1 "),
        ("RSET", "250 2.0.0 "),
        ("RCPT TO:<u@own.example>", "503 5.5.1 "),
        ENVELOPE[0],
        ENVELOPE[1],
    ]);
    server.send("EHLO again.example\r\n");
    server.script(&[("DATA", "503 5.5.1 "), ENVELOPE[0], ENVELOPE[1], ("DATA", "354 ")]);
    server.script(&[("Subject: x\r\n\r\nx\r\n.", "250 2.6.0 "), ("DATA", "503 5.5.1 "), ("QUIT", "221 2.0.0 ")]);
    assert!(server.closed);
    assert_eq!(server.messages.len(), 1);
}

#[test]
fn s02_helo_and_ehlo() {
    let mut server = Server::new(1000, 1 << 20);
    assert_eq!(
        server.send("EHLO c.example\r\n"),
        "250-gate.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n"
    );
    assert!(server.dialogue.client().hello.extended);
    assert_eq!(server.send("HELO c.example\r\n"), "250 gate.example\r\n");
    server.script(&[
        ("MAIL FROM:<a@b.example> SIZE=10", "555 5.5.4 "),
        ("MAIL FROM:<a@b.example> BODY=8BITMIME", "555 5.5.4 "),
        ("MAIL FROM:<a@b.example> SIZE=x", "555 5.5.4 "),
        ENVELOPE[0],
        ENVELOPE[1],
        ("DATA", "354 "),
        (".", "250 2.6.0 "),
    ]);
    assert_eq!(server.messages[0].1, Bytes::new());
}

#[test]
fn s04_other_commands() {
    Server::greeted().script(&[
        ("NOOP", "250 2.0.0 "),
        ("NOOP hello there", "250 2.0.0 "),
        ("VRFY postmaster", "252 2.1.5 "),
        ("EXPN list", "502 5.5.1 "),
        ("HELP", "214 2.0.0 "),
        ("FOO", "500 5.5.1 "),
        ("BDAT 5", "502 5.5.1 "),
        ("AUTH PLAIN x", "502 5.5.1 "),
        ("STARTTLS", "502 5.5.1 "),
        ("MAIL FROM:<a@b.example> FOO=bar", "555 5.5.4 "),
        ENVELOPE[0],
        ("RCPT TO:<u@own.example> BY=120", "555 5.5.4 "),
        ("RCPT TO:<u@own.example> NOTIFY=NEVER", "250 2.1.5 "),
        ("RSET", "250 2.0.0 "),
    ]);
}

#[test]
fn s05_long_lines_keep_the_session_in_step() {
    for length in [512, 598, 599, 5000, 1 << 20] {
        let mut server = Server::greeted();
        let line = format!("NOOP {}", "x".repeat(length - 5));
        let mut replies = String::new();
        for piece in [line.as_bytes(), b"\r\nNOOP\r\n"].concat().chunks(1000) {
            replies += &server.send(piece);
        }
        let expected = if length + 2 <= 600 { "250" } else { "500 5.5.2" };
        let replies: Vec<_> = replies.lines().collect();
        assert!(replies.len() == 2 && replies[0].starts_with(expected) && replies[1].starts_with("250"), "{replies:?}");
        assert!(server.input.is_empty());
    }
    // Never ended: answered, and not kept.
    let mut server = Server::greeted();
    for _ in 0..100 {
        server.feed(&[b'x'; 1000]);
        assert!(server.input.len() <= 1000);
    }
    assert!(server.read().starts_with("500 5.5.2"));
}

#[test]
fn s08_recipients_beyond_the_limit() {
    let mut server = Server::greeted();
    server.script(&ENVELOPE[..1]);
    for number in 0..100 {
        server.script(&[(&format!("RCPT TO:<u{number}@own.example>"), "250 2.1.5 ")]);
    }
    server.script(&[
        ("RCPT TO:<more@own.example>", "452 4.5.3 "),
        ("RCPT TO:<more2@own.example>", "452 4.5.3 "),
        ("DATA", "354 "),
        ("x\r\n.", "250 2.6.0 "),
    ]);
    assert_eq!(server.messages[0].0.len(), 100);
}

#[test]
fn a_recipient_who_is_named_twice_gets_the_mail_once() {
    let mut server = Server::greeted();
    server.script(&ENVELOPE[..1]);
    for address in ["u@own.example", "U@own.example", "v@own.example", "u@own.example"] {
        server.script(&[(&format!("RCPT TO:<{address}>"), "250 2.1.5 ")]);
    }
    server.script(&[("DATA", "354 "), ("x\r\n.", "250 2.6.0 ")]);
    // Whether `U` is somebody else is not ours to say.
    assert_eq!(server.messages[0].0, ["u@own.example", "U@own.example", "v@own.example"]);
    assert_eq!(server.envelopes[0].recipient_dsn.len(), 3);
}

#[test]
fn s15_data_without_recipients() {
    let mut server = Server::greeted();
    let replies = server.send(
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\nRSET\r\nMAIL FROM:<a@b.example>\r\nDATA\r\n",
    );
    let codes: Vec<_> = replies.lines().map(|line| &line[..9]).collect();
    assert_eq!(codes, ["250 2.1.0", "550 5.7.1", "554 5.5.1", "250 2.0.0", "250 2.1.0", "554 5.5.1"]);
    assert!(server.messages.is_empty());
}

#[test]
fn s15_refused_data_is_consumed() {
    let mut server = Server::greeted();
    server.script(&ENVELOPE);
    server.script(&[("DATA", "354 ")]);
    assert_eq!(server.send("QUIT\r\nMAIL FROM:<x@y.example>\r\n".repeat(200)), "");
    server.script(&[(".", "552 5.3.4 "), ("NOOP", "250 2.0.0 "), ("RCPT TO:<u@own.example>", "503 5.5.1 ")]);
    assert!(server.messages.is_empty());
}

#[test]
fn s21_one_mail_or_none_never_two() {
    let second = "MAIL FROM:<s@own.example>\r\nRCPT TO:<u@own.example>\r\nDATA\r\nsmuggled\r\n.\r\n";
    for sequence in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r", "\r\n\0.\r\n", "\r\n.\0\r\n", "\r\n.\r\r\n"] {
        for step in [1, 2, 1 << 20] {
            let mut server = Server::greeted();
            server.script(&ENVELOPE);
            server.script(&[("DATA", "354 ")]);
            let mut replies = String::new();
            for piece in format!("Subject: x\r\n\r\nbody{sequence}{second}NOOP\r\n").as_bytes().chunks(step) {
                replies += &server.send(piece);
            }
            let replies: Vec<_> = replies.lines().collect();
            assert!(server.messages.is_empty(), "{sequence:?}");
            assert!(
                replies.len() == 2 && replies[0].starts_with("550 5.6.0 ") && replies[1].starts_with("250 "),
                "{sequence:?}: {replies:?}"
            );
        }
    }
}

#[test]
fn s21_a_bare_line_feed_never_ends_a_command() {
    let mut server = Server::greeted();
    let replies = server.send("NOOP\nMAIL FROM:<a@b.example>\nRCPT TO:<u@own.example>\r\nNOOP\r\nNOOP\rRSET\r\n");
    let codes: Vec<_> = replies.lines().map(|line| &line[..9]).collect();
    assert_eq!(codes, ["500 5.5.2", "250 2.0.0", "500 5.5.2"]);
    assert!(server.dialogue.transaction.is_none());
    // In two packets, split inside the CRLF that ends the swallowed line.
    assert_eq!(server.send("NOOP\nMAIL\r").lines().count(), 1);
    assert!(server.send("\nNOOP\r\n").starts_with("250 2.0.0 "));
}

#[test]
fn s30_replies_in_order_in_one_piece() {
    let mut server = Server::greeted();
    let group = "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@own.example>\r\nRCPT TO:<x@elsewhere.example>\r\nRCPT TO:<v@own.example>\r\nDATA\r\n";
    let replies = server.send(group);
    let codes: Vec<_> = replies.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "550", "250", "354"]);
    let replies = server.send(format!("one\r\n.\r\n{group}"));
    let codes: Vec<_> = replies.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "550", "250", "354"]);
    let replies = server.send("two\r\n.\r\nQUIT\r\n");
    assert_eq!(replies.lines().map(|line| &line[..3]).collect::<Vec<_>>(), ["250", "221"]);
    assert_eq!(server.messages.len(), 2);
    assert_eq!(
        server.messages[1],
        (vec!["u@own.example".to_owned(), "v@own.example".to_owned()], Bytes::from("two\r\n"))
    );
}

#[test]
fn s31_size() {
    let mut server = Server::greeted();
    server.script(&[
        ("MAIL FROM:<a@b.example> SIZE=1001", "552 5.3.4 "),
        ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", "552 5.3.4 "),
        ("MAIL FROM:<a@b.example> SIZE=1000", "250 2.1.0 "),
        ENVELOPE[1],
        ("DATA", "354 "),
    ]);
    // Exactly the limit once the stuffing is off.
    server.script(&[(&format!("..{}\r\n.", "x".repeat(997)), "250 2.6.0 ")]);
    assert_eq!(server.messages[0].1.len(), 1000);
    // A lying SIZE.
    server.script(&[("MAIL FROM:<a@b.example> SIZE=5", "250 2.1.0 "), ENVELOPE[1], ("DATA", "354 ")]);
    server.script(&[(&format!("{}\r\n.", "x".repeat(999)), "552 5.3.4 ")]);
    assert_eq!(server.messages.len(), 1);
}

#[test]
fn s31_spent_memory_is_temporary() {
    let mut server = Server::new(10 << 20, 200_000);
    server.send("EHLO c.example\r\n");
    server.script(&[("MAIL FROM:<a@b.example> SIZE=300000", "250 2.1.0 "), ENVELOPE[1], ("DATA", "452 4.3.1 ")]);
    server.script(&ENVELOPE);
    server.script(&[("DATA", "354 ")]);
    for _ in 0..10_000 {
        server.feed(b"0123456789012345678901234567890123456789\r\n");
    }
    server.script(&[(".", "452 4.3.1 "), ("NOOP", "250 2.0.0 ")]);
    assert!(server.messages.is_empty());
}

#[test]
fn s33_eight_bit_content_is_never_stripped() {
    for body in ["", " BODY=7BIT", " BODY=8BITMIME"] {
        let mut server = Server::greeted();
        server.script(&[(&format!("MAIL FROM:<a@b.example>{body}"), "250 2.1.0 "), ENVELOPE[1], ("DATA", "354 ")]);
        server.feed(b"caf\xe9 \xff\x80\r\n.\r\n");
        assert!(server.read().starts_with("250 2.6.0 "));
        assert_eq!(server.messages[0].1, &b"caf\xe9 \xff\x80\r\n"[..]);
    }
}

#[test]
fn s36_every_reply_has_an_enhanced_code_of_its_class() {
    let mut server = Server::new(1000, 100_000);
    let lines = [
        "RSET",
        "FOO",
        "MAIL FROM:<a@b.example>",
        "HELO x y",
        "EHLO",
        "MAIL FROM:<a@b.example> X=y",
        "MAIL FROM:<a",
        "MAIL FROM:<a@b.example> SIZE=2000",
        "MAIL FROM:<\u{e9}@b.example>",
        "VRFY x",
        "EXPN x",
        "HELP",
        "NOOP",
        "BDAT 1",
        "DATA",
        "RCPT TO:<u@own.example>",
        "FOO\nBAR",
    ];
    let mut seen = Vec::new();
    for line in lines {
        seen.push(server.send(format!("{line}\r\n")));
    }
    server.send("EHLO c.example\r\n");
    for line in ["MAIL FROM:<a@b.example>", "RCPT TO:<x@elsewhere.example>", "DATA", "RCPT TO:<u@own.example>"] {
        seen.push(server.send(format!("{line}\r\n")));
    }
    server.send("DATA\r\n");
    seen.push(server.send("x\n\r\n.\r\n"));
    seen.push(server.send("QUIT\r\n"));
    for reply in seen {
        assert!(!reply.is_empty());
        for line in reply.lines() {
            let (code, rest) = line.split_at(3);
            let enhanced = rest[1..].split(' ').next().unwrap();
            assert_eq!(enhanced.split('.').count(), 3, "{line}");
            assert_eq!(enhanced.split('.').next(), code.get(..1), "{line}");
        }
    }
}

#[test]
fn too_many_bad_commands_end_the_session() {
    let mut server = Server::greeted();
    for _ in 1..BAD_COMMANDS {
        server.script(&[("FOO", "500 5.5.1 ")]);
    }
    server.script(&[("FOO", "421 4.7.0 ")]);
    assert!(server.closed);
    assert_eq!(server.send("NOOP\r\n"), "");
}
