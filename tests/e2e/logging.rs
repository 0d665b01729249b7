//! The log: one line for each decision and each delivery, in each format, and people's names only where they are asked for.

use crate::support::client::send;
use crate::support::pki::{BUDI, DEWI, JOKO, RINA, SITI};
use crate::support::{Gateway, Pki, Setup, Sink, letter};
use serde_json::Value;

/// Mail that is signed and delivered, refused, held, and put off by one next hop.
fn four_mails(log: &str) -> (Gateway, [Sink; 2]) {
    let (inside, outside) = (Sink::start(), Sink::with(&[("later", DEWI)]));
    let gateway = Setup::new(inside.address, outside.address).more(log).start();
    assert!(send(gateway.inside, SITI, &[RINA, DEWI], &letter(SITI, RINA, "signed", "x")).starts_with("250"));
    assert!(send(gateway.inside, BUDI, &[RINA], &letter(SITI, RINA, "refused", "x")).starts_with("550"));
    let revoked = Pki::shared().sign(&letter(JOKO, SITI, "held", "x"), JOKO);
    assert!(send(gateway.outside, JOKO, &[SITI], &revoked).starts_with("250"));
    outside.find("signed");
    for (count, line) in
        [(2, "mail accepted."), (1, "mail refused."), (1, "delivery deferred."), (1, "mail delivered.")]
    {
        gateway.log_with(count, line);
    }
    (gateway, [inside, outside])
}

fn lines<'a>(log: &'a [String], text: &str) -> Vec<&'a String> {
    log.iter().filter(|line| line.contains(text)).collect()
}

#[test]
fn one_line_for_each_decision_without_names() {
    need!("openssl", "aiosmtpd");
    let (gateway, _sinks) = four_mails("");
    let log = gateway.log();
    let accepted = lines(&log, "mail accepted.");
    assert_eq!(accepted.len(), 2, "{log:#?}");
    for (word, line) in [
        ("side=inside", 0),
        ("listener=dalam", 0),
        ("client=127.0.0.1", 0),
        ("recipients=2", 0),
        ("verdict=none", 0),
        ("treatment=signed", 0),
        ("size=", 0),
        (" ms=", 0),
        ("side=outside", 1),
        ("verdict=invalid", 1),
        ("reasons=revoked", 1),
        ("treatment=hold-quarantine", 1),
    ] {
        assert!(accepted[line].contains(word), "no {word} in {}", accepted[line]);
    }
    let held = gateway.held()[0]["queue_id"].as_str().unwrap().to_owned();
    assert!(accepted[1].contains(&format!("queue_id={held}")), "{}", accepted[1]);
    let refused = lines(&log, "mail refused.");
    assert_eq!(refused.len(), 1, "{log:#?}");
    assert!(refused[0].contains("INFO") && refused[0].contains("reply=\"550 5.7.1\"") && refused[0].contains("rule="));
    assert_eq!((lines(&log, "mail delivered.").len(), lines(&log, "delivery deferred.").len()), (1, 1), "{log:#?}");
    assert!(lines(&log, "delivery deferred.")[0].contains("status=4.2.1"), "{log:#?}");
    for line in &log {
        assert!(!line.contains("@test.example"), "a Message-ID: {line}");
        for person in [SITI, BUDI, RINA, DEWI, JOKO] {
            assert!(!line.contains(person), "{line}");
        }
    }
}

#[test]
fn names_stand_there_for_whoever_asks() {
    need!("openssl", "aiosmtpd");
    let (gateway, _sinks) = four_mails("[log]\naddresses = true\n");
    let log = gateway.log();
    let accepted = lines(&log, "mail accepted.");
    assert!(accepted[0].contains(&format!("from=\"{SITI}\" to=\"{RINA},{DEWI}\"")), "{}", accepted[0]);
    assert!(accepted[0].contains("message_id=\"<signed@test.example>\""), "{}", accepted[0]);
    assert!(lines(&log, "mail refused.")[0].contains(&format!("from=\"{BUDI}\"")), "{log:#?}");
    assert!(lines(&log, "delivery deferred.")[0].contains(&format!("to=\"{DEWI}\"")), "{log:#?}");
    // A reload takes it back.
    gateway.edit("addresses = true", "addresses = false");
    assert_eq!(gateway.segel(&["reload"]).code, 0);
    let before = gateway.log().len();
    assert!(send(gateway.inside, BUDI, &[RINA], &letter(SITI, RINA, "again", "x")).starts_with("550"));
    let told = |log: &[String]| log[before..].iter().find(|line| line.contains("mail refused.")).cloned();
    let line = told(&gateway.log_with(2, "mail refused.")).unwrap();
    assert!(!line.contains('@'), "{line}");
}

#[test]
fn each_line_is_an_object() {
    need!("openssl", "aiosmtpd");
    let (gateway, _sinks) = four_mails("[log]\nformat = \"json\"\n");
    let all: Vec<Value> = gateway.log().iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let accepted = all.iter().find(|line| line["message"] == "mail accepted.").unwrap();
    assert_eq!(accepted["level"], "INFO");
    assert_eq!((&accepted["recipients"], &accepted["side"]), (&2.into(), &"inside".into()), "{accepted}");
    assert!(accepted["timestamp"].is_string() && accepted["ms"].is_u64() && accepted["size"].is_u64(), "{accepted}");
    assert!(accepted.get("from").is_none() && accepted.get("reasons").is_none(), "{accepted}");
    let delivered = all.iter().find(|line| line["message"] == "mail delivered.").unwrap();
    assert!(delivered["next_hop"].as_str().unwrap().starts_with("smtp://127.0.0.1:"), "{delivered}");
    assert_eq!(delivered["queue_id"], accepted["queue_id"]);
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    need!("openssl", "aiosmtpd");
    let (gateway, _sinks) = four_mails("[log]\nformat = \"journal\"\n");
    let log = gateway.log();
    assert!(log.len() > 5);
    for line in &log {
        assert!(["<3>", "<4>", "<6>"].iter().any(|priority| line.starts_with(priority)), "{line}");
        assert!(!line.contains("INFO") && !line.contains("WARN"), "{line}");
    }
    assert!(lines(&log, "mail accepted.")[0].starts_with("<6>mail accepted."), "{log:#?}");
    assert!(lines(&log, "the master key lies beside")[0].starts_with("<4>"), "{log:#?}");
}

#[test]
fn a_level_that_is_none_is_an_error_and_another_needs_a_restart() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    gateway.edit("[console]", "[log]\nlevel = \"loud\"\nformat = \"yaml\"\n[console]");
    let answer = gateway.segel(&["check"]);
    assert!(answer.code == 2 && answer.errors.contains("`log.level`") && answer.errors.contains("`log.format`"));
    gateway.edit("level = \"loud\"\nformat = \"yaml\"", "level = \"error\"");
    let answer = gateway.segel(&["reload"]);
    assert!(answer.code == 2 && answer.errors.contains("`log.level` was changed: that needs a restart"), "{answer:?}");
}
