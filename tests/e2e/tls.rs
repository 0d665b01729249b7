//! TLS on the listeners, judged by OpenSSL, swaks and testssl.

use crate::support::pki::{RINA, SITI};
use crate::support::process::run;
use crate::support::tls::{Certificates, GATE, OTHER, Secure, handshake};
use crate::support::{Client, Gateway, Setup, Sink, fields, letter, swaks};
use std::fs;
use std::process::Command;

/// A gateway with TLS, and lines of the configuration besides.
fn with_tls(inside: &Sink, outside: &Sink, more: &str) -> Gateway {
    Setup::new(inside.address, outside.address).more(&Certificates::shared().configuration()).more(more).start()
}

#[test]
fn s40_versions_and_certificates() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_tls(&inside, &outside, "");
    for (options, good) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], true),
        (&["-tls1_3", "-alpn", "h2"], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "AES128-SHA"], false),
    ] {
        let (_, text) = handshake(gateway.outside, options);
        assert_eq!(text.contains("Verification: OK") && !text.contains("Cipher is (NONE)"), good, "{options:?} {text}");
        assert!(text.contains("Compression: NONE"), "{text}");
    }
    for (name, subject) in [(GATE, "CN = gate"), (OTHER, "CN = other"), ("nobody.example", "CN = gate")] {
        let (_, text) = handshake(gateway.outside, &["-servername", name]);
        assert!(text.contains(&format!("subject={subject}")), "{name}: {text}");
    }
    let (_, text) = handshake(gateway.outside, &["-noservername"]);
    assert!(text.contains("subject=CN = gate"), "{text}");
}

#[test]
fn s40_certificates_are_reloaded() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_tls(&inside, &outside, "");
    let mut old = Secure::starttls(gateway.outside, &[]);
    let certificates = Certificates::shared();
    for part in ["pem", "key"] {
        let new = certificates.path(&format!("new.{part}"));
        gateway.edit(&certificates.path(&format!("gate.{part}")), &new);
    }
    assert_eq!(gateway.segel(&["reload"]).code, 0);
    let (_, text) = handshake(gateway.outside, &["-servername", GATE]);
    assert!(text.contains("subject=CN = new"), "{text}");
    // What had begun goes on.
    old.script(&[("NOOP", "250 2.0.0 ")]);
    // All or nothing: a key that is another certificate's.
    gateway.edit(&certificates.path("new.key"), &certificates.path("siti.key"));
    assert_ne!(gateway.segel(&["reload"]).code, 0);
    let (_, text) = handshake(gateway.outside, &["-servername", GATE]);
    assert!(text.contains("subject=CN = new"), "{text}");
}

#[test]
fn s38_commands_before_the_handshake_are_never_executed() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_tls(&inside, &outside, "");
    for rest in ["MAIL FROM:<a@b.example>\r\n", "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\n"] {
        for address in [gateway.inside, gateway.outside] {
            let mut client = Client::hello(address);
            client.raw(format!("STARTTLS\r\n{rest}").as_bytes());
            client.expect("554 5.5.0 ");
            assert_eq!(client.reply(), None);
        }
    }
    // What was said before is forgotten.
    let mut secure = Secure::starttls(gateway.outside, &[]);
    secure.script(&[("RCPT TO:<siti@kabupaten.go.id>", "503 5.5.1 "), ("STARTTLS", "503 5.5.1 ")]);
}

#[test]
fn s39_starttls_in_its_place() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let listener = "[[listener]]\nname = \"wajib\"\nbind = \"127.0.0.1:0\"\nside = \"outside\"\nrequire_tls = true\n";
    let gateway = with_tls(&inside, &outside, listener);
    let mut client = Client::connect(gateway.outside);
    client.send("EHLO client.test.example");
    assert!(client.expect("250").contains("STARTTLS"));
    client.send("STARTTLS please");
    client.expect("501 5.5.4 ");
    // A public server takes mail in clear; one that requires TLS says so.
    client.send(&format!("MAIL FROM:<{RINA}>"));
    client.expect("250");
    let required = gateway.listener("wajib");
    let mut client = Client::hello(required);
    for (line, expected) in [
        (format!("MAIL FROM:<{RINA}>"), "530 5.7.0 "),
        ("DATA".to_owned(), "530 5.7.0 "),
        ("NOOP".to_owned(), "250 2.0.0 "),
    ] {
        client.send(&line);
        client.expect(expected);
    }
    let mut secure = Secure::starttls(required, &[]);
    secure.script(&[(&format!("MAIL FROM:<{RINA}>"), "250 2.1.0 ")]);
}

#[test]
fn s42_tls_from_the_first_octet() {
    need!("openssl", "aiosmtpd", "swaks");
    let (inside, outside) = (Sink::start(), Sink::start());
    let listener = "[[listener]]\nname = \"kirim\"\nbind = \"127.0.0.1:0\"\nside = \"inside\"\ntls = \"implicit\"\n\
         clients = [\"127.0.0.1/32\"]\n";
    let gateway = with_tls(&inside, &outside, listener);
    let address = gateway.listener("kirim");
    let mut secure = Secure::implicit(address, &[]);
    secure.send("EHLO client.test.example");
    assert!(!secure.expect("250-").contains("STARTTLS"));
    secure.script(&[("STARTTLS", "503 5.5.1 ")]);
    let sent = swaks(address, SITI, RINA, &["--tls-on-connect", "--header", "Message-ID: <implicit@test.example>"]);
    assert_eq!(sent.code, 0, "{}", sent.text);
    let received = fields(&outside.find("implicit").content, "received");
    assert!(received[0].contains("with ESMTPS"), "{received:?}");
}

#[test]
fn s38_mail_inside_tls_says_so() {
    need!("openssl", "aiosmtpd", "swaks");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_tls(&inside, &outside, "");
    let sent = swaks(gateway.outside, RINA, SITI, &["--tls", "--header", "Message-ID: <secret@test.example>"]);
    assert_eq!(sent.code, 0, "{}", sent.text);
    assert!(fields(&inside.find("secret").content, "received")[0].contains("with ESMTPS"));
    let reply = crate::support::client::send(gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "clear", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(fields(&inside.find("clear").content, "received")[0].contains("with ESMTP "));
}

#[test]
fn s40_testssl_finds_nothing() {
    need!("openssl", "aiosmtpd", "testssl");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_tls(&inside, &outside, "[limits.client]\nconnections = 0\nerrors = 0\n");
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = Command::new("testssl");
    command.args(["--openssl=/usr/bin/openssl", "--warnings", "off", "--color", "0", "--quiet"]);
    command.args(["--starttls", "smtp", "--protocols", "--compression", "--ccs-injection"]);
    command.args(["--heartbleed", "--jsonfile", &report.display().to_string(), &gateway.outside.to_string()]);
    let output = run(&mut command, b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let finding = |id: &str| {
        let row = found.as_array().unwrap().iter().find(|row| row["id"] == id);
        row.map(|row| row["finding"].as_str().unwrap().to_owned()).unwrap_or_else(|| panic!("no {id}: {text}"))
    };
    for (id, expected) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("heartbleed", "not vulnerable"),
        ("CCS", "not vulnerable"),
        ("CRIME_TLS", "not vulnerable"),
    ] {
        assert!(finding(id).starts_with(expected), "{id}: {}\n{text}", finding(id));
    }
    assert!(finding("TLS1_3").starts_with("offered"), "{text}");
    // After all of that it serves others as before.
    Client::hello(gateway.outside);
}
