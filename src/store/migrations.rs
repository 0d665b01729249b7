//! The schema's versions. `PRAGMA user_version` says how many were applied.

use super::{StoreError, TxError};
use crate::seal::sync_folder;
use rusqlite::Connection;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In order; a migration that was released is never changed.
const MIGRATIONS: [&str; 8] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
];

/// The newest version.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Copies of a database from before its schema changed that are kept.
const COPIES: usize = 2;

/// Applies what is missing, each migration in a transaction of its own, after a copy of what is there was made beside it.
/// An interrupted one is begun again by the next start. Refuses a newer schema, and an older one where it may not `migrate`.
pub(super) fn run(connection: &Connection, database: &Path, migrate: bool) -> Result<(), StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(TxError::from)?;
    let known = known();
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    if 0 < found && found < known {
        if !migrate {
            return Err(StoreError::OlderSchema { found, known });
        }
        tracing::info!(from = found, to = known, "the database is brought up to date.");
        keep_copy(connection, database, found)?;
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let version = index + 1;
        // A pragma takes no parameter; the number is ours.
        let sql = format!("BEGIN IMMEDIATE;\n{migration}\nPRAGMA user_version = {version};\nCOMMIT;");
        connection.execute_batch(&sql).map_err(TxError::from)?;
    }
    Ok(())
}

/// `segel.db.before-5`: whole as soon as it has its name. Of the older ones two stay.
fn keep_copy(connection: &Connection, database: &Path, schema: i64) -> Result<(), StoreError> {
    let path = beside(database, &format!("before-{schema}"));
    let part = beside(database, &format!("before-{schema}.part"));
    let failed = |source: std::io::Error| StoreError::Copy { path: path.clone(), source: Arc::new(source) };
    let size = std::fs::metadata(database).map_err(failed)?.len();
    let folder = database.parent().unwrap_or_else(|| Path::new("."));
    // As much again stays for the change itself, which rewrites pages into the log.
    let need = size.saturating_mul(2);
    let free = rustix::fs::statvfs(folder).map_err(|error| failed(error.into()))?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    if free < need {
        return Err(failed(std::io::Error::other(format!("{free} octets are free, {need} are needed"))));
    }
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Made before SQLite writes to it, which takes an empty file: nobody else may read it at any time.
    let made = OpenOptions::new().write(true).create_new(true).open(&part);
    made.and_then(|file| file.set_permissions(Permissions::from_mode(0o600))).map_err(failed)?;
    connection.execute("VACUUM INTO ?", [part.to_string_lossy()]).map_err(TxError::from)?;
    let flushed = OpenOptions::new().read(true).open(&part).and_then(|file| file.sync_all());
    flushed.and_then(|()| std::fs::rename(&part, &path)).and_then(|()| sync_folder(folder)).map_err(failed)?;
    tracing::info!(copy = %path.display(), "the database as it was is kept.");
    forget_older(database, folder);
    Ok(())
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    PathBuf::from(name)
}

fn forget_older(database: &Path, folder: &Path) {
    let prefix = format!("{}.before-", database.file_name().unwrap_or_default().to_string_lossy());
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let number = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse::<i64>().ok()?;
        Some((name, path))
    };
    let mut copies: Vec<(i64, PathBuf)> = entries.flatten().filter_map(|entry| number(entry.path())).collect();
    copies.sort();
    let old = copies.len().saturating_sub(COPIES);
    for (_, path) in copies.into_iter().take(old) {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "an old copy of the database stays behind.");
        }
    }
}
