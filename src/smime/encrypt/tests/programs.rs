//! NSS and GnuPG, both ways, where their tools are installed. What their old versions lack (key agreement, GCM) is not asked.

use super::*;
use crate::crypto::ContentCipher as Cipher;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const RSA: [&str; 2] = ["e-rsa", "e-rsa2"];

/// Runs a tool in `dir` with one line of input; its output, if it succeeds.
fn run(dir: &Path, line: &str, input: &str) -> Result<Vec<u8>, String> {
    let mut words = line.split_whitespace();
    let mut child = Command::new(words.next().unwrap())
        .current_dir(dir)
        .env("GNUPGHOME", dir)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
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

/// What both programs decrypt: written by us for `name` with each CBC.
fn written(dir: &Path, decrypt: &str) {
    for name in RSA {
        for cipher in [Cipher::Aes256Cbc, Cipher::Aes128Cbc] {
            std::fs::write(dir.join("in"), encrypt(ENTITY, cipher, &[to(name, false)]).unwrap()).unwrap();
            let out = run(dir, decrypt, "x\n").unwrap_or_else(|error| panic!("{name} {}: {error}", cipher.name()));
            assert_eq!(out, ENTITY, "{name} {}", cipher.name());
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
    let run = |line: &str| run(dir, line, "").unwrap_or_else(|error| panic!("{line}: {error}"));
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
    // On a busy machine its agent sometimes gives up on a file that it takes the next time.
    let patient = |line: &str| {
        let tried: Vec<_> = (0..3).map_while(|_| run(dir, line, "x\n").err()).collect();
        assert!(tried.len() < 3, "{line}: {tried:?}");
    };
    let run = |line: &str| run(dir, line, "x\n").unwrap_or_else(|error| panic!("{line}: {error}"));
    std::fs::write(dir.join("gpgsm.conf"), "disable-crl-checks\n").unwrap();
    std::fs::write(dir.join("gpg-agent.conf"), "allow-loopback-pinentry\n").unwrap();
    let fingerprint = ca().openssl("x509 -in root.pem -noout -fingerprint -sha1");
    let fingerprint = String::from_utf8(fingerprint).unwrap();
    let trusted = format!("{} S relax\n", fingerprint.split('=').nth(1).unwrap().trim());
    std::fs::write(dir.join("trustlist.txt"), trusted).unwrap();
    for name in ["root.pem", "issuing.pem"] {
        copy(dir, name);
        run(&format!("gpgsm --batch --import {name}"));
    }
    for name in RSA {
        pkcs12(dir, name);
        patient(&format!("gpgsm --batch --pinentry-mode loopback --passphrase-fd 0 --import {name}.p12"));
    }
    written(dir, "gpgsm --batch --pinentry-mode loopback --passphrase-fd 0 --decrypt in");
    std::fs::write(dir.join("plain"), ENTITY).unwrap();
    run("gpgsm --batch --encrypt -r e-rsa2@example.id -o out plain");
    assert_eq!(opened(&read(&std::fs::read(dir.join("out")).unwrap()).unwrap(), "e-rsa2"), ENTITY);
    run("gpgconf --kill all");
}
