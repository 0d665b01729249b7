//! A new version takes over what an older one has left, and keeps a copy of it.

use crate::backup::{killed, long, settled};
use crate::support::client::send;
use crate::support::database::{as_of_schema, schemas, sql};
use crate::support::pki::{RINA, SITI};
use crate::support::{Gateway, Pki, Setup, Sink, letter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A stopped gateway with a small and a large mail that are due, and a copy of its data.
fn left_behind(inside: &Sink, closed: &Sink, kept: &Path) -> Gateway {
    let mut gateway = Setup::new(inside.address, closed.address).start();
    for (id, text) in [("kecil", "x".to_owned()), ("besar", long())] {
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, &text)).starts_with("250"));
    }
    settled(&gateway, 2);
    gateway.stop();
    sql(&gateway.data().join("segel.db"), "UPDATE recipient SET due = 1; PRAGMA wal_checkpoint(TRUNCATE)");
    copy(&gateway.data(), kept);
    gateway
}

fn back_to(gateway: &Gateway, kept: &Path, schema: usize) -> PathBuf {
    std::fs::remove_dir_all(gateway.data()).unwrap();
    copy(kept, &gateway.data());
    let database = gateway.data().join("segel.db");
    as_of_schema(&database, schema);
    database
}

#[test]
fn the_store_of_every_older_version_is_taken_over_with_its_mail_and_keys() {
    need!("openssl", "aiosmtpd");
    let (inside, closed) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let kept = tempfile::tempdir().unwrap();
    let mut gateway = left_behind(&inside, &closed, kept.path());
    let mut address = closed.address;
    for schema in 1..schemas() {
        let open = Sink::start();
        gateway.edit(&address.to_string(), &open.address.to_string());
        address = open.address;
        let database = back_to(&gateway, kept.path(), schema);
        // A command that reads leaves it alone.
        let refused = gateway.segel(&["queue", "list"]);
        assert!(refused.code == 3 && refused.errors.contains(&format!("schema {schema}")), "{refused:?}");
        assert_eq!(sql(&database, "PRAGMA user_version"), [schema.to_string()], "changed by a listing");
        gateway.start();
        // The mail that waited leaves, opened with the keys of then; the key of then signs new mail.
        open.find("besar");
        open.find("kecil");
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "baru", "x")).starts_with("250"));
        for id in ["kecil", "baru"] {
            Pki::shared().verify(&open.find(id).content, &[]).unwrap();
        }
        assert_eq!(gateway.segel(&["audit", "verify"]).code, 0, "schema {schema}");
        gateway.stop();
        let copy = gateway.data().join(format!("segel.db.before-{schema}"));
        assert_eq!(sql(&copy, "PRAGMA user_version"), [schema.to_string()]);
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(sql(&copy, "SELECT count(*) FROM recipient WHERE state = 'pending'"), ["2"]);
        assert_eq!(sql(&database, "PRAGMA user_version"), [schemas().to_string()]);
    }
}

#[test]
fn an_interrupted_change_of_the_schema_is_repeated_and_old_copies_go() {
    need!("openssl", "aiosmtpd", "strace");
    let (inside, closed) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let kept = tempfile::tempdir().unwrap();
    let gateway = left_behind(&inside, &closed, kept.path());
    let key = gateway.segel(&["key", "list", "--json"]).json()[0]["id"].as_str().unwrap().to_owned();
    let database = back_to(&gateway, kept.path(), 1);
    std::fs::write(gateway.data().join("segel.db.before-0"), "").unwrap();
    let mut kills = 0;
    for number in 1..60 {
        if !killed(&gateway, "fsync", number, &["key", "unblock", &key]) {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 3, "{kills}");
    assert_eq!(sql(&database, "PRAGMA user_version"), [schemas().to_string()]);
    assert_eq!(sql(&database, "SELECT count(*) FROM recipient WHERE state = 'pending'"), ["2"]);
    assert_eq!(sql(&database, "PRAGMA integrity_check"), ["ok"]);
    let names =
        std::fs::read_dir(gateway.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let copies: Vec<String> = names.filter(|name| name.contains(".before-") && !name.ends_with(".part")).collect();
    assert!(copies.len() <= 2, "{copies:?}");
}

#[test]
fn the_store_of_a_newer_version_is_refused() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    gateway.stop();
    sql(&gateway.data().join("segel.db"), "PRAGMA user_version = 99");
    for arguments in [&["serve"][..], &["queue", "list"]] {
        let answer = gateway.segel(arguments);
        assert!(answer.code == 3 && answer.errors.contains("schema 99"), "{answer:?}");
        assert!(answer.errors.contains("newer version"), "{answer:?}");
    }
}
