//! The commands of an operator, beside a running server.

use crate::support::client::send;
use crate::support::pki::{BUDI, DEWI, JOKO, RINA, SITI};
use crate::support::{Gateway, Pki, Setup, Sink, letter};
use std::io::{Read, Write};
use std::net::TcpStream;

fn both() -> (Sink, Sink, Gateway) {
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    (inside, outside, gateway)
}

#[test]
fn quarantine_list_show_and_evidence() {
    need!("openssl", "aiosmtpd");
    let (_inside, _outside, gateway) = both();
    let content = Pki::shared().sign(&letter(JOKO, SITI, "held", "x"), JOKO);
    assert!(send(gateway.outside, JOKO, &[SITI], &content).starts_with("250"));
    let rows = gateway.held();
    assert_eq!(rows.len(), 1);
    let id = rows[0]["queue_id"].as_str().unwrap();
    let show = gateway.segel(&["quarantine", "show", id, "--json"]);
    assert_eq!(show.code, 0, "{show:?}");
    assert!(show.output.contains("revoked") && show.output.contains(JOKO), "{show:?}");
    let table = gateway.segel(&["quarantine", "list"]);
    assert!(table.output.contains(id), "{table:?}");
    let unknown = gateway.segel(&["quarantine", "show", "aaaaaaaaaaaa"]);
    assert_ne!(unknown.code, 0);
}

#[test]
fn c45_every_end_has_an_audit_event_and_the_chain_holds() {
    need!("openssl", "aiosmtpd");
    let (inside, outside, gateway) = both();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "delivered", "x")).starts_with("250"));
    outside.find("delivered");
    assert!(send(gateway.inside, BUDI, &[RINA], &letter(SITI, RINA, "refused", "x")).starts_with("550"));
    assert!(send(gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "incoming", "x")).starts_with("250"));
    inside.find("incoming");
    let verify = gateway.segel(&["audit", "verify"]);
    assert_eq!(verify.code, 0, "{verify:?}");
}

#[test]
fn queue_list_and_show_name_the_reason() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("later", DEWI)]));
    let gateway = Setup::new(inside.address, outside.address).start();
    let reply = send(gateway.inside, SITI, &[DEWI, RINA], &letter(SITI, DEWI, "deferred", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    outside.find("deferred");
    let mut rows = Vec::new();
    for _ in 0..1200 {
        rows = gateway.segel(&["queue", "list", "--json"]).json();
        if rows.iter().any(|row| row.to_string().contains("4.2.1")) {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    assert_eq!(rows.len(), 1, "{rows:?}");
    let id = rows[0]["queue_id"].as_str().unwrap();
    assert!(reply.contains(id), "the 250 names the queue id: {reply}");
    let show = gateway.segel(&["queue", "show", id, "--json"]);
    assert!(show.output.contains("4.2.1") && show.output.contains(DEWI), "{show:?}");
}

#[test]
fn sighup_reloads_all_or_nothing() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, mut gateway) = both();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "signed", "x")).starts_with("250"));
    assert!(Pki::shared().verify(&outside.find("signed").content, &[]).is_ok());
    gateway
        .edit("[[domain]]\nname = \"kabupaten.go.id\"\n", "[[domain]]\nname = \"kabupaten.go.id\"\nsign = \"never\"\n");
    gateway.server().signal("HUP");
    gateway.wait_log("reloaded.");
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "unsigned", "x")).starts_with("250"));
    assert!(Pki::shared().verify(&outside.find("unsigned").content, &[]).is_err());
    gateway.edit("sign = \"never\"", "sign = \"perhaps\"");
    let answer = gateway.segel(&["reload"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "as-before", "x")).starts_with("250"));
    outside.find("as-before");
}

#[test]
fn a_blocked_key_signs_no_more() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = both();
    let keys = gateway.segel(&["key", "list", "--json"]).json();
    let siti = keys.iter().find(|row| row.to_string().contains(SITI)).unwrap();
    let id = siti["id"].as_str().unwrap();
    assert_eq!(gateway.segel(&["key", "block", id]).code, 0);
    let reply = send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "blocked", "x"));
    assert!(reply.starts_with("550 5.7."), "{reply}");
    assert_eq!(gateway.segel(&["key", "unblock", id]).code, 0);
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "unblocked", "x")).starts_with("250"));
    outside.find("unblocked");
}

#[test]
fn explain_says_what_would_happen() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = both();
    let answer = gateway.segel(&["explain", "--from", SITI, "--to", RINA]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.output.contains("sign"), "{answer:?}");
    assert!(outside.mails().is_empty());
}

#[test]
fn health_is_answered_and_nothing_else() {
    need!("openssl", "aiosmtpd");
    let (_inside, _outside, gateway) = both();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(gateway.console()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert!(get("/health").contains(" 200 "), "{}", get("/health"));
    assert!(get("/").contains(" 404 "), "{}", get("/"));
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    need!("openssl", "aiosmtpd");
    let (_inside, _outside, gateway) = both();
    let answer = gateway.segel(&["serve"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.errors.contains("lock") || answer.errors.contains("another"), "{answer:?}");
}
