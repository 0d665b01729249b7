//! The scenarios' own tools work: a test that can't fail is a defect.

use crate::support::client::send;
use crate::support::pki::{JOKO, RINA, SITI};
use crate::support::{Pki, Sink, below_trace, crlf, fields, letter};

#[test]
fn openssl_signs_verifies_and_refuses() {
    need!("openssl");
    let pki = Pki::shared();
    for more in [&[][..], &["-nodetach"][..]] {
        let signed = pki.sign_with(&letter(RINA, SITI, "harness", "100"), RINA, more);
        assert_eq!(pki.verify(&signed, &[]), Ok(RINA.to_owned()));
        assert_eq!(fields(&signed, "from"), [RINA]);
        assert_eq!(fields(&signed, "content-type").len(), 1);
        assert_eq!(crlf(&signed), signed);
    }
    let signed = String::from_utf8(pki.sign(&letter(RINA, SITI, "harness", "100"), RINA)).unwrap();
    assert!(pki.verify(signed.replace("\r\n100\r\n", "\r\n900\r\n").as_bytes(), &[]).is_err());
    let revoked = pki.sign(&letter(JOKO, SITI, "harness", "100"), JOKO);
    assert!(pki.verify(&revoked, &[]).is_ok());
    assert!(
        pki.verify(&revoked, &["-crl_check", "-CAfile", "root-and-crl.pem"])
            .is_err_and(|text| text.contains("revoked"))
    );
}

#[test]
fn the_sink_keeps_octets_and_makes_faults() {
    need!("aiosmtpd");
    let sink = Sink::with(&[("defer", "1"), ("refuse", "no@mitra.example"), ("hide", "8BITMIME")]);
    let content = letter(RINA, SITI, "sink", &format!(".\n..a\n\u{e9}\n{}", "x".repeat(5000)));
    assert!(send(sink.address, RINA, &[SITI], &content).starts_with("451"));
    assert!(send(sink.address, RINA, &[SITI, "no@mitra.example"], &content).starts_with("250"));
    assert!(send(sink.address, RINA, &["no@mitra.example"], &content).starts_with("550"));
    let mails = sink.wait(2);
    assert_eq!((mails[0].kind.as_str(), mails[1].kind.as_str()), ("defer", "kept"));
    assert!(mails[1].content == content);
    assert_eq!(mails[1].to, [SITI]);
    assert!(sink.has("sink") && !sink.has("other"));
}

#[test]
fn trace_fields_are_seen_through() {
    let cases: [(&[u8], &[u8]); 3] = [
        (b"Received: a\r\n\tb\r\nSegel-Verdict: c\r\nFrom: d\r\n\r\ne", b"From: d\r\n\r\ne"),
        (b"From: d\r\nReceived: a\r\n\r\ne", b"From: d\r\nReceived: a\r\n\r\ne"),
        (b"", b""),
    ];
    for (mail, below) in cases {
        assert_eq!(below_trace(mail), below);
    }
}
