//! One delivery over one connection; connections are used again while they are clean.
//!
//! A used connection that breaks before the end of the data could have left is replaced once: the next hop closed it while
//! it was idle. After that point nothing is repeated here; the queue tries again later.

use super::Surroundings;
use super::connect::connect;
use crate::config::NextHop;
use crate::queue::{Delivery, Outcome};
use crate::smtp::client::{Client, Fate, Mail, Phase, Step};
use bytes::{Bytes, BytesMut};
use std::error::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Mails over one connection; what Postfix and others allow.
const MAILS: u32 = 100;

/// Octets per write: each has its own timeout.
const BLOCK: usize = 64 << 10;

/// An open connection to a next hop.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    client: Client,
    input: BytesMut,
    mails: u32,
}

/// How the dialogue went on until it needed something from outside.
enum Ended {
    Ready,
    Broken,
}

/// What became of the recipients, and whether a new connection could do better.
struct Attempt {
    fates: Vec<Fate>,
    /// Broken before the end of the data could have left.
    repeatable: bool,
}

/// Connects to a next hop and waits until it has greeted and said what it offers.
///
/// # Errors
/// Why not, as the fate of whatever was to be delivered: always deferred.
pub async fn open(next_hop: &NextHop, settings: &Surroundings) -> Result<Connection, Outcome> {
    let stream = connect(next_hop).await.map_err(|error| {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Outcome::Deferred { status: error.status().to_owned(), diagnostic: format!("{error}{source}") }
    })?;
    let client = Client::new(&settings.hostname, &settings.limits);
    let mut new = Connection { stream, client, input: BytesMut::with_capacity(4 << 10), mails: 0 };
    match new.drive(next_hop).await {
        Ended::Ready => Ok(new),
        Ended::Broken => Err(outcome(new.client.trouble())),
    }
}

/// Delivers over a connection. Leaves in `connection` what can be used again. One outcome for each recipient, with his
/// id; `None` if the connection had been used before and was closed before the end of the data could have left: then
/// nothing was delivered, and a new connection may do better.
pub async fn send(delivery: &Delivery, connection: &mut Option<Connection>) -> Option<Vec<(i64, Outcome)>> {
    let mut open = connection.take()?;
    let attempt = open.attempt(delivery).await;
    if attempt.repeatable {
        return None;
    }
    *connection = open.keep().await;
    let fates = attempt.fates.into_iter().map(outcome);
    Some(delivery.recipients.iter().map(|recipient| recipient.id).zip(fates).collect())
}

fn outcome(fate: Fate) -> Outcome {
    match fate {
        Fate::Delivered { reply } => Outcome::Delivered { reply, via: crate::queue::Via::default() },
        Fate::Deferred { status, diagnostic } => Outcome::Deferred { status, diagnostic },
        Fate::Failed { status, diagnostic } => Outcome::Failed { status, diagnostic },
    }
}

/// The connection's name in messages to operators.
fn lost(next_hop: &NextHop, what: &str) -> String {
    format!("{what} ({})", next_hop.name())
}

impl Connection {
    async fn attempt(&mut self, delivery: &Delivery) -> Attempt {
        let reused = self.mails > 0;
        self.mails += 1;
        let mail = Mail {
            reverse_path: delivery.reverse_path.clone(),
            recipients: delivery.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            body: delivery.body,
            content: delivery.content.clone(),
        };
        self.client.send(mail);
        let ended = self.drive(&delivery.next_hop).await;
        let repeatable = reused && matches!(ended, Ended::Broken) && !self.client.committed();
        Attempt { fates: self.client.take_fates(), repeatable }
    }

    /// This connection if it can take another mail; else says goodbye.
    async fn keep(mut self) -> Option<Self> {
        if self.mails < MAILS && self.client.next(&mut self.input) == Step::Ready && self.input.is_empty() {
            return Some(self);
        }
        self.quit().await;
        None
    }

    /// Says goodbye and closes; the answer is not waited for.
    pub async fn quit(mut self) {
        self.client.quit();
        let output = self.client.output().split();
        let closing = timeout(Phase::Command.timeout(), async {
            self.stream.write_all(&output).await?;
            self.stream.shutdown().await
        });
        if !matches!(closing.await, Ok(Ok(()))) {
            tracing::debug!("next hop had closed already");
        }
    }

    /// Whether the next hop has closed, or said something that nobody asked for, since the last mail.
    pub fn is_stale(&self) -> bool {
        let mut octet = [0; 1];
        !matches!(self.stream.try_read(&mut octet), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Runs the dialogue until it is ready for a mail, or broken.
    async fn drive(&mut self, next_hop: &NextHop) -> Ended {
        loop {
            let step = self.client.next(&mut self.input);
            let output = self.client.output().split();
            if !output.is_empty()
                && let Err(problem) = self.write(&output, Phase::Command).await
            {
                self.client.lost(&lost(next_hop, problem));
                continue;
            }
            match step {
                Step::Ready => return Ended::Ready,
                Step::Broken => return Ended::Broken,
                Step::Read(phase) => match timeout(phase.timeout(), self.stream.read_buf(&mut self.input)).await {
                    Ok(Ok(0)) => self.client.lost(&lost(next_hop, "connection closed by the next hop")),
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => self.client.lost(&lost(next_hop, &format!("connection lost: {error}"))),
                    Err(_) => self.client.lost(&lost(next_hop, "the next hop did not answer in time")),
                },
                Step::Content(pieces) => match self.content(pieces).await {
                    Ok(()) => self.client.content_sent(),
                    Err(problem) => self.client.lost(&lost(next_hop, problem)),
                },
            }
        }
    }

    /// Everything but the end of the data, and then that: only from there on delivery is possible.
    async fn content(&mut self, mut pieces: Vec<Bytes>) -> Result<(), &'static str> {
        let end = pieces.pop().unwrap_or_default();
        let small: usize = pieces.iter().map(Bytes::len).sum();
        if small <= BLOCK {
            // One packet for a small mail.
            let mut whole = pieces.concat();
            whole.extend_from_slice(&end);
            self.client.content_ending();
            return self.write(&whole, Phase::DataBlock).await;
        }
        let mut gathered = BytesMut::with_capacity(BLOCK);
        for piece in pieces {
            // Many small pieces are gathered, large ones go as they are.
            if piece.len() < BLOCK / 4 {
                gathered.extend_from_slice(&piece);
            } else {
                self.write(&gathered.split(), Phase::DataBlock).await?;
                self.write(&piece, Phase::DataBlock).await?;
            }
            if gathered.len() >= BLOCK {
                self.write(&gathered.split(), Phase::DataBlock).await?;
            }
        }
        self.write(&gathered, Phase::DataBlock).await?;
        self.client.content_ending();
        self.write(&end, Phase::DataBlock).await
    }

    async fn write(&mut self, octets: &[u8], phase: Phase) -> Result<(), &'static str> {
        for block in octets.chunks(BLOCK) {
            match timeout(phase.timeout(), self.stream.write_all(block)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err("connection lost while sending"),
                Err(_) => return Err("the next hop does not read"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
