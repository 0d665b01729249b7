//! Clients: a raw one that reads like the protocol, and swaks.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// A connection that sends exactly what it is told.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        client.expect("220");
        client
    }

    /// Connects and reads nothing.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Connects and says EHLO.
    pub fn hello(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.send("EHLO client.test.example");
        client.expect("250");
        client
    }

    /// One line.
    pub fn send(&mut self, line: &str) {
        self.raw(format!("{line}\r\n").as_bytes());
    }

    /// Octets as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    /// Octets as they are; false if the server has closed the connection.
    pub fn try_raw(&mut self, octets: &[u8]) -> bool {
        self.stream.get_mut().write_all(octets).is_ok()
    }

    /// The next reply, all lines; none when the connection has ended.
    pub fn reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            let mut line = Vec::new();
            match self.stream.read_until(b'\n', &mut line) {
                Ok(read) if read > 0 => {}
                _ => return None,
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(reply);
            }
        }
    }

    /// The next reply, which must begin with `start`.
    pub fn expect(&mut self, start: &str) -> String {
        let reply = self.reply().unwrap_or_else(|| panic!("expected {start}, found the end of the connection"));
        assert!(reply.starts_with(start), "expected {start}, found {reply}");
        reply
    }

    /// A whole transaction up to the reply after the final dot. A refusal ends it early and is the reply.
    pub fn transaction(&mut self, from: &str, to: &[&str], content: &[u8]) -> String {
        self.send(&format!("MAIL FROM:<{from}>"));
        let reply = self.reply().expect("a reply to MAIL");
        if !reply.starts_with('2') {
            return reply;
        }
        let mut accepted = false;
        let mut last = String::new();
        for recipient in to {
            self.send(&format!("RCPT TO:<{recipient}>"));
            last = self.reply().expect("a reply to RCPT");
            accepted |= last.starts_with('2');
        }
        if !accepted {
            self.send("RSET");
            self.expect("250");
            return last;
        }
        self.send("DATA");
        self.expect("354");
        self.raw(&stuffed(content));
        self.raw(b".\r\n");
        self.reply().unwrap_or_default()
    }
}

/// One mail through a connection of its own.
pub fn send(address: SocketAddr, from: &str, to: &[&str], content: &[u8]) -> String {
    Client::hello(address).transaction(from, to, content)
}

/// What an HTTP server answers: its code and the body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    (code, body.to_owned())
}

/// Dot-stuffed, with a final line end.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    let mut start_of_line = true;
    for byte in content {
        if start_of_line && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        start_of_line = *byte == b'\n';
    }
    if !start_of_line {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// What swaks saw: its exit code and the dialogue.
pub struct Dialogue {
    pub code: i32,
    pub text: String,
}

/// Sends one mail with swaks.
pub fn swaks(address: SocketAddr, from: &str, to: &str, more: &[&str]) -> Dialogue {
    let mut command = Command::new("swaks");
    command.args(["--server", &address.to_string(), "--from", from, "--to", to, "--ehlo", "client.test.example"]);
    let output = super::process::run(command.args(more), b"");
    Dialogue { code: output.status.code().unwrap(), text: String::from_utf8_lossy(&output.stdout).into_owned() }
}
