use super::*;
use crate::crypto::ContentCipher as Cipher;

const WRITTEN: [Cipher; 4] = [Cipher::Aes256Gcm, Cipher::Aes128Gcm, Cipher::Aes256Cbc, Cipher::Aes128Cbc];

fn decrypted(der: &[u8], name: &str) -> Vec<u8> {
    let file = fresh("sealed");
    ca().write(&file, der);
    ca().openssl(&format!("cms -decrypt -binary -inform DER -in {file} -inkey {name}.key -recip {name}.pem"))
}

fn asn1parse(der: &[u8]) -> String {
    let file = fresh("parse");
    ca().write(&file, der);
    String::from_utf8(ca().openssl(&format!("asn1parse -inform DER -in {file}"))).unwrap()
}

fn printed(der: &[u8]) -> String {
    let file = fresh("print");
    ca().write(&file, der);
    String::from_utf8(ca().openssl(&format!("cms -cmsout -print -noout -inform DER -in {file}"))).unwrap()
}

#[test]
fn o36_openssl_decrypts_every_kind() {
    let keys =
        [("e-rsa", false), ("e-rsa", true), ("e-rsa2", false), ("e-p256", false), ("e-p384", false), ("e-p521", true)];
    for cipher in WRITTEN {
        for (name, oaep) in keys {
            let der = encrypt(ENTITY, cipher, &[to(name, oaep)]).unwrap();
            assert_eq!(decrypted(&der, name), ENTITY, "{} {name} {oaep}", cipher.name());
            assert_eq!(opened(&read(&der).unwrap(), name), ENTITY);
        }
        // OpenSSL 3.0 has no X25519 in CMS.
        let der = encrypt(ENTITY, cipher, &[to("e-x25519", false)]).unwrap();
        assert_eq!(opened(&read(&der).unwrap(), "e-x25519"), ENTITY);
    }
}

#[test]
fn o36_algorithms_of_the_key() {
    let parsed = |name: &str, oaep, cipher| asn1parse(&encrypt(ENTITY, cipher, &[to(name, oaep)]).unwrap());
    let check = |text: &str, names: &[&str]| {
        let found: Vec<_> = text.lines().filter_map(|line| line.split("OBJECT            :").nth(1)).collect();
        for name in names {
            assert_eq!(found.iter().filter(|found| *found == name).count(), 1, "{name} in {text}");
        }
    };
    let stdh = |digest: &str| format!("dhSinglePass-stdDH-{digest}kdf-scheme");
    check(&parsed("e-p256", false, Cipher::Aes256Gcm), &[&stdh("sha256"), "id-aes256-wrap", "id-ecPublicKey"]);
    check(&parsed("e-p256", false, Cipher::Aes128Cbc), &[&stdh("sha256"), "id-aes128-wrap"]);
    check(&parsed("e-p384", false, Cipher::Aes256Cbc), &[&stdh("sha384"), "id-aes256-wrap"]);
    check(&parsed("e-p521", false, Cipher::Aes256Cbc), &[&stdh("sha512"), "id-aes256-wrap"]);
    check(&parsed("e-x25519", false, Cipher::Aes256Gcm), &["X25519", "id-aes256-wrap"]);
    // RSAES-OAEP with SHA-256 in both places, written out.
    let text = parsed("e-rsa", true, Cipher::Aes256Gcm);
    check(&text, &["rsaesOaep", "mgf1"]);
    assert_eq!(text.matches(":sha256\n").count(), 2, "{text}");
    let text = parsed("e-rsa", false, Cipher::Aes256Cbc);
    let after = text.lines().skip_while(|line| !line.ends_with(":rsaEncryption")).nth(1);
    assert!(after.unwrap().contains("NULL"), "{text}");
}

#[test]
fn o37_gcm_writes_icvlen_and_never_repeats_itself() {
    for cipher in [Cipher::Aes256Gcm, Cipher::Aes128Gcm] {
        let der = encrypt(ENTITY, cipher, &[to("e-rsa", false)]).unwrap();
        let text = asn1parse(&der);
        let lines: Vec<_> = text.lines().collect();
        let name = cipher.name().replace("aes", ":aes-");
        let at = lines.iter().position(|line| line.ends_with(&name)).unwrap();
        assert!(lines[at + 1].contains("SEQUENCE"), "{text}");
        assert!(lines[at + 2].contains("l=  12 prim: OCTET STRING"), "{text}");
        assert!(lines[at + 3].contains("INTEGER           :10"), "{text}");
        assert!(lines.last().unwrap().contains("l=  16 prim: OCTET STRING"), "{text}");
        let other = encrypt(ENTITY, cipher, &[to("e-rsa", false)]).unwrap();
        let key = |der: &[u8]| content_key("e-rsa", &read(der).unwrap().recipients[0].sealed).unwrap();
        assert_ne!(key(&der), key(&other));
        let nonce = |text: &str| text.lines().nth(at + 2).unwrap().to_owned();
        assert_ne!(nonce(&text), nonce(&asn1parse(&other)));
    }
}

#[test]
fn o38_versions() {
    let both = [to("e-rsa", true), to("e-p256", false)];
    for (cipher, to, kind, version) in [
        (Cipher::Aes256Cbc, &both[..1], "pkcs7-envelopedData", 0),
        (Cipher::Aes128Cbc, &both[1..], "pkcs7-envelopedData", 2),
        (Cipher::Aes256Cbc, &both[..], "pkcs7-envelopedData", 2),
        (Cipher::Aes256Gcm, &both[..1], "id-smime-ct-authEnvelopedData", 0),
        (Cipher::Aes128Gcm, &both[..], "id-smime-ct-authEnvelopedData", 0),
    ] {
        let der = encrypt(ENTITY, cipher, to).unwrap();
        assert!(asn1parse(&der).lines().nth(1).unwrap().ends_with(kind));
        let text = printed(&der);
        let versions: Vec<_> = text.lines().filter(|line| line.contains("version:")).collect();
        assert!(versions[0].ends_with(&format!(" {version}")), "{text}");
        for (kind, expected) in [("d.ktri", "version: 0"), ("d.kari", "version: 3")] {
            let info = text.split(kind).nth(1).map(|text| text.lines().nth(1).unwrap().trim());
            assert!(info.is_none_or(|line| line == expected), "{text}");
        }
        assert!(text.contains("originatorInfo: <ABSENT>"), "{text}");
        assert!(!text.contains("object: "), "an attribute in {text}");
    }
}

#[test]
fn o09_smime_type_follows_the_structure() {
    for cipher in Cipher::ALL {
        let expected = if cipher.is_authenticated() { "authEnveloped-data" } else { "enveloped-data" };
        assert_eq!(smime_type(cipher), expected);
    }
    // OpenSSL says the same in the mail that it writes.
    let file = fresh("o09");
    ca().write(&file, ENTITY);
    for cipher in WRITTEN {
        let option = cipher.name().replace("aes", "aes-");
        let mail = ca().openssl(&format!("cms -encrypt -in {file} -{option} -recip e-rsa.pem"));
        let mail = String::from_utf8(mail).unwrap();
        assert!(mail.contains(&format!("smime-type={}", smime_type(cipher))), "{mail}");
    }
}

#[test]
fn o13_encrypted_output_is_der() {
    use der::{Decode, Encode};
    let names = ["e-rsa", "e-p256", "e-rsa2", "e-p384", "e-p521", "e-x25519"];
    let everybody = names.map(|name| to(name, false));
    for cipher in WRITTEN {
        let der = encrypt(ENTITY, cipher, &everybody).unwrap();
        let envelope = read(&der).unwrap();
        assert_eq!(envelope.recipients.len(), names.len());
        for name in names {
            assert_eq!(opened(&envelope, name), ENTITY);
        }
        let parsed = cms::content_info::ContentInfo::from_der(&der).unwrap();
        if cipher.is_authenticated() {
            continue;
        }
        let data: cms::enveloped_data::EnvelopedData = parsed.content.decode_as().unwrap();
        // The crate sorts sets when it reads: the same bytes come back only if they were in order.
        let content = der::Any::encode_from(&data).unwrap();
        let again = cms::content_info::ContentInfo { content_type: parsed.content_type, content };
        assert_eq!(again.to_der().unwrap(), der);
    }
}

#[test]
fn o34_nothing_weak_is_written() {
    let key = [to("e-rsa", false)];
    for cipher in Cipher::ALL {
        let made = encrypt(ENTITY, cipher, &key);
        if WRITTEN.contains(&cipher) {
            assert!(made.is_ok());
        } else {
            assert_eq!(made, Err(EncryptError::Cipher(cipher.name())));
        }
    }
    assert_eq!(encrypt(ENTITY, Cipher::Aes256Gcm, &[]), Err(EncryptError::NoRecipients));
    // The same certificate twice is one recipient; nothing is content too.
    let der = encrypt(b"", Cipher::Aes256Gcm, &[to("e-rsa", false), to("e-rsa", true)]).unwrap();
    assert_eq!(read(&der).unwrap().recipients.len(), 1);
    assert_eq!(opened(&read(&der).unwrap(), "e-rsa"), b"");
}

#[test]
fn o36_a_key_for_oaep_gets_oaep() {
    use crate::asn1::{tag, write_tlv};
    use crate::crypto::{Digest, SignatureAlgorithm};
    // OpenSSL makes no such certificate: the key of one, renamed.
    let spki = ca().certificate("e-rsa").spki_der().to_vec();
    let Ok(PublicKey::Rsa { der, pss: Pss::Open, .. }) = PublicKey::from_spki(&spki) else { panic!() };
    let bits = write_tlv(tag::BIT_STRING, &[&[0], der].concat());
    let absent = write_tlv(tag::SEQUENCE, &write_tlv(tag::OID, transport::RSAES_OAEP.as_bytes()));
    for identifier in [transport::Oaep::sha256_identifier(), absent] {
        let renamed = write_tlv(tag::SEQUENCE, &[identifier, bits.clone()].concat());
        assert!(matches!(PublicKey::from_spki(&renamed), Ok(PublicKey::Rsa { pss: Pss::Oaep, .. })));
        let encrypted = transport::seal_oaep(&renamed, &[9; 32]).unwrap();
        let sealed = SealedKey::RsaOaep { encrypted, digest: Digest::Sha256, mgf: Digest::Sha256, label: Vec::new() };
        assert_eq!(content_key("e-rsa", &sealed).unwrap(), [9; 32]);
        // It verifies nothing.
        for algorithm in [
            SignatureAlgorithm::RsaPkcs1(Digest::Sha256),
            SignatureAlgorithm::RsaPss { digest: Digest::Sha256, salt: 32 },
        ] {
            assert_eq!(crypto::verify(algorithm, &renamed, b"x", &[1; 256]), Err(CryptoError::Malformed));
        }
    }
}

#[test]
fn o11_signed_then_encrypted_is_read_by_openssl() {
    let ca = ca();
    let signed = ca.signed_content(ENTITY, "siti@example.id", "-signer p256.pem -inkey p256.key");
    for cipher in WRITTEN {
        let der = encrypt(&signed, cipher, &[to("e-rsa2", true)]).unwrap();
        let inner = fresh("o11");
        ca.write(&inner, &decrypted(&der, "e-rsa2"));
        assert_eq!(ca.read(&inner), signed);
        ca.openssl(&format!("cms -verify -in {inner} -CAfile root.pem -out {inner}.out"));
    }
}

#[test]
fn o36_large_content() {
    let content = vec![b'x'; 5 << 20];
    for cipher in [Cipher::Aes256Gcm, Cipher::Aes256Cbc] {
        let der = encrypt(&content, cipher, &[to("e-p256", false)]).unwrap();
        assert!(opened(&read(&der).unwrap(), "e-p256") == content);
        assert!(decrypted(&der, "e-p256") == content);
    }
}
