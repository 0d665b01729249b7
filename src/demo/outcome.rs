//! Plays a scenario and finds out what became of it.

use super::authority::People;
use super::folder::Folder;
use super::gateway::Gateway;
use super::letter::message_id;
use super::reading::{self, Finding};
use super::scenario::{Direction, Recipient, Scenario};
use super::sink::{Received, Sink};
use super::{DemoError, Row, failed};
use lettre::address::{Address, Envelope};
use lettre::{SmtpTransport, Transport};
use std::net::SocketAddr;
use std::time::Duration;

/// How often to look for a mail at the two places where it can be, and how long each time.
const LOOKS: u32 = 40;
const LOOK: Duration = Duration::from_millis(500);

/// Where the story plays.
pub(super) struct Stage<'a> {
    /// The gateway.
    pub(super) gateway: &'a Gateway,
    /// The government's mail server.
    pub(super) inside: &'a Sink,
    /// The Internet.
    pub(super) outside: &'a Sink,
    /// Where everything lies.
    pub(super) folder: &'a Folder,
    /// Who has a certificate.
    pub(super) people: &'a People,
}

/// Sends the mail and reports one row per recipient.
pub(super) fn play(scenario: &Scenario, stage: &Stage<'_>) -> Result<Vec<Row>, DemoError> {
    let door = match scenario.direction {
        Direction::Outgoing => stage.gateway.inside(),
        Direction::Incoming => stage.gateway.outside(),
    };
    match send(scenario, door)? {
        Reply::Refused(text) => Ok(scenario.to.iter().map(|to| row(scenario, to, refused(&text))).collect()),
        Reply::Accepted(text) => {
            scenario.to.iter().map(|to| Ok(row(scenario, to, find(scenario, to, &text, stage)?))).collect()
        }
    }
}

enum Reply {
    Accepted(String),
    Refused(String),
}

fn row(scenario: &Scenario, to: &Recipient, finding: Finding) -> Row {
    Row {
        scenario: scenario.name.to_owned(),
        direction: scenario.direction,
        from: scenario.from.to_owned(),
        to: to.address.to_owned(),
        expected: to.expected.to_owned(),
        outcome: finding.outcome.to_owned(),
        verdict: finding.verdict,
        reasons: finding.reasons,
        file: finding.file,
        about: to.about,
        why: finding.why,
    }
}

/// Sends with lettre, as any program would.
fn send(scenario: &Scenario, door: SocketAddr) -> Result<Reply, DemoError> {
    let address = |text: &str| {
        text.parse::<Address>().map_err(|error| failed(format!("use address `{text}`"), std::io::Error::other(error)))
    };
    let reverse_path = scenario.reverse_path.map(address).transpose()?;
    let recipients = scenario.to.iter().map(|to| address(to.address)).collect::<Result<Vec<_>, _>>()?;
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
fn find(scenario: &Scenario, to: &Recipient, reply: &str, stage: &Stage<'_>) -> Result<Finding, DemoError> {
    let exit = match scenario.direction {
        Direction::Outgoing => stage.outside,
        Direction::Incoming => stage.inside,
    };
    for _ in 0..LOOKS {
        if let Some(received) = exit.wait_for(&message_id(scenario.name), to.address, LOOK) {
            return delivered(scenario, to.address, &received, stage);
        }
        if let Some(id) = held(stage.gateway, reply)? {
            return quarantined(scenario, &id, stage);
        }
    }
    Err(DemoError::Lost { scenario: scenario.name.to_owned(), to: to.address.to_owned() })
}

/// Mail that left is read with its recipient's key, if he has one; mail that came in lies open where it should.
fn delivered(scenario: &Scenario, to: &str, received: &Received, stage: &Stage<'_>) -> Result<Finding, DemoError> {
    let whose = Some(to).filter(|to| scenario.direction == Direction::Outgoing && stage.people.person(to).is_ok());
    let report = stage.gateway.inspect_outside(stage.folder, received.file(), whose)?;
    let finding = reading::delivered(scenario, to, &received.content, &report, stage.people);
    Ok(Finding { file: Some(stage.folder.relative(received.file())), ..finding })
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

fn quarantined(scenario: &Scenario, id: &str, stage: &Stage<'_>) -> Result<Finding, DemoError> {
    let name = format!("quarantine/{}.eml", scenario.name);
    let original = stage.gateway.ask(&["quarantine".as_ref(), "show".as_ref(), "--original".as_ref(), id.as_ref()])?;
    stage.folder.write(&name, &original.output)?;
    let report = stage.gateway.inspect(&stage.folder.sub(&name))?;
    Ok(Finding { file: Some(name), ..reading::quarantined(&report) })
}
