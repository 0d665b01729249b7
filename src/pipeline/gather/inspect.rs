//! Inspecting a message, and answering what that needs: rounds of `smime::inspect` on a worker thread, look-ups between them.

use super::super::grid::Grid;
use super::super::{AcceptError, Arrival, Gateway, Snapshot};
use super::keyring::Keyring;
use crate::keys::KeyEntry;
use crate::pki::WantedCrls;
use crate::plan::mark;
use crate::policy::Side;
use crate::smime::inspect::{LayerKind, Scope};
use crate::smime::{self, Fact, Inspected, Need, Options, Paused, Step};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What was found in a message.
#[derive(Debug)]
pub struct Looked {
    /// With the keys of the recipients.
    pub inspected: Inspected,
    /// Without any, where one was asked.
    pub unopened: Option<Inspected>,
    /// The keys that were asked.
    pub asked: Vec<KeyEntry>,
    /// This gateway has signed, encrypted or opened this very content before, in this direction.
    pub passed: bool,
    /// When looking up ends for this message.
    pub until: Instant,
}

/// For all look-ups of one message together: a fraction of `accept_deadline`, and what sending servers wait for gladly.
const LOOK_UPS: Duration = Duration::from_secs(20);

/// Inspects the content: outgoing mail for its structure only, incoming mail in full. The reply to a mail with an encrypted
/// layer that a key could open leaves on the `grid`, whether there is such a key or not.
pub(in super::super) async fn inspect(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    grid: &Arc<Grid>,
    now: Timestamp,
) -> Result<Looked, AcceptError> {
    let scope = match arrival.side {
        Side::Inside => Scope::Structure,
        Side::Outside => Scope::Full,
    };
    let until = Instant::now() + LOOK_UPS;
    // What was opened once is not opened again (S20): a nested layer is for whoever got the first copy.
    let passed = has_passed(gateway, arrival);
    let envelope = (!passed).then(|| arrival.envelope.clone());
    let keyring = Keyring::new(envelope, grid);
    let (inspected, keyring) = walk(gateway, snapshot, &arrival.content, scope, keyring, until, now).await?;
    let unopened = match keyring.asked.is_empty() {
        true => None,
        false => {
            let closed = Keyring::new(None, grid);
            Some(walk(gateway, snapshot, &arrival.content, scope, closed, until, now).await?.0)
        }
    };
    // What the outside of the mail is says the same to everybody, whatever a key has found.
    let judged_by_time = inspected.layers.first().is_some_and(|layer| layer.kind != LayerKind::CertsOnly);
    if scope == Scope::Full && judged_by_time && !gateway.clock.is_settled() {
        return Err(AcceptError::Clock);
    }
    Ok(Looked { inspected, unopened, asked: keyring.asked, passed, until })
}

/// Whether this gateway has signed, encrypted or opened this very content before, in this direction.
fn has_passed(gateway: &Gateway, arrival: &Arrival) -> bool {
    let claimed = mark::claimed(&arrival.content);
    let mac = || gateway.marks.of(&mark::bound(arrival.side, &arrival.content));
    !claimed.is_empty() && claimed.contains(&mac())
}

/// Rounds on a worker, look-ups between them: nobody waits for a server while he holds a CPU.
async fn walk(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    content: &Bytes,
    scope: Scope,
    mut keyring: Keyring,
    until: Instant,
    now: Timestamp,
) -> Result<(Inspected, Keyring), AcceptError> {
    let (options, content) = (options(gateway, snapshot, scope, now), content.clone());
    let mut turn = Turn::Begin(content, options);
    for _ in 0..=snapshot.config.limits.gather_rounds {
        let (shared, view) = (Arc::clone(gateway), Arc::clone(snapshot));
        let next = gateway.cpu(move || {
            let mut keyring = keyring;
            let halt = rounds(&shared, &view, turn, &mut keyring);
            (halt, keyring)
        });
        let (halt, held) = next.await?;
        keyring = held;
        match halt {
            Some(Halt::Done(inspected)) => return Ok((*inspected, keyring)),
            Some(Halt::Wants(needs, paused)) => {
                gateway.revocation.fetch(&wanted(&needs), until).await;
                turn = Turn::Resume(needs, paused);
            }
            None => break,
        }
    }
    Err(AcceptError::Rounds)
}

/// Where the rounds begin again.
enum Turn {
    Begin(Bytes, Options),
    Resume(Vec<Need>, Paused),
}

/// Why the rounds stop.
enum Halt {
    Done(Box<Inspected>),
    /// Somebody has to be asked first.
    Wants(Vec<Need>, Paused),
}

/// Round after round until something must be fetched. `None`: it does not end.
fn rounds(gateway: &Gateway, snapshot: &Snapshot, turn: Turn, keyring: &mut Keyring) -> Option<Halt> {
    let mut step = match turn {
        Turn::Begin(content, options) => smime::inspect(content, options),
        Turn::Resume(needs, paused) => resume(gateway, snapshot, &needs, paused, keyring),
    };
    for _ in 0..=snapshot.config.limits.gather_rounds {
        match step {
            Step::Done(inspected) => return Some(Halt::Done(Box::new(inspected))),
            Step::Need(needs, paused) => {
                let missing = wanted(&needs);
                if !missing.is_empty() && !keyring.opened {
                    return Some(Halt::Wants(needs, paused));
                }
                // Nothing learned inside an encrypted layer makes anybody ask a server before the reply.
                keyring.grid.put_off(missing);
                step = resume(gateway, snapshot, &needs, paused, keyring);
            }
        }
    }
    None
}

/// The CRLs that are not at hand.
fn wanted(needs: &[Need]) -> Vec<WantedCrls> {
    let at = |need: &Need| match need {
        Need::Crls { at, .. } => at.clone(),
        Need::ContentKeys { .. } | Need::Certificates { .. } => None,
    };
    needs.iter().filter_map(at).collect()
}

fn resume(gateway: &Gateway, snapshot: &Snapshot, needs: &[Need], paused: Paused, keyring: &mut Keyring) -> Step {
    let facts = needs.iter().map(|need| match need {
        Need::ContentKeys { recipients, length } => {
            Fact::ContentKeys(keyring.content_keys(gateway, snapshot, recipients, *length))
        }
        Need::Certificates { subject } => Fact::Certificates(gateway.directory.by_subject(subject)),
        Need::Crls { issuer, .. } => Fact::Crls(gateway.revocation.needed(issuer)),
    });
    paused.resume(facts.collect())
}

fn options(gateway: &Gateway, snapshot: &Snapshot, scope: Scope, now: Timestamp) -> Options {
    Options {
        scope,
        at: now,
        anchors: Arc::clone(&snapshot.anchors),
        revocation: None,
        allow_weak: Vec::new(),
        blocked: gateway.directory.blocked(),
        limits: Arc::clone(&snapshot.limits),
    }
}
