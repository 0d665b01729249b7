//! `segel queue` and `segel quarantine`: mail on its way, and mail that is held.

mod change;

use super::print::{Printer, warning_line, wrapped};
use super::{CliError, Exit, local, read, words};
use crate::config::Config;
use crate::operations::{Command, ErrorKind, OperationError, Output, queue_id};
use crate::queue::{
    Change, EvidenceBundle, EvidenceFile, Filter, Page, QueueError, RecipientView, RecordView, ReleasedView, Shown,
};
use crate::reason::Reason;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum QueueSubcommands {
    /// Shows mail that waits for its next hop
    List(ListArguments),
    /// Shows everything known of one mail, but not its content
    Show(ShowArguments),
    /// Tries the waiting recipients of a mail again now
    Retry(RetryArguments),
    /// Keeps the waiting recipients of a mail from being tried, until they are released
    Hold(change::Arguments),
    /// Lets recipients that an operator has held go on: the same mail, tried now
    Release(change::ReleaseArguments),
    /// Ends the delivery to waiting recipients, and to those that an operator has held; the sender is not told
    Delete(change::DeleteArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
    /// Shows at most so many mails, the newest
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(super) limit: usize,
}

#[derive(Debug, clap::Args)]
pub(super) struct RetryArguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Queue id
    id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Prints the mail itself, as it arrived; the audit log notes it
    #[arg(long, conflicts_with = "json")]
    original: bool,
    /// Queue id
    id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct EvidenceArguments {
    /// The directory to make [default: evidence-ID]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Queue id
    id: String,
}

pub(super) fn queue(command: QueueSubcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        QueueSubcommands::List(arguments) => list(&config, &arguments, out),
        QueueSubcommands::Show(arguments) => show(&config, &arguments, out),
        QueueSubcommands::Retry(arguments) => retry(&config, arguments, out),
        QueueSubcommands::Hold(arguments) => change::change(&config, arguments, Change::Hold, out),
        QueueSubcommands::Release(arguments) => change::release(&config, arguments, out),
        QueueSubcommands::Delete(arguments) => change::delete(&config, arguments, out),
    }
}

pub(super) fn failed(error: QueueError) -> OperationError {
    let kind = match error {
        QueueError::NotFound(_) => ErrorKind::NotFound,
        _ => ErrorKind::Store,
    };
    OperationError::from_error(kind, &error)
}

fn list(config: &Config, arguments: &ListArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let page = opened.wait(opened.gateway.queue.list_at_most(Filter::Pending, arguments.limit)).map_err(failed)?;
    let lost = opened.wait(opened.gateway.queue.counts()).map_err(failed)?.lost;
    if arguments.json {
        for record in &page.records {
            out.json(record)?;
        }
    } else {
        let rows: Vec<Vec<String>> = page.records.iter().flat_map(pending_rows).collect();
        out.table(&["id", "received", "from", "to", "tries", "due", "next hop", "last reply"], &rows, "no mail waits")?;
    }
    say_more(&page);
    say_lost(lost);
    Ok(Exit::Yes)
}

/// What no list can show.
pub(super) fn say_lost(lost: i64) {
    if lost > 0 {
        warning_line(&format!(
            "{lost} recipients are held whose record is gone: the store was damaged, docs/backup.md says what to do"
        ));
    }
}

/// A list that ends before its end says so, and not where a program reads it.
pub(super) fn say_more(page: &Page) {
    let (shown, total) = (page.records.len(), page.total);
    if usize::try_from(total).is_ok_and(|total| total > shown) {
        warning_line(&format!("the newest {shown} of {total} mails are shown; --limit N shows more"));
    }
}

/// One row for each recipient that waits.
fn pending_rows(record: &RecordView) -> Vec<Vec<String>> {
    let row = |recipient: &RecipientView| {
        vec![
            record.queue_id.clone(),
            seconds(&record.received),
            sender(record),
            recipient.address.clone(),
            recipient.tries.to_string(),
            if recipient.leased { "now".to_owned() } else { recipient.due.as_deref().map(seconds).unwrap_or_default() },
            recipient.next_hop.clone(),
            recipient.diagnostic.clone().unwrap_or_default(),
        ]
    };
    record.recipients.iter().filter(|recipient| recipient.state == "pending").map(row).collect()
}

pub(super) fn sender(record: &RecordView) -> String {
    record.header_from.clone().or_else(|| record.reverse_path.clone()).unwrap_or_else(|| "<>".to_owned())
}

/// RFC 3339 without fractions of a second.
pub(super) fn seconds(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(|_| time.to_owned(), |time| format!("{time:.0}"))
}

pub(super) fn show(config: &Config, arguments: &ShowArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let id = queue_id(&arguments.id)?;
    let opened = local::open(config)?;
    if arguments.original {
        let original = opened.wait(opened.gateway.queue.original(&id)).map_err(failed)?;
        drop(opened);
        note(config, &arguments.id, "original")?;
        out.raw(&original)?;
        return Ok(Exit::Yes);
    }
    let shown = opened.wait(opened.gateway.queue.show(&id)).map_err(failed)?;
    if arguments.json {
        out.json(&shown)?;
    } else {
        people(&shown, out)?;
    }
    Ok(Exit::Yes)
}

fn people(shown: &Shown, out: &mut Printer) -> Result<(), CliError> {
    let record = &shown.record;
    let reasons = if record.reasons.is_empty() { String::new() } else { format!(": {}", record.reasons.join(", ")) };
    out.line(&format!("{}  {}, {}{reasons}", record.queue_id, record.direction, record.verdict))?;
    let text = |name: &str| shown.details.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let at = seconds(&record.received);
    // A notice came from nobody: the gateway has made it.
    let (origin, author) = if shown.peer.is_empty() {
        (("made", at), String::new())
    } else {
        let origin = format!("{at} from {} ({}) on {}", shown.peer, shown.helo, shown.listener);
        (("received", origin), "not exactly one mailbox".to_owned())
    };
    out.labelled(
        2,
        &[
            origin,
            ("reverse-path", record.reverse_path.clone().unwrap_or_else(|| "<>".to_owned())),
            ("From", record.header_from.clone().unwrap_or(author)),
            ("Subject", text("subject")),
            ("Message-ID", record.message_id.clone().unwrap_or_default()),
            ("size", format!("{} octets", record.size)),
            ("signer", record.signer.clone().unwrap_or_default()),
            ("serial", record.serial.clone().unwrap_or_default()),
            ("revocation", revocations(&shown.details)),
            ("rule", rules(&record.rule, &shown.details)),
            ("policy", shown.policy.clone()),
            ("RET", shown.returned.clone().unwrap_or_default()),
            ("ENVID", shown.envelope_id.clone().unwrap_or_default()),
            ("notice for", record.notice_for.clone().unwrap_or_default()),
            ("notices", shown.notices.join(", ")),
            ("released from", record.parent.clone().unwrap_or_default()),
        ],
    )?;
    out.line("")?;
    let row = |recipient: &RecipientView| {
        if let Some(released) = &recipient.released {
            let (went, proof) = (went(released), proof(released));
            return vec![recipient.address.clone(), went, recipient.next_hop.clone(), proof, asked(recipient)];
        }
        let state = match &recipient.class {
            Some(class) if recipient.state == "held" => format!("held ({class})"),
            _ => recipient.state.clone(),
        };
        let last = [recipient.status.clone(), recipient.diagnostic.clone()];
        vec![
            recipient.address.clone(),
            state,
            recipient.next_hop.clone(),
            last.into_iter().flatten().collect::<Vec<_>>().join(" "),
            asked(recipient),
        ]
    };
    out.table(
        &["recipient", "state", "next hop", "last reply", "asked for"],
        &record.recipients.iter().map(row).collect::<Vec<_>>(),
        "no recipients",
    )?;
    let reasons = record.reasons.iter().filter_map(|code| Reason::from_code(code));
    for (index, reason) in reasons.enumerate() {
        if index == 0 {
            out.line("")?;
        }
        out.labelled(0, &[(reason.code(), wrapped(&said(reason)))])?;
    }
    Ok(())
}

/// What fired for the mail, and for recipients for whom something else did.
fn rules(of_mail: &str, details: &serde_json::Value) -> String {
    let text = |one: &serde_json::Value, name: &str| one.get(name).and_then(|text| text.as_str()).map(str::to_owned);
    let each = details.get("recipients").and_then(serde_json::Value::as_array).into_iter().flatten();
    let each = each.filter_map(|one| Some((text(one, "address")?, text(one, "rule")?)));
    let other = each.filter(|(_, rule)| rule != of_mail).map(|(address, rule)| format!("{rule} (for {address})"));
    std::iter::once(of_mail.to_owned()).chain(other).collect::<Vec<_>>().join("\n")
}

/// What the sender asked for, and what he was told.
fn asked(recipient: &RecipientView) -> String {
    let asked = [
        recipient.notify.as_ref().map(|notify| format!("NOTIFY={notify}")),
        recipient.original_recipient.as_ref().map(|original| format!("ORCPT={original}")),
        recipient.warned.as_deref().map(|warned| format!("told of the delay {}", seconds(warned))),
    ];
    asked.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Where released mail went, and how it fared there.
fn went(released: &ReleasedView) -> String {
    format!("released as {}: {}", released.queue_id, released.state.as_deref().unwrap_or("no record any more"))
}

/// What the next hop said and when: the proof that it was delivered.
fn proof(released: &ReleasedView) -> String {
    let at = released.time.as_deref().map(|time| format!("at {}", seconds(time)));
    let host = released.host.as_deref().map(|host| format!("from {host}"));
    let words = [released.reply.clone(), host, at.filter(|_| released.reply.is_some())];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Meaning, and what to do.
fn said(reason: Reason) -> String {
    let (meaning, advice) = words::reason(reason);
    format!("{meaning}. {advice}")
}

/// What is known of the signers' revocation, from the report that was kept.
fn revocations(details: &serde_json::Value) -> String {
    let list = |value: &serde_json::Value, name: &str| value.get(name).and_then(serde_json::Value::as_array).cloned();
    let layers = details.get("report").and_then(|report| list(report, "layers")).unwrap_or_default();
    let signers = layers.iter().flat_map(|layer| list(layer, "signers").unwrap_or_default());
    let told = signers.filter_map(|signer| {
        let status = signer.get("revocation")?;
        let text = |name: &str| status.get(name).and_then(serde_json::Value::as_str);
        let word = text("status")?;
        let since = if word == "good" { "as of" } else { "since" };
        let time = text("time").map(|time| format!(" {since} {time}")).unwrap_or_default();
        let reason = text("reason").map(|reason| format!(", {reason}")).unwrap_or_default();
        let source = match text("source") {
            Some("crl") => " (says the CRL)",
            Some("ocsp") => " (says OCSP)",
            _ => "",
        };
        Some(format!("{word}{time}{reason}{source}"))
    });
    told.collect::<Vec<_>>().join("\n")
}

fn retry(config: &Config, arguments: RetryArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let command = Command::QueueRetry { id: arguments.id, operator: local::operator() };
    let Output::Retried { recipients } = local::change(config, command)? else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    if arguments.json {
        out.json(&serde_json::json!({"recipients": recipients}))?;
    } else {
        out.line(&match recipients {
            0 => "nobody waits: every recipient of this mail has an end, or is held".to_owned(),
            1 => "1 recipient is due now".to_owned(),
            more => format!("{more} recipients are due now"),
        })?;
    }
    Ok(if recipients > 0 { Exit::Yes } else { Exit::No })
}

pub(super) fn evidence(config: &Config, arguments: EvidenceArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let id = queue_id(&arguments.id)?;
    let bundle = {
        let opened = local::open(config)?;
        opened.wait(opened.gateway.queue.evidence(&id)).map_err(failed)?
    };
    note(config, &arguments.id, "evidence")?;
    let dir = arguments.dir.unwrap_or_else(|| PathBuf::from(format!("evidence-{}", arguments.id)));
    let files = write_bundle(&dir, &bundle)?;
    if arguments.json {
        out.json(&serde_json::json!({"dir": dir, "files": files}))?;
        return Ok(Exit::Yes);
    }
    out.line(&format!("written to {}", dir.display()))?;
    for file in &files {
        out.line(&format!("  {file}"))?;
    }
    out.line("")?;
    if is_signed(&bundle) {
        out.line("OpenSSL alone verifies it again, as of its arrival; run there:")?;
        out.line("")?;
        out.line(&format!("  {}", openssl(&bundle)))?;
        out.line("")?;
        out.line(REFUSED)?;
    } else {
        out.line(
            "Outermost there is no signature that OpenSSL could verify; record.json says what was decided and why.",
        )?;
    }
    Ok(Exit::Yes)
}

/// OpenSSL's answer about held mail is mostly an error, and that is the evidence.
const REFUSED: &str =
    "If OpenSSL refuses it, it says what the verdict rests on: `certificate revoked` for a revoked certificate.";

/// Notes in the audit log, before anything leaves the store's care, that it does.
fn note(config: &Config, id: &str, what: &str) -> Result<(), CliError> {
    let command = Command::Taken { id: id.to_owned(), operator: local::operator(), what: what.to_owned() };
    local::change(config, command).map(drop)
}

/// Files of the bundle; PEM, because OpenSSL takes several from one file only so.
fn write_bundle(dir: &Path, bundle: &EvidenceBundle) -> Result<Vec<&'static str>, CliError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| CliError::Write { path: dir.to_owned(), source })?;
    let record = serde_json::to_vec_pretty(&bundle.shown).map_err(std::io::Error::from)?;
    let mut readme = "The mail as it arrived is original.eml; record.json says what was decided and why.\n".to_owned();
    readme.push_str(&match is_signed(bundle) {
        true => format!("Verify it again with OpenSSL alone:\n\n    {}\n\n{REFUSED}\n", openssl(bundle)),
        false => "Outermost there is no signature that OpenSSL could verify.\n".to_owned(),
    });
    readme.push_str(&format!("Or with Segel, layer by layer, without its store:\n\n    {}\n", inspect(bundle)));
    let mut files =
        vec![("original.eml", bundle.original.to_vec()), ("record.json", record), ("README.txt", readme.into_bytes())];
    for (name, label, list) in [
        ("anchors.pem", "CERTIFICATE", &bundle.anchors),
        ("certificates.pem", "CERTIFICATE", &bundle.certificates),
        ("crls.pem", "X509 CRL", &bundle.crls),
    ] {
        if !list.is_empty() {
            files.push((name, list.iter().map(|file| pem(label, file)).collect::<String>().into_bytes()));
        }
    }
    // `openssl cms` has no option for CRLs: it takes them from the file that names whom it trusts.
    let trust = bundle.anchors.iter().map(|file| pem("CERTIFICATE", file));
    let trust = trust.chain(bundle.crls.iter().map(|file| pem("X509 CRL", file))).collect::<String>();
    if !trust.is_empty() {
        files.push(("trust.pem", trust.into_bytes()));
    }
    for (name, content) in &files {
        read::write(&dir.join(name), content)?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// RFC 7468: 64 characters to the line.
fn pem(label: &str, file: &EvidenceFile) -> String {
    let base64 = data_encoding::BASE64.encode(&file.der);
    let lines: Vec<String> =
        base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Whether the outermost layer is a signed one: of another OpenSSL's `cms -verify` can say nothing.
fn is_signed(bundle: &EvidenceBundle) -> bool {
    let kind = bundle.shown.details.pointer("/report/layers/0/kind").and_then(serde_json::Value::as_str);
    kind.is_some_and(|kind| kind.starts_with("signed-"))
}

/// The command line that comes to the same verdict again. (Mail that was opened with a key of the gateway stays closed.)
fn inspect(bundle: &EvidenceBundle) -> String {
    let mut command = format!("segel inspect --revocation hard-fail --at {}", bundle.shown.record.received);
    for (list, option) in [
        (&bundle.anchors, " --trust anchors.pem"),
        (&bundle.certificates, " --untrusted certificates.pem"),
        (&bundle.crls, " --crl crls.pem"),
    ] {
        if !list.is_empty() {
            command.push_str(option);
        }
    }
    command.push_str(" original.eml");
    command
}

/// The command line that verifies the bundle; as of the time of arrival.
fn openssl(bundle: &EvidenceBundle) -> String {
    let mut command = "openssl cms -verify -in original.eml -purpose any -out signed-content".to_owned();
    if let Ok(received) = bundle.shown.record.received.parse::<jiff::Timestamp>() {
        command.push_str(&format!(" -attime {}", received.as_second()));
    }
    for (list, option) in [
        (&bundle.anchors, " -CAfile trust.pem -partial_chain"),
        (&bundle.certificates, " -certfile certificates.pem"),
        (&bundle.crls, " -crl_check"),
    ] {
        if !list.is_empty() {
            command.push_str(option);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::is_signed;
    use crate::queue::{EvidenceBundle, RecordView, Shown};

    fn bundle(details: serde_json::Value) -> EvidenceBundle {
        let record = RecordView {
            queue_id: String::new(),
            received: String::new(),
            direction: "outgoing".to_owned(),
            reverse_path: None,
            header_from: None,
            message_id: None,
            class: None,
            verdict: "none".to_owned(),
            reasons: Vec::new(),
            signer: None,
            serial: None,
            size: 0,
            rule: String::new(),
            notice_for: None,
            parent: None,
            recipients: Vec::new(),
        };
        let empty = String::new;
        let shown = Shown {
            record,
            listener: empty(),
            peer: empty(),
            helo: empty(),
            policy: empty(),
            returned: None,
            envelope_id: None,
            notices: Vec::new(),
            details,
        };
        EvidenceBundle {
            original: bytes::Bytes::new(),
            shown,
            certificates: Vec::new(),
            anchors: Vec::new(),
            crls: Vec::new(),
        }
    }

    #[test]
    fn openssl_verifies_only_what_is_signed_outermost() {
        for (layers, expected) in [
            (serde_json::json!([]), false),
            (serde_json::json!([{"kind": "signed-detached"}]), true),
            (serde_json::json!([{"kind": "signed-opaque"}, {"kind": "enveloped"}]), true),
            (serde_json::json!([{"kind": "auth-enveloped"}, {"kind": "signed-detached"}]), false),
        ] {
            let details = serde_json::json!({"report": {"layers": layers.clone()}});
            assert_eq!(is_signed(&bundle(details)), expected, "{layers}");
        }
        assert!(!is_signed(&bundle(serde_json::Value::Null)));
    }
}
