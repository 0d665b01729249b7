//! One listening socket: who may come in, one task per connection, and an orderly end.
//!
//! Never blocks on a client: who is refused gets one line from a task of his own. An error of `accept` is logged and survived.

use super::rates::{Connection, What, Who};
use super::reception::{GatewayReception, Place, Standing};
use super::session::{Session, Timing};
use super::{Admission, Reservation};
use crate::config::{Listener, ListenerTls, Mechanism};
use crate::metrics::{self, Connected};
use crate::pipeline::Gateway;
use crate::policy::Side;
use crate::smtp::server::Settings;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long the greeting waits for a client that does not wait for it. Programs that send unasked send at once; more would
/// only make others wait.
const EARLY: Duration = Duration::from_millis(80);

/// Serves until `shutdown` says true; returns when all sessions have ended, at the latest after their grace time.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: Listener,
    socket: TcpListener,
    admission: Admission,
    mut shutdown: watch::Receiver<bool>,
) {
    let listener = Arc::new(listener);
    let sessions_shutdown = shutdown.clone();
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
            Some(ended) = sessions.join_next() => report(ended),
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => match Visit::new(&gateway, &listener, &admission, peer) {
                    Ok(visit) => {
                        let (gateway, shutdown) = (Arc::clone(&gateway), sessions_shutdown.clone());
                        sessions.spawn(async move { session(gateway, visit, stream, shutdown).await });
                    }
                    Err((limit, greeting)) => {
                        metrics::limited(&listener.name, limit);
                        sessions.spawn(refuse(stream, greeting));
                    }
                },
                // Descriptors or memory are short: sessions that end make room.
                Err(error) => {
                    tracing::warn!(listener = %listener.name, %error, "could not take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(socket);
    let longest = Timing::gateway().grace + Duration::from_secs(5);
    let drained = timeout(longest, async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(listener = %listener.name, sessions = sessions.len(), "sessions cut off while stopping");
    }
    sessions.shutdown().await;
}

/// A client who was let in, and what he takes with him.
struct Visit {
    place: Place,
    peer: SocketAddr,
    admission: Admission,
    standing: Standing,
    _place: Reservation,
    _connection: Connection,
    _open: Connected,
}

impl Visit {
    /// A place, or the limit and the greeting of who gets none. What the configuration says of the listener now holds, not what it said
    /// when the socket was bound.
    fn new(
        gateway: &Gateway,
        bound: &Arc<Listener>,
        admission: &Admission,
        peer: SocketAddr,
    ) -> Result<Self, (&'static str, &'static [u8])> {
        let place = Place::new(gateway.snapshot(), bound);
        let listener = place.listener();
        let address = peer.ip().to_canonical();
        let known = listener.clients.iter().any(|network| network.contains(address));
        if !known && !lets_in_strangers(listener) {
            return Err(("access", b"554 5.7.1 Access denied\r\n"));
        }
        let rates = &place.snapshot.config.rates;
        let exempt = rates.exempt.iter().any(|network| network.contains(address));
        let trusted = known && listener.side == Side::Inside;
        let limited = !exempt && !trusted;
        let who = Who::Client(address);
        let is_over = |what, limit| limited && admission.rates.is_over(who, what, limit);
        if is_over(What::Errors, rates.errors) || is_over(What::Unknown, rates.unknown) {
            return Err(("errors", b"421 4.7.0 Too many errors, try again later\r\n"));
        }
        let connections = if limited { rates.connections } else { 0 };
        let connection = admission.rates.enter(address, connections);
        let connection = connection
            .ok_or(("client-connections", &b"421 4.7.0 Too many connections of yours, try again later\r\n"[..]))?;
        let room = admission.enter(side(listener, trusted));
        let room = room.ok_or(("connections", &b"421 4.7.0 Too many connections, try again later\r\n"[..]))?;
        let standing = Standing { trusted, exempt };
        let open = Connected::to(&bound.name);
        let admission = admission.clone();
        Ok(Self { place, peer, admission, standing, _place: room, _connection: connection, _open: open })
    }

    fn settings(&self) -> Settings {
        let (config, listener) = (&self.place.snapshot.config, self.place.listener());
        let limits = &config.limits;
        let inside = listener.side == Side::Inside;
        Settings {
            hostname: config.hostname.clone(),
            message: if inside { limits.message_inside } else { limits.message },
            recipients: limits.recipients,
            command_line: limits.command_line,
            starttls: listener.tls == ListenerTls::StartTls,
            require_tls: listener.require_tls,
            plain: listener.auth.contains(&Mechanism::Plain),
            external: listener.auth.contains(&Mechanism::External),
            must_log_in: inside && !self.standing.trusted,
            strict: !inside && self.standing.is_limited(),
            tarpit: self.standing.is_limited(),
        }
    }

    fn timing(&self) -> Timing {
        let wait = if self.peer.ip().to_canonical().is_loopback() { Duration::ZERO } else { EARLY };
        let strange = self.place.listener().side == Side::Outside && self.standing.is_limited();
        Timing { early: strange.then_some(wait), ..Timing::gateway() }
    }
}

/// An empty list lets everybody in outside; inside, whoever can prove who he is, which a session finds out.
fn lets_in_strangers(listener: &Listener) -> bool {
    match listener.side {
        Side::Outside => listener.clients.is_empty(),
        Side::Inside => !listener.auth.is_empty() || !listener.client_certificates.anchors.is_empty(),
    }
}

/// One connection, from the first octet to the last.
async fn session(gateway: Arc<Gateway>, visit: Visit, stream: TcpStream, shutdown: watch::Receiver<bool>) {
    let (settings, timing, peer) = (visit.settings(), visit.timing(), visit.peer);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let listener = visit.place.listener();
    let memory = visit.admission.memory(side(listener, visit.standing.trusted));
    let reception = GatewayReception {
        gateway,
        place: visit.place.clone(),
        peer: peer.ip().to_canonical(),
        admission: visit.admission.clone(),
        standing: visit.standing,
    };
    let session = Session::new(stream, reception, settings, memory, timing, shutdown);
    let ended = match listener.tls {
        ListenerTls::Implicit => session.run_secured().await,
        ListenerTls::Off | ListenerTls::StartTls => session.run().await,
    };
    if let Err(error) = ended {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::info!(listener = %listener.name, %peer, %error, source, "session broken off");
    }
}

/// The side whose share of places and memory a client draws on. What is kept for the inside is for those who are known to be
/// inside: by their address, not by where they have come in.
fn side(listener: &Listener, trusted: bool) -> Side {
    if trusted { listener.side } else { Side::Outside }
}

/// Says why in one line, to a client who gets no session.
async fn refuse(mut stream: TcpStream, greeting: &'static [u8]) {
    let written = timeout(Duration::from_secs(5), async {
        stream.write_all(greeting).await?;
        stream.shutdown().await
    });
    if !matches!(written.await, Ok(Ok(()))) {
        tracing::debug!("a refused client did not read why");
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session broke down");
    }
}
