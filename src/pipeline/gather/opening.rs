//! Inspecting, and answering what it needs. Own keys open a mail for their owners among its recipients, for nobody else.

use super::super::grid::Grid;
use super::super::{AcceptError, Arrival, Gateway, Snapshot};
use super::same_mailbox;
use crate::cms::recipient_info::Recipient;
use crate::keys::{KeyBackend, KeyEntry};
use crate::mail::{Address, Envelope};
use crate::pki::WantedCrls;
use crate::plan::mark;
use crate::policy::{RecipientFacts, Side};
use crate::smime::inspect::{ContentKey, Scope, Structure};
use crate::smime::{self, Fact, Inspected, Need, Options, Paused, Step};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::HashSet;
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

/// For all look-ups of one message together (DESIGN section 1).
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
    let judged_by_time = matches!(inspected.structure, Structure::SmimeSigned | Structure::SmimeEncrypted);
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

/// The keys that may open one message: those of its recipients.
struct Keyring {
    /// Nothing: no key may.
    envelope: Option<Envelope>,
    asked: Vec<KeyEntry>,
    grid: Arc<Grid>,
    /// An encrypted layer was reached: whatever comes now may come from inside it.
    opened: bool,
}

impl Keyring {
    fn new(envelope: Option<Envelope>, grid: &Arc<Grid>) -> Self {
        Self { envelope, asked: Vec::new(), grid: Arc::clone(grid), opened: false }
    }

    /// A candidate for each key of a recipient that a RecipientInfo names. A key is asked once: a second RecipientInfo for it
    /// could only serve to compare answers (I62).
    fn content_keys(
        &mut self,
        gateway: &Gateway,
        snapshot: &Snapshot,
        recipients: &[Recipient],
        length: usize,
    ) -> Vec<ContentKey> {
        // Before any key acts: what comes after, were it a deadline or a broken worker, must not tell when.
        self.grid.apply();
        self.opened = true;
        let Some(envelope) = &self.envelope else { return Vec::new() };
        let mut shares = Shares::of(&envelope.recipients, snapshot.limits.content_keys);
        let mut known = HashSet::new();
        let mut found: Vec<ContentKey> = Vec::new();
        for recipient in recipients {
            for entry in gateway.keys.for_recipient(&recipient.identifier) {
                if known.contains(&entry.id) || !shares.take(&entry.addresses) {
                    continue;
                }
                if found.len() >= snapshot.limits.recipients {
                    return found;
                }
                // A key that is not there, or can't do this at all: everybody can see that from outside.
                let Ok(octets) = gateway.keys.content_key(&entry.id, &recipient.sealed, length) else { continue };
                known.insert(entry.id.clone());
                found.push(ContentKey { key: entry.id.clone(), octets });
                if !self.asked.iter().any(|known| known.id == entry.id) {
                    self.asked.push(entry);
                }
            }
        }
        found
    }
}

/// How many keys may still be asked for each recipient of the envelope: what is sealed for one takes nothing from another.
struct Shares<'a> {
    left: Vec<(&'a Address, usize)>,
}

impl<'a> Shares<'a> {
    fn of(recipients: &'a [Address], each: usize) -> Self {
        Self { left: recipients.iter().map(|address| (address, each)).collect() }
    }

    /// Counts a key for everybody whose it is; whether there is such a recipient with something left.
    fn take(&mut self, owners: &[Address]) -> bool {
        let mut taken = false;
        for (address, left) in &mut self.left {
            if *left > 0 && same_mailbox(owners, address) {
                *left -= 1;
                taken = true;
            }
        }
        taken
    }
}

/// For each recipient the keys of his that were asked.
pub(super) fn owners(envelope: &Envelope, asked: &[KeyEntry]) -> Vec<RecipientFacts> {
    let of = |address| {
        let his = asked.iter().filter(|entry| same_mailbox(&entry.addresses, address));
        RecipientFacts { asked_keys: his.map(|entry| entry.id.clone()).collect(), ..RecipientFacts::default() }
    };
    envelope.recipients.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::Shares;
    use crate::mail::Address;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::parse(text).unwrap()).collect()
    }

    #[test]
    fn i62_keys_are_counted_for_each_recipient() {
        let recipients = addresses(&["siti@own.test", "budi@own.test", "wati@own.test"]);
        let mut shares = Shares::of(&recipients, 2);
        let mut take = |owners: &[&str]| shares.take(&addresses(owners));
        assert!(!take(&["nobody@own.test"]) && !take(&[]));
        assert!(take(&["SITI@own.test"]) && take(&["siti@own.test"]) && !take(&["siti@own.test"]));
        // What was sealed for Siti takes nothing from Budi; an office that both hold counts for who has something left.
        assert!(take(&["siti@own.test", "budi@own.test"]) && take(&["budi@own.test"]));
        assert!(!take(&["siti@own.test", "budi@own.test"]) && take(&["budi@own.test", "wati@own.test"]));
    }

    #[test]
    fn i11_twelve_recipients_have_a_key_each() {
        let recipients: Vec<_> = (0..12).flat_map(|number| addresses(&[&format!("staf{number}@own.test")])).collect();
        let mut shares = Shares::of(&recipients, 8);
        assert!(recipients.iter().all(|address| shares.take(std::slice::from_ref(address))));
    }
}
