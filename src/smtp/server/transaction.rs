//! What has been said of one mail, from MAIL to DATA.

use crate::mail::{Address, BodyType, Envelope, RecipientDsn, ReversePath};
use crate::smtp::command::MailParameters;

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Address>,
    /// In the order of `recipients`.
    recipient_dsn: Vec<RecipientDsn>,
}

impl Transaction {
    pub(super) fn new(reverse_path: ReversePath, parameters: MailParameters) -> Self {
        Self { reverse_path, parameters, recipients: Vec::new(), recipient_dsn: Vec::new() }
    }

    /// A recipient who was named before gets the mail once, with what was asked for then. Only one written alike is he for
    /// sure: where the case of a local-part matters is another server's affair.
    pub(super) fn push(&mut self, address: Address, dsn: RecipientDsn) {
        let same = |known: &Address| known.local() == address.local() && known.domain().same(address.domain());
        if self.recipients.iter().any(same) {
            return;
        }
        self.recipients.push(address);
        self.recipient_dsn.push(dsn);
    }

    /// Whom a failure is told.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// Those taken so far.
    pub fn recipients(&self) -> &[Address] {
        &self.recipients
    }

    /// The octets that the client has declared with SIZE; 0: it has not.
    pub fn declared(&self) -> u64 {
        self.parameters.size.unwrap_or_default()
    }

    /// `AUTH=` goes no further: no next hop is told who submitted a mail, which is what `AUTH=<>` says.
    pub(super) fn into_envelope(self) -> Envelope {
        let body = self.parameters.body.unwrap_or(BodyType::SevenBit);
        let mut envelope = Envelope::new(self.reverse_path, self.recipients, body);
        envelope.dsn = self.parameters.dsn;
        envelope.recipient_dsn = self.recipient_dsn;
        envelope
    }
}
