//! `/health` and `segel health`: what load balancers and containers ask.

use crate::support::client::{get, send};
use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Gateway, PATIENCE, Setup, Sink, letter};
use serde_json::Value;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn health(address: std::net::SocketAddr) -> (u16, Value) {
    let (code, body) = get(address, "/health");
    (code, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

#[test]
fn a_gateway_that_takes_mail_says_so() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let (code, body) = health(gateway.console());
    assert_eq!(code, 200);
    for (key, expected) in
        [("status", "ok"), ("store", "ok"), ("disk", "ok"), ("listeners", "ok"), ("clock", "settled")]
    {
        assert_eq!(body[key], expected, "{body}");
    }
    assert_eq!((&body["queue"]["pending"], &body["crls"]["failing"]), (&0.into(), &serde_json::json!([])));
    assert!(!body.to_string().contains('@') && !body.to_string().contains(env!("CARGO_PKG_VERSION")), "{body}");
    assert_eq!(get(gateway.console(), "/health/live"), (200, "{\"status\":\"alive\"}".to_owned()));
    let address = gateway.console().to_string();
    let answer = gateway.segel(&["health", "--address", &address]);
    assert_eq!((answer.code, answer.output.trim()), (0, "ok"), "{answer:?}");
    let answer = gateway.segel(&["health", "--json", "--address", &address]);
    assert_eq!(answer.json()[0]["store"], "ok");
    // Nobody there, and nothing to be found out from the configuration.
    assert_eq!(gateway.segel(&["health", "--address", "127.0.0.1:1"]).code, 3);
    assert_eq!(gateway.segel(&["health"]).code, 2);
    // Of the configuration only the address counts: a file that is being changed makes no running gateway ill.
    gateway.edit("[console]\nbind = \"127.0.0.1:0\"", &format!("[console]\nbind = \"{address}\"\nnonsense = 1"));
    assert_eq!(gateway.segel(&["health"]).code, 0);
}

#[test]
fn s65_without_space_it_is_not_ready() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).more("[limits]\nfree_space = \"900000GiB\"\n").start();
    let (code, body) = health(gateway.console());
    assert_eq!((code, &body["status"], &body["disk"]), (503, &"disk-full".into(), &"full".into()), "{body}");
    assert_eq!(get(gateway.console(), "/health/live").0, 200);
    let answer = gateway.segel(&["health", "--address", &gateway.console().to_string()]);
    assert_eq!((answer.code, answer.output.trim()), (1, "disk-full"), "{answer:?}");
    let reply = send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "full", "x"));
    assert!(reply.starts_with("452"), "{reply}");
}

#[test]
fn s16_health_says_503_before_the_listeners_close() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    // Far longer than this takes on a busy machine: nothing below waits for its end.
    setup.gateway = "drain_delay = \"10m\"\n".to_owned();
    let mut gateway = setup.start();
    let console = gateway.console();
    gateway.server().signal("TERM");
    wait_until_draining(console);
    // Who has not heard of it yet is served.
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "late", "x")).starts_with("250"));
    outside.find("late");
    assert_eq!(health(console).0, 503);
    ends_at_once(&mut gateway);

    // One in the middle of a mail keeps the gateway; the answer stays the same when the listeners have closed.
    gateway.edit("drain_delay = \"10m\"", "drain_delay = \"2s\"");
    gateway.start();
    let console = gateway.console();
    let mut busy = Client::hello(gateway.inside);
    for (line, reply) in
        [(format!("MAIL FROM:<{SITI}>"), "250"), (format!("RCPT TO:<{RINA}>"), "250"), ("DATA".into(), "354")]
    {
        busy.send(&line);
        busy.expect(reply);
    }
    busy.raw(b"From: ");
    let since = Instant::now();
    gateway.server().signal("TERM");
    wait_until_draining(console);
    while std::net::TcpStream::connect(gateway.inside).is_ok() {
        assert!(since.elapsed() < PATIENCE, "the listeners stay open");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(since.elapsed() >= Duration::from_secs(2));
    assert_eq!(health(console).0, 503);
    ends_at_once(&mut gateway);
}

fn wait_until_draining(console: std::net::SocketAddr) {
    let since = Instant::now();
    while health(console).1["status"] != "draining" {
        assert!(since.elapsed() < PATIENCE, "{:?}", health(console));
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Told again, it does not wait for the delay, nor for the sessions' grace of 30 s.
fn ends_at_once(gateway: &mut Gateway) {
    let since = Instant::now();
    gateway.server().signal("TERM");
    assert_eq!(gateway.server().wait(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(25), "{:?}", since.elapsed());
    gateway.wait_log("a second time");
}

/// Whoever opens connections and says nothing takes the pages' places, and no others.
#[test]
fn s65_idle_connections_to_the_pages_are_bounded_and_mail_goes_on() {
    need!("openssl", "aiosmtpd");
    const PLACES: usize = 64;
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let console = gateway.console();
    let ask = || {
        let mut stream = std::net::TcpStream::connect(console).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        stream
    };
    let mut idle: Vec<_> = (0..PLACES).map(|_| std::net::TcpStream::connect(console).unwrap()).collect();
    let mut waiting = ask();
    // The kernel takes the connection; nobody reads from it.
    waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut octet = [0];
    let answer = waiting.read(&mut octet);
    assert!(matches!(&answer, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{answer:?}");
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "busy", "x")).starts_with("250"));
    outside.find("busy");
    idle.pop();
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut text = String::new();
    waiting.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"status\":\"ok\""), "{text}");
    // Those who still say nothing keep their places.
    let mut others: Vec<_> = (0..2).map(|_| ask()).collect();
    let mut text = String::new();
    others[0].read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    drop(idle);
    text.clear();
    others[1].read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}
