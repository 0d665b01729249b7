//! What systemd is told: sd_notify(3), over a datagram socket as systemd makes one.

use crate::support::{Gateway, PATIENCE, Setup, Sink};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

/// A service manager.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    /// The next message that is not only a sign of life.
    fn next(&self) -> String {
        loop {
            let message = self.any();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn any(&self) -> String {
        let mut buffer = [0; 4096];
        let read = loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.expect("a message"),
            }
        };
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    /// Whether a message comes in this time. A system call may end before it, with nothing to say.
    fn hears_within(&self, time: Duration) -> bool {
        let since = Instant::now();
        while let Some(left) = time.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).unwrap();
            if self.socket.recv(&mut [0; 64]).is_ok() {
                return true;
            }
        }
        false
    }
}

fn start(notify: &str, more: &[&str]) -> (Gateway, [Sink; 2]) {
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.under = vec!["env".to_owned(), format!("NOTIFY_SOCKET={notify}")];
    setup.under.extend(more.iter().map(|one| (*one).to_owned()));
    (setup.start(), [inside, outside])
}

#[test]
fn start_reload_and_stop_are_told_by_path_and_by_abstract_name() {
    need!("openssl", "aiosmtpd", "env");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let name = format!("segel-e2e-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    for (socket, named) in [
        (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
        (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}")),
    ] {
        let manager = Manager::new(socket);
        let (mut gateway, _sinks) = start(&named, &[]);
        let ready = manager.next();
        assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
        // It listens by then.
        assert!(std::net::TcpStream::connect(gateway.inside).is_ok());
        gateway.server().signal("HUP");
        let reloading = manager.next();
        let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading}"));
        assert!(at.trim().parse::<u64>().is_ok_and(|at| at > 0), "{reloading}");
        assert!(manager.next().starts_with("READY=1\n"));
        // A reload that fails is over too, and says so.
        gateway.edit("side = \"outside\"", "side = \"elsewhere\"");
        gateway.server().signal("HUP");
        assert!(manager.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        let ready = manager.next();
        assert!(ready.starts_with("READY=1\nSTATUS=") && ready.contains("changed nothing"), "{ready}");
        gateway.server().signal("TERM");
        assert!(manager.next().starts_with("STOPPING=1\n"));
        assert_eq!(gateway.server().wait(), Some(0));
    }
}

#[test]
fn signs_of_life_come_only_while_the_store_answers() {
    need!("openssl", "aiosmtpd", "env");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let (gateway, _sinks) = start(&path.display().to_string(), &["WATCHDOG_USEC=600000"]);
    // Two of them; that it is ready may come between.
    while manager.any() != "WATCHDOG=1\n" {}
    while manager.any() != "WATCHDOG=1\n" {}
    // Another process holds the database: nothing can be written.
    let database = gateway.data().join("segel.db");
    let script = "import sqlite3, sys\n\
                  c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  c.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()\n";
    let mut holder = Command::new(crate::support::sink::PYTHON)
        .args(["-c", script, &database.display().to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.as_mut().unwrap()), &mut line).unwrap();
    assert_eq!(line.trim(), "held");
    // A slow disk may have been the reason before, and the second time it was asked after that.
    let before = gateway.log().iter().filter(|line| line.contains("the store does not answer")).count();
    gateway.log_with(before + 2, "the store does not answer");
    // What was sent before.
    while manager.hears_within(Duration::from_millis(50)) {}
    assert!(!manager.hears_within(Duration::from_secs(2)), "a sign of life while nothing can be stored");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(manager.any(), "WATCHDOG=1\n");
}
