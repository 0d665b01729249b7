//! What the security team hears of held mail, and how long it is kept.

use crate::release::with_security;
use crate::support::client::send;
use crate::support::pki::{BUDI, JOKO, RINA, SITI};
use crate::support::{Pki, Setup, Sink, fields, letter};
use std::time::Duration;

const TEAM: &str = "keamanan@kabupaten.go.id";

fn revoked(id: &str) -> Vec<u8> {
    let text = String::from_utf8(letter(JOKO, SITI, id, "Isi yang tidak boleh bocor.")).unwrap();
    let text = text.replace("Subject: Halo\r\n", "Subject: Perihal yang tidak boleh bocor\r\n");
    Pki::shared().sign(text.as_bytes(), JOKO)
}

#[test]
fn p32_the_security_team_hears_which_and_why_and_nothing_of_the_content() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_security(
        &Setup::new(inside.address, outside.address).more("[incoming]\ndefer_for = \"0s\"\n"),
        &format!("security = [\"{TEAM}\", \"csirt@mitra.example\"]"),
    );
    let reply = send(gateway.outside, JOKO, &[SITI, BUDI], &revoked("alert"));
    assert!(reply.starts_with("250"), "{reply}");
    let id = reply.split_once("queued as ").unwrap().1.split_whitespace().next().unwrap().to_owned();
    let (to_team, elsewhere) = (inside.wait(1)[0].clone(), outside.wait(1)[0].clone());
    assert_eq!((to_team.from.as_str(), to_team.to.as_slice()), ("", &[TEAM.to_owned()][..]));
    assert_eq!(elsewhere.to, ["csirt@mitra.example"]);
    let text = String::from_utf8_lossy(&to_team.content).into_owned();
    for part in [
        id.as_str(),
        JOKO,
        SITI,
        BUDI,
        "revoked: sertifikat dicabut / a certificate is revoked",
        &format!("segel quarantine show {id}"),
        &format!("segel quarantine release {id} --all --reason TEXT --accept revoked"),
        "Auto-Submitted: auto-generated",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("bocor") && !text.contains("Perihal"), "{text}");
    assert_eq!(fields(&to_team.content, "from"), ["MAILER-DAEMON <MAILER-DAEMON@gerbang.kabupaten.go.id>"]);
    // Of mail that is delivered nobody is told, and no notice is told of.
    send(gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "plain", "x"));
    inside.find("plain");
    assert_eq!(inside.mails().len(), 2);
}

#[test]
fn p32_mail_that_only_waits_is_told_of_when_it_is_quarantined() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.crls = format!("[\"{}\"]", Pki::shared().path("root-crl.der"));
    setup.keys = Vec::new();
    let setup = setup.more("[incoming]\ndefer_for = \"0s\"\nhold_for = \"8s\"\n");
    let gateway = with_security(&setup, &format!("security = [\"{TEAM}\"]"));
    let mail = Pki::shared().sign(&letter(RINA, SITI, "waiting", "x"), RINA);
    let reply = send(gateway.outside, RINA, &[SITI], &mail);
    assert!(reply.starts_with("250"), "{reply}");
    let queued = gateway.segel(&["queue", "list", "--json"]).output;
    assert!(queued.is_empty() && inside.mails().is_empty(), "{queued}");
    let alert = inside.wait(1)[0].clone();
    let text = String::from_utf8_lossy(&alert.content).into_owned();
    assert!(text.contains("Held as: quarantine") && text.contains("revocation-unknown:"), "{text}");
}

#[test]
fn p32_many_at_once_are_not_many_notices() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = with_security(&Setup::new(inside.address, outside.address), &format!("security = [\"{TEAM}\"]"));
    let content = revoked("many");
    for _ in 0..23 {
        assert!(send(gateway.outside, JOKO, &[SITI], &content).starts_with("250"));
    }
    inside.wait(20);
    assert_eq!(gateway.held().len(), 23);
    for _ in 0..600 {
        if gateway.queued().is_empty() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(inside.mails().len(), 20);
}

#[test]
fn p32_quarantined_mail_is_destroyed_after_its_time() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).more("[quarantine]\nkeep = \"8s\"\n").start();
    let reply = send(gateway.outside, JOKO, &[SITI], &revoked("keep"));
    let id = reply.split_once("queued as ").unwrap().1.split_whitespace().next().unwrap().to_owned();
    let held = gateway.held();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0]["waits_for"], "the security team");
    assert!(held[0]["age_seconds"].is_number());
    gateway.wait_log("quarantined mail was destroyed");
    assert!(gateway.held().is_empty());
    let audit = gateway.segel(&["audit", "search", "--json", "--queue-id", &id]).output;
    assert!(audit.contains("\"destroyed\"") && audit.contains("older than quarantine.keep"), "{audit}");
    assert_ne!(gateway.segel(&["quarantine", "show", "--original", &id]).code, 0);
    assert!(inside.mails().is_empty());
}

#[test]
fn p32_recipients_are_told_if_the_operator_wants_it() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).more("[quarantine]\ntell_recipients = true\n").start();
    let reply = send(gateway.outside, JOKO, &[SITI, BUDI], &revoked("told"));
    assert!(reply.starts_with("250"), "{reply}");
    let notice = inside.wait(1)[0].clone();
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[SITI.to_owned(), BUDI.to_owned()][..]));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains(JOKO) && text.contains("postmaster@kabupaten.go.id"), "{text}");
    assert!(!text.contains("bocor") && !text.contains(SITI) && !text.contains(BUDI), "{text}");
}
