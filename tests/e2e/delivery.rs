//! What servers say while mail is handed to them, and what the gateway makes of it.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Gateway, Peer, Setup, Sink, letter};
use serde_json::json;

/// A gateway whose mail for `mitra.example` goes to this peer.
fn gateway(inside: &Sink, peer: &Peer) -> Gateway {
    Setup::new(inside.address, peer.address).domain("sign = \"never\"\n").start()
}

#[test]
fn c20_mail_after_mail_goes_over_one_connection() {
    need!("openssl", "aiosmtpd");
    let (inside, peer) = (Sink::start(), Peer::at("127.0.0.1", 0));
    let gateway = gateway(&inside, &peer);
    for number in 0..5 {
        let id = format!("reuse-{number}");
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, &id, "x")).starts_with("250"));
        peer.wait(&id);
        // It has the mail before the gateway has its answer, and until then the connection is not free.
        gateway.log_with(number + 1, "mail delivered.");
    }
    let notes = peer.notes();
    assert!(notes.iter().all(|note| note["connection"].as_u64().unwrap_or(1) == 1), "{notes:#?}");
}

#[test]
fn s32_o60_too_large_for_the_next_hop_is_one_bounce_before_anything_is_sent() {
    need!("openssl", "aiosmtpd");
    let (inside, peer) = (Sink::start(), Peer::with(&json!({"offers": ["SIZE 1000000"]})));
    let gateway = gateway(&inside, &peer);
    let text = format!("{}\n", "x".repeat(70)).repeat(20_000);
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "large", &text)).starts_with("250"));
    let notice = String::from_utf8_lossy(&inside.wait(1)[0].content).into_owned();
    assert!(notice.contains("5.3.4"), "{notice}");
    assert!(!peer.lines().iter().any(|line| line.starts_with("MAIL")));
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "small", "x")).starts_with("250"));
    peer.wait("small");
    assert!(peer.lines().iter().any(|line| line.starts_with("MAIL FROM") && line.contains(" SIZE=")));
    assert_eq!(inside.mails().len(), 1);
}

#[test]
fn c18_helo_where_ehlo_is_refused_and_nothing_is_needed() {
    need!("openssl", "aiosmtpd");
    let (inside, peer) = (Sink::start(), Peer::with(&json!({"replies": {"EHLO": "502 5.5.1 what"}})));
    let gateway = gateway(&inside, &peer);
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "seven", "x")).starts_with("250"));
    peer.wait("seven");
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "eight", "\u{e9}")).starts_with("250"));
    let notice = String::from_utf8_lossy(&inside.wait(1)[0].content).into_owned();
    assert!(notice.contains("5.6.3") && !peer.has("eight"), "{notice}");
}

#[test]
fn c15_too_many_recipients_go_in_several_transactions() {
    need!("openssl", "aiosmtpd");
    let refused = "452 4.5.3 too many";
    let (inside, peer) = (Sink::start(), Peer::with(&json!({"most": 2, "too_many": refused})));
    let gateway = gateway(&inside, &peer);
    let names: Vec<String> = (0..5).map(|number| format!("u{number}@mitra.example")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(send(gateway.inside, SITI, &to, &letter(SITI, RINA, "many", "x")).starts_with("250"));
    for _ in 0..1000 {
        if peer.notes().iter().filter(|note| note["mail"].is_string()).count() == 3 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let lines = peer.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("MAIL")).count(), 3, "{lines:#?}");
    assert!(lines.iter().filter(|line| line.starts_with("EHLO")).count() == 1 && inside.mails().is_empty());
}

#[test]
fn s47_dsn_parameters_reach_a_server_that_knows_them() {
    need!("openssl", "aiosmtpd");
    let inside = Sink::start();
    for (offers, expected) in [
        (json!(["DSN"]), [" RET=HDRS ENVID=QQ+2B314", " NOTIFY=NEVER ORCPT=rfc822;rina+2Bx@lama.example"]),
        (json!([]), ["", ""]),
    ] {
        let peer = Peer::with(&json!({"offers": offers}));
        let gateway = gateway(&inside, &peer);
        let mut client = Client::hello(gateway.inside);
        for (line, reply) in [
            (format!("MAIL FROM:<{SITI}> RET=HDRS ENVID=QQ+2B314"), "250"),
            (format!("RCPT TO:<{RINA}> NOTIFY=NEVER ORCPT=rfc822;rina+2Bx@lama.example"), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            client.send(&line);
            client.expect(reply);
        }
        client.raw(&letter(SITI, RINA, "dsn", "x"));
        client.send(".");
        client.expect("250");
        peer.wait("dsn");
        let lines = peer.lines();
        let line = |verb: &str| lines.iter().find(|line| line.starts_with(verb)).unwrap().clone();
        assert!(line("MAIL").starts_with(&format!("MAIL FROM:<{SITI}>")));
        assert!(line("MAIL").ends_with(expected[0]), "{lines:?}");
        assert_eq!(line("RCPT"), format!("RCPT TO:<{RINA}>{}", expected[1]));
        assert_eq!(line("MAIL").contains("RET="), !expected[0].is_empty());
    }
}

#[test]
fn c19_a_reply_before_the_mail_is_no_answer_to_it() {
    need!("openssl", "aiosmtpd");
    for stray in ["250 2.0.0 taken already\r\n", "550 5.7.1 never\r\n"] {
        let (inside, peer) = (Sink::start(), Peer::with(&json!({"stray": stray})));
        let gateway = gateway(&inside, &peer);
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "stray", "x")).starts_with("250"));
        let begun = std::time::Instant::now();
        let row = loop {
            let queued = gateway.queued();
            let row = queued.first().map(|row| row["recipients"][0].clone()).unwrap_or_default();
            if row["tries"].as_i64() > Some(0) {
                break row;
            }
            assert!(begun.elapsed() < crate::support::PATIENCE, "{stray}: {queued:?}");
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        };
        assert!(row["diagnostic"].as_str().unwrap_or_default().contains("spoke before"), "{row}");
        // Neither delivered nor bounced.
        assert!(inside.mails().is_empty() && !peer.has("stray"), "{stray}");
    }
}
