//! `segel explain`: what would happen to a mail, for whom, with which key, and why. A dry run.

use super::print::{Printer, wrapped};
use super::{CliError, Exit, local, read, words};
use crate::config::Config;
use crate::mail::{Address, ReversePath};
use crate::pipeline::explain::{ExplainRequest, ExplainedFacts, ExplainedRecipient, Explanation, MissedRule, explain};
use crate::policy::Side;
use crate::reason::Reason;
use bytes::Bytes;
use clap::ValueEnum;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The reverse-path, and the address in From where no message is given; "<>" for that of a bounce
    #[arg(long, value_name = "ADDR", value_parser = reverse_path)]
    from: ReversePath,
    /// A recipient; repeat it for more
    #[arg(long, value_name = "ADDR", value_parser = address, required = true)]
    to: Vec<Address>,
    /// The side that it would come from [default: inside if --from is in an own domain; for a bounce, outside if all
    /// recipients are]
    #[arg(long, value_name = "SIDE")]
    side: Option<FromSide>,
    /// The address of the server that sends it, for SPF and DMARC [default: this machine, from which they are not asked]
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", hide_default_value = true)]
    client: IpAddr,
    /// Who has authenticated
    #[arg(long, value_name = "NAME")]
    login: Option<String>,
    /// The subject, to see what a tag does
    #[arg(long, value_name = "TEXT", conflicts_with = "message")]
    subject: Option<String>,
    /// A field, such as "X-Encrypt: yes"; repeat it for more
    #[arg(long, value_name = "FIELD", value_parser = field, conflicts_with = "message")]
    header: Vec<String>,
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

fn reverse_path(text: &str) -> Result<ReversePath, String> {
    match text.trim() {
        "" | "<>" => Ok(ReversePath::Null),
        text => address(text).map(ReversePath::Mailbox),
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|_| "expected a mail address such as siti@kabupaten.go.id".to_owned())
}

fn field(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic()) && one_line(text) => {
            Ok(text.to_owned())
        }
        _ => Err("expected a name, a colon and a value".to_owned()),
    }
}

fn one_line(text: &str) -> bool {
    !text.contains(['\r', '\n'])
}

/// An error and its causes.
fn reasons(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Exit code 1 where the mail would not be taken, or one of its recipients not.
pub(super) fn run(arguments: &Arguments, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    let own = |address: &Address| config.policy.domain(address.domain()).is_some();
    let side = match (arguments.side, arguments.from.mailbox()) {
        (Some(FromSide::Inside), _) => Side::Inside,
        (Some(FromSide::Outside), _) => Side::Outside,
        (None, Some(from)) if own(from) => Side::Inside,
        (None, None) if !arguments.to.iter().all(own) => Side::Inside,
        (None, _) => Side::Outside,
    };
    let message = arguments.message.as_deref().map(read::message).transpose()?.map(Bytes::from);
    let subject = arguments.subject.iter().map(|text| format!("Subject: {text}"));
    let fields: Vec<String> = subject.chain(arguments.header.iter().cloned()).collect();
    if !fields.iter().all(|line| one_line(line)) {
        return Err(CliError::Usage("expected a subject of one line".to_owned()));
    }
    let (from, to, login) = (arguments.from.clone(), arguments.to.clone(), arguments.login.clone());
    let request = ExplainRequest { from, to, side, client: arguments.client, login, fields, message };
    let opened = local::open(&config)?;
    let snapshot = opened.gateway.snapshot();
    let explanation = opened
        .wait(explain(&opened.gateway, &snapshot, request, crate::clock::now()))
        .map_err(|error| CliError::Failed(format!("this mail can't be explained: {}", reasons(&error))))?;
    if arguments.json {
        out.json(&explanation)?;
    } else {
        people(&explanation, out)?;
    }
    let all = explanation.recipients.iter().all(|one| one.reply.is_none());
    Ok(if explanation.decision == "accept" && all { Exit::Yes } else { Exit::No })
}

fn people(explanation: &Explanation, out: &mut Printer) -> Result<(), CliError> {
    out.line(&format!("{}: {}", explanation.decision.to_uppercase(), explanation.rule))?;
    let mut rows = vec![("why", wrapped(explanation.why)), ("reply", explanation.reply.clone().unwrap_or_default())];
    if let Some(seen) = &explanation.facts {
        rows.extend(facts(seen));
    }
    rows.push(("found", explanation.reasons.join(", ")));
    out.labelled(2, &rows)?;
    keys(explanation, out)?;
    for one in &explanation.recipients {
        out.line("")?;
        recipient(one, explanation, out)?;
    }
    Ok(())
}

const UNCLEAR: &str = "not all of Subject can be read: every tag counts for rules that require encryption";

fn facts(seen: &ExplainedFacts) -> Vec<(&'static str, String)> {
    let from = match (&seen.from, seen.own_domain) {
        (Some(from), true) => format!("{from} (own domain)"),
        (Some(from), false) => format!("{from} (foreign)"),
        (None, _) => "not exactly one mailbox".to_owned(),
    };
    let path = if seen.reverse_path.is_empty() { "<>".to_owned() } else { seen.reverse_path.clone() };
    let inside = seen.side == Side::Inside.name();
    let vouched = seen.vouched_by.unwrap_or("nothing");
    let fields: Vec<String> = seen.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    vec![
        ("from side", seen.side.to_owned()),
        ("From", from),
        ("MAIL FROM", path),
        ("login", seen.login.clone().unwrap_or_default()),
        ("vouched by", if inside && seen.own_domain { vouched.to_owned() } else { String::new() }),
        ("Subject", seen.subject.clone().unwrap_or_default()),
        ("unclear", if seen.subject_unclear { UNCLEAR.to_owned() } else { String::new() }),
        ("fields", fields.join("\n")),
        ("encrypted", if seen.already_encrypted { "already".to_owned() } else { String::new() }),
        ("bypass", seen.bypass_until.as_ref().map(|until| format!("in force until {until}")).unwrap_or_default()),
        ("checked", seen.authentication.join("\n")),
    ]
}

/// Own certificates: the one that signs, and what stands against the others.
fn keys(explanation: &Explanation, out: &mut Printer) -> Result<(), CliError> {
    if explanation.keys.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.line("keys of the sender, best first:")?;
    for key in &explanation.keys {
        let standing = if key.chosen { "signs" } else { key.standing.as_str() };
        certificate(
            &key.id,
            &format!("{standing} ({})", key.kind),
            &key.subject,
            &key.issuer,
            &key.until,
            &key.reasons,
            out,
        )?;
    }
    Ok(())
}

fn certificate(
    id: &str,
    standing: &str,
    subject: &str,
    issuer: &str,
    until: &str,
    reasons: &[Reason],
    out: &mut Printer,
) -> Result<(), CliError> {
    out.line(&format!("  {} {standing}", id.get(..16).unwrap_or(id)))?;
    let reasons: Vec<String> = reasons
        .iter()
        .map(|reason| {
            let (meaning, advice) = words::reason(*reason);
            wrapped(&format!("{reason}: {meaning}. {advice}"))
        })
        .collect();
    let rows = [
        ("subject", subject.to_owned()),
        ("issuer", issuer.to_owned()),
        ("until", until.to_owned()),
        ("against", reasons.join("\n")),
    ];
    out.labelled(4, &rows)
}

fn recipient(one: &ExplainedRecipient, explanation: &Explanation, out: &mut Printer) -> Result<(), CliError> {
    let mut what = vec![one.treatment.clone()];
    if explanation.facts.as_ref().is_some_and(|seen| seen.side == Side::Inside.name()) && one.treatment == "deliver" {
        what.push(match one.form {
            Some("opaque") => "signed (opaque)".to_owned(),
            Some(_) => "signed".to_owned(),
            None => "not signed".to_owned(),
        });
        what.push(if one.encrypted { "encrypted" } else { "in clear" }.to_owned());
    }
    out.line(&format!("to {}: {}", one.address, what.join(", ")))?;
    let decided = match (&one.rules, one.why) {
        (Some(rules), _) if rules.fired.as_deref() == Some(one.rule.as_str()) => format!("rule `{}`", one.rule),
        (_, "") => one.rule.clone(),
        (_, why) => format!("{}: {why}", one.rule),
    };
    let mut rows = vec![("decided by", wrapped(&decided)), ("reply", one.reply.clone().unwrap_or_default())];
    if let Some(rules) = &one.rules {
        // Rules for the other side are never asked.
        let missed: Vec<String> = rules.missed.iter().filter(|one| one.condition != "side").map(missed).collect();
        let none = if missed.is_empty() { String::new() } else { "none holds".to_owned() };
        rows.push(("rule", rules.fired.as_ref().map_or(none, |rule| format!("`{rule}` holds"))));
        let from = |key| if rules.by_rule.contains(&key) { "the rule" } else { "the domain" };
        let wants = [("sign", rules.sign), ("encrypt", rules.encrypt)];
        let wants = wants.iter().filter_map(|(key, value)| Some(format!("{key} {} ({})", (*value)?, from(key))));
        rows.push(("wanted", wants.collect::<Vec<_>>().join(", ")));
        rows.push(("found", rules.reasons.join(", ")));
        rows.push(("not met", missed.join("\n")));
    }
    let his = || explanation.certificates.iter().filter(|known| known.address == one.address);
    let asks = one.rules.as_ref().is_some_and(|rules| matches!(rules.encrypt, Some("required" | "when-possible")));
    if asks && his().next().is_none() {
        rows.push((
            "certificate",
            "none is known: `segel cert import`, or signed mail from there, makes one known".to_owned(),
        ));
    }
    rows.push(("next hop", one.next_hop.clone()));
    out.labelled(2, &rows)?;
    if his().next().is_some() {
        out.line("  certificates, best first:")?;
    }
    for known in his() {
        certificate(&known.id, &known.standing, &known.subject, &known.issuer, &known.until, &known.reasons, out)?;
    }
    Ok(())
}

fn missed(missed: &MissedRule) -> String {
    let found = if missed.found.is_empty() { "nothing" } else { missed.found.as_str() };
    format!("`{}`: {} is {}, here {found}", missed.rule, missed.condition, missed.expected)
}
