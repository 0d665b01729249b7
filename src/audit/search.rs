//! Finding rows, and opening their personal fields where the subject's key still exists.

use super::{Audit, AuditError, chain};
use crate::mail::Address;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite};

/// What to look for. Everything that is given has to fit.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The mail it is about.
    pub queue_id: Option<String>,
    /// Name of the event, such as `held`.
    pub event: Option<String>,
    /// Whom the personal fields are about.
    pub address: Option<Address>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// What was found: the newest rows, oldest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// At most as many as were asked for.
    pub rows: Vec<Found>,
    /// Whether older rows fit as well.
    pub more: bool,
}

/// A row as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// When; RFC 3339 in JSON.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// Its chain.
    pub chain: String,
    /// Its number in the chain.
    pub seq: i64,
    /// Name of the event.
    pub event: String,
    /// The mail it is about.
    pub queue_id: Option<String>,
    /// The fields that are nobody's; text where they are no JSON any more.
    pub public: Value,
    /// The fields that are somebody's; `None` where the event has none.
    pub personal: Option<Personal>,
}

/// Personal fields. In JSON: an object, or `"erased"`, or `"unreadable"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Personal {
    /// The subject's key was destroyed.
    Erased,
    /// They do not open: changed, or sealed with another master key.
    Unreadable,
    /// As they were written.
    #[serde(untagged)]
    Open(Value),
}

/// The newest `limit` rows that fit.
pub(super) async fn search(audit: &Audit, search: &Search, limit: u32) -> Result<Page, AuditError> {
    let rows = statement(audit, search, limit).build().fetch_all(audit.store.readers()).await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > wanted;
    let mut found = Vec::with_capacity(rows.len().min(wanted));
    for row in rows.iter().take(wanted) {
        let public: String = row.try_get("public")?;
        let event: String = row.try_get("event")?;
        let personal = match row.try_get::<Option<String>, _>("subject")? {
            None => None,
            Some(subject) => Some(open(audit, &subject, &event, row.try_get("sealed")?).await?),
        };
        found.push(Found {
            at: time(row.try_get("at")?),
            chain: row.try_get("chain")?,
            seq: row.try_get("seq")?,
            queue_id: row.try_get("queue_id")?,
            public: serde_json::from_str(&public).unwrap_or(Value::String(public)),
            event,
            personal,
        });
    }
    found.reverse();
    Ok(Page { rows: found, more })
}

/// Rows come in the order in which they were written, which rowid is: an index on time would cost each event a write.
fn statement(audit: &Audit, search: &Search, limit: u32) -> QueryBuilder<Sqlite> {
    let mut sql =
        QueryBuilder::new("SELECT chain, seq, at, event, queue_id, public, subject, sealed FROM audit WHERE 1 = 1");
    if let Some(queue_id) = &search.queue_id {
        sql.push(" AND queue_id = ").push_bind(queue_id.clone());
    }
    if let Some(event) = &search.event {
        sql.push(" AND event = ").push_bind(event.clone());
    }
    if let Some(address) = &search.address {
        sql.push(" AND subject = ").push_bind(chain::subject(&audit.chain.pseudonyms, &address.mailbox_key()));
    }
    if let Some(since) = search.since {
        sql.push(" AND at >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = search.until {
        sql.push(" AND at < ").push_bind(until.as_microsecond());
    }
    sql.push(" ORDER BY rowid DESC LIMIT ").push_bind(i64::from(limit) + 1);
    sql
}

/// One row that does not open must not hide the others.
async fn open(audit: &Audit, subject: &str, event: &str, sealed: Option<Vec<u8>>) -> Result<Personal, AuditError> {
    let Some(sealed) = sealed else { return Ok(Personal::Erased) };
    match audit.open_personal(subject, event, &sealed).await {
        Ok(Some(fields)) => Ok(Personal::Open(fields)),
        Ok(None) => Ok(Personal::Erased),
        Err(AuditError::Seal(_) | AuditError::Json(_)) => Ok(Personal::Unreadable),
        Err(error) => Err(error),
    }
}

fn rfc3339<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

fn time(at: i64) -> Timestamp {
    Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}
