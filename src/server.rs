//! Starts the gateway's parts, supervises them, reloads and drains.
//!
//! Holds no logic of its own: what a message meets stands in `pipeline`, what an operator can do in `operations`.
//! If a part can't start, nothing starts; if a listener ends, the server ends with an error instead of running deaf.

use crate::config::{self, Config, ConfigError};
use crate::operations::{backup, control, upkeep};
use crate::pipeline::{Gateway, OpenError, rejudge};
use crate::store::{Lock, LockError};
use crate::{console, inbound, outbound};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Deliveries that wait in memory for a connection. What has no room is claimed from the store later.
const HANDOFF: usize = 1000;
/// How long sessions and deliveries in progress may take to end: their own grace of 30 s, and time to say so.
const DRAIN: Duration = Duration::from_secs(40);
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
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
    _lock: Lock,
}

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
    /// The runtime or its signal handlers.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// Runs the gateway of this configuration file until `SIGTERM` or `SIGINT`; `SIGHUP` reloads.
pub fn run(file: &Path) -> Result<(), StartError> {
    let config = config::load(file).map_err(StartError::Config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    runtime.block_on(async {
        let running = start(config).await?;
        running.until_signal().await?;
        Ok(())
    })
}

/// Starts everything, or nothing.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let lock = Lock::take(&config.data_dir)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (console_socket, console) = bind("console", config.console).await?;
    let mut sockets = Vec::new();
    for listener in &config.listeners {
        let (socket, address) = bind(&listener.name, listener.bind).await?;
        sockets.push((listener.clone(), socket, address));
    }
    let gateway = Arc::new(Gateway::open(config).await?);
    backup::clear_left(&gateway.snapshot().config.data_dir);
    backup::tell_restored(&gateway).await.map_err(StartError::Restored)?;
    gateway.queue.recover().await.map_err(OpenError::from)?;
    gateway.queue.reroute().await.map_err(OpenError::from)?;
    let (shutdown, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();

    let (handoff, deliveries) = mpsc::channel(HANDOFF);
    gateway.hand_over_to(handoff);
    let snapshot = gateway.snapshot();
    let of = Arc::clone(&gateway);
    let surroundings: outbound::Current = Arc::new(move || Arc::clone(&of.snapshot().surroundings));
    tasks.spawn(outbound::worker::run(gateway.queue.clone(), deliveries, surroundings, stopping.clone()));
    tasks.spawn(rejudge::run(Arc::clone(&gateway), stopping.clone()));
    tasks.spawn(gateway.revocation.clone().run(stopping.clone()));
    tasks.spawn(clock(Arc::clone(&gateway), stopping.clone()));
    tasks.spawn(checkpoints(Arc::clone(&gateway), stopping.clone()));
    tasks.spawn(upkeep::run(Arc::clone(&gateway), stopping.clone()));
    tasks.spawn(console::serve(Arc::clone(&gateway), console_socket, stopping.clone()));
    let control = control::bind(&snapshot.config.data_dir).map_err(StartError::Control)?;
    tasks.spawn(control::serve(Arc::clone(&gateway), control, stopping.clone()));
    let mut listeners = Vec::new();
    let admission = inbound::Admission::new(&snapshot.config.limits);
    for (listener, socket, address) in sockets {
        tracing::info!("listener `{}` on {address}", listener.name);
        listeners.push((listener.name.clone(), address));
        tasks.spawn(inbound::listener::serve(
            Arc::clone(&gateway),
            listener,
            socket,
            admission.clone(),
            stopping.clone(),
        ));
    }
    tracing::info!("console on {console}");
    gateway.started().await;
    Ok(Running { listeners, console, gateway, shutdown, tasks, _lock: lock })
}

impl Running {
    /// The shared parts, for those who run the gateway in their own process.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Ends sessions and deliveries, at most within the drain time, then closes the store.
    pub async fn stop(mut self) {
        tracing::info!("draining.");
        // Nobody listens only when every task has ended already.
        self.shutdown.send_replace(true);
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("not everything ended within {} s.", DRAIN.as_secs());
        }
        self.tasks.abort_all();
        self.gateway.close().await;
        tracing::info!("stopped.");
    }

    async fn until_signal(self) -> Result<(), StartError> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Runtime)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Runtime)?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload_logged(&self.gateway).await,
            }
        }
        self.stop().await;
        Ok(())
    }
}

async fn reload_logged(gateway: &Arc<Gateway>) {
    match gateway.reload().await {
        Ok(()) => tracing::info!("reloaded."),
        Err(errors) => {
            for error in errors {
                tracing::error!("not reloaded: {error}");
            }
        }
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
        if let Err(error) = gateway.audit.checkpoint().await {
            tracing::error!(%error, "the audit log has no new checkpoint.");
        }
    }
}

/// How often the clocks are compared, so that a jump is seen before mail asks.
const CLOCK: Duration = Duration::from_secs(10);

async fn clock(gateway: Arc<Gateway>, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(CLOCK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.changed() => return,
        }
        gateway.clock.is_settled();
    }
}
