//! Own keys that could sign for a sender, each with its standing at this moment.

use super::super::{Gateway, Snapshot};
use super::{add_wanted, encryption_certificate, path_material};
use crate::keys::KeyEntry;
use crate::mail::Address;
use crate::pki::path::PolicyInputs;
use crate::pki::{Certificate, PathRequest, Purpose, WantedCrls, path};
use crate::policy::{KeyKind, SenderKey, Standing, Substitute};
use crate::reason::Reason;
use jiff::Timestamp;

/// The keys imported for the mailbox, and its domain's substitutes, each with its standing at this moment.
pub fn signing_keys(
    gateway: &Gateway,
    snapshot: &Snapshot,
    from: &Address,
    now: Timestamp,
) -> (Vec<SenderKey>, Vec<SenderKey>) {
    judge(gateway, snapshot, from, now, &mut Vec::new())
}

/// The same; `wanted` are CRLs that would tell more.
pub(super) fn judge(
    gateway: &Gateway,
    snapshot: &Snapshot,
    from: &Address,
    now: Timestamp,
    wanted: &mut Vec<WantedCrls>,
) -> (Vec<SenderKey>, Vec<SenderKey>) {
    let Some(domain) = snapshot.config.policy.domain(from.domain()) else { return (Vec::new(), Vec::new()) };
    let own = gateway.keys.for_mailbox(from);
    let own = own.iter().map(|entry| sender_key(gateway, snapshot, entry, Some(from), now, wanted)).collect();
    let kind = match domain.substitute {
        Substitute::None => return (own, Vec::new()),
        Substitute::Organisation => KeyKind::Organisation,
        Substitute::System => KeyKind::System,
    };
    let substitutes = gateway.keys.substitutes(&domain.domain, kind);
    let one = |entry: &KeyEntry| sender_key(gateway, snapshot, entry, entry.addresses.first(), now, wanted);
    let substitutes = substitutes.iter().map(one).collect();
    (own, substitutes)
}

fn sender_key(
    gateway: &Gateway,
    snapshot: &Snapshot,
    entry: &KeyEntry,
    address: Option<&Address>,
    now: Timestamp,
    wanted: &mut Vec<WantedCrls>,
) -> SenderKey {
    let standing = if entry.blocked {
        Standing::Unusable(vec![Reason::BlockedLocally])
    } else {
        let (standing, more) = status(gateway, snapshot, &entry.certificate, &entry.chain, address, now);
        add_wanted(wanted, more);
        standing
    };
    let encryption = address.filter(|_| !entry.can_decrypt);
    SenderKey {
        encryption: encryption.and_then(|address| to_announce(gateway, snapshot, address, now)),
        id: entry.id.clone(),
        kind: entry.kind,
        certificate: entry.certificate.clone(),
        chain: entry.chain.iter().filter(|issuer| !issuer.is_self_signed()).cloned().collect(),
        addresses: entry.addresses.clone(),
        standing,
    }
}

/// The newest certificate of the mailbox that others can encrypt to. One that is known to be revoked or blocked is announced to
/// nobody; what is not known is for those who encrypt.
fn to_announce(gateway: &Gateway, snapshot: &Snapshot, address: &Address, now: Timestamp) -> Option<Certificate> {
    let withdrawn = |reason: &Reason| matches!(reason, Reason::Revoked | Reason::OnHold | Reason::BlockedLocally);
    let fit =
        gateway.keys.encryption_keys(address, now).into_iter().map(|entry| (entry.certificate, entry.chain)).find(
            |(certificate, chain)| {
                let (checked, _) = encryption_certificate(gateway, snapshot, certificate, chain, Some(address), now);
                checked.err().is_none_or(|reasons| !reasons.iter().any(withdrawn))
            },
        );
    fit.map(|(certificate, _)| certificate)
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
    status(gateway, snapshot, certificate, chain, address, now).0
}

fn status(
    gateway: &Gateway,
    snapshot: &Snapshot,
    certificate: &Certificate,
    chain: &[Certificate],
    address: Option<&Address>,
    now: Timestamp,
) -> (Standing, Vec<WantedCrls>) {
    let (untrusted, crls) = path_material(gateway, certificate, chain);
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
    let blocked = gateway.directory.blocked();
    if report.chain.iter().any(|one| one.is_among(&blocked)) {
        return (Standing::Unusable(vec![Reason::BlockedLocally]), Vec::new());
    }
    let standing = match report.reasons.as_slice() {
        [] => Standing::Usable,
        [Reason::RevocationUnknown] => Standing::Unknown,
        reasons => Standing::Unusable(reasons.to_vec()),
    };
    (standing, report.wanted_crls)
}
