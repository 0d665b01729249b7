//! Judged by OpenSSL and NSS: they decrypt what is written, and what they encrypt is read.
#![allow(clippy::disallowed_methods, reason = "these programs take files")]

mod corpora;
mod programs;
mod reading;
mod writing;

use super::*;
use crate::cms::ContentInfo;
use crate::cms::enveloped_data::Envelope;
use crate::cms::recipient_info::{RecipientIdentifier, SealedKey};
use crate::limits::Limits;
use crate::pki::recipient::{RecipientRequest, check};
use crate::smime::tests::{self, Ca, ENTITY};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
};
use std::sync::OnceLock;

const KEYS: [(&str, &str, &str); 6] = [
    ("e-rsa", "RSA -pkeyopt rsa_keygen_bits:2048", "keyEncipherment"),
    ("e-rsa2", "RSA -pkeyopt rsa_keygen_bits:3072", "keyEncipherment"),
    ("e-p256", "EC -pkeyopt ec_paramgen_curve:P-256", "keyAgreement"),
    ("e-p384", "EC -pkeyopt ec_paramgen_curve:P-384", "keyAgreement"),
    ("e-p521", "EC -pkeyopt ec_paramgen_curve:P-521", "keyAgreement"),
    ("e-x25519", "X25519", "keyAgreement"),
];

/// The test CA with certificates for encryption.
fn ca() -> &'static Ca {
    static MORE: OnceLock<()> = OnceLock::new();
    let ca = tests::ca();
    MORE.get_or_init(|| {
        for (number, (name, algorithm, usage)) in KEYS.into_iter().enumerate() {
            ca.openssl(&format!("genpkey -algorithm {algorithm} -out {name}.key"));
            ca.openssl(&format!("pkey -in {name}.key -pubout -out {name}.pub"));
            let extensions = format!(
                "[e]\nsubjectAltName=email:{name}@example.id\nextendedKeyUsage=emailProtection\nkeyUsage=critical,{usage}\nsubjectKeyIdentifier=hash\n"
            );
            ca.write("e.cnf", extensions.as_bytes());
            // A serial with a sign octet.
            ca.openssl(&format!(
                "x509 -new -subj /CN={name}/C=ID -force_pubkey {name}.pub -CA issuing.pem -CAkey issuing.key -days 30 -set_serial 0xf0{number:02x} -extfile e.cnf -extensions e -out {name}.pem"
            ));
        }
    });
    ca
}

fn to(name: &str, oaep: bool) -> To {
    let ca = ca();
    let options = ca.options();
    let (key, _) = check(&RecipientRequest {
        certificate: &ca.certificate(name),
        address: None,
        untrusted: &[ca.certificate("issuing")],
        anchors: &options.anchors,
        crls: &[],
        blocked: &std::collections::HashSet::new(),
        at: options.at,
        limits: &Limits::default(),
    });
    To { key: key.unwrap(), oaep }
}

fn read(ber: &[u8]) -> Result<Envelope, CmsError> {
    let info = ContentInfo::from_ber(ber.to_vec(), &Limits::default())?;
    Envelope::read(&info)
}

/// The content key, as a holder of the private key `name` gets it.
fn content_key(name: &str, sealed: &SealedKey) -> Option<Vec<u8>> {
    let pkcs8 = ca().openssl(&format!("pkcs8 -topk8 -nocrypt -outform DER -in {name}.key"));
    let mut out = vec![0; 512];
    match sealed {
        SealedKey::RsaPkcs1(encrypted) => {
            let key = Pkcs1PrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&pkcs8).unwrap()).unwrap();
            key.decrypt(encrypted, &mut out).ok().map(|key| key.to_vec())
        }
        SealedKey::RsaOaep { encrypted, digest, mgf, label } => {
            assert_eq!(digest, mgf);
            let algorithm = match digest {
                crypto::Digest::Sha1 => &OAEP_SHA1_MGF1SHA1,
                crypto::Digest::Sha256 => &OAEP_SHA256_MGF1SHA256,
                crypto::Digest::Sha384 => &OAEP_SHA384_MGF1SHA384,
                _ => &OAEP_SHA512_MGF1SHA512,
            };
            let key = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&pkcs8).unwrap()).unwrap();
            let label = Some(label.as_slice()).filter(|label| !label.is_empty());
            key.decrypt(algorithm, encrypted, &mut out, label).ok().map(|key| key.to_vec())
        }
        SealedKey::Agreed(agreed) => {
            use aws_lc_rs::agreement as ecdh;
            let algorithm = match name {
                "e-p256" => &ecdh::ECDH_P256,
                "e-p384" => &ecdh::ECDH_P384,
                "e-p521" => &ecdh::ECDH_P521,
                _ => &ecdh::X25519,
            };
            let key = match name {
                "e-x25519" => ecdh::PrivateKey::from_private_key(algorithm, &pkcs8[pkcs8.len() - 32..]),
                _ => ecdh::PrivateKey::from_private_key_der(algorithm, &pkcs8),
            };
            let peer = ecdh::UnparsedPublicKey::new(algorithm, &agreed.originator);
            let kek = ecdh::agree(&key.unwrap(), peer, CryptoError::Unopened, |secret| {
                agreement::key_encryption_key(agreed.derivation, secret, &agreed.shared_info, agreed.wrap)
            });
            agreement::unwrap(&kek.ok()?, &agreed.wrapped).ok().map(|key| key.to_vec())
        }
        SealedKey::Unsupported => None,
    }
}

/// What the holder of `name` reads in it.
fn opened(envelope: &Envelope, name: &str) -> Vec<u8> {
    let certificate = ca().certificate(name);
    let mine = envelope.recipients.iter().find(|recipient| match &recipient.identifier {
        RecipientIdentifier::IssuerAndSerial(issuer, serial) => {
            issuer.matches(certificate.issuer()) && serial == certificate.serial()
        }
        RecipientIdentifier::KeyIdentifier(identifier) => {
            Some(identifier.as_slice()) == certificate.subject_key_identifier()
        }
        RecipientIdentifier::None => false,
    });
    let key = content_key(name, &mine.unwrap().sealed).unwrap();
    envelope.open(&key).unwrap().to_vec()
}

/// A name for a file that no other test uses.
fn fresh(prefix: &str) -> String {
    format!("{prefix}-{}", data_encoding::HEXLOWER.encode(&crypto::random::<8>()))
}

/// `openssl cms -encrypt` over ENTITY.
fn openssl(options: &str) -> Vec<u8> {
    let name = fresh("plain");
    ca().write(&name, ENTITY);
    ca().openssl(&format!("cms -encrypt -binary -in {name} -outform DER {options}"))
}
