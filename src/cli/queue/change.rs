//! `segel queue hold`, `release` and `delete`.

use super::super::print::{Printer, warning_line};
use super::super::{CliError, Exit, local};
use crate::config::Config;
use crate::operations::{Command, Output};
use crate::queue::{Change, Changed, Filter, RESTORED, RecipientView};

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
pub(in crate::cli) struct ReleaseArguments {
    /// For this recipient only; may be repeated [default: all to whom it applies]
    #[arg(long = "recipient", value_name = "ADDR", conflicts_with = "restored")]
    recipients: Vec<String>,
    /// All mail that is held because it came from a backup
    #[arg(long, conflicts_with = "id")]
    restored: bool,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Prints one JSON object per recipient
    #[arg(long)]
    json: bool,
    /// Queue id
    #[arg(required_unless_present = "restored")]
    id: Option<String>,
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

pub(super) fn release(config: &Config, arguments: ReleaseArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let ReleaseArguments { recipients, restored, reason, json, id } = arguments;
    let one = |id: String, recipients: Vec<String>, reason: String| Arguments { recipients, reason, json, id };
    if !restored {
        return change(config, one(id.unwrap_or_default(), recipients, reason), Change::Release, out);
    }
    let mut left = 0_usize;
    let waiting = held_by_restore(config)?;
    if waiting.is_empty() && !json {
        out.line("no mail is held because of a restore")?;
    }
    let mut rows = Vec::new();
    let mut released = Ok(());
    for (id, recipients, judged) in waiting {
        left += judged;
        if recipients.is_empty() {
            continue;
        }
        match changed(config, one(id.clone(), recipients, reason.clone()), Change::Release) {
            Ok(changes) => rows.extend(changes.into_iter().map(|change| Released { queue_id: id.clone(), change })),
            Err(error) => {
                released = Err(error);
                break;
            }
        }
    }
    // Also where one could not be released: those before it are on their way.
    if json {
        rows.iter().try_for_each(|row| out.json(row))?;
    } else if !rows.is_empty() {
        out.table(&["id", "recipient", "state", ""], &rows.iter().map(Released::row).collect::<Vec<_>>(), "")?;
    }
    released?;
    if left > 0 {
        let text = "waited for a certificate or a CRL: `segel quarantine list` shows them, `segel quarantine release` judges them again";
        warning_line(&format!("{left} recipients {text}"));
    }
    Ok(Exit::Yes)
}

/// One recipient whose restored mail goes on.
#[derive(serde::Serialize)]
struct Released {
    queue_id: String,
    #[serde(flatten)]
    change: Changed,
}

impl Released {
    fn row(&self) -> Vec<String> {
        let mut cells = vec![self.queue_id.clone()];
        cells.extend(row(&self.change));
        cells
    }
}

/// Queue id, recipients whose copy is there, and how many others have none.
type Waiting = (String, Vec<String>, usize);

fn held_by_restore(config: &Config) -> Result<Vec<Waiting>, CliError> {
    let opened = local::open(config)?;
    let page = opened.wait(opened.gateway.queue.list_at_most(Filter::Held, usize::MAX)).map_err(super::failed)?;
    let is = |one: &&RecipientView| {
        one.state == "held" && one.diagnostic.as_deref().is_some_and(|text| text.starts_with(RESTORED))
    };
    let mut waiting = Vec::new();
    for record in page.records.iter().rev() {
        let held: Vec<&RecipientView> = record.recipients.iter().filter(is).collect();
        let (copied, judged): (Vec<&RecipientView>, Vec<&RecipientView>) = held.into_iter().partition(|one| one.copied);
        if !copied.is_empty() || !judged.is_empty() {
            let addresses = copied.into_iter().map(|one| one.address.clone()).collect();
            waiting.push((record.queue_id.clone(), addresses, judged.len()));
        }
    }
    Ok(waiting)
}

pub(super) fn change(
    config: &Config,
    arguments: Arguments,
    change: Change,
    out: &mut Printer,
) -> Result<Exit, CliError> {
    let json = arguments.json;
    let recipients = changed(config, arguments, change)?;
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

fn changed(config: &Config, arguments: Arguments, change: Change) -> Result<Vec<Changed>, CliError> {
    let Arguments { recipients, reason, json: _, id } = arguments;
    let command = Command::QueueChange { id, recipients, change, operator: local::operator(), reason };
    match local::change(config, command)? {
        Output::QueueChanged { recipients } => Ok(recipients),
        _ => Err(CliError::Failed("the server gave an answer to another question".to_owned())),
    }
}

fn row(recipient: &Changed) -> Vec<String> {
    let word = match (recipient.changed, recipient.notified) {
        (true, true) => "changed; the sender is told",
        (true, false) => "changed",
        (false, _) => "as before",
    };
    vec![recipient.address.clone(), recipient.state.clone(), word.to_owned()]
}
