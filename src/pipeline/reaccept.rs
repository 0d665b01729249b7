//! Mail that was taken and held goes the line again: inspected, decided and transformed by the facts of now, and committed
//! as a mail of its own.
//!
//! Nothing hides a verdict: what an operator lets out is marked as what it is. Who releases a second time, or after a crash,
//! hears where the mail went the first time.

use super::transform::Made;
use super::{AcceptError, Arrival, Gateway, Snapshot, alert, harvest, make, record};
use crate::audit::Event;
use crate::clock;
use crate::mail::{Address, Envelope};
use crate::policy::{Again, ForRecipient, HoldClass, Side, Treatment};
use crate::queue::{Becomes, Direction, QueueError, QueueId, Step, Taken, TakenRecipient};
use crate::reason::Reason;
use jiff::Timestamp;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What an operator wants and answers for.
#[derive(Clone, Debug)]
pub struct Override {
    /// For whom; none: for everybody whose mail is held.
    pub recipients: Option<Vec<Address>>,
    /// The reasons that he has seen. One that is found and not named here stops the release.
    pub accept: Vec<Reason>,
    /// Who he is.
    pub operator: String,
    /// Why.
    pub comment: String,
}

/// Where held mail went.
#[derive(Clone, Debug)]
pub struct Released {
    /// One for each recipient that was asked for.
    pub recipients: Vec<ReleasedTo>,
}

/// Where it went for one recipient.
#[derive(Clone, Debug)]
pub struct ReleasedTo {
    /// RCPT TO.
    pub address: Address,
    /// The mail that carries it on.
    pub id: QueueId,
    /// Somebody had released it before.
    pub already: bool,
}

/// Why held mail stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ReacceptError {
    /// The store.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A notice is made here; nothing is to be decided about it.
    #[error("`{0}` is a notice: there is nothing to decide about it")]
    Notice(QueueId),
    /// Only the sender of mail from inside can be told for sure that it is not sent.
    #[error("`{0}` came from outside: its sender may be forged, so nothing is sent back")]
    FromOutside(QueueId),
    /// It was never for him.
    #[error("`{}` is no recipient of this mail", .0.as_str())]
    NotARecipient(Address),
    /// His mail is not held.
    #[error("the mail for `{}` is not held: {state}", address.as_str())]
    NotHeld {
        /// The recipient.
        address: Address,
        /// The state it is in.
        state: String,
    },
    /// Nobody's is.
    #[error("nobody's mail of `{0}` is held")]
    NothingHeld(QueueId),
    /// The operator has not answered for these.
    #[error("not released: {} not accepted", codes(missing))]
    NotAccepted {
        /// Those that are missing.
        missing: Vec<Reason>,
        /// All that stand against it now.
        all: Vec<Reason>,
    },
    /// Outgoing mail never leaves in clear for want of a certificate.
    #[error(
        "not released: it may not leave in clear, and no certificate of {} can be used ({})",
        names(recipients),
        codes(reasons)
    )]
    NoCertificate {
        /// Whose.
        recipients: Vec<Address>,
        /// What stands against his.
        reasons: Vec<Reason>,
    },
    /// It can't be decided now.
    #[error("not released, it stays held")]
    Undecided(#[source] AcceptError),
    /// The policy refuses it now.
    #[error("not released, it stays held: {rule}: {detail}")]
    Refused {
        /// The row that fired.
        rule: &'static str,
        /// What it says.
        detail: String,
    },
    /// Somebody else changed it at the same time.
    #[error("somebody else is changing `{0}`; look at it again")]
    Changed(QueueId),
}

fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(", ")
}

fn names(addresses: &[Address]) -> String {
    addresses.iter().map(Address::as_str).collect::<Vec<_>>().join(", ")
}

impl From<AcceptError> for ReacceptError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Refused(refusal) | AcceptError::Deferred(refusal) => {
                Self::Refused { rule: refusal.rule, detail: refusal.detail }
            }
            other => Self::Undecided(other),
        }
    }
}

/// Releases held mail to the recipients that an operator has chosen, once for each of them.
///
/// # Errors
/// Nothing was changed, for nobody.
pub async fn reaccept(gateway: &Arc<Gateway>, id: &QueueId, over: &Override) -> Result<Released, ReacceptError> {
    let (snapshot, now) = (gateway.snapshot(), clock::now());
    let taken = gateway.queue.taken(id).await?;
    let Chosen { places, mut released } = chosen(&taken, over.recipients.as_deref(), true)?;
    if places.is_empty() {
        return Ok(Released { recipients: released });
    }
    let new = QueueId::random();
    let accepted = Some(over.accept.clone());
    let again = decide_again(gateway, &snapshot, &taken, &places, accepted, &new, now).await;
    let (arrival, made) = match again {
        // Its content is gone, so somebody else has done something with it meanwhile.
        Err(ReacceptError::Queue(QueueError::Destroyed(_))) => return as_it_is(gateway, id, over).await,
        again => again?,
    };
    stop(&taken, &places, &made, over)?;
    if !release(gateway, &snapshot, &taken, &places, arrival, made, new.clone(), over, now).await? {
        return as_it_is(gateway, id, over).await;
    }
    let addresses = places.iter().filter_map(|place| taken.recipients.get(*place));
    released.extend(addresses.map(|one| ReleasedTo { address: one.address.clone(), id: new.clone(), already: false }));
    Ok(Released { recipients: released })
}

/// Another operator was first: he may have done the same.
async fn as_it_is(gateway: &Gateway, id: &QueueId, over: &Override) -> Result<Released, ReacceptError> {
    let taken = gateway.queue.taken(id).await?;
    let Chosen { places, released } = chosen(&taken, over.recipients.as_deref(), true)?;
    if places.is_empty() { Ok(Released { recipients: released }) } else { Err(changed(id)) }
}

/// Gives held mail from inside back to its sender: 5.7.1.
///
/// # Errors
/// Nothing was changed.
pub async fn reject(gateway: &Gateway, id: &QueueId, over: &Override) -> Result<Vec<Address>, ReacceptError> {
    let taken = gateway.queue.taken(id).await?;
    match taken.direction {
        Direction::Outgoing => {}
        Direction::Incoming => return Err(ReacceptError::FromOutside(id.clone())),
        Direction::Notice => return Err(ReacceptError::Notice(id.clone())),
    }
    let becomes = Becomes::Failed("5.7.1", "x-segel; not sent, by decision of the mail administrators".to_owned());
    end(gateway, &taken, over, &becomes).await
}

/// Destroys held mail: nobody gets it, nobody is told.
///
/// # Errors
/// Nothing was changed.
pub async fn destroy(gateway: &Gateway, id: &QueueId, over: &Override) -> Result<Vec<Address>, ReacceptError> {
    let taken = gateway.queue.taken(id).await?;
    end(gateway, &taken, over, &Becomes::Destroyed).await
}

/// Ends a hold without sending anything on.
async fn end(
    gateway: &Gateway,
    taken: &Taken,
    over: &Override,
    becomes: &Becomes,
) -> Result<Vec<Address>, ReacceptError> {
    let Chosen { places, .. } = chosen(taken, over.recipients.as_deref(), false)?;
    let mut step = Step::default();
    let mut addresses = Vec::with_capacity(places.len());
    for (place, recipient) in at(taken, &places) {
        let (queue_id, operator) = (taken.id.to_string(), over.operator.clone());
        let (comment, recipient) = (over.comment.clone(), recipient.address.clone());
        addresses.push(recipient.clone());
        step.recipients.push((place, Some(becomes.clone())));
        step.events.push(match becomes {
            Becomes::Failed(..) => Event::Rejected { queue_id, operator, comment, recipient },
            _ => Event::Destroyed { queue_id, operator, comment, recipient },
        });
    }
    match gateway.queue.step(taken, step).await? {
        true => Ok(addresses),
        false => Err(changed(&taken.id)),
    }
}

fn changed(id: &QueueId) -> ReacceptError {
    ReacceptError::Changed(id.clone())
}

/// The recipients of these places.
pub(super) fn at<'a>(taken: &'a Taken, places: &'a [usize]) -> impl Iterator<Item = (usize, &'a TakenRecipient)> {
    places.iter().filter_map(|place| Some((*place, taken.recipients.get(*place)?)))
}

/// Whose mail is to go on, and whose has gone already.
struct Chosen {
    places: Vec<usize>,
    released: Vec<ReleasedTo>,
}

/// `again`: mail that was released before is no error, it says where it went.
fn chosen(taken: &Taken, wanted: Option<&[Address]>, again: bool) -> Result<Chosen, ReacceptError> {
    let mut chosen = Chosen { places: Vec::new(), released: Vec::new() };
    for one in wanted.unwrap_or_default() {
        if !taken.recipients.iter().any(|recipient| recipient.address.same_mailbox(one)) {
            return Err(ReacceptError::NotARecipient(one.clone()));
        }
    }
    for (place, recipient) in taken.recipients.iter().enumerate() {
        let named = wanted.is_some_and(|wanted| wanted.iter().any(|one| one.same_mailbox(&recipient.address)));
        if wanted.is_some() && !named {
            continue;
        }
        match (recipient.state.as_str(), &recipient.released) {
            ("held", _) => chosen.places.push(place),
            ("released", Some(id)) if again => {
                let (address, id) = (recipient.address.clone(), id.clone());
                chosen.released.push(ReleasedTo { address, id, already: true });
            }
            (state, _) if named => {
                return Err(ReacceptError::NotHeld { address: recipient.address.clone(), state: state.to_owned() });
            }
            _ => {}
        }
    }
    match chosen.places.is_empty() && chosen.released.is_empty() {
        true => Err(ReacceptError::NothingHeld(taken.id.clone())),
        false => Ok(chosen),
    }
}

/// Goes the line again, up to the copies, for some of its recipients.
pub(super) async fn decide_again(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    taken: &Taken,
    places: &[usize],
    accepted: Option<Vec<Reason>>,
    id: &QueueId,
    now: Timestamp,
) -> Result<(Arrival, Made), ReacceptError> {
    let side = match taken.direction {
        Direction::Outgoing => Side::Inside,
        Direction::Incoming => Side::Outside,
        Direction::Notice => return Err(ReacceptError::Notice(taken.id.clone())),
    };
    let content = gateway.queue.original(&taken.id).await?;
    let how = |name: &str| taken.details.pointer(&format!("/arrival/{name}")).and_then(serde_json::Value::as_str);
    let protocol = how("protocol").and_then(|found| PROTOCOLS.into_iter().find(|known| *known == found));
    let mut envelope = Envelope::new(taken.reverse_path.clone(), Vec::new(), taken.body);
    envelope.dsn = taken.dsn.clone();
    for (_, recipient) in at(taken, places) {
        envelope.recipients.push(recipient.address.clone());
        envelope.recipient_dsn.push(recipient.dsn.clone());
    }
    let arrival = Arrival {
        listener: taken.listener.clone(),
        side,
        peer: taken.peer.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        helo: taken.helo.clone(),
        protocol: protocol.unwrap_or("ESMTP"),
        tls: how("tls").map(str::to_owned),
        login: how("login").map(str::to_owned),
        envelope,
        content,
    };
    let never_clear = at(taken, places).any(|(_, one)| one.is_held(HoldClass::AwaitingKey));
    let again = Some(Again { taken: taken.received, accepted, never_clear });
    let grid = Arc::default();
    let made = make(gateway, snapshot, &arrival, &grid, again, id, now);
    let deadline = snapshot.config.accept_deadline;
    let made = tokio::time::timeout(deadline, made).await.map_err(|_| AcceptError::Deadline)??;
    Ok((arrival, made))
}

/// `with` of `Received` (RFC 3848, RFC 6531).
const PROTOCOLS: [&str; 10] =
    ["SMTP", "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA", "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA", "LMTP"];

/// What stands against letting it out: a reason that nobody has answered for.
fn stop(taken: &Taken, places: &[usize], made: &Made, over: &Override) -> Result<(), ReacceptError> {
    let held: Vec<&ForRecipient> = made.decided.recipients().iter().filter(|one| !one.is_delivered()).collect();
    let mut all = made.decided.reasons().to_vec();
    for one in &held {
        if let Treatment::Hold { reasons, .. } = &one.treatment {
            all.extend(reasons);
        }
    }
    let unprotected = taken.direction == Direction::Outgoing && !held.is_empty();
    if !unprotected {
        // Its signer was revoked; that nothing else stands against it does not undo that.
        let revoked = at(taken, places).filter(|(_, one)| one.is_held(HoldClass::SignerRevoked));
        all.extend(revoked.flat_map(|(_, one)| one.reasons.iter().copied()));
    }
    all.sort_unstable();
    all.dedup();
    if unprotected {
        let recipients = held.iter().map(|one| one.address.clone()).collect();
        return Err(ReacceptError::NoCertificate { recipients, reasons: all });
    }
    let missing: Vec<Reason> = all.iter().copied().filter(|reason| !over.accept.contains(reason)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(ReacceptError::NotAccepted { missing, all }),
    }
}

/// Commits it as a mail of its own. False: somebody else was first.
#[expect(clippy::too_many_arguments, reason = "one step of a line, not an interface")]
pub(super) async fn release(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    taken: &Taken,
    places: &[usize],
    arrival: Arrival,
    mut made: Made,
    new: QueueId,
    over: &Override,
    now: Timestamp,
) -> Result<bool, ReacceptError> {
    let room = std::mem::take(&mut made.room);
    let learned = harvest::of(snapshot, &made);
    let child = record::of(snapshot, &arrival, made, &new, now);
    let encrypted_to = child.encrypted_to.clone();
    let mut step = Step { child: Some(child), ..Step::default() };
    for (place, recipient) in at(taken, places) {
        step.recipients.push((place, Some(Becomes::Released(new.clone()))));
        step.events.push(Event::Released {
            queue_id: taken.id.to_string(),
            into: new.to_string(),
            operator: over.operator.clone(),
            accepted: over.accept.clone(),
            comment: over.comment.clone(),
            recipient: recipient.address.clone(),
        });
    }
    if let Some(child) = &step.child {
        // A recipient without a copy is held there; then the team hears of it.
        step.alarm = alert::of(gateway, snapshot, child, now);
    }
    let done = gateway.queue.step(taken, step).await?;
    drop(room);
    if done {
        gateway.directory.remember_encrypted(&encrypted_to);
        harvest::keep(gateway, snapshot, learned, now);
    }
    Ok(done)
}
