use super::*;
use crate::smime::tests::{Ca, ENTITY, ca};

fn signer(ca: &Ca, name: &str) -> Signer {
    let (algorithm, digest) = match name {
        "rsa" => (SignatureAlgorithm::RsaPkcs1(Digest::Sha256), Digest::Sha256),
        "p384" => (SignatureAlgorithm::Ecdsa(Digest::Sha384), Digest::Sha384),
        _ => (SignatureAlgorithm::Ecdsa(Digest::Sha256), Digest::Sha256),
    };
    Signer {
        certificate: ca.certificate(name),
        chain: vec![ca.certificate("issuing"), ca.certificate("root")],
        algorithm,
        digest,
        encryption: None,
    }
}

fn made(ca: &Ca, name: &str, opaque: bool, at: &str) -> Vec<u8> {
    let prepared = prepare(ENTITY, &signer(ca, name), at.parse().unwrap(), opaque).unwrap();
    let signature = ca.sign(name, prepared.to_be_signed());
    prepared.assemble(&signature).unwrap()
}

const NOW: &str = "2026-11-22T03:00:00Z";

#[test]
fn o26_openssl_verifies_every_algorithm() {
    let ca = ca();
    for name in ["rsa", "p256", "p384"] {
        ca.write(&format!("o26-{name}.der"), &made(ca, name, false, NOW));
        ca.write("o26.content", ENTITY);
        let line =
            format!("cms -verify -cades -binary -inform DER -in o26-{name}.der -content o26.content -CAfile root.pem");
        assert_eq!(ca.openssl(&line), ENTITY, "{name}");
        ca.write("o26.other", b"something else");
        let line = line.replace("o26.content", "o26.other");
        assert!(ca.try_openssl(&line.split(' ').collect::<Vec<_>>()).is_err(), "{name}");
    }
    let weak =
        Signer { algorithm: SignatureAlgorithm::RsaPkcs1(Digest::Sha1), digest: Digest::Sha1, ..signer(ca, "rsa") };
    assert!(matches!(prepare(ENTITY, &weak, NOW.parse().unwrap(), false), Err(SignError::Unsupported(..))));
}

#[test]
fn o08_detached_has_no_content_and_opaque_has_it() {
    let ca = ca();
    ca.write("o08.der", &made(ca, "p256", true, NOW));
    assert_eq!(ca.openssl("cms -verify -cades -binary -inform DER -in o08.der -CAfile root.pem"), ENTITY);
    let print = |der: &[u8]| {
        ca.write("o08.der", der);
        String::from_utf8(ca.openssl("cms -cmsout -print -noout -inform DER -in o08.der")).unwrap()
    };
    assert!(print(&made(ca, "p256", false, NOW)).contains("eContent: <ABSENT>"));
    assert!(!print(&made(ca, "p256", true, NOW)).contains("eContent: <ABSENT>"));
}

#[test]
fn o13_output_is_der() {
    use der::{Decode, Encode};
    let ca = ca();
    for opaque in [true, false] {
        let der = made(ca, "rsa", opaque, NOW);
        let parsed = cms::content_info::ContentInfo::from_der(&der).unwrap();
        let signed: cms::signed_data::SignedData = parsed.content.decode_as().unwrap();
        // The crate sorts sets when it reads: the same bytes come back only if they were in order.
        let content = der::Any::encode_from(&signed).unwrap();
        let again = cms::content_info::ContentInfo { content_type: parsed.content_type, content };
        assert_eq!(again.to_der().unwrap(), der);
    }
}

#[test]
fn o22_signed_attributes() {
    let ca = ca();
    ca.write("o22.der", &made(ca, "rsa", false, NOW));
    let text = String::from_utf8(ca.openssl("cms -cmsout -print -noout -inform DER -in o22.der")).unwrap();
    for object in
        ["contentType", "messageDigest", "signingTime", "id-smime-aa-signingCertificateV2", "1.2.840.113549.1.9.52"]
    {
        assert_eq!(
            text.matches(&format!("object: {object} ")).count() + text.matches(&format!("({object})")).count(),
            1,
            "{object} in {text}"
        );
    }
    assert!(text.contains("UTCTIME:Nov 22 03:00:00 2026 GMT"), "{text}");
    ca.write("o22.der", &made(ca, "rsa", false, "2050-01-01T00:00:00Z"));
    let text = String::from_utf8(ca.openssl("cms -cmsout -print -noout -inform DER -in o22.der")).unwrap();
    assert!(text.contains("GENERALIZEDTIME:Jan  1 00:00:00 2050 GMT"), "{text}");
}

#[test]
fn o22_capabilities_and_key_preference() {
    use crate::cms::attributes::EncryptionKeyPreference;
    use crate::smime::{Capabilities, capabilities};
    let ca = ca();
    let check = |encryption: Option<&str>, preferred: bool| {
        let signer = Signer { encryption: encryption.map(|name| ca.certificate(name)), ..signer(ca, "p256") };
        let prepared = prepare(ENTITY, &signer, NOW.parse().unwrap(), false).unwrap();
        let der = prepared.clone().assemble(&ca.sign("p256", prepared.to_be_signed())).unwrap();
        let limits = crate::limits::Limits::default();
        let info = crate::cms::ContentInfo::from_ber(der.clone(), &limits).unwrap();
        let signed = crate::cms::SignedData::from_der(&info.content, &limits).unwrap();
        let attributes = signed.signers[0].signed_attributes.as_ref().unwrap();
        assert_eq!(attributes.as_received(), attributes.sorted());
        assert_eq!(attributes.capabilities(), Some(capabilities::own().as_slice()));
        let other = ca.certificate("rsa");
        let preference = EncryptionKeyPreference::IssuerAndSerial(other.issuer().clone(), other.serial().to_vec());
        assert_eq!(attributes.encryption_key_preference().unwrap(), preferred.then_some(preference));
        assert_eq!(signed.certificates.iter().any(|der| der == other.der()), preferred);
        ca.write("o22-p.der", &der);
        ca.write("o22-p.content", ENTITY);
        let line = "cms -verify -cades -binary -inform DER -in o22-p.der -content o22-p.content -CAfile root.pem";
        assert_eq!(ca.openssl(line), ENTITY);
        let text = ca.openssl("cms -cmsout -print -noout -inform DER -in o22-p.der");
        let text = String::from_utf8(text).unwrap();
        let found = |object: &str| text.matches(&format!("object: {object} (")).count();
        assert_eq!(found("S/MIME Capabilities"), 1, "{text}");
        assert_eq!(found("id-smime-aa-encrypKeyPref"), usize::from(preferred), "{text}");
        // What was announced, in OpenSSL's words: nothing that is not decrypted.
        for name in ["aes-256-gcm", "aes-128-gcm", "aes-256-cbc", "aes-128-cbc", "rsaesOaep"] {
            assert!(text.contains(&format!("OBJECT            :{name}")), "{name} in {text}");
        }
        assert_eq!(text.matches(":dhSinglePass-stdDH-sha256kdf-scheme").count(), 2, "{text}");
        assert!(!text.contains("des-ede3-cbc") && !text.contains("rc2"), "{text}");
        assert!(Capabilities::from_der(attributes.capabilities().unwrap()).is_some());
    };
    check(Some("rsa"), true);
    check(Some("p256"), false);
    check(None, false);
}

#[test]
fn o33_openssl_announces_what_it_announces() {
    use crate::crypto::ContentCipher;
    use crate::smime::Capabilities;
    let ca = ca();
    ca.write("o33.in", ENTITY);
    let der = ca.openssl("cms -sign -binary -in o33.in -signer p256.pem -inkey p256.key -outform DER");
    let limits = crate::limits::Limits::default();
    let info = crate::cms::ContentInfo::from_ber(der, &limits).unwrap();
    let signed = crate::cms::SignedData::from_der(&info.content, &limits).unwrap();
    let attributes = signed.signers[0].signed_attributes.as_ref().unwrap();
    let found = Capabilities::from_der(attributes.capabilities().unwrap()).unwrap();
    let expected =
        [ContentCipher::Aes256Cbc, ContentCipher::Aes192Cbc, ContentCipher::Aes128Cbc, ContentCipher::DesEde3Cbc];
    assert_eq!(found, Capabilities { ciphers: expected.to_vec(), oaep: false });
    assert_eq!(attributes.encryption_key_preference(), Ok(None));
}

#[test]
fn o23_signing_certificate_names_issuer_and_serial_and_omits_the_default() {
    let ca = ca();
    let der = made(ca, "rsa", false, NOW);
    let info = crate::cms::ContentInfo::from_ber(der, &crate::limits::Limits::default()).unwrap();
    let signed = crate::cms::SignedData::from_der(&info.content, &crate::limits::Limits::default()).unwrap();
    let attributes = signed.signers[0].signed_attributes.as_ref().unwrap();
    let named = attributes.signing_certificates().unwrap();
    let certificate = ca.certificate("rsa");
    assert_eq!(named.len(), 1);
    assert_eq!(named[0].hash, certificate.sha256());
    let (issuer, serial) = named[0].issuer_serial.as_ref().unwrap();
    assert_eq!((issuer.der(), serial.as_slice()), (certificate.issuer().der(), certificate.serial()));
    // SHA-256 as an identifier stands nowhere inside the attribute: DEFAULT is left out in DER.
    let sha256 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
    let count = |octets: &[u8]| octets.windows(sha256.len()).filter(|window| *window == sha256).count();
    let elsewhere = 1 + count(&crate::smime::capabilities::own());
    assert_eq!(count(attributes.as_received()), elsewhere, "only in CMSAlgorithmProtection and SMIMECapabilities");
}

#[test]
fn o25_chain_without_root_and_without_repeats() {
    let ca = ca();
    let mut signer = signer(ca, "p256");
    signer.chain.push(ca.certificate("issuing"));
    let prepared = prepare(ENTITY, &signer, NOW.parse().unwrap(), false).unwrap();
    let signature = ca.sign("p256", prepared.to_be_signed());
    ca.write("o25.der", &prepared.assemble(&signature).unwrap());
    let certificates = ca.openssl("pkcs7 -print_certs -inform DER -in o25.der");
    let text = String::from_utf8(certificates).unwrap();
    let subjects: Vec<_> = text.lines().filter(|line| line.starts_with("subject=")).collect();
    assert_eq!(subjects.len(), 2, "{text}");
    assert!(!subjects.iter().any(|subject| subject.contains("Test Root")), "{text}");
}

#[test]
fn o06_whole_message_is_valid_here_and_for_openssl() {
    use crate::mail::canonical::{canonical, multipart_signed, pkcs7_mime};
    let ca = ca();
    let limits = crate::limits::Limits::default();
    let plain = "From: siti@example.id\r\nTo: x@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHalo, Ñandú\r\n";
    let canonical = canonical(plain.as_bytes(), &limits).unwrap();
    for (name, micalg) in [("rsa", "sha-256"), ("p384", "sha-384")] {
        let signer = signer(ca, name);
        assert_eq!(signer.digest.micalg(), micalg);
        for opaque in [false, true] {
            let prepared = prepare(&canonical.entity, &signer, ca.options().at, opaque).unwrap();
            let signature = ca.sign(name, prepared.to_be_signed());
            let der = prepared.assemble(&signature).unwrap();
            let message = if opaque {
                pkcs7_mime(&canonical.outer, "signed-data", &der)
            } else {
                multipart_signed(&canonical.outer, &canonical.entity, &der, micalg, "b-7f3a")
            };
            let inspected = ca.inspect(&message);
            assert_eq!((inspected.verdict.name(), inspected.reasons.as_slice()), ("valid", &[][..]));
            assert!(!inspected.warnings.iter().any(|warning| warning == "micalg-mismatch"));
            ca.write("o06.eml", &message);
            ca.openssl("cms -verify -cades -in o06.eml -CAfile root.pem -out o06.out");
        }
    }
}
