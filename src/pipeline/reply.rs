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
        AcceptError::NoRoom => Reply::new(452, 3, 1, "Too busy to take a message of this size now"),
        AcceptError::Deadline => Reply::new(451, 3, 2, "not finished in time, try again later"),
        AcceptError::Plan(_) | AcceptError::Signing(_) | AcceptError::Dkim(_) => {
            Reply::new(451, 7, 5, "cannot sign or encrypt now, try again later")
        }
        AcceptError::Queue(error) => unstored(error),
        AcceptError::Clock => Reply::new(451, 3, 0, "the clock is not settled, try again later"),
        AcceptError::Worker | AcceptError::Rounds => Reply::new(451, 3, 0, "internal error, try again later"),
    }
}

/// What the peer hears for a refusal; also at RCPT.
pub fn refused(refusal: &Refusal) -> Reply {
    let who = addresses(refusal);
    match refusal.kind {
        RefusalKind::AmbiguousSender => Reply::new(550, 6, 0, "From must hold exactly one mailbox"),
        RefusalKind::UnreadableHeader(error) => {
            Reply::new(550, 6, 0, format!("the header section of this mail can't be read: {error}"))
        }
        RefusalKind::SenderNotAuthorised => Reply::new(550, 7, 1, format!("not authorised to send as{who}")),
        RefusalKind::NoSigningKey => Reply::new(550, 7, 1, format!("no usable signing certificate for{who}")),
        RefusalKind::Malformed => Reply::new(550, 6, 0, "the structure of this mail cannot be signed or encrypted"),
        RefusalKind::RelayDenied => Reply::new(550, 7, 1, format!("relaying denied for{who}")),
        RefusalKind::Rejected(reason) => rejected(reason, &who),
        RefusalKind::RejectedByRule => Reply::new(550, 7, 1, format!("refused by policy for{who}")),
        RefusalKind::NoRecipientCertificate => {
            Reply::new(550, 7, 1, format!("encryption is required and no usable certificate is known for{who}"))
        }
        RefusalKind::TooManyCopies => {
            Reply::new(554, 3, 4, "the encrypted copies for hidden recipients are too large, write to fewer at a time")
        }
        RefusalKind::OwnStatusUnknown | RefusalKind::RevocationUnknown | RefusalKind::RecipientUnproven => {
            deferred(refusal)
        }
    }
}

fn deferred(refusal: &Refusal) -> Reply {
    let who = addresses(refusal);
    match refusal.kind {
        RefusalKind::OwnStatusUnknown => {
            Reply::new(451, 7, 5, format!("certificate status cannot be established now for{who}"))
        }
        RefusalKind::RecipientUnproven => {
            Reply::new(451, 7, 5, format!("no certificate can be used now to encrypt to{who}"))
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

#[cfg(test)]
mod tests {
    use super::{AcceptError, of, refused};
    use crate::mail::Address;
    use crate::mail::header::HeaderError;
    use crate::policy::{Refusal, RefusalKind};
    use crate::reason::Reason;

    fn refusal(kind: RefusalKind) -> Refusal {
        let addresses = vec![Address::parse("siti@example.go.id").unwrap()];
        Refusal { kind, addresses, detail: "the configuration says so".to_owned(), rule: "r" }
    }

    #[test]
    fn s37_outcomes_have_the_codes_that_fit() {
        for (kind, expected) in [
            (RefusalKind::AmbiguousSender, "550 5.6.0"),
            (RefusalKind::UnreadableHeader(HeaderError::TooMany), "550 5.6.0"),
            (RefusalKind::SenderNotAuthorised, "550 5.7.1"),
            (RefusalKind::NoSigningKey, "550 5.7.1"),
            (RefusalKind::RelayDenied, "550 5.7.1"),
            (RefusalKind::Malformed, "550 5.6.0"),
            (RefusalKind::OwnStatusUnknown, "451 4.7.5"),
            (RefusalKind::RevocationUnknown, "451 4.7.5"),
            (RefusalKind::RecipientUnproven, "451 4.7.5"),
            (RefusalKind::NoRecipientCertificate, "550 5.7.1"),
            (RefusalKind::TooManyCopies, "554 5.3.4"),
            (RefusalKind::RejectedByRule, "550 5.7.1"),
            (RefusalKind::Rejected(Reason::Altered), "550 5.7.7"),
            (RefusalKind::Rejected(Reason::BadSignature), "550 5.7.7"),
            (RefusalKind::Rejected(Reason::WeakAlgorithm), "550 5.7.6"),
            (RefusalKind::Rejected(Reason::Unsupported), "550 5.7.4"),
            (RefusalKind::Rejected(Reason::Undecryptable), "550 5.7.5"),
            (RefusalKind::Rejected(Reason::Malformed), "550 5.6.0"),
            (RefusalKind::Rejected(Reason::Revoked), "550 5.7.1"),
        ] {
            let line = refused(&refusal(kind)).to_line();
            assert!(line.starts_with(expected), "{kind:?}: {line}");
        }
        for (error, expected) in [
            (AcceptError::Looping { received: 101, own: 0 }, "554 5.4.6"),
            (AcceptError::Deadline, "451 4.3.2"),
            (AcceptError::NoRoom, "452 4.3.1"),
            (AcceptError::Signing(crate::keys::KeyError::Signing), "451 4.7.5"),
            (AcceptError::Worker, "451 4.3.0"),
        ] {
            assert!(of(&error).to_line().starts_with(expected), "{error:?}");
        }
    }

    #[test]
    fn the_peer_learns_nothing_of_the_configuration() {
        for kind in [RefusalKind::SenderNotAuthorised, RefusalKind::NoSigningKey, RefusalKind::OwnStatusUnknown] {
            assert!(!refused(&refusal(kind)).to_line().contains("configuration"));
        }
    }
}
