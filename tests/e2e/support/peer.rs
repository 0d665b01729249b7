//! A mail server of the Internet that does what a scenario needs: it greets, offers, refuses and breaks as it is told, and
//! notes every line. TLS is Python's, so OpenSSL's.

use super::PATIENCE;
use super::process::Process;
use super::sink::PYTHON;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

const SCRIPT: &str = r#"
import json, socket, ssl, sys, threading

options = json.loads(sys.argv[1])
lock = threading.Lock()
count = 0
replies = options.get("replies", {})


def say(**facts):
    with lock:
        print(json.dumps(facts), flush=True)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(options["certificate"], options["key"])
    if options.get("clients"):
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(options["clients"])
    if options.get("tls12"):
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


def serve(plain, number):
    wire, secured = plain, None
    if options.get("implicit"):
        wire = context().wrap_socket(plain, server_side=True)
        secured = wire.version()
    lines = wire.makefile("rb")

    def send(text):
        wire.sendall(text.encode() + b"\r\n")

    taken = 0
    greeting = options.get("greeting", "220 peer.example ESMTP")
    send(greeting)
    if not greeting.startswith("220"):
        return
    while True:
        line = lines.readline()
        if not line:
            return
        text = line.decode("latin-1").rstrip("\r\n")
        say(connection=number, line=text, tls=secured)
        verb = text.split(" ")[0].upper()
        rule = next((replies[key] for key in replies if key != "." and text.upper().startswith(key.upper())), None)
        if rule is not None:
            if not rule:
                plain.shutdown(socket.SHUT_RDWR)
                return
            send(rule)
            continue
        if verb == "EHLO":
            offers = ["PIPELINING", "8BITMIME"] + options.get("offers", ["SIZE 50000000"])
            if options.get("certificate") and not secured:
                offers.append("STARTTLS")
            send("\r\n".join("250%s%s" % ("-" if at < len(offers) else " ", name)
                             for at, name in enumerate(["peer.example"] + offers)))
        elif verb == "STARTTLS":
            if options.get("broken"):
                plain.sendall(b"220 go\r\n")
                plain.recv(4096)
                plain.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
                return
            plain.sendall(b"220 go\r\n" + options.get("behind", "").encode())
            wire = context().wrap_socket(plain, server_side=True)
            secured = wire.version()
            lines = wire.makefile("rb")
        elif verb == "AUTH":
            send("235 2.7.0 welcome" if text == options.get("auth") else "535 5.7.8 no")
        elif verb == "RCPT" and taken >= options.get("most", 1000):
            send(options["too_many"])
        elif verb == "RCPT":
            taken += 1
            send("250 2.1.5 ok")
        elif verb == "DATA":
            taken = 0
            # What stands behind 354 was asked by nobody.
            plain_text = "354 go\r\n" + options.get("stray", "")
            wire.sendall(plain_text.encode())
            content = b""
            while True:
                line = lines.readline()
                if not line:
                    return
                if line == b".\r\n":
                    break
                content += line[1:] if line.startswith(b".") else line
            say(connection=number, mail=content.decode("latin-1"), tls=secured)
            send(replies.get(".", "250 2.0.0 taken"))
        elif verb == "QUIT":
            send("221 bye")
            return
        else:
            send("250 2.0.0 ok")


def run(plain, number):
    try:
        serve(plain, number)
    except Exception as error:
        say(connection=number, error=repr(error))
    finally:
        plain.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((options.get("host", "127.0.0.1"), options.get("port", 0)))
listener.listen(100)
say(port=listener.getsockname()[1])
while True:
    stream, _ = listener.accept()
    count += 1
    threading.Thread(target=run, args=(stream, count), daemon=True).start()
"#;

/// A running server.
pub struct Peer {
    process: Process,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Peer {
    /// `host`, `port`, `greeting`, `replies` (beginning of a line to its reply; empty: the connection ends; `.`: after the
    /// data), `offers`, `certificate` and `key` (then STARTTLS), `implicit`, `broken` (the handshake), `behind` (octets behind the
    /// 220), `clients` (whose certificates are asked for), `auth` (the one good line), `tls12`,
    /// `most` (recipients of a transaction) and `too_many` (the reply to more), `stray` (octets behind 354).
    pub fn with(options: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("peer.py");
        std::fs::write(&script, SCRIPT).unwrap();
        let mut command = Command::new(PYTHON);
        command.arg(script).arg(options.to_string());
        let process = Process::start(&mut command);
        let find = |lines: &[String]| lines.iter().find_map(|line| parse(line)["port"].as_u64());
        let port = process.stdout.wait(PATIENCE, find);
        let port = port.unwrap_or_else(|| panic!("the peer did not start: {:?}", process.stderr.all()));
        let host = options["host"].as_str().unwrap_or("127.0.0.1");
        let address = SocketAddr::new(host.parse().unwrap(), u16::try_from(port).unwrap());
        Self { process, address, _folder: folder }
    }

    /// One that takes everything, at an address.
    pub fn at(host: &str, port: u16) -> Self {
        Self::with(&json!({"host": host, "port": port}))
    }

    /// Everything it noted.
    pub fn notes(&self) -> Vec<Value> {
        self.process.stdout.all().iter().map(|line| parse(line)).collect()
    }

    /// The lines that it got, content left out.
    pub fn lines(&self) -> Vec<String> {
        self.notes().iter().filter_map(|note| note["line"].as_str().map(str::to_owned)).collect()
    }

    /// Whether it has the mail whose text holds `id`.
    pub fn has(&self, id: &str) -> bool {
        self.notes().iter().any(|note| note["mail"].as_str().is_some_and(|mail| mail.contains(id)))
    }

    /// Waits for the mail whose text holds `id`: what was noted with it, `tls` above all.
    pub fn wait(&self, id: &str) -> Value {
        let find = |lines: &[String]| {
            let notes = lines.iter().map(|line| parse(line));
            notes.into_iter().find(|note| note["mail"].as_str().is_some_and(|mail| mail.contains(id)))
        };
        self.process
            .stdout
            .wait(PATIENCE, find)
            .unwrap_or_else(|| panic!("`{id}` did not arrive: {:#?} {:?}", self.notes(), self.process.stderr.all()))
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}
