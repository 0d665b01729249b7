//! Mail that one reader takes for signed and another for something else; mail that costs more than it is worth.

use super::*;
use crate::smime::tests::finish_with;

const SIGNATURE: &str = "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n";

/// A `multipart/signed` around ENTITY whose signature part has these fields.
fn detached(head: &str, protocol: &str, fields: &str, signature: &[u8]) -> Vec<u8> {
    let fields_of_mail = format!("{head}Content-Type: multipart/signed; {protocol}micalg=sha-256; boundary=b\r\n");
    let part = format!("\r\n--b\r\n{fields}Content-Transfer-Encoding: base64\r\n\r\n");
    let body = [b"--b\r\n", ENTITY, part.as_bytes(), signature, b"\r\n--b--\r\n"].concat();
    mail(SITI, &fields_of_mail, &body)
}

const SMIME: &str = "protocol=\"application/pkcs7-signature\"; ";

#[test]
fn i54_signature_part_of_a_type_that_readers_show() {
    let signature = base64(&cms(ca(), "i54c", P256));
    let check = |fields: &str, reasons: &[Reason]| {
        let inspected = ca().inspect(&detached("", SMIME, fields, &signature));
        assert_eq!(inspected.reasons, reasons, "{fields}");
    };
    check(SIGNATURE, &[]);
    check("Content-Type: application/x-pkcs7-signature; name=smime.p7s\r\n", &[]);
    check("Content-Type: application/pkcs7-signature\r\n", &[]);
    check("Content-Type: application/octet-stream; name=smime.p7s\r\n", &[]);
    check(&format!("{SIGNATURE}Content-Disposition: inline; filename=smime.p7s\r\n"), &[]);
    for kind in
        ["text/html", "text/plain", "image/png", "application/xhtml+xml; name=smime.p7s", "application/octet-stream"]
    {
        check(&format!("Content-Type: {kind}\r\n"), &[Ambiguous]);
    }
    check("", &[Ambiguous]);
    check("Content-Type: application/octet-stream; name=page.html\r\n", &[Ambiguous]);
    check(&format!("{SIGNATURE}Content-Disposition: inline; filename=page.html\r\n"), &[Ambiguous]);
}

/// The reasons with a CRL that revokes the signer.
fn reasons_of_revoked(message: &[u8]) -> Vec<Reason> {
    let ca = ca();
    let crls = [ca.crl("issuing", &[("p256", "keyCompromise")]), ca.crl("root", &[])];
    let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca.options() };
    finish_with(message, hard, |_| Vec::new(), &crls).reasons
}

#[test]
fn i65_a_revoked_signer_is_not_hidden_by_an_ambiguity() {
    let signature = base64(&cms(ca(), "i65b", P256));
    let check = |head: &str, protocol: &str, signature: &[u8], reasons: &[Reason]| {
        let message = detached(head, protocol, SIGNATURE, signature);
        assert_eq!(reasons_of_revoked(&message), reasons, "{head} {protocol}");
    };
    check("", SMIME, &signature, &[Revoked]);
    check("", "protocol=\"application/pgp-signature\"; ", &signature, &[Revoked, Ambiguous]);
    check("", "", &signature, &[Revoked]);
    check("", SMIME, &[b"!*\r\n", &signature[..], b"!\r\n"].concat(), &[Revoked, Ambiguous]);
    // Where the first of two fields says that there is no signature, another reader still sees one.
    check("Content-Type: text/html\r\n", SMIME, &signature, &[Ambiguous]);
    let opaque = opaque_mail(&cms(ca(), "i65c", &format!("{P256} -nodetach")));
    assert_eq!(reasons_of_revoked(&[&opaque[..], b"!"].concat()), [Revoked, Ambiguous]);
    let unknown = replace(&opaque, "Encoding: base64", "Encoding: base-64");
    assert_eq!(reasons_of_revoked(&unknown), [Revoked, Ambiguous]);
}

#[test]
fn i65_two_types_matter_only_where_smime_may_be_meant() {
    let twice = "Content-Type: text/plain\r\nContent-Type: text/html\r\n";
    check(&mail(SITI, twice, b"hi\r\n"), Verdict::None, &[]);
    check(&mail(SITI, twice, b"application/pkcs7-mime\r\n"), Verdict::Invalid, &[Ambiguous]);
    check(&mail(SITI, "Content-Type: text/plain\r\n", b"application/pkcs7-mime\r\n"), Verdict::None, &[]);
}

#[test]
fn i01_other_types_under_a_name_of_smime() {
    let der = cms(ca(), "i01b", &format!("{P256} -nodetach"));
    for kind in ["application/pdf", "application/xhtml+xml", "application/x-anything"] {
        let fields = format!("Content-Type: {kind}; name=surat.p7m\r\nContent-Transfer-Encoding: base64\r\n");
        check(&mail(SITI, &fields, &base64(&der)), Verdict::Invalid, &[Ambiguous]);
        check(&mail(SITI, &fields, &base64(b"%PDF-1.7")), Verdict::None, &[]);
    }
    let fields = "Content-Type: text/html; name=surat.p7m\r\nContent-Transfer-Encoding: base64\r\n";
    check(&mail(SITI, fields, &base64(&der)), Verdict::None, &[]);
}

#[test]
fn i54_no_file_of_another_kind_in_the_digest_algorithms() {
    use crate::asn1::{read_tlv, write_tlv};
    let der = cms(ca(), "i54d", &format!("{P256} -nodetach"));
    let with = |set: &[u8]| {
        let info = read_tlv(&der).unwrap().0.content;
        let (kind, rest) = read_tlv(info).unwrap();
        let signed = read_tlv(read_tlv(rest).unwrap().0.content).unwrap().0.content;
        let (version, rest) = read_tlv(signed).unwrap();
        let (_, rest) = read_tlv(rest).unwrap();
        let signed = write_tlv(0x30, &[version.whole, &write_tlv(0x31, set), rest].concat());
        opaque_mail(&write_tlv(0x30, &[kind.whole, &write_tlv(0xa0, &signed)].concat()))
    };
    let sha256 = write_tlv(6, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]);
    let member = |parameters: &[u8]| write_tlv(0x30, &[&sha256, parameters].concat());
    check(&with(&member(b"")), Verdict::Valid, &[]);
    check(&with(&member(&[5, 0])), Verdict::Valid, &[]);
    check(&with(&[member(b""), member(&[5, 0])].concat()), Verdict::Valid, &[]);
    check(&with(&member(&write_tlv(4, b"%PDF-1.7"))), Verdict::Invalid, &[Malformed]);
    check(&with(&member(&[5, 0, 5, 0])), Verdict::Invalid, &[Malformed]);
    check(&with(&write_tlv(4, b"%PDF-1.7")), Verdict::Invalid, &[Malformed]);
    check(&with(&member(b"").repeat(17)), Verdict::Indeterminate, &[TooComplex]);
}

#[test]
fn i56_a_signed_from_that_is_another_one() {
    let ca = ca();
    let check = |entity: &str, reasons: &[Reason]| {
        for form in [P256.to_owned(), format!("{P256} -nodetach")] {
            let inspected = ca.inspect(&ca.signed_content(entity.as_bytes(), SITI, &form));
            assert_eq!(inspected.reasons, reasons, "{form}\n{entity}");
        }
    };
    let message =
        |kind: &str, from: &str| format!("Content-Type: message/{kind}\r\n\r\n{from}Subject: s\r\n\r\nhi\r\n");
    check(&message("rfc822", "From: Siti <SITI@example.id>\r\n"), &[]);
    check(&message("rfc822", ""), &[]);
    check(&message("rfc822; forwarded=no", "From: Bupati <bupati@example.id>\r\n"), &[Ambiguous]);
    check(&message("rfc822", "From: Bupati <bupati@example.id>\r\n"), &[Ambiguous]);
    check(&message("global", "From: siti@example.id\r\nFrom: bupati@example.id\r\n"), &[Ambiguous]);
    let fields = |from: &str| format!("From: {from}\r\nContent-Type: text/plain; hp=clear\r\n\r\nhi\r\n");
    check(&fields("siti@example.id"), &[]);
    check(&fields("bupati@example.id"), &[Ambiguous]);
}

#[test]
fn i56_display_name_with_another_address() {
    let ca = ca();
    check(&ca.signed("\"siti@example.id\" <siti@example.id>", P256), Verdict::Valid, &[]);
    for from in ["\"bupati@example.id\" <siti@example.id>", "siti@example.id (bupati@example.id)"] {
        assert!(ca.inspect(&ca.signed(from, P256)).reasons.contains(&Ambiguous), "{from}");
    }
    check(&mail("\"bupati@example.id\" <siti@example.id>", "", b"hi\r\n"), Verdict::None, &[]);
}

#[test]
fn i66_too_many_certificates_with_one_identifier() {
    let ca = ca();
    let copies: Vec<String> = (0..5).map(|index| format!("copy{index}")).collect();
    for copy in &copies {
        ca.self_certify("p256", copy);
    }
    let bundle =
        |count: usize| copies[..count].iter().flat_map(|copy| ca.read(&format!("{copy}.pem"))).collect::<Vec<_>>();
    let sign = |count: usize| {
        ca.write("copies.pem", &[bundle(count), ca.read("issuing.pem")].concat());
        ca.signed(SITI, &format!("{P256} -keyid -certfile copies.pem"))
    };
    check(&sign(3), Verdict::Valid, &[]);
    assert!(ca.inspect(&sign(5)).reasons.contains(&Ambiguous));
}

#[test]
fn i06_signers_of_a_message_share_one_budget() {
    let ca = ca();
    let message = ca.signed(SITI, &format!("{P256} -signer budi.pem -inkey budi.key"));
    let inspect_within = |path_signatures: usize| {
        let limits = Arc::new(Limits { path_signatures, ..Limits::default() });
        finish(&message, Options { limits, ..ca.options() }, |_| Vec::new())
    };
    // Two over the content; two leaves and their issuer, of which the issuer is verified once.
    assert_eq!(inspect_within(3).reasons, []);
    assert!(inspect_within(2).reasons.contains(&TooComplex));
    assert!(inspect_within(1).reasons.contains(&TooComplex));
}

#[test]
fn i65_more_senders_than_anybody_has_cost_nothing() {
    let senders: Vec<String> = (0..10_000).map(|number| format!("s{number}@example.id")).collect();
    let folded: Vec<String> = senders.chunks(30).map(|line| line.join(", ")).collect();
    let sender = format!("Sender: {}\r\n", folded.join(",\r\n "));
    let message = [sender.as_bytes(), &ca().signed(SITI, P256)].concat();
    // Each of them is compared with every name of every signer's certificate.
    let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca().options() };
    let Step::Need(_, paused) = inspect(Bytes::from(message.clone()), hard) else { panic!("nothing is asked") };
    let kept: Vec<&str> = paused.0.senders.iter().map(Address::as_str).collect();
    assert_eq!(kept, senders[..SENDERS]);
    assert_eq!(ca().inspect(&message).reasons, []);
}
