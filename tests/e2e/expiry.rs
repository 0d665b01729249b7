//! Certificates that end are told of in time, once, and not when there is a successor (P26).

use crate::support::client::send;
use crate::support::gateway::inspect;
use crate::support::pki::{BUDI, REVOKED_OPENER, RINA, SITI, openssl};
use crate::support::{Gateway, Pki, Setup, Sink, letter};
use std::path::Path;

const POSTMASTER: &str = "postmaster@kabupaten.go.id";

/// Another certificate for Siti's key, for so many days.
fn successor(days: usize) {
    let pki = Pki::shared();
    let path = |name: &str| pki.path(name);
    let (request, extensions) = (path(&format!("{SITI}.csr")), path(&format!("{SITI}.ext")));
    let (pem, p12) = (path("siti-next.pem"), path("siti-next.p12"));
    let password = format!("file:{}", path("password"));
    let days = days.to_string();
    let (ca, ca_key, key) = (path("issuing.pem"), path("issuing.key"), path(&format!("{SITI}.key")));
    for arguments in [
        &["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "99", "-extfile", &extensions]
            [..],
        &["pkcs12", "-export", "-inkey", &key, "-certfile", &ca, "-passout", &password],
    ] {
        let mut arguments = arguments.to_vec();
        match arguments[0] {
            "x509" => arguments.extend(["-days", &days, "-sha256", "-out", &pem]),
            _ => arguments.extend(["-in", &pem, "-out", &p12]),
        }
        let output = openssl(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Starts the gateway so many days from now, waits for its daily round, and ends it.
fn day(gateway: &mut Gateway, clock: &Path, days: usize) {
    std::fs::write(clock, format!("+{days}d")).unwrap();
    gateway.start();
    gateway.wait_log("the daily round is done");
    // What it has to say leaves before it ends.
    for _ in 0..600 {
        if gateway.queued().is_empty() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    gateway.stop();
}

#[test]
fn p26_the_end_of_a_certificate_is_told_in_time_once_and_not_with_a_successor() {
    need!("openssl", "aiosmtpd", "faketime");
    let clock = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(clock.path(), "+0").unwrap();
    let library = ["x86_64", "aarch64"].map(|kind| format!("/usr/lib/{kind}-linux-gnu/faketime/libfaketimeMT.so.1"));
    let library = library.into_iter().find(|path| Path::new(path).exists()).unwrap();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.under = vec![
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.path().display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    // Staff have certificates for 200 days, the CAs for 300.
    let mut gateway = setup.start();
    gateway.wait_log("the daily round is done");
    gateway.stop();
    let text = |number: usize| String::from_utf8_lossy(&inside.wait(number)[number - 1].content).into_owned();
    let siti = format!("Alamat / Address: <{SITI}>");
    let budi = format!("Alamat / Address: <{BUDI}>");

    day(&mut gateway, clock.path(), 115);
    let first = text(1);
    assert_eq!(inside.mails()[0].to, [POSTMASTER]);
    assert!(first.contains("Subject: 2 sertifikat akan berakhir / 2 certificates will expire"), "{first}");
    for part in [siti.as_str(), &budi, "hari lagi / in 8", "segel key import", "Nomor seri / Serial: ", "kunci"] {
        assert!(first.to_lowercase().contains(&part.to_lowercase()), "{part} in {first}");
    }
    // Neither another start nor another day says it again.
    day(&mut gateway, clock.path(), 115);
    day(&mut gateway, clock.path(), 117);
    assert_eq!(inside.mails().len(), 1);

    // A successor for Siti; the gateway sleeps through 60 and 30, and says the nearest only.
    successor(290);
    gateway.own_key(SITI, "siti-next");
    day(&mut gateway, clock.path(), 188);
    let second = text(2);
    assert!(second.contains(&budi) && !second.contains(&siti), "{second}");
    assert!(second.contains("Subject: 1 sertifikat"), "{second}");
    day(&mut gateway, clock.path(), 201);
    let third = text(3);
    assert!(third.contains("telah berakhir / has expired") && third.contains(&budi), "{third}");
    day(&mut gateway, clock.path(), 203);
    assert!(!inside.mails().iter().skip(3).any(|mail| String::from_utf8_lossy(&mail.content).contains(&budi)));
    assert_eq!(
        gateway.segel(&["audit", "search", "--event", "expiry-told", "--json"]).json().len(),
        inside.mails().len()
    );
    // While both hold, the newer one signs.
    std::fs::write(clock.path(), "+0").unwrap();
    gateway.start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "p26", "x")).starts_with("250"));
    let root = Pki::shared().path("root.pem");
    let judged = inspect(&outside.find("p26").content, &["--trust", &root]);
    assert_eq!(judged["layers"][0]["signers"][0]["serial"], "63", "{judged}");
}

/// What the next correspondents encrypt to: a successor is announced with the next signed mail, and what it reads.
#[test]
fn p26_a_successor_of_the_encryption_key_is_announced_with_the_next_signed_mail() {
    need!("openssl", "aiosmtpd");
    let pki = Pki::shared();
    let (old, new) = (0x4b01, 0x4b02);
    pki.opener("siti-opens-1", SITI, old, "20250101000000Z");
    pki.opener("siti-opens-2", SITI, new, "20260101000000Z");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let announced = |id: &str| {
        let reply = send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, "x"));
        assert!(reply.starts_with("250"), "{reply}");
        let mail = outside.find(id).content;
        assert_eq!(pki.verify(&mail, &[]), Ok(SITI.to_owned()));
        let printed = pki.print(&mail);
        assert_eq!(printed.matches("object: S/MIME Capabilities (").count(), 1, "{printed}");
        let serials: Vec<usize> = [old, new, REVOKED_OPENER]
            .into_iter()
            .filter(|serial| printed.contains(&format!("serialNumber: {serial}")))
            .collect();
        (serials, printed.matches("object: id-smime-aa-encrypKeyPref (").count())
    };
    assert_eq!(announced("announce-none"), (vec![], 0));
    gateway.own_key(SITI, "siti-opens-1");
    assert_eq!(announced("announce-old"), (vec![old], 1));
    gateway.own_key(SITI, "siti-opens-2");
    assert_eq!(announced("announce-new"), (vec![new], 1));
    // One that its CA has revoked, or that was blocked, is nobody's to encrypt to.
    pki.opener("siti-opens-3", SITI, REVOKED_OPENER, "20260601000000Z");
    gateway.own_key(SITI, "siti-opens-3");
    assert_eq!(announced("announce-not-the-revoked"), (vec![new], 1));
    let keys = gateway.segel(&["key", "list", "--json"]).json();
    let newest = keys.iter().find(|key| key["serial"].as_str() == Some("4b02")).unwrap_or_else(|| panic!("{keys:#?}"));
    assert_eq!(gateway.segel(&["key", "block", newest["id"].as_str().unwrap()]).code, 0);
    assert_eq!(announced("announce-old-again"), (vec![old], 1));
}
