//! Changes to the stored anchors: the row and the audit event in one transaction.

use super::{hex, mode_name};
use crate::audit::{self, Audit, Event};
use crate::mail::Domain;
use crate::pki::{Certificate, RevocationMode};
use crate::store::{BoxFuture, Write};
use jiff::Timestamp;
use sqlx::SqliteConnection;

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

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<Changed, sqlx::Error>> {
        Box::pin(async move {
            if self.rows(tx).await? == 0 {
                return Ok(Changed::Nothing);
            }
            audit::append(tx, self.audit.chain(), &[self.event()]).await?;
            Ok(Changed::Done)
        })
    }
}

impl Change {
    async fn rows(&self, tx: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let done = match &self.action {
            Action::Import { certificate, revocation, domains } => {
                sqlx::query(
                    "INSERT INTO anchor (sha256, der, purposes, revocation, domains, imported) \
                     VALUES ($1, $2, 'email', $3, $4, $5) ON CONFLICT (sha256) DO NOTHING",
                )
                .bind(certificate.sha256().to_vec())
                .bind(certificate.der())
                .bind(mode_name(*revocation))
                .bind(list(domains))
                .bind(self.at.as_microsecond())
                .execute(tx)
                .await?
            }
            Action::Remove { sha256 } => {
                sqlx::query("DELETE FROM anchor WHERE sha256 = $1").bind(sha256.to_vec()).execute(tx).await?
            }
        };
        Ok(done.rows_affected())
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
