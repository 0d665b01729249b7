//! SIGTERM: what was promised stays, what was not is said.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::process::{Process, signal};
use crate::support::{Client, Setup, Sink, letter};
use std::process::Command;

#[test]
fn s16_sigterm_drains_and_loses_nothing() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1")]));
    let mut gateway = Setup::new(inside.address, outside.address).start();
    // One that waits for a retry, one in the middle of DATA, one that is idle.
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "waits", "x")).starts_with("250"));
    outside.find("waits");
    let mut idle = Client::hello(gateway.inside);
    let mut busy = Client::hello(gateway.inside);
    for (line, reply) in
        [(format!("MAIL FROM:<{SITI}>"), "250"), (format!("RCPT TO:<{RINA}>"), "250"), ("DATA".into(), "354")]
    {
        busy.send(&line);
        busy.expect(reply);
    }
    busy.raw(&letter(SITI, RINA, "busy", "x"));
    gateway.server().signal("TERM");
    idle.expect("421");
    assert!(idle.reply().is_none());
    // The one in DATA ends with a promise that is kept, or without one.
    let promised = busy.try_raw(b".\r\n") && busy.reply().is_some_and(|reply| reply.starts_with("250"));
    assert_eq!(gateway.server().wait(), Some(0));
    assert!(std::net::TcpStream::connect(gateway.inside).is_err(), "nobody listens any more");
    gateway.start();
    for _ in 0..600 {
        let rows = gateway.segel(&["queue", "list", "--json"]).json();
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let _ = gateway.segel(&["queue", "retry", row["queue_id"].as_str().unwrap()]);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    let kept = |id: &str| {
        let has = |mail: &crate::support::Mail| String::from_utf8_lossy(&mail.content).contains(&format!("<{id}@"));
        outside.mails().iter().filter(|mail| mail.kind == "kept" && has(mail)).count()
    };
    outside.wait(2 + usize::from(promised));
    assert_eq!(kept("waits"), 1);
    assert_eq!(kept("busy"), usize::from(promised));
}

#[test]
fn a_reload_beside_sigterm_keeps_no_gateway_from_its_end() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    for number in 0..8_u64 {
        let id = format!("round-{number}");
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, &id, "x")).starts_with("250"));
        let (server, home) = (gateway.server().id(), &gateway.home);
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| home.segel(&["reload"]));
            signal(server, "HUP");
            std::thread::park_timeout(std::time::Duration::from_millis(7 * number));
            signal(server, "HUP");
            signal(server, "TERM");
            asked.join().unwrap()
        });
        // Who asked for it hears that it is done, or that nobody is there any more.
        assert!(asked.code == 0 || asked.code == 3 && !asked.errors.is_empty(), "{asked:?}");
        assert_eq!(gateway.server().wait(), Some(0), "{:#?}", gateway.log());
        gateway.start();
        outside.find(&id);
    }
}

/// Whether a process has handlers for SIGHUP, SIGINT and SIGTERM.
fn listens(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    [1, 2, 15].iter().all(|number| caught.unwrap_or(0) >> (number - 1) & 1 == 1)
}

#[test]
fn a_signal_before_everything_has_started_is_a_clean_end_or_waits() {
    need!("openssl", "aiosmtpd", "mkfifo");
    let inside = Sink::start();
    let mut gateway = Setup::new(inside.address, inside.address).start();
    gateway.stop();
    let configuration = gateway.home.configuration();
    let text = std::fs::read(&configuration).unwrap();
    let pipe = configuration.with_file_name("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (signals, code) in [(&["HUP"][..], None), (&["HUP", "TERM"], Some(0)), (&["INT"], Some(0))] {
        // It waits for its configuration, so nothing else has begun.
        let mut serve = Command::new(env!("CARGO_BIN_EXE_segel"));
        let mut server = Process::start(serve.args(["serve", "-c"]).arg(&pipe));
        for _ in 0..600 {
            if listens(server.id()) {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        signals.iter().for_each(|name| server.signal(name));
        assert!(server.runs(), "{signals:?}");
        std::fs::write(&pipe, &text).unwrap();
        let log = |server: &Process| server.stderr.all().join("\n");
        match code {
            Some(_) => {
                assert_eq!(server.wait(), code, "{signals:?}");
                assert!(!log(&server).contains("listener `"), "{}", log(&server));
            }
            None => {
                let started = |lines: &[String]| lines.iter().any(|line| line.contains("console on ")).then_some(());
                assert!(server.stderr.wait(crate::support::PATIENCE, started).is_some(), "{}", log(&server));
                // The reload that was asked for reads the pipe once more.
                std::fs::write(&pipe, &text).unwrap();
                let reloaded = |lines: &[String]| lines.iter().any(|line| line.contains("reloaded.")).then_some(());
                assert!(server.stderr.wait(crate::support::PATIENCE, reloaded).is_some(), "{}", log(&server));
                server.signal("TERM");
                assert_eq!(server.wait(), Some(0));
            }
        }
    }
}

#[test]
fn whoever_has_the_data_directory_has_it_alone_even_when_a_start_was_given_up() {
    need!("openssl", "aiosmtpd");
    let inside = Sink::start();
    let mut gateway = Setup::new(inside.address, inside.address).start();
    gateway.stop();
    let folder = gateway.data().join("content");
    std::fs::create_dir_all(&folder).unwrap();
    let left = || std::fs::read_dir(&folder).unwrap().count();
    // What a start removes, for a while: nothing names it.
    let many = 40_000;
    (0..many).for_each(|number| drop(std::fs::File::create(folder.join(format!("nobody-{number}"))).unwrap()));
    let mut serve = Command::new(env!("CARGO_BIN_EXE_segel"));
    let mut server = Process::start(serve.args(["serve", "-c"]).arg(gateway.home.configuration()));
    while left() == many {
        assert!(server.runs());
        std::thread::yield_now();
    }
    server.signal("TERM");
    let lock = std::fs::File::options().write(true).open(gateway.data().join("lock")).unwrap();
    lock.lock().unwrap();
    let found = left();
    std::thread::park_timeout(std::time::Duration::from_millis(300));
    assert_eq!(left(), found, "somebody else removes files");
    assert_eq!(server.wait(), Some(0));
}
