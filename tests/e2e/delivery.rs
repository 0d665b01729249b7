//! What servers say while mail is handed to them, and what the gateway makes of it.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::{Gateway, Peer, Setup, Sink, letter};
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
