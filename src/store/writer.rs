//! Group commit: one thread on one connection takes all jobs that wait into one transaction, flushed once.
//!
//! No linger: a job that comes alone is committed alone. Jobs of one type are handed over together, so that they can use
//! multi-row statements. A batch that fails is rolled back and its jobs are tried one by one: a bad job hurts only itself.

use super::inbox::{Receiver, Sender, inbox};
use super::tx::{SCRUB, Tx, TxError};
use super::{StoreError, migrations};
use crate::metrics::{self, Stopwatch};
use rusqlite::{Connection, OpenFlags};
use std::any::{Any, TypeId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Something to be written in one transaction, together with others. It runs on the writer's thread: it may compute, but
/// waits for nothing except the database.
pub trait Write: Send + Sync + 'static {
    /// What the caller gets when it is on disk.
    type Output: Send + 'static;

    /// Writes. May be called again after a rollback, so it keeps no state of its own.
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, TxError>;

    /// Writes several jobs of this type; one output each, in their order. Only for jobs on the message path, with
    /// multi-row statements.
    fn apply_all(jobs: &[&Self], tx: &mut Tx<'_>) -> Result<Vec<Self::Output>, TxError>
    where
        Self: Sized,
    {
        jobs.iter().map(|job| job.apply(tx)).collect()
    }

    /// Called once the transaction is on disk, before the caller hears of it.
    fn committed(&mut self, _output: &Self::Output) {}

    /// Whether it may wait a little for others to share its flush.
    fn urgency(&self) -> Urgency {
        Urgency::Now
    }
}

/// How long a job may wait for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    Now,
    /// 20 ms: with the next group, or alone.
    Soon,
}

/// What callers hold of the writer.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    jobs: Arc<Sender>,
    pub(super) counters: Counters,
}

/// What the writer counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: Arc<AtomicU64>,
    pub(super) generation: Arc<AtomicU64>,
    /// A transaction has met octets that are not what was written. Nothing is written any more.
    pub(super) damaged: Arc<AtomicBool>,
}

impl Counters {
    fn sound(&self) -> Result<(), StoreError> {
        match self.damaged.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(StoreError::Damaged(Arc::new(TxError::Damaged("found by an earlier transaction".to_owned())))),
        }
    }
}

impl Handle {
    pub(super) async fn write<W: Write>(&self, job: W) -> Result<W::Output, StoreError> {
        self.counters.sound()?;
        let (reply, answer) = oneshot::channel();
        let group = Jobs { jobs: vec![(job, reply)], outputs: Vec::new() };
        if !self.jobs.send(Box::new(group)).await {
            return Err(StoreError::Closed);
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn close(&self) {
        self.jobs.close().await;
    }
}

/// Opens the one connection that writes, with the settings that were measured (DESIGN section 6). `secure_delete`: a
/// destroyed content key must not stay in a free page. `temp_store`: what a statement might have to take back stays in
/// memory, it is no larger than a group of rows.
pub(super) fn connect(database: &Path, make: bool) -> Result<Connection, rusqlite::Error> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, make);
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Before the others: these two hold for a new file only until something is in it. Said to one that is there, the second is a
    // transaction of its own: nothing could be opened, or looked at, on a full disk.
    let shrinks: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if shrinks != INCREMENTAL {
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; \
         PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000; \
         PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// Opens the database, brings its schema up to date and starts the writer's thread; it ends when it is closed or all
/// handles are gone.
pub(super) async fn start(database: &Path, migrate: bool) -> Result<Handle, StoreError> {
    let (jobs, queue) = inbox();
    let (reply, opened) = oneshot::channel();
    let (database, counters) = (database.to_owned(), Counters::default());
    let mut writer = Writer { connection: None, database: database.clone(), counters: counters.clone() };
    let run = move || match writer.open(migrate) {
        Ok(()) => {
            // Without a listener the handle is gone, and the writer ends at once.
            reply.send(Ok(())).ok();
            writer.run(&queue);
        }
        Err(error) => drop(reply.send(Err(error))),
    };
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(run);
    // The thread is not joined: closing waits for its word, and without it nobody waits.
    thread.map_err(|source| StoreError::Open { path: database, source: Arc::new(source) })?;
    opened.await.map_err(|_| StoreError::Closed)??;
    Ok(Handle { jobs: Arc::new(jobs), counters })
}

struct Writer {
    /// None after an input/output error: a connection that saw one is not trusted again.
    connection: Option<Connection>,
    database: PathBuf,
    counters: Counters,
}

impl Writer {
    fn open(&mut self, migrate: bool) -> Result<(), StoreError> {
        let failed = |source| match StoreError::from(TxError::from(source)) {
            damaged @ StoreError::Damaged(_) => damaged,
            StoreError::Io(source) | StoreError::Busy(source) | StoreError::Full(source) | StoreError::Sql(source) => {
                StoreError::Open { path: self.database.clone(), source }
            }
            other => other,
        };
        let connection = connect(&self.database, true).map_err(failed)?;
        migrations::run(&connection, &self.database, migrate)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn run(mut self, queue: &Receiver) {
        loop {
            let jobs = queue.take();
            if jobs.is_empty() {
                break;
            }
            self.write(grouped(jobs));
        }
        if let Some(Err((_, error))) = self.connection.take().map(Connection::close) {
            tracing::error!(%error, "closing the database failed");
        }
    }

    fn write(&mut self, mut groups: Vec<Box<dyn Group>>) {
        groups.retain_mut(|group| group.drop_abandoned() > 0);
        if groups.is_empty() {
            return;
        }
        // What waited here when the damage was found.
        if let Err(error) = self.counters.sound() {
            return groups.into_iter().for_each(|group| group.fail(&error));
        }
        match self.transaction(&mut groups) {
            Ok(()) => groups.into_iter().for_each(|group| group.finish()),
            Err(error) if groups.iter().map(|group| group.len()).sum::<usize>() == 1 || retry_is_vain(&error) => {
                tracing::error!(error = %chain(&error), "a transaction failed");
                groups.into_iter().for_each(|group| group.fail(&error));
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a transaction failed, its jobs are tried one by one");
                for group in groups.into_iter().flat_map(|group| group.split()) {
                    let mut alone = vec![group];
                    match self.transaction(&mut alone) {
                        Ok(()) => alone.into_iter().for_each(|group| group.finish()),
                        Err(error) => {
                            tracing::error!(error = %chain(&error), "a transaction failed");
                            alone.into_iter().for_each(|group| group.fail(&error));
                        }
                    }
                }
            }
        }
    }

    /// All of them on disk, or none.
    fn transaction(&mut self, groups: &mut [Box<dyn Group>]) -> Result<(), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            // One that is gone, with the disk that it lay on, is not made anew: an empty one would be served.
            None => connect(&self.database, false).map_err(TxError::from)?,
        };
        self.counters.generation.fetch_add(1, Ordering::SeqCst);
        let (watch, jobs) = (Stopwatch::start(), groups.iter().map(|group| group.len()).sum());
        match Self::attempt(&connection, groups) {
            Ok(()) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                metrics::committed(jobs, watch.passed());
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                let error = StoreError::from(error);
                metrics::not_committed();
                if matches!(error, StoreError::Damaged(_)) && !self.counters.damaged.swap(true, Ordering::AcqRel) {
                    tracing::error!(error = %chain(&error), "mail is neither taken nor delivered until the gateway is started again.");
                }
                // SQLite rolls back by itself after some errors; then nothing is left to roll back, and that is fine.
                let ended = (connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok())
                    && connection.execute_batch(SCRUB).is_ok();
                if ended && connection.is_autocommit() && !matches!(error, StoreError::Io(_)) {
                    self.connection = Some(connection);
                } else {
                    // Dropping closes it; the next transaction opens a new one.
                    drop(connection);
                }
                Err(error)
            }
        }
    }

    fn attempt(connection: &Connection, groups: &mut [Box<dyn Group>]) -> Result<(), TxError> {
        let mut tx = Tx::new(connection);
        tx.execute("BEGIN IMMEDIATE", &[])?;
        for group in groups {
            group.apply(&mut tx)?;
        }
        tx.execute("COMMIT", &[])?;
        Ok(())
    }
}

/// After these, each single job would fail in the same way, and after a failed flush more writing is harm.
fn retry_is_vain(error: &StoreError) -> bool {
    matches!(error, StoreError::Io(_) | StoreError::Busy(_) | StoreError::Closed | StoreError::Damaged(_))
}

fn chain(error: &StoreError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Jobs for one transaction, grouped by type in the order of their first appearance.
fn grouped(jobs: Vec<Box<dyn Group>>) -> Vec<Box<dyn Group>> {
    let mut groups: Vec<Box<dyn Group>> = Vec::new();
    for job in jobs {
        let kind = job.kind();
        match groups.iter_mut().find(|group| group.kind() == kind) {
            Some(group) => group.absorb(job.into_any()),
            None => groups.push(job),
        }
    }
    groups
}

/// Jobs of one type, with that type forgotten.
pub(super) trait Group: Send {
    fn kind(&self) -> TypeId;
    fn urgency(&self) -> Urgency;
    fn len(&self) -> usize;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    fn absorb(&mut self, other: Box<dyn Any>);
    fn split(self: Box<Self>) -> Vec<Box<dyn Group>>;
    /// Forgets jobs whose caller has gone; how many are left.
    fn drop_abandoned(&mut self) -> usize;
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), TxError>;
    fn finish(self: Box<Self>);
    fn fail(self: Box<Self>, error: &StoreError);
}

type Reply<W> = oneshot::Sender<Result<<W as Write>::Output, StoreError>>;

struct Jobs<W: Write> {
    jobs: Vec<(W, Reply<W>)>,
    outputs: Vec<W::Output>,
}

impl<W: Write> Group for Jobs<W> {
    fn kind(&self) -> TypeId {
        TypeId::of::<W>()
    }

    fn urgency(&self) -> Urgency {
        self.jobs.iter().map(|(job, _)| job.urgency()).min().unwrap_or(Urgency::Now)
    }

    fn len(&self) -> usize {
        self.jobs.len()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn absorb(&mut self, other: Box<dyn Any>) {
        if let Ok(other) = other.downcast::<Self>() {
            self.jobs.extend(other.jobs);
        }
    }

    fn split(self: Box<Self>) -> Vec<Box<dyn Group>> {
        let alone = |job| Box::new(Self { jobs: vec![job], outputs: Vec::new() }) as Box<dyn Group>;
        self.jobs.into_iter().map(alone).collect()
    }

    fn drop_abandoned(&mut self) -> usize {
        self.jobs.retain(|(_, reply)| !reply.is_closed());
        self.jobs.len()
    }

    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let jobs: Vec<&W> = self.jobs.iter().map(|(job, _)| job).collect();
        self.outputs = W::apply_all(&jobs, tx)?;
        Ok(())
    }

    fn finish(self: Box<Self>) {
        for ((mut job, reply), output) in self.jobs.into_iter().zip(self.outputs) {
            job.committed(&output);
            // The caller may have gone while the transaction was flushed: it is done all the same.
            reply.send(Ok(output)).ok();
        }
    }

    fn fail(self: Box<Self>, error: &StoreError) {
        for (job, reply) in self.jobs {
            // What it had put on disk beside the database is gone when the caller hears of it.
            drop(job);
            // Nobody listens any more: then nobody was promised anything either.
            reply.send(Err(error.clone())).ok();
        }
    }
}

/// Of `PRAGMA auto_vacuum`.
const INCREMENTAL: i64 = 2;
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that are kept.
const STATEMENTS: usize = 200;
