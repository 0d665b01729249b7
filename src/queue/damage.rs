//! Rows that no program of ours has written: a disk's doing. They are set aside and reported; mail around them goes on.
//!
//! Damage to sealed content is found when it is opened (`claim`), damage to the database's own structure by SQLite. This
//! looks for the rest: rows that would otherwise wait for ever without a word.

use super::{Queue, QueueError};
use crate::audit::{ChainWriter, Event, append};
use crate::store::{BoxFuture, Write};
use sqlx::{SqliteConnection, query, query_as};
use std::sync::Arc;

/// Rows that are set aside in one look; the next one finds the others.
const ROWS: i64 = 1000;

/// What is wrong comes first that explains the others.
const LOOK: &str = "SELECT r.id, coalesce(m.queue_id, ''), CASE \
     WHEN m.id IS NULL THEN 'its record is gone' \
     WHEN r.state NOT IN ('pending', 'held', 'delivered', 'failed', 'released', 'destroyed') THEN 'its state can not be read' \
     WHEN r.state = 'held' THEN 'why it is held can not be read' \
     WHEN r.due IS NULL THEN 'when it is due can not be read' \
     ELSE 'its copy is gone' END \
     FROM recipient r LEFT JOIN record m ON m.id = r.record LEFT JOIN copy c ON c.id = r.copy \
     LEFT JOIN content k ON k.id = c.content \
     WHERE r.state NOT IN ('delivered', 'failed', 'released', 'destroyed') AND NOT \
     (m.id IS NOT NULL AND ((r.state = 'pending' AND typeof(r.due) = 'integer' AND k.id IS NOT NULL) \
     OR (r.state = 'held' AND r.class IN ('quarantine', 'awaiting-key', 'awaiting-revocation', 'signer-revoked', 'operator')))) \
     ORDER BY r.id LIMIT ?";

impl Queue {
    /// Looks at every recipient that is not final, and holds those whose row can't be right. How many there are.
    ///
    /// # Errors
    /// The store: what it can't read is damaged as well, and the error says so.
    pub async fn set_damaged_aside(&self) -> Result<usize, QueueError> {
        let found: Vec<(i64, String, String)> = query_as(LOOK).bind(ROWS).fetch_all(self.0.store.readers()).await?;
        if found.is_empty() {
            return Ok(0);
        }
        for (row, queue_id, what) in &found {
            tracing::error!(row, %queue_id, %what, "stored mail is damaged and was set aside: `segel quarantine list`, docs/backup.md");
        }
        let count = found.len();
        let now = crate::clock::now().as_microsecond();
        self.0.store.write(SetAside { chain: Arc::clone(self.0.audit.chain()), found, now }).await?;
        Ok(count)
    }
}

struct SetAside {
    chain: Arc<ChainWriter>,
    found: Vec<(i64, String, String)>,
    now: i64,
}

impl Write for SetAside {
    type Output = ();

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let mut events = Vec::new();
            for (row, queue_id, what) in &self.found {
                let done = query(
                    "UPDATE recipient SET state = 'held', class = 'operator', diagnostic = ?, due = NULL, lease = NULL, \
                     token = NULL, changed = ? WHERE id = ? AND state NOT IN ('delivered', 'failed', 'released', 'destroyed')",
                )
                .bind(format!("stored row is damaged: {what}"))
                .bind(self.now)
                .bind(*row)
                .execute(&mut *tx)
                .await?;
                if done.rows_affected() > 0 {
                    let (queue_id, what) = (queue_id.clone(), what.clone());
                    events.push(Event::Damaged { queue_id, what, recipient: None });
                }
            }
            append(tx, &self.chain, &events).await
        })
    }
}
