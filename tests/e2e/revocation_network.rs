//! Revocation lists from the network: a server that is up, slow, down, lying, redirecting, and one that nobody may ask.

use crate::support::client::send;
use crate::support::crl::{Authority, Mode};
use crate::support::pki::{ASING, BUDI, JOKO, RINA, SITI};
use crate::support::{Gateway, PATIENCE, Setup, Sink, fields, letter};
use std::time::{Duration, Instant};

/// A sender with a certificate, one whose certificate is revoked (serial 17), a gateway.
struct Scene {
    authority: Authority,
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
}

fn scene(change: impl Fn(Setup) -> Setup) -> Scene {
    let authority = Authority::new();
    authority.person(RINA, "issuing", 16);
    authority.person(JOKO, "issuing", 17);
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = change(authority.setup(&inside, &outside)).start();
    Scene { authority, inside, outside, gateway }
}

impl Scene {
    /// The reply to a mail that `signer` signed.
    fn mail(&self, signer: &str, id: &str) -> String {
        let content = self.authority.pki.sign(&letter(signer, SITI, id, "x"), signer);
        send(self.gateway.outside, signer, &[SITI], &content)
    }

    fn verdict(&self, id: &str) -> String {
        fields(&self.inside.find(id).content, "segel-verdict").remove(0)
    }

    fn up(&self, number: usize, revoked: &[usize]) {
        self.authority.server.set(Mode::Up(self.authority.crl("issuing", number, revoked, "")));
    }

    fn status(&self) -> serde_json::Value {
        let rows = self.gateway.segel(&["revocation", "status", "--json"]).json();
        rows.into_iter().find(|row| row["location"] == self.authority.url()).unwrap_or_default()
    }

    fn hits(&self) -> usize {
        self.authority.server.hits().len()
    }
}

#[test]
fn i27_a_list_is_fetched_once_and_decides() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    scene.up(1, &[17]);
    assert!(scene.mail(RINA, "good").starts_with("250"));
    assert!(scene.verdict("good").starts_with("valid"), "{}", scene.verdict("good"));
    assert!(scene.mail(JOKO, "revoked").starts_with("250"));
    let held = scene.gateway.held();
    assert!(held.len() == 1 && held[0].to_string().contains("revoked"), "{held:?}");
    // The list that says so lies beside the mail.
    let id = held[0]["queue_id"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("evidence").display().to_string();
    let answer = scene.gateway.segel(&["quarantine", "evidence", "--dir", &to, id]);
    let told = format!("{answer:?}");
    assert_eq!(answer.code, 0, "{told}");
    assert_eq!(scene.authority.server.hits(), ["GET /a.crl HTTP/1.1"]);
    let status = scene.status();
    assert_eq!(
        (&status["state"], &status["source"], &status["number"], &status["entries"]),
        (&"current".into(), &"fetched".into(), &"01".into(), &1.into()),
        "{status}"
    );
    // It outlives the process.
    let mut scene = scene;
    scene.gateway.stop();
    scene.authority.server.set(Mode::Down);
    scene.gateway.start();
    assert!(scene.mail(RINA, "after").starts_with("250"));
    assert!(scene.verdict("after").starts_with("valid"));
    assert_eq!(scene.hits(), 1);
}

#[test]
fn i27_a_server_that_is_down_defers_and_costs_nothing_after_that() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    assert!(scene.mail(RINA, "down").starts_with("451 4.7.5"));
    let begun = Instant::now();
    for turn in 0..5 {
        assert!(scene.mail(RINA, &format!("down-{turn}")).starts_with("451 4.7.5"));
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(scene.hits(), 1, "the dead server is left alone");
    let status = scene.status();
    assert_eq!((&status["state"], &status["failures"]), (&"stale".into(), &1.into()), "{status}");
    let told = health(&scene.gateway);
    assert!(told.contains("degraded") && told.contains(&scene.authority.url()), "{told}");
    // An operator does not wait for the next try.
    scene.up(1, &[]);
    let answer = scene.gateway.segel(&["revocation", "refresh", &scene.authority.url()]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(scene.mail(RINA, "up").starts_with("250"));
    assert!(scene.verdict("up").starts_with("valid"));
    assert!(health(&scene.gateway).contains("\"ok\""));
    assert_eq!(scene.gateway.segel(&["revocation", "refresh", "http://nowhere.example/"]).code, 3);
}

#[test]
fn i27_a_list_that_only_ldap_has_is_told_to_the_operator() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    let place = "ldap://ldap.example/cn=a?certificateRevocationList";
    scene.authority.person_with(RINA, "issuing", 16, place);
    assert!(scene.mail(RINA, "ldap").starts_with("451 4.7.5"));
    let rows = scene.gateway.segel(&["revocation", "status", "--json"]).json();
    let row = rows.iter().find(|row| row["location"] == place).unwrap_or_else(|| panic!("not told: {rows:?}"));
    let why = row["last_error"].as_str().unwrap_or_default();
    assert!(row["state"] == "stale" && why.contains("segel revocation import"), "{row}");
    let told = health(&scene.gateway);
    assert!(told.contains("degraded") && told.contains("ldap.example"), "{told}");
    // What it says to do helps.
    std::fs::write(scene.authority.path("a.crl"), scene.authority.crl("issuing", 1, &[], "")).unwrap();
    let answer = scene.gateway.segel(&["revocation", "import", &scene.authority.path("a.crl")]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(scene.mail(RINA, "imported").starts_with("250"));
    assert!(scene.verdict("imported").starts_with("valid"), "{}", scene.verdict("imported"));
    assert_eq!(scene.hits(), 0);
}

/// What `/health` says.
fn health(gateway: &Gateway) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(gateway.console()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn i27_a_slow_server_is_waited_for_a_while_and_soft_fail_delivers_marked() {
    need!("openssl", "aiosmtpd");
    let mut scene = scene(|setup| setup);
    scene.gateway.stop();
    let anchor = format!("[[trust.anchor]]\nfile = \"{}\"\n", scene.authority.path("issuing.pem"));
    scene.gateway.edit(&anchor, &format!("{anchor}revocation = \"soft-fail\"\n"));
    scene.gateway.start();
    scene.authority.server.set(Mode::Slow(Duration::from_secs(60)));
    let begun = Instant::now();
    assert!(scene.mail(RINA, "slow").starts_with("250"));
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(10) && waited < Duration::from_secs(40), "{waited:?}");
    let verdict = scene.verdict("slow");
    assert!(verdict.starts_with("indeterminate") && verdict.contains("revocation-unknown"), "{verdict}");
}

#[test]
fn p03_lies_prove_nothing_and_a_good_list_stays() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    let authority = &scene.authority;
    authority.person(ASING, "stranger-root", 16);
    scene.up(5, &[17]);
    assert!(scene.mail(RINA, "good").starts_with("250"));
    let good = authority.crl("issuing", 6, &[], "");
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    for (mode, why) in [
        (Mode::Up(b"<html>welcome</html>".to_vec()), "PEM"),
        (Mode::Up(authority.crl("stranger-root", 9, &[], "")), "stranger-root"),
        (Mode::Up(broken), "signature"),
        (Mode::Up(authority.crl("issuing", 4, &[], "")), "older"),
        (
            Mode::Up(authority.crl(
                "issuing",
                9,
                &[],
                "-crl_lastupdate 20400101000000Z -crl_nextupdate 20410101000000Z",
            )),
            "future",
        ),
        (Mode::Truncated(good.clone()), "broken"),
        (Mode::Oversized, "larger"),
        (Mode::Redirect("http://169.254.169.254/latest/".to_owned()), "169.254.169.254"),
        (Mode::Redirect("file:///etc/passwd".to_owned()), "scheme"),
        (Mode::Redirect("/again".to_owned()), "redirects"),
    ] {
        authority.server.set(mode.clone());
        assert_eq!(scene.gateway.segel(&["revocation", "refresh"]).code, 1, "{why}");
        let status = scene.status();
        let error = status["last_error"].as_str().unwrap_or_default();
        assert!(error.contains(why) && status["state"] == "failing", "{why}: {status}");
        assert_eq!(status["number"], "05", "{why}: {status}");
    }
    assert!(scene.mail(JOKO, "still").starts_with("250"));
    assert!(scene.gateway.held()[0].to_string().contains("revoked"));
    // A newer one takes its place: Joko's hold was a mistake.
    authority.server.set(Mode::Up(good));
    assert_eq!(scene.gateway.segel(&["revocation", "refresh"]).code, 0);
    assert!(scene.mail(JOKO, "again").starts_with("250"));
    assert!(scene.verdict("again").starts_with("valid"));
}

#[test]
fn i67_nobody_is_asked_for_a_stranger_and_nobody_private() {
    need!("openssl", "aiosmtpd");
    let strangers = scene(|setup| setup);
    strangers.up(1, &[]);
    strangers.authority.person(ASING, "stranger-root", 16);
    let content = strangers.authority.pki.sign(&letter(ASING, SITI, "stranger", "x"), ASING);
    assert!(send(strangers.gateway.outside, ASING, &[SITI], &content).starts_with("250"));
    assert!(strangers.verdict("stranger").contains("untrusted"));
    assert_eq!(strangers.hits(), 0);
    // The server is on a private address, and that is not allowed.
    let mut private = scene(|setup| setup);
    private.gateway.stop();
    private.gateway.edit("allow_private = [\"127.0.0.1/32\"]\n", "");
    private.gateway.start();
    private.up(1, &[]);
    assert!(private.mail(RINA, "private").starts_with("451"));
    assert_eq!(private.hits(), 0);
    assert!(private.status()["last_error"].to_string().contains("127.0.0.1 is no address of the Internet"));
    // Switched off, there is a way by hand.
    private.gateway.stop();
    private.gateway.edit("[fetch]\n", "[fetch]\nenabled = false\n");
    private.gateway.start();
    assert!(private.mail(RINA, "off").starts_with("451"));
    private.authority.crl("stranger-root", 1, &[], "");
    let import =
        |private: &Scene| private.gateway.segel(&["revocation", "import", &private.authority.path("made.der")]);
    let unknown = import(&private);
    assert!(unknown.code == 3 && unknown.errors.contains("no known CA"), "{unknown:?}");
    private.authority.crl("issuing", 2, &[17], "");
    let known = import(&private);
    assert_eq!(known.code, 0, "{known:?}");
    assert!(private.mail(RINA, "imported").starts_with("250"));
    assert!(private.verdict("imported").starts_with("valid"));
    private.authority.crl("issuing", 1, &[], "");
    assert!(import(&private).errors.contains("older"));
    let audit = private.gateway.segel(&["audit", "search", "--json"]);
    assert!(audit.output.contains("crl-imported"), "{audit:?}");
    assert_eq!(private.hits(), 0);
}

#[test]
fn p03_a_list_is_fetched_again_before_it_ends() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    let until = |seconds: i64| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        format!("-crl_nextupdate {}", end.strftime("%Y%m%d%H%M%SZ"))
    };
    scene.authority.server.set(Mode::Up(scene.authority.crl("issuing", 1, &[], &until(20))));
    assert!(scene.mail(RINA, "first").starts_with("250"));
    assert_eq!(scene.hits(), 1);
    scene.up(2, &[16]);
    let begun = Instant::now();
    while scene.hits() < 2 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    while scene.status()["number"] != "02" {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(scene.mail(RINA, "second").starts_with("250"));
    assert_eq!(scene.gateway.held().len(), 1);
}

#[test]
fn p03_own_certificates_are_checked_on_the_network_before_signing() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    for (address, serial) in [(SITI, 32), (BUDI, 33)] {
        scene.authority.person(address, "issuing", serial);
        let (password, file) = (scene.authority.path("password"), scene.authority.path(&format!("{address}.p12")));
        let answer = scene.gateway.segel(&["key", "import", "--address", address, "--password-file", &password, &file]);
        assert_eq!(answer.code, 0, "{answer:?}");
    }
    let out = |from: &str, id: &str| send(scene.gateway.inside, from, &[RINA], &letter(from, RINA, id, "x"));
    assert!(out(SITI, "down").starts_with("451 4.7.5"));
    scene.up(1, &[33]);
    assert_eq!(scene.gateway.segel(&["revocation", "refresh"]).code, 0);
    assert!(out(SITI, "signed").starts_with("250"));
    assert!(fields(&scene.outside.find("signed").content, "content-type")[0].contains("multipart/signed"));
    let refused = out(BUDI, "revoked");
    assert!(refused.starts_with("550"), "{refused}");
    assert!(!scene.outside.has("revoked"));
}

#[test]
fn p03_grace_keeps_own_certificates_signing_but_never_a_revoked_one() {
    need!("openssl", "aiosmtpd");
    let authority = Authority::new();
    let (inside, outside) = (Sink::start(), Sink::start());
    for (address, serial) in [(SITI, 32), (BUDI, 33)] {
        authority.person(address, "issuing", serial);
    }
    let ended = |hours: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        format!("-crl_lastupdate 20260101000000Z -crl_nextupdate {}", at.strftime("%Y%m%d%H%M%SZ"))
    };
    let mut setup = authority.setup(&inside, &outside);
    let list = |hours| authority.crl("issuing", 1, &[33], &ended(hours));
    std::fs::write(authority.path("list.der"), list(1)).unwrap();
    setup.crls = format!("[\"{}\"]", authority.path("list.der"));
    let mut gateway = setup.start();
    for address in [SITI, BUDI] {
        let (password, file) = (authority.path("password"), authority.path(&format!("{address}.p12")));
        let answer = gateway.segel(&["key", "import", "--address", address, "--password-file", &password, &file]);
        assert_eq!(answer.code, 0, "{answer:?}");
    }
    let out =
        |gateway: &Gateway, from: &str, id: &str| send(gateway.inside, from, &[RINA], &letter(from, RINA, id, "x"));
    assert!(out(&gateway, SITI, "grace").starts_with("250"));
    assert!(out(&gateway, BUDI, "revoked").starts_with("550"));
    assert_eq!(authority.server.hits().len(), 1, "it was asked for a newer one all the same");
    gateway.stop();
    std::fs::write(authority.path("list.der"), list(25)).unwrap();
    gateway.start();
    assert!(out(&gateway, SITI, "over").starts_with("451"));
    assert!(out(&gateway, BUDI, "revoked-still").starts_with("550"));
}

#[test]
fn i67_nobody_is_asked_before_the_reply_for_what_is_inside() {
    need!("openssl", "aiosmtpd");
    let scene = scene(|setup| setup);
    scene.up(1, &[17]);
    // Wati's key of the shared CA opens it; what is inside is signed under this one.
    let shared = crate::support::Pki::with_mailboxes();
    scene.gateway.own_key(crate::support::pki::WATI, crate::support::pki::WATI);
    let signed = scene.authority.pki.sign(&letter(RINA, crate::support::pki::WATI, "inside", "x"), RINA);
    let recipient = shared.path(&format!("{}.pem", crate::support::pki::WATI));
    let content = shared.encrypt(&signed, &["-aes256", &recipient]);
    let reply = send(scene.gateway.outside, RINA, &[crate::support::pki::WATI], &content);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(scene.hits(), 0, "asked before the reply");
    // Later it may be.
    let begun = Instant::now();
    while scene.hits() == 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn p33_mail_that_needs_the_time_is_deferred_after_a_jump() {
    need!("openssl", "aiosmtpd", "faketime");
    let clock = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(clock.path(), "+0").unwrap();
    let mut library = String::new();
    for found in [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ] {
        if std::path::Path::new(found).exists() {
            library = found.to_owned();
        }
    }
    let scene = scene(|mut setup| {
        setup.under = vec![
            "env".to_owned(),
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.path().display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        setup
    });
    scene.up(1, &[17]);
    assert!(scene.mail(RINA, "before").starts_with("250"));
    // At once: the gateway looks at it with every question for the time.
    let later = clock.path().with_extension("later");
    std::fs::write(&later, "+30m").unwrap();
    std::fs::rename(&later, clock.path()).unwrap();
    let reply = scene.mail(RINA, "jumped");
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    scene.gateway.wait_log("the clock jumped");
    let told = health(&scene.gateway);
    assert!(told.contains("jumped"), "{told}");
    // What needs no time passes.
    assert!(send(scene.gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "plain", "x")).starts_with("250"));
}

#[test]
fn p07_a_configured_url_over_https_is_proven_by_tls_ca() {
    need!("openssl", "aiosmtpd");
    let authority = Authority::new();
    authority.person(RINA, "issuing", 16);
    authority.tls("tls");
    authority.crl("issuing", 1, &[], "");
    let port = crate::support::port::free();
    let mut command = std::process::Command::new("openssl");
    command.args([
        "s_server",
        "-WWW",
        "-quiet",
        "-cert",
        "tls.pem",
        "-key",
        "tls.key",
        "-accept",
        &format!("127.0.0.1:{port}"),
    ]);
    let _server = crate::support::process::Process::start(command.current_dir(&authority.pki.folder));
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let (inside, outside) = (Sink::start(), Sink::start());
    let url = format!("https://127.0.0.1:{port}/made.der");
    let mut setup = authority.setup(&inside, &outside);
    setup.crls = format!("[\"{url}\"]");
    setup.more = setup.more.replace("ports = [80,", &format!("ports = [80, {port},"));
    let mut gateway = setup.start();
    let status = |gateway: &Gateway| {
        let rows = gateway.segel(&["revocation", "status", "--json"]).json();
        rows.into_iter().find(|row| row["location"] == url.as_str()).unwrap_or_default()
    };
    while !status(&gateway)["last_error"].to_string().contains("TLS with 127.0.0.1") {
        assert!(begun.elapsed() < PATIENCE, "{}", status(&gateway));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    gateway.stop();
    gateway.edit("[fetch]\n", &format!("[tls]\nca = \"{}\"\n[fetch]\n", authority.path("issuing.pem")));
    gateway.start();
    assert_eq!(gateway.segel(&["revocation", "refresh", &url]).code, 0, "{}", status(&gateway));
    assert_eq!((&status(&gateway)["state"], &status(&gateway)["source"]), (&"current".into(), &"configured".into()));
    // It is at hand, so the certificate's own URL is not asked.
    let content = authority.pki.sign(&letter(RINA, SITI, "https", "x"), RINA);
    assert!(send(gateway.outside, RINA, &[SITI], &content).starts_with("250"));
    assert!(fields(&inside.find("https").content, "segel-verdict")[0].starts_with("valid"));
    assert!(authority.server.hits().is_empty());
    // The same without a gateway: only what stands below the trusted CA is asked, and loopback is nobody's to ask.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.eml");
    std::fs::write(&file, &content).unwrap();
    let file = file.display().to_string();
    let asked = gateway.segel(&["inspect", "--json", "--fetch", &file]);
    assert_eq!(asked.json()[0]["verdict"], "valid", "{asked:?}");
}
