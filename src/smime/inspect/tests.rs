#![allow(clippy::string_slice, reason = "a test says so by failing")]
use super::*;
use crate::smime::report;
use crate::smime::tests::{Ca, ENTITY, ca, crlf, finish};
use Reason::*;

mod attacks;
mod claims;
mod harvested;
mod nested;
mod opened;
mod status;
mod unproven;

const SITI: &str = "Siti <siti@example.id>";

fn check(message: &[u8], verdict: Verdict, reasons: &[Reason]) -> Inspected {
    let inspected = ca().inspect(message);
    let text = String::from_utf8_lossy(message);
    let head: String = text.chars().take(400).collect();
    assert_eq!(
        (inspected.verdict, inspected.reasons.as_slice()),
        (verdict, reasons),
        "{head}\n{:#?}",
        inspected.layers
    );
    inspected
}

fn replace(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(message).unwrap();
    assert!(text.contains(from), "`{from}` not in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// A mail with `body` as its one leaf.
fn mail(from: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("From: {from}\r\nTo: x@example.org\r\nMIME-Version: 1.0\r\n{fields}\r\n").as_bytes(), body].concat()
}

fn base64(der: &[u8]) -> Vec<u8> {
    let text = data_encoding::BASE64.encode(der);
    text.as_bytes().chunks(76).flat_map(|line| [line, b"\r\n"].concat()).collect()
}

/// DER (or BER) of `openssl cms -sign` over ENTITY.
fn cms(ca: &Ca, name: &str, options: &str) -> Vec<u8> {
    ca.write(&format!("{name}.in"), ENTITY);
    ca.openssl(&format!("cms -sign -binary -in {name}.in -outform DER -certfile issuing.pem {options}"))
}

fn opaque_mail(der: &[u8]) -> Vec<u8> {
    mail(
        SITI,
        "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n",
        &base64(der),
    )
}

const RSA: &str = "-signer rsa.pem -inkey rsa.key -md sha256";
const P256: &str = "-signer p256.pem -inkey p256.key -md sha256";

#[test]
fn i08_detached_signature_over_the_raw_part() {
    let ca = ca();
    for signer in [RSA, P256, "-signer p384.pem -inkey p384.key -md sha384"] {
        let inspected = check(&ca.signed(SITI, signer), Verdict::Valid, &[]);
        assert!(inspected.covers_whole_message && inspected.signed && !inspected.encrypted);
        assert_eq!(inspected.layers[0].kind, LayerKind::SignedDetached);
        assert_eq!(inspected.structure, Structure::SmimeSigned);
        assert_eq!(inspected.layers[0].signers[0].address.as_ref().unwrap().as_str(), "siti@example.id");
    }
    let good = ca.signed(SITI, P256);
    let altered = check(&replace(&good, "ini surat", "ini Surat"), Verdict::Invalid, &[Altered]);
    assert_eq!(altered.warnings, ["revocation-not-checked"]);
    let in_transit = check(&replace(&good, "ini surat.", "ini surat.  "), Verdict::Invalid, &[Altered]);
    assert!(in_transit.warnings.contains(&"altered-in-transit".to_owned()), "{:?}", in_transit.warnings);
}

#[test]
fn i08_one_octet_of_the_signature_value() {
    let ca = ca();
    let der = cms(ca, "i08b", &format!("{RSA} -nodetach -nosmimecap"));
    let mut broken = der.clone();
    *broken.last_mut().unwrap() ^= 1;
    check(&opaque_mail(&der), Verdict::Valid, &[]);
    check(&opaque_mail(&broken), Verdict::Invalid, &[BadSignature]);
}

#[test]
fn i01_recognised_by_content() {
    let der = cms(ca(), "i01", &format!("{P256} -nodetach"));
    for kind in [
        "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m",
        "application/x-pkcs7-mime",
        "application/pkcs7-mime; smime-type=enveloped-data",
        "application/pkcs7-mime; smime-type=unknown",
        "application/octet-stream; name=smime.p7m",
        "application/octet-stream; name=\"SMIME.P7S\"",
        "application/pkcs7-signature; name=smime.p7s",
        "Application/PKCS7-MIME",
    ] {
        let fields = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n");
        let inspected = check(&mail(SITI, &fields, &base64(&der)), Verdict::Valid, &[]);
        assert_eq!(inspected.layers[0].kind, LayerKind::SignedOpaque, "{kind}");
    }
    let fields = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n";
    check(&mail(SITI, fields, &base64(&der)), Verdict::Valid, &[]);
    check(&mail(SITI, fields, &base64(b"0 is no CMS")), Verdict::None, &[]);
    let detached = ca().signed(SITI, P256);
    let x = replace(&detached, "protocol=\"application/", "protocol=\"application/x-");
    check(&replace(&x, "Content-Type: application/", "Content-Type: application/x-"), Verdict::Valid, &[]);
}

#[test]
fn i02_ber_is_read_like_der() {
    let ca = ca();
    ca.write("i02.in", ENTITY);
    let ber = ca.openssl(&format!(
        "cms -sign -binary -stream -indef -nodetach -in i02.in -outform DER -certfile issuing.pem {P256}"
    ));
    assert!(ber.windows(2).any(|pair| pair == [0x30, 0x80]), "not indefinite");
    check(&opaque_mail(&ber), Verdict::Valid, &[]);
}

#[test]
fn i04_certificates_alone_are_never_a_signature() {
    let ca = ca();
    let der = ca.openssl("crl2pkcs7 -nocrl -certfile p256.pem -outform DER");
    let fields = "Content-Type: application/pkcs7-mime; smime-type=certs-only; name=smime.p7c\r\nContent-Transfer-Encoding: base64\r\n";
    let inspected = check(&mail(SITI, fields, &base64(&der)), Verdict::None, &[]);
    assert!(!inspected.signed && !inspected.covers_whole_message);
    assert_eq!(inspected.layers[0].kind, LayerKind::CertsOnly);
    // The same object as a detached signature: signed by nobody.
    let text = String::from_utf8(ca.signed(SITI, P256)).unwrap();
    let start = text.rfind("\r\n\r\nM").unwrap() + 4;
    let end = start + text[start..].find("\r\n\r\n").unwrap();
    let message = [&text.as_bytes()[..start], &base64(&der), &text.as_bytes()[end..]].concat();
    check(&message, Verdict::Invalid, &[Malformed]);
}

#[test]
fn i07_key_identifier_and_signing_certificate() {
    let ca = ca();
    check(&ca.signed(SITI, &format!("{P256} -keyid")), Verdict::Valid, &[]);
    check(&ca.signed(SITI, &format!("{P256} -cades")), Verdict::Valid, &[]);
    // A second certificate with the same key identifier: both match, and each is tried.
    let message = ca.signed(SITI, &format!("{P256} -keyid -certfile bundle.pem"));
    check(&message, Verdict::Valid, &[]);
    check(&replace(&message, "siti@example.id", "budi@example.id"), Verdict::Valid, &[]);
    // Unless an attribute says which of them is meant.
    let message = ca.signed(SITI, &format!("{P256} -keyid -cades -certfile bundle.pem"));
    check(&message, Verdict::Valid, &[]);
    check(&replace(&message, "siti@example.id", "budi@example.id"), Verdict::Invalid, &[AddressMismatch]);
    let inspected = check(&ca.signed(SITI, &format!("{P256} -nocerts")), Verdict::Indeterminate, &[Untrusted]);
    assert!(inspected.layers[0].signers[0].serial.is_some());
}

#[test]
fn i09_micalg_is_not_used_but_noted() {
    let message = replace(&ca().signed(SITI, P256), "micalg=\"sha-256\"", "micalg=\"md5\"");
    assert!(check(&message, Verdict::Valid, &[]).warnings.contains(&"micalg-mismatch".to_owned()));
}

#[test]
fn i20_without_signed_attributes_never_valid() {
    check(&ca().signed(SITI, &format!("{RSA} -noattr")), Verdict::Invalid, &[PolicyConstraint]);
}

#[test]
fn i21_attributes_passed_off_as_content() {
    use crate::cms::{ContentInfo, SignedData, attributes, signed_data::Assembly};
    let ca = ca();
    let der = cms(ca, "i21", &format!("{RSA} -nodetach"));
    let limits = Limits::default();
    let info = ContentInfo::from_ber(der, &limits).unwrap();
    let signed = SignedData::from_der(&info.content, &limits).unwrap();
    let signer = &signed.signers[0];
    let forged = signer.signed_attributes.as_ref().unwrap().as_received();
    assert!(attributes::looks_like_attributes(forged));
    let certificate = ca.certificate("rsa");
    let algorithm = |oid| attributes::algorithm_identifier(&oid, attributes::Parameters::Absent).unwrap();
    let marked = Assembly {
        digest_algorithm: &algorithm(signer.digest_algorithm.oid),
        signature_algorithm: &algorithm(signer.signature_algorithm.oid),
        content: Some(forged),
        certificates: vec![certificate.der().to_vec()],
        issuer: certificate.issuer().der(),
        serial: certificate.serial(),
        // Found and taken out below.
        signed_attributes: &[0x31, 0],
        signature: &signer.signature,
    }
    .to_der()
    .unwrap();
    // With an empty set of attributes, and without the set.
    assert_ne!(ca.inspect(&opaque_mail(&marked)).verdict, Verdict::Valid);
    let without = without_empty_attributes(&marked);
    ca.write("i21.der", &without);
    ca.openssl("cms -verify -binary -noverify -inform DER -in i21.der");
    let inspected = ca.inspect(&opaque_mail(&without));
    assert_eq!(inspected.verdict, Verdict::Invalid);
    assert!(inspected.reasons.contains(&PolicyConstraint), "{:?}", inspected.reasons);
}

/// Takes the two octets `A0 00` out and shortens the lengths around them, outermost first.
fn without_empty_attributes(der: &[u8]) -> Vec<u8> {
    fn strip(tlv: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = tlv;
        while !rest.is_empty() {
            let (value, after) = crate::asn1::read_tlv(rest).unwrap();
            if value.whole != [0xa0, 0] {
                let inner =
                    if matches!(value.tag, 0x30 | 0x31 | 0xa0) { strip(value.content) } else { value.content.to_vec() };
                out.push(value.tag);
                match inner.len() {
                    0..=127 => out.push(inner.len() as u8),
                    128..=255 => out.extend([0x81, inner.len() as u8]),
                    _ => out.extend([0x82, (inner.len() >> 8) as u8, inner.len() as u8]),
                }
                out.extend(inner);
            }
            rest = after;
        }
        out
    }
    strip(der)
}

/// RFC 5652 section 5.4: the signature is over the DER encoding, so over the sorted SET, in whatever order it came.
#[test]
fn i02_signed_attributes_in_another_order_are_sorted_before_the_check() {
    use crate::cms::{ContentInfo, SignedData};
    let ca = ca();
    let der = ca.cms(ENTITY, &format!("-sign -nodetach -certfile issuing.pem {P256}"));
    let info = ContentInfo::from_ber(der.clone(), &Limits::default()).unwrap();
    let signed = SignedData::from_der(&info.content, &Limits::default()).unwrap();
    let set = signed.signers[0].signed_attributes.as_ref().unwrap().as_received().to_vec();
    let mut fields = crate::asn1::Fields::within(&set, crate::asn1::tag::SET).unwrap();
    let sorted = fields.rest().to_vec();
    let mut members = Vec::new();
    while let Some(member) = fields.next_any().unwrap() {
        members.push(member.whole.to_vec());
    }
    assert!(members.len() > 2);
    members.reverse();
    let at = der.windows(sorted.len()).position(|window| window == sorted).unwrap();
    let mut turned = der;
    turned[at..at + sorted.len()].copy_from_slice(&members.concat());
    check(&opaque_mail(&turned), Verdict::Valid, &[]);
    // Another value is another matter.
    turned[at + sorted.len() - 1] ^= 1;
    assert_ne!(ca.inspect(&opaque_mail(&turned)).verdict, Verdict::Valid);
}

#[test]
fn i22_algorithms_agree_with_each_other_and_with_their_protection() {
    use crate::crypto::SignatureAlgorithm;
    use crate::smime::sign::{Signer, prepare};
    let ca = ca();
    let signer = Signer {
        certificate: ca.certificate("rsa"),
        chain: vec![ca.certificate("issuing")],
        algorithm: SignatureAlgorithm::RsaPkcs1(Digest::Sha256),
        digest: Digest::Sha256,
        encryption: None,
    };
    let prepared = prepare(ENTITY, &signer, ca.options().at, true).unwrap();
    let signature = ca.sign("rsa", prepared.to_be_signed());
    let der = prepared.assemble(&signature).unwrap();
    check(&opaque_mail(&der), Verdict::Valid, &[]);
    // signatureAlgorithm of the SignerInfo is the last rsaEncryption; another identifier of the same length.
    let last = der.windows(9).rposition(|window| window == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]).unwrap();
    let with = |arc: u8| {
        let mut der = der.clone();
        der[last + 8] = arc;
        opaque_mail(&der)
    };
    // sha256WithRSAEncryption verifies, but is not what the signer protected.
    check(&with(11), Verdict::Invalid, &[BadSignature]);
    // sha384WithRSAEncryption beside the digest SHA-256.
    check(&with(12), Verdict::Invalid, &[BadSignature, Malformed]);
}

#[test]
fn i23_address_in_the_certificate_and_from() {
    let ca = ca();
    check(&ca.signed("SITI@Example.ID", P256), Verdict::Valid, &[]);
    check(&ca.signed("wati@example.id", P256), Verdict::Invalid, &[AddressMismatch]);
    check(&ca.signed(SITI, "-signer nobody.pem -inkey nobody.key"), Verdict::Invalid, &[NoAddress]);
    check(&ca.signed(SITI, "-signer odd.pem -inkey odd.key"), Verdict::Invalid, &[AddressMismatch]);
}

#[test]
fn i24_named_in_sender_only() {
    let message = ca().signed("budi@example.id\r\nSender: siti@example.id", P256);
    check(&message, Verdict::Invalid, &[SignedBySender]);
}

#[test]
fn i26_time_of_check_is_given_and_signing_time_only_reported() {
    let ca = ca();
    let message = ca.signed(SITI, P256);
    let at = |seconds: i64| {
        let options = ca.options();
        let at = Timestamp::from_second(options.at.as_second() + seconds).unwrap();
        finish(&message, Options { at, ..options }, |_| Vec::new())
    };
    assert_eq!(at(0).verdict, Verdict::Valid);
    assert!(at(31 * 86_400).reasons.contains(&Expired));
    let before = at(-2 * 86_400);
    assert!(before.reasons.contains(&NotYetValid));
    assert!(before.warnings.iter().any(|warning| warning == "signing-time-future"), "{:?}", before.warnings);
    assert!(before.layers[0].signers[0].signing_time.is_some());
}

#[test]
fn i30_sha1_counts_only_where_allowed() {
    let ca = ca();
    let message = ca.signed(SITI, "-signer rsa.pem -inkey rsa.key -md sha1");
    check(&message, Verdict::Invalid, &[WeakAlgorithm]);
    let allowed = Options { allow_weak: vec![Digest::Sha1], ..ca.options() };
    let inspected = finish(&message, allowed, |_| Vec::new());
    assert_eq!((inspected.verdict, inspected.reasons), (Verdict::Valid, vec![]));
    check(&ca.signed(SITI, "-signer rsa.pem -inkey rsa.key -md md5"), Verdict::Invalid, &[WeakAlgorithm]);
}

#[test]
fn i34_every_signature_must_hold_and_one_be_bound() {
    let ca = ca();
    let both = ca.signed(SITI, &format!("{P256} -signer budi.pem -inkey budi.key"));
    let inspected = check(&both, Verdict::Valid, &[]);
    assert_eq!(inspected.layers[0].signers.len(), 2);
    assert_eq!(report::authentication_results(&inspected).len(), 2);
    assert!(report::segel_verdict(&inspected).contains("signer=\"siti@example.id\""));
    let neither = replace(&both, "siti@example.id", "wati@example.id");
    check(&neither, Verdict::Invalid, &[AddressMismatch]);
    // The second signature is broken; the first holds and is bound.
    let der = cms(ca, "i34", &format!("{P256} -signer budi.pem -inkey budi.key -nodetach"));
    check(&opaque_mail(&der), Verdict::Valid, &[]);
    let mut broken = der;
    *broken.last_mut().unwrap() ^= 1;
    check(&opaque_mail(&broken), Verdict::Invalid, &[BadSignature]);
}

#[test]
fn i35_a_signed_part_is_not_a_signed_message() {
    let ca = ca();
    let signed = ca.signed(SITI, P256);
    let entity = String::from_utf8(signed).unwrap();
    let entity = &entity[entity.find("MIME-Version").unwrap()..];
    let mixed = |parts: &[&str]| {
        let body: String = parts.iter().map(|part| format!("--out\r\n{part}\r\n")).collect();
        mail(SITI, "Content-Type: multipart/mixed; boundary=out\r\n", format!("{body}--out--\r\n").as_bytes())
    };
    let footer = "Content-Type: text/plain\r\n\r\nMailing list footer";
    for message in [mixed(&[entity, footer]), mixed(&[footer, entity]), mixed(&[entity])] {
        let inspected = check(&message, Verdict::Invalid, &[Partial]);
        assert!(!inspected.covers_whole_message && inspected.signed);
        assert!(report::authentication_results(&inspected)[0].starts_with("smime=policy reason=\"partial\""));
    }
    // A forwarded signed message is content; it says nothing about the mail around it.
    let forwarded = format!("Content-Type: message/rfc822\r\n\r\nFrom: {SITI}\r\n{entity}");
    check(&mixed(&[footer, &forwarded]), Verdict::None, &[]);
    let mut epilogue = ca.signed(SITI, P256);
    epilogue.extend_from_slice(b"\r\nAnd one more thing.\r\n");
    check(&epilogue, Verdict::Invalid, &[Partial]);
}

#[test]
fn i54_econtent_confusion() {
    let ca = ca();
    let der = cms(ca, "i54", &format!("{P256} -nodetach"));
    let detached = cms(ca, "i54b", P256);
    let multipart = |content: &[u8], signature: &[u8], more: &str| {
        let head =
            "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b\r\n";
        let body = [
            b"--b\r\n",
            content,
            b"\r\n--b\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            &base64(signature),
            more.as_bytes(),
            b"\r\n--b--\r\n",
        ];
        mail(SITI, head, &body.concat())
    };
    check(&multipart(ENTITY, &detached, ""), Verdict::Valid, &[]);
    check(&multipart(ENTITY, &der, ""), Verdict::Invalid, &[Ambiguous]);
    assert_ne!(ca.inspect(&multipart(b"Content-Type: text/plain\r\n\r\nother", &der, "")).verdict, Verdict::Valid);
    assert_ne!(ca.inspect(&multipart(b"", &der, "")).verdict, Verdict::Valid);
    let hidden = "\r\n--b\r\nContent-Type: text/html\r\n\r\nhidden";
    assert_ne!(ca.inspect(&multipart(ENTITY, &detached, hidden)).verdict, Verdict::Valid);
    // Two CMS objects, trailing octets.
    check(&opaque_mail(&[der.clone(), der.clone()].concat()), Verdict::Invalid, &[Malformed]);
    check(&opaque_mail(&[der.clone(), b"\r\n".to_vec()].concat()), Verdict::Invalid, &[Malformed]);
    // No content at all, where the content should be inside.
    assert_eq!(check_verdict(&opaque_mail(&detached)), Verdict::Invalid);
}

fn check_verdict(message: &[u8]) -> Verdict {
    ca().inspect(message).verdict
}

#[test]
fn i54_empty_content_is_never_valid() {
    let ca = ca();
    ca.write("empty.in", b"");
    let der =
        ca.openssl(&format!("cms -sign -binary -nodetach -in empty.in -outform DER -certfile issuing.pem {P256}"));
    assert_eq!(check_verdict(&opaque_mail(&der)), Verdict::Invalid);
}

#[test]
fn i56_ambiguous_from_fails_whoever_signed() {
    let ca = ca();
    for from in [
        "siti@example.id, budi@example.id",
        "siti@example.id\r\nFrom: budi@example.id",
        "budi@example.id\r\nFrom: siti@example.id",
        "team: siti@example.id;",
        "siti@example.id\0@evil.example",
        "siti@example.id\r\nFrom : budi@example.id",
    ] {
        check(&ca.signed(from, P256), Verdict::Invalid, &[Ambiguous]);
    }
    let absent = replace(&ca.signed(SITI, P256), "From: Siti <siti@example.id>\r\n", "");
    assert_eq!(check_verdict(&absent), Verdict::Invalid);
    // A plain mail is not judged.
    check(b"From: a@example.id, b@example.id\r\n\r\nhi\r\n", Verdict::None, &[]);
}

#[test]
fn i65_readers_that_differ_never_get_valid() {
    let ca = ca();
    let good = ca.signed(SITI, P256);
    let twice = replace(&good, "MIME-Version: 1.0", "Content-Type: text/html\r\nMIME-Version: 1.0");
    assert_ne!(check_verdict(&twice), Verdict::Valid);
    let der = cms(ca, "i65", &format!("{P256} -nodetach"));
    let junk = String::from_utf8(opaque_mail(&der)).unwrap();
    let junk = junk.trim_end().to_owned() + "\r\n!!junk!!\r\nSGVsbG8=\r\n";
    assert_eq!(check_verdict(junk.as_bytes()), Verdict::Invalid);
}

#[test]
fn i69_receipts_are_no_mail() {
    let ca = ca();
    let message = ca.signed(SITI, &format!("{P256} -receipt_request_all -receipt_request_to siti@example.id"));
    // A request changes nothing, and nothing is made from it.
    check(&message, Verdict::Valid, &[]);
    ca.write("i69.in", ENTITY);
    let receipt = ca.openssl(&format!("cms -sign -binary -nodetach -econtent_type 1.2.840.113549.1.9.16.1.1 -in i69.in -outform DER -certfile issuing.pem {P256}"));
    check(&opaque_mail(&receipt), Verdict::Indeterminate, &[Unsupported]);
}

#[test]
fn nested_layers_are_reported_and_the_outermost_decides() {
    let ca = ca();
    let inner = ca.signed("x@example.id", "-signer budi.pem -inkey budi.key");
    let text = String::from_utf8(inner).unwrap();
    let entity = &text.as_bytes()[text.find("MIME-Version").unwrap()..];
    let outer = ca.signed_content(entity, SITI, P256);
    let inspected = check(&outer, Verdict::Valid, &[]);
    assert_eq!(inspected.layers.len(), 2);
    assert_eq!(inspected.layers[1].reasons, [AddressMismatch]);
    let opaque = ca.signed_content(entity, SITI, &format!("{P256} -nodetach"));
    let inspected = check(&opaque, Verdict::Valid, &[]);
    let kinds: Vec<_> = inspected.layers.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [LayerKind::SignedOpaque, LayerKind::SignedDetached]);
    assert_eq!((inspected.layers[0].part.as_deref(), inspected.layers[1].part.as_deref()), (Some("1"), None));
}

#[test]
fn layers_are_bounded() {
    let ca = ca();
    let mut entity = ENTITY.to_vec();
    for _ in 0..9 {
        let text = String::from_utf8(ca.signed_content(&entity, SITI, P256)).unwrap();
        entity = text.as_bytes()[text.find("MIME-Version").unwrap()..].to_vec();
    }
    let message = [format!("From: {SITI}\r\n").as_bytes(), &entity].concat();
    check(&message, Verdict::Indeterminate, &[TooComplex]);
}

#[test]
fn encrypted_to_somebody_else() {
    let ca = ca();
    ca.write("enc.in", ENTITY);
    for (options, kind, transport, cipher) in [
        ("-aes-256-cbc rsa.pem", LayerKind::Enveloped, "rsa-pkcs1", "aes256-cbc"),
        (
            "-aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep",
            LayerKind::AuthEnveloped,
            "rsa-oaep",
            "aes256-gcm",
        ),
        ("-aes-128-cbc p256.pem", LayerKind::Enveloped, "ecdh", "aes128-cbc"),
    ] {
        let der = ca.openssl(&format!("cms -encrypt -binary -in enc.in -outform DER {options}"));
        let fields = "Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n";
        let inspected = check(&mail(SITI, fields, &base64(&der)), Verdict::None, &[]);
        assert!(inspected.encrypted && !inspected.decrypted && !inspected.signed);
        assert_eq!(inspected.structure, Structure::SmimeEncrypted);
        let layer = &inspected.layers[0];
        assert_eq!((layer.kind, layer.content_encryption.as_deref()), (kind, Some(cipher)));
        assert_eq!(layer.recipients[0].kind, transport);
        let name = if transport == "ecdh" { "p256" } else { "rsa" };
        assert_eq!(layer.recipients[0].serial, ca.certificate(name).serial_hex());
    }
}

#[test]
fn pgp_and_plain_are_none() {
    check(b"From: a@example.id\r\n\r\nhi\r\n", Verdict::None, &[]);
    let pgp = mail(
        SITI,
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n",
        b"--b\r\n\r\nhi\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n",
    );
    assert_eq!(check(&pgp, Verdict::None, &[]).structure, Structure::Plain);
    // A signature packet (RFC 9580 section 5.2) without anything in it.
    let armour = "-----BEGIN PGP SIGNATURE-----\r\n\r\nwgA=\r\n-----END PGP SIGNATURE-----";
    let pgp = replace(&pgp, "\r\nx\r\n", &format!("\r\n{armour}\r\n"));
    assert_eq!(check(&pgp, Verdict::None, &[]).structure, Structure::PgpMime);
    let report = mail(SITI, "Content-Type: multipart/report; boundary=b\r\n", b"--b\r\n\r\nhi\r\n--b--\r\n");
    assert_eq!(ca().inspect(&report).structure, Structure::Report);
}

#[test]
fn structure_needs_no_cryptography() {
    let options = Options { scope: Scope::Structure, ..ca().options() };
    let message = replace(&ca().signed(SITI, P256), "ini surat", "changed");
    let Step::Done(inspected) = inspect(Bytes::from(message), options) else { panic!("asked for facts") };
    assert_eq!((inspected.structure, inspected.verdict), (Structure::SmimeSigned, Verdict::None));
    assert!(inspected.signed && inspected.reasons.is_empty() && inspected.layers[0].signers.is_empty());
}

#[test]
fn facts_are_asked_for_once_and_in_a_bounded_number_of_rounds() {
    let ca = ca();
    ca.write("facts.in", ENTITY);
    let der = ca.openssl(&format!("cms -sign -binary -nodetach -in facts.in -outform DER {P256}"));
    let message = opaque_mail(&der);
    let asked = std::cell::RefCell::new(Vec::new());
    let inspected = finish(&message, ca.options(), |need| {
        asked.borrow_mut().push(format!("{need:?}"));
        Vec::new()
    });
    assert_eq!(inspected.reasons, [Untrusted]);
    assert_eq!(asked.borrow().len(), 1, "{asked:?}");
    let inspected = finish(&message, ca.options(), |_| vec![ca.certificate("issuing")]);
    assert_eq!((inspected.verdict, inspected.reasons), (Verdict::Valid, vec![]));
    // The evidence gives the same answer again.
    let again = finish(&message, ca.options(), |_| inspected.evidence.certificates.clone());
    assert_eq!(again.verdict, Verdict::Valid);
    assert_eq!(inspected.evidence.anchors.len(), 1);
    // Revocation is asked for where an anchor wants it, once per issuer, and its absence stays a reason.
    let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca.options() };
    let Step::Need(needs, _) = inspect(Bytes::from(ca.signed(SITI, P256)), hard.clone()) else { panic!("no needs") };
    let crls = needs.iter().filter(|need| matches!(need, Need::Crls { .. })).count();
    assert_eq!(crls, 2, "issuing and root: {needs:?}");
    let inspected = finish(&ca.signed(SITI, P256), hard, |_| Vec::new());
    assert_eq!(inspected.reasons, [RevocationUnknown]);
}

#[test]
fn blocked_and_bound_to_a_domain() {
    let ca = ca();
    let message = ca.signed(SITI, P256);
    let blocked = Options { blocked: Arc::new([ca.certificate("p256").sha256()].into()), ..ca.options() };
    assert_eq!(finish(&message, blocked, |_| Vec::new()).reasons, [BlockedLocally]);
    let signed = ca.certificate("p256").signed_sha256();
    let blocked = Options { blocked: Arc::new([signed].into()), ..ca.options() };
    assert_eq!(finish(&message, blocked, |_| Vec::new()).reasons, [BlockedLocally]);
    let mut anchor = ca.options().anchors[0].clone();
    anchor.domains = vec![crate::mail::Domain::parse("other.example").unwrap()];
    let elsewhere = Options { anchors: Arc::from(vec![anchor.clone()]), ..ca.options() };
    assert_eq!(finish(&message, elsewhere, |_| Vec::new()).reasons, [Untrusted]);
    anchor.domains.push(crate::mail::Domain::parse("EXAMPLE.id").unwrap());
    let here = Options { anchors: Arc::from(vec![anchor]), ..ca.options() };
    assert_eq!(finish(&message, here, |_| Vec::new()).verdict, Verdict::Valid);
}

#[test]
fn line_ends_inside_opaque_content_may_be_lf() {
    let ca = ca();
    let lf: Vec<u8> = ENTITY.iter().copied().filter(|octet| *octet != b'\r').collect();
    assert_eq!(crlf(&lf), ENTITY);
    check(&ca.signed_content(&lf, SITI, &format!("{P256} -nodetach")), Verdict::Valid, &[]);
}
