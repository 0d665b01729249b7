//! A CA whose certificates say where its revocation list is, and the HTTP server that has it, with faults on demand.

use super::pki::{PASSWORD, Pki};
use super::process::run;
use super::{Setup, Sink};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// What the server does.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Gives these octets.
    Up(Vec<u8>),
    /// Closes at once.
    Down,
    /// Says nothing, for so long.
    Slow(Duration),
    /// 302 to there.
    Redirect(String),
    /// Promises so many octets more than it gives.
    Truncated(Vec<u8>),
    /// A Content-Length beyond every bound.
    Oversized,
}

/// A server on loopback; it ends with the test's process.
pub struct Server {
    pub port: u16,
    mode: Arc<Mutex<Mode>>,
    hits: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, mode: Arc::new(Mutex::new(Mode::Down)), hits: Arc::default() };
        let (mode, hits) = (Arc::clone(&server.mode), Arc::clone(&server.hits));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mode, hits) = (mode.lock().unwrap().clone(), Arc::clone(&hits));
                std::thread::spawn(move || answer(stream.unwrap(), mode, &hits));
            }
        });
        server
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// The first lines of all requests.
    pub fn hits(&self) -> Vec<String> {
        self.hits.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, mode: Mode, hits: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    hits.lock().unwrap().push(first);
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n");
    let octets = match mode {
        Mode::Up(content) => [ok(content.len()).into_bytes(), content].concat(),
        Mode::Down => return,
        Mode::Slow(time) => {
            std::thread::park_timeout(time);
            return;
        }
        Mode::Redirect(to) => format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        Mode::Truncated(content) => [ok(content.len() + 10).into_bytes(), content].concat(),
        Mode::Oversized => ok(1 << 40).into_bytes(),
    };
    // The gateway may have hung up already: that is its right.
    stream.write_all(&octets).ok();
}

/// A root that is trusted, and one that is not; both say that their list is at the server.
pub struct Authority {
    pub server: Server,
    pub pki: Pki,
    _folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { server: Server::start(), pki: Pki { folder: folder.path().to_owned() }, _folder: folder };
        std::fs::write(this.path("password"), PASSWORD).unwrap();
        for name in ["issuing", "stranger-root"] {
            this.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days 300 -subj /CN={name}-{} \
                 -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign",
                this.server.port
            ));
        }
        this
    }

    pub fn path(&self, name: &str) -> String {
        self.pki.path(name)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/a.crl", self.server.port)
    }

    fn openssl(&self, line: &str) {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = run(Command::new("openssl").args(arguments).current_dir(&self.pki.folder), b"");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key, a certificate and the PKCS#12 of both, for `address`.
    pub fn person(&self, address: &str, issuer: &str, serial: usize) {
        self.person_with(address, issuer, serial, &self.url());
    }

    /// The same, with another place for the list.
    pub fn person_with(&self, address: &str, issuer: &str, serial: usize, url: &str) {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n\
             subjectAltName=email:{address}\ncrlDistributionPoints=URI:{url}\n"
        );
        std::fs::write(self.path(&format!("{address}.ext")), extensions).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {address}.key -out {address}.csr -subj /CN={address}"
        ));
        self.openssl(&format!(
            "x509 -req -in {address}.csr -CA {issuer}.pem -CAkey {issuer}.key -set_serial {serial} -extfile {address}.ext -days 200 -out {address}.pem"
        ));
        self.openssl(&format!(
            "pkcs12 -export -inkey {address}.key -in {address}.pem -certfile {issuer}.pem -passout file:password -out {address}.p12"
        ));
    }

    /// A key and a certificate for https on 127.0.0.1.
    pub fn tls(&self, name: &str) {
        std::fs::write(
            self.path("tls.ext"),
            "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1\n",
        )
        .unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA issuing.pem -CAkey issuing.key -set_serial 99 -extfile tls.ext -days 200 -out {name}.pem"
        ));
    }

    /// The list with this number, naming these serials; `times` are `openssl ca` options.
    pub fn crl(&self, issuer: &str, number: usize, revoked: &[usize], times: &str) -> Vec<u8> {
        let line = |serial: &usize| {
            format!("R\t400101000000Z\t260101000000Z,keyCompromise\t{serial:02X}\tunknown\t/CN=revoked\n")
        };
        let index: String = revoked.iter().map(line).collect();
        std::fs::write(self.path("index"), index).unwrap();
        std::fs::write(self.path("number"), format!("{number:02X}\n")).unwrap();
        let config =
            "[ca]\ndefault_ca=it\n[it]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\n";
        std::fs::write(self.path("crl.cnf"), config).unwrap();
        self.openssl(&format!(
            "ca -gencrl -config crl.cnf -keyfile {issuer}.key -cert {issuer}.pem -out made.pem {times}"
        ));
        self.openssl("crl -in made.pem -outform DER -out made.der");
        self.pki.read("made.der")
    }

    /// A gateway that trusts the one root and may ask the server.
    pub fn setup(&self, inside: &Sink, outside: &Sink) -> Setup {
        let mut setup = Setup::new(inside.address, outside.address).more(&format!(
            "[[trust.anchor]]\nfile = \"{}\"\n[fetch]\nallow_private = [\"127.0.0.1/32\"]\nports = [80, {}]\n",
            self.path("issuing.pem"),
            self.server.port
        ));
        setup.keys = Vec::new();
        setup
    }
}
