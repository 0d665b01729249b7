//! Learning a partner's certificate from his validly signed mail, so that the next mail to him leaves encrypted.

use super::transform::Made;
use super::{Gateway, Snapshot, gather};
use crate::directory::Trust;
use crate::pki::path::Harvesting;
use crate::policy::{ForRecipient, Side};
use crate::smime::Verdict;
use crate::smime::inspect::Harvest;
use jiff::Timestamp;
use std::sync::Arc;

/// What can be learned from this mail: nothing from mail that is held, from a bad verdict, or about own addresses.
pub(super) fn of(snapshot: &Snapshot, made: &Made) -> Option<Harvest> {
    let facts = &made.facts;
    let delivered = made.decided.recipients().iter().any(ForRecipient::is_delivered);
    let harvest = facts.inspected.harvest.as_ref()?;
    let own = snapshot.config.policy.domain(harvest.address.domain()).is_some();
    let fit = facts.side == Side::Outside && facts.inspected.verdict == Verdict::Valid && delivered && !own;
    fit.then(|| harvest.clone())
}

/// Keeps it, beside the message path: what fails here costs a later mail its encryption, not this one its delivery.
pub(super) fn keep(gateway: &Arc<Gateway>, snapshot: &Arc<Snapshot>, learned: Option<Harvest>, now: Timestamp) {
    let Some(harvest) = learned else { return };
    let (gateway, snapshot) = (Arc::clone(gateway), Arc::clone(snapshot));
    tokio::spawn(async move {
        let (workers, checked) = (Arc::clone(&gateway), harvest.clone());
        let trust = workers.cpu(move || trust(&gateway, &snapshot, &checked, now).map(|trust| (gateway, trust))).await;
        let Ok(Some((gateway, trust))) = trust else { return };
        if let Err(error) = gateway.directory.harvest(&harvest, trust).await {
            tracing::warn!(%error, "a certificate could not be kept.");
            return;
        }
        // Mail may wait for this certificate.
        gateway.note_change();
    });
}

/// Nothing about a certificate that could not be encrypted to now (P11); otherwise what its anchor says (P10).
fn trust(gateway: &Gateway, snapshot: &Snapshot, harvest: &Harvest, now: Timestamp) -> Option<Trust> {
    let (chain, address) = (&harvest.certificates, Some(&harvest.address));
    let (checked, report) = gather::encryption_certificate(gateway, snapshot, &harvest.encryption, chain, address, now);
    checked.ok()?;
    Some(match report.anchor?.harvest {
        Harvesting::Trusted => Trust::Trusted,
        Harvesting::Seen => Trust::Seen,
    })
}
