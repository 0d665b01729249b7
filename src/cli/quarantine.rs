//! `segel quarantine`: mail that is held, and what becomes of it.

use super::print::Printer;
use super::queue::{
    EvidenceArguments, ListArguments, ShowArguments, evidence, failed, say_lost, say_more, seconds, sender, show,
};
use super::{CliError, Exit, local};
use crate::clock;
use crate::config::Config;
use crate::operations::quarantine::{Choice, ReleasedRow};
use crate::operations::{Command, Output};
use crate::queue::{Filter, QueueId, RecordView};
use jiff::Timestamp;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Shows mail that is held, since when, and what it waits for
    List(ListArguments),
    /// Shows everything known of one mail, but not its content; of released mail also where it went and what came of it
    Show(ShowArguments),
    /// Writes the mail as it arrived and everything its verdict rests on; OpenSSL alone can verify it again
    Evidence(EvidenceArguments),
    /// Lets a mail out to chosen recipients, marked as what it is; whatever stands against it must be accepted by its code
    Release(ReleaseArguments),
    /// Gives a mail from inside back to its sender, with a failure notice
    Reject(EndArguments),
    /// Destroys a mail; nobody is told
    Destroy(EndArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ReleaseArguments {
    /// Queue id
    id: String,
    /// Who gets it; repeated for more
    #[arg(long = "recipient", value_name = "ADDR", conflicts_with = "all")]
    recipients: Vec<String>,
    /// Everybody whose mail is held gets it
    #[arg(long)]
    all: bool,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// A reason code that stands against the mail and that you answer for; repeated for more
    #[arg(long, value_name = "CODE")]
    accept: Vec<String>,
    /// Prints one JSON object per recipient
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EndArguments {
    /// Queue id
    id: String,
    /// Whose mail; repeated for more [default: everybody's that is held]
    #[arg(long = "recipient", value_name = "ADDR")]
    recipients: Vec<String>,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::List(arguments) => list(&config, &arguments, out),
        Subcommands::Show(arguments) => show(&config, &arguments, out),
        Subcommands::Evidence(arguments) => evidence(&config, arguments, out),
        Subcommands::Release(arguments) => release(&config, arguments, out),
        Subcommands::Reject(arguments) => {
            end(&config, arguments, |choice| Command::QuarantineReject { choice }, "given back to its sender", out)
        }
        Subcommands::Destroy(arguments) => {
            end(&config, arguments, |choice| Command::QuarantineDestroy { choice }, "destroyed", out)
        }
    }
}

fn list(config: &Config, arguments: &ListArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let page = opened.wait(opened.gateway.queue.list_at_most(Filter::Held, arguments.limit)).map_err(failed)?;
    say_more(&page);
    say_lost(opened.wait(opened.gateway.queue.counts()).map_err(failed)?.lost);
    let records = page.records;
    let now = clock::now();
    if arguments.json {
        for record in &records {
            let mut value = serde_json::to_value(record).map_err(std::io::Error::from)?;
            if let Some(object) = value.as_object_mut() {
                object.insert("age_seconds".to_owned(), age(record, now).into());
                object.insert("waits_for".to_owned(), waits_for(record, config).into());
            }
            out.json(&value)?;
        }
        return Ok(Exit::Yes);
    }
    let titles = ["id", "received", "age", "class", "waits for", "from", "to", "verdict", "reasons", "serial"];
    let rows: Vec<Vec<String>> = records.iter().map(|record| row(record, config, now)).collect();
    out.table(&titles, &rows, "no mail is held")?;
    Ok(Exit::Yes)
}

fn row(record: &RecordView, config: &Config, now: Timestamp) -> Vec<String> {
    let held = record.recipients.iter().filter(|recipient| recipient.state == "held");
    vec![
        record.queue_id.clone(),
        seconds(&record.received),
        span(age(record, now)),
        record.class.clone().unwrap_or_default(),
        waits_for(record, config),
        sender(record),
        held.map(|recipient| recipient.address.as_str()).collect::<Vec<_>>().join(","),
        record.verdict.clone(),
        record.reasons.join(","),
        record.serial.clone().unwrap_or_default(),
    ]
}

/// Seconds since it was taken.
fn age(record: &RecordView, now: Timestamp) -> i64 {
    let received = record.received.parse::<Timestamp>();
    received.map_or(0, |received| now.as_second().saturating_sub(received.as_second()).max(0))
}

/// The largest unit that fits.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Who or what ends the hold, and what happens if nothing does.
fn waits_for(record: &RecordView, config: &Config) -> String {
    let received = record.received.parse::<Timestamp>().ok();
    let until = |limit| received.and_then(|at| at.checked_add(limit).ok()).map(|at| format!("{at:.0}"));
    let classes = record.class.clone().unwrap_or_default();
    let said = classes.split(',').map(|class| match class {
        "quarantine" => "the security team".to_owned(),
        "awaiting-key" => {
            format!("a certificate, until {}", until(config.queue_expire).unwrap_or_default())
        }
        "awaiting-revocation" => {
            format!("a fresh CRL, until {}", until(config.policy.incoming.hold_for).unwrap_or_default())
        }
        "signer-revoked" => "the security team: its signer was revoked".to_owned(),
        _ => "an operator".to_owned(),
    });
    said.collect::<Vec<_>>().join("; ")
}

fn release(config: &Config, arguments: ReleaseArguments, out: &mut Printer) -> Result<Exit, CliError> {
    if arguments.recipients.is_empty() && !arguments.all {
        return Err(CliError::Usage(nobody_named(config, &arguments.id)?));
    }
    let choice = Choice {
        id: arguments.id,
        recipients: arguments.recipients,
        operator: local::operator(),
        comment: arguments.reason,
    };
    let command = Command::QuarantineRelease { choice, accept: arguments.accept };
    let Output::Released { recipients } = local::change(config, command)? else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    for ReleasedRow { recipient, queue_id, already } in &recipients {
        if arguments.json {
            out.json(&serde_json::json!({"recipient": recipient, "queue_id": queue_id, "already": already}))?;
        } else {
            let when = if *already { "was released before" } else { "released" };
            out.line(&format!("{when} to {recipient} as {queue_id}"))?;
        }
    }
    if !arguments.json
        && let Some(one) = recipients.first()
    {
        out.line(&format!("what the next hop says to it: segel queue show {}", one.queue_id))?;
    }
    Ok(Exit::Yes)
}

/// Says whose mail is held: releasing to everybody is never by accident.
fn nobody_named(config: &Config, id: &str) -> Result<String, CliError> {
    let mut text = "name who gets it with --recipient ADDR, or --all".to_owned();
    let Some(queue_id) = QueueId::parse(id) else { return Ok(text) };
    let opened = local::open(config)?;
    let shown = opened.wait(opened.gateway.queue.show(&queue_id)).map_err(failed)?;
    let held = shown.record.recipients.iter().filter(|recipient| recipient.state == "held");
    text.push_str("; held for:");
    held.for_each(|recipient| text.push_str(&format!("\n    --recipient {}", recipient.address)));
    Ok(text)
}

fn end(
    config: &Config,
    arguments: EndArguments,
    command: impl FnOnce(Choice) -> Command,
    what: &str,
    out: &mut Printer,
) -> Result<Exit, CliError> {
    let choice = Choice {
        id: arguments.id,
        recipients: arguments.recipients,
        operator: local::operator(),
        comment: arguments.reason,
    };
    let Output::Ended { recipients } = local::change(config, command(choice))? else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    if arguments.json {
        out.json(&serde_json::json!({"recipients": recipients}))?;
        return Ok(Exit::Yes);
    }
    for recipient in recipients {
        out.line(&format!("the mail for {recipient} was {what}"))?;
    }
    Ok(Exit::Yes)
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(span(seconds), expected);
        }
    }
}
