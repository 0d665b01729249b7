//! Removing records that have been final for long, and giving their space back.
//!
//! On a connection of its own, in small transactions with pauses: the writer waits some milliseconds for one of them. That
//! connection does not check foreign keys: rows go with all that belongs to them, and checking would need an index for
//! each reference, paid for with every mail. Audit rows stay.

use super::QueueError;
use crate::store::backup;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, query, query_scalar};
use std::path::Path;
use std::time::Duration;

/// Records in one transaction.
const BATCH: i64 = 50;
/// Batches in one run: the rest waits for the next.
const BATCHES: usize = 2000;
/// Rows of evidence in one transaction.
const EVIDENCE: i64 = 50;
/// Pages that are given back in one step, and those that stay free for new mail.
const PAGES: u32 = 128;
const SPARE: i64 = 1024;
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(50);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Records with their recipients, copies and contents.
    pub records: u64,
    /// Certificates and lists that no record rests on any more.
    pub evidence: u64,
    /// Pages of the database that were given back.
    pub pages: i64,
}

/// Removes what has been final since before `before` (microseconds), oldest first, then gives space back.
///
/// # Errors
/// The store; what was removed so far stays removed.
pub async fn remove_final(database: &Path, before: i64) -> Result<Removed, QueueError> {
    let mut connection = backup::unchecked(database).await?;
    let removed = run(&mut connection, before).await;
    backup::close(connection).await;
    removed
}

async fn run(connection: &mut SqliteConnection, before: i64) -> Result<Removed, QueueError> {
    let mut removed = Removed::default();
    for _ in 0..BATCHES {
        let records = records(connection, before).await?;
        removed.records += records;
        if records < u64::try_from(BATCH).unwrap_or(0) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    for _ in 0..BATCHES {
        let evidence = evidence(connection).await?;
        removed.evidence += evidence;
        if evidence == 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    removed.pages = give_back(connection).await?;
    Ok(removed)
}

async fn records(connection: &mut SqliteConnection, before: i64) -> Result<u64, QueueError> {
    let found: Vec<i64> = query_scalar("SELECT id FROM record WHERE final < ? ORDER BY final LIMIT ?")
        .bind(before)
        .bind(BATCH)
        .fetch_all(&mut *connection)
        .await?;
    if found.is_empty() {
        return Ok(0);
    }
    let list = serde_json::Value::from_iter(found.iter().copied()).to_string();
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    // The list is looked at again: a release makes a record of its own, but who knows.
    const WHICH: &str = "(SELECT id FROM record WHERE final < ? AND id IN (SELECT value FROM json_each(?)))";
    for sql in [
        format!("DELETE FROM sealed WHERE content IN (SELECT content FROM copy WHERE record IN {WHICH})"),
        format!("DELETE FROM sealed WHERE content IN (SELECT original FROM record WHERE id IN {WHICH})"),
        format!("DELETE FROM content WHERE id IN (SELECT content FROM copy WHERE record IN {WHICH})"),
        format!("DELETE FROM content WHERE id IN (SELECT original FROM record WHERE id IN {WHICH})"),
        format!("DELETE FROM copy WHERE record IN {WHICH}"),
        format!("DELETE FROM recipient WHERE record IN {WHICH}"),
        format!("DELETE FROM record_evidence WHERE record IN {WHICH}"),
        format!("DELETE FROM alert WHERE record IN {WHICH}"),
    ] {
        query(AssertSqlSafe(sql)).bind(before).bind(&list).execute(&mut *tx).await?;
    }
    let sql = "DELETE FROM record WHERE final < ? AND id IN (SELECT value FROM json_each(?))";
    let gone = query(sql).bind(before).bind(&list).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(gone.rows_affected())
}

async fn evidence(connection: &mut SqliteConnection) -> Result<u64, QueueError> {
    let gone = query(
        "DELETE FROM evidence WHERE sha256 IN (SELECT e.sha256 FROM evidence e WHERE NOT EXISTS \
         (SELECT 1 FROM record_evidence r WHERE r.sha256 = e.sha256) LIMIT ?)",
    )
    .bind(EVIDENCE)
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

async fn give_back(connection: &mut SqliteConnection) -> Result<i64, QueueError> {
    let free = |connection| query_scalar::<_, i64>("PRAGMA freelist_count").fetch_one(connection);
    let before = free(&mut *connection).await?;
    let mut left = before;
    while left > SPARE {
        let now = backup::give_back(connection, PAGES).await?;
        if now >= left {
            // Somebody fills and frees pages meanwhile, or this database can't shrink.
            break;
        }
        left = now;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(before.saturating_sub(left).max(0))
}
