//! The first start after a restore: the audit log goes on with the event that says so.

use super::store;
use crate::audit::{Event, append};
use crate::operations::OperationError;
use crate::pipeline::Gateway;
use crate::store::{Tx, TxError, Write};
use sqlx::query_scalar;
use std::sync::Arc;

/// Tells the audit log of a restore, once. For whoever holds the data directory's lock.
///
/// # Errors
/// The store.
pub async fn tell_restored(gateway: &Gateway) -> Result<(), OperationError> {
    let note: Option<String> = query_scalar("SELECT value FROM setting WHERE name = 'restored'")
        .fetch_optional(gateway.store.readers())
        .await
        .map_err(|error| store(&error.into()))?;
    let Some(note) = note else { return Ok(()) };
    tracing::warn!(%note, "this store was restored from a backup; what waited is held until `segel queue release`.");
    let public = serde_json::from_str(&note).unwrap_or_else(|_| serde_json::json!({ "note": note }));
    let job = Tell { chain: Arc::clone(gateway.audit.chain()), event: Event::Maintenance { name: "restored", public } };
    gateway.store.write(job).await.map_err(|error| store(&error))
}

struct Tell {
    chain: Arc<crate::audit::ChainWriter>,
    event: Event,
}

impl Write for Tell {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        if tx.execute("DELETE FROM setting WHERE name = 'restored'", &[])? > 0 {
            append(tx, &self.chain, std::slice::from_ref(&self.event))?;
        }
        Ok(())
    }
}
