//! Backups: one file that holds all of a gateway's data as of one instant, except the master key.
//!
//! ```text
//! FILE = tar (POSIX ustar, GNU sizes), mode 0600:
//!   segel.db            the database, by `VACUUM INTO`
//!   content/NAME        each sealed content that lies in a file of its own
//!   manifest.json       what should be there: names, sizes, SHA-256; schema, version, time, id of the master key
//!   manifest.sha256     SHA-256 of manifest.json, as `sha256sum` writes it
//! ```
//! The manifest comes last: an archive that was cut off has none. A backup is written under another name and renamed when
//! it is on disk; a restore puts everything beside what is there and ends with one rename (decision 0019).

mod archive;
mod create;
mod database;
mod restore;
mod told;
mod verify;

pub use create::{Made, create, note};
pub use restore::{Restore, Restored, restore};
pub use told::tell_restored;
pub use verify::{Verified, verify};

use super::{ErrorKind, OperationError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What an archive holds. Later versions may add fields; a change that this one can't read raises `format`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the archive: 1.
    pub format: u32,
    /// The version of Segel that made it.
    pub version: String,
    /// RFC 3339; when it was begun: the instant that it shows.
    pub made: String,
    /// Of the database.
    pub schema: i64,
    /// Id of the master key that opens it; none: nothing in it is sealed.
    pub master_key: Option<String>,
    /// Recipients whose mail waited.
    pub waiting: i64,
    /// All files but this one, in their order.
    pub files: Vec<Entry>,
    /// Content files that the database names and that were gone already: damage from before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `segel.db` or `content/NAME`.
    pub name: String,
    /// Octets.
    pub size: u64,
    /// Hexadecimal digits.
    pub sha256: String,
}

/// The archive format that is written, and the newest that is read.
const FORMAT: u32 = 1;
/// The database's name in an archive.
const DATABASE: &str = "segel.db";
/// The folder of content files, in an archive and below data_dir.
const CONTENT: &str = "content";
const MANIFEST: &str = "manifest.json";
const DIGEST: &str = "manifest.sha256";

/// Whether this is the name of a content file: 32 hexadecimal digits in lower case.
fn is_content_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn io(what: &str, path: &Path, error: &std::io::Error) -> OperationError {
    OperationError::new(ErrorKind::Store, format!("cannot {what} `{}`: {error}", path.display()))
}

fn store(error: &crate::store::StoreError) -> OperationError {
    OperationError::from_error(ErrorKind::Store, error)
}

fn no_good(file: &Path, problem: &str) -> OperationError {
    OperationError::new(ErrorKind::Input, format!("`{}` is no good backup: {problem}", file.display()))
        .hint("nothing was changed; take another backup, or fetch this one again from where it is kept")
}

/// Octets that are free where `folder` lies; `None`: nobody can say.
fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn need_space(folder: &Path, octets: u64) -> Result<(), OperationError> {
    match free(folder) {
        Some(free) if free < octets => {
            let message = format!("`{}` has {free} octets free, {octets} are needed", folder.display());
            Err(OperationError::new(ErrorKind::Store, message).hint("nothing was changed; make room and try again"))
        }
        _ => Ok(()),
    }
}

/// Gives what root has made to whom the data directory belongs: the gateway does not run as root.
fn own_like(path: &Path, data_dir: &Path) {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let Ok(owner) = std::fs::metadata(data_dir) else { return };
    let chown = std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()));
    if let Err(error) = chown {
        tracing::warn!(path = %path.display(), %error, "its owner could not be set.");
    }
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A folder of our own that goes away with the value; nothing in it counts after a crash.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    /// Makes it anew.
    fn make(path: PathBuf) -> Result<Self, OperationError> {
        use std::os::unix::fs::DirBuilderExt;
        remove_all(&path)?;
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| io("make", &path, &error))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.0) {
            tracing::warn!(%error, "a folder of a backup stays behind.");
        }
    }
}

fn remove_all(path: &Path) -> Result<(), OperationError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path, &error)),
        _ => Ok(()),
    }
}

/// What interrupted backups and restores left in a data directory. For whoever holds its lock.
pub fn clear_left(data_dir: &Path) {
    if let Err(error) = remove_all(&data_dir.join(restore::SCRATCH)) {
        tracing::warn!(%error, "what an interrupted restore left stays behind.");
    }
    create::clear_left(data_dir);
}
