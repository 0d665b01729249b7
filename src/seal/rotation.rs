//! Changing the master key: what it wraps is wrapped again, and the new file takes the old one's place.
//!
//! What lies sealed is not touched: only the keys in front of it are wrapped anew, so that a change takes seconds and no
//! certificate has to be issued again. The rooms go through their own rows; this says how one key is wrapped again.

use super::{FILE_MAX, MasterKey, SealError, WrappedKey, sync_folder};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Both master keys while one takes the other's place.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// What everything is wrapped by now.
    pub from: Arc<MasterKey>,
    /// What everything will be wrapped by.
    pub to: Arc<MasterKey>,
}

/// What became of wrapped keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Wrapped by the new master key now.
    pub done: u64,
    /// Opened by the old master key no more than by the new one: damaged, or wrapped by a third. They stay as they are.
    pub left: u64,
}

impl std::ops::AddAssign for Rewrapped {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.left += other.left;
    }
}

impl Rotation {
    /// The same key under the new master key, counted; `None` for what does not open.
    pub fn rewrap(&self, context: &str, wrapped: &WrappedKey, count: &mut Rewrapped) -> Option<WrappedKey> {
        match self.from.unwrap_key(context, wrapped) {
            Ok(key) => {
                count.done += 1;
                Some(self.to.wrap(context, &key))
            }
            Err(_) => {
                count.left += 1;
                None
            }
        }
    }
}

/// Where the master key in `path` is kept when another takes its place.
pub fn old_name(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// Puts the key in `new` in the place of the one in `path`, which is kept beside it; where. At every moment there is
/// one of them under the name, whole.
///
/// # Errors
/// `OldKeyLeft` if another key is kept there already; the files. Nothing has changed then under the name.
pub fn install(path: &Path, new: &Path) -> Result<PathBuf, SealError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SealError::Read { path, source }
    };
    let (old, next) = (old_name(path), beside(path, ".next"));
    match std::fs::hard_link(path, &old) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // A change that was interrupted here has made this very link.
            if octets(path)? != octets(&old)? {
                return Err(SealError::OldKeyLeft(old));
            }
        }
        Err(error) => return Err(failed(&old)(error)),
    }
    let content = octets(new)?;
    let owner = std::fs::metadata(path).map_err(failed(path))?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next).map_err(failed(&next))?;
    // The server may run as somebody else than whoever changes the key.
    if (owner.uid(), owner.gid()) != file.metadata().map(|own| (own.uid(), own.gid())).map_err(failed(&next))? {
        fchown(&file, Some(owner.uid()), Some(owner.gid())).map_err(failed(&next))?;
    }
    file.write_all(&content).and_then(|()| file.sync_all()).map_err(failed(&next))?;
    std::fs::rename(&next, path).map_err(failed(path))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder).map_err(failed(folder))?;
    Ok(old)
}

fn octets(path: &Path) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let failed = |source| SealError::Read { path: path.to_owned(), source };
    let mut octets = Zeroizing::new(Vec::with_capacity(FILE_MAX));
    let file = OpenOptions::new().read(true).open(path).map_err(failed)?;
    file.take(FILE_MAX as u64).read_to_end(&mut octets).map_err(failed)?;
    Ok(octets)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}
