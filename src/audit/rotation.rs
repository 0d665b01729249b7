//! The log under another master key: its wrapped keys are wrapped again, and who is who stays the same.

use super::{AuditError, chain, checkpoint};
use crate::seal::{MasterKey, PseudonymKey, Rewrapped, Rotation, WrappedKey};
use crate::store::{Store, Tx, TxError, values};

const PURPOSE: &str = "segel audit subject 1";
const CONTEXT: &str = "secret audit-pseudonym";
/// Rows that are read at once.
const PAGE: i64 = 500;

/// The key of the subjects' pseudonyms: from the master key, or the one that is kept since that was changed.
pub(super) async fn pseudonyms(store: &Store, master: &MasterKey) -> Result<PseudonymKey, AuditError> {
    let kept: Option<(String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT master, wrapped, sealed FROM secret WHERE name = 'audit-pseudonym'")
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
pub fn rewrap(tx: &mut Tx<'_>, rotation: &Rotation) -> Result<Rewrapped, TxError> {
    let mut count = Rewrapped::default();
    keep_pseudonyms(tx, rotation)?;
    for (name, context) in [("audit-checkpoint", checkpoint::CONTEXT), ("audit-pseudonym", CONTEXT)] {
        let row: Option<(String, Vec<u8>)> =
            tx.optional("SELECT master, wrapped FROM secret WHERE name = ?", &values![name])?;
        let Some((master, bytes)) = row else { continue };
        if let Some(wrapped) = rotation.rewrap(context, &WrappedKey { master, bytes }, &mut count) {
            tx.execute(
                "UPDATE secret SET master = ?, wrapped = ? WHERE name = ?",
                &values![wrapped.master, wrapped.bytes, name],
            )?;
        }
    }
    subjects(tx, rotation, &mut count)?;
    Ok(count)
}

/// Before the first change of keys they came from the master key itself.
fn keep_pseudonyms(tx: &mut Tx<'_>, rotation: &Rotation) -> Result<(), TxError> {
    let (wrapped, sealed) = rotation.from.pseudonym_key(PURPOSE).seal(&rotation.from, CONTEXT);
    tx.execute(
        "INSERT INTO secret (name, public, master, wrapped, sealed) VALUES ('audit-pseudonym', x'', ?, ?, ?) \
         ON CONFLICT (name) DO NOTHING",
        &values![wrapped.master, wrapped.bytes, &*sealed],
    )?;
    Ok(())
}

fn subjects(tx: &mut Tx<'_>, rotation: &Rotation, count: &mut Rewrapped) -> Result<(), TxError> {
    let mut after = String::new();
    loop {
        let rows: Vec<(String, String, Vec<u8>)> = tx.rows(
            "SELECT subject, master, wrapped FROM audit_subject WHERE subject > ? AND wrapped IS NOT NULL \
             ORDER BY subject LIMIT ?",
            &values![&after, PAGE],
        )?;
        let Some((last, ..)) = rows.last() else { return Ok(()) };
        after.clone_from(last);
        for (subject, master, bytes) in rows {
            let context = chain::key_context(&subject);
            let Some(wrapped) = rotation.rewrap(&context, &WrappedKey { master, bytes }, count) else { continue };
            tx.execute(
                "UPDATE audit_subject SET master = ?, wrapped = ? WHERE subject = ?",
                &values![wrapped.master, wrapped.bytes, subject],
            )?;
        }
    }
}
