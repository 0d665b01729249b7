//! Sealed content: in a row of the table `sealed` up to 128 KiB, in a file of its own above that.
//!
//! A copy that is its original with something on top, as all mail that is only relayed, is stored as just that: what stands
//! on top, sealed with the original's key, and the place from which the original follows. The original is kept as long
//! as any recipient is not final, and so is every copy that needs it.

use super::{QueueError, QueueId, Shared};
use crate::seal::{ContentKey, MasterKey, SealError, WrappedKey, sync_folder};
use bytes::Bytes;
use rustix::io::Errno;
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
    pub(super) row: Option<Bytes>,
    pub(super) file: Option<ContentFile>,
}

/// A copy as it is stored.
#[derive(Debug)]
pub(super) enum StoredCopy {
    /// It has content of its own.
    Whole(Sealed),
    /// It is what stands on top, sealed with the original's key, and the original from an octet on.
    OnTop { top: Vec<u8>, below: i64 },
}

/// What stands on top of the original in this copy, and from which octet on the original follows; `None` where too
/// little of it does.
pub(super) fn on_top<'a>(copy: &'a [u8], original: &[u8]) -> Option<(&'a [u8], usize)> {
    let shared = common_tail(copy, original);
    let (top, _) = copy.split_at_checked(copy.len().saturating_sub(shared))?;
    (top.len() <= TOP_MAX && top.len() <= shared).then_some((top, original.len().saturating_sub(shared)))
}

/// How many octets at the end are the same.
fn common_tail(one: &[u8], other: &[u8]) -> usize {
    const BLOCK: usize = 1024;
    // Block by block at the speed of memory, then octet by octet within the first that differs.
    let same = one.rchunks(BLOCK).zip(other.rchunks(BLOCK)).take_while(|(one, other)| one == other);
    let blocks: usize = same.map(|(one, _)| one.len()).sum();
    let rest = |octets: &[u8]| octets.len().saturating_sub(blocks);
    let left = one.iter().take(rest(one)).rev().zip(other.iter().take(rest(other)).rev());
    blocks + left.take(BLOCK).take_while(|(one, other)| one == other).count()
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
pub(super) fn seal(
    master: &MasterKey,
    folder: &Path,
    context: &str,
    plain: &[u8],
) -> Result<(Sealed, ContentKey), QueueError> {
    let size = i64::try_from(plain.len()).unwrap_or(i64::MAX);
    let (wrapped, sealed, key) = master.seal_with_key(context, plain);
    let (row, file) = match plain.len() <= ROW_MAX {
        true => (Some(sealed), None),
        false => (None, Some(write_file(folder, &sealed)?)),
    };
    Ok((Sealed { size, wrapped, row, file }, key))
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
    /// Reads and opens content of one's own.
    pub(super) async fn open_content(&self, content: i64, context: String) -> Result<Bytes, Missing> {
        self.opened(content, move |master, wrapped, sealed| {
            let mut plain = master.open_sealed(&context, wrapped, sealed)?;
            Ok(Bytes::from(std::mem::take(&mut *plain)))
        })
        .await
    }

    /// Reads and opens a copy; `on_top` says that it is the original of this content with something on top.
    pub(super) async fn open_copy(
        &self,
        content: i64,
        queue_id: &QueueId,
        number: i64,
        on_top: Option<(Vec<u8>, i64)>,
    ) -> Result<Bytes, Missing> {
        let context = copy_context(queue_id, number);
        let Some((top, below)) = on_top else { return self.open_content(content, context).await };
        let original = original_context(queue_id);
        self.opened(content, move |master, wrapped, sealed| {
            let key = master.unwrap_key(&original, wrapped)?;
            let (top, plain) = (key.open_small(&context, &top)?, key.open(sealed)?);
            let below = usize::try_from(below).ok().and_then(|below| plain.get(below..)).ok_or(SealError::Altered)?;
            Ok(Bytes::from([&top[..], below].concat()))
        })
        .await
    }

    async fn opened(
        &self,
        content: i64,
        open: impl FnOnce(&MasterKey, &WrappedKey, &[u8]) -> Result<Bytes, SealError> + Send + 'static,
    ) -> Result<Bytes, Missing> {
        type Row = (String, Option<Vec<u8>>, Option<Vec<u8>>, Option<String>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT c.master, c.wrapped, coalesce(s.octets, c.sealed), c.file FROM content c \
             LEFT JOIN sealed s ON s.content = c.id WHERE c.id = ?",
        )
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
            (Some(sealed), _) => open(&self.master, &wrapped, &sealed).map_err(Missing::from),
            (None, Some(file)) => {
                let path = self.folder.join(file);
                let key = Arc::clone(&self.master);
                let read = move || {
                    let sealed = read_file(&path)?;
                    open(&key, &wrapped, &sealed).map_err(Missing::from)
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
        _ if is_damage(&source) => Missing::Damaged(format!("file `{}` can not be read: {source}", path.display())),
        _ => Missing::Failed(QueueError::File { path: path.to_owned(), source }),
    })
}

/// What a bad sector or a damaged file system gives, and will give again. Tried for ever it would hold up the mail of others.
fn is_damage(error: &std::io::Error) -> bool {
    let found = Errno::from_io_error(error);
    found.is_some_and(|found| [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::ISDIR].contains(&found))
}

impl From<SealError> for Missing {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Altered => Self::Damaged("the seal is broken".to_owned()),
            error => Self::Failed(error.into()),
        }
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
/// What stands on top of an original in a row of its copy: our fields are some hundred octets, and the header section up to a
/// forged field that was removed is rarely more than this.
const TOP_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::{TOP_MAX, on_top};

    #[test]
    fn a_copy_is_what_stands_on_top_of_the_original() {
        let body = |length: usize| (0..length).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
        let with = |top: &[u8], below: &[u8]| [top, below].concat();
        for length in [0, 1, 500, 1023, 1024, 1025, 5000, 100_000] {
            let original = body(length);
            assert_eq!(on_top(&original, &original), Some((&[][..], 0)), "{length}");
            let copy = with(b"X: y\r\n", &original);
            let expected = (length >= 6).then_some((&b"X: y\r\n"[..], 0));
            assert_eq!(on_top(&copy, &original), expected, "{length}");
            // A part of the original was removed above.
            if length >= 5000 {
                let copy = with(b"X: y\r\n", &original[1500..]);
                let (top, below) = on_top(&copy, &original).unwrap();
                assert_eq!([top, &original[below..]].concat(), copy, "{length}");
                assert!(top.len() <= 6 && below >= 1500 - 6);
            }
            let mut other = original.clone();
            other.extend(b"--\r\n");
            assert_eq!(on_top(&other, &original), None, "{length}: another end");
        }
        let (large, top) = (body(100_000), vec![b'x'; TOP_MAX]);
        assert!(on_top(&with(&top, &large), &large).is_some());
        assert_eq!(on_top(&with(b"x", &with(&top, &large)), &large), None, "too much on top");
        assert_eq!(on_top(b"abcdef", b"f"), None, "too little in common");
    }
}
