//! The straight line: inspect, gather, decide, transform, commit. Then, and only then, 250.
//!
//! Everything a message meets between the final dot and its reply stands in [`accept`]. A refusal is a reply, so
//! nothing bounces; a fact that can't be had now is `451`, and the sender's own queue keeps the mail. Until the commit
//! nothing is stored, so a client that goes away, or a deadline that passes, leaves nothing behind.

mod alert;
mod budget;
pub mod bypass;
pub mod expiry;
pub mod explain;
pub mod gateway;
pub mod gather;
mod grid;
mod harvest;
mod reaccept;
pub mod record;
pub mod rejudge;
pub mod reply;
mod told;
pub mod transform;

pub use budget::Room;
pub use gateway::{Gateway, OpenError, ReloadError, Snapshot};
pub use reaccept::{Override, ReacceptError, Released, ReleasedTo, destroy, reaccept, reject};

use crate::clock;
use crate::mail::Envelope;
use crate::metrics::{Stage, Stopwatch, timed};
use crate::plan::PlanError;
use crate::policy::{self, Again, Decided, Decision, Facts, Refusal, RefusalKind, Side};
use crate::queue::{QueueError, QueueId};
use crate::smtp::Reply;
use bytes::Bytes;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use transform::Made;

/// A message that has arrived, and how.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Name of the listener.
    pub listener: String,
    /// Its side.
    pub side: Side,
    /// The peer's address.
    pub peer: IpAddr,
    /// What it said in EHLO or HELO.
    pub helo: String,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPA` or `ESMTPSA`, as in `Received` (RFC 3848).
    pub protocol: &'static str,
    /// Protocol and cipher suite of TLS, for `Received`.
    pub tls: Option<String>,
    /// Who has authenticated: the name of a login, or of a client certificate.
    pub login: Option<String>,
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// The content: dot-stuffing removed, CRLF line ends.
    pub content: Bytes,
}

/// Says whether the commit of a message has begun. Until then its client may go away and nothing is stored.
#[derive(Clone, Debug, Default)]
pub struct Commitment(Arc<AtomicBool>);

impl Commitment {
    /// Whether the store has been asked to keep the message.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Only [`accept`] and its stand-in in tests say so.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The decision says no, for good.
    #[error("refused: {}", .0.rule)]
    Refused(Refusal),
    /// The decision lacks a fact.
    #[error("deferred: {}", .0.rule)]
    Deferred(Refusal),
    /// RFC 5321 section 6.3.
    #[error("{received} `Received` fields, {own} of them ours")]
    Looping {
        /// `Received` fields in all.
        received: usize,
        /// Those that name this gateway.
        own: usize,
    },
    /// The memory for making copies is spent.
    #[error("no memory for the copies now")]
    NoRoom,
    /// `accept_deadline` passed.
    #[error("the deadline for accepting passed")]
    Deadline,
    /// The copy could not be made.
    #[error("cannot make the copy")]
    Plan(#[source] PlanError),
    /// The key could not sign.
    #[error("cannot sign")]
    Signing(#[source] crate::keys::KeyError),
    /// The domain's DKIM key could not sign.
    #[error("cannot sign")]
    Dkim(#[source] crate::keys::DkimError),
    /// The database or the disk.
    #[error("cannot store")]
    Queue(#[source] QueueError),
    /// The clock has jumped: nothing can be said about certificates now.
    #[error("the clock is not settled")]
    Clock,
    /// A worker ended without an answer.
    #[error("a worker failed")]
    Worker,
    /// Facts were asked for more often than allowed.
    #[error("inspection did not end")]
    Rounds,
}

impl AcceptError {
    /// A short name for the audit record, where no row of the decision fired.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Deferred(refusal) => refusal.rule,
            Self::Looping { .. } => "loop",
            Self::NoRoom => "busy",
            Self::Deadline => "deadline",
            Self::Plan(_) | Self::Signing(_) | Self::Dkim(_) => "not-signed",
            Self::Queue(_) => "not-stored",
            Self::Clock => "clock",
            Self::Worker | Self::Rounds => "internal",
        }
    }
}

/// Takes a message or says why not: the reply is 250 only after the commit. Where a private key could open something, the
/// reply leaves on a time grid, so that it tells neither what a key has found nor whether there is one.
pub async fn accept(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: Arrival,
    commitment: &Commitment,
) -> Reply {
    let (id, watch) = (QueueId::random(), Stopwatch::start());
    let now = clock::now();
    let (grid, arrival) = (Arc::new(grid::Grid::of(arrival.content.len())), Arc::new(arrival));
    let reply = match take(gateway, snapshot, &arrival, commitment, &grid, &id, now).await {
        Ok(summary) => {
            told::accepted(snapshot, &arrival, &id, &summary, watch);
            reply::accepted(&id)
        }
        Err(error) => {
            let reply = reply::of(&error);
            told::not_accepted(snapshot, &arrival, &id, &error, &reply, watch);
            record::refused(gateway, snapshot, &arrival, &id, &error).await;
            reply
        }
    };
    grid.wait().await;
    gateway.revocation.fetch_later(grid.take_put_off());
    reply
}

/// The line itself. The deadline covers everything up to the commit; a commit that has begun is waited for.
async fn take(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arc<Arrival>,
    commitment: &Commitment,
    grid: &Arc<grid::Grid>,
    id: &QueueId,
    now: Timestamp,
) -> Result<told::Summary, AcceptError> {
    let ready =
        ready(Arc::clone(gateway), Arc::clone(snapshot), Arc::clone(arrival), Arc::clone(grid), id.clone(), now);
    let ready = gateway.begin_on_worker(ready);
    let deadline = snapshot.config.accept_deadline;
    let mut made = tokio::time::timeout(deadline, ready).await.map_err(|_| AcceptError::Deadline)???;
    // Storing the copies takes memory too.
    let room = std::mem::take(&mut made.room);
    let learned = harvest::of(snapshot, &made);
    let copies = made.copies.copies.iter().map(told::treatment).collect();
    let record = record::of(snapshot, arrival, made, id, now);
    let summary = told::Summary::of(snapshot, &record, copies);
    let encrypted_to = record.encrypted_to.clone();
    commitment.begin();
    let alarm = alert::of(gateway, snapshot, &record, now);
    timed(Stage::Commit, gateway.commit(record, alarm)).await.map_err(AcceptError::Queue)?;
    drop(room);
    gateway.directory.remember_encrypted(&encrypted_to);
    harvest::keep(gateway, snapshot, learned, now);
    Ok(summary)
}

/// What has to be done before the commit.
async fn ready(
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    arrival: Arc<Arrival>,
    grid: Arc<grid::Grid>,
    id: QueueId,
    now: Timestamp,
) -> Result<Made, AcceptError> {
    stop_loops(&snapshot, &arrival)?;
    make(&gateway, &snapshot, &arrival, &grid, None, &id, now).await
}

/// Inspect, gather, decide, transform: the same for mail that arrives and for mail that was taken and is decided again.
async fn make(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    grid: &Arc<grid::Grid>,
    again: Option<Again>,
    id: &QueueId,
    now: Timestamp,
) -> Result<Made, AcceptError> {
    let looked = timed(Stage::Inspect, gather::inspect(gateway, snapshot, arrival, grid, now)).await?;
    let facts = timed(Stage::Gather, gather::facts(gateway, snapshot, arrival, looked, again, now)).await?;
    let (facts, decided) = timed(Stage::Decide, decide(gateway, snapshot, arrival, facts, now)).await?;
    let made = transform::transform(gateway, snapshot, arrival, facts, decided, id, now);
    timed(Stage::Transform, made).await
}

/// Decides; where a recipient's certificate can't be proven now, it counts since when.
async fn decide(
    gateway: &Gateway,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    facts: Facts,
    now: Timestamp,
) -> Result<(Facts, Decided), AcceptError> {
    let (mut facts, mut decision) = judge(gateway, snapshot, facts, now).await?;
    if matches!(&decision, Decision::Defer(refusal) if refusal.kind == RefusalKind::RecipientUnproven) {
        facts.first_seen = Some(gather::first_seen(gateway, arrival, now).await?);
        (facts, decision) = judge(gateway, snapshot, facts, now).await?;
    }
    match decision {
        Decision::Accept(decided) => Ok((facts, *decided)),
        Decision::Refuse(refusal) => Err(AcceptError::Refused(refusal)),
        Decision::Defer(refusal) => Err(AcceptError::Deferred(refusal)),
    }
}

/// Rules times recipients: above this it is work for a thread of its own.
const COMPARISONS: usize = 10_000;

async fn judge(
    gateway: &Gateway,
    snapshot: &Arc<Snapshot>,
    facts: Facts,
    now: Timestamp,
) -> Result<(Facts, Decision), AcceptError> {
    let snapshot = Arc::clone(snapshot);
    let comparisons = facts.recipients.len().saturating_mul(snapshot.config.policy.rules.len());
    let work = move || {
        let decision = policy::decide(&facts, &snapshot.config.policy, now);
        (facts, decision)
    };
    if comparisons > COMPARISONS { gateway.cpu(work).await } else { Ok(work()) }
}

/// S19: mail that has been through too many servers, or too often through this one, goes no further.
fn stop_loops(snapshot: &Snapshot, arrival: &Arrival) -> Result<(), AcceptError> {
    let limits = &snapshot.config.limits;
    let (received, own) = crate::plan::mark::hops(&arrival.content, &snapshot.config.hostname, limits);
    if received > limits.received_fields || own > limits.own_received_fields {
        return Err(AcceptError::Looping { received, own });
    }
    Ok(())
}
