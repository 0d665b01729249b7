//! `segel bypass`: signing switched off for a while, in an emergency.

use super::print::Printer;
use super::{CliError, Exit, local};
use crate::bypass::Status;
use crate::config::Config;
use crate::operations::{Command, Output};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Lets mail leave unsigned for some hours; encryption stays in force
    Start(StartArguments),
    /// Ends it now
    Stop(StopArguments),
    /// Shows what is in force; exit code 0 if nothing is
    Status(StatusArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct StartArguments {
    /// It ends by itself after so many hours
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::bypass::HOURS)))]
    hours: u32,
    /// Why; it stands in the audit log, and the security team reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For this own domain alone [default: all]
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StopArguments {
    /// The one of this domain alone [default: whatever is in force]
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::Start(StartArguments { hours, reason, domain, json }) => {
            let command = Command::BypassStart { domain, hours, operator: local::operator(), reason };
            show(&changed(&config, command)?, json, out)?;
            if !json {
                out.line(
                    "Mail leaves unsigned until then. What has to be encrypted still is. `segel bypass stop` ends it.",
                )?;
            }
            Ok(Exit::Yes)
        }
        Subcommands::Stop(StopArguments { domain, json }) => {
            let command = Command::BypassStop { domain, operator: local::operator() };
            show(&changed(&config, command)?, json, out)?;
            if !json {
                out.line("Mail leaves signed again.")?;
            }
            Ok(Exit::Yes)
        }
        Subcommands::Status(StatusArguments { json }) => {
            let rows = local::open_if_there(&config)?.map(|opened| opened.gateway.bypass.list()).unwrap_or_default();
            show(&rows, json, out)?;
            Ok(if rows.is_empty() { Exit::Yes } else { Exit::No })
        }
    }
}

fn changed(config: &Config, command: Command) -> Result<Vec<Status>, CliError> {
    match local::change(config, command)? {
        Output::Bypass { bypasses } => Ok(bypasses),
        _ => Err(CliError::Failed("the server gave an answer to another question".to_owned())),
    }
}

fn show(rows: &[Status], json: bool, out: &mut Printer) -> Result<(), CliError> {
    if json {
        for row in rows {
            out.json(row)?;
        }
        return Ok(());
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let domain = row.domain.clone().unwrap_or_else(|| "all own domains".to_owned());
            let end = match (&row.ended, &row.ended_by) {
                (Some(ended), Some(by)) => format!("{ended} ({by})"),
                _ => row.until.clone(),
            };
            vec![domain, row.started.clone(), end, row.operator.clone(), row.reason.clone()]
        })
        .collect();
    out.table(
        &["domain", "since", "until", "by", "reason"],
        &cells,
        "no bypass is in force: mail is signed as configured",
    )
}
