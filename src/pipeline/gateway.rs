//! The parts that every session, worker and operation shares, and the view of the configuration they work with.

use super::AcceptError;
use super::alert::Pace;
use super::budget::Budget;
use crate::audit::{Audit, AuditError, Event};
use crate::bypass::Bypass;
use crate::clock;
use crate::config::{self, Config, ConfigError, MasterKeySource};
use crate::directory::Directory;
use crate::dns::Resolver;
use crate::keys::{self, Dkim, Keys};
use crate::limits::Limits;
use crate::mail::Domain;
use crate::outbound::Surroundings;
use crate::pki::{Name, PathRequest, Purpose, RevocationMode, TrustAnchor, path};
use crate::queue::{Alarm, Delivery, NewRecord, NewState, Notices, Queue, QueueError, Schedule};
use crate::revocation::{Authorities, Crls, Revocation, RevocationError};
use crate::seal::{MasterKey, PseudonymKey, SealError};
use crate::store::{Store, StoreError};
use crate::tls::server::{Listeners, TlsError};
use crate::{metrics, systemd};
use std::cell::Cell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

/// One consistent view of configuration and trust. A session keeps the one it began with.
#[derive(Debug)]
pub struct Snapshot {
    /// The configuration as checked.
    pub config: Config,
    /// Anchors of the configuration and stored ones.
    pub anchors: Arc<[TrustAnchor]>,
    /// CRLs, found by issuer: what is at hand now, also what came after the session began.
    pub crls: Crls,
    /// The bounds, shared with worker threads.
    pub limits: Arc<Limits>,
    /// Look-ups in DNS.
    pub resolver: Resolver,
    /// DKIM per own domain, in the order of the policy's.
    dkim: Vec<Dkim>,
    /// What connecting to next hops needs.
    pub surroundings: Arc<Surroundings>,
    /// TLS of the listeners.
    pub tls: Listeners,
}

/// The shared parts. Opened once; a reload replaces the snapshot alone.
#[derive(Debug)]
pub struct Gateway {
    /// The database and its writer.
    pub store: Store,
    /// Accepted mail.
    pub queue: Queue,
    /// Own keys.
    pub keys: Keys,
    /// Others' certificates and stored anchors.
    pub directory: Directory,
    /// The audit log.
    pub audit: Audit,
    /// CRLs, and where they come from.
    pub revocation: Revocation,
    /// Whether somebody has switched signing off for a while.
    pub bypass: Bypass,
    /// Whether the time can be relied on.
    pub clock: Arc<clock::Watch>,
    snapshot: RwLock<Arc<Snapshot>>,
    workers: Arc<Semaphore>,
    pub(super) budget: Budget,
    /// Proves that a mark on a mail is ours.
    pub(super) marks: PseudonymKey,
    handoff: RwLock<Option<mpsc::Sender<Delivery>>>,
    pub(super) pace: Pace,
    changed: Notify,
    reloading: tokio::sync::Mutex<()>,
}

/// Why the gateway could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The audit log.
    #[error("cannot open the audit log")]
    Audit(#[from] AuditError),
    /// A new key could open nothing in a store that is there.
    #[error("store `{store}` is there, but not its master key `{key}`; put back the copy of the key")]
    MasterKeyGone {
        /// The database.
        store: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// Contents without the database that names them: it was lost, and a new one would be an empty queue.
    #[error(
        "store `{store}` is gone or empty, but `{content}` holds the contents of mail: put the database back, or restore \
         the last backup (`segel restore FILE --move-aside`, docs/backup.md)"
    )]
    StoreGone {
        /// The database.
        store: PathBuf,
        /// The folder of content files.
        content: PathBuf,
    },
    /// Another key was put in the place of the store's, or a change of keys was interrupted.
    #[error("{0}\n  hint: {hint}", hint = .0.hint())]
    OtherMasterKey(keys::master::OtherMasterKey),
    /// The master key.
    #[error("cannot open the master key")]
    Seal(#[from] SealError),
    /// The database.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The register of own keys.
    #[error("cannot read the register of keys")]
    Keys(#[from] keys::KeyError),
    /// The directory.
    #[error("cannot read the directory of certificates")]
    Directory(#[from] crate::directory::DirectoryError),
    /// The queue.
    #[error("cannot open the queue")]
    Queue(#[from] QueueError),
    /// The CRLs.
    #[error("cannot read the stored CRLs")]
    Revocation(#[from] RevocationError),
    /// Certificates and keys of the listeners.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
}

/// Why nothing was reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has an error.
    #[error(transparent)]
    Config(ConfigError),
    /// A key that takes effect only at start was changed.
    #[error(
        "`{0}` was changed: that needs a restart\n  hint: restart the gateway, or put the old value back and reload"
    )]
    Restart(&'static str),
    /// A certificate, key or list of the listeners can't be used.
    #[error(transparent)]
    Tls(TlsError),
    /// The store could not be read.
    #[error("cannot read keys and certificates again")]
    Open(#[source] OpenError),
}

/// Keys whose change needs a restart.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let sockets =
        |config: &Config| config.listeners.iter().map(|l| (l.name.clone(), l.bind, l.side)).collect::<Vec<_>>();
    [
        ("listener", sockets(old) != sockets(new)),
        ("console.bind", old.console != new.console),
        ("gateway.data_dir", old.data_dir != new.data_dir),
        ("store.url", old.database != new.database),
        ("keys.master", old.master_key != new.master_key),
        ("limits.memory", old.limits.memory != new.limits.memory),
        ("limits.connections", old.limits.connections != new.limits.connections),
        ("log.format", old.log.format != new.log.format),
        ("log.level", old.log.level != new.log.level),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

impl Gateway {
    /// Opens the store. Changes nothing in it: a command that only reads does this beside a server that runs. Who delivers
    /// or changes anything holds the data directory's lock first, and who delivers recovers the queue then.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let store = Self::store_of(&config, true).await?;
        Self::with(config, store).await
    }

    /// The same for a command that only reads: a store of an older schema stays as it is, and is refused.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub async fn open_to_read(config: Config) -> Result<Self, OpenError> {
        let store = Self::store_of(&config, false).await?;
        Self::with(config, store).await
    }

    async fn store_of(config: &Config, migrate: bool) -> Result<(MasterKey, Store), OpenError> {
        keep_master_key(config)?;
        keep_contents(config)?;
        let (master, made) = MasterKey::open(&config.master_key)?;
        if made {
            let path = config.master_key.path().display();
            tracing::warn!(%path, "made a new master key; keep a copy of it apart from the data.");
        }
        let store = match migrate {
            true => Store::open(&config.database).await?,
            false => Store::open_current(&config.database).await?,
        };
        Ok((master, store))
    }

    async fn with(config: Config, (master, store): (MasterKey, Store)) -> Result<Self, OpenError> {
        let master = Arc::new(master);
        keys::master::check(&store, &master, config.master_key.path().to_owned())
            .await?
            .map_err(OpenError::OtherMasterKey)?;
        let audit = Audit::open(store.clone(), Arc::clone(&master)).await?;
        let keys = Keys::open(store.clone(), Arc::clone(&master), audit.clone()).await?;
        let directory = Directory::open(store.clone(), audit.clone()).await?;
        let bypass = Bypass::open(store.clone(), audit.clone(), clock::now()).await?;
        let marks = master.pseudonym_key("passed");
        let (schedule, notices) = (schedule(&config), notices(&config));
        let queue = Queue::new(store.clone(), master, audit.clone(), &config.data_dir, schedule, notices)
            .hold_at_most(config.limits.memory / 4);
        let clock = queue.clock();
        let budget = Budget::new(config.limits.memory);
        let resolver = Resolver::new(&config.dns);
        let anchors = anchors(&config, &directory);
        let known = authorities(&directory, &anchors, &config);
        let revocation = Revocation::open(store.clone(), audit.clone(), &config, &resolver, known).await?;
        let tls = Listeners::new(&config)?;
        let snapshot = Arc::new(Snapshot::new(config, anchors, revocation.crls(), tls, resolver));
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self {
            store,
            queue,
            keys,
            directory,
            audit,
            revocation,
            bypass,
            clock,
            snapshot: RwLock::new(snapshot),
            workers: Arc::new(Semaphore::new(workers)),
            budget,
            marks,
            handoff: RwLock::new(None),
            pace: Pace::default(),
            changed: Notify::new(),
            reloading: tokio::sync::Mutex::default(),
        })
    }

    /// The view that a new session begins with.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration, all at once. Sessions that have begun keep the old one.
    fn replace(&self, config: Config, tls: Listeners) {
        self.queue.set_terms(schedule(&config), notices(&config));
        let resolver = Resolver::new(&config.dns);
        let anchors = anchors(&config, &self.directory);
        let known = authorities(&self.directory, &anchors, &config);
        for issuer in self.revocation.reload(&config, &resolver, known) {
            tracing::warn!(%issuer, "the CRL in the file is older than the one in use, which stays.");
        }
        let fresh = Arc::new(Snapshot::new(config, anchors, self.revocation.crls(), tls, resolver));
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.note_change();
    }

    /// Takes stored anchors in again after they changed. Not beside a reload: what that has just put in force would be put
    /// back.
    pub async fn refresh_trust(&self) {
        let _one_at_a_time = self.reloading.lock().await;
        let snapshot = self.snapshot();
        self.replace(snapshot.config.clone(), snapshot.tls.clone());
    }

    /// Reads configuration, keys and certificates again: all of it takes effect, or nothing does.
    ///
    /// What sockets and files hang on (listeners, console, data directory, database) needs a restart; a change there
    /// is an error.
    pub async fn reload(&self) -> Result<(), Vec<ReloadError>> {
        let _one_at_a_time = self.reloading.lock().await;
        systemd::reloading();
        let done = self.read_again().await;
        metrics::reloaded(done.is_ok(), clock::now());
        match &done {
            Ok(()) => tracing::info!("reloaded."),
            Err(errors) => errors.iter().for_each(|error| tracing::error!("not reloaded: {error}")),
        }
        systemd::ready(if done.is_ok() { "running" } else { "running; the last reload changed nothing, see the log" });
        done
    }

    async fn read_again(&self) -> Result<(), Vec<ReloadError>> {
        let old = self.snapshot();
        let config = config::load(&old.config.file)
            .map_err(|errors| errors.into_iter().map(ReloadError::Config).collect::<Vec<_>>())?;
        let fixed = fixed(&old.config, &config);
        if !fixed.is_empty() {
            return Err(fixed.into_iter().map(ReloadError::Restart).collect());
        }
        let tls = Listeners::new(&config).map_err(|error| vec![ReloadError::Tls(error)])?;
        let read = async {
            self.keys.reload().await?;
            self.directory.reload().await?;
            Ok::<(), OpenError>(())
        };
        read.await.map_err(|error| vec![ReloadError::Open(error)])?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let policy = config.policy.hash.clone();
        self.replace(config, tls);
        // Mail that waits goes where the new configuration says.
        if let Err(error) = self.queue.reroute().await {
            tracing::error!(%error, "mail that waits keeps its old routes until the next reload or start.");
        }
        self.record(Event::Reloaded { policy }).await;
        Ok(())
    }

    /// Until when mail of an own domain leaves unsigned by an operator's emergency bypass; none: no bypass is in force.
    pub fn bypass_until(&self) -> Option<jiff::Timestamp> {
        self.bypass.until()
    }

    /// Changes whenever a CRL came in that says something new: what waits for a status can be judged again.
    pub fn crls_changed(&self) -> watch::Receiver<u64> {
        self.revocation.changed()
    }

    /// Tells the audit log that the gateway runs.
    pub async fn started(&self) {
        let policy = self.snapshot().config.policy.hash.clone();
        self.record(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned(), policy }).await;
    }

    /// Tells the audit log that the gateway ends, and closes the store.
    pub async fn close(&self) {
        self.record(Event::Stopped).await;
        self.store.clone().close().await;
    }

    async fn record(&self, event: Event) {
        if let Err(error) = self.audit.record(vec![event]).await {
            tracing::error!(%error, "an event could not be recorded.");
        }
    }

    /// Says that certificates, keys, CRLs or the policy have changed: what waits for that is decided again.
    pub fn note_change(&self) {
        self.changed.notify_one();
    }

    /// Returns when something has changed since the last time. For one waiter.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Where accepted mail goes from memory. Set by the server; without it mail waits to be claimed.
    pub fn hand_over_to(&self, worker: mpsc::Sender<Delivery>) {
        *self.handoff.write().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    }

    /// Octets of memory that copies in the making hold.
    pub fn copies_held(&self) -> usize {
        self.budget.held()
    }

    /// Runs a future on a worker's thread as far as it goes without waiting, and only what is left on the caller's: a mail
    /// that needs nothing from anybody changes threads once, not at every step. Its work for a CPU ([`Self::cpu`]) is done
    /// right there. Nobody waits on a worker's thread.
    pub(super) async fn begin_on_worker<F>(&self, future: F) -> Result<F::Output, AcceptError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut future = Box::pin(future);
        let begin = move || {
            let _here = OnWorker::enter();
            // Nobody is to be woken: what is not done yet is asked again by who waits for it.
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            (polled, future)
        };
        match self.cpu(begin).await? {
            (Poll::Ready(done), _) => Ok(done),
            (Poll::Pending, future) => Ok(future.await),
        }
    }

    /// Runs work for a CPU on its own thread, at most one for each CPU at a time.
    pub async fn cpu<T, F>(&self, work: F) -> Result<T, AcceptError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if ON_WORKER.get() {
            return Ok(work());
        }
        let permit = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| AcceptError::Worker)?;
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        task.await.map_err(|error| {
            tracing::error!(%error, "a worker ended without an answer.");
            AcceptError::Worker
        })
    }

    /// Makes the record durable and hands its copies over. Leased to this process only as far as the worker has room:
    /// the rest is claimed from the store when it has.
    ///
    /// Runs as a task of its own: a caller that goes away once the commit has begun must not leave leased mail that
    /// nobody delivers.
    pub(super) async fn commit(&self, record: NewRecord, alarm: Alarm) -> Result<(), QueueError> {
        let handoff = self.handoff.read().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = self.queue.clone();
        let task = tokio::spawn(async move { commit(&queue, handoff, record, alarm).await });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a commit ended without an answer.");
            Err(QueueError::Interrupted)
        })
    }
}

thread_local! {
    /// This thread is a worker's, and holds its place.
    static ON_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Says so until it is dropped.
struct OnWorker;

impl OnWorker {
    fn enter() -> Self {
        ON_WORKER.set(true);
        Self
    }
}

impl Drop for OnWorker {
    fn drop(&mut self) {
        ON_WORKER.set(false);
    }
}

async fn commit(
    queue: &Queue,
    handoff: Option<mpsc::Sender<Delivery>>,
    mut record: NewRecord,
    alarm: Alarm,
) -> Result<(), QueueError> {
    // One delivery for each copy and next hop.
    let wanted = record.recipients.iter().filter_map(|recipient| match recipient.state {
        NewState::Pending { copy } => Some((copy, &recipient.next_hop)),
        NewState::Held { .. } => None,
    });
    let wanted = wanted.collect::<HashSet<_>>().len();
    let room = handoff.as_ref().and_then(|sender| sender.try_reserve_many(wanted).ok());
    record.lease = room.is_some() && wanted > 0;
    let mut deliveries = queue.commit_with(record, alarm).await?.into_iter();
    for permit in room.into_iter().flatten() {
        if let Some(delivery) = deliveries.next() {
            permit.send(delivery);
        }
    }
    for delivery in deliveries {
        // The mail is on disk: whatever happens here, its client must hear 250, or he sends it again.
        if let Err(error) = queue.release(&delivery).await {
            tracing::warn!(queue_id = %delivery.queue_id, %error, "could not give a lease back; the mail waits for its end.");
        }
    }
    Ok(())
}

/// A master key is made for a new store only.
fn keep_master_key(config: &Config) -> Result<(), OpenError> {
    let MasterKeySource::Generated(key) = &config.master_key else { return Ok(()) };
    let there = std::fs::metadata(&config.database).is_ok_and(|store| store.len() > 0);
    if there && !key.try_exists().unwrap_or(true) {
        return Err(OpenError::MasterKeyGone { store: config.database.clone(), key: key.clone() });
    }
    Ok(())
}

/// A database is made where nothing of an old one lies.
fn keep_contents(config: &Config) -> Result<(), OpenError> {
    let content = config.data_dir.join("content");
    let there = std::fs::metadata(&config.database).is_ok_and(|store| store.len() > 0);
    if !there && std::fs::read_dir(&content).is_ok_and(|mut files| files.next().is_some()) {
        return Err(OpenError::StoreGone { store: config.database.clone(), content });
    }
    Ok(())
}

/// When to try again, to tell, to give up.
fn schedule(config: &Config) -> Schedule {
    Schedule { expire: config.queue_expire, warn: config.queue_warn, ..Schedule::default() }
}

/// Who notices come from and where they go.
fn notices(config: &Config) -> Notices {
    let (routes, domains) = (config.clone(), config.policy.domains.clone());
    Notices {
        hostname: config.hostname.clone(),
        postmaster: config.notify.postmaster.clone(),
        own: Arc::new(move |domain| domains.iter().any(|own| own.domain.same(domain))),
        router: Arc::new(move |domain| routes.next_hop(domain)),
    }
}

/// Anchors of the configuration, and stored ones that it does not name.
fn anchors(config: &Config, directory: &Directory) -> Arc<[TrustAnchor]> {
    let mut anchors = config.anchors.clone();
    for stored in directory.anchors() {
        if !anchors.iter().any(|known| known.certificate.sha256() == stored.certificate.sha256()) {
            anchors.push(stored);
        }
    }
    anchors.into()
}

/// The certificates of a CA by its name: anchors, and those in the directory that lead to one.
fn authorities(directory: &Directory, anchors: &Arc<[TrustAnchor]>, config: &Config) -> Authorities {
    let (directory, anchors, limits) = (directory.clone(), Arc::clone(anchors), config.limits.clone());
    Arc::new(move |name: &Name| {
        let trusted =
            anchors.iter().map(|anchor| &anchor.certificate).filter(|one| one.subject().matches(name)).cloned();
        let known = directory.by_subject(name).into_iter().filter(|certificate| {
            path::validate(&PathRequest {
                end_entity: certificate,
                untrusted: &directory.issuers(certificate),
                anchors: &anchors,
                crls: &[],
                at: clock::now(),
                purpose: Purpose::Any,
                address: None,
                revocation: Some(RevocationMode::None),
                crl_grace: std::time::Duration::ZERO,
                policy: &path::PolicyInputs::default(),
                allow_weak: &[],
                limits: &limits,
            })
            .is_valid()
        });
        trusted.chain(known).collect()
    })
}

impl Snapshot {
    /// What signs the finished mail of an own domain.
    pub fn dkim(&self, domain: &Domain) -> Option<&Dkim> {
        self.dkim.iter().find(|dkim| !dkim.is_empty() && Domain::parse(dkim.domain()).is_ok_and(|own| own.same(domain)))
    }

    fn new(config: Config, anchors: Arc<[TrustAnchor]>, crls: Crls, tls: Listeners, resolver: Resolver) -> Self {
        let dkim = config.policy.domains.iter().zip(&config.dkim).filter_map(|(own, keys)| {
            let made = Dkim::new(own.domain.ascii(), keys);
            made.inspect_err(|error| tracing::error!(%error, "mail of this domain leaves without DKIM.")).ok()
        });
        let dkim = dkim.collect();
        let surroundings = Arc::new(Surroundings::of(&config, &resolver));
        let limits = Arc::new(config.limits.clone());
        Self { dkim, anchors, crls, limits, resolver, surroundings, tls, config }
    }
}
