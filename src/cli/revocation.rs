//! `segel revocation`: CRLs, where they come from, and how they stand.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, local, read};
use crate::config::Config;
use crate::operations::{Command, Output};
use crate::revocation::{Standing, Status};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Shows every CRL: where it comes from, how old it is, when it is fetched again
    Status(StatusArguments),
    /// Fetches CRLs again now
    Refresh(RefreshArguments),
    /// Takes a CRL from a file, where there is no network; a known CA must have signed it
    Import(ImportArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RefreshArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
    /// A URL, or an issuer as `status` shows it [default: all]
    #[arg(value_name = "URL|ISSUER")]
    what: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
    /// CRLs: DER, or PEM with one or several
    file: PathBuf,
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::Status(arguments) => status(&config, arguments.json, out),
        Subcommands::Refresh(arguments) => {
            let rows = changed(&config, Command::RevocationRefresh { what: arguments.what })?;
            show(
                &rows,
                arguments.json,
                "no URL is known: none stands in trust.crls, and no mail has brought one",
                out,
            )?;
            Ok(if rows.iter().all(|row| row.failures == 0) { Exit::Yes } else { Exit::No })
        }
        Subcommands::Import(arguments) => {
            let crl = data_encoding::BASE64.encode(&read::file(&arguments.file)?);
            let command = Command::RevocationImport { crl, operator: local::operator() };
            show(&changed(&config, command)?, arguments.json, "nothing was imported", out)?;
            Ok(Exit::Yes)
        }
    }
}

/// Exit code 1 if one of them can't be relied on.
fn status(config: &Config, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let rows = opened.gateway.revocation.status(crate::clock::now());
    show(&rows, json, "no CRLs: none stands in trust.crls, none was imported, and no mail has brought a URL", out)?;
    Ok(if rows.iter().all(|row| row.state == Standing::Current) { Exit::Yes } else { Exit::No })
}

fn changed(config: &Config, command: Command) -> Result<Vec<Status>, CliError> {
    let Output::Revocation { sources, warnings } = local::change(config, command)? else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    for warning in warnings {
        warning_line(&format!("warning: {warning}"));
    }
    Ok(sources)
}

fn show(rows: &[Status], json: bool, nothing: &str, out: &mut Printer) -> Result<(), CliError> {
    if json {
        for row in rows {
            out.json(row)?;
        }
        return Ok(());
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let titles = ["state", "issuer", "source", "number", "from", "until", "entries", "fetched", "next", "location"];
    out.table(&titles, &cells, nothing)?;
    for row in rows {
        if let (Some(location), Some(error)) = (&row.location, &row.last_error) {
            out.line(&format!("{location}: {error} ({} times)", row.failures))?;
        }
    }
    Ok(())
}

fn cells(row: &Status) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.state.name().to_owned(),
        text(&row.issuer),
        row.source.clone(),
        text(&row.number),
        text(&row.this_update),
        text(&row.next_update),
        row.entries.map_or_else(|| "-".to_owned(), |entries| entries.to_string()),
        text(&row.last_fetch),
        text(&row.next_refresh),
        text(&row.location),
    ]
}
