//! Mail for the Internet finds its servers by DNS. Names are answered by knot; the servers stand on 127.0.0.2 and on.

use crate::support::client::send;
use crate::support::pki::SITI;
use crate::support::{Dns, Gateway, PATIENCE, Peer, Setup, Sink, letter, port};
use serde_json::Value;
use std::time::Instant;

/// A gateway that goes by MX: to this port, and to these private addresses alone.
fn gateway(dns: &Dns, inside: &Sink, port: u16) -> Gateway {
    let lines = format!("port = {port}\nallow_private = [\"127.0.0.2/31\", \"127.0.0.4/30\"]\n");
    Setup::new(inside.address, ([127, 0, 0, 1], 1).into())
        .outbound(&lines)
        .domain("sign = \"never\"\n")
        .more(&dns.lines())
        .start()
}

/// Sends one mail to `someone@domain`; its queue id.
fn post(gateway: &Gateway, domain: &str, id: &str) -> String {
    let to = format!("orang@{domain}");
    let reply = send(gateway.inside, SITI, &[&to], &letter(SITI, &to, id, "x"));
    assert!(reply.starts_with("250"), "{reply}");
    reply.trim_end().rsplit(' ').next().unwrap().to_owned()
}

/// The recipient's row once it has been tried: `state status diagnostic`.
fn tried(gateway: &Gateway, queue_id: &str) -> String {
    let begun = Instant::now();
    loop {
        let shown = gateway.segel(&["queue", "show", "--json", queue_id]).json();
        let row = &shown[0]["recipients"][0];
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        if row["state"] != "pending" || row["tries"].as_i64() > Some(0) {
            return format!("{} {} {}", text("state"), text("status"), text("diagnostic"));
        }
        assert!(begun.elapsed() < PATIENCE, "never tried: {row}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

#[test]
fn c10_the_best_exchanger_that_answers_gets_the_mail() {
    need!("openssl", "aiosmtpd", "knotd");
    let port = port::free();
    let (best, second) = (Peer::at("127.0.0.2", port), Peer::at("127.0.0.3", port));
    let dns = Dns::start(
        "two.example. MX 20 second.test.\ntwo.example. MX 10 best.test.\n\
         dead.example. MX 5 dead.test.\ndead.example. MX 20 second.test.\n\
         many.example. MX 10 many.test.\n\
         missing.example. MX 1 nowhere.test.\nmissing.example. MX 2 alias.test.\n\
         best.test. A 127.0.0.2\nsecond.test. A 127.0.0.3\ndead.test. A 127.0.0.4\n\
         many.test. A 127.0.0.4\nmany.test. AAAA 2001:db8::1\nmany.test. A 127.0.0.3\nmany.test. A 127.0.0.5\n\
         alias.test. CNAME other.test.\nother.test. CNAME best.test.\n",
    );
    let inside = Sink::start();
    let gateway = gateway(&dns, &inside, port);
    for (domain, server) in
        [("two.example", &best), ("dead.example", &second), ("many.example", &second), ("missing.example", &best)]
    {
        let id = post(&gateway, domain, &format!("to-{domain}"));
        server.wait(&format!("to-{domain}"));
        assert!(tried(&gateway, &id).starts_with("delivered"), "{domain}");
    }
    assert!(!second.has("to-two.example"));
}

#[test]
fn c10_equal_exchangers_share_the_mail() {
    need!("openssl", "aiosmtpd", "knotd");
    let port = port::free();
    let (one, other) = (Peer::at("127.0.0.2", port), Peer::at("127.0.0.3", port));
    let mut zone = "one.test. A 127.0.0.2\nother.test. A 127.0.0.3\n".to_owned();
    for number in 0..20 {
        zone += &format!("d{number}.example. MX 10 one.test.\nd{number}.example. MX 10 other.test.\n");
    }
    let dns = Dns::start(&zone);
    let inside = Sink::start();
    let gateway = gateway(&dns, &inside, port);
    let ids: Vec<String> = (0..20).map(|number| post(&gateway, &format!("d{number}.example"), "shared")).collect();
    for id in &ids {
        assert!(tried(&gateway, id).starts_with("delivered"));
    }
    assert!(one.has("shared") && other.has("shared"));
}

#[test]
fn c11_c12_c13_what_dns_says_decides() {
    need!("openssl", "aiosmtpd", "knotd");
    let port = port::free();
    let server = Peer::at("127.0.0.2", port);
    let dns = Dns::start(
        "null.example. MX 0 .\n\
         implicit.example. A 127.0.0.2\n\
         alias.example. CNAME target.example.\ntarget.example. MX 10 mx.test.\n\
         ours.example. MX 10 gerbang.kabupaten.go.id.\nours.example. MX 20 mx.test.\n\
         own-address.example. MX 10 self.test.\nown-address.example. MX 20 mx.test.\n\
         own-second.example. MX 10 mx.test.\nown-second.example. MX 20 self.test.\n\
         private.example. MX 10 metadata.test.\nprivate.example. MX 20 loop.test.\n\
         implicit-private.example. A 10.1.2.3\n\
         text.example. TXT \"no mail\"\n\
         unresolved.example. MX 10 nowhere.test.\n\
         unsure.example. MX 10 mx.rusak.example.\nunsure.example. MX 20 nowhere.test.\n\
         mx.test. A 127.0.0.2\nself.test. A 127.0.0.1\nmetadata.test. A 169.254.169.254\nloop.test. A 127.0.0.77\n",
    );
    let inside = Sink::start();
    let gateway = gateway(&dns, &inside, port);
    for (domain, expected) in [
        ("implicit.example", "delivered"),
        ("alias.example", "delivered"),
        ("own-second.example", "delivered"),
        ("[127.0.0.2]", "delivered"),
        ("null.example", "failed 5.1.10"),
        ("nowhere.example", "failed 5.1.2"),
        ("text.example", "failed 5.4.4"),
        ("unresolved.example", "failed 5.4.4"),
        ("ours.example", "failed 5.4.6"),
        ("own-address.example", "failed 5.4.6"),
        ("private.example", "failed 5.4.4"),
        ("implicit-private.example", "failed 5.4.4"),
        ("[10.9.8.7]", "failed 5.4.4"),
        ("rusak.example", "pending 4.4.3"),
        ("unsure.example", "pending 4.4.3"),
    ] {
        let id = post(&gateway, domain, &format!("to-{}", domain.trim_matches(['[', ']'])));
        let found = tried(&gateway, &id);
        assert!(found.starts_with(expected), "{domain}: {found}");
    }
    assert_eq!(server.notes().iter().filter(|note| note["mail"] != Value::Null).count(), 4);
}

#[test]
fn c12_a_server_that_greets_with_our_name_is_us() {
    need!("openssl", "aiosmtpd", "knotd");
    let server = Peer::with(&serde_json::json!({
        "host": "127.0.0.2", "greeting": "220 Gerbang.Kabupaten.go.id ESMTP"
    }));
    let dns = Dns::start("self.example. MX 10 mx.test.\nmx.test. A 127.0.0.2\n");
    let inside = Sink::start();
    let gateway = gateway(&dns, &inside, server.address.port());
    let id = post(&gateway, "self.example", "self");
    assert!(tried(&gateway, &id).starts_with("failed 5.4.6"));
}

#[test]
fn c15_whom_one_exchanger_puts_off_another_takes() {
    need!("openssl", "aiosmtpd", "knotd");
    let port = port::free();
    let first = Peer::with(&serde_json::json!({
        "host": "127.0.0.2", "port": port,
        "replies": {"RCPT TO:<orang@grey": "450 4.7.1 greylisted", "RCPT TO:<orang@gone": "550 5.1.1 no"}
    }));
    let busy = Peer::with(&serde_json::json!({
        "host": "127.0.0.3", "port": port, "greeting": "554 5.7.1 not here"
    }));
    let last = Peer::at("127.0.0.4", port);
    let mut zone = "first.test. A 127.0.0.2\nbusy.test. A 127.0.0.3\nlast.test. A 127.0.0.4\n".to_owned();
    for name in ["grey", "gone", "fine"] {
        zone += &format!(
            "{name}.example. MX 1 first.test.\n{name}.example. MX 2 busy.test.\n{name}.example. MX 3 last.test.\n"
        );
    }
    zone += "busy.example. MX 1 busy.test.\nbusy.example. MX 2 last.test.\nonly.example. MX 1 busy.test.\n";
    let dns = Dns::start(&zone);
    let inside = Sink::start();
    let gateway = gateway(&dns, &inside, port);
    for (domain, expected) in [
        ("grey.example", "delivered"),
        ("fine.example", "delivered"),
        ("busy.example", "delivered"),
        ("gone.example", "failed 5.1.1 smtp; 550 5.1.1 no (first.test[127.0.0.2]"),
        ("only.example", "pending 4.3.0 greeting: 554 5.7.1 not here (busy.test[127.0.0.3]"),
    ] {
        let id = post(&gateway, domain, &format!("to-{domain}"));
        let found = tried(&gateway, &id);
        assert!(found.starts_with(expected), "{domain}: {found}");
    }
    assert!(last.has("to-grey.example") && last.has("to-busy.example") && first.has("to-fine.example"));
    assert!(!last.has("to-gone.example") && busy.lines().is_empty());
}
