//! `segel explain`: what would happen to a mail, for whom, with which key, and why. A dry run.

use super::print::{Printer, wrapped};
use super::{CliError, Exit, local, read};
use crate::config::Config;
use crate::mail::Address;
use crate::pipeline::explain::{ExplainRequest, Explanation, explain};
use crate::policy::Side;
use bytes::Bytes;
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The reverse-path, and the address in From where no message is given
    #[arg(long, value_name = "ADDR", value_parser = address)]
    from: Address,
    /// A recipient; repeat it for more
    #[arg(long, value_name = "ADDR", value_parser = address, required = true)]
    to: Vec<Address>,
    /// The side that it would come from [default: inside if --from is in an own domain]
    #[arg(long, value_name = "SIDE")]
    side: Option<FromSide>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// A message to explain; without one, a plain text
    message: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FromSide {
    Inside,
    Outside,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|_| "expected a mail address such as siti@kabupaten.go.id".to_owned())
}

/// Exit code 1 where the mail would not be taken.
pub(super) fn run(arguments: &Arguments, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    let side = match arguments.side {
        Some(FromSide::Inside) => Side::Inside,
        Some(FromSide::Outside) => Side::Outside,
        None if config.policy.domain(arguments.from.domain()).is_some() => Side::Inside,
        None => Side::Outside,
    };
    let message = arguments.message.as_deref().map(read::message).transpose()?.map(Bytes::from);
    let request = ExplainRequest { from: arguments.from.clone(), to: arguments.to.clone(), side, message };
    let opened = local::open(&config)?;
    let snapshot = opened.gateway.snapshot();
    let explanation = opened
        .wait(explain(&opened.gateway, &snapshot, request, crate::clock::now()))
        .map_err(|error| CliError::Start(Box::new(error)))?;
    if arguments.json {
        out.json(&explanation)?;
    } else {
        people(&explanation, side, out)?;
    }
    Ok(if explanation.decision == "accept" { Exit::Yes } else { Exit::No })
}

fn people(explanation: &Explanation, side: Side, out: &mut Printer) -> Result<(), CliError> {
    let side = match side {
        Side::Inside => "inside",
        Side::Outside => "outside",
    };
    out.line(&format!("{}: {}", explanation.decision.to_uppercase(), explanation.rule))?;
    out.labelled(
        2,
        &[
            ("why", wrapped(explanation.why)),
            ("from side", side.to_owned()),
            ("found", explanation.reasons.join(", ")),
            ("reply", explanation.reply.clone().unwrap_or_default()),
            ("signed with", explanation.key.clone().unwrap_or_default()),
        ],
    )?;
    out.line("")?;
    let recipients: Vec<Vec<String>> = explanation
        .recipients
        .iter()
        .map(|recipient| {
            let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
            vec![
                recipient.address.clone(),
                recipient.treatment.clone(),
                word(recipient.signed),
                word(recipient.encrypted),
                recipient.rule.clone(),
                recipient.next_hop.clone(),
            ]
        })
        .collect();
    let columns = ["recipient", "treatment", "signed", "encrypted", "rule", "next hop"];
    out.table(&columns, &recipients, "no recipients")?;
    if !explanation.keys.is_empty() {
        out.line("")?;
        let row = |key: &crate::pipeline::explain::ExplainedKey| {
            vec![key.id.clone(), key.kind.to_owned(), key.standing.clone(), key.subject.clone()]
        };
        let keys: Vec<Vec<String>> = explanation.keys.iter().map(row).collect();
        out.table(&["key", "kind", "standing", "subject"], &keys, "")?;
    }
    if !explanation.certificates.is_empty() {
        out.line("")?;
        let row = |certificate: &crate::pipeline::explain::ExplainedCertificate| {
            let (address, id) = (certificate.address.clone(), certificate.id.clone());
            vec![address, id, certificate.standing.clone(), certificate.subject.clone()]
        };
        let certificates: Vec<Vec<String>> = explanation.certificates.iter().map(row).collect();
        out.table(&["certificate for", "id", "standing", "subject"], &certificates, "")?;
    }
    Ok(())
}
