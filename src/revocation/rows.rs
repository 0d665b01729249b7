//! The table `crl`.

use super::source::{Origin, Source, Sources};
use crate::audit::{self, Audit, Event};
use crate::fetch::Validators;
use crate::limits::Limits;
use crate::pki::{Certificate, Crl};
use crate::store::{Store, Tx, TxError, Write, values};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, query};

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) location: String,
    pub(super) origin: Origin,
    /// `None` leaves what is stored.
    pub(super) crl: Option<Crl>,
    pub(super) signer: Option<Vec<u8>>,
    pub(super) validators: Validators,
    pub(super) fetched: Option<Timestamp>,
    pub(super) asked: Option<Timestamp>,
    pub(super) needed: Timestamp,
    pub(super) due: Timestamp,
    pub(super) failures: u32,
    pub(super) error: Option<String>,
}

/// Writes a row, with the event of who did it where somebody did.
pub(super) struct Put {
    pub(super) row: Stored,
    pub(super) event: Option<(Audit, Event)>,
}

impl Write for Put {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let row = &self.row;
        tx.execute(
                "INSERT INTO crl (location, origin, der, signer, etag, modified, fetched, asked, needed, due, failures, error) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (location) DO UPDATE SET \
                 origin = excluded.origin, der = coalesce(excluded.der, der), signer = excluded.signer, \
                 etag = excluded.etag, modified = excluded.modified, fetched = excluded.fetched, asked = excluded.asked, \
                 needed = excluded.needed, due = excluded.due, failures = excluded.failures, error = excluded.error",
                &values![
                    &row.location,
                    row.origin.name(),
                    row.crl.as_ref().map(Crl::der),
                    &row.signer,
                    &row.validators.etag,
                    &row.validators.modified,
                    row.fetched.map(Timestamp::as_microsecond),
                    row.asked.map(Timestamp::as_microsecond),
                    row.needed.as_microsecond(),
                    row.due.as_microsecond(),
                    row.failures,
                    &row.error,
                ],
            )?;
        match &self.event {
            Some((audit, event)) => audit::append(tx, audit.chain(), std::slice::from_ref(event)),
            None => Ok(()),
        }
    }
}

/// Removes rows.
pub(super) struct Remove {
    pub(super) locations: Vec<String>,
}

impl Write for Remove {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        for location in &self.locations {
            tx.execute("DELETE FROM crl WHERE location = $1", &values![location])?;
        }
        Ok(())
    }
}

/// Everything that is stored. Lists are read off the async threads.
pub(super) async fn load(store: &Store, limits: Limits) -> Result<Sources, sqlx::Error> {
    let rows = query(
        "SELECT location, origin, der, signer, etag, modified, fetched, asked, needed, due, failures, error FROM crl",
    )
    .fetch_all(store.readers())
    .await?;
    let read = move || {
        let mut sources = Sources::new();
        for row in &rows {
            match source(row, &limits) {
                Ok(Some((location, source))) => drop(sources.insert(location, source)),
                Ok(None) => tracing::warn!("a stored CRL can't be read and is left out."),
                Err(error) => return Err(error),
            }
        }
        Ok(sources)
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

fn source(row: &SqliteRow, limits: &Limits) -> Result<Option<(String, Source)>, sqlx::Error> {
    let time = |micros: i64| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    let origin: String = row.try_get("origin")?;
    let (der, signer): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.try_get("der")?, row.try_get("signer")?);
    let crl = der.map(|der| Crl::from_der(&der, limits)).transpose();
    let (Some(origin), Ok(crl)) = (Origin::from_name(&origin), crl) else { return Ok(None) };
    let needed = time(row.try_get("needed")?);
    let source = Source {
        crl,
        signer: signer.and_then(|der| Certificate::from_der(&der).ok()),
        validators: Validators { etag: row.try_get("etag")?, modified: row.try_get("modified")? },
        fetched: row.try_get::<Option<i64>, _>("fetched")?.map(time),
        asked: row.try_get::<Option<i64>, _>("asked")?.map(time),
        due: time(row.try_get("due")?),
        failures: u32::try_from(row.try_get::<i64, _>("failures")?).unwrap_or(0),
        error: row.try_get("error")?,
        ..Source::new(origin, needed)
    };
    Ok(Some((row.try_get("location")?, source)))
}
