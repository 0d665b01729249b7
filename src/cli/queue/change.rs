//! `segel queue hold`, `release` and `delete`.

use super::super::print::Printer;
use super::super::{CliError, Exit, local};
use crate::config::Config;
use crate::operations::{Command, Output};
use crate::queue::{Change, Changed};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// For this recipient only; may be repeated [default: all to whom it applies]
    #[arg(long = "recipient", value_name = "ADDR")]
    recipients: Vec<String>,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Prints one JSON object per recipient
    #[arg(long)]
    json: bool,
    /// Queue id
    id: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DeleteArguments {
    #[command(flatten)]
    common: Arguments,
    /// Tells the sender that the mail was not delivered
    #[arg(long)]
    notify: bool,
}

pub(super) fn delete(config: &Config, arguments: DeleteArguments, out: &mut Printer) -> Result<Exit, CliError> {
    change(config, arguments.common, Change::Delete { notify: arguments.notify }, out)
}

pub(super) fn change(
    config: &Config,
    arguments: Arguments,
    change: Change,
    out: &mut Printer,
) -> Result<Exit, CliError> {
    let Arguments { recipients, reason, json, id } = arguments;
    let command = Command::QueueChange { id, recipients, change, operator: local::operator(), reason };
    let Output::QueueChanged { recipients } = local::change(config, command)? else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    if json {
        for recipient in &recipients {
            out.json(recipient)?;
        }
        return Ok(Exit::Yes);
    }
    out.table(&["recipient", "state", ""], &recipients.iter().map(row).collect::<Vec<_>>(), "no recipients")?;
    if !recipients.iter().any(|recipient| recipient.changed) {
        out.line("nothing was changed: it was so already")?;
    }
    Ok(Exit::Yes)
}

fn row(recipient: &Changed) -> Vec<String> {
    let word = match (recipient.changed, recipient.notified) {
        (true, true) => "changed; the sender is told",
        (true, false) => "changed",
        (false, _) => "as before",
    };
    vec![recipient.address.clone(), recipient.state.clone(), word.to_owned()]
}
