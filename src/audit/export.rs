//! The log for somebody who has neither the database nor a key: every row as it is hashed, and every checkpoint.
//!
//! Personal fields stay sealed. `docs/audit.md` says how to recompute the chain from these lines.

use super::{Audit, AuditError};
use data_encoding::HEXLOWER;
use serde::Serialize;
use sqlx::{query, query_as};

/// A line of an export. Octets are lower-case hex; times are microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the fields are the columns, which docs/audit.md describes")]
pub enum ExportLine {
    /// A checkpoint; `heads` is the text that was signed.
    Checkpoint { id: i64, at: i64, heads: String, signature: String, key: String },
    /// A row; `public` is the text that is hashed.
    Row {
        chain: String,
        seq: i64,
        prev: String,
        hash: String,
        at: i64,
        event: String,
        queue_id: Option<String>,
        public: String,
        subject: Option<String>,
        sealed: Option<String>,
    },
}

/// How far an export has come. Checkpoints come first: the rows that they name are then surely among those read later,
/// although a server writes meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Checkpoints above this id.
    Checkpoints(i64),
    /// Rows above this number of this chain, then later chains.
    Rows(String, i64),
}

impl Cursor {
    /// Where an export begins.
    pub fn start() -> Self {
        Self::Checkpoints(0)
    }
}

/// The next lines, at most 1,000, and where to go on; `None` at the end.
pub(super) async fn page(audit: &Audit, cursor: Cursor) -> Result<(Vec<ExportLine>, Option<Cursor>), AuditError> {
    match cursor {
        Cursor::Checkpoints(after) => checkpoints(audit, after).await,
        Cursor::Rows(chain, after) => rows(audit, &chain, after).await,
    }
}

async fn checkpoints(audit: &Audit, after: i64) -> Result<(Vec<ExportLine>, Option<Cursor>), AuditError> {
    let rows: Vec<(i64, i64, String, Vec<u8>, String)> =
        query_as("SELECT id, at, heads, signature, key FROM audit_checkpoint WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(PAGE)
            .fetch_all(audit.store.readers())
            .await?;
    let next = rows.last().map_or(Cursor::Rows(String::new(), 0), |(id, ..)| Cursor::Checkpoints(*id));
    let line = |(id, at, heads, signature, key): (i64, i64, String, Vec<u8>, String)| ExportLine::Checkpoint {
        id,
        at,
        heads,
        signature: HEXLOWER.encode(&signature),
        key,
    };
    Ok((rows.into_iter().map(line).collect(), Some(next)))
}

async fn rows(audit: &Audit, chain: &str, after: i64) -> Result<(Vec<ExportLine>, Option<Cursor>), AuditError> {
    use sqlx::Row;
    let rows = query(
        "SELECT chain, seq, prev, hash, at, event, queue_id, public, subject, sealed FROM audit \
         WHERE (chain, seq) > (?, ?) ORDER BY chain, seq LIMIT ?",
    )
    .bind(chain)
    .bind(after)
    .bind(PAGE)
    .fetch_all(audit.store.readers())
    .await?;
    let mut lines = Vec::with_capacity(rows.len());
    let mut next = None;
    for row in rows {
        let (chain, seq): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        next = Some(Cursor::Rows(chain.clone(), seq));
        lines.push(ExportLine::Row {
            chain,
            seq,
            prev: HEXLOWER.encode(row.try_get(2)?),
            hash: HEXLOWER.encode(row.try_get(3)?),
            at: row.try_get(4)?,
            event: row.try_get(5)?,
            queue_id: row.try_get(6)?,
            public: row.try_get(7)?,
            subject: row.try_get(8)?,
            sealed: row.try_get::<Option<Vec<u8>>, _>(9)?.map(|sealed| HEXLOWER.encode(&sealed)),
        });
    }
    Ok((lines, next))
}

/// Lines read at once.
const PAGE: i64 = 1000;
