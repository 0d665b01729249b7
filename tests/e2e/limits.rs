//! Limits: what one client, sender or login may do, and what it costs the others.

use crate::support::pki::{BUDI, RINA, SITI};
use crate::support::process::run;
use crate::support::{Client, Setup, Sink, letter, swaks};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

fn transaction(address: SocketAddr, from: &str, to: &str, id: &str) -> String {
    crate::support::client::send(address, from, &[to], &letter(from, to, id, "x"))
}

#[test]
fn s64_mails_of_a_client_and_of_a_sender() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let limits = "[limits.client]\nmails = 5\n[limits.sender]\nmails = 3\nrecipients = 20\n";
    let gateway = Setup::new(inside.address, outside.address).more(limits).start();
    let replies: Vec<_> =
        (0..4).map(|number| transaction(gateway.outside, RINA, SITI, &format!("sender-{number}"))).collect();
    assert!(replies[..3].iter().all(|reply| reply.starts_with("250")), "{replies:?}");
    assert!(replies[3].starts_with("450 4.7.1 "), "{replies:?}");
    // Another sender has his own; the client has one for all, and a reload forgets nothing.
    let other = "lain@mitra.example";
    assert!(transaction(gateway.outside, other, SITI, "other").starts_with("250"));
    assert_eq!(gateway.segel(&["reload"]).code, 0);
    assert!(transaction(gateway.outside, "tiga@mitra.example", SITI, "third").starts_with("450 4.7.1 "));
    // A sender behind a trusted mail server is limited, the server is not.
    let replies: Vec<_> =
        (0..4).map(|number| transaction(gateway.inside, SITI, RINA, &format!("in-{number}"))).collect();
    assert!(replies[2].starts_with("250") && replies[3].starts_with("450 4.7.1 "), "{replies:?}");
    let replies: Vec<_> =
        (0..3).map(|number| transaction(gateway.inside, BUDI, RINA, &format!("budi-{number}"))).collect();
    assert!(replies.iter().all(|reply| reply.starts_with("250")), "{replies:?}");
}

#[test]
fn s64_connections_of_a_client() {
    need!("openssl", "aiosmtpd", "smtp-source");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).more("[limits.client]\nconnections = 3\n").start();
    let mut clients: Vec<_> = (0..3).map(|_| Client::hello(gateway.outside)).collect();
    Client::silent(gateway.outside).expect("421 4.7.0 ");
    // The trusted side has no such limit.
    Client::hello(gateway.inside);
    for client in &mut clients {
        client.send("QUIT");
        client.expect("221");
        assert_eq!(client.reply(), None);
    }
    let again = std::iter::repeat_with(|| {
        std::thread::park_timeout(Duration::from_millis(20));
        Client::silent(gateway.outside).reply().unwrap_or_default()
    });
    assert!(again.take(3000).any(|greeting| greeting.starts_with("220")));
    // Many at once are refused, and served when there is room.
    gateway.edit("connections = 3", "connections = 3\nexempt = [\"127.0.0.0/8\"]");
    assert_eq!(gateway.segel(&["reload"]).code, 0);
    let mut source = Command::new("smtp-source");
    source.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-s", "50", "-m", "100", "-f", RINA, "-t", SITI]);
    let output = run(source.arg(format!("inet:127.0.0.1:{}", gateway.outside.port())), b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn s64_errors_of_a_client() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).more("[limits.client]\nerrors = 6\n").start();
    for _ in 0..2 {
        let mut client = Client::hello(gateway.outside);
        for _ in 0..3 {
            client.send("FOO");
            client.expect("500 5.5.1 ");
        }
    }
    let mut client = Client::hello(gateway.outside);
    client.send("FOO");
    client.expect("500 5.5.1 ");
    client.expect("421 4.7.0 ");
    assert_eq!(client.reply(), None);
    Client::silent(gateway.outside).expect("421 4.7.0 ");
    // Nobody else is concerned.
    Client::hello(gateway.inside);
}

#[test]
fn s66_fifty_bad_recipients_keep_nobody_waiting() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let mut slow = Client::hello(gateway.outside);
    slow.send(&format!("MAIL FROM:<{RINA}>"));
    slow.expect("250");
    let started = Instant::now();
    let group: String = (0..50).map(|number| format!("RCPT TO:<u{number}@elsewhere.example>\r\n")).collect();
    slow.raw(group.as_bytes());
    for _ in 0..3 {
        slow.expect("550 5.7.1 ");
    }
    for number in 0..20 {
        assert!(transaction(gateway.outside, RINA, SITI, &format!("meanwhile-{number}")).starts_with("250"));
    }
    for _ in 0..3 {
        slow.expect("550 5.7.1 ");
    }
    // 1 + 2 + 3 s.
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(6), "{waited:?}");
}

#[test]
fn s24_improper_pipelining_is_refused_outside() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let early = format!("EHLO c.example\r\nMAIL FROM:<{RINA}>\r\nRCPT TO:<{SITI}>\r\nDATA\r\n");
    let mut client = Client::connect(gateway.outside);
    client.raw(early.as_bytes());
    client.expect("554 5.5.0 ");
    assert_eq!(client.reply(), None);
    // A trusted mail server may do as it likes.
    let mut client = Client::connect(gateway.inside);
    client.raw(early.as_bytes());
    client.expect("250");
    client.expect("250");
    client.expect("250");
    client.expect("354");
}

#[test]
fn s65_a_floor_of_free_space() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let limits = "[limits]\nfree_space = \"1000000GiB\"\n";
    let gateway = Setup::new(inside.address, outside.address).more(limits).start();
    for (address, from) in [(gateway.inside, SITI), (gateway.outside, RINA)] {
        let mut client = Client::hello(address);
        client.send(&format!("MAIL FROM:<{from}>"));
        client.expect("452 4.3.1 ");
    }
    gateway.edit("1000000GiB", "1KiB");
    assert_eq!(gateway.segel(&["reload"]).code, 0);
    let taken = std::iter::repeat_with(|| {
        std::thread::park_timeout(Duration::from_millis(100));
        transaction(gateway.inside, SITI, RINA, "space")
    });
    assert!(taken.take(600).any(|reply| reply.starts_with("250")));
}

#[test]
fn s10_local_parts_keep_their_case() {
    need!("openssl", "aiosmtpd", "swaks");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let sent = swaks(
        gateway.outside,
        "RiNa@Mitra.Example",
        "SiTi@KABUPATEN.go.ID",
        &["--header", "Message-ID: <case@test.example>"],
    );
    assert_eq!(sent.code, 0, "{}", sent.text);
    let mail = inside.find("case");
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("RiNa@Mitra.Example", &["SiTi@KABUPATEN.go.ID".to_owned()][..])
    );
}

#[test]
fn s63_recipients_are_verified_by_the_server_that_gets_the_mail() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) =
        (Sink::with(&[("refuse", "tidak-ada@kabupaten.go.id"), ("later", "nanti@kabupaten.go.id")]), Sink::start());
    let gateway = Setup::new(inside.address, outside.address)
        .domain("verify_recipients = true\n")
        .more("[limits.client]\nunknown = 3\n")
        .start();
    let mut client = Client::hello(gateway.outside);
    client.send(&format!("MAIL FROM:<{RINA}>"));
    client.expect("250");
    for (recipient, expected) in [
        (SITI, "250 2.1.5 "),
        ("tidak-ada@kabupaten.go.id", "550 5.1.1 "),
        ("Tidak-Ada@kabupaten.go.id", "550 5.1.1 "),
        ("nanti@kabupaten.go.id", "450 4.4.3 "),
        ("postmaster@kabupaten.go.id", "250 2.1.5 "),
        ("tidak-ada@kabupaten.go.id", "550 5.1.1 "),
    ] {
        client.send(&format!("RCPT TO:<{recipient}>"));
        let reply = client.expect(expected);
        assert!(!reply.contains("no such user"), "{reply}");
    }
    // Whoever guesses names is sent away.
    client.send("RCPT TO:<tidak-ada@kabupaten.go.id>");
    client.expect("421 4.7.0 ");
    Client::silent(gateway.outside).expect("421 4.7.0 ");
    // No mail was sent to ask.
    assert!(inside.mails().is_empty());
}

#[test]
fn the_limit_of_open_files_is_raised_and_what_does_not_fit_is_said() {
    need!("openssl", "aiosmtpd");
    let inside = Sink::start();
    let mut setup = Setup::new(inside.address, inside.address);
    let limited = "ulimit -Sn 300; ulimit -Hn 1200; exec \"$0\" \"$@\"";
    setup.under = ["sh", "-c", limited].map(str::to_owned).into();
    let mut gateway = setup.start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.server().id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["1200", "1200"]);
    // 1000 connections unless the configuration says otherwise.
    let said = gateway.wait_log("limits.connections needs more open files");
    assert!(said.contains("needed=1600") && said.contains("LimitNOFILE"), "{said}");
}
