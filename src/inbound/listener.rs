//! One listening socket: who may come in, one task per connection, and an orderly end.
//!
//! Never blocks on a client: who is refused gets one line from a task of his own. An error of `accept` is logged and survived.

use super::reception::GatewayReception;
use super::session::{Session, Timing};
use super::{Admission, Reservation};
use crate::config::Listener;
use crate::pipeline::Gateway;
use crate::policy::Side;
use crate::smtp::server::Settings;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

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
                Ok((stream, peer)) => match admit(&listener, &admission, peer.ip()) {
                    Ok(place) => {
                        let (gateway, listener) = (Arc::clone(&gateway), Arc::clone(&listener));
                        let (admission, shutdown) = (admission.clone(), sessions_shutdown.clone());
                        sessions.spawn(async move { session(gateway, listener, stream, peer, admission, shutdown, place).await });
                    }
                    Err(greeting) => {
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

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session broke down");
    }
}

/// A place, or the greeting of who gets none.
fn admit(listener: &Listener, admission: &Admission, peer: IpAddr) -> Result<Reservation, &'static [u8]> {
    let peer = peer.to_canonical();
    let known = listener.clients.iter().any(|network| network.contains(peer));
    // An empty list lets everybody in outside and nobody inside.
    if !known && (listener.side == Side::Inside || !listener.clients.is_empty()) {
        return Err(b"554 5.7.1 Access denied\r\n");
    }
    admission.enter(listener.side).ok_or(b"421 4.7.0 Too many connections, try again later\r\n")
}

async fn refuse(mut stream: TcpStream, greeting: &'static [u8]) {
    let written = timeout(Duration::from_secs(5), async {
        stream.write_all(greeting).await?;
        stream.shutdown().await
    });
    if !matches!(written.await, Ok(Ok(()))) {
        tracing::debug!("a refused client did not read why");
    }
}

async fn session(
    gateway: Arc<Gateway>,
    listener: Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    admission: Admission,
    shutdown: watch::Receiver<bool>,
    _place: Reservation,
) {
    let snapshot = gateway.snapshot();
    let config = &snapshot.config;
    let settings = Settings {
        hostname: config.hostname.clone(),
        message: config.limits.message,
        recipients: config.limits.recipients,
        command_line: config.limits.command_line,
    };
    let timing = Timing::gateway();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let (name, side) = (listener.name.clone(), listener.side);
    let reception =
        GatewayReception { gateway, snapshot: Arc::clone(&snapshot), listener, peer: peer.ip().to_canonical() };
    let session = Session::new(stream, reception, settings, admission.memory(side), timing, shutdown);
    if let Err(error) = session.run().await {
        tracing::info!(listener = %name, %peer, %error, "session broken off");
    }
}
