//! Copies of a database as a whole: taken at one instant, checked, made one file. Knows no table's meaning.

use super::{StoreError, migrations, options};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, query, query_scalar};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The newest schema that this program knows.
pub fn known_schema() -> i64 {
    migrations::known()
}

/// Copies the database, as it is at one instant, to `target`, which must not be there. Others may write meanwhile. What
/// was deleted is not in the copy, not even as a free page.
///
/// # Errors
/// The database cannot be read, `target` cannot be written.
pub async fn copy_to(database: &Path, target: &Path) -> Result<(), StoreError> {
    let mut connection = read(database).await?;
    let made = query("VACUUM INTO ?").bind(target.to_string_lossy().into_owned()).execute(&mut connection).await;
    close(connection).await;
    made?;
    Ok(())
}

/// A connection that reads a database as it lies there: nothing is made, nothing is migrated.
///
/// # Errors
/// It can't be opened.
pub async fn read(database: &Path) -> Result<SqliteConnection, StoreError> {
    // Asking for a journal mode would write to a copy.
    let options =
        SqliteConnectOptions::new().filename(database).create_if_missing(false).busy_timeout(Duration::from_secs(5));
    let failed = |source| StoreError::Open { path: database.to_owned(), source: Arc::new(source) };
    options.connect().await.map_err(failed)
}

/// A connection that changes a database that nobody else has open. Closing it leaves one file.
///
/// # Errors
/// It can't be opened.
pub async fn change(database: &Path) -> Result<SqliteConnection, StoreError> {
    let failed = |source| StoreError::Open { path: database.to_owned(), source: Arc::new(source) };
    options(database).create_if_missing(false).connect().await.map_err(failed)
}

/// A connection that changes a database beside its writer, without checking foreign keys: for whoever removes rows with all
/// that belongs to them. Its transactions are short, or mail waits.
///
/// # Errors
/// It can't be opened.
pub async fn unchecked(database: &Path) -> Result<SqliteConnection, StoreError> {
    let failed = |source| StoreError::Open { path: database.to_owned(), source: Arc::new(source) };
    options(database).create_if_missing(false).foreign_keys(false).connect().await.map_err(failed)
}

/// The version of a database's schema.
///
/// # Errors
/// It can't be read.
pub async fn schema(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(query_scalar("PRAGMA user_version").fetch_one(connection).await?)
}

/// What SQLite finds wrong; empty: nothing. Reads all of it.
///
/// # Errors
/// It is no database, or cannot be read.
pub async fn problems(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = query_scalar("PRAGMA integrity_check(20)").fetch_all(connection).await?;
    found.retain(|line| line != "ok");
    Ok(found)
}

/// Writes the log of a database that nobody has open back into it, so that it is one file.
///
/// # Errors
/// It is damaged, or cannot be written.
pub async fn fold(database: &Path) -> Result<(), StoreError> {
    let mut connection = change(database).await?;
    let folded = query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
    let closed = connection.close().await;
    folded?;
    Ok(closed?)
}

/// Ends a connection that only read.
pub async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection for reading did not close.");
    }
}

/// Gives so many free pages back to the disk, in the transaction of `tx`. How many stay free.
///
/// # Errors
/// The database cannot be written.
pub async fn give_back(tx: &mut SqliteConnection, pages: u32) -> Result<i64, sqlx::Error> {
    // A pragma takes no parameter; the number is ours. It frees one page for each row that is stepped through.
    query(AssertSqlSafe(format!("PRAGMA incremental_vacuum({pages})"))).fetch_all(&mut *tx).await?;
    query_scalar("PRAGMA freelist_count").fetch_one(tx).await
}
