//! What the commands run with.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The least that every command takes; nothing in it is asked or sent to.
pub const CONFIGURATION: &str = "[gateway]
hostname = \"gerbang.kabupaten.go.id\"
data_dir = \"data\"
[[listener]]
name = \"dalam\"
bind = \"127.0.0.1:10025\"
side = \"inside\"
clients = [\"127.0.0.1/32\"]
[fetch]
enabled = false
[outbound]
route = \"smtp://127.0.0.1:2526\"
[[domain]]
name = \"kabupaten.go.id\"
deliver_to = \"smtp://127.0.0.1:2525\"
";

/// The program in `folder`, free of what stands around the tests.
pub fn program(folder: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
    command.current_dir(folder).env_remove("SEGEL_CONFIG").env_remove("CREDENTIALS_DIRECTORY").args(arguments);
    command
}

/// Exit code, standard output, standard error.
pub fn said(output: Output) -> (i32, String, String) {
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs it to its end without a configuration.
pub fn bare(folder: impl AsRef<Path>, arguments: &[&str]) -> (i32, String, String) {
    said(program(folder, arguments).output().unwrap())
}

/// Runs it to its end with the configuration `segel.toml` of the folder.
pub fn segel(folder: impl AsRef<Path>, arguments: &[&str]) -> (i32, String, String) {
    bare(folder, &[&["-c", "segel.toml"], arguments].concat())
}

/// The JSON lines of a command that succeeds.
pub fn rows(folder: impl AsRef<Path>, arguments: &[&str]) -> Vec<Value> {
    let (code, out, err) = segel(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out.lines().map(json).collect()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// OpenSSL on arguments without spaces.
pub fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").current_dir(folder).args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}
