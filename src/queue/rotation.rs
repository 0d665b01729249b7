//! Stored mail under another master key.

use super::QueueId;
use super::content::{copy_context, details_context, original_context};
use crate::seal::{Rewrapped, Rotation, WrappedKey};
use crate::store::{Tx, TxError, values};

/// Rows that are read at once.
const PAGE: i64 = 500;

/// Wraps the keys of originals, copies and details again.
pub fn rewrap(tx: &mut Tx<'_>, rotation: &Rotation) -> Result<Rewrapped, TxError> {
    let mut count = Rewrapped::default();
    details(tx, rotation, &mut count)?;
    originals(tx, rotation, &mut count)?;
    copies(tx, rotation, &mut count)?;
    Ok(count)
}

fn details(tx: &mut Tx<'_>, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), TxError> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<(i64, String, String, Vec<u8>)> = tx.rows(
            "SELECT id, queue_id, details_master, details_wrapped FROM record \
             WHERE id > ? AND details_wrapped IS NOT NULL ORDER BY id LIMIT ?",
            &values![after, PAGE],
        )?;
        let Some(&(last, ..)) = rows.last() else { return Ok(()) };
        after = last;
        for (id, queue_id, master, bytes) in rows {
            let wrapped = WrappedKey { master, bytes };
            let Some(wrapped) = rewrapped(rotation, &queue_id, details_context, &wrapped, count) else { continue };
            tx.execute(
                "UPDATE record SET details_master = ?, details_wrapped = ? WHERE id = ?",
                &values![wrapped.master, wrapped.bytes, id],
            )?;
        }
    }
}

fn originals(tx: &mut Tx<'_>, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), TxError> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<(i64, String, i64, String, Vec<u8>)> = tx.rows(
            "SELECT record.id, queue_id, content.id, master, wrapped FROM record \
             JOIN content ON content.id = record.original \
             WHERE record.id > ? AND wrapped IS NOT NULL ORDER BY record.id LIMIT ?",
            &values![after, PAGE],
        )?;
        let Some(&(last, ..)) = rows.last() else { return Ok(()) };
        after = last;
        for (_, queue_id, content, master, bytes) in rows {
            let wrapped = WrappedKey { master, bytes };
            let wrapped = rewrapped(rotation, &queue_id, original_context, &wrapped, count);
            update(tx, content, wrapped)?;
        }
    }
}

fn copies(tx: &mut Tx<'_>, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), TxError> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<(i64, String, i64, i64, String, Vec<u8>)> = tx.rows(
            "SELECT copy.id, queue_id, number, content.id, master, wrapped FROM copy \
             JOIN record ON record.id = copy.record JOIN content ON content.id = copy.content \
             WHERE copy.id > ? AND below IS NULL AND wrapped IS NOT NULL ORDER BY copy.id LIMIT ?",
            &values![after, PAGE],
        )?;
        let Some(&(last, ..)) = rows.last() else { return Ok(()) };
        after = last;
        for (_, queue_id, number, content, master, bytes) in rows {
            let wrapped = WrappedKey { master, bytes };
            let wrapped = rewrapped(rotation, &queue_id, |id| copy_context(id, number), &wrapped, count);
            update(tx, content, wrapped)?;
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

fn update(tx: &mut Tx<'_>, content: i64, wrapped: Option<WrappedKey>) -> Result<(), TxError> {
    let Some(wrapped) = wrapped else { return Ok(()) };
    tx.execute(
        "UPDATE content SET master = ?, wrapped = ? WHERE id = ?",
        &values![wrapped.master, wrapped.bytes, content],
    )?;
    Ok(())
}
