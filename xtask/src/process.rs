//! Running other programs and saying which one failed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why a command of this tool did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The program ran and said no.
    Failed(String),
    /// The program could not be started.
    NotStarted(String, std::io::Error),
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// Something else, in whole words.
    Said(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(what) => write!(f, "`{what}` failed"),
            Self::NotStarted(what, error) => write!(f, "cannot start `{what}`: {error}"),
            Self::File(path, error) => write!(f, "`{}`: {error}", path.display()),
            Self::Said(what) => f.write_str(what),
        }
    }
}

/// Runs `program` in the repository and waits; its output is the terminal's.
pub(crate) fn run(program: &str, arguments: &[&str], environment: &[(&str, String)]) -> Result<(), Failure> {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("$ {line}");
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(crate::root())
        .status()
        .map_err(|error| Failure::NotStarted(line.clone(), error))?;
    if status.success() { Ok(()) } else { Err(Failure::Failed(line)) }
}

/// Whether `program` with `arguments` ends well; its output is dropped.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The cargo that started this tool, so that a chosen toolchain stays chosen.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from)
}
