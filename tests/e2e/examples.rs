//! The example configurations: each passes `segel check` as it stands, once the files that it names are there.

use crate::support::Pki;
use crate::support::process::run;
use crate::support::tls::Certificates;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// What every `key = "file"` of these names is: a certificate authority, or a pair.
fn make_files(text: &str, folder: &Path) {
    let (pki, tls) = (Pki::shared(), Certificates::shared());
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" = \"") else { continue };
        let source = match key {
            "file" => pki.path("root.pem"),
            "certificate" => tls.path("gate.pem"),
            "key" => tls.path("gate.key"),
            "ca" => tls.path("ca.pem"),
            _ => continue,
        };
        let target = folder.join(value.split('"').next().unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(source, target).unwrap();
    }
}

#[test]
fn every_example_passes_check() {
    need!("openssl");
    let examples = examples();
    assert!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        let text = fs::read_to_string(example.join("segel.toml")).unwrap();
        assert!(example.join("README.md").is_file(), "{}: no README.md", example.display());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("segel.toml");
        fs::write(&file, &text).unwrap();
        let policy = example.join("policy.toml");
        if policy.is_file() {
            fs::copy(policy, folder.path().join("policy.toml")).unwrap();
        }
        let check = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
            run(command.arg("-c").arg(&file).args(["check", "--json"]), b"")
        };
        // The files are really looked for.
        assert_eq!(check().status.code(), Some(2), "{}: passes without its files", example.display());
        make_files(&text, folder.path());
        let output = check();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{}: {said}", example.display());
        // A master key beside the data is what the service's credential is for; nothing else is warned of.
        let warnings = said.lines().filter(|line| line.contains("\"warning\"") && !line.contains("master key"));
        assert_eq!(warnings.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", example.display());
    }
}

#[test]
fn the_shipped_policy_file_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let configuration = fs::read_to_string(root.join("config/segel.toml")).unwrap();
    let hash = |policy: Option<String>| {
        fs::write(folder.path().join("segel.toml"), &configuration).unwrap();
        if let Some(policy) = policy {
            fs::write(folder.path().join("policy.toml"), policy).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
        let output = run(command.arg("-c").arg(folder.path().join("segel.toml")).args(["check", "--json"]), b"");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        last["policy"].as_str().unwrap().to_owned()
    };
    let shipped = fs::read_to_string(root.join("config/policy.toml")).unwrap();
    let without = hash(None);
    assert_eq!(hash(Some(shipped)), without);
}

#[test]
fn the_manual_names_every_command() {
    let help = run(Command::new(env!("CARGO_BIN_EXE_segel")).arg("--help"), b"");
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(commands.len() > 10, "{help}");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/segel.1")).unwrap();
    let bold = |line: &&str| line.starts_with(".B ") || line.starts_with(".BR ");
    let named: Vec<&str> = page.lines().filter(bold).flat_map(|line| line.split([' ', ',', '"'])).collect();
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(named.contains(command), "segel.1 does not name `{command}`");
    }
}
