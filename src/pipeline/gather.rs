//! The only look-ups between the final dot and the decision.
//!
//! `smime::inspect` says what it needs; here it is looked up, round by round. A look-up that finds nothing answers with
//! nothing: the inspection then knows that the fact can't be had.

use super::{AcceptError, Arrival, Gateway, Snapshot};
use crate::crypto;
use crate::keys::KeyEntry;
use crate::mail::header::{self, From};
use crate::mail::{Address, ReversePath};
use crate::pki::path::PolicyInputs;
use crate::pki::{Certificate, Crl, PathRequest, Purpose, path};
use crate::policy::{Facts, KeyKind, SenderKey, Side, Standing, Substitute};
use crate::reason::Reason;
use crate::smime::inspect::Scope;
use crate::smime::{self, Fact, Inspected, Need, Options, Step};
use jiff::Timestamp;
use std::sync::Arc;

/// Inspects the content: outgoing mail for its structure only, incoming mail in full.
pub async fn inspect(
    gateway: &Gateway,
    snapshot: &Snapshot,
    arrival: &Arrival,
    now: Timestamp,
) -> Result<Inspected, AcceptError> {
    let scope = match arrival.side {
        Side::Inside => Scope::Structure,
        Side::Outside => Scope::Full,
    };
    let options = options(gateway, snapshot, scope, now);
    let content = arrival.content.clone();
    let mut step = gateway.cpu(move || smime::inspect(content, options)).await?;
    for _ in 0..=snapshot.config.limits.gather_rounds {
        match step {
            Step::Done(inspected) => return Ok(inspected),
            Step::Need(needs, paused) => {
                let facts = needs.iter().map(|need| answer(gateway, snapshot, need)).collect();
                step = gateway.cpu(move || paused.resume(facts)).await?;
            }
        }
    }
    Err(AcceptError::Rounds)
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

fn answer(gateway: &Gateway, snapshot: &Snapshot, need: &Need) -> Fact {
    match need {
        Need::ContentKeys { .. } => Fact::ContentKeys(Vec::new()),
        Need::Certificates { subject } => Fact::Certificates(gateway.directory.by_subject(subject)),
        Need::Crls { issuer } => Fact::Crls(snapshot.crls.by_issuer(issuer)),
    }
}

/// Everything else that the decision looks at.
pub async fn facts(
    gateway: &Gateway,
    snapshot: &Snapshot,
    arrival: &Arrival,
    inspected: Inspected,
    now: Timestamp,
) -> Result<Facts, AcceptError> {
    let first_seen = match arrival.side {
        Side::Outside if inspected.reasons.contains(&Reason::RevocationUnknown) => {
            Some(first_seen(gateway, arrival, now).await?)
        }
        Side::Outside | Side::Inside => None,
    };
    let (own_keys, substitutes) = match (&inspected.from, arrival.side) {
        (From::Mailbox(from), Side::Inside) => signing_keys(gateway, snapshot, from, now),
        _ => (Vec::new(), Vec::new()),
    };
    let from_texts = header::from_texts(&arrival.content, &snapshot.limits);
    Ok(Facts {
        side: arrival.side,
        envelope: arrival.envelope.clone(),
        inspected,
        from_texts,
        own_keys,
        substitutes,
        first_seen,
    })
}

/// One row remembers the first sight: SHA-256 of the reverse-path and the message as it came, below our trace fields.
async fn first_seen(gateway: &Gateway, arrival: &Arrival, now: Timestamp) -> Result<Timestamp, AcceptError> {
    let path = match &arrival.envelope.reverse_path {
        ReversePath::Null => "",
        ReversePath::Mailbox(address) => address.as_str(),
    };
    let parts: [&[u8]; 3] = [path.as_bytes(), b"\0", &arrival.content];
    let mut digest = [0; 32];
    let hash = crypto::Digest::Sha256.hash(&parts).map_err(|_| AcceptError::Worker)?;
    digest.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    gateway.queue.first_seen(digest, now).await.map_err(AcceptError::Queue)
}

/// The keys imported for the mailbox, and its domain's substitutes, each with its standing at this moment.
pub fn signing_keys(
    gateway: &Gateway,
    snapshot: &Snapshot,
    from: &Address,
    now: Timestamp,
) -> (Vec<SenderKey>, Vec<SenderKey>) {
    let Some(domain) = snapshot.config.policy.domain(from.domain()) else { return (Vec::new(), Vec::new()) };
    let own = gateway.keys.for_mailbox(from);
    let own = own.iter().map(|entry| sender_key(gateway, snapshot, entry, Some(from), now)).collect();
    let kind = match domain.substitute {
        Substitute::None => return (own, Vec::new()),
        Substitute::Organisation => KeyKind::Organisation,
        Substitute::System => KeyKind::System,
    };
    let substitutes = gateway.keys.substitutes(&domain.domain, kind);
    let substitutes =
        substitutes.iter().map(|entry| sender_key(gateway, snapshot, entry, entry.addresses.first(), now)).collect();
    (own, substitutes)
}

fn sender_key(
    gateway: &Gateway,
    snapshot: &Snapshot,
    entry: &KeyEntry,
    address: Option<&Address>,
    now: Timestamp,
) -> SenderKey {
    let standing = if entry.blocked {
        Standing::Unusable(vec![Reason::BlockedLocally])
    } else {
        standing(gateway, snapshot, &entry.certificate, &entry.chain, address, now)
    };
    SenderKey {
        id: entry.id.clone(),
        kind: entry.kind,
        certificate: entry.certificate.clone(),
        chain: entry.chain.iter().filter(|issuer| !issuer.is_self_signed()).cloned().collect(),
        addresses: entry.addresses.clone(),
        standing,
    }
}

/// Whether an own certificate may sign now: path, purpose, address and revocation, as for anybody's.
///
/// A certificate without a path to an anchor never signs: its revocation could not be checked either.
pub fn standing(
    gateway: &Gateway,
    snapshot: &Snapshot,
    certificate: &Certificate,
    chain: &[Certificate],
    address: Option<&Address>,
    now: Timestamp,
) -> Standing {
    let mut untrusted = chain.to_vec();
    untrusted.extend(gateway.directory.by_subject(certificate.issuer()));
    let mut crls: Vec<Crl> = snapshot.crls.by_issuer(certificate.issuer());
    for issuer in &untrusted {
        crls.extend(snapshot.crls.by_issuer(issuer.issuer()));
    }
    let report = path::validate(&PathRequest {
        end_entity: certificate,
        untrusted: &untrusted,
        anchors: &snapshot.anchors,
        crls: &crls,
        at: now,
        purpose: Purpose::EmailSign,
        address,
        revocation: None,
        crl_grace: snapshot.config.status_grace,
        policy: &PolicyInputs::default(),
        allow_weak: &[],
        limits: &snapshot.limits,
    });
    match report.reasons.as_slice() {
        [] => Standing::Usable,
        [Reason::RevocationUnknown] => Standing::Unknown,
        reasons => Standing::Unusable(reasons.to_vec()),
    }
}
