//! A backup is one file that holds everything but the master key, and a restore is all of it or nothing.

use crate::support::client::send;
use crate::support::gateway::Answer;
use crate::support::pki::{RINA, SITI};
use crate::support::process::run;
use crate::support::{Gateway, Setup, Sink, letter};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Text whose sealed original and copy lie in files of their own.
pub fn long() -> String {
    format!("{}\n", "panjang ".repeat(8)).repeat(5000)
}

/// A gateway whose next hop takes nothing yet, with a small and a large mail waiting.
fn waiting(inside: &Sink, outside: &Sink) -> Gateway {
    let gateway = Setup::new(inside.address, outside.address).start();
    for (id, text) in [("kecil", "x".to_owned()), ("besar", long())] {
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, &text)).starts_with("250"));
    }
    settled(&gateway, 2);
    gateway
}

pub fn settled(gateway: &Gateway, count: usize) {
    for _ in 0..600 {
        let rows = gateway.queued();
        let rests = |row: &serde_json::Value| row["recipients"][0]["leased"] == false;
        if rows.len() == count && rows.iter().all(rests) {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    panic!("{:?}", gateway.queued());
}

fn shell(folder: &Path, script: &str) -> Answer {
    Answer::of(run(Command::new("sh").arg("-ec").arg(script).current_dir(folder), b""))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

pub fn octets(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn holds(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_backup_of_a_running_gateway_is_restored_held_and_leaves_once() {
    need!("openssl", "aiosmtpd", "tar", "sha256sum");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let mut gateway = waiting(&inside, &closed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("segel.tar");
    let made = gateway.segel(&["backup", &text(&file)]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.output.contains("master key is NOT in it") && made.output.contains("master.key"), "{made:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    assert!(!gateway.data().join("backup.tmp").exists());
    let again = gateway.segel(&["backup", &text(&file)]);
    assert!(again.code == 3 && again.errors.contains("is there already"), "{again:?}");

    // Other people's programs read it, and the key is not in it.
    let listed =
        shell(folder.path(), "mkdir out; tar -xf segel.tar -C out; cd out; sha256sum -c manifest.sha256; ls -R");
    assert!(listed.code == 0 && listed.output.contains("manifest.json: OK"), "{listed:?}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&octets(&folder.path().join("out/manifest.json"))).unwrap();
    assert_eq!((&manifest["format"], &manifest["waiting"]), (&1.into(), &2.into()), "{manifest}");
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(files.len(), 3, "the database, an original and a copy: {manifest}");
    for one in files {
        let name = one["name"].as_str().unwrap();
        let sum = shell(&folder.path().join("out"), &format!("sha256sum {name}"));
        assert!(sum.output.starts_with(one["sha256"].as_str().unwrap()), "{sum:?}");
    }
    let key = octets(&gateway.data().join("master.key"));
    assert!(key.len() >= 32 && !holds(&octets(&file), key.trim_ascii()));
    let verified = gateway.segel(&["backup", "verify", "--json", &text(&file)]).json().remove(0);
    assert_eq!((&verified["good"], &verified["keys_damaged"]), (&true.into(), &0.into()), "{verified}");
    assert!(verified["keys_opened"].as_u64() > Some(5), "{verified}");
    assert_eq!(verified["master_key"], manifest["master_key"]);

    // What came after the backup is not in it.
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "kemudian", "x")).starts_with("250"));
    settled(&gateway, 3);
    let running = gateway.segel(&["restore", &text(&file), "--move-aside"]);
    assert!(running.code == 3 && running.errors.contains("in use by another process"), "{running:?}");
    gateway.stop();
    let full = gateway.segel(&["restore", &text(&file)]);
    assert!(full.code == 3 && full.errors.contains("not empty"), "{full:?}");
    assert_eq!(gateway.queued().len(), 3, "a refusal changes nothing");
    let restored = gateway.segel(&["restore", &text(&file), "--move-aside", "--json"]);
    let restored = restored.json().remove(0);
    assert_eq!((&restored["held"], &restored["master_key_fits"]), (&2.into(), &true.into()), "{restored}");
    let aside = PathBuf::from(restored["aside"].as_str().unwrap());
    assert!(aside.join("segel.db").exists() && std::fs::read_dir(aside.join("content")).unwrap().count() == 2);

    // The way is free now; still nothing leaves by itself.
    gateway.edit(&closed.address.to_string(), &open.address.to_string());
    gateway.start();
    gateway.wait_log("restored from a backup");
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "baru", "x")).starts_with("250"));
    open.find("baru");
    settled(&gateway, 0);
    assert_eq!(open.mails().len(), 1, "restored mail stays");
    let held = gateway.held();
    assert!(held.len() == 2 && held.iter().all(|row| row["class"] == "operator"), "{held:?}");
    let first = held[0]["queue_id"].as_str().unwrap();
    let one = gateway.segel(&["queue", "release", first, "--reason", "tiket 11"]);
    assert_eq!(one.code, 0, "{one:?}");
    open.wait(2);
    let rest = gateway.segel(&["queue", "release", "--restored", "--reason", "tiket 12"]);
    assert!(rest.code == 0 && rest.output.contains("pending"), "{rest:?}");
    let second = held[1]["queue_id"].as_str().unwrap();
    assert!(rest.output.contains(second) && !rest.output.contains(first), "{rest:?}");
    open.wait(3);
    assert!(holds(&open.find("besar").content, b"panjang panjang") && open.has("kecil"));
    let none = gateway.segel(&["queue", "release", "--restored", "--reason", "tiket 12"]);
    assert!(none.code == 0 && none.output.contains("no mail is held"), "{none:?}");

    // The chain goes on, and says what happened.
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
    let events = gateway.segel(&["audit", "search", "--event", "restored", "--json"]).json();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["public"]["made"], manifest["made"]);
    assert_eq!(open.mails().len(), 3);
    let known = gateway.segel(&["key", "list", "--json"]).json();
    assert_eq!(known.len(), 2, "keys came with it");
}

#[test]
fn a_restore_into_an_empty_directory_needs_the_master_key_and_says_which() {
    need!("openssl", "aiosmtpd");
    let (inside, closed) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let mut gateway = waiting(&inside, &closed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("segel.tar");
    assert_eq!(gateway.segel(&["backup", &text(&file)]).code, 0);
    gateway.stop();
    let (old, key) = (folder.path().join("old"), gateway.data().join("master.key"));
    std::fs::rename(gateway.data(), &old).unwrap();
    let done = gateway.segel(&["restore", &text(&file)]);
    assert!(done.code == 0 && done.errors.contains("put back master key"), "{done:?}");
    let refused = gateway.segel(&["queue", "list"]);
    assert!(refused.code == 3 && refused.errors.contains("master key"), "{refused:?}");
    std::fs::copy(old.join("master.key"), &key).unwrap();
    gateway.start();
    assert_eq!(gateway.held().len(), 2);
    // Into a directory that the configuration does not name; without a configuration.
    let other = folder.path().join("other");
    let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
    command.env_remove("SEGEL_CONFIG").args(["restore", "--json", "--data-dir"]).arg(&other).arg(&file);
    let done = Answer::of(run(&mut command, b""));
    assert_eq!((done.code, &done.json()[0]["held"]), (0, &2.into()), "{done:?}");
    let modes = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((modes(&other), modes(&other.join("segel.db"))), (0o700, 0o600));
}

/// Not zero, so that it is no padding.
fn meaningful(octets: &[u8], count: usize) -> Vec<usize> {
    let step = octets.len() / count;
    (0..count).filter_map(|number| (number * step..octets.len()).find(|at| octets[*at] != 0)).collect()
}

#[test]
fn a_damaged_or_foreign_archive_is_refused_and_changes_nothing() {
    need!("openssl", "aiosmtpd");
    let (inside, closed) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let mut gateway = waiting(&inside, &closed);
    let folder = tempfile::tempdir().unwrap();
    let (file, bad) = (folder.path().join("segel.tar"), folder.path().join("bad.tar"));
    assert_eq!(gateway.segel(&["backup", &text(&file)]).code, 0);
    gateway.stop();
    let good = octets(&file);
    let refused = |octets: &[u8], what: &str| {
        std::fs::write(&bad, octets).unwrap();
        let answer = gateway.segel(&["backup", "verify", &text(&bad)]);
        assert!(answer.code == 3 && answer.errors.contains("no good backup"), "{what}: {answer:?}");
        assert!(answer.errors.contains("hint:"), "{what}: {answer:?}");
    };
    for at in meaningful(&good, 40) {
        let mut octets = good.clone();
        octets[at] ^= 0x20;
        refused(&octets, &format!("octet {at} of {}", good.len()));
    }
    for length in [0, 1, 511, 512, 100_000, good.len() / 2, good.len() - 3000] {
        refused(&good[..length], &format!("cut off at {length}"));
    }
    // Names and kinds that a backup does not have. The first entry is the database's.
    let foreign = |name: &str, kind: u8| {
        let mut octets = good.clone();
        octets[..100].fill(0);
        octets[..name.len()].copy_from_slice(name.as_bytes());
        octets[156] = kind;
        octets[148..156].fill(b' ');
        let sum: u32 = octets[..512].iter().map(|octet| u32::from(*octet)).sum();
        octets[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        octets
    };
    for (name, kind) in [
        ("../segel.db", b'0'),
        ("/tmp/segel.db", b'0'),
        ("content/../../segel.db", b'0'),
        ("content/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b'0'),
        ("segel.db", b'2'),
        ("segel.db", b'1'),
        ("segel.db", b'S'),
        ("segel.db", b'L'),
        ("segel.db", b'x'),
        ("segel.db-wal", b'0'),
        ("manifest.json", b'0'),
    ] {
        refused(&foreign(name, kind), &format!("{name} as {kind}"));
    }
    let before = names(&gateway.data());
    let answer = gateway.segel(&["restore", "--move-aside", &text(&bad)]);
    assert!(answer.code == 3 && answer.errors.contains("no good backup"), "{answer:?}");
    assert_eq!((names(&gateway.data()), gateway.queued().len()), (before, 2));

    // Of a version to come.
    let newer =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('PRAGMA user_version = 99')\nc.commit()";
    let mut command = Command::new(crate::support::sink::PYTHON);
    command.args(["-c", newer]).arg(gateway.data().join("segel.db"));
    assert!(run(&mut command, b"").status.success());
    let made = gateway.segel(&["backup", &text(&folder.path().join("newer.tar"))]);
    assert_eq!(made.code, 0, "{made:?}");
    let answer = gateway.segel(&["restore", "--move-aside", &text(&folder.path().join("newer.tar"))]);
    assert!(answer.code == 3 && answer.errors.contains("schema 99"), "{answer:?}");
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-shm"))
        .collect()
}

/// Runs a command of the product and kills it at the `number`th call of this kind. Whether it came so far.
pub fn killed(gateway: &Gateway, calls: &str, number: usize, arguments: &[&str]) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
    command.arg(format!("inject={calls}:signal=KILL:when={number}"));
    command.arg(env!("CARGO_BIN_EXE_segel")).arg("-c").arg(gateway.home.configuration()).args(arguments);
    let answer = run(&mut command, b"");
    assert!(answer.status.success() || answer.status.code().is_none(), "{calls} {number}: {answer:?}");
    !answer.status.success()
}

#[test]
fn what_killed_backups_have_left_goes_with_the_next_one_and_nothing_else() {
    need!("openssl", "aiosmtpd");
    let (inside, closed) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let gateway = waiting(&inside, &closed);
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.tar");
    assert_eq!(gateway.segel(&["backup", &text(&good)]).code, 0);
    let begun = octets(&good)[..2048].to_vec();
    let hours_ago = |hours: u64| std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
    let part = |name: &str, octets: &[u8], hours: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, octets).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_modified(hours_ago(hours)).unwrap();
        (path, file)
    };
    let (left, _) = part("a.tar.part-0123abcd", &begun, 2);
    let (busy, held) = part("b.tar.part-0123abcd", &begun, 2);
    held.lock().unwrap();
    let others = [
        part("c.tar.part-0123abcd", &begun, 0),
        part("d.tar.part-0123abcd", b"segel.database", 2),
        part("e.tar.part-0123abc", &begun, 2),
        part("f.tar.part-0123abcx", &begun, 2),
        part("g.tar", &begun, 2),
    ];
    assert_eq!(gateway.segel(&["backup", &text(&folder.path().join("next.tar"))]).code, 0);
    assert!(!left.exists() && busy.exists());
    for (path, _) in others {
        assert!(path.exists(), "{}", path.display());
    }
}

#[test]
fn kill_9_in_a_backup_or_a_restore_leaves_what_was_there() {
    need!("openssl", "aiosmtpd", "strace");
    let (inside, closed) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let mut gateway = waiting(&inside, &closed);
    let folder = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for calls in ["fsync", "rename", "mkdir"] {
        for number in 1..50 {
            let file = folder.path().join(format!("{calls}-{number}.tar"));
            let dead = killed(&gateway, calls, number, &["backup", &text(&file)]);
            let whole = !file.exists() || gateway.segel(&["backup", "verify", &text(&file)]).code == 0;
            assert!(whole, "half a backup looks whole: {calls} {number}");
            kills += usize::from(dead);
            if !dead {
                assert!(file.exists());
                break;
            }
        }
    }
    assert!(kills >= 3, "{kills}");
    let file = folder.path().join("good.tar");
    assert_eq!(gateway.segel(&["backup", &text(&file)]).code, 0);
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "kemudian", &long())).starts_with("250"));
    settled(&gateway, 3);
    gateway.stop();
    // The same disk for every try: what one kill leaves is what the next finds.
    let all = |gateway: &Gateway| gateway.segel(&["queue", "list", "--json"]).json().len();
    let (mut kills, mut old, mut new) = (0, 0, 0);
    for calls in ["fsync", "rename", "linkat", "mkdir"] {
        for number in 1..80 {
            let before = (all(&gateway), gateway.held().len());
            let dead = killed(&gateway, calls, number, &["restore", "--move-aside", &text(&file)]);
            let found = (all(&gateway), gateway.held().len());
            assert!(found == before || found == (0, 2), "{calls} {number}: {before:?} became {found:?}");
            assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
            for row in gateway.held().iter().chain(&gateway.queued()) {
                let shown = gateway.segel(&["queue", "show", "--original", row["queue_id"].as_str().unwrap()]);
                assert_eq!(shown.code, 0, "{calls} {number}: {shown:?}");
            }
            kills += usize::from(dead);
            old += usize::from(found == before);
            new += usize::from(found != before);
            if !dead {
                break;
            }
        }
    }
    assert!(kills >= 10 && old >= 5 && new == 1, "{kills} kills, {old} old, {new} new");
    gateway.start();
    let ids = |rows: Vec<serde_json::Value>| -> BTreeSet<String> {
        rows.iter().map(|row| row["queue_id"].as_str().unwrap().to_owned()).collect()
    };
    let held = ids(gateway.held());
    assert_eq!(held.len(), 2);
    let released = gateway.segel(&["queue", "release", "--restored", "--json", "--reason", "tiket 13"]).json();
    assert!(released.iter().all(|row| row["state"] == "pending" && row["address"] == RINA), "{released:?}");
    assert_eq!(ids(released), held);
    assert!(!gateway.data().join("restore.tmp").exists(), "the start clears what kills have left");
}
