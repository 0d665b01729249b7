//! Mixed mail for a while, with everything that can go wrong going wrong: the gateway is killed, its neighbours restart,
//! its disk fills up. Every mail that was answered with 250 has to be at a sink in the end.
//!
//! Some seconds in the suite; `SEGEL_SOAK=600` (seconds) for as long as you like. Filling the disk and Postfix need root.

use crate::support::mta::{self, Kind, Mta};
use crate::support::pki::{ASING, Pki, RATNA, RINA, SITI, WATI};
use crate::support::process::run;
use crate::support::{Gateway, Setup, Sink, letter, port};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Stands where each mail has its own id.
const ID: &str = "soak-template-id";

/// One kind of mail: who, to whom, what.
struct Template {
    inside: bool,
    from: &'static str,
    to: &'static str,
    content: Vec<u8>,
}

fn templates() -> Vec<Template> {
    let pki = Pki::with_mailboxes();
    let out = |to: &str| letter(SITI, to, ID, "Surat keluar.\n");
    let large = format!("{}\n", "Baris yang panjang sekali untuk surat yang besar.\n".repeat(30_000));
    let signed = pki.sign(&letter(RINA, SITI, ID, "Surat masuk.\n"), RINA);
    let sealed =
        pki.sign_and_encrypt(&letter(RINA, WATI, ID, "Rahasia.\n"), RINA, &[&pki.path(&format!("{WATI}.pem"))]);
    vec![
        Template { inside: true, from: SITI, to: "mitra@luar.example", content: out("mitra@luar.example") },
        Template { inside: true, from: SITI, to: RATNA, content: out(RATNA) },
        Template { inside: false, from: ASING, to: SITI, content: letter(ASING, SITI, ID, "Halo.\n") },
        Template { inside: false, from: RINA, to: SITI, content: signed },
        Template { inside: false, from: RINA, to: WATI, content: sealed },
        // The large ones last.
        Template { inside: false, from: ASING, to: SITI, content: letter(ASING, SITI, ID, &large) },
        Template {
            inside: true,
            from: SITI,
            to: "besar@luar.example",
            content: letter(SITI, "besar@luar.example", ID, &large),
        },
    ]
}

impl Template {
    fn mail(&self, id: &str) -> Vec<u8> {
        let at = self.content.windows(ID.len()).position(|window| window == ID.as_bytes()).unwrap();
        [&self.content[..at], id.as_bytes(), &self.content[at + ID.len()..]].concat()
    }
}

/// One mail over a connection of its own; whether it was answered with 250 in the end. Anything may break meanwhile.
fn attempt(address: SocketAddr, template: &Template, mail: &[u8]) -> std::io::Result<bool> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let mut expect = |code: &str| -> std::io::Result<bool> {
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.starts_with(code));
            }
        }
    };
    let (from, to) = (template.from, template.to);
    if !expect("220")? {
        return Ok(false);
    }
    for (line, code) in [
        ("EHLO soak.test.example\r\n".to_owned(), "250"),
        (format!("MAIL FROM:<{from}> BODY=8BITMIME\r\n"), "250"),
        (format!("RCPT TO:<{to}>\r\n"), "250"),
        ("DATA\r\n".to_owned(), "354"),
    ] {
        writer.write_all(line.as_bytes())?;
        if !expect(code)? {
            return Ok(false);
        }
    }
    writer.write_all(&crate::support::client::stuffed(mail))?;
    writer.write_all(b".\r\n")?;
    expect("250")
}

/// What the clients have been promised.
#[derive(Default)]
struct Promises {
    accepted: Mutex<Vec<String>>,
    refused: AtomicUsize,
    broken: AtomicUsize,
    stop: AtomicBool,
}

fn send_until_stopped(number: usize, listeners: (SocketAddr, SocketAddr), templates: &[Template], promises: &Promises) {
    let mut count = number;
    while !promises.stop.load(Ordering::Acquire) {
        // The two large ones come seldom.
        let kinds = if count.is_multiple_of(5) { templates.len() } else { templates.len() - 2 };
        let template = &templates[count % kinds];
        let id = format!("soak-{number}-{count}-x");
        let address = if template.inside { listeners.0 } else { listeners.1 };
        match attempt(address, template, &template.mail(&id)) {
            Ok(true) => promises.accepted.lock().unwrap().push(id),
            Ok(false) => drop(promises.refused.fetch_add(1, Ordering::AcqRel)),
            Err(_) => drop(promises.broken.fetch_add(1, Ordering::AcqRel)),
        }
        count += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A small file system for the data, where there may be one.
struct Disk {
    folder: PathBuf,
    _outer: tempfile::TempDir,
    mounted: bool,
}

impl Disk {
    fn make() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=1500m,mode=700", "tmpfs"]).arg(&folder);
        let mounted = run(&mut command, b"").status.success();
        if !mounted {
            println!("skipped: filling the disk needs root");
        }
        Self { folder, _outer: outer, mounted }
    }

    /// Nothing is left for `time`.
    fn fill(&self, time: Duration) {
        if !self.mounted {
            return;
        }
        let ballast = self.folder.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        let block = vec![1; 1 << 20];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..512]).is_ok() {}
        std::thread::sleep(time);
        drop(file);
        std::fs::remove_file(&ballast).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            run(Command::new("umount").arg("-l").arg(&self.folder), b"");
        }
    }
}

/// How often each id is at the sinks.
fn seen(sinks: [&Sink; 2]) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    for mail in sinks.iter().flat_map(|sink| sink.mails()) {
        let text = String::from_utf8_lossy(&mail.content).into_owned();
        let header = text.split("\r\n\r\n").next().unwrap_or_default();
        if let Some(at) = header.find("soak-") {
            let id: String = header[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            *seen.entry(id).or_insert(0) += 1;
        }
    }
    seen
}

#[test]
fn c02_nothing_is_lost_in_a_soak() {
    need!("openssl", crate::support::sink::PYTHON);
    let seconds: u64 = std::env::var("SEGEL_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    Pki::with_mailboxes();
    let (inside_sink, outside_sink) = (Sink::start(), Sink::start());
    let real = mta::present(Kind::Postfix);
    let mut neighbours: Vec<Mta> = match real {
        true => vec![Mta::start(Kind::Postfix, inside_sink.address), Mta::start(Kind::Postfix, outside_sink.address)],
        false => Vec::new(),
    };
    let to = |index: usize, sink: &Sink| neighbours.get(index).map_or(sink.address, |mta| mta.address);
    let disk = Disk::make();
    let mut setup = Setup::new(to(0, &inside_sink), to(1, &outside_sink));
    let listeners: (SocketAddr, SocketAddr) =
        (([127, 0, 0, 1], port::free()).into(), ([127, 0, 0, 1], port::free()).into());
    setup.inside = listeners.0.to_string();
    setup.outside = listeners.1.to_string();
    setup.data = disk.folder.display().to_string();
    let mut gateway = setup.more("[limits]\nfree_space = \"0\"\n").start();
    gateway.know(&[RATNA]);
    gateway.own_key(WATI, WATI);
    let (templates, promises) = (Arc::new(templates()), Arc::new(Promises::default()));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (templates, promises) = (Arc::clone(&templates), Arc::clone(&promises));
            std::thread::spawn(move || send_until_stopped(number, listeners, &templates, &promises))
        })
        .collect();
    let kills = disturb(&mut gateway, &mut neighbours, &disk, Duration::from_secs(seconds));
    promises.stop.store(true, Ordering::Release);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let accepted = promises.accepted.lock().unwrap().clone();
    let missing = settle(&gateway, &accepted, [&inside_sink, &outside_sink]);
    let seen = seen([&inside_sink, &outside_sink]);
    let twice = accepted.iter().filter(|id| seen.get(*id).is_some_and(|count| *count > 1)).count();
    println!(
        "soak: {seconds} s, {} accepted, {} missing, {twice} more than once, {} refused, {} connections broken, {kills} kills",
        accepted.len(),
        missing.len(),
        promises.refused.load(Ordering::Acquire),
        promises.broken.load(Ordering::Acquire),
    );
    assert!(accepted.len() >= usize::try_from(seconds).unwrap(), "{} mails show nothing", accepted.len());
    assert!(missing.is_empty(), "lost: {missing:?}; {:#?}", gateway.queued());
    // A duplicate needs a kill between a delivery and its settlement: far fewer than a handful for each.
    assert!(twice <= kills * 10 + accepted.len() / 20, "{twice} of {} arrived more than once", accepted.len());
    let audit = gateway.segel(&["audit", "verify"]);
    assert_eq!(audit.code, 0, "{audit:?}");
}

/// Kills, restarts, a full disk, in turn, until the time is over; how many kills.
fn disturb(gateway: &mut Gateway, neighbours: &mut [Mta], disk: &Disk, time: Duration) -> usize {
    let (until, mut kills) = (Instant::now() + time, 0);
    // More than fifty kills in ten minutes.
    let pause = Duration::from_millis(3500);
    let mut turn: usize = 0;
    while Instant::now() + pause < until {
        std::thread::sleep(pause);
        turn += 1;
        match turn % 4 {
            0 => disk.fill(Duration::from_secs(2)),
            2 if !neighbours.is_empty() => {
                let index = (turn / 4) % neighbours.len();
                neighbours[index].stop();
                std::thread::sleep(Duration::from_secs(2));
                neighbours[index].again();
                for row in gateway.queued() {
                    // What is being delivered now can't be asked for.
                    drop(gateway.segel(&["queue", "retry", row["queue_id"].as_str().unwrap()]));
                }
            }
            _ => {
                gateway.kill();
                gateway.start();
                kills += 1;
            }
        }
    }
    kills
}

/// Waits until everything that was promised has arrived; what has not.
fn settle(gateway: &Gateway, accepted: &[String], sinks: [&Sink; 2]) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        for row in gateway.queued() {
            drop(gateway.segel(&["queue", "retry", row["queue_id"].as_str().unwrap()]));
        }
        std::thread::sleep(Duration::from_secs(3));
        let there: HashSet<String> = seen(sinks).into_keys().collect();
        let missing: Vec<String> = accepted.iter().filter(|id| !there.contains(*id)).cloned().collect();
        if missing.is_empty() || Instant::now() > until {
            return missing;
        }
    }
}
