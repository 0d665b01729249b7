//! `segel login`: the lines of the configuration that let somebody log in.

use super::print::Printer;
use super::{CliError, Exit, read};
use crate::crypto::password;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Octets of a password that is read.
const LONGEST: u64 = 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name to log in with; one that is a mail address may write as that address
    #[arg(value_name = "NAME")]
    name: String,
    /// Takes the password from the first line of this file [default: a line of standard input]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Prints `[[login]]` with the hash; nothing is stored.
pub(super) fn run(arguments: &Arguments, out: &mut Printer) -> Result<Exit, CliError> {
    if arguments.name.is_empty() || arguments.name.len() > 255 || arguments.name.contains(char::is_control) {
        return Err(CliError::Usage("NAME must have 1 to 255 octets and no control characters".to_owned()));
    }
    let secret = match &arguments.password_file {
        Some(file) => Zeroizing::new(read::password(file)?),
        None => from_standard_input()?,
    };
    let hash = password::hash(secret.as_bytes())
        .ok_or_else(|| CliError::Usage("the password is empty: write it into the first line".to_owned()))?;
    out.line("[[login]]")?;
    out.line(&format!("name = {}", toml::Value::String(arguments.name.clone())))?;
    out.line(&format!("password = {}", toml::Value::String(hash)))?;
    Ok(Exit::Yes)
}

fn from_standard_input() -> Result<Zeroizing<String>, CliError> {
    let mut line = Zeroizing::new(String::with_capacity(2048));
    let path = || PathBuf::from("standard input");
    std::io::stdin()
        .lock()
        .take(LONGEST)
        .read_line(&mut line)
        .map_err(|source| CliError::Read { path: path(), source })?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
