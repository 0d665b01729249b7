//! The gateway as the demo's reader would run it: this same program, `segel serve`, and its commands.

use super::authority::{PASSWORD, People};
use super::folder::Folder;
use super::{DemoError, failed};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// How long the gateway may take to listen.
const START: Duration = Duration::from_secs(30);
/// How often to ask for what the gateway does beside the mail, and how long to wait each time.
const LOOKS: u32 = 40;
const LOOK: Duration = Duration::from_millis(250);

/// A running gateway; it ends with this value.
#[derive(Debug)]
pub(super) struct Gateway {
    program: Program,
    server: Child,
    inside: SocketAddr,
    outside: SocketAddr,
}

/// This program with the demo's configuration.
#[derive(Clone, Debug)]
struct Program {
    executable: PathBuf,
    configuration: PathBuf,
}

/// What a command answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Its standard output.
    pub(super) output: Vec<u8>,
    /// Exit code 0.
    pub(super) yes: bool,
}

impl Gateway {
    /// Imports the staff's keys, then starts the server and waits until it listens.
    pub(super) fn start(folder: &Folder, people: &People) -> Result<Self, DemoError> {
        let executable = std::env::current_exe().map_err(|source| failed("find this program", source))?;
        let program = Program { executable, configuration: folder.sub("segel.toml") };
        folder.write("pki/password.txt", PASSWORD.as_bytes())?;
        for address in people.staff() {
            let (password, store) = (folder.sub("pki/password.txt"), folder.sub(&format!("pki/{address}.p12")));
            let file = store.as_os_str();
            program.must(&[
                "key".as_ref(),
                "import".as_ref(),
                "--address".as_ref(),
                address.as_ref(),
                "--password-file".as_ref(),
                password.as_os_str(),
                file,
            ])?;
        }
        let mut server = program
            .command(&["serve".as_ref()])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| failed("start `segel serve`", source))?;
        let (found, listeners) = mpsc::channel();
        if let Some(stderr) = server.stderr.take() {
            let log = folder.log()?;
            thread::spawn(move || watch(stderr, log, &found));
        }
        match addresses(&listeners) {
            Some((inside, outside)) => Ok(Self { program, server, inside, outside }),
            None => {
                // It may have ended by itself; either way it must not run on.
                let ended = server.kill().and_then(|()| server.wait());
                let log = String::from_utf8_lossy(&folder.read("segel.log")?).into_owned();
                Err(DemoError::Command { command: format!("serve ({ended:?})"), output: log })
            }
        }
    }

    /// Where mail on its way out comes in.
    pub(super) fn inside(&self) -> SocketAddr {
        self.inside
    }

    /// Where mail on its way in comes in.
    pub(super) fn outside(&self) -> SocketAddr {
        self.outside
    }

    /// Runs `segel` with these arguments and the demo's configuration.
    pub(super) fn ask(&self, arguments: &[&OsStr]) -> Result<Answer, DemoError> {
        self.program.run(arguments)
    }

    /// What `segel inspect` says of a file to an outsider, who has the root, the revocation lists and perhaps a key of his
    /// own, and nothing of the gateway's.
    pub(super) fn inspect_outside(
        &self,
        folder: &Folder,
        file: &Path,
        whose: Option<&str>,
    ) -> Result<Value, DemoError> {
        let path = |name: &str| folder.sub(&format!("pki/{name}")).into_os_string();
        let mut arguments: Vec<OsString> =
            ["inspect", "--json", "--revocation", "hard-fail"].map(OsString::from).into();
        let mut add = |option: &str, file: OsString| arguments.extend([option.into(), file]);
        add("--trust", path("root.pem"));
        add("--crl", path("crl.der"));
        add("--crl", path("root-crl.der"));
        if let Some(address) = whose {
            add("--key", path(&format!("{address}.p12")));
            add("--password-file", path("password.txt"));
        }
        arguments.push(file.as_os_str().to_owned());
        let mut command = Command::new(&self.program.executable);
        command.args(&arguments).env_remove("SEGEL_CONFIG").stdin(Stdio::null());
        report(&answer(command, "inspect")?)
    }

    /// What `segel inspect` says of a file with all that the gateway has.
    pub(super) fn inspect(&self, file: &Path) -> Result<Value, DemoError> {
        report(&self.ask(&["inspect".as_ref(), "--json".as_ref(), file.as_os_str()])?)
    }

    /// Imports a partner's certificate, as an operator does.
    pub(super) fn import(&self, folder: &Folder, address: &str) -> Result<(), DemoError> {
        let file = folder.sub(&format!("pki/{address}.pem"));
        self.program.must(&["cert".as_ref(), "import".as_ref(), file.as_os_str()])
    }

    /// Waits until a usable certificate of this partner was learned from mail; false if none is.
    pub(super) fn has_learned(&self, address: &str) -> Result<bool, DemoError> {
        for look in 0..LOOKS {
            if look > 0 {
                thread::sleep(LOOK);
            }
            let list = ["cert", "list", "--json", "--address", address].map(OsStr::new);
            let answer = self.ask(&list)?;
            let is = |row: &Value, key: &str, word: &str| row.get(key).and_then(Value::as_str) == Some(word);
            let learned = |row: Value| is(&row, "source", "mail") && is(&row, "standing", "usable");
            if answer
                .output
                .split(|octet| *octet == b'\n')
                .filter_map(|line| serde_json::from_slice(line).ok())
                .any(learned)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until the server ends, at Ctrl-C for instance.
    pub(super) fn wait(mut self) -> Result<(), DemoError> {
        self.server.wait().map(|_| ()).map_err(|source| failed("wait for `segel serve`", source))
    }

    /// Asks the server to drain and end, and waits for that.
    pub(super) fn stop(self) -> Result<(), DemoError> {
        Command::new("kill")
            .args(["-TERM", &self.server.id().to_string()])
            .status()
            .map_err(|source| failed("stop `segel serve`", source))?;
        self.wait()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // After `stop` or `wait` it has ended already, and that is the only way in which this fails.
        if matches!(self.server.try_wait(), Ok(None)) && self.server.kill().is_ok() {
            self.server.wait().ok();
        }
    }
}

impl Program {
    fn command(&self, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg("-c").arg(&self.configuration).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&OsStr]) -> Result<Answer, DemoError> {
        let name = arguments.iter().take(2).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        answer(self.command(arguments), &name)
    }

    fn must(&self, arguments: &[&OsStr]) -> Result<(), DemoError> {
        let answer = self.run(arguments)?;
        if answer.yes {
            return Ok(());
        }
        let command = arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Err(DemoError::Command { command, output: String::from_utf8_lossy(&answer.output).into_owned() })
    }
}

fn answer(mut command: Command, name: &str) -> Result<Answer, DemoError> {
    let output = command.output().map_err(|source| failed(format!("run `segel {name}`"), source))?;
    // 0 is yes, 1 is no; everything else is no answer.
    match output.status.code() {
        Some(0 | 1) => Ok(Answer { output: output.stdout, yes: output.status.success() }),
        _ => Err(DemoError::Command {
            command: name.to_owned(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

fn report(answer: &Answer) -> Result<Value, DemoError> {
    serde_json::from_slice(&answer.output)
        .map_err(|error| DemoError::Command { command: "inspect --json".to_owned(), output: error.to_string() })
}

/// Copies the server's log to a file and reports each listener it names, until the server ends.
fn watch(stderr: ChildStderr, mut log: std::fs::File, found: &Sender<(String, SocketAddr)>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(listener) = listener(&line) {
            // Nobody waits any more once both are known.
            found.send(listener).ok();
        }
        // The log is for the reader's eyes; without room for it the server must still be able to write.
        writeln!(log, "{line}").ok();
    }
}

/// The name and address in ``listener `dalam` on 127.0.0.1:40123``.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let (_, rest) = line.split_once("listener `")?;
    let (name, rest) = rest.split_once("` on ")?;
    let address = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), address))
}

/// Waits until both listeners are known.
fn addresses(listeners: &Receiver<(String, SocketAddr)>) -> Option<(SocketAddr, SocketAddr)> {
    let (mut inside, mut outside) = (None, None);
    loop {
        if let (Some(inside), Some(outside)) = (inside, outside) {
            return Some((inside, outside));
        }
        let (name, address) = listeners.recv_timeout(START).ok()?;
        match name.as_str() {
            "dalam" => inside = Some(address),
            _ => outside = Some(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::listener;

    #[test]
    fn listeners_are_read_off_the_log() {
        let address = "127.0.0.1:40123".parse().unwrap();
        assert_eq!(listener("INFO segel: listener `dalam` on 127.0.0.1:40123"), Some(("dalam".to_owned(), address)));
        assert_eq!(listener("WARN listener `dalam` on nowhere"), None);
        assert_eq!(listener("console on 127.0.0.1:8025"), None);
    }
}
