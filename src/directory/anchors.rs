//! Changes to the stored anchors: the row and the audit event in one transaction.

use super::{hex, mode_name};
use crate::audit::{self, Audit, Event};
use crate::mail::Domain;
use crate::pki::{Certificate, RevocationMode};
use crate::store::{Tx, TxError, Write, values};
use jiff::Timestamp;

/// What an operator wants.
pub(super) enum Action {
    Import { certificate: Certificate, revocation: RevocationMode, domains: Vec<Domain> },
    Remove { sha256: [u8; 32] },
}

/// Whether a row was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Done,
    Nothing,
}

pub(super) struct Change {
    pub(super) audit: Audit,
    pub(super) at: Timestamp,
    pub(super) action: Action,
}

impl Write for Change {
    type Output = Changed;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Changed, TxError> {
        if self.rows(tx)? == 0 {
            return Ok(Changed::Nothing);
        }
        audit::append(tx, self.audit.chain(), &[self.event()])?;
        Ok(Changed::Done)
    }
}

impl Change {
    fn rows(&self, tx: &mut Tx<'_>) -> Result<u64, TxError> {
        match &self.action {
            Action::Import { certificate, revocation, domains } => tx.execute(
                "INSERT INTO anchor (sha256, der, purposes, revocation, domains, imported) \
                 VALUES ($1, $2, 'email', $3, $4, $5) ON CONFLICT (sha256) DO NOTHING",
                &values![
                    &certificate.sha256(),
                    certificate.der(),
                    mode_name(*revocation),
                    list(domains),
                    self.at.as_microsecond(),
                ],
            ),
            Action::Remove { sha256 } => tx.execute("DELETE FROM anchor WHERE sha256 = $1", &values![sha256]),
        }
    }

    fn event(&self) -> Event {
        match &self.action {
            Action::Import { certificate, .. } => {
                Event::AnchorImported { sha256: hex(&certificate.sha256()), subject: certificate.subject().to_string() }
            }
            Action::Remove { sha256 } => Event::AnchorRemoved { sha256: hex(sha256) },
        }
    }
}

/// No domain has a comma in it.
fn list(domains: &[Domain]) -> String {
    domains.iter().map(Domain::as_str).collect::<Vec<_>>().join(",")
}
