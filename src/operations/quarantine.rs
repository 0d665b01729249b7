//! What is done with held mail: released to chosen recipients, given back, destroyed.

use super::{ErrorKind, OperationError, Output, address, queue_id, with_causes};
use crate::mail::Address;
use crate::pipeline::{self, Gateway, Override, ReacceptError, ReleasedTo};
use crate::queue::{QueueError, QueueId};
use crate::reason::Reason;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whose mail, by whom and why.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Queue id.
    pub id: String,
    /// For whom; none: for everybody whose mail is held.
    pub recipients: Vec<String>,
    /// Who asks.
    pub operator: String,
    /// Why; it stands in the audit log.
    pub comment: String,
}

/// Where released mail went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleasedRow {
    /// RCPT TO.
    pub recipient: String,
    /// Id of the mail that carries it on.
    pub queue_id: String,
    /// It had been released before.
    pub already: bool,
}

/// Lets mail out. Reasons that stand against it must all be accepted.
pub(super) async fn release(
    gateway: &Arc<Gateway>,
    choice: &Choice,
    accept: &[String],
) -> Result<Output, OperationError> {
    let (id, mut over) = read(choice)?;
    for code in accept {
        let reason = Reason::from_code(code).ok_or_else(|| {
            let codes = Reason::ALL.map(Reason::code).join(", ");
            OperationError::new(ErrorKind::Input, format!("expected a reason code, found `{code}`"))
                .hint(format!("the codes are: {codes}"))
        })?;
        over.accept.push(reason);
    }
    let released = pipeline::reaccept(gateway, &id, &over).await.map_err(|error| failed(choice, &error))?;
    let row = |one: ReleasedTo| ReleasedRow {
        recipient: one.address.as_str().to_owned(),
        queue_id: one.id.to_string(),
        already: one.already,
    };
    Ok(Output::Released { recipients: released.recipients.into_iter().map(row).collect() })
}

/// Gives mail from inside back to its sender.
pub(super) async fn reject(gateway: &Gateway, choice: &Choice) -> Result<Output, OperationError> {
    let (id, over) = read(choice)?;
    ended(pipeline::reject(gateway, &id, &over).await, choice)
}

/// Destroys mail.
pub(super) async fn destroy(gateway: &Gateway, choice: &Choice) -> Result<Output, OperationError> {
    let (id, over) = read(choice)?;
    ended(pipeline::destroy(gateway, &id, &over).await, choice)
}

fn ended(result: Result<Vec<Address>, ReacceptError>, choice: &Choice) -> Result<Output, OperationError> {
    let addresses = result.map_err(|error| failed(choice, &error))?;
    Ok(Output::Ended { recipients: addresses.iter().map(|one| one.as_str().to_owned()).collect() })
}

fn read(choice: &Choice) -> Result<(QueueId, Override), OperationError> {
    let id = queue_id(&choice.id)?;
    if choice.comment.trim().is_empty() {
        return Err(OperationError::new(ErrorKind::Input, "expected a reason: it stands in the audit log"));
    }
    let recipients = choice.recipients.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let over = Override {
        recipients: (!recipients.is_empty()).then_some(recipients),
        accept: Vec::new(),
        operator: choice.operator.clone(),
        comment: choice.comment.clone(),
    };
    Ok((id, over))
}

fn failed(choice: &Choice, error: &ReacceptError) -> OperationError {
    let kind = match error {
        ReacceptError::Queue(QueueError::NotFound(_)) => ErrorKind::NotFound,
        ReacceptError::Queue(_) | ReacceptError::Undecided(_) | ReacceptError::Changed(_) => ErrorKind::Store,
        _ => ErrorKind::Input,
    };
    let failure = OperationError::new(kind, with_causes(error));
    let id = &choice.id;
    match error {
        ReacceptError::NotAccepted { all, .. } => failure.hint(format!(
            "look at it with `segel quarantine show {id}`; who answers for what was found runs:\n    {}",
            accepting(choice, all)
        )),
        ReacceptError::NoCertificate { .. } => failure.hint(
            "import a certificate of the recipient (`segel cert import`), or allow that he is written to in clear \
             (allow_downgrade in the policy file); it then leaves by itself",
        ),
        ReacceptError::FromOutside(_) => failure.hint(format!("`segel quarantine destroy {id} --reason TEXT`")),
        ReacceptError::NotARecipient(_) | ReacceptError::NotHeld { .. } | ReacceptError::NothingHeld(_) => {
            failure.hint(format!("`segel quarantine show {id}` says who its recipients are and what became of them"))
        }
        _ => failure,
    }
}

/// The command line that accepts everything found.
fn accepting(choice: &Choice, reasons: &[Reason]) -> String {
    let mut line = format!("segel quarantine release {}", choice.id);
    match choice.recipients.is_empty() {
        true => line.push_str(" --all"),
        false => choice.recipients.iter().for_each(|one| line.push_str(&format!(" --recipient {}", quoted(one)))),
    }
    line.push_str(&format!(" --reason {}", quoted(&choice.comment)));
    for reason in reasons {
        line.push_str(&format!(" --accept {reason}"));
    }
    line
}

/// As a POSIX shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "@._-+=:,/".contains(character);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, accepting};
    use crate::reason::Reason;

    #[test]
    fn p32_the_error_prints_the_command_line_to_use() {
        let mut choice = Choice {
            id: "abc".to_owned(),
            recipients: vec!["siti@own.example".to_owned(), "a b;c@own.example".to_owned()],
            operator: "op".to_owned(),
            comment: "it's asked for".to_owned(),
        };
        let reasons = [Reason::Revoked, Reason::SenderNotAuthorised];
        assert_eq!(
            accepting(&choice, &reasons),
            r"segel quarantine release abc --recipient siti@own.example --recipient 'a b;c@own.example' --reason 'it'\''s asked for' --accept revoked --accept sender-not-authorised"
        );
        choice.recipients.clear();
        assert!(accepting(&choice, &reasons).contains(" --all --reason "));
    }
}
