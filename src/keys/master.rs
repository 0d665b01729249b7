//! Which master key a store is sealed with, as the store itself says.

use crate::seal::MasterKey;
use crate::store::{Store, StoreError, Tx, TxError, values};
use sqlx::query_scalar;
use std::path::PathBuf;

/// The store is sealed with another master key than the one in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is sealed with master key `{store}`, the file `{file}` holds master key `{found}`")]
pub struct OtherMasterKey {
    /// Id of the key that is needed.
    pub store: String,
    /// Id of the key that is there.
    pub found: String,
    /// Where it is.
    pub file: PathBuf,
}

impl OtherMasterKey {
    /// What has happened, and exactly what to do.
    pub fn hint(&self) -> String {
        let file = self.file.display();
        format!(
            "if `segel key rewrap --new FILE` was interrupted, run it again with the same FILE: it goes on where it \
             stopped; if it has told you to change the configuration, do that; if `{file}` came from a backup, put the \
             copy of master key `{}` there",
            self.store
        )
    }
}

/// The id of the store's master key: the one that was noted when it was changed, else that of any row; `None` for a
/// store that holds nothing sealed.
///
/// # Errors
/// The store cannot be read.
pub async fn stored_id(store: &Store) -> Result<Option<String>, StoreError> {
    Ok(query_scalar(STORED_ID).fetch_one(store.readers()).await?)
}

/// What [`stored_id`] asks.
pub const STORED_ID: &str = "SELECT coalesce((SELECT value FROM setting WHERE name = 'master-key'), \
     (SELECT master FROM secret LIMIT 1), (SELECT master FROM own_key WHERE wrapped IS NOT NULL LIMIT 1), \
     (SELECT master FROM audit_subject WHERE wrapped IS NOT NULL LIMIT 1), \
     (SELECT master FROM content WHERE wrapped IS NOT NULL LIMIT 1))";

/// Whether the store opens with this master key.
///
/// # Errors
/// The store cannot be read.
pub async fn check(store: &Store, master: &MasterKey, file: PathBuf) -> Result<Result<(), OtherMasterKey>, StoreError> {
    Ok(match stored_id(store).await? {
        Some(id) if id != master.id() => Err(OtherMasterKey { store: id, found: master.id().to_owned(), file }),
        _ => Ok(()),
    })
}

/// Notes which master key the store is sealed with from now on.
pub fn note(tx: &mut Tx<'_>, id: &str) -> Result<(), TxError> {
    tx.execute(
        "INSERT INTO setting (name, value) VALUES ('master-key', ?) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &values![id],
    )?;
    Ok(())
}
