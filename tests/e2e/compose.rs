//! `docker-compose.yml`: what it arranges, arranged by hand, with the container's own root; and what the tool says of the file.

use crate::support::process::run;
use crate::support::sink::PYTHON;
use crate::support::{crlf, fields};
use std::fs;
use std::path::Path;
use std::process::Command;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

#[test]
fn what_the_compose_file_arranges_signs_and_judges_mail() {
    need!("openssl", "postfix");
    let probe = format!(
        "test \"$(id -u)\" = 0 && command -v ip && unshare --mount --net --pid --fork true && {PYTHON} -c 'import yaml' && \
         grep -q overlay /proc/filesystems"
    );
    if !run(Command::new("sh").args(["-c", &probe]), b"").status.success() {
        println!("skipped: needs root, namespaces, overlayfs, ip and Python's yaml");
        return;
    }
    let folder = tempfile::Builder::new().prefix("segel-compose").tempdir().unwrap();
    let mut command = Command::new(PYTHON);
    command.arg(file("tests/e2e/support/compose.py")).arg(file("docker-compose.yml"));
    let output = run(command.arg(env!("CARGO_BIN_EXE_segel")).arg(folder.path()), b"");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = || format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", all());
    let path =
        |word: &str| said.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("{}", all()));
    assert_eq!(path("stopped "), "0", "{}", all());
    // OpenSSL agrees with the signature, by the certification authority of the file's first service.
    let authority = folder.path().join("volumes/configuration/ca.pem");
    let mut command = Command::new("openssl");
    command.args(["cms", "-verify", "-purpose", "smimesign", "-out", "/dev/null", "-in", path("signed "), "-CAfile"]);
    let verified = run(command.arg(authority), b"");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let judged = crlf(&fs::read(path("judged ")).unwrap());
    let verdict = fields(&judged, "segel-verdict");
    assert!(verdict.len() == 1 && verdict[0].starts_with("none"), "{verdict:?}");
}

#[test]
fn the_tool_takes_the_compose_file() {
    let words = [&["docker", "compose"][..], &["docker-compose"]];
    let there = |words: &&&[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("version").output().is_ok_and(|output| output.status.success())
    };
    let Some(words) = words.iter().find(there) else {
        println!("skipped: neither `docker compose` nor `docker-compose` is installed");
        return;
    };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["-f", &file("docker-compose.yml"), "config", "--quiet"]);
    let output = run(&mut command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
