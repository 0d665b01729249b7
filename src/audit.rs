//! What happened, in a hash-chained log: one event enum, one chain per writer, signed checkpoints.
//!
//! A row is written in the transaction that did what it tells of. Personal fields are sealed under a key per subject
//! and the chain hashes the ciphertext, so that erasing a subject breaks nothing. Never holds content or a subject line.
//! Failure policy: no row, no deed: an error here rolls the caller's transaction back.

pub mod chain;
mod checkpoint;
pub mod event;
mod export;
mod rotation;
mod search;
mod verify;

pub use chain::{ChainWriter, append};
pub use checkpoint::Checkpoint;
pub use event::Event;
pub use export::{Cursor, ExportLine};
pub use rotation::rewrap;
pub use search::{Found, Page, Personal, Search};
pub use verify::{BadRow, VerifyReport};

use crate::seal::{MasterKey, SealError};
use crate::store::{Store, StoreError, Tx, TxError, Write, values};
use std::sync::Arc;

/// The audit log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    store: Store,
    master: Arc<MasterKey>,
    chain: Arc<ChainWriter>,
}

/// Why the log could not be written, signed or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed key does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The key that signs checkpoints is unusable.
    #[error("the checkpoint key is unusable")]
    Key,
    /// A row that cannot be read as JSON.
    #[error("row cannot be read")]
    Json(#[from] serde_json::Error),
}

impl From<sqlx::Error> for AuditError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Audit {
    /// Opens the log; names the chain of this database when it is new. Writes nothing to one that has its name.
    pub async fn open(store: Store, master: Arc<MasterKey>) -> Result<Self, AuditError> {
        let named: Option<String> = sqlx::query_scalar("SELECT value FROM setting WHERE name = 'audit-chain'")
            .fetch_optional(store.readers())
            .await?;
        let name = match named {
            Some(name) => name,
            None => store.write(NameChain).await?,
        };
        let pseudonyms = rotation::pseudonyms(&store, &master).await?;
        let chain = Arc::new(ChainWriter::new(name, Arc::clone(&master), pseudonyms, store.generation()));
        Ok(Self { store, master, chain })
    }

    /// For [`append`] in a transaction of one's own.
    pub fn chain(&self) -> &Arc<ChainWriter> {
        &self.chain
    }

    /// Writes events that stand for themselves.
    pub async fn record(&self, events: Vec<Event>) -> Result<(), StoreError> {
        self.store.write(Record { chain: Arc::clone(&self.chain), events }).await
    }

    /// Recomputes all chains and checkpoints; the report names the first bad row.
    pub async fn verify(&self) -> Result<VerifyReport, AuditError> {
        verify::verify(self.store.readers()).await
    }

    /// Signs the heads of all chains. The key is made on first use.
    pub async fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        checkpoint::make(&self.store, &self.master).await
    }

    /// The newest `limit` rows that fit, oldest first, with their personal fields where these still open.
    pub async fn search(&self, what: &Search, limit: u32) -> Result<Page, AuditError> {
        search::search(self, what, limit).await
    }

    /// The next lines of an export that began with [`Cursor::start`], and where to go on; `None` at the end.
    pub async fn export(&self, cursor: Cursor) -> Result<(Vec<ExportLine>, Option<Cursor>), AuditError> {
        export::page(self, cursor).await
    }

    /// Opens the personal fields of a row; `None` when the subject was erased.
    pub async fn open_personal(
        &self,
        subject: &str,
        event: &str,
        sealed: &[u8],
    ) -> Result<Option<serde_json::Value>, AuditError> {
        let row: Option<(String, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT master, wrapped FROM audit_subject WHERE subject = ?")
                .bind(subject)
                .fetch_optional(self.store.readers())
                .await?;
        let Some((master, Some(bytes))) = row else { return Ok(None) };
        let key = self.master.unwrap_key(&chain::key_context(subject), &crate::seal::WrappedKey { master, bytes })?;
        let plain = key.open_small(event, sealed)?;
        Ok(Some(serde_json::from_slice(&plain)?))
    }
}

struct Record {
    chain: Arc<ChainWriter>,
    events: Vec<Event>,
}

impl Write for Record {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        append(tx, &self.chain, &self.events)
    }
}

struct NameChain;

impl Write for NameChain {
    type Output = String;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<String, TxError> {
        let name = data_encoding::HEXLOWER.encode(&crate::seal::random::<8>());
        tx.execute(
            "INSERT INTO setting (name, value) VALUES ('audit-chain', ?) ON CONFLICT (name) DO NOTHING",
            &values![name],
        )?;
        let (name,) = tx.one("SELECT value FROM setting WHERE name = 'audit-chain'", &[])?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests;
