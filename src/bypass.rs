//! The emergency bypass: for some hours nobody is signed for, so that mail flows while keys or tokens are broken.
//!
//! It is about signing alone: what has to be encrypted still is, and who may write as whom is still asked. It ends by itself,
//! at its time or after the time that it was given has passed, whichever comes first: a clock that is set back does not
//! lengthen it, nor does a restart.

use crate::audit::{self, Audit, Event};
use crate::clock::Deadline;
use crate::mail::Domain;
use crate::store::{Store, StoreError, Tx, TxError, Write, values};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{Row as _, query};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The longest bypass, in hours: three days, a long weekend.
pub const HOURS: u32 = 72;
/// The same.
const LONGEST: Duration = Duration::from_secs(72 * 3600);
/// How often it is written down how far a bypass has come.
const NOTED: SignedDuration = SignedDuration::from_mins(1);
/// Who ended it, where nobody did.
const TIME: &str = "time";

/// A bypass, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub id: String,
    /// An own domain; none: all of them.
    pub domain: Option<String>,
    /// Why it was started.
    pub reason: String,
    /// Who started it.
    pub operator: String,
    /// When it was started; RFC 3339.
    pub started: String,
    /// When it ends.
    pub until: String,
    /// When it ended, if it has.
    pub ended: Option<String>,
    /// Who ended it: an operator, or `time`.
    pub ended_by: Option<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BypassError {
    /// There is one already.
    #[error("a bypass for {scope} is in force until {until}")]
    InForce {
        /// `all own domains`, or one of them.
        scope: String,
        /// Its end.
        until: Timestamp,
    },
    /// There is none.
    #[error("no bypass is in force{0}")]
    None(String),
    /// One for all domains would lengthen a domain's own.
    #[error("mail of {domain} leaves unsigned since {since}; for {HOURS} hours together at most, so {left} more")]
    TooLong {
        /// The domain.
        domain: String,
        /// When its own bypass began.
        since: Timestamp,
        /// Whole hours that are left.
        left: u64,
    },
    /// The end can't be a time.
    #[error("the bypass would end after the end of time")]
    Time,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the security team has not heard yet.
#[derive(Clone, Debug)]
pub struct Untold {
    /// The bypass.
    pub status: Status,
    /// Whether it is over.
    pub ended: bool,
}

/// All that are in force, or were and the security team has not heard.
#[derive(Clone, Debug)]
pub struct Bypass(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    audit: Audit,
    entries: RwLock<Vec<Entry>>,
    /// One change at a time, from the row to the list.
    changing: tokio::sync::Mutex<()>,
    changed: tokio::sync::Notify,
}

#[derive(Clone, Debug)]
struct Entry {
    row: Row,
    deadline: Deadline,
}

#[derive(Clone, Debug)]
struct Row {
    id: String,
    domain: Option<Domain>,
    reason: String,
    operator: String,
    started: Timestamp,
    until: Timestamp,
    seen: Timestamp,
    ended: Option<Timestamp>,
    ended_by: Option<String>,
    told: i64,
}

impl Entry {
    fn is_in_force(&self) -> bool {
        self.row.ended.is_none() && !self.deadline.is_over()
    }

    /// How much of the time that it was given has passed.
    fn passed(&self) -> Duration {
        let given = Duration::try_from(self.row.until.duration_since(self.row.started)).unwrap_or_default();
        given.saturating_sub(self.deadline.left())
    }

    fn is_for(&self, domain: Option<&Domain>) -> bool {
        match (&self.row.domain, domain) {
            (None, _) => true,
            (Some(own), Some(domain)) => own.same(domain),
            (Some(_), None) => false,
        }
    }
}

impl Row {
    fn status(&self) -> Status {
        Status {
            id: self.id.clone(),
            domain: self.domain.as_ref().map(|domain| domain.as_str().to_owned()),
            reason: self.reason.clone(),
            operator: self.operator.clone(),
            started: self.started.to_string(),
            until: self.until.to_string(),
            ended: self.ended.map(|ended| ended.to_string()),
            ended_by: self.ended_by.clone(),
        }
    }

    fn ended_event(&self) -> Event {
        Event::BypassEnded {
            domain: self.domain.as_ref().map(|domain| domain.as_str().to_owned()),
            started: self.started.to_string(),
            by: self.ended_by.clone().unwrap_or_default(),
        }
    }
}

impl Bypass {
    /// Reads what is stored. Changes nothing.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn open(store: Store, audit: Audit, now: Timestamp) -> Result<Self, StoreError> {
        let rows = query(
            "SELECT id, domain, reason, operator, started, until, seen, ended, ended_by, told FROM bypass \
             WHERE ended IS NULL OR told < 2 ORDER BY started",
        );
        let mut entries = Vec::new();
        for row in rows.fetch_all(store.readers()).await? {
            entries.push(entry(&row, now)?);
        }
        let (entries, changing, changed) = (RwLock::new(entries), Default::default(), Default::default());
        Ok(Self(Arc::new(Shared { store, audit, entries, changing, changed })))
    }

    fn entries(&self) -> Vec<Entry> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nobody of this domain is signed for now.
    pub fn is_in_force(&self, domain: &Domain) -> bool {
        let entries = self.0.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().any(|entry| entry.is_in_force() && entry.is_for(Some(domain)))
    }

    /// When the last one ends that is in force for this domain.
    pub fn until_for(&self, domain: &Domain) -> Option<Timestamp> {
        let entries = self.0.entries.read().unwrap_or_else(PoisonError::into_inner);
        let his = entries.iter().filter(|entry| entry.is_in_force() && entry.is_for(Some(domain)));
        his.map(|entry| entry.row.until).max()
    }

    /// When the last one ends that is in force.
    pub fn until(&self) -> Option<Timestamp> {
        let entries = self.0.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|entry| entry.is_in_force()).map(|entry| entry.row.until).max()
    }

    /// Those that are in force.
    pub fn list(&self) -> Vec<Status> {
        self.entries().iter().filter(|entry| entry.is_in_force()).map(|entry| entry.row.status()).collect()
    }

    /// Starts one, for a domain or for all.
    ///
    /// # Errors
    /// There is one already, or it can't be stored.
    pub async fn start(
        &self,
        domain: Option<Domain>,
        hours: u32,
        reason: String,
        operator: String,
        now: Timestamp,
    ) -> Result<Status, BypassError> {
        let (now, _changing) = (whole(now), self.0.changing.lock().await);
        if let Some(entry) = self.entries().iter().find(|entry| entry.is_in_force() && entry.is_for(domain.as_ref())) {
            let scope = entry.row.domain.as_ref().map_or("all own domains", Domain::as_str).to_owned();
            return Err(BypassError::InForce { scope, until: entry.row.until });
        }
        self.is_short_enough(domain.as_ref(), hours)?;
        let until = now.checked_add(SignedDuration::from_hours(i64::from(hours))).map_err(|_| BypassError::Time)?;
        let id = data_encoding::HEXLOWER.encode(&crate::seal::random::<8>());
        let row =
            Row { id, domain, reason, operator, started: now, until, seen: now, ended: None, ended_by: None, told: 0 };
        let event = Event::BypassStarted {
            domain: row.domain.as_ref().map(|domain| domain.as_str().to_owned()),
            until: until.to_string(),
            operator: row.operator.clone(),
            reason: row.reason.clone(),
        };
        let status = row.status();
        self.put(Entry { deadline: Deadline::of(now, until), row }, Some(event)).await?;
        Ok(status)
    }

    /// One for all domains may begin while a domain has its own; the two together are no longer than one may be.
    fn is_short_enough(&self, domain: Option<&Domain>, hours: u32) -> Result<(), BypassError> {
        if domain.is_some() {
            return Ok(());
        }
        for entry in self.entries().into_iter().filter(Entry::is_in_force) {
            let left = LONGEST.saturating_sub(entry.passed());
            if Duration::from_secs(u64::from(hours) * 3600) > left {
                return Err(BypassError::TooLong {
                    domain: entry.row.domain.as_ref().map_or("all own domains", Domain::as_str).to_owned(),
                    since: entry.row.started,
                    left: left.as_secs() / 3600,
                });
            }
        }
        Ok(())
    }

    /// Ends those that are in force: all, or that of one domain.
    ///
    /// # Errors
    /// There is none, or it can't be stored.
    pub async fn stop(
        &self,
        domain: Option<&Domain>,
        operator: &str,
        now: Timestamp,
    ) -> Result<Vec<Status>, BypassError> {
        let _changing = self.0.changing.lock().await;
        let named = |entry: &Entry| match (domain, &entry.row.domain) {
            (None, _) => true,
            (Some(domain), Some(own)) => own.same(domain),
            (Some(_), None) => false,
        };
        let mut ended = Vec::new();
        for entry in self.entries().into_iter().filter(|entry| entry.is_in_force() && named(entry)) {
            ended.push(self.end(entry, operator, now).await?);
        }
        match ended.is_empty() {
            true => {
                Err(BypassError::None(domain.map(|domain| format!(" for {}", domain.as_str())).unwrap_or_default()))
            }
            false => Ok(ended),
        }
    }

    async fn end(&self, mut entry: Entry, by: &str, now: Timestamp) -> Result<Status, StoreError> {
        entry.row.ended = Some(whole(now));
        entry.row.ended_by = Some(by.to_owned());
        let (status, event) = (entry.row.status(), entry.row.ended_event());
        self.put(entry, Some(event)).await?;
        Ok(status)
    }

    /// Ends those whose time has passed, and writes down how far the others have come.
    ///
    /// # Errors
    /// It can't be stored; those whose time has passed are not in force all the same.
    pub async fn tick(&self, now: Timestamp) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock().await;
        for mut entry in self.entries().into_iter().filter(|entry| entry.row.ended.is_none()) {
            if entry.deadline.is_over() {
                self.end(entry, TIME, now).await?;
                continue;
            }
            let left = SignedDuration::try_from(entry.deadline.left()).unwrap_or(SignedDuration::ZERO);
            let come = entry.row.until.checked_sub(left).unwrap_or(now);
            if come.duration_since(entry.row.seen) >= NOTED {
                entry.row.seen = come;
                self.put(entry, None).await?;
            }
        }
        Ok(())
    }

    /// What the security team has to hear.
    pub fn untold(&self) -> Vec<Untold> {
        let untold = |entry: &Entry| {
            let ended = entry.row.ended.is_some();
            (entry.row.told < if ended { 2 } else { 1 }).then(|| Untold { status: entry.row.status(), ended })
        };
        self.entries().iter().filter_map(untold).collect()
    }

    /// It has heard.
    ///
    /// # Errors
    /// It can't be stored: it will hear again.
    pub async fn told(&self, untold: &Untold) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock().await;
        let Some(mut entry) = self.entries().into_iter().find(|entry| entry.row.id == untold.status.id) else {
            return Ok(());
        };
        entry.row.told = if untold.ended { 2 } else { 1 };
        self.put(entry, None).await
    }

    /// Returns when one has begun or ended. For one waiter.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Stores it, and then it holds.
    async fn put(&self, entry: Entry, event: Option<Event>) -> Result<(), StoreError> {
        let changed = event.is_some();
        let event = event.map(|event| (self.0.audit.clone(), event));
        self.0.store.write(Put { row: entry.row.clone(), event }).await?;
        let mut entries = self.0.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|other| other.row.id != entry.row.id);
        if entry.row.ended.is_none() || entry.row.told < 2 {
            entries.push(entry);
        }
        drop(entries);
        if changed {
            self.0.changed.notify_one();
        }
        Ok(())
    }
}

/// Whole seconds, as people read them.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn entry(row: &sqlx::sqlite::SqliteRow, now: Timestamp) -> Result<Entry, sqlx::Error> {
    let time = |micros: i64| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    let domain: Option<String> = row.try_get("domain")?;
    let (until, seen) = (time(row.try_get("until")?), time(row.try_get("seen")?));
    if now < seen {
        tracing::warn!("the clock was set back while an emergency bypass was in force; that does not lengthen it.");
    }
    let row = Row {
        id: row.try_get("id")?,
        // None means all domains: what can't be read must not become that.
        domain: domain
            .map(|text| Domain::parse(&text))
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        reason: row.try_get("reason")?,
        operator: row.try_get("operator")?,
        started: time(row.try_get("started")?),
        until,
        seen,
        ended: row.try_get::<Option<i64>, _>("ended")?.map(time),
        ended_by: row.try_get("ended_by")?,
        told: row.try_get("told")?,
    };
    Ok(Entry { deadline: Deadline::of(now.max(seen), until), row })
}

/// Writes a row, with the event of what was done.
struct Put {
    row: Row,
    event: Option<(Audit, Event)>,
}

impl Write for Put {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let row = &self.row;
        tx.execute(
            "INSERT INTO bypass (id, domain, reason, operator, started, until, seen, ended, ended_by, told) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
             seen = excluded.seen, ended = excluded.ended, ended_by = excluded.ended_by, told = excluded.told",
            &values![
                &row.id,
                row.domain.as_ref().map(Domain::as_str),
                &row.reason,
                &row.operator,
                row.started.as_microsecond(),
                row.until.as_microsecond(),
                row.seen.as_microsecond(),
                row.ended.map(Timestamp::as_microsecond),
                row.ended_by.as_deref(),
                row.told,
            ],
        )?;
        match &self.event {
            Some((audit, event)) => audit::append(tx, audit.chain(), std::slice::from_ref(event)),
            None => Ok(()),
        }
    }
}

/// How often a server looks whether one is over.
pub const PERIOD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
