//! A name server: knot on loopback, with whatever zone a scenario needs.

use super::PATIENCE;
use super::process::Process;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// A running server. It answers for everything: what is not in its zone does not exist. `rusak.example` and what is below it
/// it can't answer (SERVFAIL).
pub struct Dns {
    pub address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Dns {
    /// `zone` are lines of a zone file (RFC 1035 section 5) for the root: `mitra.example. MX 10 mx.mitra.example.`
    pub fn start(zone: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let address: SocketAddr = ([127, 0, 0, 1], super::port::free()).into();
        let head =
            "$ORIGIN .\n$TTL 60\n@ SOA ns.test. root.test. 1 3600 600 86400 60\n@ NS ns.test.\nns.test. A 127.0.0.1\n";
        fs::write(folder.path().join("zone"), format!("{head}{zone}\n")).unwrap();
        let configuration = format!(
            "server:\n  listen: 127.0.0.1@{port}\n  rundir: {root}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {root}/db\nlog:\n  - target: stderr\n    any: info\n\
             template:\n  - id: default\n    storage: {root}\n    semantic-checks: off\n    zonefile-sync: -1\n    journal-content: none\n\
             zone:\n  - domain: .\n    file: zone\n  - domain: rusak.example\n    file: missing\n",
            port = address.port(),
        );
        let file = folder.path().join("knot.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("/usr/sbin/knotd");
        command.arg("-c").arg(&file);
        let process = Process::start(&mut command);
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "knotd does not listen: {:?}", process.stderr.all());
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        Self { address, _process: process, _folder: folder }
    }

    /// For `[dns]` of the configuration.
    pub fn lines(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\n", self.address)
    }
}
