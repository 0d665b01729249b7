//! Mail on its way: held, let go, deleted.

use super::{ErrorKind, OperationError, Output, address, queue_id};
use crate::pipeline::Gateway;
use crate::queue::{Change, ChangeError, OperatorRequest, QueueError};

/// Characters of a reason. It stands in the audit log for good.
const REASON: usize = 1000;

/// # Errors
/// Nothing was changed.
pub(super) async fn change(
    gateway: &Gateway,
    id: &str,
    recipients: &[String],
    change: Change,
    operator: String,
    reason: String,
) -> Result<Output, OperationError> {
    let reason = checked_reason(&reason)?;
    let recipients = recipients.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let request = OperatorRequest { id: queue_id(id)?, recipients, change, operator, reason };
    let recipients = gateway.queue.change(&request).await.map_err(failed)?;
    Ok(Output::QueueChanged { recipients })
}

/// A reason that somebody can read later.
pub(super) fn checked_reason(reason: &str) -> Result<String, OperationError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON {
        let message = format!("expected a reason of 1 to {REASON} characters");
        return Err(OperationError::new(ErrorKind::Input, message).hint("it stands in the audit log"));
    }
    if reason.chars().any(char::is_control) {
        let message = "expected a reason of one line, found control characters";
        return Err(OperationError::new(ErrorKind::Input, message).hint("it stands in the log and in the audit log"));
    }
    Ok(reason.to_owned())
}

fn failed(error: ChangeError) -> OperationError {
    let kind = match &error {
        ChangeError::Queue(QueueError::NotFound(_)) | ChangeError::NotRecipient(_) => ErrorKind::NotFound,
        ChangeError::Queue(_) => ErrorKind::Store,
        ChangeError::Busy(_) | ChangeError::NotPossible { .. } => ErrorKind::Input,
    };
    let failure = OperationError::from_error(kind, &error);
    match error {
        ChangeError::Busy(_) => {
            failure.hint("try again in a minute; `segel queue show` says when the delivery has ended")
        }
        ChangeError::NotRecipient(_) => failure.hint("`segel queue show` names the recipients"),
        _ => failure,
    }
}
