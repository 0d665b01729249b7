//! Secrets of a running server: its memory, and another master key between two runs.

use crate::support::client::send;
use crate::support::pki::{JOKO, RINA, SITI};
use crate::support::{Pki, Setup, Sink, letter};

#[test]
fn p22_a_server_dumps_no_core_and_swaps_nothing() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    let id = gateway.server().id();
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap();
    let limits = proc("limits");
    let core: Vec<_> = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split(' ').collect();
    let core: Vec<_> = core.into_iter().filter(|word| !word.is_empty()).collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    let status = proc("status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim().to_owned();
    if locked == "0 kB" {
        assert!(gateway.wait_log("memory is not locked").contains("LimitMEMLOCK"));
    }
    // It works on with locked memory: mail with attachments of some MB.
    let text = format!("{}\n", "x".repeat(70)).repeat(50_000);
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "large", &text)).starts_with("250"));
    outside.find("large");
}

#[test]
fn p22_a_server_goes_on_with_another_master_key() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    let held = Pki::shared().sign(&letter(JOKO, SITI, "held", "x"), JOKO);
    assert!(send(gateway.outside, JOKO, &[SITI], &held).starts_with("250"));
    let new = gateway.data().join("../new.key");
    let rewrap = ["key", "rewrap", "--new", new.to_str().unwrap()];
    let refused = gateway.segel(&rewrap);
    assert!(refused.code == 3 && refused.errors.contains("stop it"), "{refused:?}");
    assert_eq!(gateway.stop(), Some(0));
    let done = gateway.segel(&rewrap);
    assert_eq!(done.code, 0, "{done:?}");
    gateway.start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "signed", "x")).starts_with("250"));
    assert!(Pki::shared().verify(&outside.find("signed").content, &[]).is_ok());
    let row = gateway.held().remove(0);
    let original = gateway.segel(&["quarantine", "show", "--original", row["queue_id"].as_str().unwrap()]);
    assert!(original.code == 0 && original.output.contains("held"), "{original:?}");
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
}
