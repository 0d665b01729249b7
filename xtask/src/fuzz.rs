//! `cargo xtask fuzz`: makes the seeds, builds the targets, runs one of them or each in turn.

use crate::process::{self, Failure, succeeds};
use std::path::Path;

/// Where everything lies that fuzzing makes, below the repository.
const WORK: &str = "target/fuzz-work";
/// As long as a change of a parser is tried at least.
const SECONDS: &str = "1800";

/// `[TARGET] [--seconds N]`
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let (chosen, seconds) = match arguments {
        [] => (None, SECONDS),
        ["--seconds", seconds] => (None, *seconds),
        [target] => (Some(*target), SECONDS),
        [target, "--seconds", seconds] => (Some(*target), *seconds),
        _ => return Err(Failure::Failed("fuzz [TARGET] [--seconds N]".to_owned())),
    };
    if !succeeds("cargo-fuzz", &["--version"]) {
        eprintln!("cargo-fuzz is missing; install it with `cargo install cargo-fuzz --locked`");
        return Err(Failure::Failed("cargo-fuzz --version".to_owned()));
    }
    let targets = targets(&crate::root())?;
    let wanted: Vec<&String> = targets.iter().filter(|target| chosen.is_none_or(|chosen| chosen == *target)).collect();
    if wanted.is_empty() {
        eprintln!("expected one of {}", targets.join(", "));
        return Err(Failure::Failed(format!("fuzz {}", chosen.unwrap_or_default())));
    }
    prepare(&crate::root())?;
    for target in wanted {
        one(target, seconds)?;
    }
    Ok(())
}

/// The names of the files in `fuzz/targets`.
fn targets(root: &Path) -> Result<Vec<String>, Failure> {
    let folder = root.join("fuzz/targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::File(folder, error))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// The product's own lock file, so that what is fuzzed is what is shipped, and seeds where there are none yet.
fn prepare(root: &Path) -> Result<(), Failure> {
    let lock = root.join("fuzz/Cargo.lock");
    std::fs::copy(root.join("Cargo.lock"), &lock).map_err(|error| Failure::File(lock, error))?;
    if root.join(WORK).join("seeds/pki").exists() {
        return Ok(());
    }
    process::run("sh", &["fuzz/seed.sh", &format!("{WORK}/seeds")], &[])
}

/// Runs on the stable compiler; no sanitizer, because no line of this crate is `unsafe`.
fn one(target: &str, seconds: &str) -> Result<(), Failure> {
    let (seeds, corpus, artifacts) = (
        format!("{WORK}/seeds/corpus/{target}"),
        format!("{WORK}/corpus/{target}"),
        format!("{WORK}/artifacts/{target}/"),
    );
    let root = crate::root();
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(root.join(folder)).map_err(|error| Failure::File(folder.into(), error))?;
    }
    let dictionary = match target {
        "headers" | "inspect" | "mime" | "readers" | "signing" => "mail",
        "smtp_commands" | "smtp_data" => "smtp",
        _ => "asn1",
    };
    let (time, artifacts) = (format!("-max_total_time={seconds}"), format!("-artifact_prefix={artifacts}"));
    let dictionary = format!("-dict=fuzz/dictionaries/{dictionary}.dict");
    let line = [
        &["fuzz", "run", "--fuzz-dir", "fuzz", "-s", "none", "--target-dir", "target/fuzz", target][..],
        &[&corpus, &seeds, "--", &time, &artifacts, &dictionary],
        &["-max_len=32768", "-rss_limit_mb=2048", "-timeout=10", "-report_slow_units=1", "-print_final_stats=1"],
    ]
    .concat();
    let material = std::path::absolute(root.join(WORK).join("seeds/pki"));
    let material = material.map_err(|error| Failure::File(WORK.into(), error))?;
    let material = material.to_string_lossy();
    process::run("cargo", &line, &[("RUSTC_BOOTSTRAP", "1".to_owned()), ("SEGEL_FUZZ_PKI", material.into_owned())])
}
