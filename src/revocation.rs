//! CRLs: from configured files and URLs, from the distribution points of certificates, and imported by hand.
//!
//! Kept with where they came from, fetched again before they end, found by issuer. Judges no certificate: `pki` does that.
//! What comes from a server counts only when a known CA has signed it. Failure policy: a CRL that is older than one already
//! held never takes its place; a server that fails is left alone for a while, so that it costs the mail nothing.

mod accept;
mod crls;
mod source;
mod rows;
mod status;
mod timing;

pub use accept::Unusable;
pub use crls::Crls;
pub use status::{Renewal, Standing, Status};

use crate::audit::{Audit, Event};
use crate::clock;
use crate::config::Config;
use crate::dns::Resolver;
use crate::fetch::{Answer, Client, Denied, FetchError};
use crate::limits::Limits;
use crate::pki::{Certificate, Crl, Name, WantedCrls};
use crate::store::{Store, StoreError};
use accept::{Arrived, accept};
use jiff::Timestamp;
use source::{Origin, Source, Sources, is_ldap};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Places that CRLs are asked of. A national CA has some dozens; each holds a list in memory.
const SOURCES: usize = 1000;
/// Distribution points that one look-up asks.
const POINTS: usize = 16;
/// Places that the task that refreshes asks at a time; the others wait for their turn.
const AT_ONCE: usize = 8;
/// The longest sleep of the task that refreshes.
const TICK: Duration = Duration::from_secs(60);
/// What stands in the status of a place that is `ldap`.
const NOT_ASKED: &str = "neither http nor https: nobody is asked there; bring the list with `segel revocation import`";

/// How often the log says that a CRL has to be brought.
const REMINDED: Duration = Duration::from_secs(6 * 3600);

/// Gives the certificates of a CA that lead to an anchor.
pub type Authorities = Arc<dyn Fn(&Name) -> Vec<Certificate> + Send + Sync>;

/// The CRLs of one gateway, and where they come from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Revocation(Arc<Inner>);

struct Inner {
    store: Store,
    audit: Audit,
    crls: Crls,
    /// Those of the configured files alone.
    files: Mutex<Crls>,
    sources: Mutex<Sources>,
    settings: RwLock<Settings>,
    /// How often a CRL with news came in.
    news: watch::Sender<u64>,
    /// Only the process that serves asks servers by itself.
    active: AtomicBool,
    wake: Notify,
}

/// What a reload changes.
#[derive(Clone)]
struct Settings {
    client: Client,
    limits: Arc<Limits>,
    authorities: Authorities,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("crls", &self.crls).finish_non_exhaustive()
    }
}

/// Why an operator's change was not made.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// Nothing has this URL or issuer.
    #[error("no CRL is fetched from or issued by `{0}`")]
    NotFound(String),
    /// `fetch.enabled = false`.
    #[error("{0}")]
    Disabled(FetchError),
    /// The CRL proves nothing.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The database.
    #[error("cannot read or write CRLs")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for RevocationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Revocation {
    /// Reads what is stored. Asks nobody until [`Revocation::run`].
    ///
    /// # Errors
    /// The store can't be read. A row that can't be read is left out, with a warning.
    pub async fn open(
        store: Store,
        audit: Audit,
        config: &Config,
        resolver: &Resolver,
        authorities: Authorities,
    ) -> Result<Self, RevocationError> {
        let sources = rows::load(&store, config.limits.clone()).await?;
        let settings =
            Settings { client: Client::new(config, resolver), limits: Arc::new(config.limits.clone()), authorities };
        let this = Self(Arc::new(Inner {
            store,
            audit,
            crls: Crls::default(),
            files: Mutex::new(Crls::new(config.crls.clone())),
            sources: Mutex::new(sources),
            settings: RwLock::new(settings),
            news: watch::channel(0).0,
            active: AtomicBool::new(false),
            wake: Notify::new(),
        }));
        this.adopt(&config.crl_urls);
        this.show();
        Ok(this)
    }

    /// Another configuration: its files, its URLs, its rules of fetching. The names are of issuers whose file is older than
    /// the CRL in use, which stays.
    pub fn reload(&self, config: &Config, resolver: &Resolver, authorities: Authorities) -> Vec<Name> {
        let older = {
            let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
            let (next, older) = files.reloaded(config.crls.clone());
            *files = next;
            older
        };
        let settings =
            Settings { client: Client::new(config, resolver), limits: Arc::new(config.limits.clone()), authorities };
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.adopt(&config.crl_urls);
        let before: Vec<Crl> = self.0.crls.all();
        self.show();
        if self.0.crls.all().iter().any(|crl| !before.iter().any(|known| known.der() == crl.der())) {
            self.tell();
        }
        self.0.wake.notify_one();
        older
    }

    /// Everything at hand; shows later what came later.
    pub fn crls(&self) -> Crls {
        self.0.crls.clone()
    }

    /// Changes whenever a CRL came in that says something new.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// The CRLs of this issuer, which are counted as needed.
    pub fn needed(&self, issuer: &Name) -> Vec<Crl> {
        let now = clock::now();
        for source in self.sources().values_mut().filter(|source| source.is_of(issuer)) {
            source.touch(now);
        }
        self.0.crls.by_issuer(issuer)
    }

    /// Asks for what is wanted, at most until then. Whoever wants the same meanwhile waits for the same answer. What comes
    /// is found among [`Revocation::crls`]; what does not come is not asked for again for a while. Does nothing in a process
    /// that does not serve.
    pub async fn fetch(&self, wanted: &[WantedCrls], until: Instant) {
        if !self.0.active.load(Ordering::Acquire) || !self.settings().client.is_enabled() {
            return;
        }
        let mut points = JoinSet::new();
        for (of, urls) in wanted.iter().flat_map(|of| of.points.iter().map(move |urls| (of, urls))).take(POINTS) {
            let (this, urls, signers) = (self.clone(), urls.clone(), of.signers.clone());
            points.spawn(async move {
                for url in urls {
                    if this.ask(&url, &signers, false).await {
                        break;
                    }
                }
            });
        }
        // What is on its way goes on; only the waiting ends.
        let all = async { while points.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until, all).await.is_err() {
            tracing::warn!("no CRL in the time that mail waits for one; it goes on without.");
        }
    }

    /// As [`Revocation::fetch`], without waiting, and some seconds later: for what was learned inside an encrypted layer, when
    /// its reply is out.
    pub fn fetch_later(&self, wanted: Vec<WantedCrls>) {
        if wanted.is_empty() {
            return;
        }
        let this = self.clone();
        let [chance] = crate::crypto::random();
        let pause = Duration::from_millis(3000 + 20 * u64::from(chance));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            this.fetch(&wanted, Instant::now() + Duration::from_secs(300)).await;
        });
    }

    /// Asks one place if it is time, or waits for who is asking. Whether its CRL is current then.
    async fn ask(&self, url: &str, signers: &[Certificate], force: bool) -> bool {
        let now = clock::now();
        let running = {
            let mut sources = self.sources();
            if !sources.contains_key(url) && sources.len() >= SOURCES {
                tracing::error!(url, "too many places of CRLs; this one is not asked.");
                return false;
            }
            let source = sources.entry(url.to_owned()).or_insert_with(|| Source::new(Origin::Fetched, now));
            source.touch(now);
            match source.running() {
                // Whoever has waited as long as mail waits knows what a further wait is worth.
                Some(_) if source.is_slow(now) && !force => return source.is_current(now),
                Some(running) => running,
                None if !force && !source.is_due(signers, now) => return source.is_current(now),
                None => self.begin(url, source, signers.to_vec()),
            }
        };
        wait(running).await;
        self.sources().get(url).is_some_and(|source| source.is_current(now))
    }

    /// Starts asking, as a task of its own: whoever waits may go away.
    fn begin(&self, url: &str, source: &mut Source, signers: Vec<Certificate>) -> watch::Receiver<bool> {
        let (done, running) = watch::channel(false);
        source.running = Some(running.clone());
        source.began = clock::now();
        let (this, url) = (self.clone(), url.to_owned());
        tokio::spawn(async move {
            this.refresh_one(&url, signers).await;
            done.send_replace(true);
        });
        running
    }

    async fn refresh_one(&self, url: &str, signers: Vec<Certificate>) {
        let Some((held, signer, known, origin)) = self.sources().get(url).map(Source::held) else { return };
        let settings = self.settings();
        let answer = settings.client.get(url, &known, settings.limits.crl).await;
        let arrived = match answer {
            Ok(Answer::NotModified) => Ok(None),
            Ok(Answer::Content(content, validators)) => {
                let held = held.clone();
                let work = move || {
                    let mut signers = signers;
                    signers.extend(signer);
                    let by_name = |name: &Name| (settings.authorities)(name);
                    let arrived = Arrived { content: &content, at: clock::now(), limits: &settings.limits };
                    accept(&arrived, held.as_ref(), &signers, by_name, origin == Origin::Configured)
                };
                // Large lists take a while to read.
                match tokio::task::spawn_blocking(work).await {
                    Ok(judged) => judged.map(|found| Some((found, validators))).map_err(|error| error.to_string()),
                    Err(_) => Err("reading it failed".to_owned()),
                }
            }
            Err(FetchError::Denied(Denied::Scheme)) if is_ldap(url) => Err(NOT_ASKED.to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let now = clock::now();
        let (row, news) = {
            let mut sources = self.sources();
            let Some(source) = sources.get_mut(url) else { return };
            source.running = None;
            let news = source.settle(arrived, now);
            (source.row(url, news), news)
        };
        crate::metrics::crl_asked(row.error.is_none());
        match &row.error {
            Some(error) => tracing::warn!(url, error, "no current CRL from there."),
            None => tracing::info!(url, news, "asked for a CRL."),
        }
        if news {
            self.show();
        }
        if let Err(error) = self.0.store.write(rows::Put { row, event: None }).await {
            tracing::error!(%error, url, "a CRL could not be stored; it is in use until the next start.");
        }
        if news {
            self.tell();
        }
        self.0.wake.notify_one();
    }

    /// Refreshes until the shutdown: every place that was needed lately or is configured, before its CRL ends.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        self.0.active.store(true, Ordering::Release);
        let mut reminded: Option<Instant> = None;
        while !*stopping.borrow_and_update() {
            if reminded.is_none_or(|at| at.elapsed() >= REMINDED) {
                self.remind(clock::now());
                reminded = Some(Instant::now());
            }
            let wait = self.tick().await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.wake.notified() => {}
                changed = stopping.changed() => if changed.is_err() { break },
            }
        }
    }

    /// Begins what is due, drops what nobody needed. How long there is nothing to do.
    async fn tick(&self) -> Duration {
        let now = clock::now();
        let enabled = self.settings().client.is_enabled();
        let mut rows = Vec::new();
        let mut dropped = Vec::new();
        let mut next = TICK;
        {
            let mut sources = self.sources();
            sources.retain(|location, source| {
                let keep = source.running.is_some() || !source.is_forgotten(now);
                if !keep {
                    dropped.push(location.clone());
                }
                keep
            });
            let mut asking = sources.values().filter(|source| source.running().is_some()).count();
            for (url, source) in sources.iter_mut() {
                if source.take_dirty(now) {
                    rows.push(source.row(url, false));
                }
                if !enabled || source.origin == Origin::Imported || source.running().is_some() {
                    continue;
                }
                match Duration::try_from(source.due.duration_since(now)) {
                    Ok(wait) if !wait.is_zero() => next = next.min(wait),
                    _ if asking >= AT_ONCE => {}
                    _ => {
                        asking += 1;
                        self.begin(url, source, Vec::new());
                    }
                }
            }
        }
        for row in rows {
            if let Err(error) = self.0.store.write(rows::Put { row, event: None }).await {
                tracing::warn!(%error, "when a CRL was needed could not be stored.");
            }
        }
        if !dropped.is_empty() {
            self.show();
            if let Err(error) = self.0.store.write(rows::Remove { locations: dropped }).await {
                tracing::warn!(%error, "CRLs that nobody needs could not be removed.");
            }
        }
        // A list may be due at this very moment; a pause keeps that from becoming a busy loop.
        next.max(Duration::from_millis(200))
    }

    /// Asks again now: one URL, one issuer's URLs, or all of them. The locations that were asked.
    ///
    /// # Errors
    /// Nothing has this name, or nothing may be fetched. What a server answered stands in the status.
    pub async fn refresh(&self, what: Option<&str>) -> Result<Vec<String>, RevocationError> {
        if !self.settings().client.is_enabled() {
            return Err(RevocationError::Disabled(FetchError::Disabled));
        }
        let urls: Vec<String> = {
            let sources = self.sources();
            let asked = sources.iter().filter(|(_, source)| source.origin != Origin::Imported);
            asked
                .filter(|(url, source)| what.is_none_or(|what| source.is_named(url, what)))
                .map(|(url, _)| url.clone())
                .collect()
        };
        match what {
            Some(what) if urls.is_empty() => return Err(RevocationError::NotFound(what.to_owned())),
            _ => {}
        }
        let mut asking = JoinSet::new();
        for url in urls.clone() {
            let this = self.clone();
            asking.spawn(async move { this.ask(&url, &[], true).await });
        }
        while asking.join_next().await.is_some() {}
        Ok(urls)
    }

    /// Takes CRLs in that an operator brings: DER, or PEM with one or several. All or none.
    ///
    /// # Errors
    /// One of them proves nothing, or is older than the one at hand.
    pub async fn import(&self, file: Vec<u8>, operator: &str) -> Result<Vec<Status>, RevocationError> {
        let now = clock::now();
        let settings = self.settings();
        let this = self.clone();
        let work = move || {
            let crls = Crl::bundle(&file, &settings.limits).map_err(|error| Unusable::NoCrl(error.to_string()))?;
            let by_name = |name: &Name| (settings.authorities)(name);
            let judge = |crl: &Crl| {
                let held = this.newest_like(crl);
                let arrived = Arrived { content: crl.der(), at: now, limits: &settings.limits };
                accept(&arrived, held.as_ref(), &[], by_name, false)
            };
            crls.iter().map(judge).collect::<Result<Vec<_>, Unusable>>()
        };
        let judged = tokio::task::spawn_blocking(work).await;
        let imported = judged.map_err(|_| Unusable::NoCrl("reading it failed".to_owned()))??;
        let mut shown = Vec::new();
        for accepted in imported {
            let location = format!("import:{}", accepted.sha256());
            let mut source = Source::new(Origin::Imported, now);
            let crl = accepted.crl.clone();
            source.settle(Ok(Some((accepted, crate::fetch::Validators::default()))), now);
            let event = Event::CrlImported {
                sha256: location.trim_start_matches("import:").to_owned(),
                issuer: crl.issuer().to_string(),
                number: crl.number(),
                operator: operator.to_owned(),
            };
            self.0
                .store
                .write(rows::Put { row: source.row(&location, true), event: Some((self.0.audit.clone(), event)) })
                .await?;
            let replaced = self.replaced_by(&location, &crl);
            shown.push(status::of(&location, &source, now));
            self.sources().insert(location, source);
            self.0.store.write(rows::Remove { locations: replaced }).await?;
        }
        self.show();
        self.tell();
        Ok(shown)
    }

    /// The newest CRL at hand of the same scope.
    fn newest_like(&self, crl: &Crl) -> Option<Crl> {
        self.0.crls.by_issuer(crl.issuer()).into_iter().find(|held| held.same_scope(crl))
    }

    /// Takes out the imported lists in whose place this one comes.
    fn replaced_by(&self, location: &str, crl: &Crl) -> Vec<String> {
        let mut replaced = Vec::new();
        self.sources().retain(|known, source| {
            let old = source.origin == Origin::Imported
                && known != location
                && source.crl.as_ref().is_some_and(|held| held.same_scope(crl));
            if old {
                replaced.push(known.clone());
            }
            !old
        });
        replaced
    }

    /// Every CRL, and every place that is asked for one.
    pub fn status(&self, now: Timestamp) -> Vec<Status> {
        let files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner).all();
        let mut rows: Vec<Status> = files.iter().map(|crl| status::of_file(crl, now)).collect();
        rows.extend(self.sources().iter().map(|(location, source)| status::of(location, source, now)));
        rows
    }

    /// The CRLs of files and imports that somebody has to replace, each with the time for that.
    pub fn renewals(&self) -> Vec<Renewal> {
        let files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner).all();
        let sources = self.sources();
        let of = |imported: bool| {
            let chosen = sources.values().filter(move |source| (source.origin == Origin::Imported) == imported);
            chosen.filter_map(|source| source.crl.as_ref())
        };
        status::renewals(files.iter().chain(of(true)), of(false))
    }

    /// Says which of them are missed.
    fn remind(&self, now: Timestamp) {
        for Renewal { issuer, end, .. } in self.renewals().iter().filter(|renewal| renewal.due <= now) {
            let ends = if *end <= now { "has ended" } else { "ends soon" };
            tracing::warn!(%issuer, %end, "a CRL that was brought by hand {ends}, and nobody is asked for its successor.");
        }
    }

    /// The places whose last answer was no good, or that have no current CRL; for health.
    pub fn failing(&self, now: Timestamp) -> Vec<String> {
        let sources = self.sources();
        let failing = sources.iter().filter(|(location, source)| source.is_missed(location, now));
        failing.filter(|(_, source)| source.asked.is_some()).map(|(location, _)| location.clone()).collect()
    }

    /// Marks the URLs of the configuration, which are asked whether needed or not.
    fn adopt(&self, urls: &[String]) {
        let now = clock::now();
        let mut sources = self.sources();
        for (url, source) in sources.iter_mut().filter(|(_, source)| source.origin == Origin::Configured) {
            if !urls.contains(url) {
                source.origin = Origin::Fetched;
            }
        }
        for url in urls {
            let source = sources.entry(url.clone()).or_insert_with(|| Source::new(Origin::Configured, now));
            source.origin = Origin::Configured;
        }
    }

    /// Files first: [`Crls`] puts everything in order.
    fn show(&self) {
        let mut all = self.0.files.lock().unwrap_or_else(PoisonError::into_inner).all();
        all.extend(self.sources().values().filter_map(|source| source.crl.clone()));
        self.0.crls.show(all);
    }

    fn tell(&self) {
        self.0.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Source>> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Settings {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Until the one who asks is done, or gone.
async fn wait(mut running: watch::Receiver<bool>) {
    running.wait_for(|done| *done).await.map(drop).ok();
}

#[cfg(test)]
mod tests;
