//! TLS to next hops: welcome, required, proven. The servers' TLS is OpenSSL's.

use crate::support::client::send;
use crate::support::pki::SITI;
use crate::support::process::run;
use crate::support::{Dns, Gateway, PATIENCE, Peer, Setup, Sink, letter};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Two authorities, and certificates of servers and one client.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        for name in ["ca", "other-ca"] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}"
            ));
        }
        for (name, host, ca) in [
            ("good", "mx.test", "ca"),
            ("wrong-name", "other.test", "ca"),
            ("stranger", "mx.test", "other-ca"),
            ("client", "gerbang.kabupaten.go.id", "ca"),
        ] {
            made.openssl(&format!(
                "req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ));
            std::fs::write(made.0.path().join("ext"), format!("subjectAltName=DNS:{host}\n")).unwrap();
            made.openssl(&format!("x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -extfile ext -days 30 -out {name}.pem"));
        }
        made
    }

    fn openssl(&self, line: &str) -> String {
        let output = run(Command::new("openssl").args(line.split(' ')).current_dir(self.0.path()), b"");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn fingerprint(&self, name: &str) -> String {
        let line = self.openssl(&format!("x509 -in {name}.pem -noout -fingerprint -sha256"));
        line.trim().rsplit('=').next().unwrap().to_owned()
    }
}

/// One route with its server, and what has to become of mail there.
struct Case {
    domain: &'static str,
    /// Options of the peer; a `certificate` by its name.
    server: Value,
    tls: &'static str,
    /// Lines of its `[[server]]`.
    known: String,
    /// State and status; for `delivered` the version of TLS, `-` for none.
    expected: &'static str,
}

fn case(domain: &'static str, server: Value, tls: &'static str, known: &str, expected: &'static str) -> Case {
    Case { domain, server, tls, known: known.to_owned(), expected }
}

/// A gateway with these routes, and the peers.
fn world(certificates: &Certificates, cases: &[Case]) -> (Gateway, Vec<Peer>, Dns, Sink) {
    let dns = Dns::start("mx.test. A 127.0.0.1\n");
    let inside = Sink::start();
    let mut more = format!("{}[tls]\nca = \"{}\"\n", dns.lines(), certificates.path("ca.pem"));
    let mut peers = Vec::new();
    for case in cases {
        let mut options = case.server.clone();
        if let Some(name) = case.server["certificate"].as_str() {
            options["certificate"] = json!(certificates.path(&format!("{name}.pem")));
            options["key"] = json!(certificates.path(&format!("{name}.key")));
        }
        let peer = Peer::with(&options);
        let port = peer.address.port();
        let scheme = if options["implicit"] == true { "smtps" } else { "smtp" };
        more += &format!(
            "[[route]]\ndomain = \"{}\"\nto = \"{scheme}://mx.test:{port}\"\ntls = \"{}\"\n",
            case.domain, case.tls
        );
        if !case.known.is_empty() {
            more += &format!("[[server]]\nhost = \"mx.test\"\nport = {port}\n{}", case.known);
        }
        peers.push(peer);
    }
    let setup = Setup::new(inside.address, ([127, 0, 0, 1], 1).into()).domain("sign = \"never\"\n").more(&more);
    (setup.start(), peers, dns, inside)
}

/// `state status` of the only recipient once he has been tried, and the diagnostic.
fn tried(gateway: &Gateway, queue_id: &str) -> (String, String) {
    let begun = Instant::now();
    loop {
        let shown = gateway.segel(&["queue", "show", "--json", queue_id]).json();
        let row = &shown[0]["recipients"][0];
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        if row["state"] != "pending" || row["tries"].as_i64() > Some(0) {
            return (format!("{} {}", text("state"), text("status")), text("diagnostic"));
        }
        assert!(begun.elapsed() < PATIENCE, "never tried: {row}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// Mail to each of the routes, and what became of it.
fn check(certificates: &Certificates, cases: &[Case]) -> Vec<Peer> {
    let (gateway, peers, _dns, _inside) = world(certificates, cases);
    let ids: Vec<String> = cases
        .iter()
        .map(|case| {
            let to = format!("orang@{}", case.domain);
            let reply = send(gateway.inside, SITI, &[&to], &letter(SITI, &to, case.domain, "x"));
            assert!(reply.starts_with("250"), "{reply}");
            reply.trim_end().rsplit(' ').next().unwrap().to_owned()
        })
        .collect();
    for ((case, id), peer) in cases.iter().zip(&ids).zip(&peers) {
        let (found, why) = tried(&gateway, id);
        match case.expected.strip_prefix("delivered ") {
            Some(version) => {
                assert!(found.starts_with("delivered"), "{}: {found} {why}", case.domain);
                let tls = peer.wait(case.domain)["tls"].as_str().unwrap_or("-").to_owned();
                assert_eq!(tls, version, "{}", case.domain);
            }
            None => {
                assert_eq!(found, case.expected, "{}: {why}", case.domain);
                assert!(!peer.has(case.domain), "{}", case.domain);
                assert!(why.contains("mx.test[127.0.0.1]"), "{}: {why}", case.domain);
            }
        }
    }
    peers
}

#[test]
fn c30_tls_is_welcome_required_or_proven() {
    need!("openssl", "aiosmtpd", "knotd");
    let plain = || json!({});
    let good = || json!({"certificate": "good"});
    let stranger = || json!({"certificate": "stranger"});
    let broken = || json!({"certificate": "good", "broken": true});
    let refusing = || json!({"certificate": "good", "replies": {"STARTTLS": "454 4.7.0 not now"}});
    let injected = || json!({"certificate": "good", "behind": "250 injected\r\n"});
    let cases = [
        case("may-plain.example", plain(), "may", "", "delivered -"),
        case("may-good.example", good(), "may", "", "delivered TLSv1.3"),
        case("may-stranger.example", stranger(), "may", "", "delivered TLSv1.3"),
        case("may-broken.example", broken(), "may", "", "delivered -"),
        case("may-refused.example", refusing(), "may", "", "delivered -"),
        case("encrypt-good.example", good(), "encrypt", "", "delivered TLSv1.3"),
        case("encrypt-stranger.example", stranger(), "encrypt", "", "delivered TLSv1.3"),
        case("encrypt-plain.example", plain(), "encrypt", "", "pending 4.7.4"),
        case("encrypt-refused.example", refusing(), "encrypt", "", "pending 4.7.4"),
        case("encrypt-broken.example", broken(), "encrypt", "", "pending 4.7.5"),
        case("encrypt-injected.example", injected(), "encrypt", "", "pending 4.7.5"),
        case("verify-good.example", good(), "verify", "", "delivered TLSv1.3"),
        case("verify-old.example", json!({"certificate": "good", "tls12": true}), "verify", "", "delivered TLSv1.2"),
        case("verify-name.example", json!({"certificate": "wrong-name"}), "verify", "", "pending 4.7.5"),
        case("verify-stranger.example", stranger(), "verify", "", "pending 4.7.5"),
        case("verify-broken.example", broken(), "verify", "", "pending 4.7.5"),
        case("verify-plain.example", plain(), "verify", "", "pending 4.7.4"),
        case("implicit.example", json!({"certificate": "good", "implicit": true}), "verify", "", "delivered TLSv1.3"),
        case(
            "implicit-may.example",
            json!({"certificate": "stranger", "implicit": true}),
            "may",
            "",
            "delivered TLSv1.3",
        ),
        case(
            "implicit-bad.example",
            json!({"certificate": "stranger", "implicit": true}),
            "verify",
            "",
            "pending 4.7.5",
        ),
    ];
    let peers = check(&Certificates::make(), &cases);
    // A broken handshake is not the end of the first connection only: the second one is in plain text, by our own choice.
    let lines = peers[3].lines();
    assert_eq!(lines.iter().filter(|line| *line == "STARTTLS").count(), 1, "{lines:?}");
}

#[test]
fn c23_what_is_known_of_a_server_proves_it() {
    need!("openssl", "aiosmtpd", "knotd");
    let certificates = Certificates::make();
    let stranger = || json!({"certificate": "stranger"});
    let fingerprint = |name: &str| format!("fingerprint = \"{}\"\n", certificates.fingerprint(name));
    let identity = format!(
        "certificate = \"{}\"\nkey = \"{}\"\n",
        certificates.path("client.pem"),
        certificates.path("client.key")
    );
    let asking = || json!({"certificate": "good", "clients": certificates.path("ca.pem"), "tls12": true});
    let cases = [
        case("pinned.example", stranger(), "verify", &fingerprint("stranger"), "delivered TLSv1.3"),
        case(
            "pinned-wrong.example",
            json!({"certificate": "good"}),
            "verify",
            &fingerprint("stranger"),
            "pending 4.7.5",
        ),
        case(
            "named.example",
            json!({"certificate": "wrong-name"}),
            "verify",
            "name = \"other.test\"\n",
            "delivered TLSv1.3",
        ),
        case(
            "own-ca.example",
            stranger(),
            "verify",
            &format!("ca = \"{}\"\n", certificates.path("other-ca.pem")),
            "delivered TLSv1.3",
        ),
        case(
            "own-ca-wrong.example",
            json!({"certificate": "good"}),
            "verify",
            &format!("ca = \"{}\"\n", certificates.path("other-ca.pem")),
            "pending 4.7.5",
        ),
        case("identity.example", asking(), "verify", &identity, "delivered TLSv1.2"),
        case("identity-missing.example", asking(), "verify", "", "pending 4.7.5"),
    ];
    check(&certificates, &cases);
}

#[test]
fn c23_a_password_goes_to_a_proven_server_alone() {
    need!("openssl", "aiosmtpd", "knotd");
    let certificates = Certificates::make();
    let password = Path::new(&certificates.path("password")).to_owned();
    std::fs::write(&password, "rahasia\n").unwrap();
    let login = format!("login = \"gerbang\"\npassword_file = \"{}\"\n", password.display());
    // printf '\0gerbang\0rahasia' | base64
    let line = "AUTH PLAIN AGdlcmJhbmcAcmFoYXNpYQ==";
    let offers = |certificate: &str| json!({"certificate": certificate, "offers": ["AUTH PLAIN LOGIN"], "auth": line});
    let cases = [
        case("login.example", offers("good"), "verify", &login, "delivered TLSv1.3"),
        // Whatever the route says, who gets a password has to be proven.
        case("login-may.example", offers("good"), "may", &login, "delivered TLSv1.3"),
        case("login-stranger.example", offers("stranger"), "may", &login, "pending 4.7.5"),
        case("login-plain.example", json!({"offers": ["AUTH PLAIN"], "auth": line}), "may", &login, "pending 4.7.4"),
        case("login-not-offered.example", json!({"certificate": "good"}), "verify", &login, "pending 4.7.0"),
        case(
            "login-wrong.example",
            json!({"certificate": "good", "offers": ["AUTH PLAIN"], "auth": "another"}),
            "verify",
            &login,
            "pending 4.7.8",
        ),
    ];
    let peers = check(&certificates, &cases);
    let asked = |at: usize| peers[at].lines().iter().any(|line| line.starts_with("AUTH"));
    assert_eq!([0, 1, 2, 3, 4, 5].map(asked), [true, true, false, false, false, true]);
}
