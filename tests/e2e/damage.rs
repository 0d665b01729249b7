//! What a disk does to the store is reported and kept apart; mail around it goes on (C07).

use crate::backup::{long, octets, settled};
use crate::support::client::{get, send};
use crate::support::database::sql;
use crate::support::pki::{RATNA, RINA, SITI};
use crate::support::process::Process;
use crate::support::{Gateway, PATIENCE, Pki, Setup, Sink, letter};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A stopped gateway with three small mails and a large one that are due, whose next hop takes them at the next start.
fn stopped(inside: &Sink, closed: &Sink, open: &Sink) -> (Gateway, PathBuf) {
    let mut gateway = Setup::new(inside.address, closed.address).start();
    for (id, text) in [("satu", "x".to_owned()), ("dua", "y".to_owned()), ("tiga", "z".to_owned()), ("besar", long())] {
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, &text)).starts_with("250"));
    }
    settled(&gateway, 4);
    gateway.stop();
    let database = gateway.data().join("segel.db");
    sql(&database, "UPDATE recipient SET due = 1; PRAGMA wal_checkpoint(TRUNCATE)");
    gateway.edit(&closed.address.to_string(), &open.address.to_string());
    (gateway, database)
}

fn wait_held(gateway: &Gateway, count: usize) -> Vec<serde_json::Value> {
    for _ in 0..600 {
        let held = gateway.held();
        if held.len() == count {
            return held;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    panic!("{:?}", gateway.held());
}

#[test]
fn c07_damaged_contents_and_rows_are_set_aside_and_the_others_leave() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    // The files of the large mail: one octet in the middle of each.
    for entry in std::fs::read_dir(gateway.data().join("content")).unwrap() {
        let path = entry.unwrap().path();
        let mut content = octets(&path);
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(path, content).unwrap();
    }
    // One octet of a sealed copy in its row, and a state that nobody writes.
    sql(
        &database,
        "UPDATE sealed SET octets = CAST(substr(octets, 1, 100) || x'00' || substr(octets, 102) AS BLOB) WHERE content = \
         (SELECT content FROM copy WHERE record = 1); UPDATE recipient SET state = 'pendyng' WHERE record = 2",
    );
    gateway.start();
    open.find("tiga");
    let held = wait_held(&gateway, 3);
    assert!(held.iter().all(|row| row["class"] == "operator"), "{held:?}");
    let said: Vec<String> =
        held.iter().map(|row| row["recipients"][0]["diagnostic"].as_str().unwrap().to_owned()).collect();
    assert!(said.iter().all(|text| text.contains("damaged")), "{said:?}");
    assert_eq!(said.iter().filter(|text| text.contains("the seal is broken")).count(), 2, "{said:?}");
    gateway.wait_log("stored mail is damaged and was set aside");
    let events = gateway.segel(&["audit", "search", "--event", "damaged", "--json"]).json();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
    // New mail passes, and another start neither reports it again nor loses it.
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "baru", "x")).starts_with("250"));
    open.find("baru");
    settled(&gateway, 0);
    gateway.kill();
    gateway.start();
    gateway.wait_log("the daily round is done");
    assert_eq!((gateway.held().len(), open.mails().len()), (3, 2));
    assert_eq!(gateway.segel(&["audit", "search", "--event", "damaged", "--json"]).json().len(), 3);
}

#[test]
fn c07_c45_a_row_that_cannot_be_read_keeps_no_other_mail() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    // Octets that are no text, and values of another kind: what flipped bits leave.
    sql(
        &database,
        "UPDATE recipient SET address = CAST(x'ff' || address AS TEXT) WHERE record = 1; \
         UPDATE recipient SET due = 'soon' WHERE record = 2; \
         UPDATE record SET queue_id = CAST(x'ff' || queue_id AS TEXT) WHERE id = 3",
    );
    gateway.start();
    open.find("besar");
    let held = wait_held(&gateway, 3);
    let said: Vec<&str> = held.iter().filter_map(|row| row["recipients"][0]["diagnostic"].as_str()).collect();
    assert!(said.iter().all(|text| text.starts_with("stored row is damaged: ")), "{said:?}");
    assert_eq!(gateway.segel(&["audit", "search", "--event", "damaged", "--json"]).json().len(), 3);
    assert_eq!(open.mails().len(), 1);
}

/// Where the root page of a table or an index begins.
fn root(database: &Path, name: &str) -> usize {
    let page = sql(database, &format!("SELECT rootpage FROM sqlite_schema WHERE name = '{name}'"));
    (page[0].parse::<usize>().unwrap() - 1) * 4096
}

#[test]
fn c07_a_content_that_the_disk_does_not_give_holds_up_nobody_and_its_sender_is_told() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::with(&[("refuse", RINA)]));
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    // What is read for the notice is the original: the disk gives an error for it, as for a bad sector.
    let file = "SELECT file FROM content WHERE file IS NOT NULL AND id IN (SELECT original FROM record)";
    let path = gateway.data().join("content").join(&sql(&database, file)[0]);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    gateway.start();
    let notices = inside.wait(4);
    assert!(notices.iter().all(|mail| String::from_utf8_lossy(&mail.content).contains("5.1.1")));
    settled(&gateway, 0);
    assert_eq!(gateway.held().len(), 0);
}

#[test]
fn c07_a_damaged_key_of_the_audit_log_keeps_nobody_from_writing() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    sql(&database, "UPDATE audit_subject SET wrapped = zeroblob(76)");
    gateway.start();
    for id in ["satu", "dua", "tiga", "besar"] {
        open.find(id);
    }
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "baru", "x")).starts_with("250"));
    open.find("baru");
    settled(&gateway, 0);
    gateway.wait_log("a key of the audit log is damaged");
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
    let rows = gateway.segel(&["audit", "search", "--event", "delivered", "--json"]).json();
    assert!(rows.len() == 5 && rows.iter().all(|row| row["personal"] == "unreadable"), "{rows:?}");
    assert_eq!(open.mails().len(), 5);
}

#[test]
fn c07_after_damage_nothing_is_taken_or_delivered_until_the_next_start() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    gateway.know(&[RATNA]);
    let database = gateway.data().join("segel.db");
    // Three that wait in memory for a next hop that hangs.
    outside.signal("STOP");
    for id in ["satu", "dua", "tiga"] {
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, "x")).starts_with("250"));
    }
    // A page that the first encrypted mail to somebody needs, and nothing before it.
    let at = root(&database, "correspondent");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&database).unwrap();
    let mut good = [0];
    file.read_exact_at(&mut good, at as u64).unwrap();
    file.write_all_at(&[0x55], at as u64).unwrap();
    let health = |gateway: &Gateway| get(gateway.console(), "/health");
    assert_eq!(health(&gateway).0, 200);
    let reply = send(gateway.inside, SITI, &[RATNA], &letter(SITI, RATNA, "rahasia", "x"));
    assert!(reply.starts_with("451"), "{reply}");
    gateway.wait_log("mail is neither taken nor delivered until the gateway is started again");
    // From here on everybody hears it, on both sides.
    for (listener, from, to) in [(gateway.inside, SITI, RINA), (gateway.outside, RINA, SITI)] {
        let reply = send(listener, from, &[to], &letter(from, to, "sesudah", "x"));
        assert!(reply.starts_with("451"), "{reply}");
    }
    let (code, body) = health(&gateway);
    assert!(code == 503 && body.contains("store-failed"), "{code} {body}");
    outside.signal("CONT");
    let direct = send(outside.address, SITI, &[RINA], &letter(SITI, RINA, "langsung", "x"));
    assert!(direct.starts_with("250"), "{direct}");
    outside.find("langsung");
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    assert_eq!(outside.mails().len(), 1, "nothing is begun that can't be settled");
    assert_eq!(health(&gateway).0, 503);
    assert_eq!(gateway.stop(), Some(0));
    file.write_all_at(&good, at as u64).unwrap();
    gateway.start();
    assert_eq!(health(&gateway).0, 200);
    for id in ["satu", "dua", "tiga"] {
        outside.find(id);
    }
    settled(&gateway, 0);
    assert_eq!(outside.mails().len(), 4, "each once, and what heard 451 not at all");
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
}

#[test]
fn c07_what_lies_on_the_disk_is_looked_at_before_anybody_is_listened_to() {
    need!("openssl", "aiosmtpd");
    let inside = Sink::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::new(inside.address, inside.address);
    let mut gateway = setup.start();
    gateway.stop();
    setup.inside = taken.local_addr().unwrap().to_string();
    gateway.edit("name = \"dalam\"\nbind = \"127.0.0.1:0\"", &format!("name = \"dalam\"\nbind = \"{}\"", setup.inside));
    let answer = gateway.segel(&["serve"]);
    assert!(answer.code == 3 && answer.errors.contains("cannot listen on"), "{answer:?}");
    // Both are wrong: the first that is said is what was looked at first.
    let database = gateway.data().join("segel.db");
    let at = root(&database, "recipient");
    std::fs::OpenOptions::new().write(true).open(&database).unwrap().write_all_at(&[0x55], at as u64).unwrap();
    let answer = gateway.segel(&["serve"]);
    assert!(answer.code == 3 && answer.errors.contains("the database is damaged"), "{answer:?}");
    assert!(!answer.errors.contains("cannot listen on"), "{answer:?}");
}

#[test]
fn c07_mail_whose_recipients_are_gone_is_told_of() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    // A page that was written to the wrong place: an empty one of the same kind.
    let (from, to) = (root(&database, "alert"), root(&database, "recipient"));
    let mut file = octets(&database);
    file.copy_within(from..from + 4096, to);
    std::fs::write(&database, file).unwrap();
    gateway.start();
    gateway.wait_log("its recipients are gone");
    let ids = sql(&database, "SELECT queue_id FROM record");
    assert_eq!(ids.len(), 4);
    for id in ids {
        let original = gateway.segel(&["queue", "show", "--original", &id]);
        assert!(original.code == 0 && original.output.contains("Message-ID"), "{original:?}");
    }
}

#[test]
fn c07_mail_whose_record_is_gone_is_counted_where_operators_look() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    sql(
        &database,
        "PRAGMA foreign_keys = OFF; DELETE FROM record WHERE id = 2; UPDATE recipient SET tries = 'x' WHERE record = 3",
    );
    gateway.start();
    open.find("besar");
    gateway.wait_log("the daily round is done");
    wait_held(&gateway, 1);
    for list in ["queue", "quarantine"] {
        let answer = gateway.segel(&[list, "list"]);
        assert!(answer.code == 0 && answer.errors.contains("1 recipients are held whose record is gone"), "{answer:?}");
    }
    let (_, body) = get(gateway.console(), "/health");
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&health["status"], &health["queue"]["damaged"], &health["queue"]["lost"]),
        (&"degraded".into(), &2.into(), &1.into())
    );
    assert!(get(gateway.console(), "/metrics").1.contains("segel_queue_damaged_recipients 2"));
}

/// Starts, and says what an operator sees: everything it logs until it ends or every mail has left.
fn outcome(gateway: &Gateway, open: &Sink, before: usize) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_segel"));
    let mut server = Process::start(command.args(["serve", "-c"]).arg(gateway.home.configuration()));
    let begun = Instant::now();
    while server.runs() && open.mails().len() < before + 4 && begun.elapsed() < PATIENCE {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    if server.runs() {
        server.signal("TERM");
        server.wait();
    }
    // To its end.
    server.stderr.wait(PATIENCE, |_| None::<()>);
    let log = server.stderr.all().join("\n");
    assert!(!log.contains("panicked"), "{log}");
    let left = open.mails().len() - before;
    if left == 4 { format!("all left\n{log}") } else { log }
}

#[test]
fn c07_a_damaged_database_is_never_a_silent_empty_queue() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (gateway, database) = stopped(&inside, &closed, &open);
    let good = octets(&database);
    let roots = "SELECT rootpage FROM sqlite_schema WHERE name IN ('record', 'recipient', 'recipient_due', 'setting')";
    let mut places: Vec<usize> =
        sql(&database, roots).iter().map(|page| (page.parse::<usize>().unwrap() - 1) * 4096).collect();
    assert_eq!(places.len(), 4);
    places.push(0);
    let mut reported = 0;
    for at in places {
        let mut bad = good.clone();
        // The kind of a page, or the mark of a database.
        bad[at] = 0x55;
        std::fs::write(&database, bad).unwrap();
        let before = open.mails().len();
        let log = outcome(&gateway, &open, before);
        let told = log.contains("the database is damaged") && log.contains("segel restore");
        assert!(told || log.starts_with("all left"), "octet {at}: {log}");
        reported += usize::from(told);
        for end in ["-wal", "-shm"] {
            std::fs::remove_file(gateway.data().join(format!("segel.db{end}"))).ok();
        }
    }
    assert!(reported >= 4, "{reported}");
    // Gone, or cut down to nothing: no new one is made beside what is left of it.
    std::fs::write(&database, good).unwrap();
    for gone in [false, true] {
        if gone {
            std::fs::remove_file(&database).unwrap();
        } else {
            std::fs::write(&database, "").unwrap();
        }
        let answer = gateway.segel(&["serve"]);
        assert!(answer.code == 3 && answer.errors.contains("restore the last backup"), "{answer:?}");
    }
}

#[test]
fn c07_an_index_that_hides_mail_is_made_again_and_no_content_is_removed() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, open) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let (mut gateway, database) = stopped(&inside, &closed, &open);
    let files = std::fs::read_dir(gateway.data().join("content")).unwrap().count();
    assert!(files > 0);
    // The count of cells in the page of each index: none are left in it.
    for index in ["recipient_due", "recipient_record", "content_file"] {
        let page = sql(&database, &format!("SELECT rootpage FROM sqlite_schema WHERE name = '{index}'"));
        let page: usize = page[0].parse().unwrap();
        let mut file = octets(&database);
        file[(page - 1) * 4096 + 3..(page - 1) * 4096 + 5].fill(0);
        std::fs::write(&database, file).unwrap();
    }
    gateway.start();
    for id in ["satu", "dua", "tiga", "besar"] {
        open.find(id);
    }
    gateway.wait_log("an index hid rows");
    assert_eq!(sql(&database, "PRAGMA integrity_check"), ["ok"]);
    settled(&gateway, 0);
    assert_eq!((gateway.held().len(), open.mails().len()), (0, 4));
}
