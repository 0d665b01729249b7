//! The end of a message, and that one mail sent is one mail received.

use super::Choices;
use bytes::{Bytes, BytesMut};
use segel::limits::Limits;
use segel::mail::{Address, BodyType, DsnRequest, RecipientDsn, ReversePath};
use segel::smtp::Reply;
use segel::smtp::client::{Client, Fate, Mail, Recipient, Step};
use segel::smtp::command::ForwardPath;
use segel::smtp::data::{Form, Progress, Receiver, form, stuffed};
use segel::smtp::server::{Action, Dialogue, Memory, Settings};

/// Octets of a message, so that the limit is met.
const LIMIT: usize = 2000;

/// `data` as what arrives after 354, and as a mail to be sent.
pub fn check(data: &[u8]) {
    let (input, mut choices) = Choices::split(data);
    let expected = model(input);
    for pieces in [vec![input], choices.cut(input), input.chunks(1).collect()] {
        let found = receive(&pieces, choices.below(3) * 500);
        assert_eq!(found, expected, "{pieces:?}");
    }
    sent_and_received(input, &mut choices);
}

/// What the wire says: the content or that it is refused, and how many octets it takes. Written to be obvious, not fast.
fn model(wire: &[u8]) -> Option<(Option<Vec<u8>>, usize)> {
    let starts_line = |at: usize| at == 0 || wire[..at].ends_with(b"\r\n");
    let end = (0..wire.len()).find(|at| starts_line(*at) && wire[*at..].starts_with(b".\r\n"))?;
    let stuffed = &wire[..end];
    let mut content = Vec::new();
    let mut bare = false;
    for (at, octet) in stuffed.iter().enumerate() {
        bare |= match octet {
            b'\r' => stuffed.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || stuffed[at - 1] != b'\r',
            _ => *octet == 0,
        };
        if !(starts_line(at) && *octet == b'.') {
            content.push(*octet);
        }
    }
    Some(((!bare && content.len() <= LIMIT).then_some(content), end + 3))
}

fn receive(pieces: &[&[u8]], granted: usize) -> Option<(Option<Vec<u8>>, usize)> {
    let mut receiver = Receiver::new(LIMIT, granted);
    let mut input = BytesMut::new();
    let (mut given, mut pieces) = (0, pieces.iter());
    loop {
        match receiver.receive(&mut input) {
            Progress::Input => {
                assert!(input.len() < 3, "what can't be judged yet is short: {input:?}");
                let piece = pieces.next()?;
                given += piece.len();
                input.extend_from_slice(piece);
            }
            Progress::Memory(octets) => {
                assert!(octets > 0 && octets <= LIMIT);
                receiver.grant(octets);
            }
            Progress::Done => {
                let content = receiver.finish().ok().map(|content| content.to_vec());
                return Some((content, given - input.len()));
            }
        }
    }
}

/// Our client at one end, our server at the other: one mail goes in, the same comes out, or none.
fn sent_and_received(input: &[u8], choices: &mut Choices) {
    let content = Bytes::copy_from_slice(input);
    let sendable = form(&content) != Form::Unsendable;
    if sendable {
        let wire = stuffed(&content).concat();
        let (mut expected, bound) = (input.to_vec(), wire.len());
        if !(input.is_empty() || input.ends_with(b"\r\n")) {
            expected.extend_from_slice(b"\r\n");
        }
        let fits = expected.len() <= LIMIT;
        assert_eq!(model(&wire), Some((fits.then_some(expected), bound)), "unstuffed is what was stuffed");
    }
    let first = input.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let given = std::str::from_utf8(first).ok().and_then(|text| Address::parse(text).ok());
    let addresses = [given, Address::parse("\"a b>\\\"<@\"@x.example").ok(), Address::parse("u@y.example").ok()];
    let addresses: Vec<Address> = addresses.into_iter().flatten().collect();
    let recipient = |address: &Address| Recipient { address: address.clone(), dsn: RecipientDsn::default() };
    let mail = Mail {
        reverse_path: if choices.coin() { ReversePath::Null } else { ReversePath::Mailbox(addresses[0].clone()) },
        recipients: addresses.iter().map(recipient).collect(),
        body: BodyType::SevenBit,
        dsn: DsnRequest::default(),
        content: content.clone(),
    };
    let ascii = |address: &Address| address.local().is_ascii();
    let path_goes = mail.reverse_path.mailbox().is_none_or(ascii);
    let wire = |address: &Address| format!("{}@{}", address.local(), written(address));
    // Whom two commands name is one recipient.
    let mut sent: Vec<&Address> = Vec::new();
    for address in addresses.iter().filter(|address| ascii(address)) {
        let same = |other: &&Address| other.local() == address.local() && other.domain().same(address.domain());
        if !sent.iter().any(same) {
            sent.push(address);
        }
    }
    let expected: Vec<String> = sent.into_iter().map(wire).collect();
    let (fates, received) = Line::new(choices).carry(mail);
    assert_eq!(fates.len(), addresses.len());
    if !(sendable && path_goes) {
        assert!(received.is_empty() && fates.iter().all(|fate| matches!(fate, Fate::Failed { .. })), "{fates:?}");
        return;
    }
    let [(recipients, arrived)] = &received[..] else { panic!("{} mails of one: {fates:?}", received.len()) };
    assert_eq!(*recipients, expected);
    let rest = arrived.strip_prefix(input).expect("what was sent is received");
    assert!(rest.is_empty() || (rest == b"\r\n" && !input.ends_with(b"\r\n")));
    for (fate, address) in fates.iter().zip(&addresses) {
        assert_eq!(matches!(fate, Fate::Delivered { .. }), ascii(address), "{address}: {fate:?}");
    }
}

/// The domain as it stands, or in A-labels where something in the address is not ASCII.
fn written(address: &Address) -> &str {
    if address.as_str().is_ascii() { address.domain().as_str() } else { address.domain().ascii() }
}

struct Line<'a> {
    client: Client,
    server: Dialogue,
    to_server: BytesMut,
    to_client: BytesMut,
    received: Vec<(Vec<String>, Bytes)>,
    choices: &'a mut Choices,
}

impl<'a> Line<'a> {
    fn new(choices: &'a mut Choices) -> Self {
        let settings = Settings {
            hostname: "gate.example".to_owned(),
            message: 4 << 20,
            recipients: 100,
            command_line: 13_000,
            ..Settings::default()
        };
        Self {
            client: Client::new("c.example", &Limits::default()),
            server: Dialogue::new(settings),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            received: Vec::new(),
            choices,
        }
    }

    fn carry(mut self, mail: Mail) -> (Vec<Fate>, Vec<(Vec<String>, Bytes)>) {
        let mut mail = Some(mail);
        for _ in 0..100 {
            let step = self.client.next(&mut self.to_client);
            self.write();
            match step {
                Step::Read(_) => {}
                Step::Content(pieces) => {
                    for piece in pieces {
                        self.send(&piece);
                    }
                    self.client.content_sent();
                }
                Step::Ready => match mail.take() {
                    Some(mail) => {
                        self.client.send(mail);
                        self.write();
                    }
                    None => return (self.client.take_fates(), self.received),
                },
                Step::Broken | Step::Handshake => panic!("{:?}", self.client.trouble()),
            }
            self.to_client.extend_from_slice(&self.server.output().split());
        }
        panic!("the dialogue does not end");
    }

    fn write(&mut self) {
        let written = self.client.output().split();
        self.send(&written);
        self.to_client.extend_from_slice(&self.server.output().split());
    }

    fn send(&mut self, octets: &[u8]) {
        for piece in self.choices.cut(octets) {
            self.to_server.extend_from_slice(piece);
            self.serve();
        }
    }

    fn serve(&mut self) {
        loop {
            match self.server.next(&mut self.to_server) {
                Action::Read => return,
                Action::Mail(_) => self.server.answer_mail(Ok(())),
                Action::Rcpt(ForwardPath::Mailbox(address)) => self.server.answer_rcpt(Ok(address)),
                Action::Memory(octets) => self.server.answer_memory(Memory::Granted(octets)),
                Action::Message(envelope, content) => {
                    let recipients = envelope.recipients.iter().map(|address| address.as_str().to_owned()).collect();
                    self.received.push((recipients, content));
                    self.server.answer_message(&Reply::new(250, 6, 0, "Accepted"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
