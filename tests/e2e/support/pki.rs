//! A certificate authority, run by OpenSSL: a root, an issuing CA, staff, partners, revocation lists.

use super::process::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Whom the gateway signs for.
pub const SITI: &str = "siti@kabupaten.go.id";
pub const BUDI: &str = "budi@kabupaten.go.id";
/// A colleague without a key.
pub const TONO: &str = "tono@kabupaten.go.id";
/// The organisation's own certificate, for `substitute`.
pub const ORGANISATION: &str = "humas@kabupaten.go.id";
/// Partners; Joko's certificate is revoked.
pub const RINA: &str = "rina@mitra.example";
pub const DEWI: &str = "dewi@mitra.example";
pub const JOKO: &str = "joko@mitra.example";
/// One whose root nobody knows.
pub const ASING: &str = "asing@lain.example";

/// Password of the PKCS#12 files.
pub const PASSWORD: &str = "rahasia";

/// The files: `root.pem issuing.pem crl.der root-crl.der ADDRESS.pem ADDRESS.key ADDRESS.p12 password`.
pub struct Pki {
    pub folder: PathBuf,
}

/// Runs openssl; its output, whatever the exit code.
pub fn openssl(arguments: &[&str]) -> Output {
    run(Command::new("openssl").args(arguments), b"")
}

impl Pki {
    /// The same for all tests of a run.
    pub fn shared() -> &'static Self {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(|| {
            // Lives as long as the process, which has no place to remove it; `target/tmp` is cargo's to clean.
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let pki = Self { folder };
            pki.make();
            pki
        })
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }

    fn openssl(&self, line: &str) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = run(Command::new("openssl").args(arguments).current_dir(&self.folder), b"");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn make(&self) {
        let ca =
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
        fs::write(self.folder.join("ca.ext"), ca).unwrap();
        fs::write(self.folder.join("password"), PASSWORD).unwrap();
        self.root("root", "/CN=Akar");
        self.root("stranger-root", "/CN=Asing");
        self.openssl("req -new -newkey rsa:2048 -nodes -keyout issuing.key -out issuing.csr -subj /CN=Penerbit");
        self.openssl(
            "x509 -req -in issuing.csr -CA root.pem -CAkey root.key -set_serial 2 -extfile ca.ext -days 300 -sha256 -out issuing.pem",
        );
        for (number, address) in [SITI, BUDI, ORGANISATION, RINA, DEWI, JOKO].into_iter().enumerate() {
            self.person(address, "issuing", 16 + number);
        }
        self.person(ASING, "stranger-root", 16);
        self.crl(
            "issuing",
            "crl",
            &format!("R\t400101000000Z\t260101000000Z,keyCompromise\t{:02X}\tunknown\t/CN=joko\n", 16 + 5),
        );
        self.crl("root", "root-crl", "");
        // `openssl cms` takes lists from where it takes anchors.
        fs::write(self.folder.join("root-and-crl.pem"), [self.read("root.pem"), self.read("crl.pem")].concat())
            .unwrap();
    }

    fn root(&self, name: &str, subject: &str) {
        self.openssl(&format!("req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj {subject}"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -signkey {name}.key -set_serial 1 -extfile ca.ext -days 300 -sha256 -out {name}.pem"
        ));
    }

    /// A key, a certificate and the PKCS#12 of both.
    pub fn person(&self, address: &str, issuer: &str, serial: usize) {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n\
             subjectAltName=email:{address}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        );
        fs::write(self.folder.join(format!("{address}.ext")), extensions).unwrap();
        self.openssl(&format!(
            "req -new -newkey rsa:2048 -nodes -keyout {address}.key -out {address}.csr -subj /CN={address}"
        ));
        self.openssl(&format!(
            "x509 -req -in {address}.csr -CA {issuer}.pem -CAkey {issuer}.key -set_serial {serial} -extfile {address}.ext -days 200 -sha256 -out {address}.pem"
        ));
        self.openssl(&format!(
            "pkcs12 -export -inkey {address}.key -in {address}.pem -certfile {issuer}.pem -passout file:password -out {address}.p12"
        ));
    }

    /// A revocation list of `issuer` with these lines of OpenSSL's index.
    pub fn crl(&self, issuer: &str, name: &str, index: &str) {
        fs::write(self.folder.join(format!("{name}.index")), index).unwrap();
        fs::write(self.folder.join(format!("{name}.number")), "01\n").unwrap();
        let config = format!(
            "[ca]\ndefault_ca=it\n[it]\ndatabase={name}.index\ncrlnumber={name}.number\ndefault_md=sha256\ndefault_crl_days=30\n\
             crl_extensions=ext\n[ext]\nauthorityKeyIdentifier=keyid\n"
        );
        fs::write(self.folder.join(format!("{name}.cnf")), config).unwrap();
        self.openssl(&format!(
            "ca -gencrl -config {name}.cnf -keyfile {issuer}.key -cert {issuer}.pem -out {name}.pem"
        ));
        self.openssl(&format!("crl -in {name}.pem -outform DER -out {name}.der"));
    }

    /// `letter` as `multipart/signed` by the holder of `signer`'s key: what OpenSSL makes of it.
    pub fn sign(&self, letter: &[u8], signer: &str) -> Vec<u8> {
        self.sign_with(letter, signer, &[])
    }

    /// The same, with more of OpenSSL's options (`-nodetach`, `-md sha384`).
    pub fn sign_with(&self, letter: &[u8], signer: &str, more: &[&str]) -> Vec<u8> {
        let text = String::from_utf8(letter.to_vec()).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        let is_mime = |line: &&str| {
            let lower = line.to_ascii_lowercase();
            lower.starts_with("content-") || lower.starts_with("mime-version")
        };
        let outer: Vec<&str> = header.split("\r\n").filter(|line| !is_mime(line)).collect();
        let inner: Vec<&str> =
            header.split("\r\n").filter(|line| line.to_ascii_lowercase().starts_with("content-")).collect();
        let entity = format!("{}\r\n\r\n{body}", inner.join("\r\n"));
        let issuer = if signer == ASING { "stranger-root.pem" } else { "issuing.pem" };
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(["cms", "-sign", "-binary", "-crlfeol", "-signer"]);
        command.args([&format!("{signer}.pem"), "-inkey", &format!("{signer}.key"), "-certfile", issuer]).args(more);
        let output = run(&mut command, entity.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut signed = format!("{}\r\n", outer.join("\r\n")).into_bytes();
        signed.extend_from_slice(&super::crlf(&output.stdout));
        signed
    }

    /// What `openssl cms -verify` says of a mail, with the root as anchor; on success the address in the signer's
    /// certificate.
    pub fn verify(&self, mail: &[u8], more: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let signer = folder.path().join("signer.pem").display().to_string();
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(["cms", "-verify", "-CAfile", "root.pem", "-purpose", "smimesign"]);
        command.args(["-signer", &signer, "-out", "/dev/null"]).args(more);
        let output = run(&mut command, mail);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let addresses = openssl(&["x509", "-in", &signer, "-noout", "-email"]);
        Ok(String::from_utf8_lossy(&addresses.stdout).trim().to_owned())
    }
}
