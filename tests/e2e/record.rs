//! What is kept of a verdict is enough to come to it again, and what a relay hands on carries nothing of hops before.

use crate::support::client::send;
use crate::support::gateway::{Answer, inspect};
use crate::support::pki::{ASING, JOKO, PASSWORD, RINA, SITI, WATI, openssl};
use crate::support::process::run;
use crate::support::{Client, Gateway, Pki, Setup, Sink, fields, letter};
use std::path::Path;
use std::process::Command;

const LATER: &str = "lain@mitra.example";

fn held_id(gateway: &Gateway, from: &str, mail: &[u8]) -> String {
    let reply = send(gateway.outside, from, &[SITI], mail);
    assert!(reply.starts_with("250"), "{reply}");
    reply.split_once("queued as ").unwrap().1.split_whitespace().next().unwrap().to_owned()
}

/// Judges the bundle again with nothing but what is in it.
fn again(bundle: &Path, at: &str) -> serde_json::Value {
    let path = |name: &str| bundle.join(name).display().to_string();
    let mut arguments = vec!["--revocation".to_owned(), "hard-fail".to_owned(), "--at".to_owned(), at.to_owned()];
    for (option, name) in [("--trust", "anchors.pem"), ("--untrusted", "certificates.pem"), ("--crl", "crls.pem")] {
        if bundle.join(name).exists() {
            arguments.extend([option.to_owned(), path(name)]);
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    inspect(&std::fs::read(bundle.join("original.eml")).unwrap(), &arguments)
}

#[test]
fn i48_the_evidence_gives_the_same_answer_to_a_later_run() {
    need!("openssl", "aiosmtpd");
    let pki = Pki::shared();
    let (inside, outside) = (Sink::start(), Sink::start());
    let more = "[incoming]\ndefer_for = \"0s\"\naltered = \"quarantine\"\nuntrusted = \"quarantine\"\n\
                address-mismatch = \"quarantine\"\n";
    let gateway = Setup::new(inside.address, outside.address).more(more).start();
    let signed = |from: &str, id: &str| pki.sign(&letter(from, SITI, id, "Isi."), from);
    let altered = String::from_utf8(signed(RINA, "i48-altered")).unwrap().replace("Isi.", "Isi!");
    let folder = tempfile::tempdir().unwrap();
    for (name, from, mail, reason) in [
        ("revoked", JOKO, signed(JOKO, "i48-revoked"), "revoked"),
        ("altered", RINA, altered.into_bytes(), "altered"),
        ("untrusted", ASING, signed(ASING, "i48-untrusted"), "untrusted"),
        ("mismatch", LATER, pki.sign(&letter(LATER, SITI, "i48-mismatch", "x"), RINA), "address-mismatch"),
    ] {
        let id = held_id(&gateway, from, &mail);
        let bundle = folder.path().join(name);
        let answer = gateway.segel(&["quarantine", "evidence", "--dir", &bundle.display().to_string(), &id]);
        assert_eq!(answer.code, 0, "{name}: {answer:?}");
        let record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(bundle.join("record.json")).unwrap()).unwrap();
        let kept = &record["details"]["report"];
        assert!(kept["reasons"].as_array().unwrap().contains(&reason.into()), "{name}: {kept}");
        let received = record["received"].as_str().unwrap();
        let found = again(&bundle, received);
        for key in ["verdict", "reasons", "warnings", "from", "signed", "encrypted", "covers_whole_message", "layers"] {
            assert_eq!(found[key], kept[key], "{name}: {key} in {found} and {kept}");
        }
        // It is the time of then that counts: years later the certificates have ended, and the answer is another.
        let later = again(&bundle, "2036-01-01");
        assert_ne!(later["reasons"], kept["reasons"], "{name}");
    }
    // OpenSSL, told as the bundle says, refuses the revoked one for that reason.
    let readme = std::fs::read_to_string(folder.path().join("revoked/README.txt")).unwrap();
    let line = readme.lines().find(|line| line.contains("openssl cms")).unwrap().trim();
    let mut command = Command::new("sh");
    let answer = Answer::of(run(command.args(["-c", line]).current_dir(folder.path().join("revoked")), b""));
    assert!(answer.code != 0 && answer.errors.contains("certificate revoked"), "{line}: {answer:?}");
}

#[test]
fn s18_no_return_path_is_left_or_added_on_the_way() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    for (number, (listener, from, to)) in
        [(gateway.outside, RINA, SITI), (gateway.inside, SITI, RINA)].into_iter().enumerate()
    {
        let id = format!("s18-{number}");
        let mut mail = b"Return-Path: <hop@before.example>\r\nreturn-path :\r\n <other@before.example>\r\n".to_vec();
        mail.extend(letter(from, to, &id, "x"));
        assert!(send(listener, from, &[to], &mail).starts_with("250"));
        let sink = if number == 0 { &inside } else { &outside };
        let arrived = sink.find(&id);
        assert_eq!(fields(&arrived.content, "return-path"), Vec::<String>::new(), "{number}");
        assert!(!String::from_utf8_lossy(&arrived.content).contains("before.example"));
    }
}

#[test]
fn s23_bdat_is_neither_offered_nor_taken() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    for address in [gateway.inside, gateway.outside] {
        let mut client = Client::connect(address);
        client.send("EHLO client.test.example");
        let offered = client.expect("250");
        assert!(!offered.to_ascii_uppercase().contains("CHUNKING"), "{offered}");
        client.send("MAIL FROM:<siti@kabupaten.go.id>");
        client.expect("250");
        client.send("BDAT 5 LAST");
        client.expect("502");
    }
    assert!(inside.mails().is_empty() && outside.mails().is_empty());
}

/// A certificate of the issuing CA for one use only.
fn certificate(name: &str, address: &str, usage: &str, serial: &str) {
    let pki = Pki::shared();
    let file = |end: &str| pki.path(&format!("{name}.{end}"));
    let text = format!(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,{usage}\nextendedKeyUsage=emailProtection\n\
         subjectAltName=email:{address}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    );
    std::fs::write(file("ext"), text).unwrap();
    let (ca, ca_key, subject) = (pki.path("issuing.pem"), pki.path("issuing.key"), format!("/CN={name}"));
    let password = format!("pass:{PASSWORD}");
    let (key, csr, pem, ext, p12) = (file("key"), file("csr"), file("pem"), file("ext"), file("p12"));
    for arguments in [
        &["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &csr, "-subj", &subject][..],
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            serial,
            "-extfile",
            &ext,
            "-days",
            "200",
            "-sha256",
            "-out",
            &pem,
        ],
        &["pkcs12", "-export", "-inkey", &key, "-in", &pem, "-certfile", &ca, "-passout", &password, "-out", &p12],
    ] {
        let output = openssl(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn p24_one_key_signs_and_another_opens() {
    need!("openssl", "aiosmtpd");
    let pki = Pki::shared();
    certificate("tunggal-tanda", WATI, "digitalSignature", "120");
    certificate("tunggal-buka", WATI, "keyEncipherment", "121");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.keys = Vec::new();
    let gateway = setup.start();
    gateway.own_key(WATI, "tunggal-tanda");
    gateway.own_key(WATI, "tunggal-buka");
    let uses: Vec<String> =
        gateway.segel(&["key", "list", "--json"]).json().iter().map(|row| row["uses"].to_string()).collect();
    assert_eq!(uses, ["[\"sign\"]", "[\"decrypt\"]"]);
    assert!(send(gateway.inside, WATI, &[RINA], &letter(WATI, RINA, "p24-out", "x")).starts_with("250"));
    let sent = outside.find("p24-out");
    pki.verify(&sent.content, &[]).unwrap();
    let root = pki.path("root.pem");
    let judged = inspect(&sent.content, &["--trust", &root]);
    assert_eq!(judged["layers"][0]["signers"][0]["serial"], "78", "{judged}");
    let certificate = pki.path("tunggal-buka.pem");
    let mail = pki.sign_and_encrypt(&letter(RINA, WATI, "p24-in", "Rahasia."), RINA, &["-aes256", &certificate]);
    assert!(send(gateway.outside, RINA, &[WATI], &mail).starts_with("250"));
    let opened = inside.find("p24-in");
    assert!(String::from_utf8_lossy(&opened.content).contains("Rahasia."));
}
