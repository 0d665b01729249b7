//! NSS and GnuPG, both ways, where their tools are installed. What their old versions lack (key agreement, GCM) is not asked.

use super::*;
use crate::crypto::ContentCipher as Cipher;
use std::path::Path;
use std::process::{Command, Stdio};

const RSA: [&str; 2] = ["e-rsa", "e-rsa2"];

/// Runs a tool in `dir`, which has to succeed; its output.
fn run(dir: &Path, line: &str) -> Vec<u8> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .current_dir(dir)
        .env("GNUPGHOME", dir)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Whether all of `tools` are installed.
fn installed(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    missing.inspect(|tool| eprintln!("skipped: {tool} is not installed")).is_none()
}

fn copy(dir: &Path, name: &str) {
    std::fs::write(dir.join(name), ca().read(name)).unwrap();
}

fn pkcs12(dir: &Path, name: &str) {
    let file = fresh(name);
    ca().openssl(&format!(
        "pkcs12 -export -legacy -in {name}.pem -inkey {name}.key -name {name} -passout pass:x -out {file}"
    ));
    std::fs::write(dir.join(format!("{name}.p12")), ca().read(&file)).unwrap();
}

/// The RSA key `name` as gpg-agent keeps one without a passphrase: libgcrypt has p < q and the inverse of p, where PKCS #1
/// has p > q and the inverse of q. (By PKCS #12 it would be simpler, but gpgsm 2.2 fails on a few files in a hundred,
/// and on the same ones again.)
fn agents(name: &str) -> String {
    let file = fresh(name);
    ca().openssl(&format!("rsa -in {name}.key -traditional -out {file}"));
    let listed = String::from_utf8(ca().openssl(&format!("asn1parse -in {file}"))).unwrap();
    let numbers: Vec<_> = listed.lines().filter(|line| line.contains("INTEGER")).collect();
    let number = |at: usize| {
        let hex = numbers[at].rsplit(':').next().unwrap();
        format!("#00{hex}#")
    };
    let [n, e, d, q, p, u] = [1, 2, 3, 4, 5, 8].map(number);
    assert!((q.len(), &q) > (p.len(), &p), "PKCS #1 as OpenSSL writes it has p > q");
    format!("(private-key (rsa (n {n})(e {e})(d {d})(p {p})(q {q})(u {u})))\n")
}

/// What both programs decrypt: written by us for `name` with each CBC.
fn written(dir: &Path, decrypt: &str) {
    for name in RSA {
        for cipher in [Cipher::Aes256Cbc, Cipher::Aes128Cbc] {
            std::fs::write(dir.join("in"), encrypt(ENTITY, cipher, &[to(name, false)]).unwrap()).unwrap();
            assert_eq!(run(dir, decrypt), ENTITY, "{name} {}", cipher.name());
        }
    }
}

#[test]
fn i10_o36_nss() {
    if !installed(&["certutil", "pk12util", "cmsutil"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let run = |line: &str| run(dir, line);
    ca();
    run("certutil -N -d sql:. --empty-password");
    for name in ["root", "issuing"] {
        copy(dir, &format!("{name}.pem"));
        run(&format!("certutil -A -d sql:. -n {name} -t C,C,C -i {name}.pem"));
    }
    for name in RSA {
        pkcs12(dir, name);
        run(&format!("pk12util -i {name}.p12 -d sql:. -W x"));
    }
    written(dir, "cmsutil -D -d sql:. -i in");
    std::fs::write(dir.join("plain"), ENTITY).unwrap();
    run("cmsutil -E -d sql:. -r e-rsa@example.id -i plain -o out");
    assert_eq!(opened(&read(&std::fs::read(dir.join("out")).unwrap()).unwrap(), "e-rsa"), ENTITY);
}

#[test]
fn i10_o36_gpgsm() {
    if !installed(&["gpgsm", "gpg-agent", "gpgconf"]) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let run = |line: &str| run(dir, line);
    std::fs::write(dir.join("gpgsm.conf"), "disable-crl-checks\n").unwrap();
    let fingerprint = ca().openssl("x509 -in root.pem -noout -fingerprint -sha1");
    let fingerprint = String::from_utf8(fingerprint).unwrap();
    let trusted = format!("{} S relax\n", fingerprint.split('=').nth(1).unwrap().trim());
    std::fs::write(dir.join("trustlist.txt"), trusted).unwrap();
    for name in ["root.pem", "issuing.pem"] {
        copy(dir, name);
        run(&format!("gpgsm --batch --import {name}"));
    }
    let keys = dir.join("private-keys-v1.d");
    std::fs::create_dir(&keys).unwrap();
    for name in RSA {
        copy(dir, &format!("{name}.pem"));
        run(&format!("gpgsm --batch --import {name}.pem"));
        let listed = run(&format!("gpgsm --batch --with-colons --with-keygrip --list-keys {name}@example.id"));
        let listed = String::from_utf8(listed).unwrap();
        let grip = listed.lines().find_map(|line| line.strip_prefix("grp:")).unwrap().trim_matches(':');
        std::fs::write(keys.join(format!("{grip}.key")), agents(name)).unwrap();
    }
    written(dir, "gpgsm --batch --decrypt in");
    std::fs::write(dir.join("plain"), ENTITY).unwrap();
    run("gpgsm --batch --encrypt -r e-rsa2@example.id -o out plain");
    assert_eq!(opened(&read(&std::fs::read(dir.join("out")).unwrap()).unwrap(), "e-rsa2"), ENTITY);
    run("gpgconf --kill all");
}
