//! Recomputes the log from its first row.

use super::AuditError;
use super::chain::{GENESIS, Stored};
use super::checkpoint;
use sqlx::{Row, SqlitePool, query, query_as, query_scalar};
use std::collections::BTreeMap;

/// What was verified, and what did not hold.
#[derive(Clone, Debug, serde::Serialize)]
pub struct VerifyReport {
    /// Chains found.
    pub chains: u64,
    /// Rows recomputed.
    pub rows: u64,
    /// Checkpoints whose signature and heads hold.
    pub checkpoints: u64,
    /// The public key that checkpoints are signed with, in hex.
    pub key: Option<String>,
    /// The first thing that does not hold.
    pub bad: Option<BadRow>,
}

/// A row that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BadRow {
    /// Its chain; `checkpoint` for a checkpoint.
    pub chain: String,
    /// Its number; of a checkpoint, its id.
    pub seq: i64,
    /// What is wrong with it.
    pub problem: String,
}

/// All chains, then all checkpoints; stops at the first row that does not hold.
pub(super) async fn verify(readers: &SqlitePool) -> Result<VerifyReport, AuditError> {
    let public: Option<Vec<u8>> =
        query_scalar("SELECT public FROM secret WHERE name = 'audit-checkpoint'").fetch_optional(readers).await?;
    let key = public.as_deref().map(|public| data_encoding::HEXLOWER.encode(public));
    let mut report = VerifyReport { chains: 0, rows: 0, checkpoints: 0, key, bad: None };
    let chains: Vec<String> =
        query_scalar("SELECT DISTINCT chain FROM audit ORDER BY chain").fetch_all(readers).await?;
    for chain in chains {
        report.chains += 1;
        report.bad = verify_chain(readers, &chain, &mut report.rows).await?;
        if report.bad.is_some() {
            return Ok(report);
        }
    }
    report.bad = verify_checkpoints(readers, public.as_deref().unwrap_or(&[]), &mut report.checkpoints).await?;
    Ok(report)
}

async fn verify_chain(readers: &SqlitePool, chain: &str, count: &mut u64) -> Result<Option<BadRow>, AuditError> {
    let (mut seq, mut prev) = (0, GENESIS.to_vec());
    loop {
        let rows = query(
            "SELECT seq, prev, hash, at, event, queue_id, public, subject, sealed FROM audit \
             WHERE chain = ? AND seq > ? ORDER BY seq LIMIT 1000",
        )
        .bind(chain)
        .bind(seq)
        .fetch_all(readers)
        .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for row in rows {
            let stored = Stored {
                chain: chain.to_owned(),
                seq: row.try_get(0)?,
                prev: row.try_get(1)?,
                hash: row.try_get(2)?,
                at: row.try_get(3)?,
                event: row.try_get(4)?,
                queue_id: row.try_get(5)?,
                public: row.try_get(6)?,
                subject: row.try_get(7)?,
                sealed: row.try_get(8)?,
            };
            let problem = if stored.seq != seq + 1 {
                Some(format!("rows {} to {} are missing", seq + 1, stored.seq - 1))
            } else if stored.prev != prev {
                Some("does not follow the row before".to_owned())
            } else if stored.compute_hash() != stored.hash {
                Some("was changed: its hash does not fit".to_owned())
            } else {
                None
            };
            if let Some(problem) = problem {
                return Ok(Some(BadRow { chain: chain.to_owned(), seq: stored.seq, problem }));
            }
            *count += 1;
            seq = stored.seq;
            prev = stored.hash;
        }
    }
}

async fn verify_checkpoints(
    readers: &SqlitePool,
    public: &[u8],
    count: &mut u64,
) -> Result<Option<BadRow>, AuditError> {
    let mut last = 0;
    loop {
        let rows: Vec<(i64, i64, String, Vec<u8>)> =
            query_as("SELECT id, at, heads, signature FROM audit_checkpoint WHERE id > ? ORDER BY id LIMIT 1000")
                .bind(last)
                .fetch_all(readers)
                .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for (id, at, heads, signature) in rows {
            let bad = |problem: &str| {
                Ok(Some(BadRow { chain: "checkpoint".to_owned(), seq: id, problem: problem.to_owned() }))
            };
            if !checkpoint::holds(public, at, &heads, &signature) {
                return bad("its signature does not verify");
            }
            let Ok(heads) = serde_json::from_str::<BTreeMap<String, (i64, String)>>(&heads) else {
                return bad("its heads cannot be read");
            };
            for (chain, (seq, hash)) in heads {
                let found: Option<Vec<u8>> = query_scalar("SELECT hash FROM audit WHERE chain = ? AND seq = ?")
                    .bind(&chain)
                    .bind(seq)
                    .fetch_optional(readers)
                    .await?;
                if found.map(|found| data_encoding::HEXLOWER.encode(&found)) != Some(hash) {
                    return bad(&format!("row {seq} of chain `{chain}` is not the one that was signed"));
                }
            }
            *count += 1;
            last = id;
        }
    }
}
