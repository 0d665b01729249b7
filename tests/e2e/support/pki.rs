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

/// Own people whose keys sign and decrypt: RSA, and an elliptic curve.
pub const WATI: &str = "wati@kabupaten.go.id";
pub const EKO: &str = "eko@kabupaten.go.id";
/// Wati's key of last year: another file name, the same address.
pub const WATI_OLD: &str = "wati-old";
/// Partners to whom can be encrypted: RSA, RSA, P-256, P-384.
pub const RATNA: &str = "ratna@mitra.example";
pub const LILIS: &str = "lilis@mitra.example";
pub const DODI: &str = "dodi@mitra.example";
pub const HANA: &str = "hana@mitra.example";
/// His certificate is revoked.
pub const YUDI: &str = "yudi@mitra.example";
/// Hers has ended.
pub const LAMA: &str = "lama@mitra.example";
/// Another CA's certificate for Ratna's address.
pub const RATNA_ELSEWHERE: &str = "ratna-elsewhere";
/// One without any certificate.
pub const TANPA: &str = "tanpa@mitra.example";

/// Password of the PKCS#12 files.
pub const PASSWORD: &str = "rahasia";

/// In the shared list before his certificate is made.
const YUDI_SERIAL: usize = 70;
/// The same, for a certificate that others would encrypt to.
pub const REVOKED_OPENER: usize = 0x4b03;

/// Usages of a key that signs, and of one to which can be encrypted besides.
const SIGNS: &str = "digitalSignature";
const RSA: (&str, &str) = ("rsa:2048", "digitalSignature,keyEncipherment");
const P256: (&str, &str) = ("ec -pkeyopt ec_paramgen_curve:P-256", "digitalSignature,keyAgreement");
const P384: (&str, &str) = ("ec -pkeyopt ec_paramgen_curve:P-384", "digitalSignature,keyAgreement");

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
        let revoked = |serial: usize| {
            format!("R\t400101000000Z\t260101000000Z,keyCompromise\t{serial:02X}\tunknown\t/CN=revoked\n")
        };
        self.crl("issuing", "crl", &[revoked(16 + 5), revoked(YUDI_SERIAL), revoked(REVOKED_OPENER)].concat());
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

    /// The same with those to whom can be encrypted, whose keys take a while to make.
    pub fn with_mailboxes() -> &'static Self {
        static MADE: OnceLock<()> = OnceLock::new();
        let pki = Self::shared();
        MADE.get_or_init(|| pki.make_mailboxes());
        pki
    }

    fn make_mailboxes(&self) {
        let rows = [
            (WATI, WATI, RSA, 64),
            (WATI_OLD, WATI, RSA, 65),
            (EKO, EKO, P256, 66),
            (RATNA, RATNA, RSA, 67),
            (LILIS, LILIS, RSA, 68),
            (DODI, DODI, P256, 69),
            (YUDI, YUDI, RSA, YUDI_SERIAL),
            (HANA, HANA, P384, 71),
        ];
        for (name, address, kind, serial) in rows {
            self.key_of(name, address, kind);
            self.certify(name, "issuing", serial);
        }
        self.key_of(LAMA, LAMA, RSA);
        self.certify_for(LAMA, "issuing", 72, "20250101000000Z", "20260101000000Z");
        // A second CA under the same root.
        self.openssl("req -new -newkey rsa:2048 -nodes -keyout second.key -out second.csr -subj /CN=Kedua");
        self.openssl(
            "x509 -req -in second.csr -CA root.pem -CAkey root.key -set_serial 3 -extfile ca.ext -days 300 -sha256 -out second.pem",
        );
        self.crl("second", "second-crl", "");
        self.key_of(RATNA_ELSEWHERE, RATNA, RSA);
        self.certify(RATNA_ELSEWHERE, "second", 16);
    }

    /// A key, a certificate and the PKCS#12 of both.
    pub fn person(&self, address: &str, issuer: &str, serial: usize) {
        self.key_of(address, address, ("rsa:2048", SIGNS));
        self.certify(address, issuer, serial);
    }

    /// A key and a request; `kind` is what `req -newkey` takes, and the usages.
    fn key_of(&self, name: &str, address: &str, (kind, usage): (&str, &str)) {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,{usage}\nextendedKeyUsage=emailProtection\n\
             subjectAltName=email:{address}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        );
        fs::write(self.folder.join(format!("{name}.ext")), extensions).unwrap();
        self.openssl(&format!("req -new -newkey {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    }

    fn certify(&self, name: &str, issuer: &str, serial: usize) {
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -set_serial {serial} -extfile {name}.ext -days 200 -sha256 -out {name}.pem"
        ));
        self.openssl(&format!(
            "pkcs12 -export -inkey {name}.key -in {name}.pem -certfile {issuer}.pem -passout file:password -out {name}.p12"
        ));
    }

    /// A key for encryption alone, with a certificate for `address` that begins at `from`: `NAME.p12`.
    pub fn opener(&self, name: &str, address: &str, serial: usize, from: &str) {
        self.key_of(name, address, ("rsa:2048", "keyEncipherment"));
        self.certify_for(name, "issuing", serial, from, "20401231000000Z");
        self.openssl(&format!(
            "pkcs12 -export -inkey {name}.key -in {name}.pem -certfile issuing.pem -passout file:password -out {name}.p12"
        ));
    }

    /// A certificate from one time to another: `openssl ca` alone can do that.
    fn certify_for(&self, name: &str, issuer: &str, serial: usize, from: &str, to: &str) {
        let config = format!(
            "[ca]\ndefault_ca=it\n[it]\ndatabase={name}.index\nserial={name}.serial\nnew_certs_dir=.\ndefault_md=sha256\n\
             policy=any\n[any]\ncommonName=supplied\n"
        );
        fs::write(self.folder.join(format!("{name}.cnf")), config).unwrap();
        fs::write(self.folder.join(format!("{name}.index")), "").unwrap();
        fs::write(self.folder.join(format!("{name}.serial")), format!("{serial:04X}\n")).unwrap();
        self.openssl(&format!(
            "ca -batch -notext -config {name}.cnf -cert {issuer}.pem -keyfile {issuer}.key -in {name}.csr -extfile {name}.ext -startdate {from} -enddate {to} -out {name}.pem"
        ));
    }

    /// A revocation list of `issuer` with these lines of OpenSSL's index.
    pub fn crl(&self, issuer: &str, name: &str, index: &str) {
        self.crl_with(issuer, name, index, "");
    }

    fn crl_with(&self, issuer: &str, name: &str, index: &str, more: &str) {
        fs::write(self.folder.join(format!("{name}.index")), index).unwrap();
        fs::write(self.folder.join(format!("{name}.number")), "01\n").unwrap();
        let config = format!(
            "[ca]\ndefault_ca=it\n[it]\ndatabase={name}.index\ncrlnumber={name}.number\ndefault_md=sha256\ndefault_crl_days=30\n\
             crl_extensions=ext\n[ext]\nauthorityKeyIdentifier=keyid\n"
        );
        fs::write(self.folder.join(format!("{name}.cnf")), config).unwrap();
        self.openssl(&format!(
            "ca -gencrl -config {name}.cnf -keyfile {issuer}.key -cert {issuer}.pem -out {name}.pem{more}"
        ));
        self.openssl(&format!("crl -in {name}.pem -outform DER -out {name}.der"));
    }

    /// A list of the issuing CA whose time is over.
    pub fn expired_crl(&self) -> String {
        static MADE: OnceLock<()> = OnceLock::new();
        MADE.get_or_init(|| {
            self.crl_with("issuing", "old-crl", "", " -crl_lastupdate 20260101000000Z -crl_nextupdate 20260201000000Z");
        });
        self.path("old-crl.der")
    }

    /// `letter` as `multipart/signed` by the holder of `signer`'s key: what OpenSSL makes of it.
    pub fn sign(&self, letter: &[u8], signer: &str) -> Vec<u8> {
        self.sign_with(letter, signer, &[])
    }

    /// The same, with more of OpenSSL's options (`-nodetach`, `-md sha384`).
    pub fn sign_with(&self, letter: &[u8], signer: &str, more: &[&str]) -> Vec<u8> {
        let (outer, entity) = parts(letter);
        [outer, self.signed(&entity, signer, more)].concat()
    }

    /// The entity that OpenSSL makes of `entity` by signing it.
    pub fn signed(&self, entity: &[u8], signer: &str, more: &[&str]) -> Vec<u8> {
        let issuer = match signer {
            ASING => "stranger-root.pem",
            RATNA_ELSEWHERE => "second.pem",
            _ => "issuing.pem",
        };
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(["cms", "-sign", "-binary", "-crlfeol", "-signer"]);
        command.args([&format!("{signer}.pem"), "-inkey", &format!("{signer}.key"), "-certfile", issuer]).args(more);
        let output = run(&mut command, entity);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        super::crlf(&output.stdout)
    }

    /// The entity that OpenSSL makes of `entity` by encrypting it. `options` are the cipher and the recipients.
    pub fn encrypted(&self, entity: &[u8], options: &[&str]) -> Vec<u8> {
        super::crlf(&self.cms_encrypt(entity, options))
    }

    /// What `openssl cms -encrypt` writes: S/MIME, or DER with `-outform DER`.
    pub fn cms_encrypt(&self, entity: &[u8], options: &[&str]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(["cms", "-encrypt", "-binary"]).args(options);
        let output = run(&mut command, entity);
        assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// `letter` signed by `signer`, then encrypted: the usual mail of a partner.
    pub fn sign_and_encrypt(&self, letter: &[u8], signer: &str, options: &[&str]) -> Vec<u8> {
        let (outer, entity) = parts(letter);
        let inside = self.signed(&entity, signer, &[]);
        [outer, self.encrypted(&inside, options)].concat()
    }

    /// `letter` encrypted and signed by nobody.
    pub fn encrypt(&self, letter: &[u8], options: &[&str]) -> Vec<u8> {
        let (outer, entity) = parts(letter);
        [outer, self.encrypted(&entity, options)].concat()
    }

    /// A SignedData with certificates and no signature, in base64.
    pub fn certificates_only(&self) -> String {
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(["crl2pkcs7", "-nocrl", "-certfile", "root.pem"]);
        let pem = String::from_utf8(run(&mut command, b"").stdout).unwrap();
        pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n")
    }

    /// What `openssl cms -decrypt` finds in a mail with the key `name`.
    pub fn decrypt(&self, mail: &[u8], name: &str) -> Result<Vec<u8>, String> {
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(["cms", "-decrypt", "-recip", &format!("{name}.pem")]);
        let output = run(command.args(["-inkey", &format!("{name}.key")]), mail);
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The CMS object of a mail, as OpenSSL prints it.
    pub fn print(&self, mail: &[u8]) -> String {
        let mut command = Command::new("openssl");
        let output = run(command.args(["cms", "-cmsout", "-print", "-noout"]), mail);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// To which serial numbers a mail is encrypted.
    pub fn recipients(&self, mail: &[u8]) -> Vec<String> {
        let printed = self.print(mail);
        let list = printed.split("ncryptedContentInfo").next().unwrap().split("recipientInfos").nth(1).unwrap();
        let serials = list.lines().filter_map(|line| line.trim().strip_prefix("serialNumber:"));
        serials.map(|serial| serial.trim().to_owned()).collect()
    }

    /// The serial number in a certificate, written as in `recipients`.
    pub fn serial(&self, name: &str) -> String {
        let output = openssl(&["x509", "-in", &self.path(&format!("{name}.pem")), "-noout", "-text"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Serial Number:")).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
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

/// The fields of a letter that stay outside, and its entity.
pub fn parts(letter: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let text = String::from_utf8(letter.to_vec()).unwrap();
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    let lower = |line: &str| line.to_ascii_lowercase();
    let of_entity = |line: &&str| lower(line).starts_with("content-");
    let (inner, outer): (Vec<&str>, Vec<&str>) = header.split("\r\n").partition(of_entity);
    let outer: Vec<&str> = outer.into_iter().filter(|line| !lower(line).starts_with("mime-version")).collect();
    let entity = format!("{}\r\n\r\n{body}", inner.join("\r\n"));
    (format!("{}\r\n", outer.join("\r\n")).into_bytes(), entity.into_bytes())
}
