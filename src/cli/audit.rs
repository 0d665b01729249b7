//! `segel audit`: the log of what happened.

use super::print::Printer;
use super::{CliError, Exit, local};
use crate::config::Config;
use crate::operations::{ErrorKind, OperationError};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Recomputes every chain and checkpoint; exit code 1 if a row was changed, added or taken out
    Verify {
        /// Prints one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    let Subcommands::Verify { json } = command;
    let opened = local::open(&config)?;
    let report = opened
        .wait(opened.gateway.audit.verify())
        .map_err(|error| OperationError::from_error(ErrorKind::Store, &error))?;
    if *json {
        out.json(&report)?;
    } else {
        match &report.bad {
            None => out.line("the audit log is whole")?,
            Some(bad) => {
                out.line(&format!("THE AUDIT LOG WAS CHANGED: chain {}, row {}: {}", bad.chain, bad.seq, bad.problem))?
            }
        }
        out.labelled(
            2,
            &[
                ("rows", report.rows.to_string()),
                ("chains", report.chains.to_string()),
                ("checkpoints", report.checkpoints.to_string()),
                ("signed by", report.key.clone().unwrap_or_else(|| "no checkpoint yet".to_owned())),
            ],
        )?;
    }
    Ok(if report.bad.is_none() { Exit::Yes } else { Exit::No })
}
