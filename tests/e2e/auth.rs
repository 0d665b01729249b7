//! Who may send from inside, and as whom: AUTH and client certificates.

use crate::support::pki::{BUDI, RINA, SITI};
use crate::support::process::run;
use crate::support::tls::{Certificates, Secure};
use crate::support::{Client, Gateway, Setup, Sink, fields, letter, swaks};
use std::process::Command;

const PASSWORD: &str = "rahasia sekali";

/// The lines that `segel login` prints.
fn login(name: &str, password: &str) -> String {
    let output =
        run(Command::new(env!("CARGO_BIN_EXE_segel")).args(["login", name]), format!("{password}\n").as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A gateway with a listener `serah` for people and servers that prove who they are.
fn gateway(inside: &Sink, outside: &Sink) -> Gateway {
    let certificates = Certificates::shared();
    let listener = format!(
        "[[listener]]\nname = \"serah\"\nbind = \"127.0.0.1:0\"\nside = \"inside\"\nauth = [\"plain\", \"external\"]\n\
         client_ca = \"{}\"\nclient_crls = [\"{}\"]\n\
         [[authorise]]\nlogin = \"aplikasi\"\nfrom = [\"{BUDI}\"]\n\
         [[authorise]]\nlogin = \"relay.kabupaten.go.id\"\nfrom = [\"@kabupaten.go.id\"]\n",
        certificates.path("ca.pem"),
        certificates.path("crl.pem"),
    );
    let logins = [login(SITI, PASSWORD), login("aplikasi", PASSWORD)].concat();
    Setup::new(inside.address, outside.address)
        .more(&certificates.configuration())
        .more(&listener)
        .more(&logins)
        .start()
}

fn plain(name: &str, password: &str) -> String {
    data_encoding::BASE64.encode(format!("\0{name}\0{password}").as_bytes())
}

#[test]
fn s43_auth_plain() {
    need!("openssl", "aiosmtpd", "swaks");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = gateway(&inside, &outside);
    let address = gateway.listener("serah");
    let good = plain(SITI, PASSWORD);

    // Not without TLS, and no mail without either.
    let mut client = Client::connect(address);
    client.send("EHLO client.test.example");
    assert!(!client.expect("250").contains("AUTH"));
    for (line, expected) in [
        (format!("AUTH PLAIN {good}"), "538 5.7.11 "),
        (format!("MAIL FROM:<{SITI}>"), "530 5.7.0 "),
        ("RCPT TO:<x@elsewhere.example>".to_owned(), "503 5.5.1 "),
    ] {
        client.send(&line);
        client.expect(expected);
    }
    let mut secure = Secure::starttls(address, &[]);
    secure.script(&[
        (&format!("MAIL FROM:<{SITI}>"), "530 5.7.0 "),
        ("AUTH EXTERNAL =", "504 5.5.4 "),
        ("AUTH PLAIN", "334 "),
        ("*", "501 5.7.0 "),
        (&format!("AUTH PLAIN {good}"), "235 2.7.0 "),
    ]);
    let mut secure = Secure::starttls(address, &[]);
    secure.script(&[
        ("AUTH PLAIN no+base64=x", "501 5.5.2 "),
        ("AUTH PLAIN", "334 "),
        (&good, "235 2.7.0 "),
        (&format!("AUTH PLAIN {good}"), "503 5.5.1 "),
        (&format!("MAIL FROM:<{SITI}> AUTH=<>"), "250 2.1.0 "),
        ("RSET", "250 "),
    ]);
    // Guessing: an unknown name looks like a wrong password.
    let mut secure = Secure::starttls(address, &[]);
    secure.script(&[
        (&format!("AUTH PLAIN {}", plain(SITI, "salah")), "535 5.7.8 "),
        (&format!("AUTH PLAIN {}", plain("nobody", PASSWORD)), "535 5.7.8 "),
        (&format!("AUTH PLAIN {}", plain("nobody", PASSWORD)), "421 4.7.0 "),
    ]);
    assert_eq!(secure.reply(), None);

    let options = ["--tls", "--auth", "PLAIN", "--auth-user", SITI, "--auth-password", PASSWORD];
    let sent = swaks(address, SITI, RINA, &[&options[..], &["--header", "Message-ID: <auth@test.example>"]].concat());
    assert_eq!(sent.code, 0, "{}", sent.text);
    assert!(fields(&outside.find("auth").content, "received")[0].contains("with ESMTPSA"));
    assert!(!gateway.log().iter().any(|line| line.contains(PASSWORD) || line.contains(&good)));
}

#[test]
fn s45_a_login_uses_its_own_addresses() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = gateway(&inside, &outside);
    let address = gateway.listener("serah");
    for (name, may, may_not) in [(SITI, SITI, BUDI), ("aplikasi", BUDI, SITI)] {
        let mut secure = Secure::starttls(address, &[]);
        secure.script(&[
            (&format!("AUTH PLAIN {}", plain(name, PASSWORD)), "235 "),
            (&format!("MAIL FROM:<{may_not}>"), "550 5.7.1 "),
            (&format!("MAIL FROM:<{may}>"), "250 "),
            ("RSET", "250 "),
            ("MAIL FROM:<>", "250 "),
            ("RSET", "250 "),
            (&format!("MAIL FROM:<{RINA}>"), "250 "),
        ]);
    }
}

#[test]
fn s44_client_certificates() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = gateway(&inside, &outside);
    let address = gateway.listener("serah");
    let certificates = Certificates::shared();
    let show = |name: &str| {
        let (certificate, key) = (certificates.path(&format!("{name}.pem")), certificates.path(&format!("{name}.key")));
        ["-cert".to_owned(), certificate, "-key".to_owned(), key]
    };
    for version in ["-tls1_3", "-tls1_2"] {
        for (name, from, other) in [("siti", SITI, BUDI), ("relay", BUDI, RINA)] {
            let shown = show(name);
            let shown: Vec<&str> = shown.iter().map(String::as_str).chain([version]).collect();
            // The certificate is enough, AUTH EXTERNAL says it again.
            let mut secure = Secure::starttls(address, &shown);
            let expected = if name == "relay" { "250 " } else { "550 5.7.1 " };
            secure.script(&[
                (&format!("MAIL FROM:<{from}>"), "250 "),
                ("RSET", "250 "),
                (&format!("MAIL FROM:<{other}>"), expected),
                ("RSET", "250 "),
                (&format!("AUTH EXTERNAL {}", data_encoding::BASE64.encode(b"budi@kabupaten.go.id")), "535 5.7.8 "),
                ("AUTH EXTERNAL =", "235 2.7.0 "),
            ]);
        }
        for name in ["revoked", "stranger"] {
            let shown = show(name);
            let mut command = Command::new("openssl");
            command.args(["s_client", "-quiet", "-starttls", "smtp", version, "-connect", &address.to_string()]);
            let output = run(command.args(&shown), b"EHLO c.example\r\nQUIT\r\n");
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(text.contains("alert") && !text.contains("221 2.0.0"), "{name} {version}: {text}");
        }
    }
    gateway.wait_log("evoked");
}

#[test]
fn s45_a_login_signs_with_its_own_key_only() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = gateway(&inside, &outside);
    let mut secure = Secure::starttls(gateway.listener("serah"), &[]);
    secure.script(&[
        (&format!("AUTH PLAIN {}", plain(SITI, PASSWORD)), "235 "),
        (&format!("MAIL FROM:<{SITI}>"), "250 "),
        (&format!("RCPT TO:<{RINA}>"), "250 "),
        ("DATA", "354 "),
    ]);
    let mail = String::from_utf8(letter(SITI, RINA, "own-key", "x")).unwrap().replace("\r\n", "\n");
    secure.raw(mail.as_bytes());
    secure.script(&[(".", "250 ")]);
    let arrived = outside.find("own-key");
    assert_eq!(crate::support::Pki::shared().verify(&arrived.content, &[]), Ok(SITI.to_owned()));
}

#[test]
fn s65_strangers_at_a_listener_for_logins_take_nothing_of_the_insides() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let certificates = Certificates::shared();
    let listener = "[[listener]]\nname = \"serah\"\nbind = \"127.0.0.1:0\"\nside = \"inside\"\nauth = [\"plain\"]\n";
    let gateway = Setup::new(inside.address, outside.address)
        .more(&certificates.configuration())
        .more(listener)
        .more(&login(SITI, PASSWORD))
        .more("[limits]\nconnections = 10\n[limits.client]\nconnections = 0\n")
        .start();
    let address = gateway.listener("serah");
    // Nobody has logged in yet.
    let held: Vec<_> = (0..8).map(|_| Client::connect(address)).collect();
    Client::silent(address).expect("421 4.7.0 ");
    Client::silent(gateway.outside).expect("421 4.7.0 ");
    Client::hello(gateway.inside);
    drop(held);
}
