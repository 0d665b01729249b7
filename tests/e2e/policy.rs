//! Rules of the policy file over SMTP: what each recipient gets, and what `explain` says of it.

use crate::support::client::send;
use crate::support::pki::{BUDI, JOKO, RATNA, RINA, SITI, TANPA};
use crate::support::{Client, Gateway, Mail, Pki, Setup, Sink, below_trace, fields, letter};

const LIST: &str = "warga@daftar.example";
const NEWS: &str = "warta@daftar.example";

const RULES: &str = "
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
name = \"tutup\"
match = { side = \"outside\", to = \"noreply@kabupaten.go.id\" }
then = { action = \"reject\" }

[[rule]]
name = \"auditor\"
match = { to = \"siti@kabupaten.go.id\", reasons = [\"revoked\"] }
then = { action = \"deliver\" }

[[rule]]
name = \"ketat\"
match = { reasons = [\"altered\"] }
then = { action = \"reject\" }

[[rule]]
name = \"pos\"
match = { from = \"rina@mitra.example\", to = \"budi@kabupaten.go.id\" }
then = { action = \"quarantine\" }

[[test]]
given = { from = \"siti@kabupaten.go.id\", to = \"warga@daftar.example\" }
expect = { rule = \"warga\", form = \"opaque\", encrypt = \"when-possible\" }
";

fn site() -> (Sink, Sink, Gateway) {
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.policy = RULES.to_owned();
    let gateway = setup.start();
    (inside, outside, gateway)
}

fn copy(mails: &[Mail], to: &str) -> Mail {
    mails.iter().find(|mail| mail.to == [to]).unwrap_or_else(|| panic!("no copy for {to}")).clone()
}

fn is(mail: &Mail, kind: &str) -> bool {
    fields(&mail.content, "content-type").join(" ").contains(kind)
}

#[test]
fn o58_a_list_gets_mail_in_the_form_that_its_rule_says() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = site();
    gateway.know(&[RATNA]);
    let everybody = [LIST, NEWS, RINA, RATNA];
    let content = letter(SITI, &everybody.join(", "), "o58", "Undangan.");
    let reply = send(gateway.inside, SITI, &everybody, &content);
    assert!(reply.starts_with("250"), "{reply}");
    let mails = outside.find_all("o58", 4);
    let (list, news, rina, ratna) = (copy(&mails, LIST), copy(&mails, NEWS), copy(&mails, RINA), copy(&mails, RATNA));
    assert!(is(&list, "smime-type=signed-data") && is(&rina, "multipart/signed"));
    for mail in [&list, &rina] {
        assert_eq!(Pki::shared().verify(&mail.content, &[]), Ok(SITI.to_owned()));
    }
    assert!(below_trace(&news.content) == content, "the copy without a signature was changed");
    let opened = Pki::shared().decrypt(&ratna.content, RATNA).unwrap();
    assert_eq!(Pki::shared().verify(&opened, &[]), Ok(SITI.to_owned()));
    // A mail for those alone who get no signature needs no key.
    let reply = send(gateway.inside, BUDI, &[NEWS], &letter(BUDI, NEWS, "o58-alone", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(is(&outside.find("o58-alone"), "text/plain"));
    // Never encrypted to a list that has no certificate: where that is required, it does not leave.
    let secret = String::from_utf8(letter(SITI, LIST, "o58-secret", "x")).unwrap();
    let secret = secret.replace("Subject: Halo", "Subject: [Rahasia] Halo").into_bytes();
    assert!(send(gateway.inside, SITI, &[LIST], &secret).starts_with("250"), "its own rule comes first");
    assert!(is(&outside.find("o58-secret"), "smime-type=signed-data"));
    let reply = send(gateway.inside, SITI, &[TANPA], &secret);
    assert!(reply.starts_with("550 5.7.1") && reply.contains(TANPA), "{reply}");
}

#[test]
fn a_rule_delivers_what_is_revoked_to_one_and_the_mark_stays() {
    need!("openssl", "aiosmtpd");
    let (inside, _outside, gateway) = site();
    let content = Pki::shared().sign(&letter(JOKO, SITI, "rules-revoked", "x"), JOKO);
    let reply = send(gateway.outside, JOKO, &[SITI, BUDI], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let mail = inside.find("rules-revoked");
    assert_eq!(mail.to, [SITI]);
    let mark = fields(&mail.content, "segel-verdict");
    assert!(mark.len() == 1 && mark[0].starts_with("invalid; reasons=revoked"), "{mark:?}");
    let held = gateway.held();
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].to_string().contains(BUDI) && !inside.mails().iter().any(|mail| mail.to == [BUDI]), "{held:?}");
}

#[test]
fn rules_refuse_at_rcpt_and_after_data_and_hold_good_mail() {
    need!("openssl", "aiosmtpd");
    let (inside, _outside, gateway) = site();
    let mut client = Client::hello(gateway.outside);
    client.send(&format!("MAIL FROM:<{RINA}>"));
    client.expect("250");
    client.send("RCPT TO:<noreply@kabupaten.go.id>");
    let reply = client.expect("550 5.7.1");
    assert!(!reply.contains("tutup"), "the peer learns nothing of the rules: {reply}");
    let signed = Pki::shared().sign(&letter(RINA, SITI, "rules-altered", "Rp 100"), RINA);
    let altered = String::from_utf8(signed.clone()).unwrap().replace("Rp 100", "Rp 900").into_bytes();
    assert_ne!(altered, signed);
    let reply = send(gateway.outside, RINA, &[SITI], &altered);
    assert!(reply.starts_with("550 5.7.7"), "{reply}");
    let reply = send(gateway.outside, RINA, &[SITI, BUDI], &letter(RINA, SITI, "rules-good", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(inside.find("rules-good").to, [SITI]);
    let held = gateway.held();
    assert_eq!(held.len(), 1, "{held:?}");
    // An operator lets it out: there is nothing to answer for but the rule.
    let id = held[0]["queue_id"].as_str().unwrap();
    let answer = gateway.segel(&["quarantine", "release", id, "--all", "--reason", "dilihat"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    inside.find_all("rules-good", 2);
}

#[test]
fn explain_names_the_rule_and_why_those_before_it_do_not_hold() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = site();
    gateway.know(&[RATNA]);
    let ask = |more: &[&str]| {
        let mut arguments = vec!["explain", "--from", SITI];
        arguments.extend(more);
        gateway.segel(&arguments)
    };
    let answer = ask(&["--to", RATNA, "--to", TANPA, "--json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let told = &answer.json()[0];
    assert_eq!(told["facts"]["from"], SITI);
    assert!(told["facts"]["vouched_by"].as_str().unwrap().contains("the same mailbox"), "{told}");
    let ratna = &told["recipients"][0];
    assert_eq!((&ratna["signed"], &ratna["encrypted"]), (&true.into(), &true.into()), "{told}");
    let missed = ratna["rules"]["missed"].as_array().unwrap();
    let conditions: Vec<_> = missed.iter().map(|one| one["condition"].as_str().unwrap()).collect();
    assert_eq!(conditions, ["to", "to", "subject", "side", "side", "side", "side"], "{told}");
    assert!(ratna["rules"]["fired"].is_null() && ratna["rules"]["encrypt"] == "when-possible", "{told}");
    assert_eq!(told["keys"][0]["chosen"], true);
    assert_eq!(told["certificates"][0]["standing"], "chosen");
    let answer = ask(&["--to", TANPA, "--subject", "[RAHASIA] x"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    for part in [
        "REFUSE: encrypt-required-refused",
        "`rahasia` holds",
        "encrypt required (the rule)",
        "sign required (the domain)",
    ] {
        assert!(answer.output.contains(part), "{part} in {}", answer.output);
    }
    let blocked = gateway.certificates(RATNA)[0]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(gateway.segel(&["cert", "block", &blocked]).code, 0);
    let answer = ask(&["--to", RATNA]);
    assert!(answer.output.contains("blocked-locally: an operator has blocked"), "{}", answer.output);
    let warga = ask(&["--to", LIST]);
    assert!(warga.output.contains("signed (opaque)") && warga.output.contains("rule `warga`"), "{}", warga.output);
    assert!(outside.mails().is_empty());
}

#[test]
fn a_policy_whose_tests_fail_is_not_loaded() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, mut gateway) = site();
    let policy = gateway.home.configuration().with_file_name("policy.toml");
    std::fs::write(&policy, RULES.replace("form = \"opaque\", encrypt", "form = \"clear\", encrypt")).unwrap();
    let check = gateway.segel(&["check"]);
    assert_eq!(check.code, 2, "{check:?}");
    assert!(check.errors.contains("`test.expect.form`: test 1: expected `clear`, came `opaque`"), "{check:?}");
    assert_eq!(gateway.segel(&["reload"]).code, 2);
    // The server takes signals once it takes mail.
    assert!(send(gateway.inside, SITI, &[LIST], &letter(SITI, LIST, "first", "x")).starts_with("250"));
    outside.find("first");
    gateway.server().signal("HUP");
    assert!(gateway.wait_log("not reloaded").contains("test.expect.form"));
    // What was loaded goes on.
    assert!(send(gateway.inside, SITI, &[LIST], &letter(SITI, LIST, "still", "x")).starts_with("250"));
    assert!(is(&outside.find("still"), "smime-type=signed-data"));
    std::fs::write(&policy, RULES).unwrap();
    let check = gateway.segel(&["check"]);
    assert!(check.code == 0 && check.output.contains("7 rule(s), 1 test(s) passed"), "{check:?}");
}
