//! Asks whether a recipient would be taken, and sends nothing.

use super::outgoing::{Mail, Outgoing, Recipient, wire};
use super::{Client, Fate, Pending};
use crate::mail::{Address, BodyType, DsnRequest, RecipientDsn, ReversePath};
use bytes::Bytes;

/// What a next hop says of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2yz
    Taken,
    /// 5yz to RCPT: the reply.
    Refused(String),
    /// Anything else.
    Unclear(String),
}

impl Client {
    /// MAIL FROM:<>, RCPT TO and RSET; only after [`super::Step::Ready`]. At the next one: [`Client::take_answer`].
    pub fn ask(&mut self, recipient: &Address) {
        let mail = Mail {
            reverse_path: ReversePath::Null,
            recipients: vec![Recipient { address: recipient.clone(), dsn: RecipientDsn::default() }],
            body: BodyType::SevenBit,
            dsn: DsnRequest::default(),
            content: Bytes::new(),
        };
        if wire(recipient).is_some() {
            self.to_send.extend([Pending::Mail, Pending::Rcpt(0), Pending::Rset]);
        }
        self.mail = Some(Outgoing::new(mail, false));
        self.fill();
    }

    /// What was answered.
    pub fn take_answer(&mut self) -> Answer {
        let undecided = self.trouble();
        let Some(mail) = self.mail.take() else { return Answer::Unclear("nothing was asked".to_owned()) };
        if mail.any_accepted() {
            return Answer::Taken;
        }
        let mail_refused = mail.mail_refused;
        match mail.into_fates(&undecided).pop() {
            Some(Fate::Failed { diagnostic, .. }) if !mail_refused => {
                Answer::Refused(diagnostic.strip_prefix("smtp; ").unwrap_or(&diagnostic).to_owned())
            }
            Some(Fate::Failed { diagnostic, .. } | Fate::Deferred { diagnostic, .. }) => Answer::Unclear(diagnostic),
            Some(Fate::Delivered { .. }) | None => Answer::Unclear("nothing was asked".to_owned()),
        }
    }
}
