//! TLS from outside: certificates made by OpenSSL, and a session through `openssl s_client`.

use super::process::run;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// Names that the gateway's certificates bear.
pub const GATE: &str = "gerbang.kabupaten.go.id";
pub const OTHER: &str = "mx.lain.example";

/// The files: `ca.pem gate.pem other.pem new.pem siti.pem relay.pem revoked.pem stranger.pem`, their keys, `crl.pem`.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// The same for all tests of a run.
    pub fn shared() -> &'static Self {
        static MADE: OnceLock<Certificates> = OnceLock::new();
        MADE.get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let made = Self { folder };
            made.make();
            made
        })
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn openssl(&self, line: &str) {
        let output =
            run(Command::new("openssl").args(line.split(' ').collect::<Vec<_>>()).current_dir(&self.folder), b"");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn make(&self) {
        let ca =
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
        fs::write(self.folder.join("ca.ext"), ca).unwrap();
        for name in ["ca", "stranger-ca"] {
            self.key(name);
            self.openssl(&format!(
                "x509 -req -in {name}.csr -signkey {name}.key -set_serial 1 -extfile ca.ext -days 300 -sha256 -out {name}.pem"
            ));
        }
        let rows = [
            ("gate", "ca", 10, "serverAuth", format!("DNS:{GATE}")),
            ("other", "ca", 11, "serverAuth", "DNS:*.lain.example".to_owned()),
            ("new", "ca", 12, "serverAuth", format!("DNS:{GATE}")),
            ("siti", "ca", 13, "clientAuth", "email:siti@kabupaten.go.id".to_owned()),
            ("relay", "ca", 14, "clientAuth", "DNS:relay.kabupaten.go.id".to_owned()),
            ("revoked", "ca", 15, "clientAuth", "email:siti@kabupaten.go.id".to_owned()),
            ("stranger", "stranger-ca", 16, "clientAuth", "email:siti@kabupaten.go.id".to_owned()),
        ];
        for (name, issuer, serial, usage, names) in rows {
            self.key(name);
            let extensions = format!(
                "basicConstraints=critical,CA:FALSE\nextendedKeyUsage={usage}\nsubjectAltName={names}\n\
                 subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            );
            fs::write(self.folder.join(format!("{name}.ext")), extensions).unwrap();
            self.openssl(&format!(
                "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -set_serial {serial} -extfile {name}.ext -days 200 -sha256 -out {name}.pem"
            ));
        }
        fs::write(self.folder.join("index"), "R\t400101000000Z\t260101000000Z\t0F\tunknown\t/CN=revoked\n").unwrap();
        fs::write(self.folder.join("number"), "01\n").unwrap();
        let config = "[ca]\ndefault_ca=it\n[it]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n\
             default_crl_days=30\ncrl_extensions=ext\n[ext]\nauthorityKeyIdentifier=keyid\n";
        fs::write(self.folder.join("ca.cnf"), config).unwrap();
        self.openssl("ca -gencrl -config ca.cnf -keyfile ca.key -cert ca.pem -out crl.pem");
    }

    fn key(&self, name: &str) {
        let kind = "ec -pkeyopt ec_paramgen_curve:P-256";
        self.openssl(&format!("req -new -newkey {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    }

    /// One more server's certificate.
    pub fn server(&self, name: &str, serial: usize) {
        self.key(name);
        let extensions =
            format!("extendedKeyUsage=serverAuth\nsubjectAltName=DNS:{name}\nauthorityKeyIdentifier=keyid\n");
        fs::write(self.folder.join(format!("{name}.ext")), extensions).unwrap();
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -extfile {name}.ext -days 200 -sha256 -out {name}.pem"
        ));
    }

    /// `[tls]` with two certificates, as lines of the configuration.
    pub fn configuration(&self) -> String {
        format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[[tls.also]]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            self.path("gate.pem"),
            self.path("gate.key"),
            self.path("other.pem"),
            self.path("other.key"),
        )
    }
}

/// What `openssl s_client` says of a connection that ends at once: exit code and output.
pub fn handshake(address: SocketAddr, options: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-starttls", "smtp", "-name", "client.test.example"]);
    command.args(["-CAfile", &Certificates::shared().path("ca.pem")]).args(options);
    let output = run(&mut command, b"QUIT\n");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A session inside TLS.
pub struct Secure {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Secure {
    /// STARTTLS, with more of `s_client`'s options, and EHLO inside.
    pub fn starttls(address: SocketAddr, options: &[&str]) -> Self {
        let mut secure =
            Self::new(address, &[&["-starttls", "smtp", "-name", "client.test.example"], options].concat());
        secure.send("EHLO client.test.example");
        // What s_client itself has read before is shown as well.
        loop {
            let reply = secure.reply().expect("an answer to EHLO");
            if reply.lines().count() > 1 {
                break;
            }
        }
        secure
    }

    /// TLS from the first octet; the greeting is read.
    pub fn implicit(address: SocketAddr, options: &[&str]) -> Self {
        let mut secure = Self::new(address, options);
        secure.expect("220");
        secure
    }

    fn new(address: SocketAddr, options: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-crlf", "-connect", &address.to_string()]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    pub fn send(&mut self, line: &str) {
        self.raw(format!("{line}\n").as_bytes());
    }

    /// Lines with LF ends.
    pub fn raw(&mut self, octets: &[u8]) {
        // A session that has ended shows at the next reply.
        self.input.write_all(octets).and_then(|()| self.input.flush()).ok();
    }

    /// The next reply, all lines; none when the connection has ended.
    pub fn reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if !self.output.read_line(&mut line).is_ok_and(|read| read > 0) {
                return None;
            }
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(reply);
            }
        }
    }

    /// The next reply, which must begin with `start`.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        let reply = self.reply().unwrap_or_else(|| panic!("expected {start}, found the end of the connection"));
        assert!(reply.starts_with(start), "expected {start}, found {reply}");
        reply
    }

    /// Lines with the beginnings of their replies.
    #[track_caller]
    pub fn script(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            self.send(line);
            let reply = self.reply().unwrap_or_else(|| panic!("{line}: the end of the connection"));
            assert!(reply.starts_with(expected), "{line}: {reply}");
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
