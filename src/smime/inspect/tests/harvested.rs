//! What is learned from a valid signer, and from whom nothing.

use super::opened::{encrypted_mail, signed_entity};
use super::*;
use crate::cms::attributes::{NewAttributes, Parameters, algorithm_identifier};
use crate::cms::signed_data::Assembly;
use crate::smime::capabilities;
use der::asn1::ObjectIdentifier;

fn harvest_of(message: &[u8]) -> Option<Harvest> {
    let inspected = ca().inspect(message);
    assert_eq!((inspected.verdict, &inspected.reasons[..]), (Verdict::Valid, &[][..]));
    inspected.harvest
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(u8::try_from(short).unwrap()),
        long => out.extend([&[0x82][..], &u16::try_from(long).unwrap().to_be_bytes()].concat()),
    }
    [out, content].concat()
}

/// Signed by `p256` with this value of SMIMEEncryptionKeyPreference, and these certificates beside it.
fn preferring(preference: &[u8], enclosed: &[&str]) -> Vec<u8> {
    let ca = ca();
    let signer = ca.certificate("p256");
    let sha256 = algorithm_identifier(&crate::crypto::Digest::Sha256.oid(), Parameters::Absent).unwrap();
    let ecdsa = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
    let ecdsa = algorithm_identifier(&ecdsa, Parameters::Absent).unwrap();
    let attributes = NewAttributes {
        message_digest: &crate::crypto::sha256(ENTITY),
        signing_time: ca.options().at,
        certificate_sha256: &signer.sha256(),
        issuer: signer.issuer().der(),
        serial: signer.serial(),
        digest_algorithm: &sha256,
        signature_algorithm: &ecdsa,
        capabilities: &capabilities::own(),
        encryption: None,
    };
    let attributes = attributes.to_der().unwrap();
    let (outer, _) = crate::asn1::read_tlv(&attributes).unwrap();
    let oid = data_encoding::HEXLOWER.decode(b"060b2a864886f70d010910020b").unwrap();
    let attributes = tlv(0x31, &[outer.content, &tlv(0x30, &[&oid, &tlv(0x31, &[preference])])]);
    let certificates = ["p256", "issuing"].iter().chain(enclosed).map(|name| ca.certificate(name).der().to_vec());
    let der = Assembly {
        digest_algorithm: &sha256,
        signature_algorithm: &ecdsa,
        content: Some(ENTITY),
        certificates: certificates.collect(),
        issuer: signer.issuer().der(),
        serial: signer.serial(),
        signed_attributes: &attributes,
        signature: &ca.sign("p256", &attributes),
    };
    opaque_mail(&der.to_der().unwrap())
}

#[test]
fn p10_the_certificate_that_the_signer_prefers() {
    let ca = ca();
    let enc = ca.certificate("enc");
    let serial = tlv(0x02, &[enc.serial()]);
    let by_serial = tlv(0xa0, &[enc.issuer().der(), &serial]);
    let key_id = enc.subject_key_identifier().unwrap();
    let by_key_id = tlv(0xa1, &[&tlv(0x04, &[key_id])]);
    let by_subject_key = tlv(0x82, &[key_id]);
    for preference in [&by_serial, &by_key_id, &by_subject_key] {
        let harvest = harvest_of(&preferring(preference, &["enc"])).unwrap();
        assert_eq!(harvest.encryption, enc);
        assert_eq!(harvest.signer, ca.certificate("p256"));
        assert_eq!(harvest.certificates, [ca.certificate("issuing")]);
        assert_eq!(harvest.address.as_str(), "siti@example.id");
        assert_eq!(harvest.capabilities.unwrap(), capabilities::own());
        assert_eq!(harvest.signing_time.map(|time| time.as_second()), Some(ca.options().at.as_second()));
        // Named, and not there; or there, and of no use.
        assert!(harvest_of(&preferring(preference, &[])).is_none());
    }
    let budi = ca.certificate("budi");
    let other = tlv(0xa0, &[budi.issuer().der(), &tlv(0x02, &[budi.serial()])]);
    assert!(harvest_of(&preferring(&other, &["budi", "enc"])).is_none(), "another person's");
    assert!(harvest_of(&preferring(&[5, 0], &["enc"])).is_none(), "unreadable");
}

#[test]
fn p10_without_a_preference() {
    let ca = ca();
    // His own, where it may encrypt.
    let budi = ca.signed("budi@example.id", "-signer budi.pem -inkey budi.key -md sha256");
    let harvest = harvest_of(&budi).unwrap();
    assert_eq!((&harvest.encryption, &harvest.signer), (&ca.certificate("budi"), &ca.certificate("budi")));
    assert!(harvest.capabilities.is_some());
    // It may only sign, and no other is there.
    assert!(harvest_of(&ca.signed(SITI, P256)).is_none());
    // Another one by the same issuer, for the same address.
    ca.write("two.pem", &[ca.read("enc.pem"), ca.read("issuing.pem"), ca.read("budi.pem")].concat());
    let harvest = harvest_of(&ca.signed(SITI, &format!("{P256} -certfile two.pem"))).unwrap();
    assert_eq!(harvest.encryption, ca.certificate("enc"));
    // Encrypted mail teaches the same.
    let inner = signed_entity(&format!("{P256} -certfile two.pem"));
    for cipher in ["-aes-256-gcm", "-aes-128-cbc"] {
        let message = encrypted_mail(SITI, &ca.cms(&inner, &format!("-encrypt {cipher} rsa.pem")));
        assert_eq!(ca.open(&message, &["rsa"]).harvest.unwrap().encryption, ca.certificate("enc"));
    }
}

#[test]
fn p11_nothing_is_learned_from_what_is_not_valid() {
    let ca = ca();
    let budi = "-signer budi.pem -inkey budi.key -md sha256";
    let none = |message: &[u8]| {
        let inspected = ca.inspect(message);
        assert!(inspected.verdict != Verdict::Valid && inspected.harvest.is_none());
    };
    let good = ca.signed("budi@example.id", budi);
    none(&replace(&good, "ini surat", "ini Surat"));
    none(&ca.signed(SITI, budi));
    none(&replace(&good, "Subject: s\r\n", "From: siti@example.id\r\n"));
    let later = Options { at: "2040-01-01T00:00:00Z".parse().unwrap(), ..ca.options() };
    assert!(finish(&good, later, |_| Vec::new()).harvest.is_none());
}
