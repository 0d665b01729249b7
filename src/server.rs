//! Starts the gateway's parts, supervises them, reloads and drains.
//!
//! Holds no logic of its own: what a message meets stands in `pipeline`, what an operator can do in `operations`.
//! If a part can't start, nothing starts; if a part ends, the server ends with an error instead of running deaf.

mod files;
mod stop;

use crate::clock;
use crate::config::{Config, ConfigError};
use crate::console::{Listening, Watched};
use crate::operations::{backup, control, upkeep};
use crate::pipeline::{Gateway, OpenError, bypass, rejudge};
use crate::store::{Lock, LockError};
use crate::{console, inbound, metrics, outbound, systemd};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Deliveries that wait in memory for a connection. What has no room is claimed from the store later.
const HANDOFF: usize = 1000;
/// How often the heads of the audit chains are signed.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    /// Each listener's name and address, as bound.
    pub listeners: Vec<(String, SocketAddr)>,
    /// The console's address, as bound.
    pub console: SocketAddr,
    gateway: Arc<Gateway>,
    draining: watch::Sender<bool>,
    shutdown: watch::Sender<bool>,
    end: watch::Sender<bool>,
    tasks: Tasks,
    pages: JoinHandle<()>,
    _lock: Arc<Lock>,
}

/// The parts that run; each gives its name when it ends.
type Tasks = JoinSet<String>;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has errors.
    #[error("the configuration has {} error(s)", .0.len())]
    Config(Vec<ConfigError>),
    /// Another process uses the data directory.
    #[error("cannot lock the data directory")]
    Lock(#[from] LockError),
    /// The store, keys or queue could not be opened.
    #[error("cannot open the gateway")]
    Open(#[from] OpenError),
    /// The audit log could not be told of a restore.
    #[error("cannot go on after a restore")]
    Restored(#[source] crate::operations::OperationError),
    /// An address could not be bound.
    #[error("cannot listen on `{address}` for {what}")]
    Bind {
        /// The listener's name, or `console`.
        what: String,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The control socket could not be made.
    #[error("cannot make the control socket")]
    Control(#[source] std::io::Error),
    /// A part ended although nobody asked for that.
    #[error("{0} ended; look at the log")]
    Ended(String),
    /// The runtime or its signal handlers.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// A process that will be a gateway, and listens to signals already: one without a handler would end it.
#[derive(Debug)]
pub struct Process {
    runtime: Runtime,
    signals: Signals,
}

/// How long a start that was told to end waits for what it has begun.
const ENDING: Duration = Duration::from_secs(3);

impl Process {
    /// Before anything else, also before the configuration is read.
    ///
    /// # Errors
    /// The system gives no threads or no handlers.
    pub fn new() -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
        let signals = runtime.block_on(async { Signals::new() }).map_err(StartError::Runtime)?;
        Ok(Self { runtime, signals })
    }

    /// Runs the gateway until `SIGTERM` or `SIGINT`; `SIGHUP` reloads.
    ///
    /// # Errors
    /// It could not start, or a part of it ended.
    pub fn run(self, config: Config) -> Result<(), StartError> {
        let Self { runtime, mut signals } = self;
        files::raise(config.limits.connections);
        let lock = Arc::new(Lock::take(&config.data_dir)?);
        // Until the process ends: what a start has begun may still remove files when it is given up, and knows nothing of those
        // that another gateway writes.
        std::mem::forget(Arc::clone(&lock));
        let done = runtime.block_on(async {
            let gateway = tokio::select! {
                biased;
                () = signals.end() => {
                    tracing::info!("told to stop before everything had started.");
                    return Ok(());
                }
                opened = open(config) => opened?,
                never = ask_for_time() => match never {},
            };
            // From here on people may be heard: a signal waits until all of it runs, and then ends it in order.
            listen(gateway, lock).await?.until_signal(signals).await
        });
        runtime.shutdown_timeout(ENDING);
        done
    }
}

/// A large store takes long to be looked at: a manager that gives up would begin it anew again and again.
async fn ask_for_time() -> Infallible {
    loop {
        tokio::time::sleep(STARTING / 2).await;
        tracing::info!("still looking at what lies on the disk.");
        systemd::still_starting("looking at the store", STARTING);
    }
}

/// So much is asked for, again and again.
const STARTING: Duration = Duration::from_secs(60);

/// What the server is told from outside.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when it is told to stop.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl StartError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        use std::io::ErrorKind;
        Some(match self {
            Self::Lock(LockError::Held(_)) => {
                "a gateway, or a command, works on this gateway.data_dir already: `systemctl status segel`"
            }
            Self::Lock(LockError::Io { .. }) => {
                "gateway.data_dir has to be a directory that this user may write to, or one that can be made"
            }
            Self::Bind { source, .. } => match source.kind() {
                ErrorKind::AddrInUse => {
                    "another program listens there (`ss -ltnp` shows which): stop it, or choose another port"
                }
                ErrorKind::AddrNotAvailable => {
                    "the address has to be one of this machine (`ip address` lists them), or 0.0.0.0"
                }
                ErrorKind::PermissionDenied => {
                    "ports below 1024 need a privilege: start it as the service, which has it, or choose a higher port"
                }
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// Starts everything, or nothing.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let lock = Arc::new(Lock::take(&config.data_dir)?);
    listen(open(config).await?, lock).await
}

/// Looks at what lies on the disk, and listens to nobody yet.
async fn open(config: Config) -> Result<Arc<Gateway>, StartError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let gateway = Arc::new(Gateway::open(config).await?);
    backup::clear_left(&gateway.snapshot().config.data_dir);
    backup::tell_restored(&gateway).await.map_err(StartError::Restored)?;
    gateway.queue.recover().await.map_err(OpenError::from)?;
    gateway.queue.reroute().await.map_err(OpenError::from)?;
    Ok(gateway)
}

async fn listen(gateway: Arc<Gateway>, lock: Arc<Lock>) -> Result<Running, StartError> {
    let config = &gateway.snapshot().config;
    let (console_socket, console) = bind("console", config.console).await?;
    let mut sockets = Vec::new();
    for listener in &config.listeners {
        let (socket, address) = bind(&listener.name, listener.bind).await?;
        sockets.push((listener.clone(), socket, address));
    }
    let (shutdown, stopping) = watch::channel(false);
    let (draining, drains) = watch::channel(false);
    let (end, ends) = watch::channel(false);
    let mut tasks = Tasks::new();
    let control = control::bind(&gateway.snapshot().config.data_dir).map_err(StartError::Control)?;
    spawn(&mut tasks, "the control socket", control::serve(Arc::clone(&gateway), control, stopping.clone()));
    begin(&gateway, &mut tasks, &stopping);
    let admission = inbound::Admission::new(&gateway.snapshot().config.limits);
    let listening = Listening::new(sockets.len());
    let watched = Watched {
        gateway: Arc::clone(&gateway),
        admission: admission.clone(),
        draining: drains,
        listening: listening.clone(),
    };
    let pages = tokio::spawn(console::serve(watched, console_socket, ends));
    let mut listeners = Vec::new();
    for (listener, socket, address) in sockets {
        tracing::info!("listener `{}` on {address}", listener.name);
        listeners.push((listener.name.clone(), address));
        let (name, open) = (format!("listener `{}`", listener.name), listening.open());
        let serving =
            inbound::listener::serve(Arc::clone(&gateway), listener, socket, admission.clone(), stopping.clone());
        spawn(&mut tasks, &name, async move {
            serving.await;
            drop(open);
        });
    }
    tracing::info!("console on {console}");
    gateway.started().await;
    metrics::reloaded_at_start(clock::now());
    systemd::ready("running");
    Ok(Running { listeners, console, gateway, draining, shutdown, end, tasks, pages, _lock: lock })
}

fn spawn(tasks: &mut Tasks, name: &str, part: impl Future<Output = ()> + Send + 'static) {
    let name = name.to_owned();
    tasks.spawn(async move {
        part.await;
        name
    });
}

/// What runs behind the listeners.
fn begin(gateway: &Arc<Gateway>, tasks: &mut Tasks, stopping: &watch::Receiver<bool>) {
    let (handoff, deliveries) = mpsc::channel(HANDOFF);
    gateway.hand_over_to(handoff);
    let of = Arc::clone(gateway);
    let surroundings: outbound::Current = Arc::new(move || Arc::clone(&of.snapshot().surroundings));
    let worker = outbound::worker::run(gateway.queue.clone(), deliveries, surroundings, stopping.clone());
    spawn(tasks, "delivery", worker);
    spawn(tasks, "looking at what waits", rejudge::run(Arc::clone(gateway), stopping.clone()));
    spawn(tasks, "the bypass", bypass::run(Arc::clone(gateway), stopping.clone()));
    spawn(tasks, "refreshing CRLs", gateway.revocation.clone().run(stopping.clone()));
    spawn(tasks, "the clock", settled(Arc::clone(gateway), stopping.clone()));
    spawn(tasks, "upkeep", upkeep::run(Arc::clone(gateway), stopping.clone()));
    spawn(tasks, "checkpoints", checkpoints(Arc::clone(gateway), stopping.clone()));
    if let Some(every) = systemd::watchdog_interval() {
        spawn(tasks, "the watchdog", watchdog(Arc::clone(gateway), every, stopping.clone()));
    }
}

impl Running {
    /// The shared parts, for those who run the gateway in their own process.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    async fn until_signal(mut self, mut signals: Signals) -> Result<(), StartError> {
        let ended = loop {
            tokio::select! {
                _ = signals.terminate.recv() => break None,
                _ = signals.interrupt.recv() => break None,
                // A reload that takes long keeps nobody from stopping the gateway.
                _ = signals.hangup.recv() => tokio::select! {
                    _ = self.gateway.reload() => {}
                    () = signals.end() => break None,
                },
                Some(ended) = self.tasks.join_next() => {
                    let what = ended.unwrap_or_else(|error| format!("a part ({error})"));
                    tracing::error!("{what} ended: the gateway stops.");
                    break Some(what);
                }
            }
        };
        self.stop(signals.end()).await;
        ended.map_or(Ok(()), |what| Err(StartError::Ended(what)))
    }
}

async fn bind(what: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { what: what.to_owned(), address, source };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

async fn checkpoints(gateway: Arc<Gateway>, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(CHECKPOINT);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.changed() => return,
        }
        match gateway.audit.checkpoint().await {
            Ok(_) => metrics::checkpoint(clock::now()),
            Err(error) => tracing::error!(%error, "the audit log has no new checkpoint."),
        }
    }
}

/// How often the clocks are compared, so that a jump is seen before mail asks.
const CLOCK: Duration = Duration::from_secs(10);

async fn settled(gateway: Arc<Gateway>, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(CLOCK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.changed() => return,
        }
        gateway.clock.is_settled();
    }
}

/// Tells systemd twice in its interval that the gateway is of use: only while the store reads and writes. Ends with the
/// listeners; what is left of a stop has a bound of its own.
async fn watchdog(gateway: Arc<Gateway>, every: Duration, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(every / 2);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.changed() => return,
        }
        match console::health::store_answers(&gateway).await {
            true => systemd::watchdog(),
            false => tracing::error!("the store does not answer: systemd is told nothing, and restarts the gateway."),
        }
    }
}
