//! Rows that no program of ours has written: a disk's doing. They are set aside and reported; mail around them goes on.
//!
//! Damage to sealed content is found when it is opened (`claim`), damage to the database's own structure by SQLite. This
//! looks for the rest: rows that would otherwise wait for ever without a word.

use super::{Queue, QueueError};
use crate::audit::{ChainWriter, Event, append};
use crate::store::rows::shown_row;
use crate::store::{Tx, TxError, Write, values};
use sqlx::{AssertSqlSafe, query_as};
use std::sync::Arc;

/// Rows that are set aside in one look; the next one finds the others.
const ROWS: i64 = 1000;

/// The names of [`crate::policy::HoldClass`].
pub(super) const CLASSES: &str = "'quarantine', 'awaiting-key', 'awaiting-revocation', 'signer-revoked', 'operator'";

/// Begins the diagnostic of what is set aside; what is wrong follows. Another process may have written it.
pub(super) const CONTENT_IS_DAMAGED: &str = "stored content is damaged: ";
pub(super) const ROW_IS_DAMAGED: &str = "stored row is damaged: ";
pub(super) const IS_DAMAGED: &str =
    "(diagnostic GLOB 'stored content is damaged: *' OR diagnostic GLOB 'stored row is damaged: *')";

/// What is wrong comes first that explains the others.
fn look() -> String {
    format!(
        "SELECT r.id, CASE \
         WHEN m.id IS NULL THEN 'its record is gone' \
         WHEN r.state NOT IN ('pending', 'held', 'delivered', 'failed', 'released', 'destroyed') THEN 'its state can not be read' \
         WHEN r.state = 'held' THEN 'why it is held can not be read' \
         WHEN typeof(r.due) <> 'integer' THEN 'when it is due can not be read' \
         ELSE 'its copy is gone' END \
         FROM recipient r LEFT JOIN record m ON m.id = r.record LEFT JOIN copy c ON c.id = r.copy \
         LEFT JOIN content k ON k.id = c.content \
         WHERE r.state NOT IN ('delivered', 'failed', 'released', 'destroyed') AND NOT \
         (m.id IS NOT NULL AND ((r.state = 'pending' AND typeof(r.due) = 'integer' AND k.id IS NOT NULL) \
         OR (r.state = 'held' AND r.class IN ({CLASSES})))) \
         ORDER BY r.id LIMIT {ROWS}"
    )
}

impl Queue {
    /// Looks at every recipient that is not final, and holds those whose row can't be right. How many there are.
    ///
    /// # Errors
    /// The store: what it can't read is damaged as well, and the error says so.
    pub async fn set_damaged_aside(&self) -> Result<usize, QueueError> {
        self.look_for_orphans().await?;
        let found: Vec<(i64, String)> = query_as(AssertSqlSafe(look())).fetch_all(self.0.store.readers()).await?;
        if found.is_empty() {
            return Ok(0);
        }
        for (row, what) in &found {
            tracing::error!(row, %what, "stored mail is damaged and was set aside: `segel quarantine list`, docs/backup.md");
        }
        let count = found.len();
        let now = crate::clock::now().as_microsecond();
        self.0.store.write(SetAside { chain: Arc::clone(self.0.audit.chain()), found, now }).await?;
        Ok(count)
    }
}

impl Queue {
    /// Mail that is not final and has no recipients left: nobody can say who was to get it, but what it says is there.
    async fn look_for_orphans(&self) -> Result<(), QueueError> {
        let sql = format!(
            "SELECT id, queue_id FROM record WHERE final IS NULL AND NOT EXISTS \
             (SELECT 1 FROM recipient WHERE recipient.record = record.id) ORDER BY id LIMIT {ROWS}"
        );
        let found: Vec<Orphan> = query_as(AssertSqlSafe(sql)).fetch_all(self.0.store.readers()).await?;
        for Orphan { id, queue_id } in found {
            tracing::error!(row = id, %queue_id, "stored mail is damaged, its recipients are gone: `segel queue show --original`, docs/backup.md");
        }
        Ok(())
    }
}

shown_row! {
    struct Orphan {
    id: i64,
    queue_id: String,
}
}

struct SetAside {
    chain: Arc<ChainWriter>,
    found: Vec<(i64, String)>,
    now: i64,
}

impl Write for SetAside {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        set_rows_aside(tx, &self.chain, &self.found, self.now)
    }
}

/// Holds the recipients in these rows, with what is wrong with each, and says so in the audit log.
pub(super) fn set_rows_aside(
    tx: &mut Tx<'_>,
    chain: &ChainWriter,
    rows: &[(i64, String)],
    now: i64,
) -> Result<(), TxError> {
    let mut events = Vec::with_capacity(rows.len());
    for (row, what) in rows {
        let changed = tx.execute(
            "UPDATE recipient SET state = 'held', class = 'operator', diagnostic = ?, due = NULL, lease = NULL, \
             token = NULL, changed = ? WHERE id = ? AND state NOT IN ('delivered', 'failed', 'released', 'destroyed')",
            &values![format!("{ROW_IS_DAMAGED}{what}"), now, *row],
        )?;
        if changed > 0 {
            let of = "SELECT queue_id FROM record WHERE id = (SELECT record FROM recipient WHERE id = ?)";
            // The record may be what is damaged.
            let queue_id: Option<(String,)> = tx.optional(of, &values![*row]).unwrap_or_default();
            let queue_id = queue_id.map(|(queue_id,)| queue_id).unwrap_or_default();
            events.push(Event::Damaged { queue_id, what: what.clone(), recipient: None });
        }
    }
    append(tx, chain, &events)
}
