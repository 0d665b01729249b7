//! The start: what a former process left. And first sights of deferred mail.

use super::{Counts, Queue, QueueError, content};
use crate::store::{Tx, TxError, Write, values};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, query_scalar};
use std::collections::HashSet;

impl Queue {
    /// After the data directory's lock was taken, before the first claim: leases of the former process are void, and
    /// content files that no row names are removed.
    pub async fn recover(&self) -> Result<Counts, QueueError> {
        self.mend().await?;
        self.0.store.write(VoidLeases).await?;
        // By the rows themselves: what an index forgets must not be removed.
        let named: HashSet<String> = query_scalar("SELECT file FROM content NOT INDEXED WHERE file IS NOT NULL")
            .fetch_all(self.0.store.readers())
            .await?
            .into_iter()
            .collect();
        let folder = self.0.folder.clone();
        let clean = move || {
            let failed = |source| QueueError::File { path: folder.clone(), source };
            std::fs::create_dir_all(&folder).map_err(failed)?;
            let mut removed = 0_usize;
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
                    content::remove(&entry.path());
                    removed += 1;
                }
            }
            if removed > 0 {
                tracing::info!(removed, "content that no mail names was removed: what a stop left half done.");
            }
            Ok::<(), QueueError>(())
        };
        tokio::task::spawn_blocking(clean).await.map_err(|_| QueueError::Interrupted)??;
        self.counts().await
    }

    /// When this mail was first seen; `now`, and remembered on disk, if it was not. Rows older than 30 days go.
    pub async fn first_seen(&self, digest: [u8; 32], now: Timestamp) -> Result<Timestamp, QueueError> {
        match self.seen_before(digest, now).await? {
            Some(first) => Ok(first),
            None => first_sight(self.0.store.write(FirstSeen { digest, now: now.as_microsecond() }).await?),
        }
    }

    /// When this mail was first seen, if it was before `now`: a sight in the future is that of a clock which was ahead, and
    /// would put the mail off until then. Remembers nothing.
    pub async fn seen_before(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<Timestamp>, QueueError> {
        let known: Option<i64> = query_scalar("SELECT first_seen FROM deferral WHERE digest = ?")
            .bind(&digest[..])
            .fetch_optional(self.0.store.readers())
            .await?;
        known.filter(|micros| *micros <= now.as_microsecond()).map(first_sight).transpose()
    }

    /// Whether one of these Message-IDs is that of mail for which a private key was asked.
    pub async fn any_discreet(&self, message_ids: &[String]) -> Result<bool, QueueError> {
        if message_ids.is_empty() {
            return Ok(false);
        }
        let list = vec!["?"; message_ids.len()].join(",");
        let sql = format!("SELECT 1 FROM record WHERE discreet = 1 AND message_id IN ({list}) LIMIT 1");
        let mut statement = query_scalar::<_, i64>(AssertSqlSafe(sql));
        for id in message_ids {
            statement = statement.bind(id);
        }
        Ok(statement.fetch_optional(self.0.store.readers()).await?.is_some())
    }
}

fn first_sight(micros: i64) -> Result<Timestamp, QueueError> {
    Timestamp::from_microsecond(micros)
        .map_err(|_| QueueError::Row { row: "deferral".to_owned(), problem: "its time".to_owned() })
}

/// Tables by which mail is found, and whose indexes are looked at when the gateway starts.
const FOUND_BY: [&str; 6] = ["recipient", "record", "copy", "content", "alert", "record_evidence"];

impl Queue {
    /// An index that does not fit its table hides mail without a word: each is compared with its table, and made again where
    /// they differ. What the rows say counts.
    async fn mend(&self) -> Result<(), QueueError> {
        for (table, problems) in self.0.store.write(Mend).await? {
            let problem = problems.first().cloned().unwrap_or_default();
            tracing::error!(table, %problem, "the database was damaged: an index hid rows, or showed others; it was made again.");
        }
        Ok(())
    }
}

struct Mend;

impl Write for Mend {
    /// What was wrong, by table.
    type Output = Vec<(&'static str, Vec<String>)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, TxError> {
        let mut mended = Vec::new();
        for table in FOUND_BY {
            let problems = problems(tx, table)?;
            if !problems.is_empty() {
                tx.execute(&format!("REINDEX {table}"), &[])?;
                if let Some(left) = self::problems(tx, table)?.into_iter().next() {
                    return Err(TxError::Damaged(format!("table `{table}`: {left}")));
                }
                mended.push((table, problems));
            }
        }
        Ok(mended)
    }
}

/// What is wrong with a table and its indexes. A value that does not belong where it stands concerns one row: whoever reads that
/// row finds it.
fn problems(tx: &mut Tx<'_>, table: &str) -> Result<Vec<String>, TxError> {
    const OF_A_VALUE: [&str; 3] = ["NULL value in ", "TEXT value in ", "NUMERIC value in "];
    let found = tx.rows("SELECT integrity_check FROM pragma_integrity_check(?)", &values![table])?;
    let mut problems: Vec<String> = found.into_iter().map(|(problem,)| problem).collect();
    problems.retain(|problem| problem != "ok" && !OF_A_VALUE.iter().any(|begin| problem.starts_with(begin)));
    Ok(problems)
}

pub(super) struct VoidLeases;

impl Write for VoidLeases {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let sql = "UPDATE recipient SET lease = NULL, token = NULL WHERE state = 'pending' AND lease IS NOT NULL";
        tx.execute(sql, &[]).map(|_| ())
    }
}

struct FirstSeen {
    digest: [u8; 32],
    now: i64,
}

impl Write for FirstSeen {
    type Output = i64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<i64, TxError> {
        let oldest = self.now.saturating_sub(KEPT_MICROS);
        tx.execute("DELETE FROM deferral WHERE first_seen < ?", &values![oldest])?;
        let sql = "INSERT INTO deferral (digest, first_seen) VALUES (?, ?) ON CONFLICT (digest) \
                   DO UPDATE SET first_seen = min(first_seen, excluded.first_seen)";
        tx.execute(sql, &values![&self.digest, self.now])?;
        let (first,) = tx.one("SELECT first_seen FROM deferral WHERE digest = ?", &values![&self.digest])?;
        Ok(first)
    }
}

const KEPT_MICROS: i64 = 30 * 86_400 * 1_000_000;
