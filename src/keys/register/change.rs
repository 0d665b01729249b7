//! Changes to the register: the rows and the audit event in one transaction.

use super::super::KeyEntry;
use super::Sealed;
use crate::audit::{self, Audit, Event};
use crate::store::{Tx, TxError, Write, values};
use jiff::Timestamp;

/// What an operator wants.
pub(super) enum Action {
    Import { entry: Box<KeyEntry>, sealed: Sealed },
    Block { id: String },
    Unblock { id: String },
    Destroy { id: String },
}

impl Action {
    /// What it does and to which key, for the log.
    pub(super) fn describe(&self) -> (&'static str, String) {
        match self {
            Self::Import { entry, .. } => ("key imported", entry.id.clone()),
            Self::Block { id } => ("key blocked", id.clone()),
            Self::Unblock { id } => ("key unblocked", id.clone()),
            Self::Destroy { id } => ("key destroyed", id.clone()),
        }
    }
}

/// Whether a row was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Done,
    Nothing,
}

pub(super) struct Change {
    pub(super) audit: Audit,
    pub(super) at: Timestamp,
    pub(super) action: Action,
}

impl Write for Change {
    type Output = Changed;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Changed, TxError> {
        let changed = self.rows(tx)?;
        if changed == Changed::Done {
            audit::append(tx, self.audit.chain(), &self.events())?;
        }
        Ok(changed)
    }
}

impl Change {
    fn rows(&self, tx: &mut Tx<'_>) -> Result<Changed, TxError> {
        let at = self.at.as_microsecond();
        let (sql, id) = match &self.action {
            Action::Import { entry, sealed } => return insert(tx, entry, sealed),
            Action::Block { id } => {
                ("UPDATE own_key SET state = 'blocked', changed = $2 WHERE id = $1 AND state = 'active'", id)
            }
            Action::Unblock { id } => {
                ("UPDATE own_key SET state = 'active', changed = $2 WHERE id = $1 AND state = 'blocked'", id)
            }
            Action::Destroy { id } => (
                "UPDATE own_key SET state = 'destroyed', wrapped = NULL, sealed = NULL, changed = $2 \
                 WHERE id = $1 AND state <> 'destroyed'",
                id,
            ),
        };
        Ok(changed(tx.execute(sql, &values![id, at])?))
    }

    /// An import has one event per address: each is sealed for the person it is about.
    fn events(&self) -> Vec<Event> {
        match &self.action {
            Action::Import { entry, .. } => entry
                .addresses
                .iter()
                .map(|address| Event::KeyImported {
                    key: entry.id.clone(),
                    kind: entry.kind.name().to_owned(),
                    custody: entry.custody.name().to_owned(),
                    serial: entry.certificate.serial_hex(),
                    address: Some(address.clone()),
                })
                .collect(),
            Action::Block { id } => vec![Event::KeyBlocked { key: id.clone() }],
            Action::Unblock { id } => vec![Event::KeyUnblocked { key: id.clone() }],
            Action::Destroy { id } => vec![Event::KeyDestroyed { key: id.clone() }],
        }
    }
}

fn changed(rows: u64) -> Changed {
    if rows == 0 { Changed::Nothing } else { Changed::Done }
}

/// A certificate whose key was destroyed may be imported again; any other row stays.
fn insert(tx: &mut Tx<'_>, entry: &KeyEntry, sealed: &Sealed) -> Result<Changed, TxError> {
    const INSERT: &str = "INSERT INTO own_key \
        (id, kind, custody, state, certificate, chain, master, wrapped, sealed, imported, changed) \
        VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $9) \
        ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, custody = excluded.custody, state = 'active', \
        chain = excluded.chain, master = excluded.master, wrapped = excluded.wrapped, sealed = excluded.sealed, \
        imported = excluded.imported, changed = excluded.changed WHERE own_key.state = 'destroyed'";
    let chain: Vec<u8> = entry.chain.iter().flat_map(|issuer| issuer.der().iter().copied()).collect();
    let values = values![
        &entry.id,
        entry.kind.name(),
        entry.custody.name(),
        entry.certificate.der(),
        chain,
        &sealed.wrapped.master,
        &sealed.wrapped.bytes,
        &sealed.octets,
        entry.imported.as_microsecond(),
    ];
    if tx.execute(INSERT, &values)? == 0 {
        return Ok(Changed::Nothing);
    }
    tx.execute("DELETE FROM own_key_address WHERE own_key = $1", &values![&entry.id])?;
    for address in &entry.addresses {
        tx.execute(
            "INSERT INTO own_key_address (mailbox, address, own_key) VALUES ($1, $2, $3)",
            &values![address.mailbox_key(), address.as_str(), &entry.id],
        )?;
    }
    Ok(Changed::Done)
}
