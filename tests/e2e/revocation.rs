//! Nobody can say whether the certificate is revoked.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::{PATIENCE, Pki, Setup, Sink, letter};
use std::time::{Duration, Instant};

#[test]
fn i28_an_unknown_status_is_deferred_then_held() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address).more("[incoming]\ndefer_for = \"2s\"\n");
    // The issuing CA's list is missing.
    setup.crls = format!("[\"{}\"]", Pki::shared().path("root-crl.der"));
    // Own keys would be as unknown as everybody's.
    setup.keys = Vec::new();
    let gateway = setup.start();
    let content = Pki::shared().sign(&letter(RINA, SITI, "unknown", "x"), RINA);
    let begun = Instant::now();
    let first = send(gateway.outside, RINA, &[SITI], &content);
    assert!(first.starts_with("451 4."), "{first}");
    assert!(gateway.held().is_empty());
    let mut replies = Vec::new();
    while begun.elapsed() < PATIENCE {
        let reply = send(gateway.outside, RINA, &[SITI], &content);
        let done = reply.starts_with("250");
        replies.push(reply);
        if done {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    assert!(replies.last().unwrap().starts_with("250"), "{replies:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "held before its time");
    let held = gateway.held();
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].to_string().contains("revocation-unknown"), "{held:?}");
    assert!(inside.mails().is_empty());
    // Another mail has a time of its own.
    let other = Pki::shared().sign(&letter(RINA, SITI, "another", "y"), RINA);
    assert!(send(gateway.outside, RINA, &[SITI], &other).starts_with("451"));
}

#[test]
fn soft_fail_delivers_marked() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.crls = "[]".to_owned();
    setup.keys = Vec::new();
    let mut gateway = setup.start();
    gateway.stop();
    gateway.edit("[[trust.anchor]]\n", "[[trust.anchor]]\nrevocation = \"soft-fail\"\n");
    gateway.start();
    let content = Pki::shared().sign(&letter(RINA, SITI, "soft", "x"), RINA);
    assert!(send(gateway.outside, RINA, &[SITI], &content).starts_with("250"));
    let mark = crate::support::fields(&inside.find("soft").content, "segel-verdict");
    assert!(mark[0].starts_with("indeterminate") && mark[0].contains("revocation-unknown"), "{mark:?}");
}
