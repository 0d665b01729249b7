#![allow(clippy::string_slice, reason = "a test says so by failing")]
use super::*;
use crate::smime::tests::ca;

const P256: &str = "-signer p256.pem -inkey p256.key -md sha256";

#[test]
fn json_has_every_key() {
    let ca = ca();
    let value = json(&ca.inspect(&ca.signed("siti@example.id", P256)), Some("deliver"));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&value),
        "action covers_whole_message decrypted encrypted from layers reasons schema signed verdict warnings"
    );
    assert_eq!(
        (&value["schema"], &value["from"], &value["action"]),
        (&json!(1), &json!("siti@example.id"), &json!("deliver"))
    );
    let layer = &value["layers"][0];
    assert_eq!(keys(layer), "content_encryption decrypted integrity kind reasons recipients signers");
    let signer = &layer["signers"][0];
    assert_eq!(
        keys(signer),
        "address chain digest issuer reasons revocation serial signature signing_time subject verdict"
    );
    assert_eq!(keys(&signer["revocation"]), "reason source status time");
    assert_eq!(signer["revocation"]["status"], "not-checked");
    assert_eq!(signer["digest"], "sha256");
    assert_eq!(signer["signature"], "ecdsa");
    assert_eq!(signer["issuer"], "CN=Test Issuing");
    assert_eq!(signer["serial"], ca.certificate("p256").serial_hex());
    let time = signer["signing_time"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    assert_eq!(signer["chain"].as_array().unwrap().len(), 3);
    let plain = json(&ca.inspect(b"From: a@example.id\r\n\r\nhi\r\n"), None);
    assert_eq!((&plain["verdict"], &plain["action"], &plain["layers"]), (&json!("none"), &Value::Null, &json!([])));
}

#[test]
fn i40_results_follow_the_grammar() {
    let ca = ca();
    let results = authentication_results(&ca.inspect(&ca.signed("siti@example.id", P256)));
    let serial = ca.certificate("p256").serial_hex();
    assert_eq!(
        results,
        [format!(
            "smime=pass body.smime-identifier=\"siti@example.id\" body.smime-part=2 body.smime-serial={serial} body.smime-issuer=\"CN=Test Issuing\""
        )]
    );
    let check = |from: &str, options: &str, start: &str| {
        let results = authentication_results(&ca.inspect(&ca.signed(from, options)));
        assert!(results[0].starts_with(start), "{results:?}");
        for result in results {
            grammar(&result);
        }
    };
    check("budi@example.id", P256, "smime=fail reason=\"address-mismatch\" ");
    check("siti@example.id", &format!("{P256} -noattr"), "smime=policy reason=\"policy-constraint\" ");
    check("siti@example.id", &format!("{P256} -nocerts"), "smime=neutral reason=\"untrusted\" ");
    assert_eq!(authentication_results(&ca.inspect(b"From: a@example.id\r\n\r\nhi\r\n")), ["smime=none"]);
}

/// `method=result [reason="…"] *(ptype.property=value)` where a value is a token or a quoted-string, RFC 8601 section 2.2;
/// serial and issuer both or none, RFC 7281 section 3.
fn grammar(result: &str) {
    let mut rest = result;
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').unwrap();
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')),
            "{name}"
        );
        names.push(name.to_owned());
        let end = if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.bytes().position(|b| {
                assert!((0x20..0x7f).contains(&b), "{b:x}");
                let ends = b == b'"' && !escaped;
                escaped = b == b'\\' && !escaped;
                ends
            });
            end.unwrap() + 2
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            assert!(end > 0 && after[..end].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')));
            end
        };
        rest = after[end..].strip_prefix(' ').unwrap_or(&after[end..]);
    }
    let has = |name: &str| names.iter().filter(|known| *known == name).count();
    assert_eq!(has("smime"), 1);
    assert_eq!(has("body.smime-serial"), has("body.smime-issuer"));
}

#[test]
fn i40_python_authres_reads_them() {
    let ca = ca();
    let script = "import sys, authres\nfor line in sys.argv[1:]:\n  h = authres.FeatureContext(authres.smime).parse('Authentication-Results: gw.example; ' + line)\n  r = h.results[0]\n  print(r.method, r.result, r.body_smime_identifier, r.body_smime_serial, r.body_smime_issuer)";
    let results = authentication_results(&ca.inspect(&ca.signed("siti@example.id", P256)));
    let output = std::process::Command::new("python3").args(["-c", script]).args(&results).output();
    let Ok(output) = output.map(|output| (output.status.success(), output)) else {
        println!("skipped: no python3");
        return;
    };
    if !output.0 && String::from_utf8_lossy(&output.1.stderr).contains("No module named 'authres'") {
        println!("skipped: no authres");
        return;
    }
    let text = String::from_utf8(output.1.stdout).unwrap();
    let serial = ca.certificate("p256").serial_hex();
    assert_eq!(text.trim(), format!("smime pass siti@example.id {serial} CN=Test Issuing"), "{:?}", output.1.stderr);
}

#[test]
fn i43_states_facts_and_i58_escapes_them() {
    let ca = ca();
    let verdict = segel_verdict(&ca.inspect(&ca.signed("siti@example.id", P256)));
    assert_eq!(verdict, "valid; signer=\"siti@example.id\"");
    let verdict = segel_verdict(&ca.inspect(&ca.signed("budi@example.id", P256)));
    assert_eq!(verdict, "invalid; reasons=address-mismatch; signer=\"siti@example.id\"");
    assert_eq!(segel_verdict(&ca.inspect(b"From: a@example.id\r\n\r\nhi\r\n")), "none");
}

#[test]
fn i58_text_from_certificates_is_escaped() {
    for (text, expected) in [
        ("a@b", r#""a@b""#),
        ("a\"; x=\"@b", r#""a\"; x=\"@b""#),
        ("a\\@b", r#""a\\@b""#),
        ("a\r\nBcc: x@b", r#""a%0D%0ABcc: x@b""#),
        ("a\0@b", r#""a%00@b""#),
        ("ä@b", r#""%C3%A4@b""#),
    ] {
        assert_eq!(quoted(text), expected);
    }
}
