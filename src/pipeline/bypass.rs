//! Watches over the emergency bypass: ends it in time, tells the security team, and keeps the log from forgetting it.

use super::{Gateway, Snapshot, alert};
use crate::audit::Event;
use crate::bypass::{PERIOD, Status, Untold};
use crate::clock;
use crate::mail::Address;
use crate::plan::alert::{BypassNotice, bypass};
use crate::queue::{Alarm, NewRecord, QueueId};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the log says that one is in force.
const REMINDED: Duration = Duration::from_secs(3600);

/// Runs until the shutdown.
pub async fn run(gateway: Arc<Gateway>, mut stopping: watch::Receiver<bool>) {
    let mut reminded: Option<(Instant, Vec<String>)> = None;
    loop {
        round(&gateway).await;
        let in_force = gateway.bypass.list();
        let ids: Vec<String> = in_force.iter().map(|status| status.id.clone()).collect();
        reminded = match reminded {
            // One more is told at once.
            Some((at, known)) if at.elapsed() < REMINDED => {
                in_force.iter().filter(|status| !known.contains(&status.id)).for_each(remind);
                Some((at, ids))
            }
            _ => {
                in_force.iter().for_each(remind);
                Some((Instant::now(), ids))
            }
        };
        tokio::select! {
            () = gateway.bypass.changed() => {}
            () = tokio::time::sleep(PERIOD) => {}
            _ = stopping.changed() => return,
        }
    }
}

fn remind(status: &Status) {
    let domain = status.domain.as_deref().unwrap_or("all own domains");
    tracing::warn!(domain, until = %status.until, operator = %status.operator, reason = %status.reason,
        "an emergency bypass is in force: mail leaves unsigned.");
}

async fn round(gateway: &Arc<Gateway>) {
    if let Err(error) = gateway.bypass.tick(clock::now()).await {
        tracing::error!(%error, "the state of the emergency bypass could not be stored.");
    }
    for untold in gateway.bypass.untold() {
        if untold.ended {
            let domain = untold.status.domain.as_deref().unwrap_or("all own domains");
            let by = untold.status.ended_by.as_deref().unwrap_or_default();
            tracing::warn!(domain, by, "an emergency bypass has ended: mail leaves signed again.");
        }
        let (record, snapshot) = (notice(&gateway.snapshot(), &untold, clock::now()), gateway.snapshot());
        if let Err(error) = gateway.commit(record, Alarm::default()).await {
            let to = snapshot.config.notify.postmaster.as_str();
            tracing::error!(%error, to, "nobody could be told of the emergency bypass; tried again.");
            return;
        }
        if let Err(error) = gateway.bypass.told(&untold).await {
            tracing::error!(%error, "who was told of the emergency bypass could not be stored.");
            return;
        }
    }
}

/// Who hears of it: the security team; where none is named, the postmaster: it is an alarm.
fn hearers(snapshot: &Snapshot) -> &[Address] {
    let notify = &snapshot.config.notify;
    if notify.security.is_empty() { std::slice::from_ref(&notify.postmaster) } else { &notify.security }
}

fn notice(snapshot: &Snapshot, untold: &Untold, now: Timestamp) -> NewRecord {
    let config = &snapshot.config;
    let id = QueueId::random();
    let message_id = format!("{id}@{}", config.hostname);
    let to: Vec<String> = hearers(snapshot).iter().map(|address| address.as_str().to_owned()).collect();
    let status = &untold.status;
    let content = bypass(&BypassNotice {
        hostname: &config.hostname,
        to: &to,
        now,
        message_id: &message_id,
        domain: status.domain.as_deref(),
        started: &status.started,
        until: &status.until,
        operator: &status.operator,
        reason: &status.reason,
        ended_by: status.ended_by.as_deref().filter(|_| untold.ended),
    });
    let recipients = hearers(snapshot).iter().map(|address| alert::recipient(snapshot, address)).collect();
    let event = Event::Notice {
        queue_id: Some(id.to_string()),
        about: format!("bypass {}", status.id),
        to: hearers(snapshot).first().cloned(),
    };
    NewRecord { events: vec![event], ..NewRecord::notice(id, &message_id, content, recipients, "bypass-notice", now) }
}
