//! The database of a backup: what it says of itself, and how it is made ready to take a lost one's place.

use crate::keys::master;
use crate::store::{StoreError, backup};
use sqlx::{Connection, SqliteConnection, query, query_scalar};
use std::path::Path;

/// What a copy says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) schema: i64,
    /// Content files that it names, in order.
    pub(super) files: Vec<String>,
    /// Id of the master key that it is sealed with; `None`: it holds nothing sealed.
    pub(super) master: Option<String>,
    /// Recipients whose mail waits.
    pub(super) waiting: i64,
}

/// Reads a copy that nobody writes.
pub(super) async fn facts(copy: &Path) -> Result<Facts, StoreError> {
    let mut connection = backup::read(copy).await?;
    let found = read(&mut connection).await;
    backup::close(connection).await;
    found
}

async fn read(connection: &mut SqliteConnection) -> Result<Facts, StoreError> {
    let files = "SELECT file FROM content NOT INDEXED WHERE file IS NOT NULL AND wrapped IS NOT NULL ORDER BY file";
    Ok(Facts {
        schema: backup::schema(connection).await?,
        files: query_scalar(files).fetch_all(&mut *connection).await?,
        master: query_scalar(master::STORED_ID).fetch_one(&mut *connection).await?,
        waiting: query_scalar("SELECT count(*) FROM recipient WHERE state = 'pending'").fetch_one(connection).await?,
    })
}

/// What SQLite finds wrong in a copy; empty: nothing.
pub(super) async fn problems(copy: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = backup::read(copy).await?;
    let found = backup::problems(&mut connection).await;
    backup::close(connection).await;
    found
}

/// Nothing in it leaves by itself from now on, and `note` stands in it until the gateway has told the audit log. How many
/// recipients are held by that.
pub(super) async fn hold(copy: &Path, why: &str, note: &str, now: i64) -> Result<u64, StoreError> {
    let mut connection = backup::change(copy).await?;
    let held = hold_all(&mut connection, why, note, now).await;
    let closed = connection.close().await;
    let held = held?;
    closed?;
    Ok(held)
}

async fn hold_all(connection: &mut SqliteConnection, why: &str, note: &str, now: i64) -> Result<u64, StoreError> {
    let mut tx = connection.begin().await?;
    // What waits for a certificate or a CRL would be decided again by itself, and may have left after the backup.
    let held = query(
        "UPDATE recipient SET state = 'held', class = 'operator', diagnostic = ?, due = NULL, lease = NULL, token = NULL, \
         changed = ? WHERE state = 'pending' OR (state = 'held' AND class IN ('awaiting-key', 'awaiting-revocation'))",
    )
    .bind(why)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    // The security team has had this digest.
    let alerts: i64 =
        query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'alert'").fetch_one(&mut *tx).await?;
    if alerts > 0 {
        query("DELETE FROM alert").execute(&mut *tx).await?;
    }
    query("INSERT INTO setting (name, value) VALUES ('restored', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(note)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(held.rows_affected())
}
