//! Changes to others' certificates: rows and audit events in one transaction, then the index learns of it.

use super::index::{Announced, Digest};
use super::{Directory, DirectoryError, Source, Trust, rows};
use crate::audit::{self, Audit, Event};
use crate::clock;
use crate::mail::Address;
use crate::pki::Certificate;
use crate::store::{Tx, TxError, Urgency, Write, values};
use jiff::Timestamp;
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

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        for step in &self.steps {
            self.step(step, tx)?;
        }
        audit::append(tx, self.audit.chain(), &self.events)
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }
}

impl Steps {
    fn step(&self, step: &Step, tx: &mut Tx<'_>) -> Result<(), TxError> {
        match step {
            Step::Put { certificate, trust, source } => {
                tx.execute(
                    "INSERT INTO certificate (sha256, der, trust, source, added) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (sha256) DO UPDATE SET trust = excluded.trust, source = excluded.source",
                    &values![
                        &certificate.sha256(),
                        certificate.der(),
                        trust.name(),
                        source.name(),
                        self.at.as_microsecond(),
                    ],
                )?;
            }
            Step::Bind { sha256, address, by_operator } => {
                let binding = if *by_operator { rows::OPERATOR } else { "certificate" };
                tx.execute(
                    "INSERT INTO certificate_address (mailbox, address, sha256, binding) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (mailbox, sha256) DO NOTHING",
                    &values![address.mailbox_key(), address.as_str(), sha256, binding],
                )?;
            }
            Step::Unbind { sha256, mailbox } => unbind(sha256, mailbox, tx)?,
            Step::Announce { sha256, announced } => {
                tx.execute(
                    "UPDATE certificate SET capabilities = $2, signed = $3 WHERE sha256 = $1",
                    &values![sha256, &announced.der[..], announced.signed.map(Timestamp::as_microsecond)],
                )?;
            }
            Step::Block { sha256, blocked } => {
                tx.execute("UPDATE certificate SET blocked = $2 WHERE sha256 = $1", &values![sha256, *blocked])?;
            }
        }
        Ok(())
    }
}

fn unbind(sha256: &Digest, mailbox: &str, tx: &mut Tx<'_>) -> Result<(), TxError> {
    tx.execute("DELETE FROM certificate_address WHERE mailbox = $1 AND sha256 = $2", &values![mailbox, sha256])?;
    tx.execute(
        "DELETE FROM certificate WHERE sha256 = $1 AND blocked = 0 \
         AND NOT EXISTS (SELECT 1 FROM certificate_address WHERE sha256 = $1)",
        &values![sha256],
    )?;
    Ok(())
}
