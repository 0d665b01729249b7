//! `segel pki verify`, `trust`, `key` and `inspect`, by running the program on what OpenSSL makes.

use crate::support::{CONFIGURATION, bare, json, openssl};
use serde_json::Value;
use tempfile::TempDir;

/// A root, and a certificate for siti under it with key and PKCS#12 file (password `demo`), and a signed mail.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("segel.toml"), CONFIGURATION).unwrap();
    std::fs::write(path.join("password"), "demo\n").unwrap();
    std::fs::write(
        path.join("siti.ext"),
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\nsubjectAltName=email:siti@kabupaten.go.id\n",
    )
    .unwrap();
    openssl(
        path,
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=Root -days 30 -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    openssl(path, "req -newkey rsa:2048 -nodes -keyout siti.key -out siti.csr -subj /CN=Siti");
    openssl(path, "x509 -req -in siti.csr -CA root.pem -CAkey root.key -out siti.pem -days 20 -extfile siti.ext");
    openssl(path, "pkcs12 -export -in siti.pem -inkey siti.key -certfile root.pem -out siti.p12 -passout pass:demo");
    std::fs::write(path.join("entity"), "Content-Type: text/plain\r\n\r\nSelamat pagi\r\n").unwrap();
    openssl(
        path,
        "cms -sign -binary -crlfeol -in entity -signer siti.pem -inkey siti.key -from siti@kabupaten.go.id -to budi@kota.example -subject Rapat -out mail.eml",
    );
    folder
}

#[test]
fn a_path_is_valid_or_says_why_not() {
    let folder = folder();
    let table: [(&[&str], i32, &[&str]); 6] = [
        (&["siti.pem"], 0, &[]),
        (&["--purpose", "email-sign", "--email", "SITI@Kabupaten.go.id", "siti.pem"], 0, &[]),
        (&["--email", "budi@kabupaten.go.id", "siti.pem"], 1, &["address-mismatch"]),
        (&["--purpose", "tls-server", "siti.pem"], 1, &["not-for-mail"]),
        (&["--at", "2001-01-01", "siti.pem"], 1, &["not-yet-valid"]),
        (&["--revocation", "hard-fail", "siti.pem"], 1, &["revocation-unknown"]),
    ];
    for (arguments, code, reasons) in table {
        let mut all = vec!["pki", "verify", "--trust", "root.pem", "--json"];
        all.extend(arguments);
        let (found, out, err) = bare(&folder, &all);
        let report = json(&out);
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        assert_eq!(report["valid"], Value::Bool(code == 0));
        assert_eq!(report["reasons"], serde_json::json!(reasons), "{arguments:?}");
    }
    let (code, out, _) = bare(&folder, &["pki", "verify", "--trust", "root.pem", "--email", "x@y.example", "siti.pem"]);
    assert_eq!(code, 1);
    for words in ["NOT VALID", "address-mismatch", "<- trust anchor", "Why"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert_eq!(bare(&folder, &["pki", "verify", "--trust", "absent.pem", "siti.pem"]).0, 3);
}

#[test]
fn a_message_is_inspected_offline_and_its_content_written() {
    let folder = folder();
    let inspect = |more: &[&str]| {
        let mut all = vec!["inspect", "--json"];
        all.extend(more);
        let (code, out, err) = bare(&folder, &all);
        assert!(code < 2, "{err}");
        (code, json(&out))
    };
    let (code, report) = inspect(&["--trust", "root.pem", "--write-content", "content", "mail.eml"]);
    assert_eq!((code, report["verdict"].as_str()), (0, Some("valid")), "{report}");
    assert_eq!(report["action"], Value::Null);
    assert!(report["warnings"].as_array().unwrap().contains(&"revocation-not-checked".into()), "{report}");
    let signed = std::fs::read(folder.path().join("content")).unwrap();
    assert_eq!(signed, std::fs::read(folder.path().join("entity")).unwrap());
    let (code, report) = inspect(&["mail.eml"]);
    assert_eq!((code, report["reasons"].clone()), (1, serde_json::json!(["untrusted"])));
    let (code, report) = inspect(&["--trust", "root.pem", "-c", "segel.toml", "mail.eml"]);
    assert_eq!(
        (code, report["action"].as_str()),
        (1, Some("quarantine")),
        "own domain, from outside, not valid: {report}"
    );

    let mail = std::fs::read_to_string(folder.path().join("mail.eml")).unwrap();
    std::fs::write(folder.path().join("lf.eml"), mail.replace("\r\n", "\n")).unwrap();
    assert_eq!(inspect(&["--trust", "root.pem", "lf.eml"]).0, 0);
    std::fs::write(folder.path().join("altered.eml"), mail.replace("Selamat pagi", "Selamat sore")).unwrap();
    let (code, report) = inspect(&["--trust", "root.pem", "altered.eml"]);
    assert_eq!((code, report["reasons"].clone()), (1, serde_json::json!(["altered"])));
    let (_, out, _) = bare(&folder, &["inspect", "--trust", "root.pem", "altered.eml"]);
    for words in ["INVALID: altered", "Layer 1: signed", "siti@kabupaten.go.id, as in From", "digest differs"] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[test]
fn an_anchor_needs_its_fingerprint() {
    let folder = folder();
    let (code, out, _) = bare(&folder, &["-c", "segel.toml", "trust", "import", "root.pem"]);
    assert_eq!(code, 2, "{out}");
    let shown = out.lines().find_map(|line| line.strip_prefix("SHA-256")).unwrap().trim().to_owned();
    let wrong = shown.replace(|digit: char| digit.is_ascii_digit(), "0");
    let import = |fingerprint: &str| {
        bare(&folder, &["-c", "segel.toml", "trust", "import", "--fingerprint", fingerprint, "root.pem"])
    };
    let (code, _, err) = import(&wrong);
    assert!(code == 3 && err.contains("don't trust it"), "{err}");
    assert_eq!(import(&shown).0, 0);
    let (_, out, _) = bare(&folder, &["-c", "segel.toml", "trust", "list", "--json"]);
    let row = json(&out);
    assert_eq!((row["subject"].as_str(), row["source"].as_str()), (Some("CN=Root"), Some("imported")));
    let prefix = row["sha256"].as_str().unwrap()[..12].to_owned();
    assert_eq!(bare(&folder, &["-c", "segel.toml", "trust", "remove", &prefix]).0, 0);
    assert_eq!(bare(&folder, &["-c", "segel.toml", "trust", "list", "--json"]).1, "");
    assert_eq!(bare(&folder, &["-c", "segel.toml", "trust", "remove", &prefix]).0, 3);
}

#[test]
fn a_key_is_imported_blocked_and_destroyed_and_each_is_audited() {
    let folder = folder();
    let segel = |arguments: &[&str]| {
        let mut all = vec!["-c", "segel.toml"];
        all.extend(arguments);
        bare(&folder, &all)
    };
    let import = ["key", "import", "--address", "siti@kabupaten.go.id", "--password-file", "password", "siti.p12"];
    let (code, out, err) = segel(&import);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("CN=Siti") && out.contains("usable"), "{out}");
    let (_, out, _) = segel(&["key", "list", "--json"]);
    let id = json(&out)["id"].as_str().unwrap().to_owned();
    for (command, state) in [("block", "blocked"), ("unblock", "usable"), ("destroy", "destroyed")] {
        let (code, out, err) = segel(&["key", command, &id]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(state), "{out}");
    }
    assert_eq!(segel(&["key", "block", "absent"]).0, 3);
    let (code, out, err) = segel(&["audit", "verify", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!((json(&out)["rows"].as_u64(), &json(&out)["bad"]), (Some(4), &Value::Null));
}

#[test]
fn explain_names_the_row_and_the_key() {
    let folder = folder();
    let segel = |arguments: &[&str]| {
        let mut all = vec!["-c", "segel.toml"];
        all.extend(arguments);
        bare(&folder, &all)
    };
    let import = ["key", "import", "--address", "siti@kabupaten.go.id", "siti.pem", "siti.key"];
    assert_eq!(segel(&import).0, 0);
    let ask = |from: &str, side: &str| {
        let (code, out, err) =
            segel(&["explain", "--from", from, "--to", "budi@kota.example", "--side", side, "--json"]);
        assert!(code < 2, "{err}");
        (code, json(&out))
    };
    let (code, told) = ask("orang@kabupaten.go.id", "inside");
    assert_eq!((code, told["rule"].as_str()), (1, Some("no-key-refused")), "{told}");
    let (code, told) = ask("orang@lain.example", "outside");
    assert_eq!((code, told["rule"].as_str()), (1, Some("no-relay")), "{told}");
    let (_, told) = ask("siti@kabupaten.go.id", "inside");
    assert_eq!(told["keys"].as_array().map(Vec::len), Some(1), "{told}");
}

#[test]
fn i10_inspect_opens_with_a_key_and_writes_only_what_is_proven() {
    let folder = folder();
    let path = folder.path();
    let encrypt = |cipher: &str, input: &str, out: &str| {
        openssl(
            path,
            &format!(
                "cms -encrypt -binary -crlfeol {cipher} -in {input} -from siti@kabupaten.go.id -to budi@kota.example -subject Rapat -out {out} siti.pem"
            ),
        );
    };
    encrypt("-aes-256-gcm", "entity", "gcm.eml");
    encrypt("-aes-256-cbc", "entity", "cbc.eml");
    openssl(path, "cms -sign -binary -crlfeol -in entity -signer siti.pem -inkey siti.key -out signed");
    encrypt("-aes-256-cbc", "signed", "both.eml");
    let key = ["inspect", "--trust", "root.pem", "--key", "siti.p12", "--password-file", "password"];
    let run = |more: &[&str]| bare(&folder, &[&key[..], more].concat());
    let entity = std::fs::read(path.join("entity")).unwrap();

    let (code, out, _) = run(&["--json", "--write-content", "inside", "gcm.eml"]);
    let found = json(&out);
    assert_eq!((code, &found["verdict"], &found["decrypted"]), (1, &Value::from("none"), &Value::from(true)));
    assert_eq!(found["layers"][0]["integrity"], "authenticated");
    assert!(!out.contains("Selamat") && std::fs::read(path.join("inside")).unwrap() == entity);

    let (code, out, _) = run(&["both.eml"]);
    assert_eq!(code, 0, "{out}");
    for words in ["with key ", "aes256-cbc", "proven by the signature inside"] {
        assert!(out.contains(words), "`{words}` not in {out}");
    }
    assert!(!out.contains("Selamat"));

    let (code, out, _) = run(&["--json", "cbc.eml"]);
    assert_eq!((code, &json(&out)["reasons"][0]), (1, &Value::from("integrity-unproven")));
    let (code, _, error) = run(&["--write-content", "nothing", "cbc.eml"]);
    assert!(code == 3 && error.contains("could have been changed"), "{error}");
    assert!(!path.join("nothing").exists());

    // Without the key, and with a password that is another.
    let (code, _, error) = self::bare(&folder, &["inspect", "--write-content", "nothing", "gcm.eml"]);
    assert!(code == 3 && error.contains("--key"), "{error}");
    std::fs::write(path.join("other"), "other\n").unwrap();
    let wrong = ["inspect", "--key", "siti.p12", "--password-file", "other", "gcm.eml"];
    assert_eq!(self::bare(&folder, &wrong).0, 3);
}
