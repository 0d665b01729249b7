//! Tells the security team of mail that is held for it, in the transaction that holds it; many at once become a digest.

use super::{Gateway, Snapshot};
use crate::audit::Event;
use crate::mail::{Address, RecipientDsn, ReversePath};
use crate::plan::Transformed;
use crate::plan::alert::{AlertRequest, HeldMail, alert, to_recipients};
use crate::policy::HoldClass;
use crate::queue::{Alarm, Direction, NewRecipient, NewRecord, NewState, Postponed, QueueError, QueueId, Taken};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Notices within [`WINDOW`] before the rest comes as a digest: nobody reads more.
const NOTICES: usize = 20;
/// For so long; and so often a digest.
const WINDOW: Duration = Duration::from_secs(600);
/// Mails that one digest names.
const NAMED: usize = 200;

/// When the last notices left.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<VecDeque<Timestamp>>);

impl Pace {
    /// Whether one may leave now; then it counts.
    fn take(&self, now: Timestamp) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = now.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
        // A clock that was set back must not silence the gateway.
        left.retain(|at| *at > begins && *at <= now);
        let free = left.len() < NOTICES;
        if free {
            left.push_back(now);
        }
        free
    }
}

/// Whether the team hears of mail that is held as this: not of what only waits.
pub(super) fn is_told(class: HoldClass) -> bool {
    matches!(class, HoldClass::Quarantine | HoldClass::SignerRevoked)
}

/// What is told of a record that is about to be stored.
pub(super) fn of(gateway: &Gateway, snapshot: &Snapshot, record: &NewRecord, now: Timestamp) -> Alarm {
    let mut held = HeldMail {
        id: record.id.to_string(),
        incoming: record.direction == Direction::Incoming,
        class: "",
        reasons: Vec::new(),
        reverse_path: path_text(&record.reverse_path),
        from: record.header_from.as_ref().map(|from| from.as_str().to_owned()),
        recipients: Vec::new(),
        received: record.received,
    };
    for recipient in &record.recipients {
        if let NewState::Held { class, reasons } = &recipient.state
            && is_told(*class)
        {
            held.class = class.name();
            held.reasons.extend(reasons);
            held.recipients.push(recipient.address.as_str().to_owned());
        }
    }
    held.reasons.sort_unstable();
    held.reasons.dedup();
    alarm(gateway, snapshot, record.direction, held, now)
}

/// What is told of recipients of mail that was taken before and is held for the team from now on.
pub(super) fn of_taken(
    gateway: &Gateway,
    snapshot: &Snapshot,
    taken: &Taken,
    class: HoldClass,
    places: &[usize],
    reasons: &[crate::reason::Reason],
    now: Timestamp,
) -> Alarm {
    let mut held = described(taken);
    held.class = class.name();
    held.reasons = reasons.to_vec();
    let addresses = places.iter().filter_map(|place| taken.recipients.get(*place));
    held.recipients = addresses.map(|one| one.address.as_str().to_owned()).collect();
    if !is_told(class) {
        held.recipients.clear();
    }
    alarm(gateway, snapshot, taken.direction, held, now)
}

fn alarm(gateway: &Gateway, snapshot: &Snapshot, direction: Direction, held: HeldMail, now: Timestamp) -> Alarm {
    let config = &snapshot.config;
    let team = !config.notify.security.is_empty();
    let recipients = config.tell_recipients && held.incoming;
    if direction == Direction::Notice || held.recipients.is_empty() || !(team || recipients) {
        return Alarm::default();
    }
    if !gateway.pace.take(now) {
        // Nobody else is told of a flood.
        return Alarm { notices: Vec::new(), later: team };
    }
    let about = QueueId::parse(&held.id);
    let mut alarm = Alarm::default();
    if recipients {
        alarm.notices.extend(told(snapshot, &held, about.clone(), now));
    }
    if team {
        alarm.notices.push(notice(snapshot, &[held], 0, about, now));
    }
    alarm
}

/// What recipients inside hear of it: one copy that names none of them.
fn told(snapshot: &Snapshot, held: &HeldMail, about: Option<QueueId>, now: Timestamp) -> Option<NewRecord> {
    let config = &snapshot.config;
    let own = |address: &Address| config.policy.domain(address.domain()).is_some();
    let addresses = held.recipients.iter().filter_map(|text| Address::parse(text).ok()).filter(own);
    let recipients: Vec<NewRecipient> = addresses.map(|address| recipient(snapshot, &address)).collect();
    let id = QueueId::random();
    let message_id = format!("{id}@{}", config.hostname);
    let one = std::slice::from_ref(held);
    let request =
        AlertRequest { hostname: &config.hostname, to: &[], now, held: one, more: 0, message_id: &message_id };
    let content = to_recipients(&request, config.notify.postmaster.as_str());
    let event = |to: &NewRecipient| Event::Notice {
        queue_id: Some(id.to_string()),
        about: held.id.clone(),
        to: Some(to.address.clone()),
    };
    let events = recipients.iter().map(event).collect();
    (!recipients.is_empty()).then(|| record(id.clone(), &message_id, content, recipients, about, events, now))
}

pub(super) fn recipient(snapshot: &Snapshot, address: &Address) -> NewRecipient {
    NewRecipient {
        next_hop: snapshot.config.next_hop(address.domain()),
        address: address.clone(),
        dsn: RecipientDsn::default(),
        state: NewState::Pending { copy: 0 },
    }
}

/// As the digest names it: whoever of it is still held for the team.
fn described(taken: &Taken) -> HeldMail {
    let mut held = HeldMail {
        id: taken.id.to_string(),
        incoming: taken.direction == Direction::Incoming,
        class: HoldClass::Quarantine.name(),
        reasons: Vec::new(),
        reverse_path: path_text(&taken.reverse_path),
        from: taken.header_from.clone(),
        recipients: Vec::new(),
        received: taken.received,
    };
    for recipient in &taken.recipients {
        for class in [HoldClass::Quarantine, HoldClass::SignerRevoked] {
            if recipient.is_held(class) {
                held.class = class.name();
                held.reasons.extend(&recipient.reasons);
                held.recipients.push(recipient.address.as_str().to_owned());
            }
        }
    }
    held.reasons.sort_unstable();
    held.reasons.dedup();
    held
}

fn path_text(path: &ReversePath) -> String {
    path.mailbox().map(|address| address.as_str().to_owned()).unwrap_or_default()
}

/// Sends the digest when its time has come: of what was held while too many notices left.
pub(super) async fn digest(gateway: &Gateway, snapshot: &Snapshot, now: Timestamp) -> Result<(), QueueError> {
    let waiting = gateway.queue.postponed().await?;
    let Some(first) = waiting.first() else { return Ok(()) };
    let due = first.since.checked_add(WINDOW).is_ok_and(|due| due <= now);
    if !due && first.since <= now {
        return Ok(());
    }
    let mut held = Vec::new();
    for one in waiting.iter().take(NAMED) {
        let described = described(&gateway.queue.taken(&one.id).await?);
        if !described.recipients.is_empty() {
            held.push(described);
        }
    }
    let told = !held.is_empty() && !snapshot.config.notify.security.is_empty();
    let more = waiting.len().saturating_sub(NAMED);
    let named: &[Postponed] = &waiting;
    let record = told.then(|| notice(snapshot, &held, more, None, now));
    gateway.queue.digest(named, record).await
}

/// The record that carries a notice to the team: from nobody.
fn notice(snapshot: &Snapshot, held: &[HeldMail], more: usize, about: Option<QueueId>, now: Timestamp) -> NewRecord {
    let config = &snapshot.config;
    let id = QueueId::random();
    let message_id = format!("{id}@{}", config.hostname);
    let to: Vec<String> = config.notify.security.iter().map(|address| address.as_str().to_owned()).collect();
    let request = AlertRequest { hostname: &config.hostname, to: &to, now, held, more, message_id: &message_id };
    let recipients = config.notify.security.iter().map(|address| recipient(snapshot, address)).collect();
    let events: Vec<Event> = held
        .iter()
        .map(|one| Event::Notice {
            queue_id: Some(id.to_string()),
            about: one.id.clone(),
            to: config.notify.security.first().cloned(),
        })
        .collect();
    record(id, &message_id, alert(&request), recipients, about, events, now)
}

fn record(
    id: QueueId,
    message_id: &str,
    content: Transformed,
    recipients: Vec<NewRecipient>,
    notice_for: Option<QueueId>,
    events: Vec<Event>,
    now: Timestamp,
) -> NewRecord {
    let notice = NewRecord::notice(id, message_id, content, recipients, "held-notice", now);
    NewRecord { notice_for, events, ..notice }
}

#[cfg(test)]
mod tests {
    use super::{NOTICES, Pace};
    use jiff::Timestamp;

    #[test]
    fn p32_more_than_twenty_in_ten_minutes_come_as_a_digest() {
        let pace = Pace::default();
        let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
        assert!((0..NOTICES).all(|_| pace.take(at(0))));
        assert!(!pace.take(at(1)) && !pace.take(at(599)));
        assert!(pace.take(at(600)));
        // The clock was set back: what left in the future counts no more.
        assert!(pace.take(at(-7200)));
    }
}
