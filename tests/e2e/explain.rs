//! `explain` says what then happens: the same mails are explained and sent, and both answers compared.

use crate::support::pki::{BUDI, JOKO, LAMA, LILIS, RATNA, RINA, SITI, TANPA, TONO, YUDI};
use crate::support::{Client, Gateway, Mail, Pki, Setup, Sink, fields, letter};
use serde_json::Value;

const RULES: &str = "
[[rule]]
name = \"wajib\"
match = { to = \"@wajib.example\" }
then = { encrypt = \"required\" }

[[rule]]
name = \"warga\"
match = { to = \"warga@daftar.example\" }
then = { form = \"opaque\" }

[[rule]]
name = \"warta\"
match = { to = \"warta@daftar.example\" }
then = { sign = \"never\" }

[[rule]]
name = \"rahasia\"
match = { subject = \"[rahasia]\" }
then = { encrypt = \"required\" }

[[rule]]
name = \"tajuk\"
match = { header = { name = \"X-Encrypt\", value = \"yes\" } }
then = { encrypt = \"required\" }

[[rule]]
name = \"terbuka\"
match = { subject = \"[terbuka]\" }
then = { encrypt = \"never\", sign = \"never\" }

[[rule]]
name = \"tutup\"
match = { side = \"outside\", to = \"noreply@kabupaten.go.id\" }
then = { action = \"reject\" }

[[rule]]
name = \"ketat\"
match = { reasons = [\"altered\"] }
then = { action = \"reject\" }
";

struct Site {
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
    sent: usize,
}

impl Site {
    fn start(change: impl Fn(&mut Setup)) -> Self {
        Pki::with_mailboxes();
        let (inside, outside) = (Sink::start(), Sink::start());
        let mut setup = Setup::new(inside.address, outside.address);
        setup.policy = RULES.to_owned();
        change(&mut setup);
        let gateway = setup.start();
        gateway.know(&[RATNA, YUDI, LAMA, LILIS]);
        let blocked = gateway.certificates(LILIS)[0]["sha256"].as_str().unwrap().to_owned();
        assert_eq!(gateway.segel(&["cert", "block", &blocked]).code, 0);
        Self { inside, outside, gateway, sent: 0 }
    }

    /// Explains a mail, sends it, compares; the row that `explain` names has to be the expected one.
    fn same(&mut self, side: &str, path: &str, to: &[&str], mail: &[u8], expected: &str) {
        self.sent += 1;
        let id = format!("same-{}", self.sent);
        let mail = String::from_utf8(mail.to_vec()).unwrap().replace("Message-ID: <x@", &format!("Message-ID: <{id}@"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &mail).unwrap();
        let mut arguments = vec!["explain", "--json", "--side", side, "--from", path];
        to.iter().for_each(|to| arguments.extend(["--to", to]));
        arguments.push(file.path().to_str().unwrap());
        let answer = self.gateway.segel(&arguments);
        assert!(answer.code < 2, "{id}: {answer:?}");
        let told = &answer.json()[0];
        assert_eq!(told["rule"], expected, "{id}: {told:#}");

        let mut client = Client::hello(if side == "inside" { self.gateway.inside } else { self.gateway.outside });
        client.send(&format!("MAIL FROM:<{}>", path.trim_matches(['<', '>'])));
        client.expect("250");
        let mut taken = Vec::new();
        for (to, one) in to.iter().zip(told["recipients"].as_array().unwrap()) {
            client.send(&format!("RCPT TO:<{to}>"));
            let reply = client.reply().unwrap();
            let said = one["reply"].as_str().or(told["reply"].as_str().filter(|_| told["facts"].is_null()));
            match reply.starts_with("250") {
                true => {
                    assert!(one["reply"].is_null(), "{id}: {reply}{told:#}");
                    taken.push(one.clone());
                }
                false => assert_eq!(said, Some(reply.trim_end()), "{id}: {told:#}"),
            }
        }
        assert_eq!(answer.code == 0, told["decision"] == "accept" && taken.len() == to.len(), "{id}: {answer:?}");
        if taken.is_empty() {
            return;
        }
        client.send("DATA");
        client.expect("354");
        client.raw(mail.as_bytes());
        client.raw(b".\r\n");
        let reply = client.reply().unwrap();
        if told["decision"] != "accept" {
            assert_eq!(told["reply"].as_str(), Some(reply.trim_end()), "{id}: {told:#}");
            return;
        }
        assert!(reply.starts_with("250"), "{id}: {reply}{told:#}");
        let queue_id = reply.trim_end().rsplit(' ').next().unwrap();
        taken.iter().for_each(|one| self.arrived(one, &id, queue_id, side == "inside"));
    }

    /// Whether this recipient got what was said.
    fn arrived(&self, one: &Value, id: &str, queue_id: &str, outgoing: bool) {
        let address = one["address"].as_str().unwrap();
        let treatment = one["treatment"].as_str().unwrap();
        if let Some(class) = treatment.strip_prefix("hold (") {
            let held = self.gateway.held();
            let row = held.iter().find(|row| row["queue_id"] == queue_id && row.to_string().contains(address));
            let row = row.unwrap_or_else(|| panic!("{id} is not held: {one:#}, {held:#?}"));
            return assert!(row.to_string().contains(class.trim_end_matches(')')), "{id}: {one:#}, {row:#}");
        }
        assert!(treatment.starts_with("deliver"), "{id}: {one:#}");
        let sink = if address.ends_with("@kabupaten.go.id") { &self.inside } else { &self.outside };
        let mail = copy(sink, id, address);
        if outgoing {
            let kind = fields(&mail.content, "content-type").join(" ");
            let encrypted = kind.contains("enveloped-data");
            assert_eq!(one["encrypted"], encrypted, "{id}: {kind} {one:#}");
            let clear =
                if encrypted { Pki::shared().decrypt(&mail.content, address).unwrap() } else { mail.content.clone() };
            let kind = fields(&clear, "content-type").join(" ");
            let form = match kind {
                _ if kind.contains("multipart/signed") => Value::from("clear"),
                _ if kind.contains("signed-data") => Value::from("opaque"),
                _ => Value::Null,
            };
            assert_eq!((&one["form"], &one["signed"]), (&form, &Value::from(!form.is_null())), "{id}: {kind} {one:#}");
        }
    }
}

fn copy(sink: &Sink, id: &str, to: &str) -> Mail {
    for _ in 0..2400 {
        let is_it = |mail: &&Mail| {
            mail.to.iter().any(|one| one == to)
                && fields(&mail.content, "message-id").join("").contains(&format!("<{id}@"))
        };
        if let Some(mail) = sink.mails().iter().find(is_it) {
            return mail.clone();
        }
        std::thread::park_timeout(std::time::Duration::from_millis(25));
    }
    panic!("{id} did not come to {to}");
}

fn with(mail: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).unwrap();
    assert!(text.contains(from), "`{from}` in {text}");
    text.replace(from, to).into_bytes()
}

#[test]
fn what_explain_says_of_mail_from_inside_happens() {
    need!("openssl", "aiosmtpd");
    let mut site = Site::start(|_| {});
    let plain = letter(SITI, RINA, "x", "Salam.");
    let subject = |text: &str| with(&plain, "Subject: Halo", &format!("Subject: {text}"));
    let field = |text: &str| with(&plain, "Subject: Halo", &format!("Subject: Halo\r\n{text}"));
    site.same("inside", SITI, &[RINA], &plain, "signed");
    site.same("inside", SITI, &[RATNA, RINA, BUDI, "warga@daftar.example"], &plain, "signed");
    site.same("inside", SITI, &["warta@daftar.example"], &plain, "sign-never");
    for unproven in [YUDI, LAMA, LILIS] {
        site.same("inside", SITI, &[unproven], &plain, "recipient-unproven-deferred");
    }
    site.same("inside", SITI, &[RATNA, YUDI], &plain, "recipient-unproven-deferred");
    // One is refused when he is named, and the mail goes on for the other.
    site.same("inside", SITI, &["x@wajib.example", RINA], &plain, "signed");
    site.same("inside", SITI, &["x@wajib.example"], &plain, "encrypt-required-refused");
    site.same("inside", SITI, &[RATNA], &subject("Re: [RAHASIA] x"), "signed");
    site.same("inside", SITI, &[RATNA, TANPA], &subject("=?utf-8?q?=5Brahasia=5D?="), "encrypt-required-refused");
    site.same("inside", SITI, &[RATNA], &subject("[terbuka] x"), "sign-never");
    // What can't be read counts for the rule that asks for more, not for the one that asks for less.
    site.same("inside", SITI, &[TANPA], &subject("=?utf-8?q?=ff=fe?="), "encrypt-required-refused");
    site.same("inside", SITI, &[RATNA], &subject("=?utf-8?q?=ff=fe?="), "signed");
    for value in ["yes", "YES (segera)", "\"yes\"", "=?utf-8?b?eWVz?=", "=?utf-8?q?=ff=fe?=", "\r\n yes"] {
        site.same("inside", SITI, &[TANPA], &field(&format!("X-Encrypt: {value}")), "encrypt-required-refused");
    }
    site.same("inside", SITI, &[TANPA], &field("X-Encrypt: no"), "signed");
    // Who writes as whom.
    site.same("inside", TONO, &[RINA], &letter(TONO, RINA, "x", "x"), "no-key-refused");
    site.same("inside", BUDI, &[RINA], &plain, "unvouched-refused");
    site.same("inside", RINA, &[TANPA], &letter(RINA, TANPA, "x", "x"), "foreign-from");
    site.same("inside", "<>", &[RINA], &plain, "null-reverse-path");
    site.same("inside", SITI, &[RINA], &with(&plain, "From: ", "From: budi@kabupaten.go.id, "), "from-not-one-mailbox");
    let received = "Received: from a by b; Sun, 22 Nov 2026 10:00:00 +0700\r\n".repeat(120);
    site.same("inside", SITI, &[RINA], &[received.as_bytes(), &plain].concat(), "loop");
    assert_eq!(
        site.gateway.segel(&["bypass", "start", "--hours", "1", "--reason", "x", "--domain", "kabupaten.go.id"]).code,
        0
    );
    site.same("inside", SITI, &[RINA], &plain, "emergency-bypass");
    site.same("inside", SITI, &[RATNA, TANPA], &subject("[rahasia]"), "encrypt-required-refused");
    site.same("inside", TONO, &[RATNA], &letter(TONO, RATNA, "x", "x"), "emergency-bypass");
}

#[test]
fn what_explain_says_of_mail_from_outside_happens() {
    need!("openssl", "aiosmtpd");
    let mut site = Site::start(|_| {});
    let plain = letter(RINA, SITI, "x", "Salam.");
    site.same("outside", RINA, &[SITI], &plain, "plain");
    site.same("outside", "<>", &[SITI], &plain, "plain");
    site.same("outside", RINA, &[SITI, TANPA], &plain, "plain");
    site.same("outside", RINA, &[TANPA], &plain, "no-relay");
    site.same("outside", RINA, &["noreply@kabupaten.go.id", SITI], &plain, "plain");
    site.same("outside", SITI, &[BUDI], &letter(SITI, BUDI, "x", "x"), "quarantined");
    let signed = Pki::shared().sign(&letter(RINA, SITI, "x", "Rp 100"), RINA);
    site.same("outside", RINA, &[SITI], &signed, "verified");
    site.same("outside", RINA, &[SITI], &with(&signed, "Rp 100", "Rp 900"), "incoming-rejected");
    site.same("outside", JOKO, &[SITI], &Pki::shared().sign(&letter(JOKO, SITI, "x", "x"), JOKO), "quarantined");
}

#[test]
fn what_explain_says_without_crls_happens_and_asking_leaves_no_trace() {
    need!("openssl", "aiosmtpd");
    let mut site = Site::start(|setup| setup.crls = "[]".to_owned());
    site.same("inside", SITI, &[RINA], &letter(SITI, RINA, "x", "x"), "own-status-unknown");
    // Had the question counted as the first sight of the mail, it would be held at once.
    site.gateway.edit("[notify]", "[incoming]\ndefer_for = \"1ms\"\n[notify]");
    let signed = Pki::shared().sign(&letter(RINA, SITI, "unseen", "x"), RINA);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &signed).unwrap();
    let arguments = ["explain", "--json", "--from", RINA, "--to", SITI, file.path().to_str().unwrap()];
    for _ in 0..2 {
        assert_eq!(site.gateway.segel(&arguments).json()[0]["rule"], "revocation-unknown-deferred");
    }
    // Now it has really been seen, and the next time is no longer the first.
    assert_eq!(site.gateway.segel(&["reload"]).code, 0);
    let send = || crate::support::client::send(site.gateway.outside, RINA, &[SITI], &signed);
    assert!(send().starts_with("451"));
    assert!(send().starts_with("250"));
    assert_eq!(site.gateway.segel(&arguments).json()[0]["rule"], "revocation-unknown-held");
}
