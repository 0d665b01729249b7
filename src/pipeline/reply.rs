//! The one place where an outcome becomes an SMTP reply.
//!
//! The peer reads what it can act on and nothing about the configuration; the rest is the log's.

use super::AcceptError;
use crate::policy::{Refusal, RefusalKind};
use crate::queue::{QueueError, QueueId};
use crate::reason::Reason;
use crate::smtp::Reply;

/// The promise.
pub fn accepted(id: &QueueId) -> Reply {
    Reply::new(250, 0, 0, format!("queued as {id}"))
}

/// What the peer hears when its message was not taken.
pub fn of(error: &AcceptError) -> Reply {
    match error {
        AcceptError::Refused(refusal) => refused(refusal),
        AcceptError::Deferred(refusal) => deferred(refusal),
        AcceptError::Looping { .. } => Reply::new(554, 4, 6, "too many hops, this mail is looping"),
        AcceptError::Deadline => Reply::new(451, 3, 2, "not finished in time, try again later"),
        AcceptError::Plan(_) | AcceptError::Signing(_) => Reply::new(451, 7, 5, "cannot sign now, try again later"),
        AcceptError::Queue(error) => unstored(error),
        AcceptError::Worker | AcceptError::Rounds => Reply::new(451, 3, 0, "internal error, try again later"),
    }
}

/// What the peer hears for a refusal; also at RCPT.
pub fn refused(refusal: &Refusal) -> Reply {
    let who = addresses(refusal);
    match refusal.kind {
        RefusalKind::AmbiguousSender => Reply::new(550, 6, 0, "From must hold exactly one mailbox"),
        RefusalKind::SenderNotAuthorised => Reply::new(550, 7, 1, format!("not authorised to send as{who}")),
        RefusalKind::NoSigningKey => Reply::new(550, 7, 1, format!("no usable signing certificate for{who}")),
        RefusalKind::Malformed => Reply::new(550, 6, 0, "the structure of this mail cannot be signed"),
        RefusalKind::RelayDenied => Reply::new(550, 7, 1, format!("relaying denied for{who}")),
        RefusalKind::Rejected(reason) => rejected(reason, &who),
        RefusalKind::OwnStatusUnknown | RefusalKind::RevocationUnknown => deferred(refusal),
    }
}

fn deferred(refusal: &Refusal) -> Reply {
    let who = addresses(refusal);
    match refusal.kind {
        RefusalKind::OwnStatusUnknown => {
            Reply::new(451, 7, 5, format!("certificate status cannot be established now for{who}"))
        }
        _ => Reply::new(451, 7, 5, format!("signer's certificate status cannot be established now, for{who}")),
    }
}

/// RFC 3463 section 3.8 has a code for what failed.
fn rejected(reason: Reason, who: &str) -> Reply {
    let (subject, detail) = match reason {
        Reason::Altered | Reason::BadSignature | Reason::IntegrityUnproven => (7, 7),
        Reason::WeakAlgorithm => (7, 6),
        Reason::Unsupported => (7, 4),
        Reason::Malformed | Reason::Ambiguous | Reason::TooComplex => (6, 0),
        Reason::Undecryptable => (7, 5),
        _ => (7, 1),
    };
    Reply::new(550, subject, detail, format!("refused by policy ({reason}) for{who}"))
}

fn unstored(error: &QueueError) -> Reply {
    if error.is_full() {
        return Reply::new(452, 3, 1, "insufficient storage, try again later");
    }
    Reply::new(451, 3, 0, "cannot store now, try again later")
}

/// At most a few, so that the line stays short.
fn addresses(refusal: &Refusal) -> String {
    const NAMED: usize = 5;
    let mut text = String::new();
    for address in refusal.addresses.iter().take(NAMED) {
        text.push_str(" <");
        text.push_str(address.as_str());
        text.push('>');
    }
    if refusal.addresses.len() > NAMED {
        text.push_str(" and others");
    }
    text
}
