//! The register under another master key.

use super::context;
use crate::seal::{Rewrapped, Rotation, WrappedKey};
use sqlx::{SqliteConnection, query, query_as};

/// Wraps the own keys' content keys again.
pub async fn rewrap(tx: &mut SqliteConnection, rotation: &Rotation) -> Result<Rewrapped, sqlx::Error> {
    let mut count = Rewrapped::default();
    let rows: Vec<(String, String, Vec<u8>)> =
        query_as("SELECT id, master, wrapped FROM own_key WHERE wrapped IS NOT NULL").fetch_all(&mut *tx).await?;
    for (id, master, bytes) in rows {
        let Some(wrapped) = rotation.rewrap(&context(&id), &WrappedKey { master, bytes }, &mut count) else {
            continue;
        };
        query("UPDATE own_key SET master = ?, wrapped = ? WHERE id = ?")
            .bind(wrapped.master)
            .bind(wrapped.bytes)
            .bind(id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(count)
}
