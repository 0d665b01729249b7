//! Reading anchors and certificates.

use super::index::{Announced, Binding, Digest, Entry, Index};
use super::{DirectoryError, Source, Trust, hex, mode_from_name, source};
use crate::mail::Domain;
use crate::pki::{Certificate, Harvesting, TrustAnchor};
use crate::store::Store;
use bytes::Bytes;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, query, query_as};
use std::collections::BTreeMap;

/// Everything, as of one moment. In pages, so that no more than the index itself is held.
pub(super) async fn load(store: &Store) -> Result<Index, DirectoryError> {
    let mut tx = store.readers().begin().await?;
    let mut index = Index::default();
    index.anchors = anchors(&mut tx).await?;
    let mut entries = BTreeMap::new();
    let mut after = Vec::new();
    loop {
        let page = query(
            "SELECT sha256, der, trust, source, blocked, added, capabilities, signed FROM certificate \
             WHERE sha256 > $1 ORDER BY sha256 LIMIT 1000",
        )
        .bind(after)
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = page.last() else { break };
        after = last.try_get("sha256")?;
        for row in &page {
            certificate(row, &mut index, &mut entries)?;
        }
    }
    bindings(&mut tx, &mut entries).await?;
    let mut after = String::new();
    loop {
        let page: Vec<(String,)> =
            query_as("SELECT mailbox FROM correspondent WHERE mailbox > $1 ORDER BY mailbox LIMIT 1000")
                .bind(after)
                .fetch_all(&mut *tx)
                .await?;
        let Some((last,)) = page.last() else { break };
        after = last.clone();
        index.correspondents.extend(page.into_iter().map(|(mailbox,)| mailbox.into_boxed_str()));
    }
    tx.rollback().await?;
    for (sha256, entry) in entries {
        index.put(sha256, Some(entry));
    }
    Ok(index)
}

fn certificate(
    row: &SqliteRow,
    index: &mut Index,
    entries: &mut BTreeMap<Digest, Entry>,
) -> Result<(), DirectoryError> {
    let octets: Vec<u8> = row.try_get("sha256")?;
    let Ok(sha256) = Digest::try_from(octets.as_slice()) else {
        tracing::warn!("a certificate in the store has no SHA-256 and is left out.");
        return Ok(());
    };
    if row.try_get::<i64, _>("blocked")? != 0 {
        index.block(sha256, None);
    }
    match entry(row)? {
        Some(entry) => drop(entries.insert(sha256, entry)),
        None => {
            tracing::warn!(sha256 = %hex(&sha256), "a certificate's row in the store cannot be read and is left out.");
        }
    }
    Ok(())
}

async fn bindings(tx: &mut SqliteConnection, entries: &mut BTreeMap<Digest, Entry>) -> Result<(), DirectoryError> {
    let (mut mailbox, mut sha256) = (String::new(), Vec::new());
    loop {
        let page: Vec<(String, String, Vec<u8>, String)> = query_as(
            "SELECT mailbox, address, sha256, binding FROM certificate_address \
             WHERE (mailbox, sha256) > ($1, $2) ORDER BY mailbox, sha256 LIMIT 1000",
        )
        .bind(mailbox)
        .bind(sha256)
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = page.last() else { return Ok(()) };
        (mailbox, sha256) = (last.0.clone(), last.2.clone());
        for (mailbox, address, sha256, kind) in page {
            let entry = Digest::try_from(sha256.as_slice()).ok().and_then(|sha256| entries.get_mut(&sha256));
            if let Some(entry) = entry {
                entry.bindings.reserve_exact(1);
                entry.bindings.push(binding(mailbox, address, &kind));
            }
        }
    }
}

fn binding(mailbox: String, address: String, kind: &str) -> Binding {
    Binding { mailbox: mailbox.into(), address: address.into(), by_operator: kind == OPERATOR }
}

/// The word in the database for what a registration officer has bound.
pub(super) const OPERATOR: &str = "operator";

/// One certificate as it stands in the store now.
pub(super) async fn one(store: &Store, sha256: &Digest) -> Result<Option<Entry>, DirectoryError> {
    let mut tx = store.readers().begin().await?;
    let row = query(
        "SELECT sha256, der, trust, source, blocked, added, capabilities, signed FROM certificate WHERE sha256 = $1",
    )
    .bind(sha256.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    let mut found = row.as_ref().map(entry).transpose()?.flatten();
    if let Some(entry) = &mut found {
        let rows: Vec<(String, String, String)> =
            query_as("SELECT mailbox, address, binding FROM certificate_address WHERE sha256 = $1 ORDER BY mailbox")
                .bind(sha256.to_vec())
                .fetch_all(&mut *tx)
                .await?;
        entry.bindings = rows.into_iter().map(|(mailbox, address, kind)| binding(mailbox, address, &kind)).collect();
    }
    tx.rollback().await?;
    Ok(found)
}

/// `None`: a column does not hold what was once written there.
fn entry(row: &SqliteRow) -> Result<Option<Entry>, DirectoryError> {
    let (trust, source): (String, String) = (row.try_get("trust")?, row.try_get("source")?);
    let signed: Option<i64> = row.try_get("signed")?;
    let capabilities: Option<Vec<u8>> = row.try_get("capabilities")?;
    let announced = capabilities.map(|der| Announced {
        der: Bytes::from(der),
        signed: signed.and_then(|at| Timestamp::from_microsecond(at).ok()),
    });
    let (Some(trust), Ok(added)) = (Trust::from_name(&trust), Timestamp::from_microsecond(row.try_get("added")?))
    else {
        return Ok(None);
    };
    Ok(Some(Entry {
        der: Bytes::from(row.try_get::<Vec<u8>, _>("der")?),
        trust,
        source: Source::from_name(&source),
        blocked: row.try_get::<i64, _>("blocked")? != 0,
        added,
        announced,
        bindings: Vec::new(),
    }))
}

/// The stored anchors for mail.
pub(super) async fn anchors(tx: &mut SqliteConnection) -> Result<Vec<TrustAnchor>, DirectoryError> {
    let rows = query("SELECT sha256, der, purposes, revocation, domains, imported FROM anchor ORDER BY imported")
        .fetch_all(tx)
        .await?;
    let mut anchors = Vec::new();
    for row in &rows {
        let purposes: String = row.try_get("purposes")?;
        if purposes.split(',').any(|purpose| purpose.trim() == "email") {
            anchors.push(anchor(row)?);
        }
    }
    Ok(anchors)
}

fn anchor(row: &SqliteRow) -> Result<TrustAnchor, DirectoryError> {
    let (sha256, der): (Vec<u8>, Vec<u8>) = (row.try_get("sha256")?, row.try_get("der")?);
    let (revocation, domains): (String, String) = (row.try_get("revocation")?, row.try_get("domains")?);
    let imported: i64 = row.try_get("imported")?;
    let damaged = |what| DirectoryError::Damaged { sha256: data_encoding::HEXLOWER.encode(&sha256), what };

    let certificate = Certificate::from_der(&der).map_err(|_| damaged("der"))?;
    if certificate.sha256().as_slice() != sha256 {
        return Err(damaged("sha256"));
    }
    let domains: Result<Vec<Domain>, _> =
        domains.split(',').filter(|domain| !domain.is_empty()).map(Domain::parse).collect();
    Ok(TrustAnchor {
        revocation: mode_from_name(&revocation).ok_or_else(|| damaged("revocation"))?,
        domains: domains.map_err(|_| damaged("domains"))?,
        source: source(Timestamp::from_microsecond(imported).map_err(|_| damaged("imported"))?),
        certificate,
        harvest: Harvesting::Trusted,
    })
}
