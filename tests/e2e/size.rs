//! Sizes: what is said, what is meant, what comes out larger.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Setup, Sink, letter};

#[test]
fn s31_the_limit_is_announced_and_held() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).more("[limits]\nmessage = \"100KiB\"\n").start();
    let mut client = Client::connect(gateway.inside);
    client.send("EHLO client.test.example");
    let extensions = client.expect("250");
    let announced: usize = extensions
        .lines()
        .find_map(|line| line[4..].trim().strip_prefix("SIZE ")?.parse().ok())
        .unwrap_or_else(|| panic!("no SIZE in {extensions}"));
    client.send(&format!("MAIL FROM:<{SITI}> SIZE={}", announced + 1));
    client.expect("552 5.3.4");
    // A client that lies, and one that says nothing.
    for parameter in [" SIZE=10", ""] {
        client.send(&format!("MAIL FROM:<{SITI}>{parameter}"));
        client.expect("250");
        client.send(&format!("RCPT TO:<{RINA}>"));
        client.expect("250");
        client.send("DATA");
        client.expect("354");
        client.raw(&letter(SITI, RINA, "too-large", &format!("{}\n", "x".repeat(70)).repeat(announced / 70 + 1)));
        client.raw(b".\r\n");
        client.expect("552 5.3.4");
    }
    // Dots do not count twice.
    let dots = ".\n".repeat((announced - 1000) / 3);
    let reply = client.transaction(SITI, &[RINA], &letter(SITI, RINA, "dots", &dots));
    assert!(reply.starts_with("250"), "{reply}");
    outside.find("dots");
    assert_eq!(outside.mails().len(), 1);
}

#[test]
fn s32_mail_that_became_too_large_for_the_next_hop_comes_back() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("size", "60000")]));
    let gateway = Setup::new(inside.address, outside.address).start();
    let text = format!("{}\n", "\u{e9}".repeat(30)).repeat(900);
    let content = letter(SITI, RINA, "grows", &text);
    assert!(content.len() < 60_000, "{}", content.len());
    assert!(send(gateway.inside, SITI, &[RINA], &content).starts_with("250"));
    let notice = inside.wait(1)[0].clone();
    let said = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(said.contains("5.3.4"), "{said}");
    assert!(outside.mails().is_empty(), "nothing was sent that the next hop had refused beforehand");
}
