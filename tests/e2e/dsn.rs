//! Delivery status notifications (RFC 3461, 3464), as Python's `email` reads them.

use crate::support::pki::{DEWI, RINA, SITI};
use crate::support::process::run;
use crate::support::sink::PYTHON;
use crate::support::{Client, Gateway, Mail, Setup, Sink, letter};
use std::process::Command;

const READER: &str = r#"
import sys, email, email.policy, json
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
p = list(m.iter_parts())
s = p[1].get_payload()
print(json.dumps({
    "report": m["content-type"].params["report-type"], "parts": [x.get_content_type() for x in p],
    "defects": sum(len(x.defects) for x in [m] + p + s), "message": dict(s[0].items()),
    "recipients": [dict(x.items()) for x in s[1:]], "returned": p[2].as_bytes().decode("utf-8", "replace"),
}))
"#;

/// What Python finds in a notice, which is in good order.
fn read(notice: &Mail) -> serde_json::Value {
    assert_eq!(notice.from, "", "the null reverse-path");
    let output = run(Command::new(PYTHON).args(["-c", READER]), &notice.content);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&notice.content)));
    assert_eq!((&found["report"], &found["defects"]), (&"delivery-status".into(), &0.into()), "{found}");
    found
}

/// One mail with DSN parameters: those of MAIL, then recipients with those of RCPT.
fn ask(gateway: &Gateway, mail: &str, recipients: &[(&str, &str)], content: &[u8]) {
    let mut client = Client::hello(gateway.inside);
    client.send(&format!("MAIL FROM:<{SITI}> BODY=8BITMIME {mail}"));
    client.expect("250");
    for (recipient, parameters) in recipients {
        client.send(&format!("RCPT TO:<{recipient}> {parameters}"));
        client.expect("250");
    }
    client.send("DATA");
    client.expect("354");
    client.raw(content);
    client.raw(b".\r\n");
    client.expect("250");
}

#[test]
fn s48_s49_success_is_told_where_the_next_hop_offers_no_dsn() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let recipients = [(RINA, "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;rina+2Basal@mitra.example"), (DEWI, "")];
    ask(&gateway, "RET=FULL ENVID=QQ+3D314159", &recipients, &letter(SITI, RINA, "s48", "isi surat"));
    outside.find("s48");
    let found = read(&inside.wait(1)[0]);
    let one = &found["recipients"][0];
    assert_eq!(found["recipients"].as_array().unwrap().len(), 1, "only who asked: {found}");
    for (field, expected) in [
        ("Action", "relayed"),
        ("Status", "2.0.0"),
        ("Original-Recipient", "rfc822; rina+asal@mitra.example"),
        ("Diagnostic-Code", "smtp; 250 2.0.0 kept"),
    ] {
        assert_eq!(one[field], expected, "{found}");
    }
    assert_eq!(one["Final-Recipient"], format!("rfc822; {RINA}"));
    assert_eq!(found["message"]["Original-Envelope-Id"], "QQ=314159");
    assert_eq!(found["message"]["Reporting-MTA"], "dns; gerbang.kabupaten.go.id");
    // RET speaks of failures alone.
    assert_eq!(found["parts"][2], "text/rfc822-headers");
}

#[test]
fn s47_s49_ret_and_notify_say_what_comes_back_and_to_whom() {
    need!("openssl", "aiosmtpd");
    for (parameters, notify, part) in [
        ("RET=FULL ENVID=penuh", "NOTIFY=FAILURE", Some("message/rfc822")),
        ("RET=HDRS ENVID=kepala", "", Some("text/rfc822-headers")),
        ("RET=FULL", "NOTIFY=NEVER", None),
        ("", "NOTIFY=SUCCESS,DELAY", None),
    ] {
        let (inside, outside) = (Sink::start(), Sink::with(&[("refuse", RINA)]));
        let gateway = Setup::new(inside.address, outside.address).domain("sign = \"never\"\n").start();
        ask(&gateway, parameters, &[(RINA, notify)], &letter(SITI, RINA, "s47", "isi surat: é"));
        let failed = || gateway.segel(&["audit", "search", "--event", "failed", "--json"]).json();
        for _ in 0..600 {
            if !failed().is_empty() {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        assert_eq!(failed().len(), 1, "audited, whoever is told");
        let Some(part) = part else {
            assert!(gateway.queued().is_empty() && inside.mails().is_empty(), "{notify}");
            continue;
        };
        let found = read(&inside.wait(1)[0]);
        assert_eq!(found["parts"][2], part);
        assert_eq!(found["recipients"][0]["Status"], "5.1.1");
        let returned = found["returned"].as_str().unwrap();
        assert!(returned.contains("Subject: Halo"), "{returned}");
        assert_eq!(returned.contains("isi surat: é"), part == "message/rfc822", "{returned}");
    }
}

#[test]
fn c14_a_delay_is_told_once() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let gateway = Setup::new(inside.address, outside.address).more("[queue]\nwarn = \"1s\"\n").start();
    ask(&gateway, "ENVID=lambat", &[(RINA, "")], &letter(SITI, RINA, "c14", "x"));
    let tries = || gateway.queued().first().map_or(0, |row| row["recipients"][0]["tries"].as_i64().unwrap());
    let mut done = 0;
    for _ in 0..600 {
        if done >= 4 {
            break;
        }
        done = tries();
        if let Some(row) = gateway.queued().iter().find(|row| row["direction"] == "outgoing") {
            let _ = gateway.segel(&["queue", "retry", row["queue_id"].as_str().unwrap()]);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(500));
    }
    let found = read(&inside.wait(1)[0]);
    let one = &found["recipients"][0];
    assert_eq!((&one["Action"], &one["Status"]), (&"delayed".into(), &"4.4.7".into()), "{found}");
    assert!(one["Diagnostic-Code"].as_str().unwrap().starts_with("smtp; 450 4.2.1 later"), "{found}");
    assert!(one["Will-Retry-Until"].is_string() && found["message"]["Original-Envelope-Id"] == "lambat", "{found}");
    assert_eq!(inside.mails().len(), 1, "once");
    let id = gateway.queued()[0]["queue_id"].as_str().unwrap().to_owned();
    let shown = gateway.segel(&["queue", "show", "--json", &id]).json().remove(0);
    assert!(shown["recipients"][0]["warned"].is_string() && shown["notices"].as_array().unwrap().len() == 1, "{shown}");
    assert_eq!(shown["envelope_id"], "lambat");
}
