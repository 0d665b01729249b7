//! `segel key`: own keys.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, local, read};
use crate::config::Config;
use crate::operations::row::KeyRow;
use crate::operations::{Command, KeyFiles, Output, Secret};
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Takes keys and their certificates in: all of FILE.p12, or CERT.pem KEY.pem
    Import(ImportArguments),
    /// Shows every key
    List(ListArguments),
    /// Stops a key from being used
    Block(IdArguments),
    /// Lets a blocked key be used again
    Unblock(IdArguments),
    /// Destroys the private key for good; what it signed stays verifiable
    Destroy(IdArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArguments {
    /// A mailbox that the key signs or decrypts for; repeat it for more
    #[arg(long, value_name = "ADDR", required = true)]
    address: Vec<String>,
    /// Whom the certificate stands for
    #[arg(long, value_name = "KIND", default_value = "individual")]
    kind: Kind,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Prints one JSON object for each key that came in
    #[arg(long)]
    json: bool,
    /// FILE.p12, or CERT.pem KEY.pem
    #[arg(value_name = "FILE", required = true, num_args = 1..=2)]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Individual,
    Position,
    Organisation,
    System,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Position => "position",
            Self::Organisation => "organisation",
            Self::System => "system",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct IdArguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// As `segel key list` shows it
    id: String,
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::Import(arguments) => {
            let json = arguments.json;
            let output = local::change(&config, import(arguments)?)?;
            let Output::Imported { keys, warnings } = output else { return Err(other_answer()) };
            changed("imported", &keys, &warnings, json, out)
        }
        Subcommands::List(arguments) => list(&config, arguments.json, out),
        Subcommands::Block(arguments) => {
            one("blocked", local::change(&config, Command::KeyBlock { id: arguments.id })?, arguments.json, out)
        }
        Subcommands::Unblock(arguments) => {
            one("unblocked", local::change(&config, Command::KeyUnblock { id: arguments.id })?, arguments.json, out)
        }
        Subcommands::Destroy(arguments) => {
            one("destroyed", local::change(&config, Command::KeyDestroy { id: arguments.id })?, arguments.json, out)
        }
    }
}

fn import(arguments: ImportArguments) -> Result<Command, CliError> {
    let files = match arguments.files.as_slice() {
        [one] => KeyFiles::Pkcs12(read::file(one)?),
        [certificate, key] => KeyFiles::Pem(read::file(certificate)?, read::file(key)?),
        _ => return Err(CliError::Usage("expected FILE.p12, or CERT.pem KEY.pem".to_owned())),
    };
    let password = arguments.password_file.as_deref().map(read::password).transpose()?.map(Secret);
    Ok(Command::KeyImport { addresses: arguments.address, kind: arguments.kind.name().to_owned(), files, password })
}

fn one(what: &str, output: Output, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    let Output::Key { key, warnings } = output else { return Err(other_answer()) };
    changed(what, &[key], &warnings, json, out)
}

fn other_answer() -> CliError {
    CliError::Failed("the server gave an answer to another question".to_owned())
}

fn changed(what: &str, keys: &[KeyRow], warnings: &[String], json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    for warning in warnings {
        warning_line(&format!("warning: {warning}"));
    }
    for key in keys {
        if json {
            out.json(key)?;
            continue;
        }
        out.line(&format!("{what}: key {}", key.id))?;
        let signs = key.uses.iter().any(|word| word == "sign");
        out.labelled(
            2,
            &[
                (if signs { "signs for" } else { "decrypts for" }, key.addresses.join(", ")),
                ("can", key.uses.join(", ")),
                ("kind", key.kind.clone()),
                ("subject", key.subject.clone()),
                ("issuer", key.issuer.clone()),
                ("serial", key.serial.clone()),
                ("valid", format!("{} to {}", key.not_before, key.not_after)),
                ("state", state(key)),
            ],
        )?;
    }
    Ok(Exit::Yes)
}

fn list(config: &Config, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let rows: Vec<KeyRow> = opened.gateway.keys.list().iter().map(|entry| KeyRow::of(&opened.gateway, entry)).collect();
    if json {
        for row in &rows {
            out.json(row)?;
        }
        return Ok(Exit::Yes);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let until = row.not_after.get(..10).unwrap_or(&row.not_after).to_owned();
            let state = state(&row);
            let uses = row.uses.join(",");
            vec![row.id, row.addresses.join(","), row.kind, until, state, row.serial, row.subject, uses]
        })
        .collect();
    let nothing = "no keys; `segel key import` takes one in";
    out.table(&["id", "address", "kind", "until", "state", "serial", "subject", "can"], &cells, nothing)?;
    Ok(Exit::Yes)
}

/// `usable`, or why not.
fn state(key: &KeyRow) -> String {
    if key.destroyed {
        "destroyed".to_owned()
    } else if key.blocked {
        "blocked".to_owned()
    } else if key.reasons.is_empty() {
        "usable".to_owned()
    } else {
        format!("not usable: {}", key.reasons.join(", "))
    }
}
