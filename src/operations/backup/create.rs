//! Making a backup. A server may run: it goes on, and keeps what the backup still has to read.

use super::archive::Writer;
use super::{
    CONTENT, DATABASE, FORMAT, Manifest, Scratch, database, folder_of, io, need_space, own_like, remove_all, store,
};
use crate::audit::Event;
use crate::clock;
use crate::config::Config;
use crate::operations::{ErrorKind, OperationError, Output};
use crate::pipeline::Gateway;
use crate::queue::KEPT_FOR_BACKUP;
use crate::seal::sync_folder;
use crate::store::backup;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A backup that is on disk.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it holds.
    pub manifest: Manifest,
    /// Octets of the archive.
    pub size: u64,
}

/// Writes a backup of this configuration's data to `file`, which must not be there.
///
/// # Errors
/// No store; another backup runs; no space; the files. Nothing that looks like a backup is left.
pub async fn create(config: &Config, file: &Path) -> Result<Made, OperationError> {
    if file.symlink_metadata().is_ok() {
        let message = format!("`{}` is there already", file.display());
        return Err(
            OperationError::new(ErrorKind::Input, message).hint("give each backup a name of its own: a date, say")
        );
    }
    if !std::fs::metadata(&config.database).is_ok_and(|found| found.len() > 0) {
        let message = format!("no store `{}`: there is nothing to back up", config.database.display());
        return Err(OperationError::new(ErrorKind::Store, message).hint("name the configuration with `-c FILE`"));
    }
    let _one = only_one(&config.data_dir)?;
    // From here on a server moves content files that end into this folder instead of removing them.
    let scratch = Scratch::make(config.data_dir.join(KEPT_FOR_BACKUP))?;
    own_like(scratch.path(), &config.data_dir);
    need_space(scratch.path(), size_of_store(config))?;
    let made = clock::now();
    let copy = scratch.path().join(DATABASE);
    backup::copy_to(&config.database, &copy).await.map_err(|error| store(&error))?;
    let facts = database::facts(&copy).await.map_err(|error| store(&error))?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: made.to_string(),
        schema: facts.schema,
        master_key: facts.master,
        waiting: facts.waiting,
        files: Vec::new(),
        missing: Vec::new(),
    };
    let job = Job { file: file.to_owned(), content: config.data_dir.join(CONTENT), scratch, names: facts.files };
    let seconds = u64::try_from(made.as_second()).unwrap_or(0);
    let written = tokio::task::spawn_blocking(move || job.write(manifest, seconds)).await;
    written.unwrap_or_else(|_| Err(OperationError::new(ErrorKind::Store, "the backup was interrupted")))
}

fn size_of_store(config: &Config) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut log = config.database.clone().into_os_string();
    log.push("-wal");
    size(&config.database).saturating_add(size(Path::new(&log)))
}

/// Two backups at once would clear each other's folder.
fn only_one(data_dir: &Path) -> Result<File, OperationError> {
    let path = data_dir.join("backup.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|error| {
        io("make", &path, &error)
            .hint("run this as the gateway's user or as root: the backup is begun in its data directory")
    })?;
    own_like(&path, data_dir);
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(OperationError::new(ErrorKind::Server, "another backup is being made").hint("wait until it has ended"))
        }
        Err(TryLockError::Error(error)) => Err(io("lock", &path, &error)),
    }
}

/// What a killed backup left; nothing while one runs.
pub(super) fn clear_left(data_dir: &Path) {
    if data_dir.join(KEPT_FOR_BACKUP).is_dir()
        && let Ok(_one) = only_one(data_dir)
        && let Err(error) = remove_all(&data_dir.join(KEPT_FOR_BACKUP))
    {
        tracing::warn!(%error, "what an interrupted backup left stays behind.");
    }
}

struct Job {
    file: PathBuf,
    content: PathBuf,
    scratch: Scratch,
    names: Vec<String>,
}

/// Removes what was begun unless it was kept.
struct Part(Option<PathBuf>);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "the part of a backup stays behind.");
        }
    }
}

impl Job {
    fn write(self, mut manifest: Manifest, seconds: u64) -> Result<Made, OperationError> {
        let folder = folder_of(&self.file);
        clear_parts(&folder);
        let database = self.scratch.path().join(DATABASE);
        let octets = std::fs::metadata(&database).map_err(|error| io("read", &database, &error))?.len();
        need_space(&folder, octets)?;
        let path = self.part();
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let opened = opened.map_err(|error| io("make", &path, &error))?;
        // As long as it is written, no other backup takes it for what a killed one has left.
        if let Err(error) = opened.try_lock() {
            tracing::debug!(%error, "the part of a backup has no lock.");
        }
        let mut part = Part(Some(path.clone()));
        let mut archive = Writer::new(opened, seconds);
        let failed = |error: &std::io::Error| io("write", &self.file, error);
        let read = open(&database).map_err(|error| io("read", &database, &error))?;
        archive.add(DATABASE, read).map_err(|error| failed(&error))?;
        for name in &self.names {
            match self.open_content(name) {
                Ok(found) => archive.add(&format!("{CONTENT}/{name}"), found).map_err(|error| failed(&error))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => manifest.missing.push(name.clone()),
                Err(error) => return Err(io("read", &self.content.join(name), &error)),
            }
        }
        let manifest = archive.finish(manifest).map_err(|error| failed(&error))?;
        let size = std::fs::metadata(&path).map_err(|error| io("read", &path, &error))?.len();
        std::fs::rename(&path, &self.file).map_err(|error| failed(&error))?;
        part.0 = None;
        sync_folder(&folder).map_err(|error| io("flush", &folder, &error))?;
        Ok(Made { manifest, size })
    }

    fn part(&self) -> PathBuf {
        let random = data_encoding::HEXLOWER.encode(&crate::seal::random::<4>());
        let mut name = self.file.clone().into_os_string();
        name.push(format!(".part-{random}"));
        PathBuf::from(name)
    }

    /// Where it was, or where the server has put it since.
    fn open_content(&self, name: &str) -> std::io::Result<File> {
        match open(&self.content.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => open(&self.scratch.path().join(name)),
            found => found,
        }
    }
}

/// So long after the last octet a part is nobody's any more, whatever wrote it.
const OLD: Duration = Duration::from_secs(3600);

/// Removes what killed backups left where the new one will lie. Only what is surely that: its name, what it begins with, and
/// nobody writes it.
fn clear_parts(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_left_part(path)) {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "what a killed backup had left was removed."),
            Err(error) => tracing::warn!(path = %path.display(), %error, "what a killed backup has left stays behind."),
        }
    }
}

fn is_left_part(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let random = name.and_then(|name| name.rsplit_once(".part-")).map(|(_, random)| random);
    let is_named = random.is_some_and(|random| {
        random.len() == 8 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    let is_old = |found: &std::fs::Metadata| {
        found.is_file() && found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLD))
    };
    if !is_named || !path.symlink_metadata().is_ok_and(|found| is_old(&found)) {
        return false;
    }
    let Ok(mut file) = open(path) else { return false };
    let mut begin = [0; DATABASE.len() + 1];
    // The header of a tar file begins with the name of its first file, which is filled up with zeros.
    file.read_exact(&mut begin).is_ok()
        && begin.strip_suffix(b"\0") == Some(DATABASE.as_bytes())
        && file.try_lock().is_ok()
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// Notes in the audit log that a backup was made.
///
/// # Errors
/// The store.
pub async fn note(gateway: &Gateway, size: u64, database: String, operator: String) -> Result<Output, OperationError> {
    let public = serde_json::json!({"size": size, "database": database, "operator": operator});
    let noted = gateway.audit.record(vec![Event::Maintenance { name: "backup-made", public }]).await;
    noted.map_err(|error| store(&error))?;
    Ok(Output::Noted)
}
