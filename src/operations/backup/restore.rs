//! Putting a backup in the place of what was lost. All of it or nothing.
//!
//! ```text
//! 1 the archive is unpacked into data_dir/restore.tmp and checked whole; its queue is held there
//! 2 --move-aside: the old data is linked into data_dir/before-restore-TIME, where it stays; it also stays where it is
//! 3 content files move to data_dir/content, where no row names them yet
//! 4 the database takes its name: one rename
//! ```
//! A kill before 4 leaves the old data as it was (its next start removes content that no row of it names), after 4 the new.

use super::archive::{Unpack, read};
use super::{CONTENT, DATABASE, Manifest, Scratch, database, io, need_space, no_good, own_like, store};
use crate::clock;
use crate::operations::{ErrorKind, OperationError};
use crate::seal::sync_folder;
use crate::store::{Lock, LockError, backup};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where a restore works, below data_dir.
pub(super) const SCRATCH: &str = "restore.tmp";
/// Names in a data directory that are nobody's mail: it counts as empty with them.
const NOT_DATA: [&str; 6] = ["lock", "backup.lock", "master.key", "lost+found", SCRATCH, crate::queue::KEPT_FOR_BACKUP];

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The archive.
    pub file: PathBuf,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The database in it.
    pub database: PathBuf,
    /// Data that is there may be moved aside.
    pub move_aside: bool,
    /// Who does it.
    pub operator: String,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the archive said.
    pub manifest: Manifest,
    /// Recipients that are held now.
    pub held: u64,
    /// Where the old data lies.
    pub aside: Option<PathBuf>,
}

/// Restores a backup.
///
/// # Errors
/// A gateway runs; the directory holds data; the archive is no good or too new; no space; the files. Nothing was changed.
pub async fn restore(request: &Restore) -> Result<Restored, OperationError> {
    let _lock = lock(&request.data_dir)?;
    let there = data_in(request)?;
    if let Some(name) = there.first().filter(|_| !request.move_aside) {
        let message = format!("`{}` is not empty: `{name}` is there", request.data_dir.display());
        return Err(OperationError::new(ErrorKind::Input, message)
            .hint("nothing was changed; `--move-aside` keeps what is there beside what is restored, or give another --data-dir"));
    }
    let size = std::fs::metadata(&request.file).map_err(|error| {
        OperationError::new(ErrorKind::Input, format!("cannot read `{}`: {error}", request.file.display()))
    })?;
    need_space(&request.data_dir, size.len())?;
    let scratch = Scratch::make(request.data_dir.join(SCRATCH))?;
    let unpacked = scratch.path().to_owned();
    make_folder(&unpacked.join(CONTENT))?;
    let (file, to) = (request.file.clone(), unpacked.clone());
    let manifest = tokio::task::spawn_blocking(move || read(&file, &Unpack::All(&to)))
        .await
        .unwrap_or_else(|_| Err(OperationError::new(ErrorKind::Store, "the restore was interrupted")))?;
    let copy = unpacked.join(DATABASE);
    check(&request.file, &manifest, &copy).await?;
    let held = hold(request, &manifest, &copy).await?;
    let aside = if there.is_empty() { None } else { Some(set_aside(request).await?) };
    put(request, &unpacked)?;
    tracing::info!(made = %manifest.made, held, "restored.");
    Ok(Restored { manifest, held, aside })
}

fn lock(data_dir: &Path) -> Result<Lock, OperationError> {
    Lock::take(data_dir).map_err(|error| {
        let hint = match error {
            LockError::Held(_) => "stop the gateway first (`systemctl stop segel`); nothing was changed",
            LockError::Io { .. } => "run this as the gateway's user or as root",
        };
        OperationError::from_error(ErrorKind::Server, &error).hint(hint)
    })
}

/// What of a gateway lies in the directory.
fn data_in(request: &Restore) -> Result<Vec<String>, OperationError> {
    let failed = |error: &std::io::Error| io("read", &request.data_dir, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&request.data_dir).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A gateway that was killed leaves its socket; one that never took mail an empty folder.
        let nothing = NOT_DATA.contains(&name.as_str())
            || name == "control.sock"
            || name.starts_with("before-restore-")
            || (name == CONTENT && is_empty(&entry.path()));
        if !nothing {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// The checks that digests can't make.
pub(super) async fn check(file: &Path, manifest: &Manifest, copy: &Path) -> Result<(), OperationError> {
    let unreadable = |error: crate::store::StoreError| {
        no_good(file, &format!("its database can't be read: {}", OperationError::from_error(ErrorKind::Input, &error)))
    };
    let facts = database::facts(copy).await.map_err(unreadable)?;
    let known = backup::known_schema();
    if facts.schema > known {
        let message = format!("`{}` has schema {}, this version knows {known}", file.display(), facts.schema);
        let hint = format!("nothing was changed; install Segel {} or newer, which made it", manifest.version);
        return Err(OperationError::new(ErrorKind::Input, message).hint(hint));
    }
    if facts.schema < 1 || facts.schema != manifest.schema || facts.master != manifest.master_key {
        return Err(no_good(file, "its manifest says other things than its database"));
    }
    let problems = database::problems(copy).await.map_err(unreadable)?;
    if let Some(problem) = problems.first() {
        return Err(no_good(file, &format!("its database is damaged: {problem}")));
    }
    let expected: std::collections::HashSet<&str> =
        manifest.files.iter().filter_map(|entry| entry.name.strip_prefix("content/")).collect();
    let missing = |name: &&String| !expected.contains(name.as_str()) && !manifest.missing.contains(name);
    if let Some(name) = facts.files.iter().find(missing) {
        return Err(no_good(file, &format!("its database names content `{name}`, which is not in it")));
    }
    Ok(())
}

async fn hold(request: &Restore, manifest: &Manifest, copy: &Path) -> Result<u64, OperationError> {
    let why = format!("{}{}", crate::queue::RESTORED, manifest.made);
    let note = serde_json::json!({
        "made": manifest.made, "version": manifest.version, "schema": manifest.schema,
        "operator": request.operator, "at": clock::now().to_string(),
        "database": manifest.files.iter().find(|entry| entry.name == DATABASE).map(|entry| &entry.sha256),
    });
    let held = database::hold(copy, &why, &note.to_string(), clock::now().as_microsecond()).await;
    held.map_err(|error| store(&error))
}

fn make_folder(path: &Path) -> Result<(), OperationError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io("make", path, &error))
}

/// Links what is there into a folder of its own. Nothing is taken away yet.
async fn set_aside(request: &Restore) -> Result<PathBuf, OperationError> {
    let time = clock::now().strftime("%Y%m%dT%H%M%S%.6fZ").to_string();
    let aside = request.data_dir.join(format!("before-restore-{time}"));
    make_folder(&aside)?;
    let database = &request.database;
    if database.is_file() {
        // A log that lies beside the new database would be taken for its own. One that can't be written back belongs to a
        // damaged database and is kept with it.
        if let Err(error) = backup::fold(database).await {
            tracing::warn!(error = %OperationError::from_error(ErrorKind::Store, &error), "the old database is damaged; it is kept as it is.");
        }
        let to = aside.join(database.file_name().unwrap_or_default());
        std::fs::hard_link(database, &to).map_err(|error| io("link", &to, &error))?;
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut log = database.clone().into_os_string();
        log.push(suffix);
        let log = PathBuf::from(log);
        if log.is_file() {
            let to = aside.join(log.file_name().unwrap_or_default());
            std::fs::rename(&log, &to).map_err(|error| io("move", &log, &error))?;
        }
    }
    let content = request.data_dir.join(CONTENT);
    if content.is_dir() {
        make_folder(&aside.join(CONTENT))?;
        for entry in std::fs::read_dir(&content).map_err(|error| io("read", &content, &error))? {
            let entry = entry.map_err(|error| io("read", &content, &error))?;
            let to = aside.join(CONTENT).join(entry.file_name());
            std::fs::hard_link(entry.path(), &to).map_err(|error| io("link", &to, &error))?;
        }
    }
    flush(&aside)?;
    Ok(aside)
}

fn put(request: &Restore, unpacked: &Path) -> Result<(), OperationError> {
    let content = request.data_dir.join(CONTENT);
    make_folder(&content)?;
    own_like(&content, &request.data_dir);
    own_like(&request.data_dir.join("lock"), &request.data_dir);
    let from = unpacked.join(CONTENT);
    for entry in std::fs::read_dir(&from).map_err(|error| io("read", &from, &error))? {
        let entry = entry.map_err(|error| io("read", &from, &error))?;
        let to = content.join(entry.file_name());
        own_like(&entry.path(), &request.data_dir);
        std::fs::rename(entry.path(), &to).map_err(|error| io("put in place", &to, &error))?;
    }
    flush(&content)?;
    let database = &request.database;
    let copy = unpacked.join(DATABASE);
    own_like(&copy, &request.data_dir);
    let sync = std::fs::OpenOptions::new().read(true).open(&copy).and_then(|file| file.sync_all());
    sync.map_err(|error| io("flush", &copy, &error))?;
    std::fs::rename(&copy, database).map_err(|error| io("put in place", database, &error))?;
    flush(&request.data_dir)
}

fn flush(folder: &Path) -> Result<(), OperationError> {
    sync_folder(folder).map_err(|error| io("flush", folder, &error))
}
