//! Tells the postmaster and the security team of certificates that end: one mail a day at most, each warning once.

use super::{Gateway, Snapshot};
use crate::audit::Event;
use crate::directory::Trust;
use crate::keys::KeyEntry;
use crate::mail::{Address, RecipientDsn};
use crate::pki::Certificate;
use crate::plan::expiry::{Expiring, ExpiryRequest, Role, is_due, notice, step};
use crate::queue::{Alarm, NewRecipient, NewRecord, NewState, QueueError, QueueId};
use crate::store::{Tx, TxError, Write, values};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sqlx::query_as;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Certificates that are looked at; more are those of a register that nobody has.
const LOOKED_AT: usize = 1_000_000;

/// Gives the warnings that are due. How many certificates they name.
///
/// # Errors
/// The store; what was not told is told later.
pub async fn tell(gateway: &Arc<Gateway>, now: Timestamp) -> Result<usize, QueueError> {
    let snapshot = gateway.snapshot();
    let told: Vec<(String, i64, i64)> =
        query_as("SELECT subject, step, told FROM expiry_told").fetch_all(gateway.store.readers()).await?;
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    // What a clock that was ahead has noted must not silence the warnings until then.
    let told_at = told.iter().filter_map(|(.., at)| Timestamp::from_microsecond(*at).ok());
    let last = told_at.filter(|at| *at <= now).map(day).max();
    if last.is_some_and(|last| last >= day(now)) {
        return Ok(0);
    }
    let told: HashMap<String, u16> =
        told.into_iter().map(|(subject, step, _)| (subject, u16::try_from(step).unwrap_or(0))).collect();
    let mut due: Vec<(Expiring, u16, String)> = Vec::new();
    let mut seen = HashSet::new();
    let (worker, view) = (Arc::clone(gateway), Arc::clone(&snapshot));
    let found = gateway.cpu(move || all(&worker, &view, now)).await.map_err(|_| QueueError::Interrupted)?;
    for (expiring, sha256) in found.into_iter().take(LOOKED_AT) {
        let Some(step) = step(expiring.role, expiring.not_after, now) else { continue };
        let subject = format!("{} {sha256}", expiring.role.name());
        let news = is_due(step, told.get(&subject).copied(), expiring.not_after, now);
        if news && seen.insert(subject.clone()) {
            due.push((expiring, step, subject));
        }
    }
    if due.is_empty() {
        return Ok(0);
    }
    due.sort_by(|(a, ..), (b, ..)| a.not_after.cmp(&b.not_after).then_with(|| a.id.cmp(&b.id)));
    let rows: Vec<(String, u16)> = due.iter().map(|(_, step, subject)| (subject.clone(), *step)).collect();
    let expiring: Vec<Expiring> = due.into_iter().map(|(expiring, ..)| expiring).collect();
    // A kill in between tells twice; the other order would tell never.
    gateway.commit(record(&snapshot, &expiring, now), Alarm::default()).await?;
    gateway.store.write(Told { rows, now: now.as_microsecond() }).await?;
    tracing::warn!(certificates = expiring.len(), "certificates end soon; the postmaster is told.");
    Ok(expiring.len())
}

/// Everything whose end matters, with the SHA-256 of each.
fn all(gateway: &Gateway, snapshot: &Snapshot, now: Timestamp) -> Vec<(Expiring, String)> {
    let mut found = own(gateway);
    for identity in &snapshot.config.tls {
        let leaf = identity.chain.first().and_then(|der| Certificate::from_der(der).ok());
        found.extend(leaf.map(|leaf| one(Role::Server, &leaf, Vec::new())));
    }
    found.extend(snapshot.anchors.iter().map(|anchor| one(Role::Anchor, &anchor.certificate, Vec::new())));
    found.extend(partners(gateway, now));
    found
}

fn one(role: Role, certificate: &Certificate, addresses: Vec<String>) -> (Expiring, String) {
    let sha256 = HEXLOWER.encode(&certificate.sha256());
    let expiring = Expiring {
        role,
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: certificate.serial_hex(),
        addresses,
        id: sha256.chars().take(16).collect(),
        not_after: certificate.not_after(),
    };
    (expiring, sha256)
}

/// Own keys in use, for the mailboxes that have no successor, and the CAs above them.
fn own(gateway: &Gateway) -> Vec<(Expiring, String)> {
    let keys: Vec<KeyEntry> =
        gateway.keys.list().into_iter().filter(|entry| !entry.destroyed && !entry.blocked).collect();
    let mut by_mailbox: HashMap<String, Vec<&KeyEntry>> = HashMap::new();
    for entry in &keys {
        for address in &entry.addresses {
            by_mailbox.entry(address.mailbox_key()).or_default().push(entry);
        }
    }
    let mut found = Vec::new();
    for entry in &keys {
        let alone = |address: &&Address| {
            let others = by_mailbox.get(&address.mailbox_key()).map(Vec::as_slice).unwrap_or_default();
            !has_successor(entry, others)
        };
        let addresses: Vec<String> =
            entry.addresses.iter().filter(alone).map(|address| address.as_str().to_owned()).collect();
        if addresses.is_empty() {
            continue;
        }
        found.extend(entry.chain.iter().map(|issuer| one(Role::OwnIssuer, issuer, Vec::new())));
        found.push(one(Role::Own, &entry.certificate, addresses));
    }
    found
}

/// Whether other keys of the same mailbox do what this one does, from before its end to after it.
fn has_successor(entry: &KeyEntry, others: &[&KeyEntry]) -> bool {
    let end = entry.certificate.not_after();
    let later: Vec<&&KeyEntry> = others
        .iter()
        .filter(|other| other.certificate.not_after() > end && other.certificate.not_before() <= end)
        .collect();
    (!entry.can_sign || later.iter().any(|other| other.can_sign))
        && (!entry.can_decrypt || later.iter().any(|other| other.can_decrypt))
}

/// What operators have taken in of others, unless something newer is known for every mailbox.
fn partners(gateway: &Gateway, now: Timestamp) -> Vec<(Expiring, String)> {
    let directory = &gateway.directory;
    let listed = directory.digests().into_iter().filter_map(|digest| directory.listed(&digest));
    let imported = listed.filter(|row| row.trust == Trust::Imported && !row.blocked);
    imported
        .filter_map(|row| {
            let certificate = &row.certificate;
            let end = certificate.not_after();
            step(Role::Partner, end, now)?;
            let newer = |address: &Address| {
                let known = directory.for_mailbox(address);
                known.iter().any(|one| one.certificate.not_after() > end && one.certificate.not_before() <= end)
            };
            let addresses: Vec<&Address> = row.addresses.iter().filter(|address| !newer(address)).collect();
            let texts = addresses.iter().map(|address| address.as_str().to_owned()).collect();
            (!addresses.is_empty()).then(|| one(Role::Partner, certificate, texts))
        })
        .collect()
}

fn record(snapshot: &Snapshot, expiring: &[Expiring], now: Timestamp) -> NewRecord {
    let config = &snapshot.config;
    let mut to: Vec<&Address> = vec![&config.notify.postmaster];
    for address in &config.notify.security {
        if !to.iter().any(|known| known.same_mailbox(address)) {
            to.push(address);
        }
    }
    let id = QueueId::random();
    let message_id = format!("{id}@{}", config.hostname);
    let texts: Vec<String> = to.iter().map(|address| address.as_str().to_owned()).collect();
    let request = ExpiryRequest { hostname: &config.hostname, to: &texts, now, expiring, message_id: &message_id };
    let recipients = to.iter().map(|address| NewRecipient {
        next_hop: config.next_hop(address.domain()),
        address: (*address).clone(),
        dsn: RecipientDsn::default(),
        state: NewState::Pending { copy: 0 },
    });
    let notice =
        NewRecord::notice(id.clone(), &message_id, notice(&request), recipients.collect(), "expiry-notice", now);
    let public = serde_json::json!({
        "queue_id": id.to_string(),
        "certificates": expiring.iter().take(100).map(|one| format!("{} {}", one.role.name(), one.id)).collect::<Vec<_>>(),
        "count": expiring.len(),
    });
    NewRecord { events: vec![Event::Maintenance { name: "expiry-told", public }], ..notice }
}

struct Told {
    rows: Vec<(String, u16)>,
    now: i64,
}

/// What was told so long ago concerns nobody any more: its certificate is gone from the register, or history.
const FORGOTTEN: i64 = 3 * 366 * 86_400 * 1_000_000;

impl Write for Told {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        for (subject, step) in &self.rows {
            tx.execute(
                "INSERT INTO expiry_told (subject, step, told) VALUES (?, ?, ?) \
                 ON CONFLICT (subject) DO UPDATE SET step = excluded.step, told = excluded.told",
                &values![subject, i64::from(*step), self.now],
            )?;
        }
        tx.execute("DELETE FROM expiry_told WHERE told < ?", &values![self.now.saturating_sub(FORGOTTEN)])?;
        Ok(())
    }
}
