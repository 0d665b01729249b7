//! `segel cert`, by running the program on certificates that OpenSSL makes, beside a running server and without one.

use crate::support::{CONFIGURATION, openssl, program, rows, segel};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// On top of the least: certificates under the anchor are worth what was seen of them, and a server may run.
fn configuration() -> String {
    const MORE: &str = "[[listener]]
name = \"luar\"
bind = \"127.0.0.1:0\"
side = \"outside\"
[console]
bind = \"127.0.0.1:0\"
[[trust.anchor]]
file = \"root.pem\"
revocation = \"none\"
harvest = \"seen\"
";
    CONFIGURATION.replace("127.0.0.1:10025", "127.0.0.1:0") + MORE
}

fn issue(folder: &Path, name: &str, ca: &str, extensions: &str) {
    std::fs::write(folder.join("ext"), extensions.replace(';', "\n")).unwrap();
    openssl(folder, &format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -out {name}.pem -days 20 -extfile ext"
        ),
    );
}

/// A root, a CA under it, and certificates: `both` names budi and rina, `nameless` nobody, `signs` may only sign, `foreign`
/// is nobody's whom we trust. `chain.pem` is `both` with its CA.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("segel.toml"), configuration()).unwrap();
    for name in ["root", "other"] {
        openssl(
            path,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30 -addext keyUsage=critical,keyCertSign,cRLSign"
            ),
        );
    }
    issue(path, "issuing", "root", "basicConstraints=critical,CA:TRUE;keyUsage=keyCertSign,cRLSign");
    let usage = "keyUsage=digitalSignature,keyEncipherment;extendedKeyUsage=emailProtection";
    let two = "subjectAltName=email:budi@kota.example,email:rina@kota.example";
    issue(path, "both", "issuing", &format!("{usage};{two}"));
    issue(path, "nameless", "issuing", usage);
    issue(path, "signs", "issuing", "keyUsage=digitalSignature;subjectAltName=email:budi@kota.example");
    issue(path, "foreign", "other", &format!("{usage};subjectAltName=email:orang@kota.example"));
    let pem = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    std::fs::write(path.join("chain.pem"), pem("both.pem") + &pem("issuing.pem")).unwrap();
    openssl(path, "x509 -in both.pem -outform DER -out both.der");
    folder
}

fn audited(folder: &TempDir) -> Vec<String> {
    let found = rows(folder, &["audit", "search", "--json"]);
    let names = found.iter().filter_map(|row| row["event"].as_str().map(str::to_owned));
    names.filter(|name| name.starts_with("certificate")).collect()
}

struct Server(Child);

impl Server {
    fn start(folder: &TempDir) -> Self {
        let mut command = program(folder, &["-c", "segel.toml", "serve"]);
        let server = Self(command.stderr(Stdio::null()).spawn().unwrap());
        let ready = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            segel(folder, &["reload"]).0 == 0
        });
        assert!(ready, "the server did not start");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The whole life of a certificate. The same beside a server and without one.
fn life(folder: &TempDir) {
    // A file with its chain; both addresses are bound, the CA helps to find the path.
    let taken = rows(folder, &["cert", "import", "--json", "chain.pem"]);
    assert_eq!(taken.len(), 2);
    let both = &taken[0];
    assert_eq!(both["addresses"], json!(["budi@kota.example", "rina@kota.example"]));
    let told = |key: &str| both[key].clone();
    assert_eq!((told("role"), told("binding")), (json!("recipient"), json!("certificate")));
    assert_eq!((told("trust"), told("source")), (json!("imported"), json!("import")));
    assert_eq!((told("standing"), told("reasons")), (json!("usable"), json!([])), "{both}");
    assert_eq!((taken[1]["role"].clone(), taken[1]["binding"].clone()), (json!("issuer"), Value::Null));
    assert_eq!(taken[1]["standing"], "usable", "a path leads to the anchor");
    // Again, in DER: nothing changes.
    assert_eq!(segel(folder, &["cert", "import", "both.der"]).0, 0);

    // The registration officer binds what names nobody; nothing else may be bound to what it does not name.
    let import = |more: &[&str]| segel(folder, &[&["cert", "import"], more].concat());
    let (code, _, err) = import(&["nameless.pem"]);
    assert!(code == 3 && err.contains("names no address") && err.contains("--address"), "{err}");
    let (code, out, err) = import(&["--address", "dinas@kota.example", "nameless.pem"]);
    assert!(code == 0 && out.contains("dinas@kota.example (bound by the operator)"), "{out}{err}");
    let (code, _, err) = import(&["--address", "orang@kota.example", "both.pem"]);
    assert!(code == 3 && err.contains("it names `budi@kota.example`, `rina@kota.example`"), "{err}");
    let (code, _, err) = import(&["signs.pem"]);
    assert!(code == 3 && err.contains("keyEncipherment") && err.contains("hint:"), "{err}");
    let (code, _, err) = import(&["--address", "no address", "both.pem"]);
    assert!(code == 3 && err.contains("expected a mail address"), "{err}");
    assert_eq!(import(&["absent.pem"]).0, 3);
    assert_eq!(import(&[]).0, 2);
    // Nobody whom we trust has issued it: kept, and said at once.
    let (code, out, err) = import(&["foreign.pem"]);
    assert!(
        code == 0 && out.contains("not usable: untrusted") && err.contains("warning: nothing is encrypted"),
        "{err}"
    );
    let (code, _, err) = import(&["other.pem"]);
    assert!(code == 0 && err.contains("does not make it trusted"), "{err}");

    let listed = rows(folder, &["cert", "list", "--json"]);
    assert_eq!(listed.len(), 5);
    assert!(taken.iter().all(|row| listed.contains(row)), "as it was told: {listed:?}");
    assert_eq!(rows(folder, &["cert", "list", "--json", "--address", "RINA@kota.example"]).len(), 1);
    let (_, table, _) = segel(folder, &["cert", "list"]);
    for words in
        ["ADDRESS", "a CA, for paths", "budi@kota.example,rina@kota.example", "CN=both", "not usable: untrusted"]
    {
        assert!(table.contains(words), "{words}: {table}");
    }

    let id = both["id"].as_str().unwrap();
    let sha256 = both["sha256"].as_str().unwrap();
    assert!(id.len() == 16 && sha256.starts_with(id));
    for (name, expected) in [(&id[..8], 0), (sha256, 0), (&sha256.to_uppercase(), 0), (&id[..7], 3), ("0123456789", 3)]
    {
        assert_eq!(segel(folder, &["cert", "show", name]).0, expected, "{name}");
    }
    assert_eq!(rows(folder, &["cert", "show", "--json", id]), std::slice::from_ref(both));
    let pem = std::fs::read_to_string(folder.path().join("both.pem")).unwrap();
    assert_eq!(segel(folder, &["cert", "show", "--pem", id]).1, pem);
    let (_, shown, _) = segel(folder, &["cert", "show", id]);
    for words in ["CN=issuing", "RSA", "imported", "usable"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    for (command, blocked) in [("block", true), ("block", true), ("unblock", false), ("unblock", false)] {
        let changed = rows(folder, &["cert", command, "--json", id]);
        assert_eq!(changed[0]["blocked"], blocked);
        let reasons = if blocked { json!(["blocked-locally"]) } else { json!([]) };
        assert_eq!(changed[0]["reasons"], reasons);
    }
    assert_eq!(segel(folder, &["cert", "block", "0123456789"]).0, 3);
    let mut expected = vec!["certificate-imported"; 6];
    expected.extend(["certificate-blocked", "certificate-unblocked"]);
    assert_eq!(audited(folder), expected, "two addresses, the CA, dinas, foreign, its CA; each change once");
    assert_eq!(segel(folder, &["audit", "verify"]).0, 0);
}

#[test]
fn certificates_are_imported_listed_and_blocked_without_a_server() {
    life(&folder());
}

#[test]
fn certificates_are_imported_listed_and_blocked_beside_a_server() {
    let folder = folder();
    let _server = Server::start(&folder);
    life(&folder);
}

#[test]
fn what_certificates_under_an_anchor_are_worth_is_configured() {
    let folder = folder();
    assert_eq!(rows(&folder, &["trust", "list", "--json"])[0]["harvest"], "seen");
    let text = configuration().replace("\"seen\"", "\"sceen\"");
    std::fs::write(folder.path().join("segel.toml"), text).unwrap();
    let (code, out, err) = segel(&folder, &["check"]);
    let told = out + &err;
    assert!(code == 2 && told.contains("trust.anchor.harvest") && told.contains("did you mean \"seen\""), "{told}");
}
