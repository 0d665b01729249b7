//! What an operator reads: queue, quarantine, evidence and audit log, by running the program on what the demo leaves.

use crate::support::{program, rows, segel};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A copy of a folder that the demo has filled once for all tests.
fn demo() -> TempDir {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-operations");
        let output = Command::new(env!("CARGO_BIN_EXE_segel")).args(["demo", "--once", "--dir"]).arg(&folder).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        folder
    });
    let copy = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-r").arg(made.join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    copy
}

/// The octets of a held mail as it came, as the command writes them.
fn original(folder: &TempDir, id: &str) -> Output {
    program(folder, &["-c", "segel.toml", "quarantine", "show", "--original", id]).output().unwrap()
}

/// The queue id of the one mail that is held because its signer was revoked.
fn held(folder: &TempDir) -> String {
    let rows = rows(folder, &["quarantine", "list", "--json"]);
    let mut revoked = rows.iter().filter(|row| row.to_string().contains("\"revoked\""));
    let (one, other) = (revoked.next().unwrap(), revoked.next());
    assert!(other.is_none(), "{rows:?}");
    one["queue_id"].as_str().unwrap().to_owned()
}

/// Runs Python with `input` on its standard input.
fn python(script: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("python3");
    command.arg("-c").arg(script).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Changes the database behind the gateway's back.
fn sql(folder: &TempDir, statement: &str) {
    const SCRIPT: &str =
        "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db: assert db.execute(sys.argv[2]).rowcount > 0";
    let database = folder.path().join("data/segel.db");
    let (done, said) = python(SCRIPT, &[database.to_str().unwrap(), statement], "");
    assert!(done, "{statement}: {said}");
}

#[test]
fn held_mail_is_listed_shown_and_given_out_as_it_came() {
    let folder = demo();
    let id = held(&folder);
    let (_, table, _) = segel(&folder, &["quarantine", "list"]);
    assert!(table.contains(&id) && table.contains("revoked") && table.contains("joko@mitra.example"), "{table}");
    let (code, shown, _) = segel(&folder, &["quarantine", "show", &id]);
    assert_eq!(code, 0);
    for text in ["revoked", "Kontrak", "siti@kabupaten.go.id", "held (quarantine)", "keyCompromise"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let mail = original(&folder, &id);
    assert_eq!(mail.status.code(), Some(0));
    assert_eq!(mail.stdout, std::fs::read(folder.path().join("quarantine/incoming-revoked.eml")).unwrap());
    let taken = rows(&folder, &["audit", "search", "--event", "operator-read", "--queue-id", &id, "--json"]);
    assert_eq!(taken.last().unwrap()["public"]["what"], "original");
}

#[test]
fn a_crl_that_is_handed_over_condemns_without_being_asked_to_prove() {
    let folder = demo();
    let inspect = |mail: &str| {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (root, crl, mail) = (path("pki/root.pem"), path("pki/crl.der"), path(mail));
        let output = Command::new(env!("CARGO_BIN_EXE_segel"))
            .args(["inspect", "--trust", &root, "--crl", &crl, "--json", &mail])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report["verdict"].as_str().unwrap().to_owned(), report["reasons"].to_string())
    };
    let (code, verdict, reasons) = inspect("quarantine/incoming-revoked.eml");
    assert_eq!((code, verdict.as_str()), (Some(1), "invalid"));
    assert!(reasons.contains("revoked"), "{reasons}");
    assert_eq!(inspect("inside/01-incoming-valid.eml"), (Some(0), "valid".to_owned(), "[]".to_owned()));
}

#[test]
fn openssl_alone_finds_the_certificate_revoked_by_the_line_that_is_printed() {
    let folder = demo();
    let id = held(&folder);
    let (code, out, err) = segel(&folder, &["quarantine", "evidence", "--dir", "evidence", &id]);
    assert_eq!(code, 0, "{err}");
    let line = out.lines().find(|line| line.trim().starts_with("openssl cms ")).unwrap().trim().to_owned();
    let evidence = folder.path().join("evidence");
    assert!(std::fs::read_to_string(evidence.join("README.txt")).unwrap().contains(&line), "{line}");
    let run = |line: &str| {
        let output = Command::new("sh").arg("-c").arg(line).current_dir(&evidence).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // OpenSSL's X509_V_ERR_CERT_REVOKED, error 23.
    let (good, said) = run(&line);
    assert!(!good && said.contains("certificate revoked"), "{line}: {said}");
    // Nothing else is wrong with it: without the CRLs it verifies.
    let (good, said) = run(&line.replace(" -crl_check", ""));
    assert!(good, "{line}: {said}");
}

#[test]
fn after_the_demo_no_mail_waits_and_delivered_mail_is_shown() {
    let folder = demo();
    let (code, out, _) = segel(&folder, &["queue", "list"]);
    assert_eq!((code, out.trim()), (0, "no mail waits"));
    let delivered = rows(&folder, &["audit", "search", "--event", "delivered", "--json"]);
    let id = delivered[0]["queue_id"].as_str().unwrap();
    let (code, out, err) = segel(&folder, &["queue", "show", id]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(id) && out.contains("delivered"), "{out}");
    let (code, _, err) = segel(&folder, &["queue", "show", "aaaaaaaaaaaa"]);
    assert!(code == 3 && err.contains("aaaaaaaaaaaa"), "{err}");
}

#[test]
fn the_audit_log_is_searched_and_an_erased_person_stays_erased() {
    let folder = demo();
    let id = held(&folder);
    let search = |more: &[&str]| {
        let mut arguments = vec!["audit", "search", "--json"];
        arguments.extend(more);
        rows(&folder, &arguments)
    };
    let all = search(&[]);
    assert_eq!(all[0]["seq"], 1);
    let rows = search(&["--event", "held", "--queue-id", &id]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["personal"]["recipient"], "siti@kabupaten.go.id");
    let of_joko = search(&["--address", "Joko@MITRA.example"]);
    assert!(!of_joko.is_empty() && of_joko.iter().all(|row| row.to_string().contains("joko@mitra.example")));
    let at = rows[0]["at"].as_str().unwrap();
    assert!(search(&["--since", at]).len() < all.len() && search(&["--until", at]).len() < all.len());
    assert_eq!(search(&["--since", at]).len() + search(&["--until", at]).len(), all.len());
    let (_, out, err) = segel(&folder, &["audit", "search", "--json", "--limit", "2"]);
    assert_eq!(out.lines().count(), 2);
    assert!(out.contains(&format!("\"seq\":{}", all.len())) && err.contains("--until"), "{out}{err}");

    let subject = format!("(SELECT subject FROM audit WHERE queue_id = '{id}' AND event = 'accepted')");
    sql(&folder, &format!("UPDATE audit_subject SET wrapped = NULL WHERE subject = {subject}"));
    let erased = search(&["--address", "joko@mitra.example"]);
    assert_eq!(erased.len(), of_joko.len());
    assert!(erased.iter().all(|row| row["personal"] == "erased"), "{erased:?}");
    assert_eq!(search(&["--event", "held"])[0]["personal"]["recipient"], "siti@kabupaten.go.id");
    assert_eq!(segel(&folder, &["audit", "verify"]).0, 0);
}

/// The script that `docs/audit.md` prints.
fn script() -> &'static str {
    let text = include_str!("../../docs/audit.md");
    text.split_once("```python\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
fn an_outsider_verifies_an_export_and_finds_each_change() {
    let folder = demo();
    let (code, export, err) = segel(&folder, &["audit", "export"]);
    assert_eq!(code, 0, "{err}");
    assert!(!export.contains("siti@"), "personal fields stay sealed");
    let lines: Vec<&str> = export.lines().collect();
    let rows = lines.iter().filter(|line| line.contains("\"type\":\"row\"")).count();
    let (good, said) = python(script(), &[], &export);
    assert!(good && said.starts_with(&format!("{rows} rows,")), "{said}");

    let held = lines.iter().find(|line| line.contains("\"event\":\"held\"")).unwrap();
    let seq = serde_json::from_str::<Value>(held).unwrap()["seq"].as_i64().unwrap();
    let changes = [
        (held.replace("revoked", "expired"), format!("row {seq} ")),
        (held.replace("\"event\":\"held\"", "\"event\":\"stopped\""), format!("row {seq} ")),
        (String::new(), format!("row {} ", seq + 1)),
    ];
    for (changed, named) in changes {
        assert_ne!(*held, changed);
        let text = export.replace(held, &changed).replace("\n\n", "\n");
        let (good, said) = python(script(), &[], &text);
        assert!(!good && said.starts_with(&named), "{changed}: {said}");
    }
    // Rows cut off at the end leave a whole chain; the checkpoint knows better.
    let cut: String = lines.iter().take(lines.len() - rows + 2).map(|line| format!("{line}\n")).collect();
    let (good, said) = python(script(), &[], &cut);
    assert!(!good && said.starts_with("checkpoint "), "{said}");
}

#[test]
fn openssl_verifies_the_signature_of_a_checkpoint() {
    let folder = demo();
    let (_, export, _) = segel(&folder, &["audit", "export"]);
    let checkpoint: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    let text = |name: &str| checkpoint[name].as_str().unwrap();
    let octets = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    let signed = format!("segel audit checkpoint 1\0{}\0{}", checkpoint["at"], text("heads"));
    let key = octets(&format!("302a300506032b6570032100{}", text("key")));
    let verify = |signed: &[u8]| {
        let files: [(&str, &[u8]); 3] =
            [("signed", signed), ("key.der", &key), ("signature", &octets(text("signature")))];
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let line = "pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in signed -sigfile signature";
        let output = Command::new("openssl").args(line.split(' ')).current_dir(folder.path()).output().unwrap();
        output.status.success()
    };
    assert!(verify(signed.as_bytes()));
    assert!(!verify(signed.replace("checkpoint 1", "checkpoint 2").as_bytes()));
}

#[test]
fn one_octet_changed_in_the_database_is_named() {
    let folder = demo();
    let (code, out, _) = segel(&folder, &["audit", "verify"]);
    assert!(code == 0 && out.starts_with("the audit log is whole"), "{out}");
    sql(&folder, "UPDATE audit SET public = replace(public, '{', ' {') WHERE seq = 7");
    let (code, out, _) = segel(&folder, &["audit", "verify"]);
    assert!(code == 1 && out.contains("row 7 of chain "), "{out}");
}

/// Commands that only read.
const READING: [&[&str]; 10] = [
    &["key", "list"],
    &["trust", "list"],
    &["queue", "list"],
    &["queue", "show", "aaaaaaaaaaaa"],
    &["quarantine", "list"],
    &["quarantine", "show", "aaaaaaaaaaaa"],
    &["audit", "verify"],
    &["audit", "search"],
    &["audit", "export"],
    &["explain", "--from", "siti@kabupaten.go.id", "--to", "rina@mitra.example"],
];

#[test]
fn reading_makes_neither_store_nor_key() {
    let folder = demo();
    let data = folder.path().join("data");
    let key = data.join("master.key");
    std::fs::remove_file(&key).unwrap();
    let database = std::fs::read(data.join("segel.db")).unwrap();
    for command in READING {
        let (code, _, err) = segel(&folder, command);
        assert!(code == 3 && err.contains("master key") && err.contains("hint: "), "{command:?}: {err}");
        assert!(!key.exists(), "{command:?}");
    }
    let (code, _, err) = segel(&folder, &["key", "block", "0000000000000000"]);
    assert!(code == 3 && err.contains("master key") && !key.exists(), "{err}");
    assert_eq!(std::fs::read(data.join("segel.db")).unwrap(), database);

    std::fs::remove_dir_all(&data).unwrap();
    for command in READING {
        let (code, _, err) = segel(&folder, command);
        // The configuration has anchors of its own.
        let expected = if command == ["trust", "list"] { 0 } else { 3 };
        assert!(code == expected && err.contains("no store"), "{command:?}: {err}");
        assert!(!data.exists(), "{command:?}");
    }
}

#[test]
fn an_anchor_that_is_configured_and_stored_is_listed_once() {
    let folder = demo();
    let listed = rows(&folder, &["trust", "list", "--json"]);
    let sha256 = listed[0]["sha256"].as_str().unwrap();
    let (code, _, err) = segel(&folder, &["trust", "import", "--fingerprint", sha256, "pki/root.pem"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(rows(&folder, &["trust", "list", "--json"]), listed);
}

#[test]
fn a_key_that_will_not_sign_says_so_when_it_comes_and_in_the_list() {
    let folder = demo();
    let list = rows(&folder, &["key", "list", "--json"]);
    assert!(!list.is_empty() && list.iter().all(|key| key["standing"] == "usable"), "{list:?}");
    let configuration = std::fs::read_to_string(folder.path().join("segel.toml")).unwrap();
    let crls = "crls = [\"pki/crl.der\", \"pki/root-crl.der\"]";
    assert!(configuration.contains(crls));
    let anchor = configuration.find("[[trust.anchor]]").unwrap();
    let rest = configuration.find("[notify]").unwrap();
    let mut without_anchor = configuration.clone();
    without_anchor.replace_range(anchor..rest, "");
    let table = [
        (configuration.replace(crls, ""), "unknown", "revocation-unknown", "no current CRL"),
        (without_anchor, "unusable", "untrusted", "no trust anchor"),
    ];
    for (configuration, standing, reason, warning) in table {
        std::fs::write(folder.path().join("segel.toml"), configuration.replace("\"data\"", &format!("\"{reason}\"")))
            .unwrap();
        let import = ["key", "import", "--address", "siti@kabupaten.go.id", "--password-file", "pki/password.txt"];
        let (code, out, err) = segel(&folder, &[&import[..], &["pki/siti@kabupaten.go.id.p12"]].concat());
        assert!(code == 0 && err.contains("will not sign") && err.contains(warning), "{reason}: {err}");
        assert!(out.contains(&format!("not usable: {reason}")), "{out}");
        let list = rows(&folder, &["key", "list", "--json"]);
        assert_eq!((list[0]["standing"].as_str(), list[0]["reasons"][0].as_str()), (Some(standing), Some(reason)));
        assert!(segel(&folder, &["key", "list"]).1.contains(&format!("not usable: {reason}")));
    }
}

/// One value out of the database.
fn query(folder: &TempDir, statement: &str) -> String {
    const SCRIPT: &str = "import sqlite3, sys\nprint(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    let database = folder.path().join("data/segel.db");
    let (done, said) = python(SCRIPT, &[database.to_str().unwrap(), statement], "");
    assert!(done, "{statement}: {said}");
    said.trim().to_owned()
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).unwrap()
}

#[test]
fn p22_the_master_key_is_changed_and_everything_opens_as_before() {
    use std::os::unix::fs::PermissionsExt;
    let folder = demo();
    let id = held(&folder);
    let of_siti = || rows(&folder, &["audit", "search", "--json", "--address", "siti@kabupaten.go.id"]);
    let (mail, before) = (original(&folder, &id).stdout, of_siti());
    let old = read(&folder, "data/master.key");
    let wrapped = query(&folder, "SELECT hex(wrapped) FROM own_key LIMIT 1");
    let all = "(SELECT count(*) FROM content WHERE wrapped IS NOT NULL) + (SELECT count(*) FROM secret) \
               + (SELECT count(*) FROM record WHERE details_wrapped IS NOT NULL) \
               + (SELECT count(*) FROM own_key WHERE wrapped IS NOT NULL) \
               + (SELECT count(*) FROM audit_subject WHERE wrapped IS NOT NULL)";
    let all: u64 = query(&folder, &format!("SELECT {all}")).parse().unwrap();

    let done = rows(&folder, &["key", "rewrap", "--new", "new.key", "--json"]).remove(0);
    // One more than there were: the key of the pseudonyms is kept from now on.
    assert_eq!((done["keys"].as_u64(), done["left"].as_u64()), (Some(all + 1), Some(0)), "{done}");
    assert_eq!(done["made"], true);
    let new = read(&folder, "new.key");
    assert!(new != old && read(&folder, "data/master.key") == new && read(&folder, "data/master.key.old") == old);
    for name in ["new.key", "data/master.key"] {
        assert_eq!(std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }

    assert_eq!(segel(&folder, &["audit", "verify"]).0, 0);
    assert_eq!(original(&folder, &id).stdout, mail);
    assert!(segel(&folder, &["quarantine", "show", &id]).1.contains("Kontrak"));
    assert_eq!(of_siti().len(), before.len());
    assert!(rows(&folder, &["key", "list", "--json"]).iter().all(|key| key["standing"] == "usable"));
    let rotated = rows(&folder, &["audit", "search", "--event", "master-rotated", "--json"]);
    assert_eq!((&rotated[0]["public"]["from"], &rotated[0]["public"]["to"]), (&done["from"], &done["to"]));

    // What is written from now on about the same person is found with what was written before.
    let key = rows(&folder, &["key", "list", "--json"]);
    let key = key.iter().find(|key| key["addresses"][0] == "siti@kabupaten.go.id").unwrap();
    assert_eq!(segel(&folder, &["key", "destroy", key["id"].as_str().unwrap()]).0, 0);
    let import = ["key", "import", "--address", "siti@kabupaten.go.id", "--password-file", "pki/password.txt"];
    let (code, _, err) = segel(&folder, &[&import[..], &["pki/siti@kabupaten.go.id.p12"]].concat());
    assert_eq!(code, 0, "{err}");
    assert_eq!(of_siti().len(), before.len() + 1);

    // Nothing is left of the old wrapping.
    let wrapped = data_encoding::HEXUPPER.decode(wrapped.as_bytes()).unwrap();
    for entry in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let octets = std::fs::read(&path).unwrap();
            assert!(!octets.windows(wrapped.len()).any(|window| window == wrapped), "{}", path.display());
        }
    }

    // A second change, when the key before the last was taken away.
    let (code, _, err) = segel(&folder, &["key", "rewrap", "--new", "third.key"]);
    assert!(code == 3 && err.contains("master.key.old") && err.contains("shred"), "{err}");
    std::fs::remove_file(folder.path().join("data/master.key.old")).unwrap();
    let (code, out, err) = segel(&folder, &["key", "rewrap", "--new", "third.key"]);
    assert!(code == 0 && out.contains("wrapped again") && out.contains("master.key.old"), "{out}{err}");
    assert_eq!(of_siti().len(), before.len() + 1);
    assert_eq!(original(&folder, &id).stdout, mail);
}

#[test]
fn p22_a_change_of_the_master_key_that_was_interrupted_is_told_and_goes_on() {
    let folder = demo();
    let at = |name: &str| folder.path().join(name);
    let old = query(&folder, "SELECT master FROM own_key LIMIT 1");
    let done = rows(&folder, &["key", "rewrap", "--new", "new.key", "--json"]).remove(0);
    assert_eq!(done["from"], old);
    // As after a power cut between the transaction and the new file.
    std::fs::rename(at("data/master.key.old"), at("data/master.key")).unwrap();
    let new = done["to"].as_str().unwrap();
    for command in [&["quarantine", "list"][..], &["serve"], &["key", "block", "0000000000000000"]] {
        let (code, _, err) = segel(&folder, command);
        for text in [&old, new, "segel key rewrap --new FILE", "hint: "] {
            assert!(code == 3 && err.contains(text), "{command:?}: {text}: {err}");
        }
    }
    // Another file is no help.
    let (code, _, err) = segel(&folder, &["key", "rewrap", "--new", "third.key"]);
    assert!(code == 3 && err.contains(new), "{err}");
    // In the middle of the exchange of files.
    std::fs::hard_link(at("data/master.key"), at("data/master.key.old")).unwrap();
    std::fs::write(at("data/master.key.next"), "half").unwrap();
    let (code, out, err) = segel(&folder, &["key", "rewrap", "--new", "new.key"]);
    assert!(code == 0 && out.contains("in use"), "{out}{err}");
    assert_eq!(held(&folder).len(), 12);
    // And once more: nothing is left to do.
    let (code, out, err) = segel(&folder, &["key", "rewrap", "--new", "new.key"]);
    assert!(code == 0 && out.contains("nothing to do"), "{out}{err}");
}

#[test]
fn p22_the_master_key_is_not_changed_under_somebody_else() {
    let folder = demo();
    let lock = std::fs::File::options().write(true).open(folder.path().join("data/lock")).unwrap();
    lock.lock().unwrap();
    let (code, _, err) = segel(&folder, &["key", "rewrap", "--new", "new.key"]);
    assert!(code == 3 && err.contains("in use") && err.contains("stop"), "{err}");
    assert!(!folder.path().join("new.key").exists());
    drop(lock);
    // A credential of systemd is not ours to replace.
    std::fs::create_dir(folder.path().join("credentials")).unwrap();
    std::fs::rename(folder.path().join("data/master.key"), folder.path().join("credentials/segel-master")).unwrap();
    let credentials = folder.path().join("credentials");
    let with = |arguments: &[&str]| {
        let mut command = program(&folder, &[&["-c", "segel.toml"], arguments].concat());
        let output = command.env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = with(&["key", "rewrap", "--new", "new.key"]);
    assert!(
        code == Some(0) && said.contains("LoadCredential=segel-master:/") && said.contains("master = \"/"),
        "{said}"
    );
    assert!(with(&["quarantine", "list"]).1.contains("rewrap"));
    std::fs::copy(folder.path().join("new.key"), credentials.join("segel-master")).unwrap();
    assert_eq!(with(&["quarantine", "list"]).0, Some(0));
}
