//! Group commit: one task on one connection takes all jobs that wait into one transaction, flushed once.
//!
//! No linger: a job that comes alone is committed alone. Jobs of one type are handed over together, so that they can use
//! multi-row statements. A batch that fails is rolled back and its jobs are tried one by one: a bad job hurts only itself.

use super::StoreError;
use crate::metrics::{self, Stopwatch};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection, query};
use std::any::{Any, TypeId};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A future on the heap, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something to be written in one transaction, together with others.
pub trait Write: Send + Sync + 'static {
    /// What the caller gets when it is on disk.
    type Output: Send + 'static;

    /// Writes. May be called again after a rollback, so it keeps no state of its own.
    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<Self::Output, sqlx::Error>>;

    /// Writes several jobs of this type; one output each, in their order. Only for jobs on the message path, with
    /// multi-row statements.
    fn apply_all<'a>(
        jobs: &'a [&'a Self],
        tx: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Vec<Self::Output>, sqlx::Error>>
    where
        Self: Sized,
    {
        Box::pin(async move {
            let mut outputs = Vec::with_capacity(jobs.len());
            for job in jobs {
                outputs.push(job.apply(tx).await?);
            }
            Ok(outputs)
        })
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
    jobs: mpsc::Sender<Message>,
    pub(super) counters: Counters,
}

/// What the writer counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: Arc<AtomicU64>,
    pub(super) generation: Arc<AtomicU64>,
}

enum Message {
    Job(Box<dyn Group>),
    Close(oneshot::Sender<()>),
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job(_) => "Job",
            Self::Close(_) => "Close",
        })
    }
}

impl Handle {
    pub(super) async fn write<W: Write>(&self, job: W) -> Result<W::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        let group = Jobs { jobs: vec![(job, reply)], outputs: Vec::new() };
        self.jobs.send(Message::Job(Box::new(group))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Message::Close(reply)).await.is_ok() {
            // An error means that the writer is gone already.
            answer.await.ok();
        }
    }
}

/// Opens the one connection that writes.
pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    options.connect().await
}

/// Starts the writer task; it ends when it is closed or all handles are gone.
pub(super) fn start(connection: SqliteConnection, options: SqliteConnectOptions) -> Handle {
    let (jobs, queue) = mpsc::channel(QUEUE);
    let counters = Counters::default();
    let writer = Writer { connection: Some(connection), options, counters: counters.clone() };
    tokio::spawn(writer.run(queue));
    Handle { jobs, counters }
}

struct Writer {
    /// None after an input/output error: a connection that saw one is not trusted again.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    counters: Counters,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut close = None;
        while close.is_none() {
            let Some(first) = queue.recv().await else { break };
            let mut batch = Batch::default();
            let deadline = tokio::time::Instant::now() + SOON;
            close = batch.add(first);
            while close.is_none() && batch.jobs < BATCH {
                let next = match queue.try_recv() {
                    Ok(next) => next,
                    // Only jobs that may wait: give others 20 ms to share their flush.
                    Err(_) if batch.urgency == Urgency::Soon => {
                        match tokio::time::timeout_at(deadline, queue.recv()).await {
                            Ok(Some(next)) => next,
                            _ => break,
                        }
                    }
                    Err(_) => break,
                };
                close = batch.add(next);
            }
            self.write(batch.groups).await;
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::error!(%error, "closing the database failed");
        }
        if let Some(reply) = close {
            // Nobody may be waiting any more.
            reply.send(()).ok();
        }
    }

    async fn write(&mut self, groups: Vec<Box<dyn Group>>) {
        let mut groups: Vec<Box<dyn Group>> = groups;
        groups.retain_mut(|group| group.drop_abandoned() > 0);
        if groups.is_empty() {
            return;
        }
        match self.transaction(&mut groups).await {
            Ok(()) => groups.into_iter().for_each(|group| group.finish()),
            Err(error) if groups.iter().map(|group| group.len()).sum::<usize>() == 1 || retry_is_vain(&error) => {
                tracing::error!(error = %chain(&error), "a transaction failed");
                groups.into_iter().for_each(|group| group.fail(&error));
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a transaction failed, its jobs are tried one by one");
                for group in groups.into_iter().flat_map(|group| group.split()) {
                    let mut alone = vec![group];
                    match self.transaction(&mut alone).await {
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
    async fn transaction(&mut self, groups: &mut [Box<dyn Group>]) -> Result<(), StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        self.counters.generation.fetch_add(1, Ordering::SeqCst);
        let (watch, jobs) = (Stopwatch::start(), groups.iter().map(|group| group.len()).sum());
        match Self::attempt(&mut connection, groups).await {
            Ok(()) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                metrics::committed(jobs, watch.passed());
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                let error = StoreError::from(error);
                metrics::not_committed();
                // SQLite rolls back by itself after some errors; then ROLLBACK fails, and that is fine.
                let rolled_back = query("ROLLBACK").execute(&mut connection).await;
                let trusted = !matches!(error, StoreError::Io(_))
                    && (rolled_back.is_ok() || query("SELECT 1").execute(&mut connection).await.is_ok());
                if trusted {
                    self.connection = Some(connection);
                } else {
                    // Dropping closes it; the next transaction opens a new one.
                    drop(connection);
                }
                Err(error)
            }
        }
    }

    async fn attempt(connection: &mut SqliteConnection, groups: &mut [Box<dyn Group>]) -> Result<(), sqlx::Error> {
        query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        for group in groups {
            group.apply(connection).await?;
        }
        query("COMMIT").execute(&mut *connection).await?;
        Ok(())
    }
}

/// After these, each single job would fail in the same way, and after a failed flush more writing is harm.
fn retry_is_vain(error: &StoreError) -> bool {
    matches!(error, StoreError::Io(_) | StoreError::Busy(_) | StoreError::Closed)
}

fn chain(error: &StoreError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Jobs for one transaction, grouped by type in the order of their first appearance.
struct Batch {
    groups: Vec<Box<dyn Group>>,
    jobs: usize,
    urgency: Urgency,
}

impl Default for Batch {
    fn default() -> Self {
        Self { groups: Vec::new(), jobs: 0, urgency: Urgency::Soon }
    }
}

impl Batch {
    /// The sender of a close request, if it was one.
    fn add(&mut self, message: Message) -> Option<oneshot::Sender<()>> {
        let job = match message {
            Message::Close(reply) => return Some(reply),
            Message::Job(job) => job,
        };
        self.jobs += 1;
        self.urgency = self.urgency.min(job.urgency());
        let kind = job.kind();
        match self.groups.iter_mut().find(|group| group.kind() == kind) {
            Some(group) => group.absorb(job.into_any()),
            None => self.groups.push(job),
        }
        None
    }
}

/// Jobs of one type, with that type forgotten.
trait Group: Send {
    fn kind(&self) -> TypeId;
    fn urgency(&self) -> Urgency;
    fn len(&self) -> usize;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    fn absorb(&mut self, other: Box<dyn Any>);
    fn split(self: Box<Self>) -> Vec<Box<dyn Group>>;
    /// Forgets jobs whose caller has gone; how many are left.
    fn drop_abandoned(&mut self) -> usize;
    fn apply<'a>(&'a mut self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>>;
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

    fn apply<'a>(&'a mut self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let jobs: Vec<&W> = self.jobs.iter().map(|(job, _)| job).collect();
            self.outputs = W::apply_all(&jobs, tx).await?;
            Ok(())
        })
    }

    fn finish(self: Box<Self>) {
        for ((mut job, reply), output) in self.jobs.into_iter().zip(self.outputs) {
            job.committed(&output);
            // The caller may have gone while the transaction was flushed: it is done all the same.
            reply.send(Ok(output)).ok();
        }
    }

    fn fail(self: Box<Self>, error: &StoreError) {
        for (_, reply) in self.jobs {
            // Nobody listens any more: then nobody was promised anything either.
            reply.send(Err(error.clone())).ok();
        }
    }
}

/// Jobs in one transaction. More would keep the first of them waiting without saving flushes.
const BATCH: usize = 256;
/// Jobs that may wait for the writer; further callers wait to hand theirs over.
const QUEUE: usize = 1024;
const SOON: Duration = Duration::from_millis(20);
