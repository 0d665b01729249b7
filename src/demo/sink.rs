//! A receiving mail server, as small as one can be: takes everything, keeps each mail as it arrived.
//!
//! It shares nothing with the gateway's own SMTP code, so that a mistake there is not repeated here.

use super::{DemoError, failed, folder};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A mail that arrived.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// The recipients of the transaction.
    pub(super) recipients: Vec<String>,
    /// The mail, without dot-stuffing, otherwise octet by octet.
    pub(super) content: Vec<u8>,
    /// Where it is stored.
    pub(super) file: PathBuf,
}

/// A server that runs until the process ends.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    shelf: Arc<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    name: &'static str,
    folder: PathBuf,
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
}

impl Sink {
    /// Starts a server on a port of its own; mails go to `folder`.
    pub(super) fn start(name: &'static str, folder: PathBuf) -> Result<Self, DemoError> {
        let attempt = |source| failed(format!("listen for {name}"), source);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(attempt)?;
        let address = listener.local_addr().map_err(attempt)?;
        let shelf = Arc::new(Shelf { name, folder, received: Mutex::new(Vec::new()), arrived: Condvar::new() });
        let sink = Self { address, shelf: Arc::clone(&shelf) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shelf = Arc::clone(&shelf);
                // A broken connection concerns its client alone, which tries again.
                thread::spawn(move || Session { shelf: &shelf, stream: BufReader::new(stream) }.run().is_ok());
            }
        });
        Ok(sink)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The mail with this Message-ID for this recipient, if it arrives within `patience`.
    pub(super) fn wait_for(&self, message_id: &str, recipient: &str, patience: Duration) -> Option<Received> {
        let wanted = |received: &[Received]| {
            received
                .iter()
                .find(|mail| mail.is(message_id) && mail.recipients.iter().any(|one| one == recipient))
                .cloned()
        };
        let received = self.shelf.lock();
        let (received, _) = self
            .shelf
            .arrived
            .wait_timeout_while(received, patience, |received| wanted(received).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        wanted(&received)
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, recipients: Vec<String>, content: Vec<u8>) -> Result<(), DemoError> {
        let mut received = self.lock();
        let file = self.folder.join(format!("{:02}-{}.eml", received.len() + 1, label(&content)));
        folder::write(&file, &content)?;
        received.push(Received { recipients, content, file });
        self.arrived.notify_all();
        Ok(())
    }
}

impl Received {
    fn is(&self, message_id: &str) -> bool {
        header(&self.content, "message-id").is_some_and(|value| value == message_id)
    }

    /// The stored file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// The first field `name` (lower case) of a mail's header section, unfolded.
pub(super) fn header(mail: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(mail);
    let section = text.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
    section.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.to_ascii_lowercase() == name).then(|| value.trim().to_owned())
    })
}

/// What to call a mail's file: the local part of its Message-ID.
fn label(mail: &[u8]) -> String {
    let id = header(mail, "message-id").unwrap_or_default();
    let label: String =
        id.chars().take_while(|c| *c != '@').filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if label.is_empty() { "mail".to_owned() } else { label }
}

struct Session<'a> {
    shelf: &'a Shelf,
    stream: BufReader<TcpStream>,
}

impl Session<'_> {
    fn run(mut self) -> io::Result<()> {
        self.reply(&format!("220 {} (demo)", self.shelf.name.replace(' ', "-")))?;
        let mut recipients = Vec::new();
        loop {
            let Some(line) = self.line()? else { return Ok(()) };
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = text.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.reply("250-demo\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 67108864")?,
                "MAIL" | "RSET" | "HELO" => {
                    recipients.clear();
                    self.reply("250 OK")?;
                }
                "RCPT" => {
                    recipients.push(path(&text));
                    self.reply("250 OK")?;
                }
                "DATA" => {
                    self.reply("354 go on")?;
                    let Some(content) = self.data()? else { return Ok(()) };
                    match self.shelf.put(std::mem::take(&mut recipients), content) {
                        Ok(()) => self.reply("250 kept")?,
                        Err(_) => self.reply("452 cannot write")?,
                    }
                }
                "QUIT" => return self.reply("221 bye"),
                "NOOP" => self.reply("250 OK")?,
                _ => self.reply("502 not here")?,
            }
        }
    }

    fn reply(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes())
    }

    /// One line with its end; none at the end of the connection.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        Ok((!line.is_empty()).then_some(line))
    }

    /// The mail up to the line with the lone dot.
    fn data(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line == b".\r\n" {
                return Ok(Some(content));
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

/// The address between the angle brackets.
fn path(command: &str) -> String {
    command
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or_else(String::new, |(path, _)| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{header, label, path};

    #[test]
    fn fields_are_found_and_unfolded() {
        let mail = b"Subject: a\r\n b\r\nMESSAGE-ID: <one-two@x>\r\n\r\nSubject: c\r\n";
        assert_eq!(header(mail, "subject").as_deref(), Some("a b"));
        assert_eq!(header(mail, "from"), None);
        assert_eq!(label(mail), "one-two");
        assert_eq!(label(b"\r\n"), "mail");
        assert_eq!(path("RCPT TO:<a@b> X=Y"), "a@b");
    }
}
