//! `segel audit`: the log of what happened.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, local, read};
use crate::audit::{AuditError, Cursor, Found, Personal, Search};
use crate::config::Config;
use crate::mail::Address;
use crate::operations::{ErrorKind, OperationError};
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Recomputes every chain and checkpoint; exit code 1 if a row was changed, added or taken out
    Verify {
        /// Prints one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Shows the newest rows that fit everything that is given, oldest first
    Search(SearchArguments),
    /// Prints all rows and checkpoints as JSON lines, from which anybody can recompute the chain; personal fields stay sealed
    Export,
}

#[derive(Debug, clap::Args)]
pub(super) struct SearchArguments {
    /// The mail it is about
    #[arg(long, value_name = "ID")]
    queue_id: Option<String>,
    /// What happened: accepted, refused, held, delivered, deferred, failed, notice, key-used, key-imported,
    /// key-blocked, key-unblocked, key-destroyed, master-rotated, anchor-imported, anchor-removed, reloaded,
    /// started, stopped, damaged, backup-made, restored, expiry-told, records-removed, operator-retry, operator-held, operator-released, operator-deleted, operator-read
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Whose personal fields it holds: sender, recipient
    #[arg(long, value_name = "ADDR", value_parser = address)]
    address: Option<Address>,
    /// At this time or later: RFC 3339, or a date
    #[arg(long, value_name = "TIME", value_parser = read::time)]
    since: Option<Timestamp>,
    /// Before this time: RFC 3339, or a date
    #[arg(long, value_name = "TIME", value_parser = read::time)]
    until: Option<Timestamp>,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|_| "expected a mail address".to_owned())
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::Verify { json } => verify(&config, json, out),
        Subcommands::Search(arguments) => search(&config, arguments, out),
        Subcommands::Export => export(&config, out),
    }
}

fn failed(error: AuditError) -> OperationError {
    OperationError::from_error(ErrorKind::Store, &error)
}

fn verify(config: &Config, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let report = opened.wait(opened.gateway.audit.verify()).map_err(failed)?;
    let answer = if report.bad.is_none() { Exit::Yes } else { Exit::No };
    if json {
        out.json(&report)?;
        return Ok(answer);
    }
    match &report.bad {
        None => out.line("the audit log is whole")?,
        Some(bad) if bad.chain == "checkpoint" => {
            out.line(&format!("THE AUDIT LOG WAS CHANGED: checkpoint {}: {}", bad.seq, bad.problem))?;
        }
        Some(bad) => {
            out.line(&format!("THE AUDIT LOG WAS CHANGED: row {} of chain {}: {}", bad.seq, bad.chain, bad.problem))?;
        }
    }
    let good = if report.bad.is_none() { "" } else { " good before it" };
    out.labelled(
        2,
        &[
            ("rows", format!("{}{good}", report.rows)),
            ("chains", report.chains.to_string()),
            ("checkpoints", report.checkpoints.to_string()),
            ("signed by", report.key.clone().unwrap_or_else(|| "no checkpoint yet".to_owned())),
        ],
    )?;
    Ok(answer)
}

fn search(config: &Config, arguments: SearchArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let SearchArguments { queue_id, event, address, since, until, limit, json } = arguments;
    let what = Search { queue_id, event, address, since, until };
    let opened = local::open(config)?;
    let page = opened.wait(opened.gateway.audit.search(&what, limit)).map_err(failed)?;
    if json {
        for row in &page.rows {
            out.json(row)?;
        }
    } else {
        let rows: Vec<Vec<String>> = page.rows.iter().map(cells).collect();
        out.table(&["row", "time", "event", "queue id", "who", "details"], &rows, "no row fits")?;
    }
    if let (true, Some(first)) = (page.more, page.rows.first()) {
        // Rows of one transaction share their time: the next page begins with this one again, so that none is lost.
        let until = first.at + jiff::SignedDuration::from_micros(1);
        warning_line(&format!("these are the newest {limit}; older rows fit as well: go on with --until {until}"));
    }
    Ok(Exit::Yes)
}

fn cells(row: &Found) -> Vec<String> {
    let (who, more) = match &row.personal {
        None => (String::new(), None),
        Some(Personal::Erased) => ("erased".to_owned(), None),
        Some(Personal::Unreadable) => ("UNREADABLE".to_owned(), None),
        Some(Personal::Open(fields)) => people(fields),
    };
    let details = [Some(details(&row.public)), more].into_iter().flatten().filter(|text| !text.is_empty());
    let details = details.collect::<Vec<_>>().join(" ");
    let queue_id = row.queue_id.clone().unwrap_or_default();
    vec![row.seq.to_string(), format!("{:.0}", row.at), row.event.clone(), queue_id, who, details]
}

/// The address, and what else is personal.
fn people(fields: &Value) -> (String, Option<String>) {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let who = ["sender", "recipient", "to", "address"].into_iter().find_map(text);
    (who.unwrap_or_default(), text("message_id").map(|id| format!("message-id={id}")))
}

/// `name=value`. What is empty, nobody held, and the hash of the policy are left out: `--json` shows everything.
fn details(public: &Value) -> String {
    let Some(fields) = public.as_object() else { return public.to_string() };
    let value = |value: &Value| match value {
        Value::String(text) if text.contains(' ') => json!(text).to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    };
    let told = fields.iter().filter(|(name, field)| *name != "policy" && (*name != "held" || **field != json!(0)));
    let shown = told.map(|(name, field)| (name, value(field))).filter(|(_, text)| !text.is_empty());
    shown.map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join(" ")
}

fn export(config: &Config, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let mut next = Some(Cursor::start());
    while let Some(cursor) = next {
        let (lines, after) = opened.wait(opened.gateway.audit.export(cursor)).map_err(failed)?;
        for line in &lines {
            out.json(line)?;
        }
        next = after;
    }
    Ok(Exit::Yes)
}
