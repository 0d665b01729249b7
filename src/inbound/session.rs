//! One connection: the dialogue over a stream, with its timeouts, its memory and its end.
//!
//! A message is handed on only while the client is there to hear the answer. Replies are written in one piece per group of commands.

use super::Reservation;
use super::reception::Reception;
use super::wire::Wire;
use crate::pipeline::Commitment;
use crate::smtp::Reply;
use crate::smtp::server::{Action, Dialogue, Memory, Secured, Settings};
use crate::tls::server as tls;
use bytes::BytesMut;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// A session from greeting to close.
pub(super) struct Session<S, R> {
    stream: Wire<S>,
    reception: R,
    dialogue: Dialogue,
    memory: Reservation,
    timing: Timing,
    shutdown: watch::Receiver<bool>,
    input: BytesMut,
    line_began: Instant,
    end: Instant,
    /// When the message under way began, and its octets so far.
    message: Option<(Instant, u64)>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin, R: Reception> Session<S, R> {
    pub(super) fn new(
        stream: S,
        reception: R,
        settings: Settings,
        memory: Reservation,
        timing: Timing,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self {
            stream: Wire::Clear(stream),
            reception,
            dialogue: Dialogue::new(settings),
            memory,
            timing,
            shutdown,
            input: BytesMut::with_capacity(8 << 10),
            line_began: Instant::now(),
            end: Instant::now() + timing.session,
            message: None,
        }
    }

    /// Runs inside TLS from the first octet (RFC 8314).
    pub(super) async fn run_secured(mut self) -> Result<(), SessionError> {
        let config = self.reception.tls().ok_or(SessionError::NoTls)?;
        self.secure(config).await?;
        self.run().await
    }

    /// Runs to the end; an `Err` says how the client was lost.
    pub(super) async fn run(mut self) -> Result<(), SessionError> {
        if let Some(wait) = self.timing.early {
            self.await_turn(wait).await?;
        }
        loop {
            let action = self.dialogue.next(&mut self.input);
            let errors = self.dialogue.errors();
            if errors > 0
                && let Some(reply) = self.reception.errors(errors)
                && !matches!(action, Action::Close)
            {
                self.dialogue.close(&reply);
                continue;
            }
            match action {
                Action::Read => {
                    self.flush().await?;
                    match self.read().await? {
                        Read::Octets => self.look_at_speed(),
                        Read::Idle => self.dialogue.close(&Reply::new(421, 4, 2, "Timeout, closing")),
                        Read::Shutdown => self.dialogue.close(&Reply::new(421, 3, 2, "Service is stopping")),
                        Read::TooLong => self.dialogue.close(&Reply::new(421, 4, 2, "Session too long, closing")),
                    }
                }
                Action::Pause(pause) => self.pause(pause).await?,
                Action::StartTls => self.dialogue.answer_starttls(self.reception.tls().is_some()),
                Action::Handshake => {
                    self.flush().await?;
                    let config = self.reception.tls().ok_or(SessionError::NoTls)?;
                    self.secure(config).await?;
                }
                Action::LogIn(credentials) => {
                    let attempt = self.reception.log_in(credentials).await;
                    self.dialogue.answer_login(attempt);
                }
                Action::Mail(path) => {
                    let answer = self.reception.reverse_path(&path, self.dialogue.client());
                    self.dialogue.answer_mail(answer);
                }
                Action::Rcpt(path) => {
                    let answer = match self.dialogue.transaction() {
                        Some(transaction) => self.reception.recipient(path, transaction, self.dialogue.client()).await,
                        None => Err(Reply::new(503, 5, 1, "Need MAIL before RCPT")),
                    };
                    self.dialogue.answer_rcpt(answer);
                }
                Action::Memory(octets) => {
                    let answer = if self.memory.more(octets) { Memory::Granted(octets) } else { Memory::Spent };
                    if answer == Memory::Spent {
                        self.reception.no_memory();
                    }
                    self.dialogue.answer_memory(answer);
                }
                Action::Message(envelope, content) => {
                    self.flush().await?;
                    let reply = self.accept(envelope, content).await?;
                    self.memory.release();
                    self.dialogue.answer_message(&reply);
                }
                Action::Close => return self.close().await,
            }
            if !self.dialogue.in_data() {
                self.memory.release();
            }
        }
    }

    /// Whoever talks before he was greeted does not listen: a program that sends what it has to whom it may.
    async fn await_turn(&mut self, wait: Duration) -> Result<(), SessionError> {
        match timeout(wait, self.stream.read_buf(&mut self.input)).await {
            Err(_) => Ok(()),
            Ok(Ok(0)) => Err(SessionError::Closed),
            Ok(Ok(_)) => {
                self.input.clear();
                self.dialogue.output().clear();
                self.dialogue.out_of_sync();
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let output = self.dialogue.output().split();
        if output.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        timeout(self.timing.idle, written).await.map_err(|_| SessionError::Stalled)??;
        Ok(())
    }

    /// The next octets; the server's end comes between commands at once, inside a message after the grace time.
    async fn read(&mut self) -> Result<Read, SessionError> {
        let now = Instant::now();
        if now >= self.end {
            return Ok(Read::TooLong);
        }
        let in_data = self.dialogue.in_data();
        // A command has this long from its first octet, not from its last.
        if in_data || self.input.is_empty() {
            self.line_began = now;
        }
        let deadline = (self.line_began + self.timing.idle).min(self.end);
        let grace = self.timing.grace;
        self.input.reserve(if in_data { 64 << 10 } else { 4 << 10 });
        let shutdown = &mut self.shutdown;
        let stop = async move {
            // An error means that the sender is gone, and the server with it.
            drop(shutdown.wait_for(|stop| *stop).await);
            if in_data {
                tokio::time::sleep(grace).await;
            }
        };
        // Stopping comes first: a client that never pauses would keep the server up.
        tokio::select! {
            biased;
            () = stop => Ok(Read::Shutdown),
            read = timeout_at(deadline, self.stream.read_buf(&mut self.input)) => match read {
                Ok(Ok(0)) => Err(SessionError::Closed),
                Ok(Ok(_)) => Ok(Read::Octets),
                Ok(Err(error)) => Err(error.into()),
                Err(_) if deadline == self.end => Ok(Read::TooLong),
                Err(_) => Ok(Read::Idle),
            },
        }
    }

    /// A message that comes by the drop holds memory and a place (S14).
    fn look_at_speed(&mut self) {
        if !self.dialogue.in_data() {
            self.message = None;
            return;
        }
        let octets = u64::try_from(self.input.len()).unwrap_or(u64::MAX);
        let (since, so_far) = self.message.get_or_insert_with(|| (Instant::now(), 0));
        *so_far = so_far.saturating_add(octets);
        let (patience, least) = self.timing.slow;
        let took = since.elapsed();
        if took > patience && *so_far < least.saturating_mul(took.as_secs()) {
            self.dialogue.close(&Reply::new(421, 4, 2, "Message comes too slowly, closing"));
        }
    }

    /// Waits without holding anything but the connection.
    async fn pause(&mut self, pause: Duration) -> Result<(), SessionError> {
        let shutdown = &mut self.shutdown;
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = sleep(pause) => {}
        }
        self.flush().await
    }

    /// The handshake. What came in clear is gone with it.
    async fn secure(&mut self, config: Arc<ServerConfig>) -> Result<(), SessionError> {
        self.input.clear();
        let stream = timeout(self.timing.handshake, self.stream.secure(config)).await;
        let stream = stream.map_err(|_| SessionError::HandshakeTimeout)?.map_err(SessionError::Handshake)?;
        let connection = stream.get_ref().1;
        let secured = Secured { tls: tls::describe(connection), certificate: tls::client(connection) };
        self.dialogue.secured(secured);
        Ok(())
    }

    /// The pipeline's answer. It keeps its own deadline: none stands here, because a commit that has begun is waited for.
    ///
    /// A client that closes its side before the commit is gone: the future is dropped and nothing is stored. Once the commit
    /// has begun it has only closed its half, and is told what became of its mail.
    async fn accept(&mut self, envelope: crate::mail::Envelope, content: bytes::Bytes) -> Result<Reply, SessionError> {
        self.message = None;
        let client = self.dialogue.client().clone();
        let commitment = Commitment::default();
        let accepting = self.reception.accept(client, envelope, content, commitment.clone());
        tokio::pin!(accepting);
        let mut open = true;
        loop {
            let room = open && self.input.len() < READ_AHEAD;
            self.input.reserve(4 << 10);
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input), if room => match (read?, commitment.has_begun()) {
                    (0, false) => return Err(SessionError::Closed),
                    (0, true) => open = false,
                    (_, _) => {}
                },
                reply = &mut accepting => return Ok(reply),
            }
        }
    }

    async fn close(mut self) -> Result<(), SessionError> {
        if self.dialogue.was_early() {
            self.reception.was_early();
        }
        self.flush().await?;
        timeout(self.timing.grace, self.stream.shutdown()).await.map_err(|_| SessionError::Stalled)??;
        Ok(())
    }
}

/// What a read ended with.
enum Read {
    Octets,
    Idle,
    Shutdown,
    TooLong,
}

/// How long a session waits.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For a command or the next block of data (RFC 5321 section 4.5.3.2.7: at least 5 minutes).
    pub idle: Duration,
    /// For a message that is under way when the server stops.
    pub grace: Duration,
    /// For the whole of a session (S14).
    pub session: Duration,
    /// For a handshake.
    pub handshake: Duration,
    /// How long a message may take before its speed counts, and the least of it, in octets per second.
    pub slow: (Duration, u64),
    /// Whether a client that talks before the greeting is refused, and how long the greeting waits for that (S24).
    pub early: Option<Duration>,
}

impl Timing {
    /// The gateway's. A mail of the usual 25 MiB takes 2 h at 3.5 KiB per second.
    pub const fn gateway() -> Self {
        Self {
            idle: Duration::from_secs(300),
            grace: Duration::from_secs(30),
            session: Duration::from_secs(7200),
            handshake: Duration::from_secs(30),
            slow: (Duration::from_secs(60), 100),
            early: None,
        }
    }
}

/// Octets that are read ahead while a message is being accepted.
const READ_AHEAD: usize = 64 << 10;

/// Why a session ends before its dialogue does. Nobody is told: the client is not there.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream broke.
    #[error("connection lost")]
    Io(#[from] std::io::Error),
    /// The client closed its side.
    #[error("connection closed by the client")]
    Closed,
    /// Nothing could be written for so long.
    #[error("client does not read")]
    Stalled,
    /// No TLS came about.
    #[error("no TLS")]
    Handshake(#[source] std::io::Error),
    /// No TLS came about in time.
    #[error("handshake not finished in time")]
    HandshakeTimeout,
    /// Implicit TLS cannot be had.
    #[error("no certificate for TLS")]
    NoTls,
}

#[cfg(test)]
mod tests;
