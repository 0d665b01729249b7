//! The database: readers, migrations, and the writer that commits for many sessions at once.
//!
//! Knows no table's meaning: the modules below own their SQL. Nothing writes except through [`Store::write`], whose
//! reply comes only after the commit was flushed. Failure policy: what could not be committed is rolled back whole and
//! reported; the error says whether trying again later makes sense.

pub mod backup;
mod inbox;
mod lock;
mod migrations;
pub mod rows;
mod tx;
mod writer;

pub use lock::{Lock, LockError};
pub(crate) use tx::values;
pub use tx::{Column, Read, Row, Tx, TxError, Value};
pub use writer::{Urgency, Write};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Concrete pools, not `AnyPool`. PostgreSQL joins here.
#[derive(Clone, Debug)]
pub enum Db {
    /// One file, one writer.
    Sqlite(SqlitePool),
}

/// The store of one gateway: readers, and the handle of the writer's thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    readers: Db,
    writer: writer::Handle,
}

/// What the database said.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open database `{path}`")]
    Open {
        /// Its file.
        path: std::path::PathBuf,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// A newer Segel wrote it.
    #[error("database has schema {found}, expected at most {known}: written by a newer version")]
    NewerSchema {
        /// In the file.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// An older Segel wrote it, and whoever asks may not change it.
    #[error(
        "database has schema {found}, this version works with {known}: it is brought up to date when the gateway starts"
    )]
    OlderSchema {
        /// In the file.
        found: i64,
        /// The one this program works with.
        known: i64,
    },
    /// The copy that is made before the schema changes could not be made; the database is as it was.
    #[error("no copy of the database could be made at `{path}` before its schema changes; nothing was changed")]
    Copy {
        /// The copy.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Its octets are not what was written: a disk's doing, or another program's.
    #[error(
        "the database is damaged, what it holds can not be relied on: stop the gateway, keep a copy of the data \
         directory, and restore the last backup (`segel restore FILE --move-aside`, docs/backup.md)"
    )]
    Damaged(#[source] Cause),
    /// No space left.
    #[error("no space left for the database")]
    Full(#[source] Cause),
    /// Reading, writing or flushing failed; what was to be written counts as not written.
    #[error("the database could not read, write or flush")]
    Io(#[source] Cause),
    /// Somebody else holds the database for too long.
    #[error("the database is busy")]
    Busy(#[source] Cause),
    /// The store was closed, or its writer ended.
    #[error("the store is closed")]
    Closed,
    /// Anything else: a defect, or a damaged file.
    #[error("the database refused a statement")]
    Sql(#[source] Cause),
}

impl StoreError {
    /// Whether there is no space: 452 4.3.1 (RFC 3463 section 3.4).
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether it is about the store and not about this job: trying again later may make sense, and meanwhile nothing new is
    /// begun. (A client hears 451 4.3.0 for all the others too: mail is never refused
    /// for what is our trouble.)
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Io(_) | Self::Busy(_) | Self::Closed | Self::Damaged(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().and_then(|code| code.parse().ok());
                Self::of(code, Arc::new(error))
            }
            sqlx::Error::Io(_) => Self::Io(Arc::new(error)),
            sqlx::Error::PoolTimedOut => Self::Busy(Arc::new(error)),
            sqlx::Error::PoolClosed => Self::Closed,
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

impl From<TxError> for StoreError {
    fn from(error: TxError) -> Self {
        let code = match &error {
            TxError::Database(database) => database.sqlite_error().map(|error| error.extended_code),
            TxError::Damaged(_) => return Self::Damaged(Arc::new(error)),
            _ => None,
        };
        Self::of(code, Arc::new(error))
    }
}

impl StoreError {
    /// By SQLite's result code, https://www.sqlite.org/rescode.html: the primary one is the low octet of an extended one.
    fn of(code: Option<i32>, cause: Cause) -> Self {
        const BUSY: i32 = 5;
        const LOCKED: i32 = 6;
        const READONLY: i32 = 8;
        const IOERR: i32 = 10;
        const CORRUPT: i32 = 11;
        const FULL: i32 = 13;
        const CANTOPEN: i32 = 14;
        const NOTADB: i32 = 26;
        match code.map(|code| code & 0xff) {
            Some(BUSY | LOCKED) => Self::Busy(cause),
            Some(READONLY | IOERR | CANTOPEN) => Self::Io(cause),
            Some(FULL) => Self::Full(cause),
            Some(CORRUPT | NOTADB) => Self::Damaged(cause),
            _ => Self::Sql(cause),
        }
    }
}

impl Store {
    /// Opens or makes the database, brings its schema up to date and starts the writer's thread. The caller holds the
    /// data directory's [`Lock`] if it means to write.
    pub async fn open(database: &Path) -> Result<Self, StoreError> {
        Self::open_as(database, true).await
    }

    /// The same, but a database of an older schema is left as it is and refused: for whoever reads beside a server.
    ///
    /// # Errors
    /// `OlderSchema`, and those of [`Self::open`].
    pub async fn open_current(database: &Path) -> Result<Self, StoreError> {
        Self::open_as(database, false).await
    }

    async fn open_as(database: &Path, migrate: bool) -> Result<Self, StoreError> {
        let writer = writer::start(database, migrate).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options(database).pragma("query_only", "1"));
        Ok(Self { readers: Db::Sqlite(readers), writer })
    }

    /// The connections that only read. Each sees what was committed last.
    pub fn readers(&self) -> &SqlitePool {
        match &self.readers {
            Db::Sqlite(pool) => pool,
        }
    }

    /// Which database it is.
    pub fn db(&self) -> &Db {
        &self.readers
    }

    /// Does the job in the next transaction, together with whatever else waits. Returns when it is on disk. If the
    /// caller goes away before the writer took the job, it is not done.
    pub async fn write<W: Write>(&self, job: W) -> Result<W::Output, StoreError> {
        self.writer.write(job).await
    }

    /// How many transactions were committed so far: each is one flush.
    pub fn commits(&self) -> u64 {
        self.writer.counters.commits.load(Ordering::Relaxed)
    }

    /// Whether a transaction has met damage: nothing is written any more until the next start.
    pub fn is_damaged(&self) -> bool {
        self.writer.counters.damaged.load(Ordering::Acquire)
    }

    /// Number of the transaction that the writer is in, or was in last. What was seen in one generation and is seen
    /// again in another has been committed in between.
    pub(crate) fn generation(&self) -> Arc<std::sync::atomic::AtomicU64> {
        Arc::clone(&self.writer.counters.generation)
    }

    /// Ends the writer after what it has accepted, then the readers. Jobs that come later hear `Closed`.
    pub async fn close(self) {
        self.writer.close().await;
        self.readers().close().await;
    }
}

/// The settings that were measured (DESIGN section 6), as the writer has them ([`writer::connect`]), for connections beside
/// it; those of a new file are its alone. `secure_delete`: a destroyed content key must not stay in a free page.
fn options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(200)
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .pragma("secure_delete", "ON")
}

const READERS: u32 = 4;
const ACQUIRE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
