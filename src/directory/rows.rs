//! Reading anchors and certificates.

use super::{DirectoryError, Index, mode_from_name, source};
use crate::mail::Domain;
use crate::pki::{Certificate, Name, TrustAnchor};
use crate::store::Store;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::HashSet;
use std::sync::Arc;

/// Everything, as of one moment.
pub(super) async fn load(store: &Store) -> Result<Index, DirectoryError> {
    let mut tx = store.readers().begin().await?;
    let anchors =
        sqlx::query("SELECT sha256, der, purposes, revocation, domains, imported FROM anchor ORDER BY imported")
            .fetch_all(&mut *tx)
            .await?;
    let certificates = sqlx::query("SELECT sha256, der, blocked FROM certificate").fetch_all(&mut *tx).await?;
    tx.rollback().await?;

    let mut index = Index::default();
    for row in &anchors {
        let purposes: String = row.try_get("purposes")?;
        if purposes.split(',').any(|purpose| purpose.trim() == "email") {
            index.anchors.push(anchor(row)?);
        }
    }
    let mut blocked = HashSet::new();
    for row in &certificates {
        let (sha256, der): (Vec<u8>, Vec<u8>) = (row.try_get("sha256")?, row.try_get("der")?);
        // Blocking holds by the digest alone, also for a certificate that cannot be read any more.
        if row.try_get::<i64, _>("blocked")? != 0
            && let Ok(sha256) = <[u8; 32]>::try_from(sha256.as_slice())
        {
            blocked.insert(sha256);
        }
        match Certificate::from_der(&der) {
            Ok(certificate) if certificate.is_ca() => authority(&mut index.authorities, certificate),
            Ok(_) => {}
            Err(error) => {
                let sha256 = data_encoding::HEXLOWER.encode(&sha256);
                tracing::warn!(%sha256, %error, "a certificate in the store cannot be read and is left out");
            }
        }
    }
    index.blocked = Arc::new(blocked);
    Ok(index)
}

fn authority(authorities: &mut Vec<(Name, Vec<Certificate>)>, certificate: Certificate) {
    match authorities.iter_mut().find(|(name, _)| name.matches(certificate.subject())) {
        Some((_, same)) => same.push(certificate),
        None => authorities.push((certificate.subject().clone(), vec![certificate])),
    }
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
    })
}
