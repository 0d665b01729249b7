//! For tests: keys, certificates and files made while they run, by OpenSSL.

#![expect(clippy::disallowed_methods, reason = "a test writes and reads its own files")]

use crate::pki::Certificate;
use std::path::PathBuf;
use std::process::Command;

/// A folder that OpenSSL works in.
pub(crate) struct Bench(tempfile::TempDir);

/// Extensions of a certificate that may sign mail.
pub(crate) const FOR_MAIL: &[&str] =
    &["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", "extendedKeyUsage=emailProtection"];

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::write(bench.path("req.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Runs OpenSSL on arguments without spaces; what it printed.
    pub(crate) fn openssl(&self, arguments: &str) -> Result<String, String> {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().expect("openssl");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// `NAME.key` (PKCS#8) and `NAME.pem`, self-signed, for `address`. `key` is what `-newkey` takes.
    pub(crate) fn pair(&self, name: &str, key: &str, address: &str, extensions: &[&str]) -> Certificate {
        let mut arguments = format!(
            "req -x509 -config req.cnf -newkey {key} -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}"
        );
        if !address.is_empty() {
            arguments += &format!(" -addext subjectAltName=email:{address}");
        }
        for extension in extensions {
            arguments += &format!(" -addext {extension}");
        }
        self.openssl(&arguments).unwrap();
        Certificate::bundle(&self.read(&format!("{name}.pem"))).unwrap().remove(0)
    }

    /// The PKCS#8 DER of `NAME.key`.
    pub(crate) fn pkcs8(&self, name: &str) -> zeroize::Zeroizing<Vec<u8>> {
        self.openssl(&format!("pkcs8 -topk8 -nocrypt -in {name}.key -outform DER -out {name}.der")).unwrap();
        zeroize::Zeroizing::new(self.read(&format!("{name}.der")))
    }

    /// `NAME.key` and `NAME.pem` of an end entity issued by `issuer`.
    pub(crate) fn issue(&self, name: &str, issuer: &str, address: &str, extensions: &[&str]) -> Certificate {
        self.openssl(&format!(
            "req -new -config req.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ))
        .unwrap();
        let mut lines = extensions.join("\n");
        if !address.is_empty() {
            lines += &format!("\nsubjectAltName=email:{address}");
        }
        self.write("ext.cnf", lines.as_bytes());
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 30 -extfile ext.cnf -out {name}.pem"
        ))
        .unwrap();
        Certificate::bundle(&self.read(&format!("{name}.pem"))).unwrap().remove(0)
    }
}
