//! `cargo xtask test`: the tools, the checks, all tests.

use crate::process::{self, Failure, cargo};
use crate::{check, tools};

/// Installs what the tests drive, checks, then runs every test. The runner's summary is the last thing printed.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    tools::install();
    check::run()?;
    let mut line = vec!["test", "--release", "--workspace", "--no-fail-fast"];
    line.extend_from_slice(arguments);
    process::run(&cargo(), &line, &[])
}
