//! Who a peer says he is, and what the gateway answers.

use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Setup, Sink, swaks};

#[test]
fn s36_every_reply_but_the_first_has_an_enhanced_code_of_its_class() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let mut client = Client::hello(gateway.outside);
    let lines = [
        "NOOP",
        "NOOP x",
        "VRFY siti",
        "EXPN list",
        "HELP",
        "RSET",
        "NONSENSE",
        "DATA",
        "RCPT TO:<a@b>",
        "MAIL FROM:a b",
        "MAIL FROM:<a@b> NONSENSE=1",
        "MAIL FROM:<x@elsewhere.example>",
        "MAIL FROM:<x@elsewhere.example>",
        "RCPT TO:<victim@elsewhere.example>",
        "RCPT TO:<siti@kabupaten.go.id>",
        "RSET",
        "QUIT",
    ];
    for line in lines {
        client.send(line);
        let reply = client.reply().unwrap();
        for part in reply.lines() {
            let class = &part[..1];
            assert!(part[4..].starts_with(&format!("{class}.")), "{line}: {part}");
        }
    }
}

#[test]
fn s61_direction_follows_the_listener_not_the_name() {
    need!("openssl", "swaks", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let from = format!("From: {SITI}");
    let dialogue = swaks(gateway.outside, SITI, RINA, &["--ehlo", "kabupaten.go.id", "--header", &from]);
    assert_ne!(dialogue.code, 0, "{}", dialogue.text);
    assert!(outside.mails().is_empty() && inside.mails().is_empty());
}

#[test]
fn an_inside_listener_for_everybody_is_a_configuration_error() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    gateway.edit("clients = [\"127.0.0.1/32\"]\n", "");
    let answer = gateway.segel(&["check"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    let said = format!("{}{}", answer.output, answer.errors);
    assert!(said.contains("segel.toml:") && said.contains("clients") && said.contains("hint:"), "{said}");
    // Reloading it is refused, and the server goes on as before.
    let answer = gateway.segel(&["reload"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    crate::support::client::send(gateway.inside, SITI, &[RINA], &crate::support::letter(SITI, RINA, "goes-on", "x"));
    outside.find("goes-on");
}
