//! `cargo xtask check`: everything that needs no test run.

use crate::process::{self, Failure, cargo, succeeds};

/// Formatting, lints, documentation, then licences and advisories if `cargo-deny` is there.
///
/// All steps use the release profile: clippy and rustdoc share one set of checked dependencies, and build scripts
/// (the C library above all) are built once for them and for the tests.
pub(crate) fn run() -> Result<(), Failure> {
    let cargo = cargo();
    process::run(&cargo, &["fmt", "--all", "--check"], &[])?;
    process::run(&cargo, &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    process::run(
        &cargo,
        &["doc", "--release", "--workspace", "--no-deps", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings".to_owned())],
    )?;
    deny(&cargo)
}

fn deny(cargo: &str) -> Result<(), Failure> {
    if succeeds(cargo, &["deny", "--version"]) {
        process::run(cargo, &["deny", "check"], &[])
    } else {
        println!("skipped: cargo-deny is not installed; licences, bans and advisories were not checked");
        Ok(())
    }
}
