//! Changes to others' certificates: rows and audit events in one transaction, then the index learns of it.

use super::index::{Announced, Digest};
use super::{Directory, DirectoryError, Source, Trust, rows};
use crate::audit::{self, Audit, Event};
use crate::clock;
use crate::mail::Address;
use crate::pki::Certificate;
use crate::store::{BoxFuture, Urgency, Write};
use jiff::Timestamp;
use sqlx::{SqliteConnection, query};
use std::collections::BTreeSet;

/// One thing to write.
pub(super) enum Step {
    /// The certificate is there with this trust, from this source; capabilities and blocking stay.
    Put { certificate: Certificate, trust: Trust, source: Source },
    /// It stands for this mailbox.
    Bind { sha256: Digest, address: Address, by_operator: bool },
    /// It stands for this mailbox no more; if for none, it goes.
    Unbind { sha256: Digest, mailbox: String },
    /// What its owner's program can read.
    Announce { sha256: Digest, announced: Announced },
    /// It neither receives nor verifies, or it does again.
    Block { sha256: Digest, blocked: bool },
}

impl Step {
    fn sha256(&self) -> Digest {
        match self {
            Self::Put { certificate, .. } => certificate.sha256(),
            Self::Bind { sha256, .. }
            | Self::Unbind { sha256, .. }
            | Self::Announce { sha256, .. }
            | Self::Block { sha256, .. } => *sha256,
        }
    }
}

struct Steps {
    audit: Audit,
    at: Timestamp,
    steps: Vec<Step>,
    events: Vec<Event>,
    urgency: Urgency,
}

impl Directory {
    /// Writes and reads again what was written. The caller holds `changing`.
    pub(super) async fn write(
        &self,
        steps: Vec<Step>,
        events: Vec<Event>,
        urgency: Urgency,
    ) -> Result<(), DirectoryError> {
        let touched: BTreeSet<Digest> = steps.iter().map(Step::sha256).collect();
        let job = Steps { audit: self.0.audit.clone(), at: clock::now(), steps, events, urgency };
        self.0.store.write(job).await?;
        for sha256 in touched {
            let entry = rows::one(&self.0.store, &sha256).await?;
            self.index_mut().put(sha256, entry);
        }
        Ok(())
    }
}

impl Write for Steps {
    type Output = ();

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            for step in &self.steps {
                self.step(step, tx).await?;
            }
            audit::append(tx, self.audit.chain(), &self.events).await
        })
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }
}

impl Steps {
    async fn step(&self, step: &Step, tx: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        match step {
            Step::Put { certificate, trust, source } => {
                query(
                    "INSERT INTO certificate (sha256, der, trust, source, added) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (sha256) DO UPDATE SET trust = excluded.trust, source = excluded.source",
                )
                .bind(certificate.sha256().to_vec())
                .bind(certificate.der())
                .bind(trust.name())
                .bind(source.name())
                .bind(self.at.as_microsecond())
                .execute(tx)
                .await?;
            }
            Step::Bind { sha256, address, by_operator } => {
                query(
                    "INSERT INTO certificate_address (mailbox, address, sha256, binding) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (mailbox, sha256) DO NOTHING",
                )
                .bind(address.mailbox_key())
                .bind(address.as_str())
                .bind(sha256.to_vec())
                .bind(if *by_operator { rows::OPERATOR } else { "certificate" })
                .execute(tx)
                .await?;
            }
            Step::Unbind { sha256, mailbox } => unbind(sha256, mailbox, tx).await?,
            Step::Announce { sha256, announced } => {
                query("UPDATE certificate SET capabilities = $2, signed = $3 WHERE sha256 = $1")
                    .bind(sha256.to_vec())
                    .bind(announced.der.to_vec())
                    .bind(announced.signed.map(Timestamp::as_microsecond))
                    .execute(tx)
                    .await?;
            }
            Step::Block { sha256, blocked } => {
                query("UPDATE certificate SET blocked = $2 WHERE sha256 = $1")
                    .bind(sha256.to_vec())
                    .bind(i64::from(*blocked))
                    .execute(tx)
                    .await?;
            }
        }
        Ok(())
    }
}

async fn unbind(sha256: &Digest, mailbox: &str, tx: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    query("DELETE FROM certificate_address WHERE mailbox = $1 AND sha256 = $2")
        .bind(mailbox)
        .bind(sha256.to_vec())
        .execute(&mut *tx)
        .await?;
    query(
        "DELETE FROM certificate WHERE sha256 = $1 AND blocked = 0 \
         AND NOT EXISTS (SELECT 1 FROM certificate_address WHERE sha256 = $1)",
    )
    .bind(sha256.to_vec())
    .execute(tx)
    .await?;
    Ok(())
}
