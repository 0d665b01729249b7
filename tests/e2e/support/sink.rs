//! A server to deliver to: Python's aiosmtpd, with faults on demand.

use super::PATIENCE;
use super::process::Process;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

/// The system's Python, for which the package is installed.
pub const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = r#"
import asyncio, email, json, os, socket, sys
from aiosmtpd.smtp import SMTP

folder, options = sys.argv[1], json.loads(sys.argv[2])
SMTP.line_length_limit = 1 << 24
count = 0
left = {"defer": int(options.get("defer", 0)), "drop": int(options.get("drop", 0)),
        "reject": int(options.get("reject", 0))}
refuse = set(options.get("refuse", "").split(",")) - {""}
later = set(options.get("later", "").split(",")) - {""}


def take(what):
    if left[what] > 0:
        left[what] -= 1
        return True
    return False


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        hide = options.get("hide")
        return [line for line in responses if not (hide and hide in line)]

    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        envelope.mail_from = address or "<>"
        envelope.mail_options.extend(mail_options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address in refuse:
            return "550 5.1.1 no such user"
        if address in later:
            return "450 4.2.1 later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        name = os.path.join(folder, "%05d" % count)
        kind = "defer" if take("defer") else "drop" if take("drop") else "reject" if take("reject") else "kept"
        with open(name + ".eml", "wb") as file:
            file.write(envelope.original_content)
        with open(name + ".json", "w") as file:
            json.dump({"from": "" if envelope.mail_from == "<>" else envelope.mail_from, "to": envelope.rcpt_tos,
                       "helo": session.host_name, "kind": kind}, file)
        print("mail", name, flush=True)
        if kind == "defer":
            return "451 4.3.0 not now"
        if kind == "drop":
            server.transport.abort()
        if kind == "reject":
            mail = email.message_from_bytes(envelope.original_content)
            return "550 5.7.1 no: %s" % mail["subject"]
        return "250 2.0.0 kept"


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(options.get("port", 0))))
    size = int(options.get("size", 1 << 26))
    server = await loop.create_server(
        lambda: SMTP(Handler(), data_size_limit=size, hostname="sink.test.example", loop=loop), sock=listener, backlog=256)
    print("port", listener.getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

/// A mail as the server stored it.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// `kept`, `defer` (answered 451), `reject` (answered 550) or `drop` (no answer).
    pub kind: String,
    pub content: Vec<u8>,
}

/// A running server.
pub struct Sink {
    process: Process,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Sink {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One with faults: `defer`, `drop` or `reject` (the first so many mails; the refusal quotes
    /// `Subject`), `refuse` or `later` (recipients), `size`, `hide`
    /// (an extension), `port`.
    pub fn with(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("sink.py");
        std::fs::write(&script, SCRIPT).unwrap();
        let options: BTreeMap<&str, &str> = options.iter().copied().collect();
        let mut command = Command::new(PYTHON);
        command.arg(script).arg(folder.path()).arg(serde_json::to_string(&options).unwrap());
        let process = Process::start(&mut command);
        let port = process
            .stdout
            .wait(PATIENCE, |lines| lines.iter().find_map(|line| line.strip_prefix("port ")?.parse().ok()));
        let port: u16 = port.unwrap_or_else(|| panic!("the sink did not start: {:?}", process.stderr.all()));
        Self { process, address: ([127, 0, 0, 1], port).into(), _folder: folder }
    }

    /// Sends it a signal by name: `STOP` and `CONT` make it hang for a while.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Everything that has arrived, in order.
    pub fn mails(&self) -> Vec<Mail> {
        self.process.stdout.all().iter().filter_map(|line| read(line)).collect()
    }

    /// Waits until `count` mails have arrived and gives all of them.
    pub fn wait(&self, count: usize) -> Vec<Mail> {
        let arrived = |lines: &[String]| {
            let names: Vec<String> = lines.iter().filter(|line| line.starts_with("mail ")).cloned().collect();
            (names.len() >= count).then_some(names)
        };
        match self.process.stdout.wait(PATIENCE, arrived) {
            Some(lines) => lines.iter().filter_map(|line| read(line)).collect(),
            None => panic!("{} of {count} mails arrived; {:?}", self.mails().len(), self.process.stderr.all()),
        }
    }

    /// The one mail whose Message-ID contains `id`, when it has arrived.
    pub fn find(&self, id: &str) -> Mail {
        let wanted = |mail: &Mail| super::fields(&mail.content, "message-id").iter().any(|value| value.contains(id));
        self.process
            .stdout
            .wait(PATIENCE, |lines| lines.iter().filter_map(|line| read(line)).find(wanted))
            .unwrap_or_else(|| panic!("`{id}` did not arrive; {:?}", self.process.stderr.all()))
    }

    /// All mails whose Message-ID contains `id`, when there are `count` of them.
    pub fn find_all(&self, id: &str, count: usize) -> Vec<Mail> {
        let wanted = |mail: &Mail| super::fields(&mail.content, "message-id").iter().any(|value| value.contains(id));
        let all = |lines: &[String]| lines.iter().filter_map(|line| read(line)).filter(wanted).collect::<Vec<_>>();
        self.process
            .stdout
            .wait(PATIENCE, |lines| Some(all(lines)).filter(|found| found.len() >= count))
            .unwrap_or_else(|| panic!("{count} of `{id}` did not arrive: {:?}", all(&self.process.stdout.all())))
    }

    /// Whether a mail whose Message-ID contains `id` is there already.
    pub fn has(&self, id: &str) -> bool {
        self.mails()
            .iter()
            .any(|mail| super::fields(&mail.content, "message-id").iter().any(|value| value.contains(id)))
    }
}

fn read(line: &str) -> Option<Mail> {
    let name = line.strip_prefix("mail ")?;
    let facts: serde_json::Value = serde_json::from_slice(&std::fs::read(format!("{name}.json")).unwrap()).unwrap();
    let list = |key: &str| -> Vec<String> {
        facts[key].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    Some(Mail {
        from: facts["from"].as_str().unwrap().to_owned(),
        to: list("to"),
        kind: facts["kind"].as_str().unwrap().to_owned(),
        content: std::fs::read(format!("{name}.eml")).unwrap(),
    })
}
