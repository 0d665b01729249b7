//! SPF, DKIM and DMARC of what comes in, and DKIM of what goes out. Names are answered by knot; Mail::DKIM judges
//! what we sign, and signs what we judge.

use crate::support::client::{Client, send, stuffed};
use crate::support::pki::{Pki, RATNA, SITI, openssl};
use crate::support::process::run;
use crate::support::{Dns, Gateway, Setup, Sink, fields, letter};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Keys of one domain, and the TXT records that publish them.
struct Keys {
    folder: TempDir,
    zone: String,
}

impl Keys {
    /// RSA as `rsa`, Ed25519 as `ed`.
    fn of(domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut zone = String::new();
        for (name, algorithm, options) in [("rsa", "RSA", "rsa_keygen_bits:2048"), ("ed", "ED25519", "")] {
            let mut line = vec!["genpkey", "-algorithm", algorithm];
            if !options.is_empty() {
                line.extend(["-pkeyopt", options]);
            }
            let file = path(&format!("{name}.pem"));
            line.extend(["-out", &file]);
            assert!(openssl(&line).status.success());
            if name == "rsa" {
                // Mail::DKIM reads PKCS#1 alone.
                let old = path("rsa1.pem");
                assert!(openssl(&["rsa", "-traditional", "-in", &file, "-out", &old]).status.success());
            }
            let der = openssl(&["pkey", "-in", &file, "-pubout", "-outform", "DER"]).stdout;
            // RFC 8463: the key itself, without the SubjectPublicKeyInfo around it.
            let (kind, key) = if name == "ed" { ("ed25519", &der[der.len() - 32..]) } else { ("rsa", &der[..]) };
            let key = data_encoding::BASE64.encode(key);
            let text = format!("v=DKIM1; k={kind}; p={key}");
            let quoted: Vec<String> =
                text.as_bytes().chunks(250).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
            zone.push_str(&format!("{name}._domainkey.{domain}. TXT {}\n", quoted.join(" ")));
        }
        Self { folder, zone }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `[[domain.dkim]]` for both.
    fn lines(&self) -> String {
        let table = |name: &str| {
            format!("[[domain.dkim]]\nselector = \"{name}\"\nkey = \"{}\"\n", self.file(&format!("{name}.pem")))
        };
        [table("rsa"), table("ed")].concat()
    }
}

/// What Mail::DKIM says of each signature: `RESULT DOMAIN SELECTOR`.
fn mail_dkim(mail: &[u8], dns: &Dns) -> Vec<String> {
    const SCRIPT: &str = r#"
        use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS;
        my ($port) = @ARGV;
        Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, recurse => 0));
        binmode STDIN; my $mail = do { local $/; <STDIN> };
        my $dkim = Mail::DKIM::Verifier->new; $dkim->PRINT($mail); $dkim->CLOSE;
        for my $s ($dkim->signatures) { print $s->result, ' ', $s->domain, ' ', $s->selector, "\n"; }
    "#;
    let port = dns.address.port().to_string();
    let output = run(Command::new("perl").args(["-e", SCRIPT, &port]), mail);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// `mail` signed by Mail::DKIM with the RSA key of these; `more` are options of its Signer.
fn sign_with_mail_dkim(mail: &[u8], domain: &str, key: &str, more: &str) -> Vec<u8> {
    let script = format!(
        r#"
        use Mail::DKIM::Signer;
        my ($domain, $key) = @ARGV; binmode STDIN; binmode STDOUT; my $mail = do {{ local $/; <STDIN> }};
        my $dkim = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => 'relaxed/relaxed', Domain => $domain,
            Selector => 'rsa', KeyFile => $key {more});
        $dkim->PRINT($mail); $dkim->CLOSE;
        print $dkim->signature->as_string, "\r\n", $mail;
        "#
    );
    let output = run(Command::new("perl").args(["-e", &script, domain, key]), mail);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What the gateway wrote into `Authentication-Results` under its own name.
fn results(mail: &[u8]) -> String {
    let ours = fields(mail, "Authentication-Results");
    ours.into_iter().filter(|value| value.starts_with("gerbang.kabupaten.go.id;")).collect::<Vec<_>>().join(" | ")
}

fn have_perl() -> bool {
    run(Command::new("perl").args(["-MMail::DKIM::Verifier", "-MNet::DNS", "-e", "1"]), b"").status.success()
}

#[test]
fn o59_what_leaves_is_signed_after_smime_and_mail_dkim_agrees() {
    need!("openssl", "aiosmtpd", "knotd", "perl");
    if !have_perl() {
        println!("skipped: Mail::DKIM is not installed");
        return;
    }
    let (inside, outside) = (Sink::start(), Sink::start());
    let keys = Keys::of("kabupaten.go.id");
    let dns = Dns::start(&keys.zone);
    Pki::with_mailboxes();
    let gateway = Setup::new(inside.address, outside.address).domain(&keys.lines()).more(&dns.lines()).start();
    gateway.know(&[RATNA]);
    // The inside server has signed already: after S/MIME that signature would be broken.
    let handed = |id: &str, to: &str| {
        sign_with_mail_dkim(&letter(SITI, to, id, "Isi surat.\n"), "kabupaten.go.id", &keys.file("rsa1.pem"), "")
    };
    for (id, to) in [("dkim-signed", "mitra@luar.example"), ("dkim-encrypted", RATNA)] {
        send(gateway.inside, SITI, &[to], &handed(id, to));
    }
    outside.wait(2);
    for id in ["dkim-signed", "dkim-encrypted"] {
        let mail = outside.find(id).content;
        assert_eq!(fields(&mail, "DKIM-Signature").len(), 2, "{id}");
        let mut judged = mail_dkim(&mail, &dns);
        judged.sort();
        // This Mail::DKIM may be older than Ed25519 in DKIM: then it says so of that one alone.
        assert!(judged.contains(&"pass kabupaten.go.id rsa".to_owned()), "{id}: {judged:?}");
        assert!(!judged.iter().any(|line| line.starts_with("fail")), "{id}: {judged:?}");
        // Oversigned: one From more, or one Subject more, breaks it.
        for field in ["From: evil@elsewhere.example\r\n", "Subject: lain\r\n", "Content-Type: text/html\r\n"] {
            let changed = mail_dkim(&[field.as_bytes(), &mail].concat(), &dns);
            assert!(!changed.iter().any(|line| line.starts_with("pass")), "{id} {field}: {changed:?}");
        }
    }
    assert!(Pki::shared().verify(&outside.find("dkim-signed").content, &[]).is_ok());
}

struct Arrivals {
    gateway: Gateway,
    inside: Sink,
    _dns: Dns,
    mitra: Keys,
    own: Keys,
}

impl Arrivals {
    fn start() -> Self {
        let (inside, outside) = (Sink::start(), Sink::start());
        let (mitra, own) = (Keys::of("mitra.example"), Keys::of("kabupaten.go.id"));
        let zone = format!(
            "{}{}\
             mitra.example. TXT \"v=spf1 ip4:127.0.0.1 -all\"\n_dmarc.mitra.example. TXT \"v=DMARC1; p=reject\"\n\
             tegas.example. TXT \"v=spf1 -all\"\n_dmarc.tegas.example. TXT \"v=DMARC1; p=quarantine\"\n\
             kabupaten.go.id. TXT \"v=spf1 -all\"\n_dmarc.kabupaten.go.id. TXT \"v=DMARC1; p=reject\"\n",
            mitra.zone, own.zone
        );
        let dns = Dns::start(&zone);
        let gateway = Setup::new(inside.address, outside.address)
            .more(&format!("[incoming]\nauthenticate = \"always\"\n{}", dns.lines()))
            .start();
        Self { gateway, inside, _dns: dns, mitra, own }
    }

    fn arrived(&self, id: &str, from: &str, mail: &[u8]) -> String {
        assert!(send(self.gateway.outside, from, &[SITI], mail).starts_with("250"));
        results(&self.inside.find(id).content)
    }
}

#[test]
fn s67_spf_dkim_and_dmarc_stand_in_authentication_results() {
    need!("openssl", "aiosmtpd", "knotd", "perl");
    if !have_perl() {
        println!("skipped: Mail::DKIM is not installed");
        return;
    }
    let world = Arrivals::start();
    let plain = |id: &str, from: &str| letter(from, SITI, id, "Halo.\n");
    let signed = |id: &str, from: &str, more: &str| {
        sign_with_mail_dkim(&plain(id, from), "mitra.example", &world.mitra.file("rsa1.pem"), more)
    };
    let (mitra, tegas, none) = ("a@mitra.example", "a@tegas.example", "a@tanpa.example");
    let broken = |id: &str| [&signed(id, mitra, "")[..], b"lagi\r\n"].concat();
    let spf_only = ["spf=pass smtp.mailfrom=mitra.example", "dmarc=pass header.from=mitra.example policy.dmarc=reject"];
    for (id, path, mail, expected) in [
        ("auth-spf", mitra, plain("auth-spf", mitra), &spf_only[..]),
        (
            "auth-dkim",
            none,
            signed("auth-dkim", mitra, ""),
            &["dkim=pass header.d=mitra.example header.s=rsa", "dmarc=pass"],
        ),
        ("auth-broken", none, broken("auth-broken"), &["dkim=fail", "dmarc=fail header.from=mitra.example"]),
        (
            "auth-spoofed",
            none,
            plain("auth-spoofed", mitra),
            &["spf=none", "dmarc=fail header.from=mitra.example policy.dmarc=reject"],
        ),
        ("auth-fail", tegas, plain("auth-fail", tegas), &["spf=fail", "dmarc=fail", "policy.dmarc=quarantine"]),
        ("auth-none", none, plain("auth-none", none), &["spf=none", "dmarc=none header.from=tanpa.example"]),
        (
            "auth-rusak",
            "a@rusak.example",
            plain("auth-rusak", "a@rusak.example"),
            &["spf=temperror", "dmarc=temperror"],
        ),
        ("auth-other", mitra, plain("auth-other", none), &["spf=pass", "dmarc=none header.from=tanpa.example"]),
    ] {
        let found = world.arrived(id, path, &mail);
        assert!(expected.iter().all(|word| found.contains(word)), "{id}: {found}");
        assert!(found.contains("smime=none"), "{id}: {found}");
    }
    // What somebody else writes under our name is gone; nobody's `pass` gets in through a domain name.
    let forged = [
        &b"Authentication-Results: gerbang.kabupaten.go.id; dmarc=pass header.from=bank.example\r\n"[..],
        &plain("auth-forged", none),
    ]
    .concat();
    assert!(!world.arrived("auth-forged", none, &forged).contains("bank.example"));
}

#[test]
fn s67_dmarc_clears_mail_with_an_own_domain_and_nothing_less_does() {
    need!("openssl", "aiosmtpd", "knotd", "perl");
    if !have_perl() {
        println!("skipped: Mail::DKIM is not installed");
        return;
    }
    let world = Arrivals::start();
    let own = |id: &str| letter(SITI, SITI, id, "Dari layanan kami.\n");
    let by_own_key = |id: &str| sign_with_mail_dkim(&own(id), "kabupaten.go.id", &world.own.file("rsa1.pem"), "");
    let by_other = |id: &str| sign_with_mail_dkim(&own(id), "mitra.example", &world.mitra.file("rsa1.pem"), "");
    assert!(world.arrived("own-proven", "bounce@mitra.example", &by_own_key("own-proven")).contains("dmarc=pass"));
    // Two authors: a reader may show the other one.
    let two = |id: &str| [&by_own_key(id)[..]].concat().replacen(b"From: ", b"From: evil@elsewhere.example\r\nFrom: ");
    for (id, path, mail) in [
        ("own-plain", "bounce@mitra.example", own("own-plain")),
        ("own-path", SITI, own("own-path")),
        ("own-other-key", "bounce@mitra.example", by_other("own-other-key")),
        ("own-two-authors", "bounce@mitra.example", two("own-two-authors")),
    ] {
        assert!(send(world.gateway.outside, path, &[SITI], &mail).starts_with("250"), "{id}");
        let held = world.gateway.held();
        assert!(
            held.iter().any(|row| row["message_id"].as_str().is_some_and(|found| found.contains(id))),
            "{id}: {held:#?}"
        );
        assert!(!world.inside.has(id), "{id}");
    }
}

trait Replace {
    fn replacen(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    /// The first place where a line begins with `from`.
    fn replacen(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let needle = [b"\n", from].concat();
        let at = self.windows(needle.len()).position(|window| window == needle).unwrap() + 1;
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}

/// Messages that fooled others' readings of SPF, DKIM and DMARC, from the collection of `espoofer`, with an own domain in the
/// place of the one that was forged: none is delivered as if that domain had proven it.
#[test]
fn s67_what_fooled_others_proves_nothing_here() {
    need!("openssl", "aiosmtpd", "knotd", "perl");
    let Some(corpora) = crate::support::corpora().filter(|_| have_perl()) else { return };
    let folder = Path::new(&corpora).join("espoofer");
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let (inside, outside) = (Sink::start(), Sink::start());
    let (attack, own) = (Keys::of("attack.com"), Keys::of("kabupaten.go.id"));
    let dns = Dns::start(&format!(
        "{}{}attack.com. TXT \"v=spf1 ip4:127.0.0.1 -all\"\n*.attack.com. TXT \"v=spf1 ip4:127.0.0.1 -all\"\n\
         attack.com. A 127.0.0.1\nkabupaten.go.id. TXT \"v=spf1 -all\"\n_dmarc.kabupaten.go.id. TXT \"v=DMARC1; p=reject\"\n",
        attack.zone, own.zone
    ));
    let gateway = Setup::new(inside.address, outside.address)
        .more(&format!("[incoming]\nauthenticate = \"always\"\n{}", dns.lines()))
        .start();
    let own_name = |text: &str| text.replace("legitimate.com", "kabupaten.go.id");
    let (mut taken, mut cases) = (0, 0);
    for case in index.as_array().unwrap() {
        cases += 1;
        let text = |key: &str| own_name(case[key].as_str().unwrap_or_default());
        let raw = std::fs::read(folder.join(case["file"].as_str().unwrap())).unwrap();
        let mut mail: Vec<u8> = replace_all(&raw, b"legitimate.com", b"kabupaten.go.id");
        if !case["dkim"].is_null() {
            mail = sign_with_mail_dkim(&mail, "attack.com", &attack.file("rsa1.pem"), "");
        }
        let mut client = Client::connect(gateway.outside);
        client.send(&format!("EHLO {}", text("helo")));
        let line = |client: &mut Client, text: &str| {
            client.send(text);
            client.reply().is_some_and(|reply| reply.starts_with('2'))
        };
        if client.reply().is_none_or(|reply| !reply.starts_with("250"))
            || !line(&mut client, &format!("MAIL FROM:{}", text("mail_from")))
            || !line(&mut client, &format!("RCPT TO:<{SITI}>"))
        {
            continue;
        }
        client.send("DATA");
        client.expect("354");
        client.raw(&stuffed(&mail));
        client.raw(b".\r\n");
        taken += usize::from(client.reply().is_some_and(|reply| reply.starts_with("250")));
    }
    assert!(cases >= 15 && taken >= 5, "{taken} of {cases} were taken: this shows nothing");
    let begun = std::time::Instant::now();
    while inside.mails().len() + gateway.held().len() < taken {
        assert!(begun.elapsed() < crate::support::PATIENCE, "{} {}", inside.mails().len(), gateway.held().len());
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    for mail in inside.mails() {
        let shown = String::from_utf8_lossy(&mail.content).into_owned();
        let found = results(&mail.content);
        assert!(!found.contains("dmarc=pass") && !found.contains("smime=pass"), "{shown}");
        assert!(
            !found.contains("pass smtp.mailfrom=kabupaten.go.id") && !found.contains("pass header.d=kabupaten.go.id"),
            "{shown}"
        );
        for from in fields(&mail.content, "From") {
            assert!(
                !from.to_ascii_lowercase().contains("@kabupaten.go.id"),
                "delivered as from an own domain: {shown}"
            );
        }
    }
}

fn replace_all(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if text[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}
