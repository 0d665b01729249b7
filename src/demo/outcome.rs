//! Plays a scenario and reads the outcome off what arrived.

use super::folder::Folder;
use super::gateway::Gateway;
use super::letter::message_id;
use super::scenario::{Direction, Scenario};
use super::sink::{Sink, header};
use super::{DemoError, Row, failed};
use lettre::address::{Address, Envelope};
use lettre::{SmtpTransport, Transport};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// How often to look for a mail at the two places where it can be, and how long each time.
const LOOKS: u32 = 40;
const LOOK: Duration = Duration::from_millis(500);

/// Sends the mail and reports one row per recipient.
pub(super) fn play(
    scenario: &Scenario,
    gateway: &Gateway,
    inside: &Sink,
    outside: &Sink,
    folder: &Folder,
) -> Result<Vec<Row>, DemoError> {
    let (door, exit) = match scenario.direction {
        Direction::Outgoing => (gateway.inside(), outside),
        Direction::Incoming => (gateway.outside(), inside),
    };
    match send(scenario, door)? {
        Reply::Refused(text) => Ok(scenario.to.iter().map(|to| row(scenario, to, refused(&text))).collect()),
        Reply::Accepted(text) => scenario
            .to
            .iter()
            .map(|to| Ok(row(scenario, to, find(scenario, to, &text, gateway, exit, folder)?)))
            .collect(),
    }
}

enum Reply {
    Accepted(String),
    Refused(String),
}

/// What became of the mail for one recipient.
struct Finding {
    outcome: &'static str,
    verdict: Option<String>,
    reasons: Vec<String>,
    file: Option<String>,
    why: String,
}

fn row(scenario: &Scenario, to: &str, finding: Finding) -> Row {
    Row {
        scenario: scenario.name.to_owned(),
        direction: scenario.direction,
        from: scenario.from.to_owned(),
        to: to.to_owned(),
        expected: scenario.expected.to_owned(),
        outcome: finding.outcome.to_owned(),
        verdict: finding.verdict,
        reasons: finding.reasons,
        file: finding.file,
        about: scenario.about,
        why: finding.why,
    }
}

/// Sends with lettre, as any program would.
fn send(scenario: &Scenario, door: SocketAddr) -> Result<Reply, DemoError> {
    let address = |text: &str| {
        text.parse::<Address>().map_err(|error| failed(format!("use address `{text}`"), std::io::Error::other(error)))
    };
    let reverse_path = scenario.reverse_path.map(address).transpose()?;
    let recipients = scenario.to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(reverse_path, recipients)
        .map_err(|error| failed("make the envelope", std::io::Error::other(error)))?;
    let client = SmtpTransport::builder_dangerous(door.ip().to_string()).port(door.port()).build();
    // lettre puts a line end before the final dot by itself.
    let content = scenario.content.strip_suffix(b"\r\n").unwrap_or(&scenario.content);
    match client.send_raw(&envelope, content) {
        Ok(response) => Ok(Reply::Accepted(response.message().collect::<Vec<_>>().join(" "))),
        Err(error) => match error.status() {
            Some(code) => Ok(Reply::Refused(format!("{code} {}", reply_text(&error)))),
            None => Err(DemoError::Client { scenario: scenario.name.to_owned(), source: error }),
        },
    }
}

/// The server's words in the client's error.
fn reply_text(error: &lettre::transport::smtp::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn refused(reply: &str) -> Finding {
    Finding { outcome: "refused", verdict: None, reasons: Vec::new(), file: None, why: reply.to_owned() }
}

/// Looks where mail arrives and where it is held, until it is found.
fn find(
    scenario: &Scenario,
    to: &str,
    reply: &str,
    gateway: &Gateway,
    exit: &Sink,
    folder: &Folder,
) -> Result<Finding, DemoError> {
    for _ in 0..LOOKS {
        if let Some(received) = exit.wait_for(&message_id(scenario.name), to, LOOK) {
            let report = inspect(gateway, received.file())?;
            return Ok(delivered(scenario, &received.content, &report, folder.relative(received.file())));
        }
        if let Some(id) = held(gateway, reply)? {
            return quarantined(scenario, &id, gateway, folder);
        }
    }
    Err(DemoError::Lost { scenario: scenario.name.to_owned(), to: to.to_owned() })
}

/// What `segel inspect` says of a file.
fn inspect(gateway: &Gateway, file: &std::path::Path) -> Result<Value, DemoError> {
    let answer = gateway.ask(&["inspect".as_ref(), "--json".as_ref(), file.as_os_str()])?;
    serde_json::from_slice(&answer.output)
        .map_err(|error| DemoError::Command { command: "inspect --json".to_owned(), output: error.to_string() })
}

fn delivered(scenario: &Scenario, arrived: &[u8], report: &Value, file: String) -> Finding {
    let says = |key: &str| report.get(key).and_then(Value::as_bool) == Some(true);
    let verdict = text(report, "verdict");
    let outcome = match scenario.direction {
        Direction::Outgoing if below_trace(arrived, &scenario.content) => {
            if says("signed") || says("encrypted") {
                "unchanged"
            } else {
                "plain"
            }
        }
        Direction::Outgoing if says("encrypted") => "encrypted",
        Direction::Outgoing if says("signed") => {
            if verdict == "valid" {
                "signed"
            } else {
                "marked"
            }
        }
        Direction::Outgoing => "plain",
        Direction::Incoming => marking(&header(arrived, "segel-verdict").unwrap_or_default()),
    };
    let reasons = reasons(report);
    let why = match (outcome, signer(report)) {
        ("unchanged", _) => format!("not an octet differs from what was sent; {verdict}"),
        ("plain", _) if scenario.reverse_path.is_none() => "notices of machines pass unsigned".to_owned(),
        ("plain", _) => "there is no signature to judge".to_owned(),
        ("signed" | "verified", Some(signer)) => format!("{verdict}: {signer}"),
        _ => format!("{verdict}: {}", reasons.join(", ")),
    };
    Finding { outcome, verdict: Some(verdict), reasons, file: Some(file), why }
}

/// The outcome that the gateway's own mark stands for.
fn marking(mark: &str) -> &'static str {
    let (verdict, items) = mark.split_once(';').unwrap_or((mark, ""));
    match verdict.trim() {
        "valid" if items.contains("encrypted=yes") => "decrypted",
        "valid" => "verified",
        "none" | "" => "plain",
        _ => "marked",
    }
}

/// Whether `arrived` is `sent` below trace fields and nothing else.
fn below_trace(arrived: &[u8], sent: &[u8]) -> bool {
    arrived.strip_suffix(sent).is_some_and(|above| {
        String::from_utf8_lossy(above)
            .lines()
            .all(|line| line.starts_with("Received:") || line.starts_with([' ', '\t']))
    })
}

/// The queue id, if the mail that was accepted with `reply` is held.
fn held(gateway: &Gateway, reply: &str) -> Result<Option<String>, DemoError> {
    let list = gateway.ask(&["quarantine".as_ref(), "list".as_ref(), "--json".as_ref()])?;
    let list = String::from_utf8_lossy(&list.output);
    Ok(reply
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| word.len() >= 12)
        .find(|id| list.lines().any(|line| line.contains(&format!("\"{id}\""))))
        .map(str::to_owned))
}

fn quarantined(scenario: &Scenario, id: &str, gateway: &Gateway, folder: &Folder) -> Result<Finding, DemoError> {
    let name = format!("quarantine/{}.eml", scenario.name);
    let original = gateway.ask(&["quarantine".as_ref(), "show".as_ref(), "--original".as_ref(), id.as_ref()])?;
    folder.write(&name, &original.output)?;
    let report = inspect(gateway, &folder.sub(&name))?;
    let reasons = reasons(&report);
    let why = format!("{}: {}; held with the evidence", text(&report, "verdict"), reasons.join(", "));
    Ok(Finding { outcome: "quarantined", verdict: Some(text(&report, "verdict")), reasons, file: Some(name), why })
}

fn text(report: &Value, key: &str) -> String {
    report.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn reasons(report: &Value) -> Vec<String> {
    let list = report.get("reasons").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Who signed, with what, in a few words.
fn signer(report: &Value) -> Option<String> {
    let signer = report.pointer("/layers/0/signers/0")?;
    let word = |key: &str| signer.get(key).and_then(Value::as_str).unwrap_or("?");
    Some(format!("signed by {} ({}, {})", word("address"), word("signature"), word("digest")))
}

#[cfg(test)]
mod tests {
    use super::{below_trace, marking};

    #[test]
    fn marks_are_read() {
        let cases = [
            ("valid; signer=\"a@b\"; id=x; by=y", "verified"),
            ("valid; encrypted=yes; id=x", "decrypted"),
            ("invalid; reasons=altered", "marked"),
            ("indeterminate; reasons=untrusted", "marked"),
            ("none; id=x", "plain"),
            ("", "plain"),
        ];
        for (mark, outcome) in cases {
            assert_eq!(marking(mark), outcome, "{mark}");
        }
    }

    #[test]
    fn only_trace_fields_may_stand_above_unchanged_mail() {
        let cases: [(&[u8], bool); 4] = [
            (b"Received: from a\r\n\tby b\r\nFrom: c\r\n\r\nd", true),
            (b"From: c\r\n\r\nd", true),
            (b"X-Added: a\r\nFrom: c\r\n\r\nd", false),
            (b"Received: from a\r\nFrom: c\r\n\r\ne", false),
        ];
        for (arrived, unchanged) in cases {
            assert_eq!(below_trace(arrived, b"From: c\r\n\r\nd"), unchanged);
        }
    }
}
