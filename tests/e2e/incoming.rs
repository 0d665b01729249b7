//! Mail on its way in: judged, marked, held.

use crate::support::client::send;
use crate::support::pki::{ASING, DEWI, JOKO, RINA, SITI};
use crate::support::{Gateway, Pki, Setup, Sink, below_trace, fields, letter};

fn judging() -> (Sink, Gateway) {
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    (inside, gateway)
}

/// The gateway's mark: exactly one.
fn mark(mail: &[u8]) -> String {
    let marks = fields(mail, "segel-verdict");
    assert_eq!(marks.len(), 1, "{marks:?}");
    marks[0].clone()
}

#[test]
fn i08_i23_i43_verdicts_of_delivered_mail() {
    need!("openssl", "aiosmtpd");
    let (inside, gateway) = judging();
    let pki = Pki::shared();
    let contract = |id: &str, from: &str| letter(from, SITI, id, "Nilai kontrak: 100.000.000.");
    let altered = |mail: Vec<u8>| String::from_utf8(mail).unwrap().replace("100.000.000", "900.000.000").into_bytes();
    let cases = [
        ("in-valid", RINA, pki.sign(&contract("in-valid", RINA), RINA), "valid", ""),
        ("in-opaque", RINA, pki.sign_with(&contract("in-opaque", RINA), RINA, &["-nodetach"]), "valid", ""),
        ("in-sha384", RINA, pki.sign_with(&contract("in-sha384", RINA), RINA, &["-md", "sha384"]), "valid", ""),
        ("in-altered", RINA, altered(pki.sign(&contract("in-altered", RINA), RINA)), "invalid", "altered"),
        ("in-wrong", RINA, pki.sign(&contract("in-wrong", RINA), DEWI), "invalid", "address-mismatch"),
        ("in-untrusted", ASING, pki.sign(&contract("in-untrusted", ASING), ASING), "indeterminate", "untrusted"),
        ("in-plain", RINA, contract("in-plain", RINA), "none", ""),
    ];
    for (id, from, content, verdict, reason) in &cases {
        let reply = send(gateway.outside, from, &[SITI], content);
        assert!(reply.starts_with("250"), "{id}: {reply}");
        let mail = inside.find(id);
        assert!(below_trace(&mail.content) == content, "{id}: signed octets were changed");
        let mark = mark(&mail.content);
        assert!(mark.starts_with(verdict), "{id}: {mark}");
        assert!(mark.contains(reason), "{id}: {mark}");
        if *verdict == "valid" {
            assert!(mark.contains(&format!("signer=\"{RINA}\"")), "{id}: {mark}");
            assert_eq!(pki.verify(&mail.content, &[]), Ok(RINA.to_owned()), "{id}");
        }
        assert!(mark.contains("by=gerbang.kabupaten.go.id"), "{id}: {mark}");
    }
    assert!(gateway.held().is_empty());
}

#[test]
fn i40_results_are_given_in_the_standard_field_too() {
    need!("openssl", "aiosmtpd");
    let (inside, gateway) = judging();
    let pki = Pki::shared();
    send(gateway.outside, RINA, &[SITI], &pki.sign(&letter(RINA, SITI, "ar-pass", "x"), RINA));
    let results = fields(&inside.find("ar-pass").content, "authentication-results");
    assert_eq!(results.len(), 1, "{results:?}");
    assert!(results[0].starts_with("gerbang.kabupaten.go.id") && results[0].contains("smime=pass"), "{results:?}");
    assert!(results[0].contains("body.smime-identifier") && results[0].contains("body.smime-serial"), "{results:?}");
    send(gateway.outside, RINA, &[SITI], &pki.sign(&letter(RINA, SITI, "ar-fail", "x"), DEWI));
    let results = fields(&inside.find("ar-fail").content, "authentication-results");
    assert!(results[0].contains("smime=fail"), "{results:?}");
}

#[test]
fn i28_p32_mail_with_a_revoked_certificate_is_held_with_its_evidence() {
    need!("openssl", "aiosmtpd");
    let (inside, gateway) = judging();
    let pki = Pki::shared();
    let content = pki.sign(&letter(JOKO, SITI, "revoked", "x"), JOKO);
    let reply = send(gateway.outside, JOKO, &[SITI], &content);
    assert!(reply.starts_with("250"), "{reply}");
    send(gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "after", "x"));
    inside.find("after");
    assert!(!inside.has("revoked"));
    let held = gateway.held();
    assert_eq!(held.len(), 1, "{held:?}");
    let text = held[0].to_string();
    assert!(text.contains("revoked") && text.contains(JOKO) && text.contains(SITI), "{text}");
    // OpenSSL gives the same answer with the same list.
    let refused = pki.verify(&content, &["-crl_check", "-CAfile", "root-and-crl.pem"]);
    assert!(refused.is_err_and(|text| text.contains("revoked")));
}

#[test]
fn i41_i42_forged_results_and_marks_are_removed() {
    need!("openssl", "aiosmtpd");
    let (inside, gateway) = judging();
    let forged = "Authentication-Results: gerbang.kabupaten.go.id; smime=pass\r\n\
                  AUTHENTICATION-RESULTS:\r\n GERBANG.kabupaten.go.id 1; smime=pass\r\n\
                  Authentication-Results: (comment) gerbang.kabupaten.go.id; smime=pass\r\n\
                  Authentication-Results: mx.mitra.example; dkim=pass\r\n\
                  Segel-Verdict: valid; signer=\"bupati@kabupaten.go.id\"\r\n\
                  SEGEL-VERDICT : valid\r\n\
                  segel-verdict:\r\n valid\r\n";
    let content = [forged.as_bytes(), &letter(RINA, SITI, "forged", "x")].concat();
    let reply = send(gateway.outside, RINA, &[SITI], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let mail = inside.find("forged").content;
    assert!(mark(&mail).starts_with("none"), "{}", mark(&mail));
    let results = fields(&mail, "authentication-results");
    assert!(!results.iter().any(|value| value.contains("smime=pass")), "{results:?}");
    assert!(results.iter().any(|value| value.contains("mx.mitra.example")), "{results:?}");
}

#[test]
fn s61_s62_an_own_address_from_outside_is_held_and_never_signed() {
    need!("openssl", "swaks", "aiosmtpd");
    let (inside, gateway) = judging();
    let reply = send(gateway.outside, "x@elsewhere.example", &[SITI], &letter(SITI, SITI, "own", "x"));
    assert!(reply.starts_with("250") || reply.starts_with("550"), "{reply}");
    let reply = send(gateway.outside, SITI, &[SITI], &letter(RINA, SITI, "own-path", "x"));
    assert!(reply.starts_with("250") || reply.starts_with("550"), "{reply}");
    send(gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "after", "x"));
    inside.find("after");
    assert!(!inside.has("<own@") && !inside.has("<own-path@"));
    let held = gateway.held();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(held.iter().all(|row| row.to_string().contains("sender-not-authorised")), "{held:?}");
}

#[test]
fn c41_bad_mail_from_outside_makes_no_notice() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let pki = Pki::shared();
    for (id, content) in [
        ("bad-revoked", pki.sign(&letter(JOKO, SITI, "bad-revoked", "x"), JOKO)),
        ("bad-address", pki.sign(&letter(RINA, SITI, "bad-address", "x"), DEWI)),
    ] {
        assert!(send(gateway.outside, RINA, &[SITI], &content).starts_with("250"), "{id}");
    }
    inside.find("bad-address");
    send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x"));
    outside.find("after");
    assert_eq!(outside.mails().len(), 1);
}
