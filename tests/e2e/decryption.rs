//! Incoming encrypted mail, made by OpenSSL: opened for its owner alone, or not at all.

use crate::support::client::send;
use crate::support::der;
use crate::support::pki::{BUDI, EKO, LILIS, RATNA, RINA, SITI, WATI, WATI_OLD, parts};
use crate::support::{Dns, Gateway, Mail, Pki, Setup, Sink, below_trace, fields, letter};

struct Site {
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
}

fn site_with(options: &[(&str, &str)]) -> Site {
    site_and(options, "")
}

fn site_and(options: &[(&str, &str)], more: &str) -> Site {
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::with(options), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address).more(more);
    setup.keys.extend([(WATI, "individual"), (EKO, "individual")]);
    Site { gateway: setup.start(), inside, outside }
}

fn site() -> Site {
    site_with(&[])
}

fn certificate(name: &str) -> String {
    Pki::with_mailboxes().path(&format!("{name}.pem"))
}

fn mark(mail: &Mail) -> String {
    let marks = fields(&mail.content, "segel-verdict");
    assert_eq!(marks.len(), 1, "{marks:?}");
    marks[0].clone()
}

fn body(mail: &[u8]) -> &[u8] {
    let at = mail.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &mail[at + 4..]
}

/// `mail` holds what `name` finds in `sent` with OpenSSL: the same octets, the same `Content-` fields.
fn assert_is_inside(mail: &Mail, sent: &[u8], name: &str) {
    let entity = Pki::shared().decrypt(sent, name).unwrap();
    assert!(body(&mail.content) == body(&entity), "{name}: other octets than OpenSSL finds");
    for field in ["content-type", "content-transfer-encoding", "content-disposition"] {
        assert_eq!(fields(&mail.content, field), fields(&entity, field), "{name}");
    }
    assert_eq!(fields(&mail.content, "mime-version"), ["1.0"]);
    assert_eq!(fields(&mail.content, "message-id"), fields(sent, "message-id"));
}

fn is_held(gateway: &Gateway, id: &str, reason: &str) -> bool {
    gateway.held().iter().map(ToString::to_string).any(|row| row.contains(id) && row.contains(reason))
}

impl Site {
    fn take(&self, to: &[&str], mail: &[u8]) {
        let reply = send(self.gateway.outside, RATNA, to, mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
}

#[test]
fn i10_what_openssl_encrypts_is_opened_octet_by_octet() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let (wati, eko) = (certificate(WATI), certificate(EKO));
    let oaep = ["-recip", &wati, "-keyopt", "rsa_padding_mode:oaep"];
    let oaep_with = |digest: &'static str| [&oaep[..], &["-keyopt", digest]].concat();
    let rsa = vec!["-recip", wati.as_str()];
    let ec = vec!["-recip", eko.as_str()];
    let cases: Vec<(&str, &str, &str, Vec<&str>)> = vec![
        ("i10-pkcs1-cbc256", WATI, "-aes-256-cbc", rsa.clone()),
        ("i10-pkcs1-cbc128", WATI, "-aes-128-cbc", rsa.clone()),
        ("i10-pkcs1-gcm256", WATI, "-aes-256-gcm", rsa.clone()),
        ("i10-pkcs1-gcm128", WATI, "-aes-128-gcm", rsa.clone()),
        ("i10-pkcs1-3des", WATI, "-des3", rsa.clone()),
        ("i10-oaep-sha1", WATI, "-aes-256-cbc", oaep.to_vec()),
        ("i10-oaep-sha256", WATI, "-aes-256-gcm", oaep_with("rsa_oaep_md:sha256")),
        ("i10-oaep-sha512", WATI, "-aes-128-cbc", oaep_with("rsa_oaep_md:sha512")),
        ("i10-ec-cbc256", EKO, "-aes-256-cbc", ec.clone()),
        ("i10-ec-cbc128", EKO, "-aes-128-cbc", ec.clone()),
        ("i10-ec-gcm256", EKO, "-aes-256-gcm", ec.clone()),
        ("i10-ec-gcm128", EKO, "-aes-128-gcm", ec.clone()),
        ("i10-ec-sha256", EKO, "-aes-256-cbc", [&ec[..], &["-keyopt", "ecdh_kdf_md:sha256"]].concat()),
        ("i10-both", WATI, "-aes-256-cbc", [&rsa[..], &ec[..]].concat()),
        ("i10-keyid", WATI, "-aes-256-cbc", [&["-keyid"], &rsa[..]].concat()),
    ];
    for (id, to, cipher, recipients) in &cases {
        let text = format!("Isi {id}.  \nFrom sini\n.\n..\n\n\n");
        let sent = Pki::shared().sign_and_encrypt(
            &letter(RATNA, to, id, &text),
            RATNA,
            &[&[*cipher], &recipients[..]].concat(),
        );
        site.take(&[to], &sent);
        let mail = site.inside.find(id);
        assert_is_inside(&mail, &sent, to);
        let mark = mark(&mail);
        for part in ["valid", "encrypted=yes", "opened=yes", &format!("signer=\"{RATNA}\"")] {
            assert!(mark.contains(part), "{id}: {mark}");
        }
        assert_eq!(Pki::shared().verify(&mail.content, &[]), Ok(RATNA.to_owned()), "{id}");
        assert_eq!(fields(&mail.content, "subject"), ["Halo"]);
    }
    // What is authenticated needs no signature to be shown.
    let sent =
        Pki::shared().encrypt(&letter(RATNA, WATI, "i10-unsigned", "Tanpa tanda tangan."), &["-aes-256-gcm", &wati]);
    site.take(&[WATI], &sent);
    let mail = site.inside.find("i10-unsigned");
    assert_is_inside(&mail, &sent, WATI);
    assert!(mark(&mail).starts_with("none"), "{}", mark(&mail));
    assert!(site.gateway.held().is_empty());
}

#[test]
fn i10_signed_outside_too() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let pki = Pki::shared();
    // RFC 8551 section 3.7: signed, encrypted, signed.
    let (outer, entity) = parts(&letter(RATNA, WATI, "i10-triple", "Tiga lapis."));
    let encrypted = pki.encrypted(&pki.signed(&entity, RATNA, &[]), &["-aes256", &certificate(WATI)]);
    let sent = [outer.as_slice(), &pki.signed(&encrypted, RATNA, &["-nodetach"])].concat();
    site.take(&[WATI], &sent);
    let mail = site.inside.find("i10-triple");
    assert!(mark(&mail).starts_with("valid"), "{}", mark(&mail));
    assert!(String::from_utf8_lossy(&mail.content).contains("Tiga lapis."));
}

#[test]
fn i11_p26_an_old_key_still_opens() {
    need!("openssl", "aiosmtpd");
    let site = site();
    site.gateway.own_key(WATI, WATI_OLD);
    for (id, name) in [("i11-new", WATI), ("i11-old", WATI_OLD)] {
        let options = ["-aes256", &certificate(name)];
        let sent = Pki::shared().sign_and_encrypt(&letter(RATNA, WATI, id, "Lama dan baru."), RATNA, &options);
        site.take(&[WATI], &sent);
        assert_is_inside(&site.inside.find(id), &sent, name);
    }
}

#[test]
fn i11_nobody_gets_the_inside_by_the_key_of_another() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let content = letter(RATNA, WATI, "i11-others", "Hanya untuk Wati.");
    let sent = Pki::shared().sign_and_encrypt(&content, RATNA, &["-aes256", &certificate(WATI)]);
    site.take(&[WATI, BUDI], &sent);
    let mails = site.inside.find_all("i11-others", 2);
    let of = |name: &str| mails.iter().find(|mail| mail.to == [name]).unwrap();
    assert_is_inside(of(WATI), &sent, WATI);
    assert!(below_trace(&of(BUDI).content) == sent, "Budi's was changed");
    assert!(mark(of(BUDI)).starts_with("none"), "{}", mark(of(BUDI)));
    assert!(!mark(of(BUDI)).contains("opened") && !mark(of(BUDI)).contains("signer"), "{}", mark(of(BUDI)));
    // Encrypted to both: each by his own.
    let (wati, eko) = (certificate(WATI), certificate(EKO));
    let content = letter(RATNA, WATI, "i11-both", "Untuk berdua.");
    let sent = Pki::shared().sign_and_encrypt(&content, RATNA, &["-aes256", &wati, &eko]);
    site.take(&[WATI, EKO], &sent);
    let mail = site.inside.find("i11-both");
    assert_eq!(mail.to, [WATI, EKO]);
    assert_is_inside(&mail, &sent, WATI);
    // The key is there, but its owner is no recipient.
    let sent = Pki::shared().sign_and_encrypt(
        &letter(RATNA, SITI, "i11-not-his", "x"),
        RATNA,
        &["-aes256", &certificate(WATI)],
    );
    site.take(&[SITI], &sent);
    assert!(below_trace(&site.inside.find("i11-not-his").content) == sent);
}

#[test]
fn i12_what_no_key_opens_is_delivered_as_it_came() {
    need!("openssl", "aiosmtpd");
    let site = site();
    for (id, cipher) in [("i12-cbc", "-aes-256-cbc"), ("i12-gcm", "-aes-256-gcm")] {
        let options = [cipher, &certificate(LILIS)];
        let sent = Pki::shared().sign_and_encrypt(&letter(RATNA, WATI, id, "x"), RATNA, &options);
        site.take(&[WATI], &sent);
        let mail = site.inside.find(id);
        assert!(below_trace(&mail.content) == sent, "{id} was changed");
        let mark = mark(&mail);
        assert!(mark.contains("encrypted=yes") && !mark.contains("opened") && !mark.starts_with("valid"), "{mark}");
    }
    assert!(site.gateway.held().is_empty());
    assert!(site.outside.mails().is_empty());
}

#[test]
fn i41_i42_forged_fields_inside_are_removed() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let pki = Pki::shared();
    let forged = "Authentication-Results: gerbang.kabupaten.go.id; smime=pass\r\n\
                  Segel-Verdict: valid; signer=\"bupati@kabupaten.go.id\"\r\n\
                  From: bupati@kabupaten.go.id\r\nReply-To: pencuri@jahat.example\r\n";
    let (outer, entity) = parts(&letter(RATNA, WATI, "i41", "Palsu."));
    let inside = [forged.as_bytes(), &entity].concat();
    let sent = [outer.as_slice(), &pki.encrypted(&inside, &["-aes-256-gcm", &certificate(WATI)])].concat();
    site.take(&[WATI], &sent);
    let mail = site.inside.find("i41");
    assert!(!mark(&mail).contains("bupati") && !mark(&mail).starts_with("valid"), "{}", mark(&mail));
    let results = fields(&mail.content, "authentication-results");
    assert!(results.iter().all(|result| !result.contains("smime=pass")), "{results:?}");
    assert_eq!(fields(&mail.content, "from"), [RATNA]);
    assert!(fields(&mail.content, "reply-to").is_empty());
}

/// EFAIL: what stands beside the encrypted part would carry its text away.
#[test]
fn i50_an_encrypted_part_between_others_stays_closed() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let pki = Pki::shared();
    let (outer, entity) = parts(&letter(RATNA, WATI, "i50", "kenari-efail"));
    for (id, cipher, start, end) in [
        ("i50-img", "-aes-256-gcm", "--b\r\nContent-Type: text/html\r\n\r\n<img src=\"http://x.example/\r\n", "\">"),
        ("i50-alone", "-aes-256-gcm", "", ""),
        ("i50-cbc", "-aes-256-cbc", "--b\r\nContent-Type: text/html\r\n\r\n<img src=\"http://x.example/\r\n", "\">"),
    ] {
        let inside = pki.signed(&entity, RATNA, &[]);
        let encrypted = pki.encrypted(&inside, &[cipher, &certificate(WATI)]);
        let outer = String::from_utf8(outer.clone()).unwrap().replace("<i50@", &format!("<{id}@"));
        let after =
            if end.is_empty() { String::new() } else { format!("--b\r\nContent-Type: text/html\r\n\r\n{end}\r\n") };
        let sent = format!(
            "{outer}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{start}--b\r\n{}\r\n{after}--b--\r\n",
            String::from_utf8(encrypted).unwrap()
        );
        site.take(&[WATI], sent.as_bytes());
        let mail = site.inside.find(id);
        assert!(below_trace(&mail.content) == sent.as_bytes(), "{id} was changed");
        assert!(!mark(&mail).starts_with("valid") && !mark(&mail).contains("opened"), "{id}: {}", mark(&mail));
    }
}

/// A mail with the CMS object in `sent` changed by `change`.
fn tampered(letter: &[u8], options: &[&str], signer: Option<&str>, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let pki = Pki::shared();
    let (outer, entity) = parts(letter);
    let inside = signer.map_or(entity.clone(), |signer| pki.signed(&entity, signer, &[]));
    let mut der = pki.cms_encrypt(&inside, &[&["-outform", "DER"], options].concat());
    change(&mut der);
    let kind = if options[0].contains("gcm") { "authEnveloped-data" } else { "enveloped-data" };
    [outer.as_slice(), &der::entity(&der, kind)].concat()
}

#[test]
fn i51_i52_i53_what_was_changed_on_its_way_is_never_shown() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let wati = certificate(WATI);
    let flip = |at: usize| {
        move |der: &mut Vec<u8>| {
            let content = der::enveloped(der).content;
            der[content.content + at] ^= 1;
        }
    };
    let flip_last = |der: &mut Vec<u8>| {
        let content = der::enveloped(der).content;
        der[content.end - 20] ^= 1;
    };
    let flip_tag = |der: &mut Vec<u8>| *der.last_mut().unwrap() ^= 1;
    let content = |id: &str| letter(RATNA, WATI, id, "Nilai kontrak: 100.000.000.");
    let cbc = ["-aes-256-cbc", wati.as_str()];
    let gcm = ["-aes-256-gcm", wati.as_str()];
    let held = [
        ("i51-first", tampered(&content("i51-first"), &cbc, Some(RATNA), flip(3))),
        ("i51-middle", tampered(&content("i51-middle"), &cbc, Some(RATNA), flip(400))),
        ("i51-last", tampered(&content("i51-last"), &cbc, Some(RATNA), flip_last)),
        ("i51-unsigned", tampered(&content("i51-unsigned"), &cbc, None, |_| ())),
        ("i53-downgrade", downgraded(&content("i53-downgrade"))),
    ];
    for (id, sent) in &held {
        site.take(&[WATI], sent);
        assert!(is_held(&site.gateway, id, "integrity-unproven"), "{id}: {:?}", site.gateway.held());
    }
    let unopened = [
        ("i52-content", tampered(&content("i52-content"), &gcm, Some(RATNA), flip(3))),
        ("i52-tag", tampered(&content("i52-tag"), &gcm, Some(RATNA), flip_tag)),
    ];
    for (id, sent) in &unopened {
        assert!(Pki::shared().decrypt(sent, WATI).is_err(), "{id}");
        site.take(&[WATI], sent);
        let mail = site.inside.find(id);
        assert!(below_trace(&mail.content) == *sent, "{id} was changed");
        assert!(mark(&mail).starts_with("indeterminate") && mark(&mail).contains("undecryptable"), "{}", mark(&mail));
    }
    for (id, _) in held {
        assert!(!site.inside.has(id), "{id} was delivered");
    }
    assert!(site.outside.mails().is_empty());
}

/// AuthEnvelopedData with GCM written as EnvelopedData with CBC (RFC 9709 section 1).
fn downgraded(letter: &[u8]) -> Vec<u8> {
    let (outer, entity) = parts(letter);
    let der = Pki::shared().cms_encrypt(&entity, &["-outform", "DER", "-aes-256-gcm", &certificate(WATI)]);
    let found = der::enveloped(&der);
    // aes256-CBC, with a nonce and a counter as its IV.
    let mut algorithm = vec![0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
    algorithm.extend(der::encode(0x04, &[7; 16]));
    let content = &der[found.content.content..found.content.end];
    let content = der::encode(0x80, &content[..content.len() / 16 * 16]);
    let id_data = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    let info = der::encode(0x30, &[&id_data[..], &der::encode(0x30, &algorithm), &content].concat());
    let version = [0x02, 0x01, 0x00];
    let enveloped = der::encode(0x30, &[&version[..], &der[found.set.start..found.set.end], &info].concat());
    let id_enveloped = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
    let made = der::encode(0x30, &[&id_enveloped[..], &der::encode(0xa0, &enveloped)].concat());
    [outer.as_slice(), &der::entity(&made, "enveloped-data")].concat()
}

/// A mail with canaries in its text and in the `Subject` inside.
fn with_canaries(id: &str, from: &str, signer: &str) -> Vec<u8> {
    let pki = Pki::shared();
    let (outer, entity) = parts(&letter(from, WATI, id, "kenari-isi"));
    let inside = pki.signed(&[b"Subject: kenari-judul\r\n".as_slice(), &entity].concat(), signer, &[]);
    let inside = [b"Subject: kenari-judul\r\n".as_slice(), &inside].concat();
    let outer = String::from_utf8(outer).unwrap().replace("Subject: Halo", "Subject: ...");
    [outer.as_bytes(), &pki.encrypted(&inside, &["-aes256", &certificate(WATI)])].concat()
}

fn assert_no_canary(mail: &Mail, id: &str) {
    let text = String::from_utf8_lossy(&mail.content).into_owned();
    assert!(!text.contains("kenari"), "{id}: {text}");
    for start in 0..3 {
        let canary = data_encoding::BASE64.encode(&b"  kenari-"[2 - start..]);
        assert!(!text.contains(&canary[4..8]), "{id}: {text}");
    }
}

#[test]
fn c42_c44_a_bounce_of_decrypted_mail_says_nothing_of_what_was_inside() {
    need!("openssl", "aiosmtpd", "knotd");
    // Only a sender who is proven hears anything.
    let dns = Dns::start("mitra.example. TXT \"v=spf1 ip4:127.0.0.1 -all\"\n");
    let site = site_and(&[("reject", "1")], &format!("[incoming]\nauthenticate = \"always\"\n{}", dns.lines()));
    site.take(&[WATI], &with_canaries("c42", RATNA, RATNA));
    let refused = site.inside.find("c42");
    assert_eq!(fields(&refused.content, "subject"), ["kenari-judul"]);
    let notice = site.outside.wait(1)[0].clone();
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[RATNA.to_owned()][..]));
    assert_no_canary(&notice, "c42");
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(!text.contains("no:") && !text.contains("5.7.1") && !text.contains("sink.test"), "{text}");
    assert!(text.contains("Subject: ...") && text.contains(WATI), "{text}");
}

#[test]
fn c42_the_inside_servers_own_report_does_not_carry_it_out() {
    need!("openssl", "aiosmtpd");
    for (sender, known) in [(RINA, false), (LILIS, true)] {
        let site = site();
        if known {
            site.gateway.know(&[sender]);
        }
        let id = format!("c42-own-{known}");
        site.take(&[WATI], &with_canaries(&id, sender, sender));
        let delivered = site.inside.find(&id);
        assert!(mark(&delivered).contains("opened=yes"), "{}", mark(&delivered));
        for (number, from, encoding) in [
            (1, "MAILER-DAEMON@kabupaten.go.id", "8bit"),
            (2, "MAILER-DAEMON@surat.dalam.example", "8bit"),
            (3, "MAILER-DAEMON@kabupaten.go.id", "base64"),
            // A server that takes our field away.
            (4, "MAILER-DAEMON@kabupaten.go.id", "7bit"),
        ] {
            let id = format!("c42-report-{number}");
            let returned = match encoding {
                "base64" => der::base64(&delivered.content).into_bytes(),
                "7bit" => below_trace(&delivered.content).to_vec(),
                _ => delivered.content.clone(),
            };
            let head = format!(
                "From: {from}\r\nTo: {sender}\r\nSubject: Undelivered\r\nMessage-ID: <{id}@test.example>\r\n\
                 Date: Sun, 22 Nov 2026 10:00:00 +0700\r\nMIME-Version: 1.0\r\n\
                 Content-Type: multipart/report; report-type=delivery-status; boundary=lapor\r\n\r\n\
                 --lapor\r\nContent-Type: text/plain\r\n\r\nTidak terkirim.\r\n\
                 --lapor\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; dalam.example\r\n\r\n\
                 Final-Recipient: rfc822; {WATI}\r\nAction: failed\r\nStatus: 5.2.2\r\n\r\n\
                 --lapor\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            let report = [head.as_bytes(), &returned, b"\r\n--lapor--\r\n"].concat();
            let reply = send(site.gateway.inside, "", &[sender], &report);
            if !known {
                assert!(reply.starts_with("550 5.7."), "{id}: {reply}");
                assert!(!site.outside.has(&id));
                continue;
            }
            assert!(reply.starts_with("250"), "{id}: {reply}");
            let mail = site.outside.find(&id);
            assert_no_canary(&mail, &id);
            let inside = Pki::shared().decrypt(&mail.content, sender).unwrap();
            assert!(String::from_utf8_lossy(&inside).contains("Tidak terkirim."), "{id}");
        }
        assert!(site.outside.mails().iter().all(|mail| fields(&mail.content, "message-id")[0].contains("c42-report")));
    }
}

#[test]
fn i62_a_key_is_asked_once_for_each_mail() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let wati = certificate(WATI);
    let made = |id: &str, order: &dyn Fn(Vec<u8>, Vec<u8>) -> Vec<Vec<u8>>| {
        tampered(&letter(RATNA, WATI, id, "Satu kali."), &["-aes-256-cbc", &wati], Some(RATNA), |der| {
            let one = der::enveloped(der).recipients[0];
            let good = der[one.start..one.end].to_vec();
            let mut chosen = good.clone();
            let last = chosen.len() - 1;
            chosen[last] ^= 1;
            *der = der::with_recipients(der, &order(good, chosen));
        })
    };
    site.take(&[WATI], &made("i62-good-first", &|good, chosen| vec![good, chosen]));
    assert!(mark(&site.inside.find("i62-good-first")).contains("opened=yes"));
    site.take(&[WATI], &made("i62-chosen-first", &|good, chosen| vec![chosen, good]));
    assert!(is_held(&site.gateway, "i62-chosen-first", "integrity-unproven"), "{:?}", site.gateway.held());
    // Nor does a thousand of them cost a thousand operations: milliseconds each.
    let started = std::time::Instant::now();
    let many = |good, chosen| std::iter::repeat_n(chosen, 1000).chain([good]).collect();
    site.take(&[WATI], &made("i62-many", &many));
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(site.outside.mails().is_empty());
    assert_eq!(site.inside.mails().iter().filter(|mail| mark(mail).contains("opened=yes")).count(), 1);
}

#[test]
fn c43_a_redirect_of_decrypted_mail_does_not_carry_it_out() {
    need!("openssl", "aiosmtpd");
    let site = site();
    site.gateway.know(&[LILIS]);
    site.take(&[WATI], &with_canaries("c43-opened", RATNA, RATNA));
    let delivered = site.inside.find("c43-opened");
    for path in [WATI, RATNA, ""] {
        let reply = send(site.gateway.inside, path, &["luar@lain.example"], &delivered.content);
        assert!(reply.starts_with("550 5.7."), "from <{path}>: {reply}");
        let reply = send(site.gateway.inside, path, &["luar@lain.example", LILIS], &delivered.content);
        assert!(reply.starts_with("550 5.7."), "from <{path}>: {reply}");
    }
    // To whom it can be encrypted it goes.
    let reply = send(site.gateway.inside, WATI, &[LILIS], &delivered.content);
    assert!(reply.starts_with("250"), "{reply}");
    let mail = site.outside.find("c43-opened");
    assert_eq!(mail.to, [LILIS]);
    assert!(!String::from_utf8_lossy(body(&mail.content)).contains("kenari"));
    let inside = Pki::shared().decrypt(&mail.content, LILIS).unwrap();
    assert!(String::from_utf8_lossy(&inside).contains("kenari-isi"));
    assert_eq!(site.outside.mails().len(), 1);
}
