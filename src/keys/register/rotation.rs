//! The register under another master key.

use super::context;
use crate::seal::{Rewrapped, Rotation, WrappedKey};
use crate::store::{Tx, TxError, values};

/// Wraps the own keys' content keys again.
pub fn rewrap(tx: &mut Tx<'_>, rotation: &Rotation) -> Result<Rewrapped, TxError> {
    let mut count = Rewrapped::default();
    let rows: Vec<(String, String, Vec<u8>)> =
        tx.rows("SELECT id, master, wrapped FROM own_key WHERE wrapped IS NOT NULL", &[])?;
    for (id, master, bytes) in rows {
        let Some(wrapped) = rotation.rewrap(&context(&id), &WrappedKey { master, bytes }, &mut count) else {
            continue;
        };
        tx.execute(
            "UPDATE own_key SET master = ?, wrapped = ? WHERE id = ?",
            &values![wrapped.master, wrapped.bytes, id],
        )?;
    }
    Ok(count)
}
