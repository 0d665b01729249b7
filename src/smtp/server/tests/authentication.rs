use super::super::{Secured, Settings};
use super::{ENVELOPE, Server, settings};
use data_encoding::BASE64;

fn offering() -> Settings {
    Settings { starttls: true, plain: true, external: true, command_line: 13_483, ..settings() }
}

/// `[authzid] NUL authcid NUL passwd` in base64.
fn plain(authorisation: &str, name: &str, password: &str) -> String {
    BASE64.encode(format!("{authorisation}\0{name}\0{password}").as_bytes())
}

/// A session inside TLS, greeted, whose client showed this certificate.
fn secured(settings: Settings, certificate: Option<&str>) -> Server {
    let mut server = Server::with(settings, 1 << 20);
    server.tls = Some(Secured { tls: "TLSv1.3 X".to_owned(), certificate: certificate.map(str::to_owned) });
    server.send("EHLO c.example\r\n");
    server.script(&[("STARTTLS", "220 2.0.0 ")]);
    server
}

#[test]
fn s39_starttls_is_offered_once() {
    let mut server = Server::with(offering(), 1 << 20);
    assert!(server.send("EHLO c.example\r\n").ends_with("\r\n250 STARTTLS\r\n"));
    server.script(&[("STARTTLS now", "501 5.5.4 "), ("STARTTLS", "220 2.0.0 ")]);
    let extensions = server.send("EHLO c.example\r\n");
    assert!(!extensions.contains("STARTTLS") && extensions.ends_with("\r\n250 AUTH PLAIN\r\n"), "{extensions}");
    server.script(&[("STARTTLS", "503 5.5.1 ")]);
    assert!(server.dialogue.client().tls.as_deref().is_some_and(|tls| tls.starts_with("TLSv1.3")));
    // Where there is none.
    Server::greeted().script(&[("STARTTLS", "502 5.5.1 ")]);
    let mut server = Server::with(offering(), 1 << 20);
    server.tls = None;
    server.script(&[("STARTTLS", "454 4.7.0 "), ("NOOP", "250 2.0.0 ")]);
}

#[test]
fn s38_starttls_forgets_everything() {
    let mut server = Server::with(offering(), 1 << 20);
    server.send("EHLO c.example\r\n");
    server.script(&ENVELOPE);
    server.script(&[
        ("STARTTLS", "220 2.0.0 "),
        ("RCPT TO:<u@own.example>", "503 5.5.1 "),
        ("MAIL FROM:<a@b.example>", "503 5.5.1 "),
        ("DATA", "503 5.5.1 "),
    ]);
    assert_eq!(server.dialogue.client().hello.name, "");
}

#[test]
fn s38_what_stands_behind_starttls_is_never_executed() {
    for rest in ["MAIL FROM:<a@b.example>\r\n", "EHLO x.example\r\n", "N", "\x16\x03\x01\x02\0"] {
        let mut server = Server::with(offering(), 1 << 20);
        server.send("EHLO c.example\r\n");
        let replies = server.send(format!("STARTTLS\r\n{rest}"));
        assert!(replies.starts_with("554 5.5.0 ") && replies.lines().count() == 1, "{replies}");
        assert!(server.closed);
    }
}

#[test]
fn s39_mail_needs_tls_where_the_listener_says_so() {
    let required = Settings { require_tls: true, ..offering() };
    let mut server = Server::with(required, 1 << 20);
    server.send("EHLO c.example\r\n");
    server.script(&[
        ("MAIL FROM:<a@b.example>", "530 5.7.0 "),
        ("RCPT TO:<u@own.example>", "530 5.7.0 "),
        ("DATA", "530 5.7.0 "),
        ("VRFY x", "530 5.7.0 "),
        ("AUTH PLAIN", "530 5.7.0 "),
        ("NOOP", "250 2.0.0 "),
        ("RSET", "250 2.0.0 "),
        ("STARTTLS", "220 2.0.0 "),
    ]);
    server.send("EHLO c.example\r\n");
    server.script(&ENVELOPE);
}

#[test]
fn s43_auth_plain() {
    let good = plain("", "siti", "rahasia");
    for (lines, expected) in [
        (vec![format!("AUTH PLAIN {good}")], "235 2.7.0 "),
        (vec!["AUTH PLAIN".to_owned(), good.clone()], "235 2.7.0 "),
        (vec![format!("auth plain {}", plain("siti", "siti", "rahasia"))], "235 2.7.0 "),
        (vec![format!("AUTH PLAIN {}", plain("budi", "siti", "rahasia"))], "535 5.7.8 "),
        (vec![format!("AUTH PLAIN {}", plain("", "siti", "salah"))], "535 5.7.8 "),
        (vec![format!("AUTH PLAIN {}", plain("", "later", "x"))], "454 4.7.0 "),
        (vec!["AUTH PLAIN =".to_owned()], "535 5.7.8 "),
        (vec!["AUTH PLAIN".to_owned(), String::new()], "535 5.7.8 "),
        (vec!["AUTH PLAIN AGEA*".to_owned()], "501 5.5.2 "),
        (vec!["AUTH PLAIN".to_owned(), "no base64".to_owned()], "501 5.5.2 "),
        (vec!["AUTH PLAIN".to_owned(), "*".to_owned()], "501 5.7.0 "),
        (vec!["AUTH PLAIN".to_owned(), "A".repeat(12_289)], "500 5.5.6 "),
        (vec!["AUTH PLAIN".to_owned(), "A".repeat(12_288)], "535 5.7.8 "),
        (vec![format!("AUTH PLAIN {}", BASE64.encode(b"\0siti\0rahasia\0"))], "535 5.7.8 "),
        (vec![format!("AUTH PLAIN {}", BASE64.encode(b"siti rahasia"))], "535 5.7.8 "),
        (vec!["AUTH LOGIN".to_owned()], "504 5.5.4 "),
        (vec!["AUTH EXTERNAL".to_owned()], "504 5.5.4 "),
        (vec!["AUTH".to_owned()], "501 5.5.4 "),
    ] {
        let mut server = secured(offering(), None);
        server.send("EHLO c.example\r\n");
        if let [first, last] = lines.as_slice() {
            assert_eq!(server.send(format!("{first}\r\n")), "334 \r\n");
            server.script(&[(last, expected)]);
        } else {
            server.script(&[(&lines[0], expected)]);
        }
        server.script(&[("NOOP", "250 2.0.0 ")]);
        let login = server.dialogue.client().login.clone();
        assert_eq!(login, expected.starts_with("235").then(|| "siti".to_owned()), "{lines:?}");
    }
}

#[test]
fn s43_auth_has_its_place() {
    let good = format!("AUTH PLAIN {}", plain("", "siti", "rahasia"));
    let mut server = Server::with(offering(), 1 << 20);
    assert!(!server.send("EHLO c.example\r\n").contains("AUTH"));
    server.script(&[(&good, "538 5.7.11 "), ("STARTTLS", "220 "), (&good, "503 5.5.1 ")]);
    server.send("EHLO c.example\r\n");
    server.script(&[ENVELOPE[0], (&good, "503 5.5.1 "), ("RSET", "250 "), (&good, "235 "), (&good, "503 5.5.1 ")]);
    server.script(&ENVELOPE);
    assert_eq!(server.dialogue.client().protocol(), "ESMTPSA");
    // STARTTLS cannot come again, EHLO can: who has logged in stays that.
    server.send("EHLO c.example\r\n");
    assert_eq!(server.dialogue.client().identity(), Some("siti"));
    Server::greeted().script(&[(&good, "502 5.5.1 ")]);
}

#[test]
fn s43_guessing_ends() {
    let mut server = secured(offering(), None);
    server.send("EHLO c.example\r\n");
    let wrong = format!("AUTH PLAIN {}", plain("", "siti", "salah"));
    server.script(&[(&wrong, "535 5.7.8 "), (&wrong, "535 5.7.8 "), (&wrong, "421 4.7.0 ")]);
    assert!(server.closed);
}

#[test]
fn s44_external_is_the_certificate() {
    let name = "relay.mitra.example";
    for (line, expected) in [
        ("AUTH EXTERNAL =".to_owned(), "235 2.7.0 "),
        (format!("AUTH EXTERNAL {}", BASE64.encode(name.as_bytes())), "235 2.7.0 "),
        (format!("AUTH EXTERNAL {}", BASE64.encode(b"other.mitra.example")), "535 5.7.8 "),
    ] {
        let mut server = secured(offering(), Some(name));
        let extensions = server.send("EHLO c.example\r\n");
        assert!(extensions.ends_with("\r\n250 AUTH PLAIN EXTERNAL\r\n"), "{extensions}");
        server.script(&[(&line, expected)]);
        assert_eq!(server.dialogue.client().login.is_some(), expected.starts_with("235"));
    }
    let mut server = secured(offering(), Some(name));
    server.send("EHLO c.example\r\n");
    assert_eq!(server.send("AUTH EXTERNAL\r\n"), "334 \r\n");
    server.script(&[("", "235 2.7.0 ")]);
}

#[test]
fn s43_who_must_log_in_does_before_mail() {
    let required = Settings { must_log_in: true, ..offering() };
    let mut server = secured(required.clone(), None);
    server.send("EHLO c.example\r\n");
    server.script(&[(ENVELOPE[0].0, "530 5.7.0 "), (&format!("AUTH PLAIN {}", plain("", "siti", "rahasia")), "235 ")]);
    server.script(&ENVELOPE);
    // A verified certificate is enough.
    let mut server = secured(required, Some("relay.mitra.example"));
    server.send("EHLO c.example\r\n");
    server.script(&ENVELOPE);
    assert_eq!(server.dialogue.client().protocol(), "ESMTPS");
    assert_eq!(server.dialogue.client().identity(), Some("relay.mitra.example"));
}
