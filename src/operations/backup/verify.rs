//! Proving that a backup is good, without touching any data: the test of a restore.

use super::archive::{Unpack, read};
use super::{DATABASE, Manifest, Scratch, folder_of, io, restore, store};
use crate::audit;
use crate::config::MasterKeySource;
use crate::keys::register;
use crate::operations::{ErrorKind, OperationError};
use crate::queue;
use crate::seal::{MasterKey, Rewrapped, Rotation};
use crate::store::{Store, Tx, TxError, Write};
use std::path::Path;
use std::sync::Arc;

/// What was found: the archive is whole.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What it holds.
    pub manifest: Manifest,
    /// How many of its keys the master key opens; `None`: it was not at hand.
    pub keys: Option<Rewrapped>,
    /// Whether the database could be brought to the schema of this version.
    pub schema: i64,
}

/// Reads the whole archive, checks its database, and opens every key in it if the master key is at hand. Works in a folder
/// beside the archive, which goes away.
///
/// # Errors
/// The archive is no good, or can't be unpacked.
pub async fn verify(file: &Path, master: Option<&MasterKeySource>) -> Result<Verified, OperationError> {
    let random = data_encoding::HEXLOWER.encode(&crate::seal::random::<4>());
    let scratch = Scratch::make(folder_of(file).join(format!(".segel-verify-{random}"))).map_err(|error| {
        error.hint("the database is unpacked beside the archive for a moment: copy the archive to where you may write")
    })?;
    let (archive, to) = (file.to_owned(), scratch.path().to_owned());
    let manifest = tokio::task::spawn_blocking(move || read(&archive, &Unpack::Database(&to)))
        .await
        .unwrap_or_else(|_| Err(OperationError::new(ErrorKind::Store, "the check was interrupted")))?;
    let copy = scratch.path().join(DATABASE);
    restore::check(file, &manifest, &copy).await?;
    // Brings the copy to the schema of now, as a start after a restore would.
    let opened = Store::open(&copy).await.map_err(|error| store(&error))?;
    let keys = keys(&opened, &manifest, master).await;
    opened.close().await;
    Ok(Verified { manifest, keys: keys?, schema: crate::store::backup::known_schema() })
}

async fn keys(
    copy: &Store,
    manifest: &Manifest,
    master: Option<&MasterKeySource>,
) -> Result<Option<Rewrapped>, OperationError> {
    let Some(MasterKeySource::File(path) | MasterKeySource::Generated(path)) = master else { return Ok(None) };
    if !path.try_exists().map_err(|error| io("read", path, &error))? {
        return Ok(None);
    }
    let key = MasterKey::open(&MasterKeySource::File(path.clone()));
    let (key, _) = key.map_err(|error| OperationError::from_error(ErrorKind::Store, &error))?;
    if manifest.master_key.as_deref().is_some_and(|id| id != key.id()) {
        return Ok(None);
    }
    let key = Arc::new(key);
    let rotation = Rotation { from: Arc::clone(&key), to: key };
    copy.write(Opens { rotation }).await.map(Some).map_err(|error| store(&error))
}

/// Wraps every key again by the same master key: what can be wrapped was opened. For a copy that is thrown away.
struct Opens {
    rotation: Rotation,
}

impl Write for Opens {
    type Output = Rewrapped;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Rewrapped, TxError> {
        let mut count = audit::rewrap(tx, &self.rotation)?;
        count += register::rewrap(tx, &self.rotation)?;
        count += queue::rewrap(tx, &self.rotation)?;
        Ok(count)
    }
}
