//! Processes that end with the test, by their id.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Whether a program can be started; `aiosmtpd` is a module of the system's Python.
pub fn present(program: &str) -> bool {
    let mut command = match program {
        "aiosmtpd" => {
            let mut command = Command::new(super::sink::PYTHON);
            command.args(["-c", "import aiosmtpd"]);
            command
        }
        _ => {
            let mut command = Command::new("sh");
            command.args(["-c", "PATH=$PATH:/usr/sbin:/sbin; command -v \"$0\"", program]);
            command
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs a program to its end; `input` goes to its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    use std::io::Write;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}");
        });
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A program that needs no input may close it early.
    writer.join().unwrap().ok();
    output
}

/// The lines that a process has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<State>, Condvar)>);

/// The lines, and whether the stream has ended.
type State = (Vec<String>, bool);

impl Lines {
    /// Collects from `stream` until it ends.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = lines.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                shared.change(|state| state.0.push(String::from_utf8_lossy(&line).trim_end().to_owned()));
                line.clear();
            }
            shared.change(|state| state.1 = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().0.clone()
    }

    /// The first answer that `find` gives for the lines, as soon as there is one; none when the stream has ended or
    /// `patience` is over.
    pub fn wait<T>(&self, patience: Duration, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let (state, _) = self
            .0
            .1
            .wait_timeout_while(self.0.0.lock().unwrap(), patience, |(lines, ended)| !*ended && find(lines).is_none())
            .unwrap();
        find(&state.0)
    }
}

/// A child that does not outlive the test.
pub struct Process {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Lines::follow(child.stdout.take().unwrap());
        let stderr = Lines::follow(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, `TERM` for instance.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// SIGKILL, and waits.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end; the exit code, none after a signal.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            self.kill();
        }
    }
}

/// Sends a signal to one process.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {id}");
}
