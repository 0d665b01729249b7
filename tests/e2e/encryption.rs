//! Outgoing mail that leaves encrypted, or not at all. OpenSSL opens what was made, with the recipients' own keys.

use crate::support::client::send;
use crate::support::pki::{BUDI, DODI, EKO, HANA, LAMA, LILIS, RATNA, SITI, TANPA, WATI, YUDI, parts};
use crate::support::{Client, Gateway, Mail, Pki, Setup, Sink, below_trace, fields, letter};
use std::time::Duration;

/// A gateway that knows the certificates of `known`.
struct Site {
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
}

fn site(known: &[&str], change: impl FnOnce(Setup) -> Setup) -> Site {
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = change(Setup::new(inside.address, outside.address)).start();
    gateway.know(known);
    Site { inside, outside, gateway }
}

impl Site {
    /// Sends a letter by Siti.
    fn write(&self, to: &[&str], id: &str, text: &str) -> String {
        send(self.gateway.inside, SITI, to, &letter(SITI, &to.join(", "), id, text))
    }

    /// Another mail goes through; what did not arrive before it was not merely late.
    fn settle(&self) {
        let reply = send(self.gateway.inside, SITI, &[BUDI], &letter(SITI, BUDI, "settle", "x"));
        assert!(reply.starts_with("250"), "{reply}");
        self.inside.find("settle");
        let waiting = || self.gateway.queued();
        for _ in 0..600 {
            if waiting().is_empty() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Nothing of `id` has left or waits to leave, for anybody.
    fn assert_gone(&self, id: &str) {
        self.settle();
        assert!(!self.outside.has(id) && !self.inside.has(id), "{id} was delivered");
        assert!(self.gateway.queued().is_empty(), "{:?}", self.gateway.queued());
        let stored = self.gateway.segel(&["quarantine", "list", "--json"]);
        assert!(!stored.output.contains(id), "{id}: {stored:?}");
    }
}

/// `name` opens it; inside is a letter by Siti that OpenSSL verifies and that contains `text`.
fn assert_opens(mail: &Mail, name: &str, text: &str) {
    let pki = Pki::shared();
    let inside = pki.decrypt(&mail.content, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(pki.verify(&inside, &[]), Ok(SITI.to_owned()), "{name}");
    let readable = String::from_utf8_lossy(&inside).into_owned();
    assert!(readable.contains(text), "{readable}");
    assert!(!String::from_utf8_lossy(&mail.content).contains(text), "clear text outside");
}

fn is_encrypted(mail: &Mail) -> bool {
    fields(&mail.content, "content-type").join(" ").contains("application/pkcs7-mime")
}

#[test]
fn o09_o11_o34_mail_is_signed_then_encrypted_and_opened_by_nobody_else() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, DODI, HANA], |setup| setup);
    for (name, id) in [(RATNA, "o11-rsa"), (DODI, "o11-p256"), (HANA, "o11-p384")] {
        let text = format!("Nomor rekening {id}.");
        let reply = site.write(&[name], id, &text);
        assert!(reply.starts_with("250"), "{reply}");
        let mail = site.outside.find(id);
        assert_opens(&mail, name, &text);
        for other in [LILIS, YUDI, EKO, RATNA, DODI, HANA].into_iter().filter(|other| *other != name) {
            assert!(Pki::shared().decrypt(&mail.content, other).is_err(), "{other} opened {id}");
        }
        let content_type = fields(&mail.content, "content-type");
        assert_eq!(content_type.len(), 1);
        for part in ["application/pkcs7-mime", "smime-type=enveloped-data", "smime.p7m"] {
            assert!(content_type[0].contains(part), "{content_type:?}");
        }
        assert!(fields(&mail.content, "content-disposition").join("").contains("smime.p7m"));
        assert_eq!(fields(&mail.content, "mime-version"), ["1.0"]);
        let printed = Pki::shared().print(&mail.content);
        assert!(printed.contains("aes-256-cbc"), "{printed}");
        assert!(mail.content.is_ascii());
    }
    // A partner without a certificate still gets it, signed and in clear.
    site.write(&[TANPA], "o11-clear", "Salam.");
    assert_eq!(Pki::shared().verify(&site.outside.find("o11-clear").content, &[]), Ok(SITI.to_owned()));
}

#[test]
fn o37_o38_gcm_by_configuration_has_the_right_versions_and_lengths() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, DODI], |setup| setup.domain("content_encryption = \"aes256-gcm\"\n"));
    for (to, id, versions) in [(RATNA, "o37-rsa", "d.ktri"), (DODI, "o37-ec", "d.kari")] {
        site.write(&[to], id, "Rahasia dinas.");
        let mail = site.outside.find(id);
        assert_opens(&mail, to, "Rahasia dinas.");
        assert!(fields(&mail.content, "content-type")[0].contains("smime-type=authEnveloped-data"));
        let printed = Pki::shared().print(&mail.content);
        assert!(printed.contains("id-smime-ct-authEnvelopedData"), "{printed}");
        assert!(printed.contains("d.authEnvelopedData") && printed.contains(versions), "{printed}");
        let version = printed.lines().find(|line| line.trim().starts_with("version:")).unwrap().trim();
        assert_eq!(version, "version: 0", "{printed}");
        assert!(printed.contains("aes-256-gcm"), "{printed}");
        // GCMParameters: a nonce of 12 octets, and ICVlen 16 written out.
        assert!(printed.contains("INTEGER           :10"), "{printed}");
        assert!(printed.contains("l=  12 prim:  OCTET STRING"), "{printed}");
        assert!(printed.contains("authAttrs:\n        <ABSENT>") || !printed.contains("messageDigest"), "{printed}");
    }
    // Each mail has a key and a nonce of its own.
    let print = |id: &str| Pki::shared().print(&site.outside.find(id).content);
    let nonce = |id: &str| print(id).lines().find(|line| line.contains("[HEX DUMP]")).unwrap().to_owned();
    assert_ne!(nonce("o37-rsa"), nonce("o37-ec"));
}

#[test]
fn o38_enveloped_data_has_the_version_of_its_recipients() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, LILIS, DODI], |setup| setup);
    for (to, id, version) in [(&[RATNA, LILIS][..], "o38-ktri", "0"), (&[DODI][..], "o38-kari", "2")] {
        site.write(to, id, "x");
        let printed = Pki::shared().print(&site.outside.find(id).content);
        let found = printed.lines().find(|line| line.trim().starts_with("version:")).unwrap().trim();
        assert_eq!(found, format!("version: {version}"), "{printed}");
    }
}

/// Who is named may be seen; in which order the envelope names them, and that there are others, may not.
#[test]
fn o43_recipient_infos_tell_no_more_than_to_and_cc() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, LILIS, DODI], |setup| setup);
    let pki = Pki::shared();
    let mut seen = Vec::new();
    for (id, envelope) in [("o43-one", [RATNA, LILIS, DODI]), ("o43-other", [DODI, LILIS, RATNA])] {
        let content = letter(SITI, &format!("{RATNA}, {LILIS}"), id, "Rahasia.");
        assert!(send(site.gateway.inside, SITI, &envelope, &content).starts_with("250"));
        let mails = site.outside.find_all(id, 2);
        let of = |name: &str| mails.iter().find(|mail| mail.to.iter().any(|to| to == name)).unwrap();
        assert_eq!(pki.recipients(&of(DODI).content), [pki.serial(DODI)]);
        let named = pki.recipients(&of(RATNA).content);
        let mut sorted = named.clone();
        sorted.sort();
        let mut expected = vec![pki.serial(RATNA), pki.serial(LILIS)];
        expected.sort();
        assert_eq!((sorted, of(RATNA).content == of(LILIS).content), (expected, true));
        seen.push(named);
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn o40_o12_each_hidden_recipient_has_a_copy_of_his_own() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, LILIS, DODI], |setup| setup);
    let pki = Pki::shared();
    let content = [format!("Bcc: {LILIS}\r\n").as_bytes(), &letter(SITI, RATNA, "o40", "Rahasia.")].concat();
    let reply = send(site.gateway.inside, SITI, &[RATNA, LILIS, DODI], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let mails = site.outside.find_all("o40", 3);
    assert_eq!(mails.len(), 3);
    for name in [RATNA, LILIS, DODI] {
        let mail = mails.iter().find(|mail| mail.to == [name]).unwrap_or_else(|| panic!("no copy for {name}"));
        assert_eq!(pki.recipients(&mail.content), [pki.serial(name)]);
        assert_opens(mail, name, "Rahasia.");
        assert!(fields(&mail.content, "bcc").is_empty());
        let inside = pki.decrypt(&mail.content, name).unwrap();
        for text in [String::from_utf8_lossy(&mail.content), String::from_utf8_lossy(&inside)] {
            for other in [LILIS, DODI].into_iter().filter(|other| *other != name) {
                assert!(!text.contains(other), "{other} is named in the copy of {name}");
            }
        }
    }
}

#[test]
fn o35_o40_named_recipients_share_a_copy_and_so_do_those_in_clear() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, DODI], |setup| setup);
    let pki = Pki::shared();
    let other = "lain@mitra.example";
    let reply = site.write(&[RATNA, DODI, TANPA, other], "o35", "Undangan.");
    assert!(reply.starts_with("250"), "{reply}");
    let mails = site.outside.find_all("o35", 2);
    let encrypted = mails.iter().find(|mail| is_encrypted(mail)).unwrap();
    let clear = mails.iter().find(|mail| !is_encrypted(mail)).unwrap();
    assert_eq!(encrypted.to, [RATNA, DODI]);
    assert_eq!(clear.to, [TANPA, other]);
    let mut serials = pki.recipients(&encrypted.content);
    let mut expected = [pki.serial(RATNA), pki.serial(DODI)];
    serials.sort();
    expected.sort();
    assert_eq!(serials, expected);
    assert_opens(encrypted, RATNA, "Undangan.");
    assert_opens(encrypted, DODI, "Undangan.");
    assert_eq!(pki.verify(&clear.content, &[]), Ok(SITI.to_owned()));
    site.settle();
    assert_eq!(site.outside.mails().len(), 2);
}

#[test]
fn o30_required_by_the_domain_refuses_all_and_names_who_has_no_certificate() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| setup.domain("encrypt = \"required\"\n"));
    let reply = site.write(&[RATNA, TANPA], "o30-domain", "x");
    assert!(reply.starts_with("550 5.7."), "{reply}");
    assert!(reply.contains(TANPA) && !reply.contains(RATNA), "{reply}");
    // To an own domain the same holds.
    let reply = site.write(&[BUDI], "o30-own", "x");
    assert!(reply.starts_with("550 5.7.") && reply.contains(BUDI), "{reply}");
    let reply = site.write(&[RATNA], "o30-fine", "Rahasia.");
    assert!(reply.starts_with("250"), "{reply}");
    assert_opens(&site.outside.find("o30-fine"), RATNA, "Rahasia.");
    assert_eq!((site.outside.mails().len(), site.inside.mails().len()), (1, 0));
    assert!(site.gateway.held().is_empty());
    for id in ["o30-domain", "o30-own"] {
        assert!(!site.outside.has(id) && !site.inside.has(id));
    }
}

const RULES: &str = "[[rule]]\nname = \"bank\"\nmatch = { to = [\"@bank.example\"] }\nthen = { encrypt = \"required\" }\n\
    [[rule]]\nname = \"tanda\"\nmatch = { side = \"inside\", subject = \"[rahasia]\" }\nthen = { encrypt = \"required\" }\n\
    [[rule]]\nname = \"field\"\nmatch = { header = { name = \"X-Enkripsi\", value = \"ya\" } }\nthen = { encrypt = \"required\" }\n";

#[test]
fn o30_o31_a_tag_or_a_field_requires_encryption_and_leaves_the_mail() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| Setup { policy: RULES.to_owned(), ..setup }.domain("encrypt = \"never\"\n"));
    let with = |id: &str, to: &str, subject: &str| {
        let text = String::from_utf8(letter(SITI, to, id, "Gaji.")).unwrap();
        text.replace("Subject: Halo\r\n", subject).into_bytes()
    };
    let cases = [
        ("o31-none", "Subject: Gaji\r\n", false, "Gaji"),
        ("o31-tag", "Subject: [rahasia] Gaji\r\n", true, "Gaji"),
        ("o31-case", "Subject: Gaji [RAHASIA]\r\n", true, "Gaji"),
        ("o31-word-q", "Subject: =?utf-8?q?=5Brahasia=5D_Gaji?=\r\n", true, "Gaji"),
        ("o31-word-b", "Subject: =?utf-8?b?W3JhaGE=?=\r\n =?utf-8?b?c2lhXSBHYWpp?=\r\n", true, "Gaji"),
        ("o31-field", "X-Enkripsi: Ya\r\nSubject: Gaji\r\n", true, "Gaji"),
        ("o31-field-no", "X-Enkripsi: tidak\r\nSubject: Gaji\r\n", false, "Gaji"),
    ];
    for (id, subject, encrypted, left) in cases {
        let reply = send(site.gateway.inside, SITI, &[RATNA], &with(id, RATNA, subject));
        assert!(reply.starts_with("250"), "{id}: {reply}");
        let mail = site.outside.find(id);
        assert_eq!(is_encrypted(&mail), encrypted, "{id}");
        assert_eq!(fields(&mail.content, "subject"), [left], "{id}");
        assert!(fields(&mail.content, "x-enkripsi").is_empty(), "{id}");
        let inside =
            if encrypted { Pki::shared().decrypt(&mail.content, RATNA).unwrap() } else { mail.content.clone() };
        let inside = String::from_utf8_lossy(&inside).to_lowercase();
        assert!(!inside.contains("rahasia") && !inside.contains("x-enkripsi"), "{id}: {inside}");
    }
    // Without a certificate: refused, for everybody.
    for (id, subject, ..) in cases.into_iter().filter(|(.., encrypted, _)| *encrypted) {
        let id = id.replace("o31", "o30");
        let reply = send(site.gateway.inside, SITI, &[TANPA, RATNA], &with(&id, TANPA, subject));
        assert!(reply.starts_with("550 5.7.") && reply.contains(TANPA) && !reply.contains(RATNA), "{id}: {reply}");
    }
    assert_eq!(site.outside.mails().len(), cases.len());
}

#[test]
fn o30_a_rule_on_the_envelope_alone_refuses_when_the_recipient_is_named() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| Setup { policy: RULES.to_owned(), ..setup });
    let mut client = Client::hello(site.gateway.inside);
    client.send(&format!("MAIL FROM:<{SITI}>"));
    client.expect("250");
    client.send("RCPT TO:<teller@bank.example>");
    assert!(client.expect("550 5.7.").contains("teller@bank.example"));
    client.send(&format!("RCPT TO:<{RATNA}>"));
    client.expect("250");
    client.send("DATA");
    client.expect("354");
    client.raw(&letter(SITI, RATNA, "o30-rcpt", "x"));
    client.raw(b".\r\n");
    client.expect("250");
    assert_eq!(site.outside.find("o30-rcpt").to, [RATNA]);
}

/// Deferred at first, then held for a key; never in clear and never twice.
fn assert_waits_for_a_certificate(site: &Site, to: &str, id: &str) {
    let content = letter(SITI, to, id, "Jangan terbuka.");
    let mut replies = Vec::new();
    for _ in 0..300 {
        let reply = send(site.gateway.inside, SITI, &[to, TANPA], &content);
        let done = !reply.starts_with("451 4.");
        replies.push(reply);
        if done {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    assert!(replies.len() > 1, "{id}: not deferred: {replies:?}");
    assert!(replies[0].contains(to) && !replies[0].contains(TANPA), "{replies:?}");
    assert!(replies.last().unwrap().starts_with("250"), "{id}: {replies:?}");
    // Whoever can have it has it; the other one waits.
    assert_eq!(site.outside.find(id).to, [TANPA], "{id}");
    let held = site.gateway.held();
    let row = held.iter().find(|row| row.to_string().contains(to)).unwrap_or_else(|| panic!("{id}: {held:?}"));
    assert!(row.to_string().contains("awaiting-key") && row.to_string().contains("no-recipient-certificate"), "{row}");
    site.settle();
    assert!(site.outside.mails().iter().all(|mail| !mail.to.contains(&to.to_owned())), "{id} left");
}

const SOON: &str = "[incoming]\ndefer_for = \"2s\"\n";

#[test]
fn o30_o32_a_certificate_that_cannot_be_used_now_defers_then_holds() {
    need!("openssl", "aiosmtpd");
    let site = site(&[YUDI, LAMA, RATNA], |setup| setup.more(SOON));
    assert_waits_for_a_certificate(&site, YUDI, "o32-revoked");
    assert_waits_for_a_certificate(&site, LAMA, "o32-ended");
    let printed = site.gateway.held().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(printed.contains("revoked") && printed.contains("expired"), "{printed}");
    // With one who can have it: nobody gets anything before it is known what becomes of the other.
    let reply = site.write(&[RATNA, YUDI], "o32-both", "x");
    assert!(reply.starts_with("451 4.") && reply.contains(YUDI) && !reply.contains(RATNA), "{reply}");
    assert!(!site.outside.has("o32-both"));
}

#[test]
fn o30_o32_without_a_current_list_of_its_issuer_a_certificate_is_not_used() {
    need!("openssl", "aiosmtpd");
    let pki = Pki::with_mailboxes();
    let root = pki.path("root-crl.der");
    for (id, crls) in
        [("o32-missing", format!("[\"{root}\"]")), ("o32-expired", format!("[\"{root}\", \"{}\"]", pki.expired_crl()))]
    {
        // Own keys would be as unknown as everybody's.
        let setup = |setup: Setup| Setup { crls, keys: Vec::new(), ..setup }.domain("sign = \"never\"\n").more(SOON);
        let site = site(&[RATNA], setup);
        assert_waits_for_a_certificate(&site, RATNA, id);
        let held = site.gateway.held()[0].to_string();
        assert!(held.contains("revocation-unknown"), "{id}: {held}");
    }
}

#[test]
fn o30_allow_downgrade_lets_mail_leave_in_clear() {
    need!("openssl", "aiosmtpd");
    let allowed = format!("[encryption]\nallow_downgrade = [\"{YUDI}\"]\n");
    let site = site(&[YUDI, LAMA], |setup| setup.more(&allowed));
    assert!(site.write(&[YUDI], "allowed", "x").starts_with("250"));
    let mail = site.outside.find("allowed");
    assert!(!is_encrypted(&mail));
    assert_eq!(Pki::shared().verify(&mail.content, &[]), Ok(SITI.to_owned()));
    assert!(site.write(&[LAMA], "not-allowed", "x").starts_with("451 4."));
    site.assert_gone("not-allowed");
}

#[test]
fn o30_after_the_first_encrypted_mail_none_leaves_in_clear() {
    need!("openssl", "aiosmtpd");
    let mut site = site(&[RATNA], |setup| setup);
    assert!(site.write(&[RATNA], "first", "Pertama.").starts_with("250"));
    assert_opens(&site.outside.find("first"), RATNA, "Pertama.");
    let id = site.gateway.certificates(RATNA)[0]["id"].as_str().unwrap().to_owned();
    let blocked = site.gateway.segel(&["cert", "block", &id]);
    assert_eq!(blocked.code, 0, "{blocked:?}");
    assert!(site.write(&[RATNA], "blocked", "x").starts_with("451 4."));
    // It is remembered over a restart.
    assert_eq!(site.gateway.stop(), Some(0));
    site.gateway.start();
    assert!(site.write(&[RATNA], "restarted", "x").starts_with("451 4."));
    site.assert_gone("blocked");
    site.assert_gone("restarted");
}

#[test]
fn o42_copies_have_one_message_id_and_each_recipient_an_end_of_his_own() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::with(&[("refuse", DODI)]));
    let gateway = Setup::new(inside.address, outside.address).start();
    gateway.know(&[RATNA, LILIS, DODI]);
    let content = letter(SITI, RATNA, "o42", "Rahasia.");
    let reply = send(gateway.inside, SITI, &[RATNA, LILIS, DODI, TANPA], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let mails = outside.find_all("o42", 3);
    let ids: Vec<_> = mails.iter().flat_map(|mail| fields(&mail.content, "message-id")).collect();
    assert_eq!(ids, vec!["<o42@test.example>"; 3]);
    let mut delivered: Vec<_> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
    delivered.sort();
    let mut expected = [RATNA, LILIS, TANPA];
    expected.sort_unstable();
    assert_eq!(delivered, expected);
    let notice = inside.wait(1)[0].clone();
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[SITI.to_owned()][..]));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert_eq!(text.matches("Final-Recipient:").count(), 1, "{text}");
    assert!(text.contains(DODI) && !text.contains(LILIS), "{text}");
}

#[test]
fn o56_what_the_client_signed_is_encrypted_as_it_is() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| setup);
    let pki = Pki::shared();
    for (id, more) in [("o56-enc-clear", &[][..]), ("o56-enc-opaque", &["-nodetach"][..])] {
        let (outer, entity) = parts(&letter(SITI, RATNA, id, "Sudah ditandatangani.  \nFrom sini."));
        let signed = pki.signed(&entity, SITI, more);
        let reply = send(site.gateway.inside, SITI, &[RATNA], &[outer.as_slice(), &signed].concat());
        assert!(reply.starts_with("250"), "{reply}");
        let mail = site.outside.find(id);
        assert!(is_encrypted(&mail));
        let inside = pki.decrypt(&mail.content, RATNA).unwrap();
        assert_eq!(pki.verify(&inside, &[]), Ok(SITI.to_owned()));
        let body = |entity: &[u8]| {
            let at = entity.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            entity[at..].to_vec()
        };
        assert!(body(&inside) == body(&signed), "{id}: the signed octets were changed");
        assert_eq!(fields(&inside, "content-type"), fields(&signed, "content-type"));
    }
}

#[test]
fn o56_what_the_client_encrypted_is_not_touched() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| setup.domain("encrypt = \"required\"\n"));
    let ratna = Pki::shared().path(&format!("{RATNA}.pem"));
    let mail = Pki::shared().encrypt(&letter(SITI, RATNA, "o56-encrypted", "x"), &["-aes256", &ratna]);
    let reply = send(site.gateway.inside, SITI, &[RATNA], &mail);
    assert!(reply.starts_with("250"), "{reply}");
    assert!(below_trace(&site.outside.find("o56-encrypted").content) == mail, "it was changed");
}

#[test]
fn o56_a_label_is_no_encryption() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| setup.domain("encrypt = \"required\"\n"));
    let labelled = |id: &str, kind: &str, body: &str| {
        let letter = String::from_utf8(letter(SITI, RATNA, id, body)).unwrap();
        letter.replace("Content-Type: text/plain; charset=utf-8", &format!("Content-Type: {kind}")).into_bytes()
    };
    let pgp = |message: &str| {
        format!(
            "--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b\nContent-Type: application/octet-stream\n\n\
             -----BEGIN PGP MESSAGE-----\n\n{message}\n-----END PGP MESSAGE-----\n--b--"
        )
    };
    let envelope = "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m";
    let encrypted = "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b";
    for (id, kind, body) in [
        ("o56-no-envelope", envelope, "kenari".to_owned()),
        ("o56-no-armour", encrypted, pgp("kenari")),
        // A literal packet: `gpg --store`.
        ("o56-literal", encrypted, pgp("yxNiAAAAAABrZW5hcmkga2VuYXJp")),
    ] {
        let mail = labelled(id, kind, &body);
        let reply = send(site.gateway.inside, SITI, &[RATNA], &mail);
        assert!(reply.starts_with("250"), "{id}: {reply}");
        let left = site.outside.find(id);
        assert!(below_trace(&left.content) != mail && is_encrypted(&left), "{id} left as it was");
        let inside = Pki::shared().decrypt(&left.content, RATNA).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(Pki::shared().verify(&inside, &[]), Ok(SITI.to_owned()), "{id}");
        // To somebody whose certificate nobody knows it does not leave.
        let reply = send(site.gateway.inside, SITI, &[TANPA], &labelled("o56-nobody", kind, &body));
        assert!(reply.starts_with("550 5.7.1"), "{id}: {reply}");
    }
    assert!(site.write(&[RATNA], "o56-after", "x").starts_with("250"));
    site.outside.find("o56-after");
    assert!(!site.outside.has("o56-nobody"));
}

#[test]
fn o57_a_report_passes_in_clear_where_encryption_is_not_required() {
    need!("openssl", "aiosmtpd");
    let report = String::from_utf8(letter(SITI, RATNA, "o57-report", "--b\n\nDibaca.\n--b--")).unwrap().replace(
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
    );
    // A program writes it without a reverse-path; what a person labels so is a mail like any other.
    for (setting, path, encrypted) in
        [("when-possible", "", false), ("when-possible", SITI, true), ("required", "", true)]
    {
        let site = site(&[RATNA], |setup| setup.domain(&format!("encrypt = \"{setting}\"\n")));
        let reply = send(site.gateway.inside, path, &[RATNA], report.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        let mail = site.outside.find("o57-report");
        assert_eq!(is_encrypted(&mail), encrypted, "{setting} <{path}>");
        assert!(encrypted || below_trace(&mail.content) == report.as_bytes());
    }
}

#[test]
fn c43_a_bounce_of_encrypted_mail_returns_the_header_section_alone() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::with(&[("refuse", RATNA)]));
    let gateway = Setup::new(inside.address, outside.address).start();
    gateway.know(&[RATNA]);
    let reply = send(gateway.inside, SITI, &[RATNA], &letter(SITI, RATNA, "c43", "kenari-c43"));
    assert!(reply.starts_with("250"), "{reply}");
    let notice = inside.wait(1)[0].clone();
    assert_eq!(notice.to, [SITI]);
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("<c43@test.example>") && text.contains(RATNA), "{text}");
    assert!(!text.contains("kenari-c43") && !text.contains("a2VuYXJp"), "{text}");
    assert!(outside.mails().is_empty());
}

#[test]
fn o40_too_many_copies_of_a_large_mail_are_refused_when_the_recipient_is_named() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA, LILIS, DODI], |setup| setup.more("[limits]\ncopies = \"200KiB\"\n"));
    let mut client = Client::hello(site.gateway.inside);
    client.send(&format!("MAIL FROM:<{SITI}> SIZE=100000"));
    client.expect("250");
    let replies: Vec<_> = [RATNA, TANPA, LILIS, DODI]
        .iter()
        .map(|to| {
            client.send(&format!("RCPT TO:<{to}>"));
            client.reply().unwrap()
        })
        .collect();
    assert!(replies[0].starts_with("250") && replies[1].starts_with("250"), "{replies:?}");
    assert!(replies[2..].iter().all(|reply| reply.starts_with("452 4.5.3")), "{replies:?}");
    client.send("DATA");
    client.expect("354");
    client.raw(&letter(SITI, RATNA, "o40-large", "x"));
    client.raw(b".\r\n");
    client.expect("250");
    assert_eq!(site.outside.find_all("o40-large", 2).len(), 2);
}

#[test]
fn o30_mail_within_an_own_domain_is_encrypted_too() {
    need!("openssl", "aiosmtpd");
    let site = site(&[WATI], |setup| setup);
    assert!(site.write(&[WATI], "within", "Untuk Wati.").starts_with("250"));
    let mail = site.inside.find("within");
    assert_eq!(mail.to, [WATI]);
    assert_opens(&mail, WATI, "Untuk Wati.");
}

#[test]
fn c03_c15_a_retry_of_encrypted_mail_sends_the_same_octets() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1")]));
    let mut gateway = Setup::new(inside.address, outside.address).start();
    gateway.know(&[RATNA]);
    let reply = send(gateway.inside, SITI, &[RATNA], &letter(SITI, RATNA, "c15-encrypted", "Rahasia."));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(outside.find("c15-encrypted").kind, "defer");
    assert_eq!(gateway.stop(), Some(0));
    gateway.start();
    gateway.retry_until(&outside, 2);
    let mails = outside.wait(2);
    assert_eq!(mails[1].kind, "kept");
    assert!(mails[0].content == mails[1].content, "the retry made a new copy");
    assert_opens(&mails[1], RATNA, "Rahasia.");
}

#[test]
fn o57_automatic_replies_are_encrypted_where_it_is_required() {
    need!("openssl", "aiosmtpd");
    let site = site(&[RATNA], |setup| setup.domain("encrypt = \"required\"\n"));
    let reply = send(site.gateway.inside, "", &[RATNA], &letter(SITI, RATNA, "o57-vacation", "Sedang cuti."));
    assert!(reply.starts_with("250"), "{reply}");
    let mail = site.outside.find("o57-vacation");
    assert_eq!(mail.from, "");
    let inside = Pki::shared().decrypt(&mail.content, RATNA).unwrap();
    assert!(String::from_utf8_lossy(&inside).contains("Sedang cuti."));
    assert!(!String::from_utf8_lossy(&mail.content).contains("Sedang cuti."));
    let reply = send(site.gateway.inside, "", &[TANPA], &letter(SITI, TANPA, "o57-nobody", "Sedang cuti."));
    assert!(reply.starts_with("550 5.7."), "{reply}");
}

#[test]
fn o34_o35_recipients_who_read_different_things() {
    need!("openssl", "aiosmtpd");
    // Both have announced what OpenSSL announces; nobody reads the other's copy where they are apart.
    let site = site(&[], |setup| setup);
    for name in [RATNA, DODI] {
        let signed = Pki::shared().sign(&letter(name, SITI, &format!("hello-{name}"), "x"), name);
        assert!(send(site.gateway.outside, name, &[SITI], &signed).starts_with("250"));
        for _ in 0..300 {
            if !site.gateway.certificates(name).is_empty() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    assert!(site.write(&[RATNA, DODI], "o35-learned", "Bersama.").starts_with("250"));
    let mail = site.outside.find("o35-learned");
    assert_eq!(mail.to, [RATNA, DODI]);
    assert!(Pki::shared().print(&mail.content).contains("aes-256-cbc"));
    assert_opens(&mail, RATNA, "Bersama.");
    assert_opens(&mail, DODI, "Bersama.");
}
