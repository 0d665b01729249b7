//! The real binary with a configuration of its own.

use super::PATIENCE;
use super::pki::{BUDI, PASSWORD, Pki, SITI};
use super::process::{Process, run};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a scenario wants to be different. The parts are lines of TOML.
#[derive(Clone, Debug)]
pub struct Setup {
    pub deliver_to: SocketAddr,
    pub route: SocketAddr,
    /// The own domain.
    pub own: &'static str,
    /// The policy file, if there is to be one.
    pub policy: String,
    /// In `[gateway]`, after `hostname` and `data_dir`.
    pub gateway: String,
    /// In `[[domain]]`, after `name` and `deliver_to`.
    pub domain: String,
    /// In `[outbound]` in place of the route, if there is something.
    pub outbound: String,
    /// At the end of the file.
    pub more: String,
    /// `trust.crls`, as TOML.
    pub crls: String,
    /// Whose keys the gateway gets, and of which kind.
    pub keys: Vec<(&'static str, &'static str)>,
    /// In place of 127.0.0.1:0 for the inside listener.
    pub inside: String,
    /// In place of 127.0.0.1:0 for the outside listener.
    pub outside: String,
    /// In place of `data`.
    pub data: String,
    /// A command and its options that start the server instead of it starting alone (strace, faketime).
    pub under: Vec<String>,
}

impl Setup {
    /// Mail to the own domain goes to `inside`, everything else to `outside`; two people have keys.
    pub fn new(inside: SocketAddr, outside: SocketAddr) -> Self {
        let pki = Pki::shared();
        Self {
            deliver_to: inside,
            route: outside,
            own: "kabupaten.go.id",
            policy: String::new(),
            gateway: String::new(),
            domain: String::new(),
            outbound: String::new(),
            more: String::new(),
            crls: format!("[\"{}\", \"{}\"]", pki.path("crl.der"), pki.path("root-crl.der")),
            keys: vec![(SITI, "individual"), (BUDI, "individual")],
            inside: "127.0.0.1:0".to_owned(),
            outside: "127.0.0.1:0".to_owned(),
            data: "data".to_owned(),
            under: Vec::new(),
        }
    }

    pub fn domain(mut self, lines: &str) -> Self {
        self.domain.push_str(lines);
        self
    }

    pub fn more(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// No route: by MX, unless these lines say otherwise.
    pub fn outbound(mut self, lines: &str) -> Self {
        self.outbound.push_str(lines);
        self
    }

    /// Writes the configuration, imports the keys, starts the server.
    pub fn start(&self) -> Gateway {
        let home = Home::make(self);
        let mut gateway = Gateway::stopped(home, self.under.clone());
        gateway.start();
        gateway
    }

    fn text(&self) -> String {
        format!(
            "[gateway]\nhostname = \"gerbang.{own}\"\ndata_dir = \"{data}\"\n{gateway}\n\
             [[listener]]\nname = \"dalam\"\nbind = \"{bind}\"\nside = \"inside\"\nclients = [\"127.0.0.1/32\"]\n\n\
             [[listener]]\nname = \"luar\"\nbind = \"{outside}\"\nside = \"outside\"\n\n\
             [[domain]]\nname = \"{own}\"\ndeliver_to = \"smtp://{deliver_to}\"\n{verify}{domain}\n\n\
             [outbound]\n{outbound}\n\n\
             [trust]\ncrls = {crls}\n[[trust.anchor]]\nfile = \"{anchor}\"\n\n\
             [notify]\npostmaster = \"postmaster@{own}\"\n\n\
             {policy}[console]\nbind = \"127.0.0.1:0\"\n{more}\n",
            own = self.own,
            gateway = self.gateway,
            policy = if self.policy.is_empty() { "" } else { "[policy]\nfile = \"policy.toml\"\n" },
            bind = self.inside,
            outside = self.outside,
            data = self.data,
            deliver_to = self.deliver_to,
            outbound = if self.outbound.is_empty() {
                format!("route = \"smtp://{}\"", self.route)
            } else {
                self.outbound.clone()
            },
            // Most scenarios count what a sink hears.
            verify = if self.domain.contains("verify_recipients") { "" } else { "verify_recipients = false\n" },
            domain = self.domain,
            crls = self.crls,
            anchor = Pki::shared().path("root.pem"),
            more = self.more,
        )
    }
}

/// The folder of one gateway.
pub struct Home {
    folder: TempDir,
    data: String,
}

impl Home {
    fn make(setup: &Setup) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap(), data: setup.data.clone() };
        fs::write(home.configuration(), setup.text()).unwrap();
        if !setup.policy.is_empty() {
            fs::write(home.folder.path().join("policy.toml"), &setup.policy).unwrap();
        }
        fs::create_dir_all(home.data()).unwrap();
        let pki = Pki::shared();
        for (address, kind) in &setup.keys {
            let (password, file) = (pki.path("password"), pki.path(&format!("{address}.p12")));
            assert_eq!(fs::read_to_string(&password).unwrap(), PASSWORD);
            let answer = home.segel(&[
                "key",
                "import",
                "--address",
                address,
                "--kind",
                kind,
                "--password-file",
                &password,
                &file,
            ]);
            assert_eq!(answer.code, 0, "key import {address}: {}{}", answer.output, answer.errors);
        }
        home
    }

    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("segel.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join(&self.data)
    }

    /// Runs a command of the product.
    pub fn segel(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
        command.arg("-c").arg(self.configuration()).args(arguments);
        Answer::of(run(&mut command, b""))
    }
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub output: String,
    pub errors: String,
}

impl Answer {
    pub fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Each line of the output as JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}: {self:?}"));
        self.output.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }
}

/// `segel inspect` without a store: trust and revocation as given.
pub fn inspect(mail: &[u8], more: &[&str]) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.eml");
    fs::write(&file, mail).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
    command.env_remove("SEGEL_CONFIG").args(["inspect", "--json"]).args(more).arg(&file);
    let answer = Answer::of(run(&mut command, b""));
    let value: serde_json::Value =
        serde_json::from_str(&answer.output).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(answer.code == 0, value["verdict"] == "valid", "{answer:?}");
    value
}

/// A gateway; the server ends with it.
pub struct Gateway {
    pub home: Home,
    under: Vec<String>,
    server: Option<Process>,
    /// Where mail on its way out comes in.
    pub inside: SocketAddr,
    /// Where mail on its way in comes in.
    pub outside: SocketAddr,
}

impl Gateway {
    fn stopped(home: Home, under: Vec<String>) -> Self {
        let nowhere = ([127, 0, 0, 1], 1).into();
        Self { home, under, server: None, inside: nowhere, outside: nowhere }
    }

    /// Starts the server and waits until it listens.
    pub fn start(&mut self) {
        let binary = env!("CARGO_BIN_EXE_segel").to_owned();
        let mut line = self.under.clone();
        line.push(binary);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(["serve", "-c"]).arg(self.home.configuration());
        let server = Process::start(&mut command);
        self.inside = wait_for_address(&server, "listener `dalam` on ");
        self.outside = wait_for_address(&server, "listener `luar` on ");
        self.server = Some(server);
    }

    /// The running server.
    pub fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("a running server")
    }

    /// Where the console listens.
    pub fn console(&self) -> SocketAddr {
        wait_for_address(self.server.as_ref().expect("a running server"), "console on ")
    }

    /// Where another listener listens.
    pub fn listener(&self, name: &str) -> SocketAddr {
        wait_for_address(self.server.as_ref().expect("a running server"), &format!("listener `{name}` on "))
    }

    /// Every line of the log.
    pub fn log(&self) -> Vec<String> {
        self.server.as_ref().map(|server| server.stderr.all()).unwrap_or_default()
    }

    /// Waits for a line of the log that contains `text`.
    pub fn wait_log(&self, text: &str) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let server = self.server.as_ref().expect("a running server");
        server.stderr.wait(PATIENCE, find).unwrap_or_else(|| panic!("no `{text}` in {:#?}", self.log()))
    }

    /// The log as soon as it has `count` lines that contain `text`: what the server writes before it answers is read beside
    /// the answer.
    pub fn log_with(&self, count: usize, text: &str) -> Vec<String> {
        let all = |lines: &[String]| {
            (lines.iter().filter(|line| line.contains(text)).count() >= count).then(|| lines.to_vec())
        };
        let server = self.server.as_ref().expect("a running server");
        server.stderr.wait(PATIENCE, all).unwrap_or_else(|| panic!("{count} times `{text}`? {:#?}", self.log()))
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Option<i32> {
        let mut server = self.server.take().expect("a running server");
        server.signal("TERM");
        server.wait()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server.take().expect("a running server").kill();
    }

    /// Runs a command of the product beside the server.
    pub fn segel(&self, arguments: &[&str]) -> Answer {
        self.home.segel(arguments)
    }

    /// What is held, as JSON.
    pub fn held(&self) -> Vec<serde_json::Value> {
        self.segel(&["quarantine", "list", "--json"]).json()
    }

    pub fn data(&self) -> PathBuf {
        self.home.data()
    }

    /// Imports the certificates of others, by the names of their files.
    pub fn know(&self, names: &[&str]) {
        // Nothing but the root is known: paths need what stands between.
        for name in ["issuing"].iter().chain(names) {
            let answer = self.segel(&["cert", "import", &Pki::shared().path(&format!("{name}.pem"))]);
            assert_eq!(answer.code, 0, "cert import {name}: {answer:?}");
        }
    }

    /// What is known of an address.
    pub fn certificates(&self, address: &str) -> Vec<serde_json::Value> {
        let all = self.segel(&["cert", "list", "--json", "--address", address]).json();
        all.into_iter().filter(|row| row.to_string().contains(address)).collect()
    }

    /// Imports another key of `address`.
    pub fn own_key(&self, address: &str, name: &str) {
        let pki = Pki::shared();
        let (password, file) = (pki.path("password"), pki.path(&format!("{name}.p12")));
        let answer = self.segel(&["key", "import", "--address", address, "--password-file", &password, &file]);
        assert_eq!(answer.code, 0, "key import {name}: {answer:?}");
    }

    /// What waits to be delivered.
    pub fn queued(&self) -> Vec<serde_json::Value> {
        self.segel(&["queue", "list", "--json"]).json()
    }

    /// Asks for a retry of everything that waits until `sink` has seen `count` mails.
    pub fn retry_until(&self, sink: &super::Sink, count: usize) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if sink.mails().len() >= count {
                return;
            }
            for row in self.queued() {
                // Work in progress cannot be retried; the next round asks again.
                let _ = self.segel(&["queue", "retry", row["queue_id"].as_str().unwrap()]);
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        panic!("no retry: {:?}", self.queued());
    }

    /// Replaces text in the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let path: &Path = &self.home.configuration();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "`{from}` in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}

fn wait_for_address(server: &Process, before: &str) -> SocketAddr {
    let find = |lines: &[String]| {
        lines.iter().find_map(|line| {
            // In JSON the text ends with a quote.
            line.split_once(before)?.1.split(|c: char| c.is_whitespace() || c == '"').next()?.parse().ok()
        })
    };
    server
        .stderr
        .wait(PATIENCE, find)
        .unwrap_or_else(|| panic!("the gateway did not say `{before}`: {:#?}", server.stderr.all()))
}
