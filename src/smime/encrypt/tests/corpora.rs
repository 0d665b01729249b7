//! Envelopes that others have made, from `$SEGEL_CORPORA`.

use super::*;
use crate::cms::enveloped_data::OpenError;
use std::path::PathBuf;

fn corpora() -> Option<PathBuf> {
    let found = std::env::var_os("SEGEL_CORPORA").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: SEGEL_CORPORA is not set");
    }
    found
}

/// `key` as OpenSSL reads it, also out of a PKCS#12 file.
fn private_key(key: &str) -> String {
    let name = fresh("corpus-key");
    match key.ends_with(".p12") {
        true => ca().openssl(&format!("pkcs12 -legacy -in {key} -nodes -nocerts -passin pass:nss -out {name}")),
        false => ca().openssl(&format!("pkey -in {key} -out {name}")),
    };
    name
}

#[test]
fn i10_opens_what_others_have_sealed() {
    let Some(corpora) = corpora() else { return };
    let ca = ca();
    for (message, form, key, cipher) in [
        ("rfc4134/bc-test-data/5.1.bin", "DER", "rfc4134/bc-test-data/BobPrivRSAEncrypt.pri", Some("des-ede3-cbc")),
        ("rfc4134/bc-test-data/5.2.bin", "DER", "rfc4134/bc-test-data/BobPrivRSAEncrypt.pri", None),
        (
            "misc-smime/go-pkcs7-mozilla/decrypt-00-EncryptedTestFixture.pkcs7.pem",
            "PEM",
            "misc-smime/go-pkcs7-mozilla/decrypt-02-JbkH7HZQFA.private_key.pem",
            Some("des-ede3-cbc"),
        ),
        ("thunderbird/smime/alice.env.eml", "SMIME", "thunderbird/smime/Bob.p12", Some("aes128-cbc")),
        (
            "thunderbird/smime/alice.dsig.SHA256.multipart.env.eml",
            "SMIME",
            "thunderbird/smime/Bob.p12",
            Some("aes128-cbc"),
        ),
    ] {
        let (file, key) = (corpora.join(message), corpora.join(key));
        let key = private_key(key.to_str().unwrap());
        let der = ca.openssl(&format!("cms -cmsout -inform {form} -outform DER -in {}", file.display()));
        let envelope = read(&der).unwrap();
        assert_eq!(envelope.cipher.map(crypto::ContentCipher::name), cipher, "{message}");
        if cipher.is_none() {
            assert_eq!(envelope.open(&[0; 16]).unwrap_err(), OpenError::Unsupported);
            continue;
        }
        let expected = ca.openssl(&format!("cms -decrypt -binary -inform {form} -inkey {key} -in {}", file.display()));
        let found = envelope.recipients.iter().find_map(|recipient| {
            let SealedKey::RsaPkcs1(encrypted) = &recipient.sealed else { return None };
            let sealed = fresh("corpus-sealed");
            ca.write(&sealed, encrypted);
            let line = format!("pkeyutl -decrypt -inkey {key} -in {sealed}");
            let content_key = ca.try_openssl(&line.split(' ').collect::<Vec<_>>()).ok()?;
            envelope.open(&content_key).ok()
        });
        assert!(found.is_some_and(|found| *found == expected), "{message}");
    }
}

/// Whatever it is, reading it ends.
#[test]
fn i10_i05_reads_anything() {
    let Some(corpora) = corpora() else { return };
    let limits = Limits::default();
    let mut seen = [0, 0, 0];
    for file in std::fs::read_dir(corpora.join("openssl-fuzz-corpora/cms")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        seen[0] += 1;
        let Ok(info) = ContentInfo::from_ber(bytes, &limits) else { continue };
        if let Ok(envelope) = Envelope::read(&info) {
            seen[1] += 1;
            for length in [0, 16, 24, 32] {
                assert!(envelope.open(&vec![0; length]).is_err());
            }
        }
        if crate::cms::compressed_data::decompress(&info.content, &limits).is_ok() {
            seen[2] += 1;
        }
    }
    assert!(seen[0] > 100, "{seen:?}");
    eprintln!("{seen:?} files, envelopes, compressed");
}
