//! What waits is decided again when something changes: a certificate, a key, a CRL, the policy, or the time.
//!
//! Three kinds of mail. Held mail that waits for a certificate or a CRL leaves, waits on, or becomes the security team's.
//! Queued mail whose signer was revoked since is held; whose recipient's certificate was, is decided again (decision 0013).
//! Quarantined mail that nobody has looked at for `quarantine.keep` is destroyed.

use super::reaccept::{Override, ReacceptError, at, decide_again, release};
use super::{Gateway, Snapshot, alert, gather, record};
use crate::audit::Event;
use crate::clock;
use crate::config::Config;
use crate::mail::Address;
use crate::policy::{HoldClass, RecipientStanding, SenderKey, Standing, Treatment};
use crate::queue::{Becomes, Direction, QueueError, QueueId, Step, Taken, TakenRecipient};
use crate::reason::Reason;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often time alone is a reason to look.
const PERIOD: Duration = Duration::from_secs(120);
/// Who does it, in the audit log.
const ITSELF: &str = "segel";

/// Runs until the shutdown. Looks at everything once when it starts: things may have changed while nothing ran.
pub async fn run(gateway: Arc<Gateway>, mut stopping: watch::Receiver<bool>) {
    let mut look = true;
    let mut crls = gateway.crls_changed();
    loop {
        let round = async {
            // After a jump of the clock nothing is expired, destroyed or judged until it is settled (P33).
            if !gateway.clock.is_settled() {
                return look;
            }
            let busy = if look { recheck_all(&gateway).await } else { false };
            wait_no_more(&gateway).await;
            keep_no_more(&gateway).await;
            tell(&gateway).await;
            busy
        };
        let busy = tokio::select! {
            busy = round => busy,
            _ = stopping.changed() => return,
        };
        look = tokio::select! {
            () = gateway.changed() => true,
            _ = crls.changed() => true,
            () = tokio::time::sleep(period(&gateway.snapshot().config)) => busy,
            _ = stopping.changed() => return,
        };
    }
}

/// Often enough for the shortest of the times that count here.
fn period(config: &Config) -> Duration {
    let shortest = [config.policy.incoming.hold_for, config.quarantine_keep, config.queue_expire];
    let shortest = shortest.into_iter().filter(|time| !time.is_zero()).min().unwrap_or(PERIOD);
    (shortest / 4).clamp(Duration::from_secs(1), PERIOD)
}

fn report(result: Result<(), ReacceptError>, id: &QueueId) {
    if let Err(error) = result {
        match error {
            ReacceptError::Changed(_) => {}
            ReacceptError::Refused { .. } => tracing::debug!(queue_id = %id, %error, "mail that waits stays held."),
            error => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(queue_id = %id, %error, cause, "mail that waits was not decided again.");
            }
        }
    }
}

/// Held mail that waits for a certificate, a key or a CRL.
async fn wait_no_more(gateway: &Arc<Gateway>) {
    let mut after = 0;
    loop {
        let classes = [HoldClass::AwaitingKey, HoldClass::AwaitingRevocation];
        let page = gateway.queue.held_for(&classes, after).await.unwrap_or_else(unreadable);
        let Some((last, _)) = page.last() else { return };
        after = *last;
        for (_, id) in &page {
            report(wait_on(gateway, id).await, id);
        }
    }
}

fn unreadable<T>(error: QueueError) -> Vec<T> {
    tracing::warn!(%error, "what waits can not be looked at now.");
    Vec::new()
}

async fn wait_on(gateway: &Arc<Gateway>, id: &QueueId) -> Result<(), ReacceptError> {
    let (snapshot, now) = (gateway.snapshot(), clock::now());
    let taken = gateway.queue.taken(id).await?;
    let waits =
        |one: &TakenRecipient| one.is_held(HoldClass::AwaitingKey) || one.is_held(HoldClass::AwaitingRevocation);
    let places: Vec<usize> = places(&taken, waits);
    let expired = taken.received.checked_add(snapshot.config.queue_expire).is_ok_and(|end| end <= now);
    if taken.direction == Direction::Outgoing && expired {
        return expire(gateway, &taken, &places).await;
    }
    decide(gateway, &snapshot, &taken, &places, now).await
}

fn places(taken: &Taken, wanted: impl Fn(&TakenRecipient) -> bool) -> Vec<usize> {
    taken.recipients.iter().enumerate().filter(|(_, one)| wanted(one)).map(|(place, _)| place).collect()
}

/// Its sender hears that no certificate could be used for as long as mail is tried.
async fn expire(gateway: &Gateway, taken: &Taken, places: &[usize]) -> Result<(), ReacceptError> {
    const WHY: &str = "x-segel; no certificate of the recipient could be used in time, and it may not leave in clear";
    let mut step = Step::default();
    for (place, recipient) in at(taken, places) {
        step.recipients.push((place, Some(Becomes::Failed("5.4.7", WHY.to_owned()))));
        step.events.push(Event::Failed {
            queue_id: taken.id.to_string(),
            status: "5.4.7".to_owned(),
            message_id: taken.message_id.clone(),
            recipient: recipient.address.clone(),
        });
    }
    gateway.queue.step(taken, step).await?;
    Ok(())
}

/// Decides again by the ordinary tables: nobody answers for anything.
async fn decide(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    taken: &Taken,
    places: &[usize],
    now: Timestamp,
) -> Result<(), ReacceptError> {
    if places.is_empty() {
        return Ok(());
    }
    let new = QueueId::random();
    let (arrival, made) = decide_again(gateway, snapshot, taken, places, None, &new, now).await?;
    let pairs = || places.iter().zip(made.decided.recipients());
    let leaves: Vec<usize> = pairs().filter(|(_, one)| one.is_delivered()).map(|(place, _)| *place).collect();
    if leaves.len() == places.len() {
        let itself =
            Override { recipients: None, accept: Vec::new(), operator: ITSELF.to_owned(), comment: NOW.into() };
        release(gateway, snapshot, taken, places, arrival, made, new, &itself, now).await?;
        tracing::info!(queue_id = %taken.id, "mail that waited was released.");
        return Ok(());
    }
    let mut moved: Vec<(usize, HoldClass, Vec<Reason>)> = Vec::new();
    for (place, one) in pairs() {
        let Treatment::Hold { class, reasons } = &one.treatment else { continue };
        let same = taken.recipients.get(*place).is_some_and(|was| was.is_held(*class) && was.reasons == *reasons);
        if !same {
            moved.push((*place, *class, reasons.clone()));
        }
    }
    if !moved.is_empty() {
        let mut step = hold(gateway, snapshot, taken, &moved, now);
        // What was decided with which certificate for the others stands in the record of outgoing mail.
        if taken.direction == Direction::Incoming {
            step.verdict = Some(record::of(snapshot, &arrival, made, &taken.id, now));
        }
        gateway.queue.step(taken, step).await?;
    }
    if leaves.is_empty() {
        return Ok(());
    }
    // Those who need not wait: decided again for them alone, so that the copies hold nothing of the others.
    Box::pin(decide(gateway, snapshot, &gateway.queue.taken(&taken.id).await?, &leaves, now)).await
}

/// Why it leaves.
const NOW: &str = "decided again by the facts of now";

/// Holds recipients for another reason than before.
fn hold(
    gateway: &Gateway,
    snapshot: &Snapshot,
    taken: &Taken,
    moved: &[(usize, HoldClass, Vec<Reason>)],
    now: Timestamp,
) -> Step {
    let mut step = Step::default();
    for (place, class, reasons) in moved {
        let Some(recipient) = taken.recipients.get(*place) else { continue };
        step.recipients.push((*place, Some(Becomes::Held(*class, reasons.clone()))));
        step.events.push(Event::Held {
            queue_id: taken.id.to_string(),
            class: class.name().to_owned(),
            reasons: reasons.clone(),
            recipient: recipient.address.clone(),
        });
    }
    let told: Vec<&(usize, HoldClass, Vec<Reason>)> =
        moved.iter().filter(|(_, class, _)| alert::is_told(*class)).collect();
    if let Some((_, class, _)) = told.first() {
        let places: Vec<usize> = told.iter().map(|(place, ..)| *place).collect();
        let mut reasons: Vec<Reason> = told.iter().flat_map(|(.., reasons)| reasons.iter().copied()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        step.alarm = alert::of_taken(gateway, snapshot, taken, *class, &places, &reasons, now);
    }
    step
}

/// Queued outgoing mail whose signer or recipients' certificates may have been revoked or blocked meanwhile. Whether some of
/// it is in delivery now and has to be looked at again.
async fn recheck_all(gateway: &Arc<Gateway>) -> bool {
    let (mut after, mut busy) = (0, false);
    loop {
        let page = gateway.queue.waiting_outgoing(after).await.unwrap_or_else(unreadable);
        let Some((last, _)) = page.last() else { return busy };
        after = *last;
        for (_, id) in &page {
            match recheck(gateway, id).await {
                Ok(leased) => busy |= leased,
                Err(error) => report(Err(error), id),
            }
        }
    }
}

async fn recheck(gateway: &Arc<Gateway>, id: &QueueId) -> Result<bool, ReacceptError> {
    let (snapshot, now) = (gateway.snapshot(), clock::now());
    let taken = gateway.queue.taken(id).await?;
    let busy = taken.recipients.iter().any(|one| one.state == "pending" && one.leased);
    let waiting = places(&taken, |one| one.state == "pending" && !one.leased);
    let (worker, view, mail) = (Arc::clone(gateway), Arc::clone(&snapshot), taken.clone());
    let found = gateway.cpu(move || withdrawn(&worker, &view, &mail, &waiting, now)).await?;
    if found.is_empty() {
        return Ok(busy);
    }
    gateway.queue.step(&taken, hold(gateway, &snapshot, &taken, &found, now)).await?;
    if found.iter().any(|(_, class, _)| *class == HoldClass::AwaitingKey) {
        wait_on(gateway, id).await?;
    }
    Ok(busy)
}

/// Who may not be delivered to as it was decided, and why.
fn withdrawn(
    gateway: &Gateway,
    snapshot: &Snapshot,
    taken: &Taken,
    waiting: &[usize],
    now: Timestamp,
) -> Vec<(usize, HoldClass, Vec<Reason>)> {
    let text = |value: &serde_json::Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
    if let Some(key) = text(&taken.details, "key") {
        let reasons = signer(gateway, snapshot, taken, &key, now);
        if !reasons.is_empty() {
            let signed = at(taken, waiting).filter(|(_, one)| !left_unsigned(taken, &one.address));
            return signed.map(|(place, _)| (place, HoldClass::SignerRevoked, reasons.clone())).collect();
        }
    }
    let decided = taken.details.get("recipients").and_then(serde_json::Value::as_array);
    let decided: Vec<(String, String)> = decided
        .into_iter()
        .flatten()
        .filter_map(|one| Some((text(one, "address")?, text(one, "certificate")?)))
        .collect();
    let mut found = Vec::new();
    for (place, recipient) in at(taken, waiting) {
        let Some((_, id)) = decided.iter().find(|(address, _)| address == recipient.address.as_str()) else { continue };
        if let Some(RecipientStanding::Rejected(reasons)) =
            gather::standing_of(gateway, snapshot, &recipient.address, id, now)
            && reasons.iter().any(is_withdrawal)
        {
            found.push((place, HoldClass::AwaitingKey, reasons));
        }
    }
    found
}

/// Whether a rule sends his copy without the signature that others get.
fn left_unsigned(taken: &Taken, address: &Address) -> bool {
    let decided = taken.details.get("recipients").and_then(serde_json::Value::as_array);
    let his = |one: &&serde_json::Value| one.get("address").and_then(|text| text.as_str()) == Some(address.as_str());
    let one = decided.into_iter().flatten().find(his);
    one.and_then(|one| one.get("signed")).and_then(serde_json::Value::as_bool) == Some(false)
}

/// What stands against the key that signed; nothing while it may still sign, or has only run out.
fn signer(gateway: &Gateway, snapshot: &Snapshot, taken: &Taken, key: &str, now: Timestamp) -> Vec<Reason> {
    let Some(from) = taken.header_from.as_deref().and_then(|from| Address::parse(from).ok()) else { return Vec::new() };
    let (own, substitutes) = gather::signing_keys(gateway, snapshot, &from, now);
    let unusable = |one: &SenderKey| match &one.standing {
        Standing::Unusable(reasons) if one.id == key => Some(reasons.clone()),
        _ => None,
    };
    let reasons = own.iter().chain(&substitutes).find_map(unusable).unwrap_or_default();
    if reasons.iter().any(is_withdrawal) { reasons } else { Vec::new() }
}

fn is_withdrawal(reason: &Reason) -> bool {
    matches!(reason, Reason::Revoked | Reason::OnHold | Reason::BlockedLocally)
}

/// `quarantine.keep`.
async fn keep_no_more(gateway: &Gateway) {
    let keep = gateway.snapshot().config.quarantine_keep;
    let Ok(before) = clock::now().checked_sub(keep) else { return };
    for id in gateway.queue.quarantined_before(before).await.unwrap_or_else(unreadable) {
        report(outlived(gateway, &id, before).await, &id);
    }
}

async fn outlived(gateway: &Gateway, id: &QueueId, before: Timestamp) -> Result<(), ReacceptError> {
    let taken = gateway.queue.taken(id).await?;
    let mut step = Step::default();
    let old = places(&taken, |one| one.is_held(HoldClass::Quarantine) && one.changed < before);
    for (place, recipient) in at(&taken, &old) {
        step.recipients.push((place, Some(Becomes::Destroyed)));
        step.events.push(Event::Destroyed {
            queue_id: id.to_string(),
            operator: ITSELF.to_owned(),
            comment: "older than quarantine.keep".to_owned(),
            recipient: recipient.address.clone(),
        });
    }
    if gateway.queue.step(&taken, step).await? {
        tracing::info!(queue_id = %id, "quarantined mail was destroyed: older than quarantine.keep.");
    }
    Ok(())
}

/// The digest for the security team.
async fn tell(gateway: &Gateway) {
    if let Err(error) = alert::digest(gateway, &gateway.snapshot(), clock::now()).await {
        tracing::warn!(%error, "the digest for the security team could not be made now.");
    }
}
