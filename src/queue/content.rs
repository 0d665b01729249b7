//! Sealed content: in a row up to 128 KiB, in a file of its own above that.

use super::{QueueError, QueueId, Shared};
use crate::seal::{MasterKey, SealError, WrappedKey, sync_folder};
use bytes::Bytes;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Content that was sealed and, when it is large, is on disk already.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) size: i64,
    pub(super) wrapped: WrappedKey,
    pub(super) row: Option<Arc<[u8]>>,
    pub(super) file: Option<ContentFile>,
}

/// A file that no row names yet. Dropping it removes it: a transaction that did not happen leaves nothing.
#[derive(Debug)]
pub(super) struct ContentFile {
    pub(super) name: String,
    path: PathBuf,
    kept: bool,
}

impl ContentFile {
    /// The row is on disk.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for ContentFile {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
    }
}

/// Seals; writes and flushes the file when it is large. Blocks: not for async threads above 128 KiB.
pub(super) fn seal(master: &MasterKey, folder: &Path, context: &str, plain: &[u8]) -> Result<Sealed, QueueError> {
    let size = i64::try_from(plain.len()).unwrap_or(i64::MAX);
    let (wrapped, sealed) = master.seal(context, plain);
    if plain.len() <= ROW_MAX {
        return Ok(Sealed { size, wrapped, row: Some(Arc::from(&sealed[..])), file: None });
    }
    let file = write_file(folder, &sealed)?;
    Ok(Sealed { size, wrapped, row: None, file: Some(file) })
}

fn write_file(folder: &Path, sealed: &[u8]) -> Result<ContentFile, QueueError> {
    let name = data_encoding::HEXLOWER.encode(&crate::seal::random::<16>());
    let path = folder.join(&name);
    let failed = |source| QueueError::File { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    // From here on the guard removes what was begun.
    let guard = ContentFile { name, path: path.clone(), kept: false };
    file.write_all(sealed).and_then(|()| file.sync_all()).map_err(failed)?;
    sync_folder(folder).map_err(failed)?;
    Ok(guard)
}

/// While a backup is made, this folder of the data directory stands and takes what would be removed: the backup shows an
/// instant that is past, and may have to read it yet.
pub const KEPT_FOR_BACKUP: &str = "backup.tmp";

/// Removes a file whose key is destroyed or was never promised. What cannot be removed now goes at the next start.
pub(super) fn remove(path: &Path) {
    if keep_for_backup(path) {
        return;
    }
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a content file could not be removed");
    }
}

fn keep_for_backup(path: &Path) -> bool {
    let Some((folder, name)) = path.parent().and_then(Path::parent).zip(path.file_name()) else { return false };
    std::fs::rename(path, folder.join(KEPT_FOR_BACKUP).join(name)).is_ok()
}

/// Why stored content could not be had.
#[derive(Debug)]
pub(super) enum Missing {
    /// Its key is destroyed.
    Destroyed,
    /// It does not open, or its file is gone: damage that trying again does not mend.
    Damaged(String),
    /// Trying again may help.
    Failed(QueueError),
}

impl Shared {
    /// Reads and opens content.
    pub(super) async fn open_content(&self, content: i64, context: String) -> Result<Bytes, Missing> {
        type Row = (String, Option<Vec<u8>>, Option<Vec<u8>>, Option<String>);
        let row: Option<Row> = sqlx::query_as("SELECT master, wrapped, sealed, file FROM content WHERE id = ?")
            .bind(content)
            .fetch_optional(self.store.readers())
            .await
            .map_err(|error| Missing::Failed(error.into()))?;
        let Some((master, wrapped, sealed, file)) = row else {
            return Err(Missing::Damaged("no row".to_owned()));
        };
        let Some(bytes) = wrapped else { return Err(Missing::Destroyed) };
        let wrapped = WrappedKey { master, bytes };
        match (sealed, file) {
            (Some(sealed), _) => open(&self.master, &context, &wrapped, &sealed),
            (None, Some(file)) => {
                let path = self.folder.join(file);
                let key = Arc::clone(&self.master);
                let read = move || {
                    let sealed = read_file(&path)?;
                    open(&key, &context, &wrapped, &sealed)
                };
                tokio::task::spawn_blocking(read).await.map_err(|_| Missing::Failed(QueueError::Interrupted))?
            }
            (None, None) => Err(Missing::Damaged("neither row nor file".to_owned())),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "files belong to the queue too")]
fn read_file(path: &Path) -> Result<Vec<u8>, Missing> {
    std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Missing::Damaged(format!("file `{}` is gone", path.display())),
        _ => Missing::Failed(QueueError::File { path: path.to_owned(), source }),
    })
}

fn open(master: &MasterKey, context: &str, wrapped: &WrappedKey, sealed: &[u8]) -> Result<Bytes, Missing> {
    match master.open_sealed(context, wrapped, sealed) {
        Ok(mut plain) => Ok(Bytes::from(std::mem::take(&mut *plain))),
        Err(SealError::Altered) => Err(Missing::Damaged("the seal is broken".to_owned())),
        Err(error) => Err(Missing::Failed(error.into())),
    }
}

pub(super) fn original_context(id: &QueueId) -> String {
    format!("original {id}")
}

pub(super) fn copy_context(id: &QueueId, number: i64) -> String {
    format!("copy {id} {number}")
}

pub(super) fn details_context(id: &QueueId) -> String {
    format!("details {id}")
}

/// Larger content in rows would miss the target at 5 MiB: 51 messages/s against 208/s (measured).
pub(super) const ROW_MAX: usize = 128 << 10;
