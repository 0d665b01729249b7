//! Stored mail under another master key.

use super::QueueId;
use super::content::{copy_context, details_context, original_context};
use crate::seal::{Rewrapped, Rotation, WrappedKey};
use sqlx::{SqliteConnection, query, query_as};

/// Rows that are read at once.
const PAGE: i64 = 500;

/// Wraps the keys of originals, copies and details again.
pub async fn rewrap(tx: &mut SqliteConnection, rotation: &Rotation) -> Result<Rewrapped, sqlx::Error> {
    let mut count = Rewrapped::default();
    details(tx, rotation, &mut count).await?;
    originals(tx, rotation, &mut count).await?;
    copies(tx, rotation, &mut count).await?;
    Ok(count)
}

async fn details(tx: &mut SqliteConnection, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), sqlx::Error> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<(i64, String, String, Vec<u8>)> = query_as(
            "SELECT id, queue_id, details_master, details_wrapped FROM record \
             WHERE id > ? AND details_wrapped IS NOT NULL ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *tx)
        .await?;
        let Some(&(last, ..)) = rows.last() else { return Ok(()) };
        after = last;
        for (id, queue_id, master, bytes) in rows {
            let wrapped = WrappedKey { master, bytes };
            let Some(wrapped) = rewrapped(rotation, &queue_id, details_context, &wrapped, count) else { continue };
            query("UPDATE record SET details_master = ?, details_wrapped = ? WHERE id = ?")
                .bind(wrapped.master)
                .bind(wrapped.bytes)
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
    }
}

async fn originals(tx: &mut SqliteConnection, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), sqlx::Error> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<(i64, String, i64, String, Vec<u8>)> = query_as(
            "SELECT record.id, queue_id, content.id, master, wrapped FROM record \
             JOIN content ON content.id = record.original \
             WHERE record.id > ? AND wrapped IS NOT NULL ORDER BY record.id LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *tx)
        .await?;
        let Some(&(last, ..)) = rows.last() else { return Ok(()) };
        after = last;
        for (_, queue_id, content, master, bytes) in rows {
            let wrapped = WrappedKey { master, bytes };
            let wrapped = rewrapped(rotation, &queue_id, original_context, &wrapped, count);
            update(tx, content, wrapped).await?;
        }
    }
}

async fn copies(tx: &mut SqliteConnection, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), sqlx::Error> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<(i64, String, i64, i64, String, Vec<u8>)> = query_as(
            "SELECT copy.id, queue_id, number, content.id, master, wrapped FROM copy \
             JOIN record ON record.id = copy.record JOIN content ON content.id = copy.content \
             WHERE copy.id > ? AND wrapped IS NOT NULL ORDER BY copy.id LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *tx)
        .await?;
        let Some(&(last, ..)) = rows.last() else { return Ok(()) };
        after = last;
        for (_, queue_id, number, content, master, bytes) in rows {
            let wrapped = WrappedKey { master, bytes };
            let wrapped = rewrapped(rotation, &queue_id, |id| copy_context(id, number), &wrapped, count);
            update(tx, content, wrapped).await?;
        }
    }
}

fn rewrapped(
    rotation: &Rotation,
    queue_id: &str,
    context: impl Fn(&QueueId) -> String,
    wrapped: &WrappedKey,
    count: &mut Rewrapped,
) -> Option<WrappedKey> {
    match QueueId::parse(queue_id) {
        Some(id) => rotation.rewrap(&context(&id), wrapped, count),
        None => {
            count.left += 1;
            None
        }
    }
}

async fn update(tx: &mut SqliteConnection, content: i64, wrapped: Option<WrappedKey>) -> Result<(), sqlx::Error> {
    let Some(wrapped) = wrapped else { return Ok(()) };
    query("UPDATE content SET master = ?, wrapped = ? WHERE id = ?")
        .bind(wrapped.master)
        .bind(wrapped.bytes)
        .bind(content)
        .execute(tx)
        .await?;
    Ok(())
}
