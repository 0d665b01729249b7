//! The log under another master key: its wrapped keys are wrapped again, and who is who stays the same.

use super::{AuditError, chain, checkpoint};
use crate::seal::{MasterKey, PseudonymKey, Rewrapped, Rotation, WrappedKey};
use crate::store::Store;
use sqlx::{SqliteConnection, query, query_as};

const PURPOSE: &str = "segel audit subject 1";
const CONTEXT: &str = "secret audit-pseudonym";
/// Rows that are read at once.
const PAGE: i64 = 500;

/// The key of the subjects' pseudonyms: from the master key, or the one that is kept since that was changed.
pub(super) async fn pseudonyms(store: &Store, master: &MasterKey) -> Result<PseudonymKey, AuditError> {
    let kept: Option<(String, Vec<u8>, Vec<u8>)> =
        query_as("SELECT master, wrapped, sealed FROM secret WHERE name = 'audit-pseudonym'")
            .fetch_optional(store.readers())
            .await?;
    match kept {
        None => Ok(master.pseudonym_key(PURPOSE)),
        Some((id, bytes, sealed)) => {
            Ok(PseudonymKey::open(master, CONTEXT, &WrappedKey { master: id, bytes }, &sealed)?)
        }
    }
}

/// Wraps the keys of the subjects, of the checkpoints and of the pseudonyms again.
pub async fn rewrap(tx: &mut SqliteConnection, rotation: &Rotation) -> Result<Rewrapped, sqlx::Error> {
    let mut count = Rewrapped::default();
    keep_pseudonyms(tx, rotation).await?;
    for (name, context) in [("audit-checkpoint", checkpoint::CONTEXT), ("audit-pseudonym", CONTEXT)] {
        let row: Option<(String, Vec<u8>)> =
            query_as("SELECT master, wrapped FROM secret WHERE name = ?").bind(name).fetch_optional(&mut *tx).await?;
        let Some((master, bytes)) = row else { continue };
        if let Some(wrapped) = rotation.rewrap(context, &WrappedKey { master, bytes }, &mut count) {
            query("UPDATE secret SET master = ?, wrapped = ? WHERE name = ?")
                .bind(wrapped.master)
                .bind(wrapped.bytes)
                .bind(name)
                .execute(&mut *tx)
                .await?;
        }
    }
    subjects(tx, rotation, &mut count).await?;
    Ok(count)
}

/// Before the first change of keys they came from the master key itself.
async fn keep_pseudonyms(tx: &mut SqliteConnection, rotation: &Rotation) -> Result<(), sqlx::Error> {
    let (wrapped, sealed) = rotation.from.pseudonym_key(PURPOSE).seal(&rotation.from, CONTEXT);
    query(
        "INSERT INTO secret (name, public, master, wrapped, sealed) VALUES ('audit-pseudonym', x'', ?, ?, ?) \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(wrapped.master)
    .bind(wrapped.bytes)
    .bind(sealed.to_vec())
    .execute(tx)
    .await?;
    Ok(())
}

async fn subjects(tx: &mut SqliteConnection, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), sqlx::Error> {
    let mut after = String::new();
    loop {
        let rows: Vec<(String, String, Vec<u8>)> = query_as(
            "SELECT subject, master, wrapped FROM audit_subject WHERE subject > ? AND wrapped IS NOT NULL \
             ORDER BY subject LIMIT ?",
        )
        .bind(&after)
        .bind(PAGE)
        .fetch_all(&mut *tx)
        .await?;
        let Some((last, ..)) = rows.last() else { return Ok(()) };
        after.clone_from(last);
        for (subject, master, bytes) in rows {
            let context = chain::key_context(&subject);
            let Some(wrapped) = rotation.rewrap(&context, &WrappedKey { master, bytes }, count) else { continue };
            query("UPDATE audit_subject SET master = ?, wrapped = ? WHERE subject = ?")
                .bind(wrapped.master)
                .bind(wrapped.bytes)
                .bind(subject)
                .execute(&mut *tx)
                .await?;
        }
    }
}
