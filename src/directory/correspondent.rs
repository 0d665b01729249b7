//! To whom encrypted mail has left: from then on, clear mail to him needs a permission.

use super::Directory;
use crate::clock;
use crate::mail::Address;
use crate::store::rows::{groups, placeholders};
use crate::store::{Tx, TxError, values};

/// Notes that encrypted mail leaves for these mailboxes, in the transaction that commits it. When that is on disk,
/// [`Directory::remember_encrypted`] makes it hold at once.
///
/// # Errors
/// The database's.
pub fn note_encrypted(tx: &mut Tx<'_>, addresses: &[Address]) -> Result<(), TxError> {
    let now = clock::now().as_microsecond();
    for group in groups(addresses) {
        let sql = format!(
            "INSERT INTO correspondent (mailbox, first_encrypted) VALUES {} ON CONFLICT (mailbox) DO NOTHING",
            placeholders(group.len(), 2)
        );
        let values: Vec<_> = group.iter().flat_map(|address| values![address.mailbox_key(), now]).collect();
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

impl Directory {
    /// Whether encrypted mail has left for this mailbox before.
    pub fn encrypted_before(&self, address: &Address) -> bool {
        self.index().correspondents.contains(address.mailbox_key().as_str())
    }

    /// Takes in what [`note_encrypted`] has written, once it is committed.
    pub fn remember_encrypted(&self, addresses: &[Address]) {
        let new: Vec<_> = addresses.iter().filter(|address| !self.encrypted_before(address)).collect();
        if !new.is_empty() {
            let mut index = self.index_mut();
            index.correspondents.extend(new.into_iter().map(|address| address.mailbox_key().into_boxed_str()));
        }
    }
}
