//! One process at a time writes to a data directory.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const PRIVATE_DIRECTORY: u32 = 0o700;

/// Held as long as the value lives; the system gives it back however the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("`{0}` is in use by another process")]
    Held(PathBuf),
    /// The file cannot be made or locked.
    #[error("cannot lock `{path}`")]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of this data directory (`lock` in it), or says at once that it is held.
    ///
    /// The directory is made when it is missing. Nobody else may look into it: the database holds envelopes in clear, and
    /// whoever can open the lock's file could keep the gateway from starting.
    pub fn take(data_dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: data_dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(data_dir).map_err(failed)?;
        let mode = std::fs::metadata(data_dir).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %data_dir.display(), "the data directory was open to others; it is private now.");
            std::fs::set_permissions(data_dir, Permissions::from_mode(PRIVATE_DIRECTORY)).map_err(failed)?;
        }
        let path = data_dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = match file {
            Ok(file) => file,
            Err(source) => return Err(LockError::Io { path, source }),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(path)),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}
