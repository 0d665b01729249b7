//! One connection: the dialogue over a stream, with its timeouts, its memory and its end.
//!
//! A message is handed on only while the client is there to hear the answer. Replies are written in one piece per group of commands.

use super::Reservation;
use super::reception::Reception;
use crate::pipeline::Commitment;
use crate::smtp::Reply;
use crate::smtp::server::{Action, Dialogue, Memory, Settings};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a session waits.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For a command or the next block of data (RFC 5321 section 4.5.3.2.7: at least 5 minutes).
    pub idle: Duration,
    /// For a message that is under way when the server stops.
    pub grace: Duration,
}

impl Timing {
    /// The gateway's.
    pub const fn gateway() -> Self {
        Self { idle: Duration::from_secs(300), grace: Duration::from_secs(30) }
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
}

/// A session from greeting to close.
pub(super) struct Session<S, R> {
    stream: S,
    reception: R,
    dialogue: Dialogue,
    memory: Reservation,
    timing: Timing,
    shutdown: watch::Receiver<bool>,
    input: BytesMut,
}

/// What a read ended with.
enum Read {
    Octets,
    Idle,
    Shutdown,
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
            stream,
            reception,
            dialogue: Dialogue::new(settings),
            memory,
            timing,
            shutdown,
            input: BytesMut::with_capacity(8 << 10),
        }
    }

    /// Runs to the end; an `Err` says how the client was lost.
    pub(super) async fn run(mut self) -> Result<(), SessionError> {
        loop {
            match self.dialogue.next(&mut self.input) {
                Action::Read => {
                    self.flush().await?;
                    match self.read().await? {
                        Read::Octets => {}
                        Read::Idle => self.dialogue.close(&Reply::new(421, 4, 2, "Timeout, closing")),
                        Read::Shutdown => self.dialogue.close(&Reply::new(421, 3, 2, "Service is stopping")),
                    }
                }
                Action::Mail(path) => {
                    let answer = self.reception.reverse_path(&path);
                    self.dialogue.answer_mail(answer);
                }
                Action::Rcpt(path) => {
                    let (before, declared) = self.dialogue.transaction();
                    let answer = self.reception.recipient(path, before, declared);
                    self.dialogue.answer_rcpt(answer);
                }
                Action::Memory(octets) => {
                    let answer = if self.memory.more(octets) { Memory::Granted(octets) } else { Memory::Spent };
                    self.dialogue.answer_memory(answer);
                }
                Action::Message(envelope, content) => {
                    self.flush().await?;
                    let reply = self.accept(envelope, content).await?;
                    self.memory.release();
                    self.dialogue.answer_message(&reply);
                }
                Action::Close => {
                    self.flush().await?;
                    timeout(self.timing.grace, self.stream.shutdown()).await.map_err(|_| SessionError::Stalled)??;
                    return Ok(());
                }
            }
            if !self.dialogue.in_data() {
                self.memory.release();
            }
        }
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let output = self.dialogue.output().split();
        if output.is_empty() {
            return Ok(());
        }
        timeout(self.timing.idle, self.stream.write_all(&output)).await.map_err(|_| SessionError::Stalled)??;
        Ok(())
    }

    /// The next octets; the server's end comes between commands at once, inside a message after the grace time.
    async fn read(&mut self) -> Result<Read, SessionError> {
        let in_data = self.dialogue.in_data();
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
            read = timeout(self.timing.idle, self.stream.read_buf(&mut self.input)) => match read {
                Ok(Ok(0)) => Err(SessionError::Closed),
                Ok(Ok(_)) => Ok(Read::Octets),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Ok(Read::Idle),
            },
        }
    }

    /// The pipeline's answer. It keeps its own deadline: none stands here, because a commit that has begun is waited for.
    ///
    /// A client that closes its side before the commit is gone: the future is dropped and nothing is stored. Once the commit
    /// has begun it has only closed its half, and is told what became of its mail.
    async fn accept(&mut self, envelope: crate::mail::Envelope, content: bytes::Bytes) -> Result<Reply, SessionError> {
        let Some(hello) = self.dialogue.hello().cloned() else {
            return Ok(Reply::new(503, 5, 1, "Say EHLO or HELO first"));
        };
        let commitment = Commitment::default();
        let accepting = self.reception.accept(hello, envelope, content, commitment.clone());
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
}

#[cfg(test)]
mod tests;
