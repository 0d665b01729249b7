//! A 250 is a promise: what it promises is on disk before it is said, and survives whatever happens to the process.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::process::signal;
use crate::support::{Client, Setup, Sink, fields, letter, port};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[test]
fn c01_every_250_follows_the_completed_flush_of_what_it_promises() {
    need!("openssl", "aiosmtpd", "strace");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address).domain("sign = \"never\"\n");
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let calls = "trace=fdatasync,fsync,write,writev,sendto,sendmsg,pwrite64,openat,renameat,rename,renameat2";
    setup.under =
        ["strace", "-f", "-y", "-s", "300", "-e", calls, "-e", "signal=none", "-o"].map(str::to_owned).to_vec();
    setup.under.push(trace.display().to_string());
    let mut gateway = setup.start();
    // Small mail lies in the database; large mail in a file of its own.
    let sizes = [1_000, 300_000, 2_000, 400_000, 3_000];
    let mut client = Client::hello(gateway.inside);
    for (number, size) in sizes.iter().enumerate() {
        let text = format!("{}\n", "x".repeat(70)).repeat(size / 70);
        let reply = client.transaction(SITI, &[RINA], &letter(SITI, RINA, &format!("flush-{number}"), &text));
        assert!(reply.starts_with("250"), "{reply}");
    }
    outside.wait(sizes.len());
    // strace passes the signal on by ending its child; the trace is complete when it has ended.
    let tracee = child_of(gateway.server().id());
    signal(tracee, "TERM");
    gateway.server().wait();
    let trace = std::fs::read_to_string(&trace).unwrap();
    let promises = check_trace(&trace);
    assert_eq!(promises.len(), sizes.len(), "250 after DATA in the trace: {promises:?}");
    for (promise, size) in promises.iter().zip(sizes) {
        assert!(promise.log_flushed, "a 250 before the flush of the write-ahead log: {promise:?}");
        if size > 128 * 1024 {
            assert!(promise.file_flushed && promise.folder_flushed, "a 250 before file and folder: {promise:?}");
        }
    }
}

fn child_of(parent: u32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// What had been written and then flushed between the 354 and its 250.
#[derive(Debug, Default)]
struct Promise {
    log_written: bool,
    log_flushed: bool,
    file_flushed: bool,
    folder_flushed: bool,
}

/// Reads strace's lines in the order of completion: a call that was interrupted by another thread's counts where it resumes.
fn check_trace(trace: &str) -> Vec<Promise> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut promises = Vec::new();
    let mut since: Option<Promise> = None;
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let (start, complete) = match (call.strip_suffix("<unfinished ...>"), call.strip_prefix("<... ")) {
            (Some(start), _) => {
                begun.insert(thread, start);
                (start, false)
            }
            (None, Some(_)) => (begun.remove(thread).unwrap_or(""), call.contains(") ") && call.contains("= 0")),
            (None, None) => (call, call.contains("= 0") || !call.contains("sync(")),
        };
        let resumed = call.starts_with("<... ");
        let is_reply = ["write(", "writev(", "sendto(", "sendmsg("].iter().any(|name| start.starts_with(name));
        // A reply is said when the call begins: that is the earliest moment at which the peer can read it.
        if is_reply && !resumed && (start.contains("TCP") || start.contains("socket:")) {
            if start.contains("\"354 ") {
                since = Some(Promise::default());
            } else if start.contains("\"250 2.0.0") || start.contains("\"250 2.6.0") {
                promises.extend(since.take());
            }
        }
        let Some(promise) = since.as_mut() else { continue };
        if start.starts_with("pwrite64(") && start.contains("segel.db-wal>") {
            promise.log_written = true;
        }
        if complete && (start.starts_with("fdatasync(") || start.starts_with("fsync(")) {
            let path = start.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
            if path.ends_with("/segel.db-wal") {
                promise.log_flushed |= promise.log_written;
            } else if path.ends_with("/content") {
                promise.folder_flushed = promise.file_flushed;
            } else if path.contains("/content/") {
                promise.file_flushed = true;
            }
        }
    }
    promises
}

#[test]
fn a_trace_with_a_late_flush_is_found() {
    let flushed = "1 pwrite64(5</d/segel.db-wal>, x) = 1\n2 fdatasync(5</d/segel.db-wal> <unfinished ...>\n\
                   1 write(3</d/log>, y) = 1\n2 <... fdatasync resumed>) = 0\n";
    let go = "1 sendto(9<TCP:[a]>, \"354 go\", 6) = 6\n";
    let done = "1 sendto(9<TCP:[a]>, \"250 2.0.0 ok\", 6) = 6\n";
    let cases = [
        (format!("{go}{flushed}{done}"), true),
        (format!("{go}{done}{flushed}"), false),
        (format!("{flushed}{go}{done}"), false),
        (format!("{go}1 fdatasync(5</d/segel.db-wal>) = 0\n{done}"), false),
        (format!("{go}{}{done}", flushed.replace("= 0", "= -1 EIO")), false),
    ];
    for (trace, kept) in cases {
        let promises = check_trace(&trace);
        assert_eq!(promises.len(), 1, "{trace}");
        assert_eq!(promises[0].log_flushed, kept, "{trace}");
    }
}

/// What the clients were promised.
#[derive(Default)]
struct Ledger {
    promised: Mutex<BTreeSet<String>>,
    sent: AtomicUsize,
    over: AtomicBool,
}

#[test]
fn c01_c02_fifty_kills_under_load_lose_nothing() {
    need!("openssl", "aiosmtpd");
    const KILLS: usize = 50;
    const CONNECTIONS: usize = 10;
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address).domain("sign = \"never\"\n");
    setup.inside = format!("127.0.0.1:{}", port::free());
    let mut gateway = setup.start();
    let ledger = Arc::new(Ledger::default());
    let address = gateway.inside;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|client| {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || load(address, client, &ledger))
        })
        .collect();
    for round in 0..KILLS {
        // Each round waits for new promises, then a little more, different each time, so that the kill falls anywhere.
        let before = ledger.promised.lock().unwrap().len();
        wait_until(|| ledger.promised.lock().unwrap().len() >= before + 5);
        thread::park_timeout(Duration::from_micros(137 * round as u64));
        gateway.kill();
        gateway.start();
    }
    ledger.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    let promised = ledger.promised.lock().unwrap().clone();
    wait_until(|| {
        arrived(&outside).len() >= promised.len() && promised.is_subset(&arrived(&outside).keys().cloned().collect())
    });
    let arrived = arrived(&outside);
    let lost: Vec<_> = promised.iter().filter(|id| !arrived.contains_key(*id)).collect();
    assert!(lost.is_empty(), "lost with a 250: {lost:?}");
    // A mail can come twice when the kill falls between the next hop's 250 and our settling it: at most what was in
    // flight at a kill. And it is the same mail, octet by octet.
    let twice = arrived.values().filter(|copies| copies.len() > 1).count();
    assert!(twice <= KILLS * CONNECTIONS * 4, "{twice} of {} came twice", arrived.len());
    for (id, copies) in &arrived {
        assert!(copies.iter().all(|copy| *copy == copies[0]), "{id} came in two versions");
    }
    println!("{} promised, {} sent, {} arrived twice", promised.len(), ledger.sent.load(Ordering::SeqCst), twice);
    let verify = gateway.segel(&["audit", "verify"]);
    assert_eq!(verify.code, 0, "{verify:?}");
}

fn arrived(sink: &Sink) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut mails: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for mail in sink.mails() {
        mails.entry(fields(&mail.content, "message-id")[0].clone()).or_default().push(mail.content);
    }
    mails
}

fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if condition() {
            return;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the condition did not come true");
}

/// Sends mail after mail and notes each promise; a lost connection is opened again.
fn load(address: SocketAddr, client: usize, ledger: &Ledger) {
    let mut number = 0;
    while !ledger.over.load(Ordering::SeqCst) {
        let Some(mut connection) = try_connect(address) else {
            thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        while !ledger.over.load(Ordering::SeqCst) {
            number += 1;
            let id = format!("kill-{client}-{number}");
            ledger.sent.fetch_add(1, Ordering::SeqCst);
            let Some(reply) = try_send(&mut connection, &letter(SITI, RINA, &id, "x")) else { break };
            if reply.starts_with("250") {
                ledger.promised.lock().unwrap().insert(format!("<{id}@test.example>"));
            }
        }
    }
}

fn try_connect(address: SocketAddr) -> Option<Client> {
    std::net::TcpStream::connect(address).ok()?;
    let mut client = std::panic::catch_unwind(|| Client::silent(address)).ok()?;
    client.reply()?;
    client.try_raw(b"EHLO load.test.example\r\n").then_some(())?;
    client.reply()?;
    Some(client)
}

fn try_send(client: &mut Client, content: &[u8]) -> Option<String> {
    for line in [format!("MAIL FROM:<{SITI}>\r\n"), format!("RCPT TO:<{RINA}>\r\n"), "DATA\r\n".to_owned()] {
        client.try_raw(line.as_bytes()).then_some(())?;
        client.reply()?;
    }
    client.try_raw(content).then_some(())?;
    client.try_raw(b".\r\n").then_some(())?;
    client.reply()
}

#[test]
fn c06_a_flush_that_fails_is_no_250() {
    need!("openssl", "aiosmtpd", "strace");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).domain("sign = \"never\"\n").start();
    send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "before", "x"));
    outside.find("before");
    for (fault, id) in [("fdatasync,fsync:error=EIO", "eio"), ("pwrite64,write:error=ENOSPC", "enospc")] {
        let (calls, error) = fault.split_once(':').unwrap();
        let id_text = gateway.server().id().to_string();
        // Only the database's files: the log and sockets must go on working.
        let database = gateway.data().join("segel.db");
        let log = gateway.data().join("segel.db-wal");
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-P", &database.display().to_string(), "-P", &log.display().to_string(), "-e"]);
        command.args([&format!("trace={calls}"), "-e", &format!("inject={calls}:{error}"), "-p", &id_text]);
        let mut strace = crate::support::process::Process::start(&mut command);
        let attached = |lines: &[String]| lines.iter().any(|line| line.contains("attached")).then_some(());
        strace.stderr.wait(crate::support::PATIENCE, attached).expect("strace attaches");
        let reply = send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, "x"));
        assert!(reply.starts_with("45"), "{fault}: {reply}");
        strace.signal("INT");
        strace.wait();
        assert!(!outside.has(id));
    }
    // The same server, or one started anew after it gave up, takes mail again.
    if !gateway.server().runs() {
        gateway.start();
    }
    let reply = send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x"));
    if !reply.starts_with("250") {
        gateway.kill();
        gateway.start();
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x")).starts_with("250"));
    }
    outside.find("after");
    assert!(!outside.has("<eio@") && !outside.has("<enospc@"));
}

#[test]
fn c04_p44_nothing_lies_in_clear_on_disk() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1000")]));
    let gateway = Setup::new(inside.address, outside.address).start();
    let canary = "kenari-rahasia-7391";
    let large = format!("{canary}\n{}", format!("{}\n", "y".repeat(70)).repeat(4000));
    let text = |id: &str, body: &str| {
        String::from_utf8(letter(SITI, RINA, id, body)).unwrap().replace("Subject: Halo", &format!("Subject: {canary}"))
    };
    for (id, body) in [("clear-small", canary), ("clear-large", large.as_str())] {
        assert!(send(gateway.inside, SITI, &[RINA], text(id, body).as_bytes()).starts_with("250"));
        outside.find(id);
    }
    let mut pending = vec![gateway.data()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "{} holds the mail's text", path.display());
            }
        }
    }
    assert!(!gateway.log().iter().any(|line| line.contains(canary)));
}
