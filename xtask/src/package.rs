//! `cargo xtask package`: the Debian package, then its test in a Debian that has never seen it.

#![expect(clippy::disallowed_methods, reason = "reads licences and writes what goes into the package")]

use crate::process::{self, Failure, cargo, succeeds};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `target/debian/segel_VERSION_ARCH.deb`; then, as root, installs it in a fresh Debian, sends mail through it,
/// upgrades, removes and purges it.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let cargo = cargo();
    if !succeeds(&cargo, &["deb", "--version"]) {
        println!("cargo-deb is not installed: `cargo install cargo-deb --locked`, then again");
        return Err(Failure::Failed("cargo deb --version".to_owned()));
    }
    let root = crate::root();
    let folder = root.join("target").join("package");
    fs::create_dir_all(&folder).map_err(|error| Failure::File(folder.clone(), error))?;
    write(&folder.join("changelog"), &changelog()?)?;
    write(&folder.join("copyright"), &copyright(&root)?)?;
    // The demo is none of the package's business: without the feature it brings no test CA along.
    let package = root.join("target").join("debian").join("segel.deb");
    let file = package.display().to_string();
    process::run(&cargo, &["deb", "--package", "segel", "--output", &file], &[])?;
    println!("built {file}");
    if arguments.contains(&"--no-test") {
        return Ok(());
    }
    let line = ["test", "--release", "--test", "e2e", "package::", "--", "--nocapture"];
    process::run(&cargo, &line, &[("SEGEL_PACKAGE", file.clone())])
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::File(path.to_owned(), error))
}

/// Standard output of a program that must succeed.
fn output(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(crate::root())
        .output()
        .map_err(|error| Failure::NotStarted(line.clone(), error))?;
    if !output.status.success() {
        return Err(Failure::Failed(line));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Debian's changelog: one entry, which leads to ours.
fn changelog() -> Result<String, Failure> {
    let id = output(&cargo(), &["pkgid", "--package", "segel"])?;
    let version = id.trim().rsplit(['#', '@']).next().unwrap_or("0").to_owned();
    // The last commit's time: the same sources give the same file.
    let date =
        output("git", &["log", "-1", "--format=%cD"]).or_else(|_| output("date", &["-R", "-r", "CHANGELOG.md"]))?;
    Ok(format!(
        "segel ({version}-1) stable; urgency=medium\n\n  * See /usr/share/doc/segel/CHANGELOG.md.\n\n \
         -- The Segel project <segel@localhost>  {}\n",
        date.trim()
    ))
}

/// Our licences, and those of every crate in the binary with their notices, equal texts once.
fn copyright(root: &Path) -> Result<String, Failure> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|error| Failure::File(path, error));
    let mut text = format!(
        "Segel is licensed under either of the Apache License, Version 2.0, or the MIT license, at your option.\n\
         On Debian the Apache License is in /usr/share/common-licenses/Apache-2.0.\n\n{}\n\
         The binary contains the following crates; their licences and notices are below.\n\n",
        read(root.join("LICENSE-MIT"))?
    );
    let line = [
        "tree",
        "--package",
        "segel",
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}|{l}",
    ];
    let tree = output(&cargo(), &line)?;
    let mut crates: Vec<(&str, &str)> = tree.lines().filter_map(|line| line.split_once('|')).collect();
    crates.sort_unstable();
    crates.dedup();
    let mut notices: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (package, licence) in crates {
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        if name == "segel" {
            continue;
        }
        let label = format!("{name} {}", version.trim_start_matches('v'));
        text.push_str(&format!("  {label}: {licence}\n"));
        for notice in notices_of(&label.replace(' ', "-")) {
            notices.entry(notice).or_default().push(label.clone());
        }
    }
    for (notice, labels) in &notices {
        text.push_str(&format!("\n----- {}\n\n{}\n", labels.join(", "), notice.trim_end()));
    }
    Ok(text)
}

/// The texts in the crate's sources that are licences or notices.
fn notices_of(folder: &str) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let sources = home.map(|home| home.join("registry").join("src"));
    let registries = sources.and_then(|sources| fs::read_dir(sources).ok()).into_iter().flatten().flatten();
    let files = registries.filter_map(|registry| fs::read_dir(registry.path().join(folder)).ok()).flatten().flatten();
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|word| name.starts_with(word))
        })
        .collect();
    paths.sort();
    let texts = paths.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    // Debian has the Apache License; a crate's own copy of it alone says nothing more.
    let apache = |text: &String| text.len() < 13_000 && text.contains("TERMS AND CONDITIONS FOR USE, REPRODUCTION");
    texts.filter(|text| !apache(text)).collect()
}
