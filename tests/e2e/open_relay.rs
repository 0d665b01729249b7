//! The outside listener takes mail for its own domains and for nobody else.

use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Setup, Sink, letter};

#[test]
fn s60_twenty_probes_find_no_open_relay() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let probes = [
        "<victim@elsewhere.example>",
        "<victim%elsewhere.example@kabupaten.go.id>",
        "<elsewhere.example!victim@kabupaten.go.id>",
        "<victim%elsewhere.example>",
        "<elsewhere.example!victim>",
        "<\"victim@elsewhere.example\"@kabupaten.go.id>",
        "<\"victim%elsewhere.example\"@kabupaten.go.id>",
        "<victim@elsewhere.example@kabupaten.go.id>",
        "<victim@kabupaten.go.id@elsewhere.example>",
        "<@kabupaten.go.id:victim@elsewhere.example>",
        "<@elsewhere.example,@kabupaten.go.id:victim@elsewhere.example>",
        "<victim@[127.0.0.1]>",
        "<victim@[192.0.2.1]>",
        "<victim@[IPv6:::1]>",
        "<victim@127.0.0.1>",
        "<victim@elsewhere.example.>",
        "<victim@kabupaten.go.id.elsewhere.example>",
        "<victim@sub.kabupaten.go.id>",
        "<victim@xn--elsewhere-.example>",
        "<victim@localhost>",
        "victim@elsewhere.example",
        "<\"victim\"@elsewhere.example>",
    ];
    for (number, probe) in probes.iter().enumerate() {
        let id = format!("probe-{number:02}");
        let mut client = Client::hello(gateway.outside);
        client.send("MAIL FROM:<spammer@elsewhere.example>");
        client.expect("250");
        client.send(&format!("RCPT TO:{probe}"));
        let reply = client.reply().unwrap();
        if reply.starts_with('2') {
            // An odd local part of the own domain: it may go in, never out.
            client.send("DATA");
            client.expect("354");
            client.raw(&letter("spammer@elsewhere.example", SITI, &id, "x"));
            client.raw(b".\r\n");
            client.expect("250");
            inside.find(&id);
        } else {
            assert!(reply.starts_with('5'), "{probe}: {reply}");
        }
    }
    // What may go out shows that the way is open for what may.
    crate::support::client::send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x"));
    outside.find("after");
    assert_eq!(outside.mails().len(), 1);
}

#[test]
fn s11_postmaster_is_always_taken() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    for (number, path) in ["<postmaster>", "<PostMaster>", "<postmaster@kabupaten.go.id>"].iter().enumerate() {
        let mut client = Client::hello(gateway.outside);
        client.send(&format!("MAIL FROM:<{RINA}>"));
        client.expect("250");
        client.send(&format!("RCPT TO:{path}"));
        client.expect("250");
        client.send("DATA");
        client.expect("354");
        let id = format!("postmaster-{number}");
        client.raw(&letter(RINA, "postmaster@kabupaten.go.id", &id, "x"));
        client.raw(b".\r\n");
        client.expect("250");
        assert_eq!(inside.find(&id).to[0].to_ascii_lowercase(), "postmaster@kabupaten.go.id");
    }
}
