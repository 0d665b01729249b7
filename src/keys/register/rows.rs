//! Reading the register's rows.

use super::super::{Custody, KeyEntry, import};
use super::{Held, Sealed};
use crate::asn1;
use crate::mail::Address;
use crate::pki::Certificate;
use crate::policy::KeyKind;
use crate::seal::WrappedKey;
use crate::store::{Store, StoreError};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Every row that can be read.
pub(super) async fn load(store: &Store) -> Result<Vec<Held>, StoreError> {
    // One transaction, so that keys and addresses are of one moment.
    let mut tx = store.readers().begin().await?;
    let keys = sqlx::query(
        "SELECT id, kind, custody, state, certificate, chain, master, wrapped, sealed, imported FROM own_key",
    )
    .fetch_all(&mut *tx)
    .await?;
    let rows =
        sqlx::query("SELECT own_key, address FROM own_key_address ORDER BY own_key, rowid").fetch_all(&mut *tx).await?;
    tx.rollback().await?;

    let mut addresses: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        addresses.entry(row.try_get("own_key")?).or_default().push(row.try_get("address")?);
    }
    let mut held = Vec::with_capacity(keys.len());
    for row in keys {
        let id: String = row.try_get("id")?;
        match entry(&row, &id, addresses.remove(&id).unwrap_or_default())? {
            Ok(entry) => held.push(Held { entry, sealed: sealed(&row)?, opened: OnceLock::new() }),
            Err(what) => tracing::error!(key = %id, column = what, "a key in the store is damaged and left out"),
        }
    }
    Ok(held)
}

/// The entry, or the column that does not hold what was once written.
fn entry(row: &SqliteRow, id: &str, addresses: Vec<String>) -> Result<Result<KeyEntry, &'static str>, StoreError> {
    let (kind, custody, state): (String, String, String) =
        (row.try_get("kind")?, row.try_get("custody")?, row.try_get("state")?);
    let (certificate, chain): (Vec<u8>, Vec<u8>) = (row.try_get("certificate")?, row.try_get("chain")?);
    let imported: i64 = row.try_get("imported")?;
    let parse = || {
        let certificate = Certificate::from_der(&certificate).map_err(|_| "certificate")?;
        let uses = import::suitable(&certificate).map_err(|_| "certificate")?;
        Ok(KeyEntry {
            id: id.to_owned(),
            addresses: addresses
                .iter()
                .map(|address| Address::parse(address))
                .collect::<Result<_, _>>()
                .map_err(|_| "address")?,
            kind: KeyKind::from_name(&kind).ok_or("kind")?,
            custody: Custody::from_name(&custody).ok_or("custody")?,
            certificate,
            can_sign: uses.sign,
            can_decrypt: uses.decrypt,
            chain: certificates(&chain).ok_or("chain")?,
            blocked: match state.as_str() {
                "blocked" => true,
                "active" | "destroyed" => false,
                _ => return Err("state"),
            },
            destroyed: state == "destroyed",
            imported: Timestamp::from_microsecond(imported).map_err(|_| "imported")?,
        })
    };
    Ok(parse())
}

/// Concatenated DER.
fn certificates(mut der: &[u8]) -> Option<Vec<Certificate>> {
    let mut certificates = Vec::new();
    while !der.is_empty() {
        let (tlv, rest) = asn1::read_tlv(der).ok()?;
        certificates.push(Certificate::from_der(tlv.whole).ok()?);
        der = rest;
    }
    Some(certificates)
}

fn sealed(row: &SqliteRow) -> Result<Option<Sealed>, StoreError> {
    let (wrapped, octets): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.try_get("wrapped")?, row.try_get("sealed")?);
    let master: String = row.try_get("master")?;
    Ok(wrapped.zip(octets).map(|(bytes, octets)| Sealed { wrapped: WrappedKey { master, bytes }, octets }))
}
