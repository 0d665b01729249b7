//! `segel key`: own keys.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, local, read};
use crate::config::Config;
use crate::operations::rewrap::Placed;
use crate::operations::row::KeyRow;
use crate::operations::{self, Command, KeyFiles, Output, Secret};
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
    /// Changes the master key: wraps every stored key again, by the one in FILE; only while no server runs
    Rewrap(RewrapArguments),
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

#[derive(Debug, clap::Args)]
pub(super) struct RewrapArguments {
    /// The new master key; made with mode 0600 if there is no such file
    #[arg(long, value_name = "FILE", required = true)]
    new: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
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
        Subcommands::Rewrap(arguments) => rewrap(&config, &arguments, out),
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

fn rewrap(config: &Config, arguments: &RewrapArguments, out: &mut Printer) -> Result<Exit, CliError> {
    // Absolute: it may become a line of the configuration.
    let new = std::path::absolute(&arguments.new)?;
    let done = local::wait(operations::rewrap::rewrap(config, &new))??;
    let new = new.display().to_string();
    let unchanged = done.from == done.to;
    if done.keys.left > 0 {
        warning_line(&format!(
            "warning: {} stored keys opened with the old master key no more than with the new one; they stay as they were",
            done.keys.left
        ));
    }
    if arguments.json {
        let (at, old, by_hand) = match &done.file {
            Placed::Installed { at, old } => (at, Some(old), false),
            Placed::ByHand { at, .. } => (at, None, !unchanged),
        };
        out.json(&serde_json::json!({
            "from": done.from, "to": done.to, "keys": done.keys.done, "left": done.keys.left, "made": done.made,
            "new": new, "file": at, "old": old, "by_hand": by_hand,
        }))?;
        return Ok(Exit::Yes);
    }
    if unchanged {
        out.line(&format!("nothing to do: `{new}` holds the master key that the store is sealed with"))?;
        return Ok(Exit::Yes);
    }
    out.line(&format!("wrapped again: {} keys, by master key {} in place of {}", done.keys.done, done.to, done.from))?;
    match done.file {
        Placed::Installed { at, old } => {
            out.labelled(
                2,
                &[
                    ("in use", at.display().to_string()),
                    ("its copy", format!("{new}: keep it apart from the data")),
                    (
                        "old key",
                        format!(
                            "{}: opens nothing here any more, only backups from before; destroy it with them",
                            old.display()
                        ),
                    ),
                ],
            )?;
            out.line("start the server again")?;
        }
        Placed::ByHand { at, why } => {
            warning_line(&format!("warning: `{}` was not replaced: {why}", at.display()));
            out.line("before the server is started again, do one of these:")?;
            out.line(&format!("  write under [keys]:            master = \"{new}\""))?;
            out.line(&format!("  or replace the file:           cp {new} {}", at.display()))?;
            out.line(&format!("  or give it as the credential:  LoadCredential=segel-master:{new}"))?;
        }
    }
    Ok(Exit::Yes)
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
