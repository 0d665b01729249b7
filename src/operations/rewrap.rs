//! Changing the master key of a store that no server works on.
//!
//! ```text
//! 1 the new key's file is made, if it is not there, and flushed
//! 2 one transaction wraps every wrapped key again, notes the new key's id and writes the audit event
//! 3 the new key takes the place of the old one's file, which stays beside it as FILE.old
//! ```
//! A power cut before the end of 2 leaves everything as it was. Between 2 and 3 the store names the new key and the file
//! holds the old one: the gateway says so and does not start, and the same command goes on at 3.

use super::{ErrorKind, OperationError};
use crate::audit::{self, Audit, Event};
use crate::config::{Config, MasterKeySource};
use crate::keys::master::{self, OtherMasterKey};
use crate::keys::register;
use crate::queue;
use crate::seal::{self, MasterKey, Rewrapped, Rotation};
use crate::store::{Lock, LockError, Store, Tx, TxError, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrap {
    /// Id of the master key before.
    pub from: String,
    /// Id of the one that holds now.
    pub to: String,
    /// Wrapped keys; none if only what an interrupted command had left was to be done.
    pub keys: Rewrapped,
    /// Whether the file of the new key was made now.
    pub made: bool,
    /// What became of the old key's file.
    pub file: Placed,
}

/// Where the new key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In the place of the old one, which is kept under this name.
    Installed {
        /// The file that the configuration means.
        at: PathBuf,
        /// The old key.
        old: PathBuf,
    },
    /// In its own file only: the operator says to the configuration, or to systemd, that it holds now.
    ByHand {
        /// The file that the configuration means.
        at: PathBuf,
        /// Why nothing was put there.
        why: String,
    },
}

struct Job {
    rotation: Rotation,
    audit: Audit,
}

impl Write for Job {
    type Output = Rewrapped;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Rewrapped, TxError> {
        let mut count = audit::rewrap(tx, &self.rotation)?;
        count += register::rewrap(tx, &self.rotation)?;
        count += queue::rewrap(tx, &self.rotation)?;
        let (from, to) = (self.rotation.from.id().to_owned(), self.rotation.to.id().to_owned());
        master::note(tx, &to)?;
        audit::append(tx, self.audit.chain(), &[Event::MasterRotated { from, to }])?;
        Ok(count)
    }
}

/// Wraps every wrapped key by the key in the file `new`, which is made if it is not there.
///
/// # Errors
/// A server runs; no store; the files; the database. Each says what holds now.
pub async fn rewrap(config: &Config, new: &Path) -> Result<Rewrap, OperationError> {
    let at = config.master_key.path();
    let _lock = lock(config)?;
    if !std::fs::metadata(&config.database).is_ok_and(|found| found.len() > 0) {
        let message = format!("no store `{}`: there is nothing to wrap again", config.database.display());
        return Err(OperationError::new(ErrorKind::Store, message).hint("name the configuration with `-c FILE`"));
    }
    let failed = |error: &dyn std::error::Error| OperationError::from_error(ErrorKind::Store, error);
    let (present, _) = MasterKey::open(&MasterKeySource::File(at.to_owned())).map_err(|error| failed(&error))?;
    let (next, made) = MasterKey::open(&MasterKeySource::Generated(new.to_owned())).map_err(|error| failed(&error))?;
    let store = Store::open(&config.database).await.map_err(|error| failed(&error))?;
    let done = with_store(&store, at, present, next, made).await;
    // Closing the last connection writes the log back and removes it, and with it the last trace of the old wrapping.
    store.close().await;
    let mut done = done?;
    if done.from != done.to {
        done.file = place(at, new, &done);
    }
    Ok(done)
}

fn lock(config: &Config) -> Result<Lock, OperationError> {
    Lock::take(&config.data_dir).map_err(|error| {
        let hint = match error {
            LockError::Held(_) => {
                "the master key is changed while no server runs: stop it (`systemctl stop segel`), run this again, and start it"
            }
            LockError::Io { .. } => "run this as the gateway's user or as root",
        };
        OperationError::from_error(ErrorKind::Server, &error).hint(hint)
    })
}

async fn with_store(
    store: &Store,
    at: &Path,
    present: MasterKey,
    next: MasterKey,
    made: bool,
) -> Result<Rewrap, OperationError> {
    let failed = |error: &dyn std::error::Error| OperationError::from_error(ErrorKind::Store, error);
    let stored = master::stored_id(store).await.map_err(|error| failed(&error))?;
    let stored = stored.unwrap_or_else(|| present.id().to_owned());
    let file = Placed::ByHand { at: at.to_owned(), why: String::new() };
    let (from, to) = (present.id().to_owned(), next.id().to_owned());
    let keys = Rewrapped::default();
    if stored == to {
        // An earlier run has come this far, or all the way.
        return Ok(Rewrap { from, to, keys, made, file });
    }
    if stored != from {
        let error = OtherMasterKey { store: stored, found: from, file: at.to_owned() };
        return Err(failed(&error).hint(error.hint()));
    }
    let old = seal::old_name(at);
    if old.try_exists().unwrap_or(true) {
        let message = format!("`{}` is still there from an earlier change of the master key", old.display());
        let hint = "it opens backups from before that change: keep it with them under another name, or destroy it (`shred -u`)";
        return Err(OperationError::new(ErrorKind::Input, message).hint(hint));
    }
    let present = Arc::new(present);
    let audit = Audit::open(store.clone(), Arc::clone(&present)).await.map_err(|error| failed(&error))?;
    let job = Job { rotation: Rotation { from: present, to: Arc::new(next) }, audit };
    let keys = store.write(job).await.map_err(|error| failed(&error))?;
    Ok(Rewrap { from, to, keys, made, file })
}

/// The store needs the new key from now on, whatever happens here: what fails is told as work for the operator.
fn place(at: &Path, new: &Path, done: &Rewrap) -> Placed {
    let by_hand = |why: String| Placed::ByHand { at: at.to_owned(), why };
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    if credentials.is_some_and(|folder| at.parent() == Some(Path::new(&folder))) {
        return by_hand("it is a credential of systemd".to_owned());
    }
    match seal::install(at, new) {
        Ok(old) => {
            tracing::info!(from = %done.from, to = %done.to, "master key changed.");
            Placed::Installed { at: at.to_owned(), old }
        }
        Err(error) => by_hand(OperationError::from_error(ErrorKind::Store, &error).message),
    }
}
