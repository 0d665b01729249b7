//! The only look-ups between the final dot and the decision: first `inspect`, then `facts`.
//!
//! `smime::inspect` says what it needs; here it is looked up, round by round (`inspect`, with the keys of `keyring`). What the
//! decision needs besides is looked up once: SPF, DKIM and DMARC (`authentication`), the sender's own keys (`signers`), the
//! recipients' certificates (`recipients`). A look-up that finds nothing answers with nothing: whoever asked then knows that
//! the fact can't be had.

mod authentication;
mod inspect;
mod keyring;
mod recipients;
mod signers;

pub use inspect::Looked;
pub(super) use inspect::inspect;
pub use recipients::encryption_certificate;
pub(super) use recipients::standing_of;
pub use signers::{signing_keys, standing};

use super::{AcceptError, Arrival, Gateway, Snapshot};
use crate::crypto;
use crate::mail::header::{self, From};
use crate::mail::{Address, ReversePath};
use crate::pki::{Certificate, Crl, WantedCrls};
use crate::plan::mark;
use crate::policy::{self, Again, Facts, Refusal, Side};
use crate::reason::Reason;
use crate::smime::inspect::Structure;
use jiff::Timestamp;
use std::sync::Arc;

/// Everything else that the decision looks at.
pub async fn facts(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    looked: Looked,
    again: Option<Again>,
    now: Timestamp,
) -> Result<Facts, AcceptError> {
    let mut facts = dry_facts(gateway, snapshot, arrival, looked, again, now).await?;
    let unknown = facts.side == Side::Outside && facts.inspected.reasons.contains(&Reason::RevocationUnknown);
    // What a private key has shown is never deferred.
    if unknown && !facts.inspected.asked_private_key && facts.again.is_none() {
        facts.first_seen = Some(first_seen(gateway, arrival, now).await?);
    }
    Ok(facts)
}

/// The same for a dry run: that this mail was seen now is not remembered.
pub async fn dry_facts(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    looked: Looked,
    again: Option<Again>,
    now: Timestamp,
) -> Result<Facts, AcceptError> {
    let Looked { inspected, unopened, asked, passed, until } = looked;
    let sender = authentication::sender(snapshot, arrival, &inspected.from).await;
    let facts = Facts {
        sender,
        side: arrival.side,
        login: arrival.login.clone(),
        envelope: arrival.envelope.clone(),
        from_texts: header::from_texts(&arrival.content, &snapshot.limits),
        own_keys: Vec::new(),
        substitutes: Vec::new(),
        recipients: keyring::owners(&arrival.envelope, &asked),
        passed,
        triggers: crate::policy::Triggers::default(),
        already_encrypted: false,
        returns_opened: false,
        bypass: false,
        first_seen: None,
        again,
        inspected,
        unopened,
    };
    match arrival.side {
        Side::Inside => outgoing(gateway, snapshot, arrival, facts, until, now).await,
        Side::Outside => Ok(facts),
    }
}

/// What is asked about outgoing mail only: the sender's keys, the recipients' certificates, what rules look at. Text may be
/// long and recipients many, so this is work for a thread of its own.
async fn outgoing(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    mut facts: Facts,
    until: tokio::time::Instant,
    now: Timestamp,
) -> Result<Facts, AcceptError> {
    let from = facts.inspected.from.mailbox();
    facts.bypass = from.is_some_and(|from| gateway.bypass.is_in_force(from.domain()));
    let automatic = matches!(arrival.envelope.reverse_path, ReversePath::Null);
    if automatic || facts.inspected.structure == Structure::Report {
        let ids = mark::message_ids(&arrival.content);
        facts.returns_opened = gateway.queue.any_discreet(&ids).await.map_err(AcceptError::Queue)?;
    }
    let (mut facts, wanted) = certificates(gateway, snapshot, arrival, facts, now).await?;
    let looked_at = !facts.own_keys.is_empty()
        || !facts.substitutes.is_empty()
        || facts.recipients.iter().any(|recipient| !recipient.certificates.is_empty());
    if looked_at && !gateway.clock.is_settled() {
        return Err(AcceptError::Clock);
    }
    if !wanted.is_empty() {
        gateway.revocation.fetch(&wanted, until).await;
        (facts, _) = certificates(gateway, snapshot, arrival, facts, now).await?;
    }
    Ok(facts)
}

/// What is known of the people's certificates, and which CRLs would tell more.
async fn certificates(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    mut facts: Facts,
    now: Timestamp,
) -> Result<(Facts, Vec<WantedCrls>), AcceptError> {
    let (workers, snapshot, arrival) = (Arc::clone(gateway), Arc::clone(snapshot), arrival.clone());
    let gateway = Arc::clone(gateway);
    workers
        .cpu(move || {
            recipients::content_facts(&snapshot, &arrival.content, &mut facts);
            let From::Mailbox(from) = facts.inspected.from.clone() else { return (facts, Vec::new()) };
            let mut wanted = Vec::new();
            // What may be broken is not asked.
            if !facts.bypass {
                (facts.own_keys, facts.substitutes) = signers::judge(&gateway, &snapshot, &from, now, &mut wanted);
            }
            if recipients::may_encrypt(&snapshot, &from, &facts) {
                facts.recipients = recipients::look_up(&gateway, &snapshot, &arrival, now, &mut wanted);
            }
            (facts, wanted)
        })
        .await
}

/// Adds what is wanted of each issuer once; a message to many recipients wants the same few lists again and again.
fn add_wanted(wanted: &mut Vec<WantedCrls>, more: Vec<WantedCrls>) {
    for new in more {
        match wanted.iter_mut().find(|known| known.issuer.matches(&new.issuer)) {
            Some(known) => {
                let points = new.points.into_iter().filter(|point| !known.points.contains(point));
                let points: Vec<Vec<String>> = points.collect();
                known.points.extend(points);
            }
            None => wanted.push(new),
        }
    }
}

/// One row remembers the first sight: SHA-256 of the reverse-path and the message as it came, below our trace fields.
pub async fn first_seen(gateway: &Gateway, arrival: &Arrival, now: Timestamp) -> Result<Timestamp, AcceptError> {
    gateway.queue.first_seen(digest(arrival)?, now).await.map_err(AcceptError::Queue)
}

/// When it was first seen, if it was; nothing is remembered.
pub async fn seen_before(
    gateway: &Gateway,
    arrival: &Arrival,
    now: Timestamp,
) -> Result<Option<Timestamp>, AcceptError> {
    gateway.queue.seen_before(digest(arrival)?, now).await.map_err(AcceptError::Queue)
}

fn digest(arrival: &Arrival) -> Result<[u8; 32], AcceptError> {
    let path = match &arrival.envelope.reverse_path {
        ReversePath::Null => "",
        ReversePath::Mailbox(address) => address.as_str(),
    };
    let parts: [&[u8]; 3] = [path.as_bytes(), b"\0", &arrival.content];
    let mut digest = [0; 32];
    let hash = crypto::Digest::Sha256.hash(&parts).map_err(|_| AcceptError::Worker)?;
    digest.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    Ok(digest)
}

/// What a path for `certificate` may be built from: its own chain, known CAs, and CRLs of all their issuers.
fn path_material(gateway: &Gateway, certificate: &Certificate, chain: &[Certificate]) -> (Vec<Certificate>, Vec<Crl>) {
    let mut untrusted = chain.to_vec();
    untrusted.extend(gateway.directory.by_subject(certificate.issuer()));
    let mut crls: Vec<Crl> = gateway.revocation.needed(certificate.issuer());
    for issuer in &untrusted {
        crls.extend(gateway.revocation.needed(issuer.issuer()));
    }
    (untrusted, crls)
}

/// What is decided when a recipient is named: relaying, and encryption where a rule needs nothing but the envelope.
///
/// # Errors
/// The refusal.
pub fn at_rcpt(gateway: &Gateway, snapshot: &Snapshot, side: Side, address: &Address) -> Result<(), Refusal> {
    let policy = &snapshot.config.policy;
    policy::recipient(policy, side, address)?;
    policy::rule_at_rcpt(policy, side, address, gateway.directory.knows(address))
}

fn same_mailbox(list: &[Address], address: &Address) -> bool {
    list.iter().any(|one| one.same_mailbox(address))
}
