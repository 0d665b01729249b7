//! Held mail goes the line again: released by operators, by time, by a fresh list, by a certificate that came in.

use crate::support::client::send;
use crate::support::pki::{BUDI, JOKO, LILIS, RATNA, RINA, SITI, TANPA, YUDI};
use crate::support::{Gateway, Mail, Pki, Setup, Sink, below_trace, fields, letter};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Waits until `done` gives something.
fn until<T>(what: &str, done: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < crate::support::PATIENCE {
        if let Some(found) = done() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("{what}: not within {:?}", crate::support::PATIENCE);
}

struct Site {
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
}

fn site(change: impl FnOnce(Setup) -> Setup) -> Site {
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = change(Setup::new(inside.address, outside.address)).start();
    Site { inside, outside, gateway }
}

impl Site {
    /// Mail by Joko, whose certificate is revoked; its queue id.
    fn revoked(&self, to: &[&str], id: &str) -> (String, Vec<u8>) {
        let content = Pki::shared().sign(&letter(JOKO, &to.join(", "), id, "Isi yang tidak boleh bocor."), JOKO);
        let reply = send(self.gateway.outside, JOKO, to, &content);
        assert!(reply.starts_with("250"), "{reply}");
        (queue_id(&reply), content)
    }

    fn show(&self, id: &str) -> Value {
        let shown = self.gateway.segel(&["quarantine", "show", "--json", id]);
        assert_eq!(shown.code, 0, "{shown:?}");
        shown.json().remove(0)
    }

    fn recipient(&self, id: &str, address: &str) -> Value {
        let shown = self.show(id);
        let rows = shown["recipients"].as_array().unwrap();
        rows.iter().find(|row| row["address"] == address).unwrap_or_else(|| panic!("{shown}")).clone()
    }

    fn state(&self, id: &str, address: &str) -> String {
        self.recipient(id, address)["state"].as_str().unwrap().to_owned()
    }

    fn class(&self, id: &str, address: &str) -> String {
        self.recipient(id, address)["class"].as_str().unwrap_or_default().to_owned()
    }

    fn audit(&self, id: &str) -> String {
        self.gateway.segel(&["audit", "search", "--json", "--queue-id", id]).output
    }
}

/// The id in the 250.
fn queue_id(reply: &str) -> String {
    let (_, id) = reply.split_once("queued as ").unwrap_or_else(|| panic!("{reply}"));
    id.split_whitespace().next().unwrap().to_owned()
}

fn mark(mail: &Mail) -> String {
    let marks = fields(&mail.content, "segel-verdict");
    assert_eq!(marks.len(), 1, "{marks:?}");
    marks[0].clone()
}

#[test]
fn p32_released_to_one_of_two_marked_as_what_it_is_and_once() {
    need!("openssl", "aiosmtpd");
    let site = site(|setup| setup);
    let (id, content) = site.revoked(&[SITI, BUDI], "release-one");
    let release = |more: &[&str]| {
        let fixed = ["quarantine", "release", &id, "--reason", "Ditanyakan lewat telepon", "--json"];
        site.gateway.segel(&[&fixed[..], more].concat())
    };
    // Whom and for what must be said.
    let nobody = release(&[]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
    assert!(nobody.errors.contains(&format!("--recipient {SITI}")) && nobody.errors.contains(BUDI), "{nobody:?}");
    let unaccepted = release(&["--recipient", SITI]);
    assert_eq!(unaccepted.code, 3, "{unaccepted:?}");
    let line = format!(
        "segel quarantine release {id} --recipient {SITI} --reason 'Ditanyakan lewat telepon' --accept revoked"
    );
    assert!(unaccepted.errors.contains(&line), "{unaccepted:?}");
    assert_eq!(release(&["--recipient", SITI, "--accept", "altered"]).code, 3);
    assert_eq!(release(&["--recipient", SITI, "--accept", "nonsense"]).code, 3);
    assert_eq!(release(&["--recipient", "lain@kabupaten.go.id", "--accept", "revoked"]).code, 3);
    assert_eq!((site.state(&id, SITI), site.state(&id, BUDI)), ("held".to_owned(), "held".to_owned()));

    let released = release(&["--recipient", SITI, "--accept", "revoked"]);
    assert_eq!(released.code, 0, "{released:?}");
    let new = released.json()[0]["queue_id"].as_str().unwrap().to_owned();
    assert!(new != id);
    let mail = site.inside.find("release-one");
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), (JOKO, &[SITI.to_owned()][..]));
    assert!(below_trace(&mail.content) == content, "signed octets were changed");
    let mark = mark(&mail);
    assert!(mark.starts_with("invalid") && mark.contains("revoked") && mark.contains(&new), "{mark}");
    assert!(fields(&mail.content, "received")[0].contains(&new));

    // A second time says where it went and sends nothing.
    let again = release(&["--recipient", SITI, "--accept", "revoked"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!((&again.json()[0]["queue_id"], &again.json()[0]["already"]), (&Value::from(new.as_str()), &true.into()));
    assert_eq!(site.state(&id, BUDI), "held");

    // The proof of delivery stands beside the old id.
    let proof = until("delivery", || {
        let row = site.recipient(&id, SITI);
        (row["released"]["state"] == "delivered").then(|| row["released"].clone())
    });
    assert_eq!(proof["queue_id"], new.as_str());
    assert!(proof["reply"].as_str().unwrap().starts_with("250"), "{proof}");
    assert!(proof["next_hop"].as_str().unwrap().contains(&site.inside.address.port().to_string()), "{proof}");
    assert!(proof["time"].is_string());
    assert!(proof["host"].as_str().is_none_or(|host| host == "127.0.0.1"), "{proof}");
    let people = site.gateway.segel(&["queue", "show", &id]).output;
    assert!(people.contains(&format!("released as {new}: delivered")) && people.contains("250"), "{people}");
    assert_eq!(site.show(&new)["parent"], id.as_str());

    let audit = site.audit(&id);
    for part in ["\"released\"", "revoked", &new, "Ditanyakan lewat telepon"] {
        assert!(audit.contains(part), "{part} in {audit}");
    }
    // The other one: destroyed; then nothing of the mail is left.
    let destroyed = site.gateway.segel(&["quarantine", "destroy", &id, "--reason", "tidak perlu", "--recipient", BUDI]);
    assert_eq!(destroyed.code, 0, "{destroyed:?}");
    assert_eq!(site.state(&id, BUDI), "destroyed");
    assert!(site.audit(&id).contains("\"destroyed\""));
    assert_ne!(site.gateway.segel(&["quarantine", "show", "--original", &id]).code, 0);
    assert!(site.gateway.held().is_empty());
    assert_eq!(site.inside.mails().len(), 1);
    assert_eq!(site.gateway.segel(&["audit", "verify"]).code, 0);
}

#[test]
fn p32_a_reason_found_only_at_release_stops_it() {
    need!("openssl", "aiosmtpd");
    let site = site(|setup| setup);
    // A certificate for signatures alone could not be blocked here: the directory keeps none.
    let content = Pki::with_mailboxes().sign(&letter(YUDI, SITI, "new-reason", "x"), YUDI);
    let reply = send(site.gateway.outside, YUDI, &[SITI], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    site.gateway.know(&[YUDI]);
    let certificate = site.gateway.certificates(YUDI)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.gateway.segel(&["cert", "block", &certificate]).code, 0);
    let release = |accept: &[&str]| {
        let fixed = ["quarantine", "release", &id, "--all", "--reason", "x", "--accept", "revoked"];
        site.gateway.segel(&[&fixed[..], accept].concat())
    };
    let stopped = release(&[]);
    assert_eq!(stopped.code, 3, "{stopped:?}");
    assert!(stopped.errors.contains("not released: blocked-locally not accepted"), "{stopped:?}");
    assert!(stopped.errors.contains("--accept revoked --accept blocked-locally"), "{stopped:?}");
    assert_eq!(site.state(&id, SITI), "held");
    assert_eq!(release(&["--accept", "blocked-locally"]).code, 0);
    let mark = mark(&site.inside.find("new-reason"));
    assert!(mark.contains("revoked") && mark.contains("blocked-locally"), "{mark}");
}

#[test]
fn c46_two_operators_and_a_kill_release_once() {
    need!("openssl", "aiosmtpd");
    let mut site = site(|setup| setup);
    let (id, _) = site.revoked(&[SITI], "twice");
    let release = || {
        let line = ["quarantine", "release", &id, "--all", "--reason", "x", "--accept", "revoked", "--json"];
        site.gateway.segel(&line)
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let both: Vec<_> = (0..4).map(|_| scope.spawn(release)).collect();
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let ids: Vec<_> = answers.iter().map(|answer| answer.json()[0]["queue_id"].clone()).collect();
    assert!(answers.iter().all(|answer| answer.code == 0), "{answers:?}");
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    site.inside.find("twice");
    // Killed while releases are under way: each is whole or has not happened.
    let mails: Vec<String> = (0..5).map(|number| site.revoked(&[SITI], &format!("kill-{number}")).0).collect();
    let server = site.gateway.server().id();
    let home = &site.gateway.home;
    std::thread::scope(|scope| {
        for id in &mails {
            scope.spawn(|| {
                home.segel(&["quarantine", "release", id, "--all", "--reason", "x", "--accept", "revoked"]);
            });
        }
        std::thread::park_timeout(Duration::from_millis(30));
        crate::support::process::signal(server, "KILL");
    });
    site.gateway.kill();
    site.gateway.start();
    for (number, id) in mails.iter().enumerate() {
        let line = ["quarantine", "release", id, "--all", "--reason", "x", "--accept", "revoked"];
        let answer = site.gateway.segel(&line);
        assert_eq!(answer.code, 0, "{answer:?}");
        site.inside.find(&format!("kill-{number}"));
    }
    until("settled", || site.gateway.queued().is_empty().then_some(()));
    assert!(site.inside.mails().iter().filter(|mail| mail.to == [SITI]).count() >= 6);
    assert!(site.gateway.held().is_empty());
}

#[test]
fn c46_reject_is_for_mail_from_inside() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let site = site(|setup| setup.more("[incoming]\ndefer_for = \"0s\"\n"));
    let (id, _) = site.revoked(&[SITI], "not-back");
    let answer = site.gateway.segel(&["quarantine", "reject", &id, "--reason", "x"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.errors.contains("came from outside") && answer.errors.contains("destroy"), "{answer:?}");
    site.gateway.know(&[YUDI]);
    let reply = send(site.gateway.inside, SITI, &[YUDI], &letter(SITI, YUDI, "back", "Rahasia."));
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    assert_eq!(site.class(&id, YUDI), "awaiting-key");
    // No operator can let it out in clear.
    let all: Vec<&str> = vec!["--accept", "revoked", "--accept", "no-recipient-certificate"];
    let line = [&["quarantine", "release", &id, "--all", "--reason", "x"][..], &all].concat();
    let answer = site.gateway.segel(&line);
    assert!(answer.code == 3 && answer.errors.contains("may not leave in clear"), "{answer:?}");
    let answer = site.gateway.segel(&["quarantine", "reject", &id, "--reason", "salah alamat"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let notice = site.inside.wait(1)[0].clone();
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[SITI.to_owned()][..]));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("Status: 5.7.1") && text.contains(YUDI) && !text.contains("Rahasia."), "{text}");
    assert!(!text.contains("salah alamat"), "the comment is for the audit log");
    assert_eq!(site.state(&id, YUDI), "failed");
    assert!(site.audit(&id).contains("\"rejected\""));
    assert!(site.outside.mails().is_empty());
}

#[test]
fn o30_mail_that_waits_for_a_certificate_leaves_encrypted_when_it_comes() {
    need!("openssl", "aiosmtpd");
    let pki = Pki::with_mailboxes();
    let site = site(|setup| setup.more("[incoming]\ndefer_for = \"0s\"\n"));
    // A certificate by another CA, whose list nobody has: known, and not to be proven.
    site.gateway.know(&["second", "ratna-elsewhere"]);
    let content = letter(SITI, RATNA, "waits", "Menunggu sertifikat.");
    let reply = send(site.gateway.inside, SITI, &[RATNA, TANPA], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    assert_eq!(site.class(&id, RATNA), "awaiting-key");
    assert_eq!(site.outside.find("waits").to, [TANPA]);
    let listed = site.gateway.held().remove(0);
    assert!(listed["waits_for"].as_str().unwrap().starts_with("a certificate"), "{listed}");
    site.gateway.know(&[RATNA]);
    let mails = site.outside.find_all("waits", 2);
    let mail = mails.iter().find(|mail| mail.to == [RATNA]).unwrap();
    let inside = pki.decrypt(&mail.content, RATNA).unwrap();
    assert_eq!(pki.verify(&inside, &[]), Ok(SITI.to_owned()));
    assert!(String::from_utf8_lossy(&inside).contains("Menunggu sertifikat."));
    assert!(!String::from_utf8_lossy(&mail.content).contains("Menunggu"));
    assert_eq!(site.state(&id, RATNA), "released");
    assert!(site.audit(&id).contains("\"operator\":\"segel\""), "{}", site.audit(&id));
}

#[test]
fn o30_nobody_waits_for_a_certificate_for_ever() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let site = site(|setup| setup.more("[incoming]\ndefer_for = \"0s\"\n[queue]\nexpire = \"4s\"\nwarn = \"2s\"\n"));
    site.gateway.know(&[YUDI]);
    let reply = send(site.gateway.inside, SITI, &[YUDI], &letter(SITI, YUDI, "expires", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    until("expiry", || (site.state(&id, YUDI) == "failed").then_some(()));
    // A notice of the delay may come before it.
    let text = until("the notice", || {
        let notices = site.inside.mails().into_iter().map(|mail| String::from_utf8_lossy(&mail.content).into_owned());
        notices.into_iter().find(|text| text.contains("Status: 5.4.7"))
    });
    assert!(text.contains(YUDI), "{text}");
}

/// A gateway with the issuing CA's list in a file of its own, which is not there yet.
fn without_list(name: &str, more: &str) -> (Site, PathBuf) {
    let pki = Pki::with_mailboxes();
    // The list of another CA stands in until the right one comes.
    let file = pki.folder.join(format!("{name}.der"));
    std::fs::copy(pki.path("root-crl.der"), &file).unwrap();
    let crls = format!("[\"{}\", \"{}\"]", pki.path("root-crl.der"), file.display());
    let site = site(|setup| Setup { crls, keys: Vec::new(), ..setup }.more(more));
    (site, file)
}

#[test]
fn i27_mail_that_waits_for_a_list_is_judged_when_it_comes() {
    need!("openssl", "aiosmtpd");
    let pki = Pki::shared();
    let (site, file) = without_list("comes", "[incoming]\ndefer_for = \"0s\"\nhold_for = \"10m\"\n");
    let good = pki.sign(&letter(RINA, SITI, "list-good", "x"), RINA);
    let reply = send(site.gateway.outside, RINA, &[SITI, BUDI], &good);
    assert!(reply.starts_with("250"), "{reply}");
    let good_id = queue_id(&reply);
    let (bad_id, bad) = site.revoked(&[SITI], "list-bad");
    for (id, class) in [(&good_id, "awaiting-revocation"), (&bad_id, "awaiting-revocation")] {
        assert_eq!(site.class(id, SITI), class);
    }
    assert!(site.inside.mails().is_empty());
    std::fs::copy(pki.path("crl.der"), &file).unwrap();
    let reloaded = site.gateway.segel(&["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    let mail = site.inside.find("list-good");
    assert_eq!(mail.to, [SITI, BUDI]);
    assert!(mark(&mail).starts_with("valid"), "{}", mark(&mail));
    assert!(below_trace(&mail.content) == good);
    until("quarantine", || (site.class(&bad_id, SITI) == "quarantine").then_some(()));
    let shown = site.show(&bad_id);
    assert_eq!((&shown["verdict"], &shown["reasons"][0]), (&"invalid".into(), &"revoked".into()), "{shown}");
    assert!(shown["details"].to_string().contains("\"revoked\""), "{shown}");
    assert!(!site.inside.has("list-bad"));
    // The evidence is that of now: OpenSSL finds it revoked with the list that came.
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("bundle").display().to_string();
    assert_eq!(site.gateway.segel(&["quarantine", "evidence", "--dir", &dir, &bad_id]).code, 0);
    let crls = std::fs::read_to_string(folder.path().join("bundle/crls.pem")).unwrap();
    assert!(crls.contains("X509 CRL"));
    assert!(std::fs::read(folder.path().join("bundle/original.eml")).unwrap() == bad);
    assert_eq!(site.gateway.segel(&["audit", "verify"]).code, 0);
}

#[test]
fn i27_after_hold_for_it_is_the_security_teams() {
    need!("openssl", "aiosmtpd");
    let more = "[incoming]\ndefer_for = \"0s\"\nhold_for = \"8s\"\n";
    let (site, _) = without_list("never", more);
    let mail = Pki::shared().sign(&letter(RINA, SITI, "hold-for", "x"), RINA);
    let reply = send(site.gateway.outside, RINA, &[SITI], &mail);
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    assert_eq!(site.class(&id, SITI), "awaiting-revocation");
    until("quarantine", || (site.class(&id, SITI) == "quarantine").then_some(()));
    assert_eq!(site.show(&id)["rule"], "revocation-unknown-quarantined");
    assert!(site.inside.mails().is_empty());
}

#[test]
fn o27_a_signer_revoked_while_his_mail_waits_is_not_delivered_for() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1000")]));
    let pki = Pki::shared();
    let file = pki.folder.join("siti-list.der");
    std::fs::copy(pki.path("crl.der"), &file).unwrap();
    let crls = format!("[\"{}\", \"{}\"]", pki.path("root-crl.der"), file.display());
    let more = format!("[notify]\nsecurity = [\"{BUDI}\"]\n");
    let setup = Setup { crls, ..Setup::new(inside.address, outside.address) };
    let gateway = with_security(&setup, &more);
    let site = Site { inside, outside, gateway };
    let reply = send(site.gateway.inside, SITI, &[TANPA], &letter(SITI, TANPA, "signer", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    until("a try", || (!site.outside.mails().is_empty()).then_some(()));
    until("deferred", || (site.recipient(&id, TANPA)["leased"] == false).then_some(()));
    assert_eq!(site.state(&id, TANPA), "pending");
    // Serial 16 is Siti's; a newer list.
    let line = "R\t400101000000Z\t260101000000Z,keyCompromise\t10\tunknown\t/CN=revoked\n";
    newer_list(pki, "siti-list", line);
    assert_eq!(site.gateway.segel(&["reload"]).code, 0);
    until("held", || (site.class(&id, TANPA) == "signer-revoked").then_some(()));
    // The notice about it may still be on its way.
    assert!(site.gateway.queued().iter().all(|row| row["queue_id"] != id.as_str()));
    let alert = site.inside.find("gerbang.kabupaten.go.id");
    let text = String::from_utf8_lossy(&alert.content).into_owned();
    assert!(text.contains("signer-revoked") && text.contains(&id) && text.contains("revoked:"), "{text}");
    // Without another key of his it can't leave: signing is required.
    let line = ["quarantine", "release", &id, "--all", "--reason", "x", "--accept", "revoked"];
    let answer = site.gateway.segel(&line);
    assert!(answer.code == 3 && answer.errors.contains("no-key-refused"), "{answer:?}");
    assert_eq!(site.class(&id, TANPA), "signer-revoked");
}

#[test]
fn o32_queued_mail_is_decided_again_when_its_recipients_certificate_is_blocked() {
    need!("openssl", "aiosmtpd");
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1")]));
    let gateway = Setup::new(inside.address, outside.address).start();
    gateway.know(&[LILIS]);
    let site = Site { inside, outside, gateway };
    let reply = send(site.gateway.inside, SITI, &[LILIS], &letter(SITI, LILIS, "blocked", "Rahasia."));
    assert!(reply.starts_with("250"), "{reply}");
    let id = queue_id(&reply);
    until("a try", || (!site.outside.mails().is_empty()).then_some(()));
    until("deferred", || (site.recipient(&id, LILIS)["leased"] == false).then_some(()));
    let certificate = site.gateway.certificates(LILIS)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.gateway.segel(&["cert", "block", &certificate]).code, 0);
    until("held", || (site.class(&id, LILIS) == "awaiting-key").then_some(()));
    assert_eq!(site.gateway.segel(&["cert", "unblock", &certificate]).code, 0);
    until("released", || (site.state(&id, LILIS) == "released").then_some(()));
    let mail = until("arrival", || site.outside.mails().into_iter().find(|mail| mail.kind == "kept"));
    assert!(Pki::shared().decrypt(&mail.content, LILIS).is_ok());
}

/// A newer list of the issuing CA in the place of an older one.
fn newer_list(pki: &Pki, name: &str, index: &str) {
    // A second list of the same number would not count as newer; its time does.
    std::thread::park_timeout(Duration::from_millis(1100));
    pki.crl("issuing", name, index);
}

/// Starts a gateway whose security team hears of held mail.
pub fn with_security(setup: &Setup, lines: &str) -> Gateway {
    let security = lines.trim_start_matches("[notify]\n").trim().to_owned();
    let mut gateway = setup.start();
    gateway.stop();
    gateway.edit("[notify]\n", &format!("[notify]\n{security}\n"));
    gateway.start();
    gateway
}
