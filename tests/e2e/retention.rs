//! Records go some time after their mail is final, and the database gives the space back.

use crate::backup::settled;
use crate::support::client::send;
use crate::support::database::sql;
use crate::support::pki::{JOKO, RINA, SITI};
use crate::support::{Client, Pki, Setup, Sink, letter};

#[test]
fn old_records_go_in_the_background_and_the_audit_log_stays() {
    need!("openssl", "aiosmtpd");
    let (inside, closed, outside) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let more = "[store]\nkeep = \"1s\"\n[incoming]\ndefer_for = \"0s\"\n";
    let mut gateway = Setup::new(inside.address, closed.address).more(more).start();
    gateway.wait_log("the daily round is done");
    // One that stays: held.
    let revoked = Pki::shared().sign(&letter(JOKO, SITI, "ditahan", "x"), JOKO);
    assert!(send(gateway.outside, JOKO, &[SITI], &revoked).starts_with("250"));
    // Those that go: delivered, with the evidence of a verdict.
    let signed = Pki::shared().sign(&letter(RINA, SITI, "masuk", "x"), RINA);
    assert!(send(gateway.outside, RINA, &[SITI], &signed).starts_with("250"));
    let text = format!("{}\n", "x".repeat(70)).repeat(1400);
    let mut client = Client::hello(gateway.inside);
    for number in 0..60 {
        let id = format!("keluar-{number}");
        assert!(client.transaction(SITI, &[RINA], &letter(SITI, RINA, &id, &text)).starts_with("250"));
    }
    inside.find("masuk");
    settled(&gateway, 60);
    // All of it leaves at once: the database holds twelve MiB for which there is no use any more.
    gateway.stop();
    let database = gateway.data().join("segel.db");
    sql(&database, "UPDATE recipient SET due = 1 WHERE state = 'pending'");
    let count = |what: &str| sql(&database, &format!("SELECT count(*) FROM {what}"))[0].parse::<usize>().unwrap();
    let (rows, evidence) = (count("audit"), count("evidence"));
    assert_eq!((count("record"), count("recipient")), (62, 62));
    gateway.edit(&closed.address.to_string(), &outside.address.to_string());
    gateway.start();
    outside.wait(60);
    for _ in 0..600 {
        if count("record WHERE final IS NOT NULL") == 60 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    gateway.stop();
    // The second start has removed the incoming one, if it was old enough by then.
    assert!(matches!((count("record"), count("recipient")), (61, 61) | (62, 62)), "{}", count("record"));
    let size = std::fs::metadata(&database).unwrap().len();
    // Older than a second, by any clock.
    sql(&database, "UPDATE record SET final = final - 5000000 WHERE final IS NOT NULL");
    gateway.start();
    gateway.wait_log("old records were removed");
    gateway.wait_log("the daily round is done");
    assert_eq!(gateway.held().len(), 1);
    let held = gateway.held()[0]["queue_id"].as_str().unwrap().to_owned();
    let bundle = tempfile::tempdir().unwrap();
    let answer =
        gateway.segel(&["quarantine", "evidence", "--dir", &bundle.path().join("e").display().to_string(), &held]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
    assert!(!gateway.segel(&["audit", "search", "--event", "records-removed", "--json"]).json().is_empty());
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "sesudah", "x")).starts_with("250"));
    outside.find("sesudah");
    gateway.stop();
    assert!(count("record") <= 3 && count("recipient") <= 3 && count("copy") <= 2, "{}", count("record"));
    assert!(count("content") <= 4 && count("evidence") < evidence && count("audit") > rows);
    assert_eq!(sql(&database, "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(sql(&database, "PRAGMA foreign_key_check"), Vec::<String>::new());
    let now = std::fs::metadata(&database).unwrap().len();
    assert!(now < size / 2, "{size} octets became {now}");
}
