//! Notices as a program that we did not write reads them: Python's `email`.

use super::{FULL, Kind, NoticeRequest, Returned, Told, from_xtext, notice, returned_headers, whole};
use std::io::Write;
use std::process::{Command, Stdio};

const READER: &str = r#"
import sys, email, email.policy, json
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
p = list(m.iter_parts())
s = p[1].get_payload()
last = p[2]
print(json.dumps({
    "type": m.get_content_type(), "report": m["content-type"].params["report-type"], "auto": m["auto-submitted"],
    "from": m["from"], "to": m["to"], "subject": m["subject"], "cte": m["content-transfer-encoding"],
    "defects": [len(x.defects) for x in [m] + p + s], "versions": [k.lower() for k in m.keys()].count("mime-version"),
    "parts": [x.get_content_type() for x in p], "message": dict(s[0].items()), "recipients": [dict(x.items()) for x in s[1:]],
    "headers": None if last.get_content_type() == "message/rfc822" else last.get_content().replace("\r\n", "\n").splitlines(),
    "inner": last.get_content().get_content().strip() if last.get_content_type() == "message/rfc822" else None,
    "inner_fields": last.get_content().keys() if last.get_content_type() == "message/rfc822" else None,
    "text": p[0].get_content(),
}))
"#;

/// What Python finds in the notice.
fn read(bytes: &[u8]) -> serde_json::Value {
    let mut python =
        Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = python.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

fn told(recipient: &str, status: &str, diagnostic: &str) -> Told {
    Told {
        recipient: recipient.to_owned(),
        original: None,
        status: status.to_owned(),
        diagnostic: Some(diagnostic.to_owned()),
        remote_mta: None,
    }
}

fn request<'a>(kind: Kind, original: &'a [u8], returned: Returned, recipients: &'a [Told]) -> NoticeRequest<'a> {
    NoticeRequest {
        kind,
        hostname: "gerbang.example",
        postmaster: "postmaster@kabupaten.example",
        to: "siti@kabupaten.example",
        original_id: "abc234",
        envelope_id: None,
        arrived: "2026-11-22T03:00:00Z".parse().unwrap(),
        now: "2026-11-22T04:00:00Z".parse().unwrap(),
        original,
        returned,
        recipients,
        boundary: "b123",
        message_id: "n1@gerbang.example",
    }
}

#[test]
fn c43_blind_copies_never_go_back_and_a_stranger_reads_no_subject() {
    let original = b"Received: from a\r\n\tby b\r\nSubject: [rahasia]\r\n two\r\nMessage-Id: <1@x>\r\nbcc : a@b.example,\r\n\
        \tc@d.example\r\nResent-Bcc: e@f.example\r\nDate: today\r\n folded\r\nno field\r\nX: y\r\n\r\nSubject: body\r\n";
    for (returned, expected) in [
        (
            Returned::Header,
            "Received: from a\r\n\tby b\r\nSubject: [rahasia]\r\n two\r\nMessage-Id: <1@x>\r\nDate: today\r\n folded\r\nX: y\r\n",
        ),
        (Returned::Identification, "Message-Id: <1@x>\r\nDate: today\r\n folded\r\n"),
    ] {
        assert_eq!(returned_headers(original, returned), expected);
    }
}

#[test]
fn c40_failure_is_a_report_that_others_read() {
    let first = Told {
        remote_mta: Some("mx.ada.example".to_owned()),
        ..told("tidak@ada.example", "5.1.1", "smtp; 550 no such user\r\nEvil: field\r\n\r\n--b")
    };
    let recipients = [first, told("用户@ada.example", "x", "expired")];
    let original = b"Subject: halo\r\nX: \xffy\r\n\r\nsecret body\r\n";
    let bytes = notice(&request(Kind::Failed, original, Returned::Header, &recipients)).into_bytes();
    assert!(bytes.is_ascii());
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
    let found = read(&bytes);
    for (key, expected) in [
        ("type", "multipart/report"),
        ("report", "delivery-status"),
        ("auto", "auto-generated"),
        ("from", "MAILER-DAEMON <MAILER-DAEMON@gerbang.example>"),
        ("to", "<siti@kabupaten.example>"),
    ] {
        assert_eq!(found[key].as_str().unwrap().replace(['<', '>'], ""), expected.replace(['<', '>'], ""));
    }
    assert_eq!(found["versions"], 1);
    assert!(found["defects"].as_array().unwrap().iter().all(|count| *count == 0), "{found}");
    assert_eq!(found["parts"], serde_json::json!(["text/plain", "message/delivery-status", "text/rfc822-headers"]));
    assert_eq!(found["headers"], serde_json::json!(["Subject: halo", "X: ?y"]));
    let (one, other) = (&found["recipients"][0], &found["recipients"][1]);
    assert_eq!(one["Final-Recipient"], "rfc822; tidak@ada.example");
    assert_eq!((&one["Action"], &one["Status"]), (&"failed".into(), &"5.1.1".into()));
    assert_eq!(one["Remote-MTA"], "dns; mx.ada.example");
    assert_eq!(one["Diagnostic-Code"], "smtp; 550 no such user  Evil: field    --b");
    assert_eq!(other["Final-Recipient"], "utf-8; \\x{7528}\\x{6237}@ada.example");
    assert_eq!((&other["Status"], &other["Diagnostic-Code"]), (&"5.0.0".into(), &"x-segel; expired".into()));
    assert!(found["message"]["Original-Envelope-Id"].is_null() && one["Original-Recipient"].is_null());
}

#[test]
fn s49_what_the_sender_named_comes_back_decoded() {
    let recipients = [Told {
        original: Some("rfc822;dewi+2Bx@lain.example".to_owned()),
        ..told("rina@mitra.example", "5.1.1", "smtp; 550 no")
    }];
    let mut asked = request(Kind::Failed, b"Subject: x\r\n\r\n", Returned::Header, &recipients);
    asked.envelope_id = Some("QQ+3D314+0D+0AEvil:+20x");
    let found = read(&notice(&asked).into_bytes());
    assert_eq!(found["message"]["Original-Envelope-Id"], "QQ=314  Evil: x");
    assert_eq!(found["recipients"][0]["Original-Recipient"], "rfc822; dewi+x@lain.example");
    for (text, expected) in [("a+2Bb", "a+b"), ("+", "+"), ("+2", "+2"), ("+zz+41", "+zzA"), ("", ""), ("+C3+A9", "é")]
    {
        assert_eq!(from_xtext(text), expected);
    }
}

#[test]
fn c14_s48_delays_and_relays_are_reports_too() {
    let until = "2026-11-27T03:00:00Z".parse().unwrap();
    let (delayed, relayed) = (Kind::Delayed { until }, Kind::Relayed);
    for (kind, status, diagnostic, action, retry) in [
        (delayed, "4.4.7", "smtp; 451 not now", "delayed", Some("Fri, 27 Nov 2026 03:00:00 +0000")),
        (relayed, "2.0.0", "smtp; 250 2.0.0 ok", "relayed", None),
    ] {
        let recipients = [told("rina@mitra.example", status, diagnostic)];
        let bytes = notice(&request(kind, b"Subject: x\r\n\r\n", Returned::Header, &recipients)).into_bytes();
        let found = read(&bytes);
        let one = &found["recipients"][0];
        assert_eq!((&one["Action"], &one["Status"]), (&action.into(), &status.into()));
        assert_eq!(one["Diagnostic-Code"], diagnostic);
        assert_eq!(one["Last-Attempt-Date"], "Sun, 22 Nov 2026 04:00:00 +0000");
        assert_eq!(one["Will-Retry-Until"].as_str(), retry);
        assert!(!found["subject"].as_str().unwrap().contains("Undelivered"), "{found}");
    }
}

#[test]
fn s49_the_whole_mail_comes_back_where_it_was_asked_for_and_is_small() {
    let recipients = [told("rina@mitra.example", "5.1.1", "smtp; 550 no")];
    let head = "Subject: x\r\nBcc: hidden@example.org,\r\n other@example.org\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    for (body, whole) in [
        ("the body".to_owned(), true),
        ("isi surat: é".to_owned(), true),
        ("Bcc: stays, it is no field".to_owned(), true),
        ("x".repeat(1200), false),
        ("a\nb".to_owned(), false),
        ("filling filling\r\n".repeat(FULL / 16), false),
    ] {
        let original = format!("{head}{body}\r\n");
        let bytes = notice(&request(Kind::Failed, original.as_bytes(), Returned::Full, &recipients)).into_bytes();
        let found = read(&bytes);
        let kind = if whole { "message/rfc822" } else { "text/rfc822-headers" };
        assert_eq!(found["parts"][2], kind);
        assert!(found["defects"].as_array().unwrap().iter().all(|count| *count == 0), "{found}");
        assert!(bytes.len() < FULL + 8192 && !bytes.windows(6).any(|window| window == b"hidden"));
        if whole {
            assert_eq!(found["inner"], body);
            assert_eq!(found["cte"].as_str(), (!body.is_ascii()).then_some("8bit"));
            assert_eq!(found["inner_fields"].as_array().unwrap().len(), 4);
        }
    }
    assert_eq!(whole(b"Subject: no body\r\n").unwrap(), b"Subject: no body\r\n");
}

#[test]
fn s32_too_large_says_so_to_people() {
    let recipients = [told("rina@mitra.example", "5.3.4", "size 3000000 is over the limit 1000000 of mx.example")];
    let bytes = notice(&request(Kind::Failed, b"Subject: x\r\n\r\n", Returned::Header, &recipients)).into_bytes();
    let text = read(&bytes)["text"].as_str().unwrap().to_owned();
    assert!(text.contains("3000000") && text.contains("1000000") && text.contains("terlalu besar"), "{text}");
}
