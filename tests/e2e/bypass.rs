//! Signing switched off in an emergency: what leaves then, who hears of it, and how it ends.

use crate::release::with_security;
use crate::support::client::send;
use crate::support::pki::{BUDI, RATNA, RINA, SITI, TANPA, TONO};
use crate::support::{Gateway, Pki, Setup, Sink, below_trace, fields, letter};
use std::io::{Read, Write};
use std::net::TcpStream;

const TEAM: &str = "keamanan@kabupaten.go.id";

fn health(gateway: &Gateway) -> serde_json::Value {
    let mut stream = TcpStream::connect(gateway.console()).unwrap();
    write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn events(gateway: &Gateway, name: &str) -> usize {
    gateway.segel(&["audit", "search", "--event", name, "--json"]).json().len()
}

#[test]
fn mail_flows_unsigned_for_a_while_and_never_less_encrypted() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.policy =
        "[[rule]]\nname = \"rahasia\"\nmatch = { subject = \"[rahasia]\" }\nthen = { encrypt = \"required\" }\n"
            .to_owned();
    let mut gateway = with_security(&setup, &format!("security = [\"{TEAM}\"]"));
    gateway.know(&[RATNA]);
    let write = |gateway: &Gateway, from: &str, to: &str, id: &str| {
        send(gateway.inside, from, &[to], &letter(from, to, id, id))
    };
    assert!(write(&gateway, TONO, RINA, "before").starts_with("550"));
    assert_eq!(gateway.segel(&["bypass", "status"]).code, 0);
    for (arguments, code) in [
        (&["bypass", "start", "--hours", "73", "--reason", "x"][..], 2),
        (&["bypass", "start", "--hours", "0", "--reason", "x"], 2),
        (&["bypass", "start", "--hours", "1"], 2),
        (&["bypass", "start", "--hours", "1", "--reason", " "], 3),
        (&["bypass", "start", "--hours", "1", "--reason", "x", "--domain", "lain.example"], 3),
        (&["bypass", "stop"], 3),
    ] {
        assert_eq!(gateway.segel(arguments).code, code, "{arguments:?}");
    }
    let answer = gateway.segel(&["bypass", "start", "--hours", "2", "--reason", "token rusak"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.output.contains("token rusak"), "{answer:?}");
    let alarm = inside.wait(1)[0].clone();
    assert_eq!((alarm.from.as_str(), alarm.to.as_slice()), ("", &[TEAM.to_owned()][..]));
    let text = String::from_utf8_lossy(&alarm.content).into_owned();
    for part in
        ["Signing is switched off", "Alasan / Why: token rusak", "segel bypass stop", "Auto-Submitted: auto-generated"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    gateway.wait_log("an emergency bypass is in force");
    let well = health(&gateway);
    assert!(well["status"] == "degraded" && well["bypass"]["until"].is_string(), "{well}");

    // Who has no key and who has one leave unsigned; the bytes are theirs.
    for (from, id) in [(TONO, "keyless"), (SITI, "bypassed")] {
        assert!(write(&gateway, from, RINA, id).starts_with("250"));
        assert!(below_trace(&outside.find(id).content) == letter(from, RINA, id, id));
    }
    assert_eq!(events(&gateway, "signing-bypassed"), 2);
    let accepted = gateway.segel(&["audit", "search", "--event", "accepted", "--json"]).output;
    assert_eq!(accepted.matches("\"rule\":\"emergency-bypass\"").count(), 2, "{accepted}");
    let told = gateway.segel(&["explain", "--from", SITI, "--to", RINA]).output;
    assert!(
        told.contains("ACCEPT: emergency-bypass") && told.contains("bypass") && told.contains("in force until"),
        "{told}"
    );
    // There is none for encryption.
    assert!(write(&gateway, SITI, RATNA, "sealed").starts_with("250"));
    let sealed = outside.find("sealed");
    assert!(fields(&sealed.content, "content-type").join("").contains("enveloped-data"));
    let opened = String::from_utf8(Pki::shared().decrypt(&sealed.content, RATNA).unwrap()).unwrap();
    assert!(opened.contains("sealed") && !opened.contains("multipart/signed"), "{opened}");
    let secret = String::from_utf8(letter(SITI, TANPA, "secret", "x")).unwrap();
    let reply = send(gateway.inside, SITI, &[TANPA], secret.replace("Subject: Halo", "Subject: [rahasia]").as_bytes());
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    // Nor for who may write as whom.
    let reply = send(gateway.inside, BUDI, &[RINA], &letter(SITI, RINA, "forged", "x"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let again = gateway.segel(&["bypass", "start", "--hours", "2", "--reason", "x"]);
    assert!(again.code == 3 && again.errors.contains("is in force until"), "{again:?}");

    // It outlives a restart, and is not told of again.
    gateway.kill();
    gateway.start();
    assert!(write(&gateway, TONO, RINA, "restarted").starts_with("250"));
    outside.find("restarted");
    let status = gateway.segel(&["bypass", "status", "--json"]);
    assert_eq!((status.code, status.json()[0]["reason"].as_str()), (1, Some("token rusak")));

    assert_eq!(gateway.segel(&["bypass", "stop"]).code, 0);
    assert!(write(&gateway, TONO, RINA, "after").starts_with("550"));
    assert!(write(&gateway, SITI, RINA, "signed").starts_with("250"));
    assert_eq!(Pki::shared().verify(&outside.find("signed").content, &[]), Ok(SITI.to_owned()));
    let over = inside.wait(2);
    assert_eq!(over.len(), 2, "told more than twice");
    assert!(String::from_utf8_lossy(&over[1].content).contains("Signing is in force again"));
    assert!(health(&gateway)["bypass"].is_null());
    assert_eq!((events(&gateway, "bypass-started"), events(&gateway, "bypass-ended")), (1, 1));
    assert_eq!(gateway.segel(&["bypass", "status"]).code, 0);
}
