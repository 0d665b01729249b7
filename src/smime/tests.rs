//! Keys, certificates and mails that OpenSSL makes while the tests run.
#![allow(clippy::disallowed_methods, reason = "OpenSSL takes files")]

use super::inspect::{ContentKey, Fact, Inspected, Need, Options, Scope, Step, inspect};
use crate::cms::recipient_info::RecipientIdentifier;
use crate::keys::software::OpenKey;
use crate::limits::Limits;
use crate::pki::path::{AnchorSource, TrustAnchor};
use crate::pki::{Certificate, Crl, RevocationMode};
use bytes::Bytes;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// A test CA: `root`, `issuing` and end entities, as `NAME.pem` and `NAME.key` in one folder.
pub(super) struct Ca {
    dir: PathBuf,
}

pub(super) fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(Ca::new)
}

const EXTENSIONS: &str = "
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[siti]
subjectAltName=email:siti@example.id
extendedKeyUsage=emailProtection
keyUsage=critical,digitalSignature
subjectKeyIdentifier=hash
[budi]
subjectAltName=email:budi@example.id
extendedKeyUsage=emailProtection
[again]
subjectAltName=email:budi@example.id
extendedKeyUsage=emailProtection
subjectKeyIdentifier=hash
[nobody]
extendedKeyUsage=emailProtection
[unnamed]
subjectAltName=email:siti@example.id
subjectKeyIdentifier=hash
[enc]
subjectAltName=email:siti@example.id
keyUsage=critical,keyEncipherment
subjectKeyIdentifier=hash
[odd]
subjectAltName=email:siti@example.id.evil.example
extendedKeyUsage=emailProtection
";

impl Ca {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        std::fs::write(dir.join("ext.cnf"), EXTENSIONS).unwrap();
        std::fs::write(dir.join("req.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        let ca = Self { dir };
        ca.issue("root", "/CN=Test Root", "ca", None, "EC -pkeyopt ec_paramgen_curve:P-256");
        ca.issue("issuing", "/CN=Test Issuing", "ca", Some("root"), "EC -pkeyopt ec_paramgen_curve:P-256");
        ca.issue("rsa", "/CN=Siti/C=ID", "siti", Some("issuing"), "RSA -pkeyopt rsa_keygen_bits:2048");
        ca.issue("p256", "/CN=Siti/C=ID", "siti", Some("issuing"), "EC -pkeyopt ec_paramgen_curve:P-256");
        ca.issue("p384", "/CN=Siti/C=ID", "siti", Some("issuing"), "EC -pkeyopt ec_paramgen_curve:P-384");
        ca.issue("budi", "/CN=Budi", "budi", Some("issuing"), "EC -pkeyopt ec_paramgen_curve:P-256");
        ca.issue("nobody", "/CN=Nobody", "nobody", Some("issuing"), "EC -pkeyopt ec_paramgen_curve:P-256");
        ca.issue("odd", "/CN=Odd", "odd", Some("issuing"), "EC -pkeyopt ec_paramgen_curve:P-256");
        ca.issue("enc", "/CN=Siti/C=ID", "enc", Some("issuing"), "RSA -pkeyopt rsa_keygen_bits:2048");
        // A second certificate over the key of `p256`, for another address, and a bundle with it first.
        std::fs::copy(ca.dir.join("p256.key"), ca.dir.join("again.key")).unwrap();
        ca.certify("again", "/CN=Again", "again", Some("issuing"));
        ca.write("bundle.pem", &[ca.read("again.pem"), ca.read("issuing.pem")].concat());
        ca
    }

    fn issue(&self, name: &str, subject: &str, section: &str, issuer: Option<&str>, key: &str) {
        self.openssl(&format!("genpkey -algorithm {key} -out {name}.key"));
        self.certify(name, subject, section, issuer);
    }

    /// A certificate for the key of `name` that is signed by that key itself.
    pub(super) fn self_certify(&self, name: &str, copy: &str) {
        self.write(&format!("{copy}.key"), &self.read(&format!("{name}.key")));
        self.certify(copy, "/CN=Copy", "unnamed", None);
    }

    /// A CRL of `issuer` with these certificates, each with a reason as RFC 5280 spells it.
    pub(super) fn crl(&self, issuer: &str, revoked: &[(&str, &str)]) -> Crl {
        let mut index = String::new();
        for (name, reason) in revoked {
            let serial = self.certificate(name).serial_hex().to_uppercase();
            index.push_str(&format!("R\t491231235959Z\t250101000000Z,{reason}\t{serial}\tunknown\t/CN={name}\n"));
        }
        let name = format!("crl-{}", data_encoding::HEXLOWER.encode(&crate::crypto::random::<8>()));
        self.write(&format!("{name}.txt"), index.as_bytes());
        let configuration = format!("[ca]\ndefault_ca=c\n[c]\ndatabase={name}.txt\ndefault_md=sha256\n");
        self.write(&format!("{name}.cnf"), configuration.as_bytes());
        let pem = self
            .openssl(&format!("ca -gencrl -config {name}.cnf -crldays 30 -cert {issuer}.pem -keyfile {issuer}.key"));
        self.write(&format!("{name}.pem"), &pem);
        let der = self.openssl(&format!("crl -in {name}.pem -outform DER"));
        Crl::from_der(&der, &Limits::default()).unwrap()
    }

    fn certify(&self, name: &str, subject: &str, section: &str, issuer: Option<&str>) {
        self.openssl_with(&[
            "req",
            "-new",
            "-config",
            "req.cnf",
            "-key",
            &format!("{name}.key"),
            "-subj",
            subject,
            "-out",
            "csr",
        ]);
        let by = match issuer {
            Some(issuer) => format!("-CA {issuer}.pem -CAkey {issuer}.key"),
            None => format!("-signkey {name}.key"),
        };
        let serial = format!("0x00{}", data_encoding::HEXLOWER.encode(&crate::crypto::sha256(name.as_bytes())[..8]));
        self.openssl(&format!(
            "x509 -req -in csr {by} -days 30 -set_serial {serial} -extfile ext.cnf -extensions {section} -out {name}.pem"
        ));
    }

    /// Runs OpenSSL in the folder; its output, if it succeeds.
    pub(super) fn try_openssl(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = Command::new("openssl").current_dir(&self.dir).args(arguments).output().unwrap();
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    pub(super) fn openssl_with(&self, arguments: &[&str]) -> Vec<u8> {
        self.try_openssl(arguments).unwrap_or_else(|error| panic!("openssl {arguments:?}: {error}"))
    }

    pub(super) fn openssl(&self, line: &str) -> Vec<u8> {
        self.openssl_with(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.join(name), bytes).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(name)).unwrap()
    }

    pub(super) fn certificate(&self, name: &str) -> Certificate {
        Certificate::bundle(&self.read(&format!("{name}.pem"))).unwrap().remove(0)
    }

    /// Signs with a private key as `keys` would.
    pub(super) fn sign(&self, name: &str, message: &[u8]) -> Vec<u8> {
        use aws_lc_rs::{rand::SystemRandom, rsa, signature as sig};
        let key = self.openssl(&format!("pkcs8 -topk8 -nocrypt -outform DER -in {name}.key"));
        let ec = |algorithm| {
            let pair = sig::EcdsaKeyPair::from_pkcs8(algorithm, &key).unwrap();
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        };
        match name {
            "rsa" => {
                let pair = rsa::KeyPair::from_pkcs8(&key).unwrap();
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&sig::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut out).unwrap();
                out
            }
            "p384" => ec(&sig::ECDSA_P384_SHA384_ASN1_SIGNING),
            _ => ec(&sig::ECDSA_P256_SHA256_ASN1_SIGNING),
        }
    }

    /// `openssl cms -sign` over ENTITY with further options; the whole message with CRLF line ends.
    pub(super) fn signed(&self, from: &str, options: &str) -> Vec<u8> {
        self.signed_content(ENTITY, from, options)
    }

    pub(super) fn signed_content(&self, content: &[u8], from: &str, options: &str) -> Vec<u8> {
        let name = format!("in-{}", data_encoding::HEXLOWER.encode(&crate::crypto::random::<8>()));
        self.write(&name, content);
        let out = self.openssl(&format!("cms -sign -binary -in {name} -certfile issuing.pem {options}"));
        [format!("From: {from}\r\nTo: x@example.org\r\nSubject: s\r\n").as_bytes(), &crlf(&out)].concat()
    }

    pub(super) fn options(&self) -> Options {
        let anchor = TrustAnchor {
            certificate: self.certificate("root"),
            revocation: RevocationMode::None,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: crate::pki::Harvesting::default(),
        };
        let at = self.certificate("odd").not_before();
        Options {
            scope: Scope::Full,
            at: jiff::Timestamp::from_second(at.as_second() + 3600).unwrap(),
            anchors: Arc::from(vec![anchor]),
            revocation: None,
            allow_weak: Vec::new(),
            blocked: Arc::default(),
            limits: Arc::new(Limits::default()),
        }
    }

    /// Runs OpenSSL over `content` in a file of its own: `cms LINE -binary -in FILE -outform DER`.
    pub(super) fn cms(&self, content: &[u8], line: &str) -> Vec<u8> {
        let name = format!("in-{}", data_encoding::HEXLOWER.encode(&crate::crypto::random::<8>()));
        self.write(&name, content);
        let (verb, options) = line.split_once(' ').unwrap_or((line, ""));
        self.openssl(&format!("cms {verb} -binary -in {name} -outform DER {options}"))
    }

    /// What the private keys with these names answer to a need.
    pub(super) fn content_keys(&self, names: &[&str], need: &Need) -> Vec<ContentKey> {
        let Need::ContentKeys { recipients, length } = need else { return Vec::new() };
        let mut found = Vec::new();
        for name in names {
            let certificate = self.certificate(name);
            let pkcs8 = self.openssl(&format!("pkcs8 -topk8 -nocrypt -outform DER -in {name}.key"));
            let key = OpenKey::from_pkcs8(&pkcs8).unwrap();
            for recipient in recipients {
                let meant = match &recipient.identifier {
                    RecipientIdentifier::IssuerAndSerial(issuer, serial) => {
                        certificate.issuer().matches(issuer) && certificate.serial() == serial
                    }
                    RecipientIdentifier::KeyIdentifier(octets) => {
                        certificate.subject_key_identifier() == Some(octets.as_slice())
                    }
                    RecipientIdentifier::None => false,
                };
                if meant && let Ok(octets) = key.content_key(&recipient.sealed, *length) {
                    found.push(ContentKey { key: (*name).to_owned(), octets });
                }
            }
        }
        found
    }

    /// Inspects with these private keys.
    pub(super) fn open(&self, message: &[u8], names: &[&str]) -> Inspected {
        finish_keys(message, self.options(), |_| Vec::new(), &[], |need| self.content_keys(names, need))
    }

    /// Inspects with nothing to be had from outside.
    pub(super) fn inspect(&self, message: &[u8]) -> Inspected {
        finish(message, self.options(), |_| Vec::new())
    }
}

pub(super) const ENTITY: &[u8] = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nHalo,\r\n\r\nini surat.\r\n";

/// Runs all rounds with `answer` for certificates; nothing for CRLs.
pub(super) fn finish(message: &[u8], options: Options, answer: impl Fn(&Need) -> Vec<Certificate>) -> Inspected {
    finish_with(message, options, answer, &[])
}

/// As `finish`, with these CRLs for their issuers.
pub(super) fn finish_with(
    message: &[u8],
    options: Options,
    answer: impl Fn(&Need) -> Vec<Certificate>,
    crls: &[Crl],
) -> Inspected {
    finish_keys(message, options, answer, crls, |_| Vec::new())
}

/// As `finish_with`, with these content keys.
pub(super) fn finish_keys(
    message: &[u8],
    options: Options,
    answer: impl Fn(&Need) -> Vec<Certificate>,
    crls: &[Crl],
    keys: impl Fn(&Need) -> Vec<ContentKey>,
) -> Inspected {
    let mut step = inspect(Bytes::copy_from_slice(message), options);
    for _ in 0..20 {
        match step {
            Step::Done(inspected) => return inspected,
            Step::Need(needs, paused) => {
                let facts = needs.iter().map(|need| match need {
                    Need::ContentKeys { .. } => Fact::ContentKeys(keys(need)),
                    Need::Certificates { .. } => Fact::Certificates(answer(need)),
                    Need::Crls { issuer, .. } => {
                        Fact::Crls(crls.iter().filter(|crl| crl.issuer().matches(issuer)).cloned().collect())
                    }
                });
                step = paused.resume(facts.collect());
            }
        }
    }
    panic!("inspect never ends");
}

/// Every line end as CRLF, whatever it was.
pub(super) fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 20);
    let mut last = 0;
    for &octet in bytes {
        if octet == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(octet);
        last = octet;
    }
    out
}
