//! Many at once, by Postfix's load tool, both ways.

use crate::support::pki::{ASING, RINA, SITI};
use crate::support::process::run;
use crate::support::{Pki, Setup, Sink, fields};
use std::net::SocketAddr;
use std::process::Command;

/// Sends with smtp-source; every reply was the one it hoped for.
fn source(address: SocketAddr, arguments: &[&str]) {
    let mut command = Command::new("smtp-source");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(arguments)
        .arg(format!("inet:127.0.0.1:{}", address.port()));
    let output = run(&mut command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn s30_many_connections_lose_and_double_nothing_either_way() {
    need!("openssl", "smtp-source", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let load = ["-s", "10", "-m", "200", "-l", "20480"];
    source(gateway.inside, &[&load[..], &["-f", SITI, "-t", RINA]].concat());
    source(gateway.outside, &[&load[..], &["-f", ASING, "-t", SITI]].concat());
    let signed = outside.wait(200);
    let judged = inside.wait(200);
    assert_eq!((signed.len(), judged.len()), (200, 200));
    for mail in signed.iter().step_by(50) {
        assert_eq!(Pki::shared().verify(&mail.content, &[]), Ok(SITI.to_owned()));
    }
    for mail in &judged {
        assert_eq!(fields(&mail.content, "segel-verdict").len(), 1);
    }
    // What was sent twice would come after what was waited for.
    assert_eq!((outside.mails().len(), inside.mails().len()), (200, 200));
}

#[test]
fn s08_a_thousand_recipients_are_one_mail() {
    need!("openssl", "smtp-source", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    source(gateway.inside, &["-r", "1000", "-m", "1", "-f", SITI, "-t", RINA]);
    let mails = outside.wait(1);
    let named: usize = mails.iter().map(|mail| mail.to.len()).sum();
    assert_eq!(named, 1000);
}
