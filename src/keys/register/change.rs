//! Changes to the register: the rows and the audit event in one transaction.

use super::super::KeyEntry;
use super::Sealed;
use crate::audit::{self, Audit, Event};
use crate::store::{BoxFuture, Write};
use jiff::Timestamp;
use sqlx::SqliteConnection;

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

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<Changed, sqlx::Error>> {
        Box::pin(async move {
            let changed = self.rows(tx).await?;
            if changed == Changed::Done {
                audit::append(tx, self.audit.chain(), &self.events()).await?;
            }
            Ok(changed)
        })
    }
}

impl Change {
    async fn rows(&self, tx: &mut SqliteConnection) -> Result<Changed, sqlx::Error> {
        let at = self.at.as_microsecond();
        let (sql, id) = match &self.action {
            Action::Import { entry, sealed } => return insert(tx, entry, sealed).await,
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
        let done = sqlx::query(sql).bind(id).bind(at).execute(tx).await?;
        Ok(changed(done.rows_affected()))
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
async fn insert(tx: &mut SqliteConnection, entry: &KeyEntry, sealed: &Sealed) -> Result<Changed, sqlx::Error> {
    const INSERT: &str = "INSERT INTO own_key \
        (id, kind, custody, state, certificate, chain, master, wrapped, sealed, imported, changed) \
        VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $9) \
        ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, custody = excluded.custody, state = 'active', \
        chain = excluded.chain, master = excluded.master, wrapped = excluded.wrapped, sealed = excluded.sealed, \
        imported = excluded.imported, changed = excluded.changed WHERE own_key.state = 'destroyed'";
    let chain: Vec<u8> = entry.chain.iter().flat_map(|issuer| issuer.der().iter().copied()).collect();
    let done = sqlx::query(INSERT)
        .bind(&entry.id)
        .bind(entry.kind.name())
        .bind(entry.custody.name())
        .bind(entry.certificate.der())
        .bind(chain)
        .bind(&sealed.wrapped.master)
        .bind(&sealed.wrapped.bytes)
        .bind(&sealed.octets)
        .bind(entry.imported.as_microsecond())
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(Changed::Nothing);
    }
    sqlx::query("DELETE FROM own_key_address WHERE own_key = $1").bind(&entry.id).execute(&mut *tx).await?;
    for address in &entry.addresses {
        sqlx::query("INSERT INTO own_key_address (mailbox, address, own_key) VALUES ($1, $2, $3)")
            .bind(address.mailbox_key())
            .bind(address.as_str())
            .bind(&entry.id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(Changed::Done)
}
