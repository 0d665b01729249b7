//! The repository's own commands, run as `cargo xtask COMMAND`.
//!
//! Standard library only: what checks the product must not wait for a build of its own dependencies.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod conformance;
mod package;
mod fuzz;
mod process;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check         formatting, clippy, documentation, licences and advisories
  test          installs the tools that the tests drive, checks, runs all tests
  bench         measures the gateway beside Postfix; needs $SEGEL_PERF
  fuzz [TARGET] [--seconds N]
                tries what is read with inputs that nobody has written: docs/fuzzing.md
  conformance   writes docs/conformance.md from the names of the tests
  package       the Debian package, and its test in a fresh Debian (root); `--no-test` only builds
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["check"] => check::run(),
        ["test", rest @ ..] => test::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["package", rest @ ..] => package::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["conformance"] => conformance::write(&root()),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The repository: the folder above this package.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
