//! What has to be done from time to time: warnings of certificates that end, records that are old enough to go, and what
//! killed backups left. Nothing here is on the path of mail, and nothing that fails stops anything.

use super::backup;
use crate::audit::Event;
use crate::clock;
use crate::pipeline::{Gateway, expiry};
use crate::queue::{Removed, remove_final};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether a new day has come.
const PERIOD: Duration = Duration::from_secs(600);

/// Runs until the shutdown: once when the time can be relied on, then once a day (UTC).
pub async fn run(gateway: Arc<Gateway>, mut stopping: watch::Receiver<bool>) {
    let mut done = None;
    loop {
        let now = clock::now();
        let today = now.to_zoned(TimeZone::UTC).date();
        let round = async {
            // After a jump of the clock nothing is told or removed until it is settled (P33).
            if done == Some(today) || !gateway.clock.is_settled() {
                return done;
            }
            daily(&gateway, now).await;
            Some(today)
        };
        done = tokio::select! {
            done = round => done,
            _ = stopping.changed() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = stopping.changed() => return,
        }
    }
}

async fn daily(gateway: &Arc<Gateway>, now: Timestamp) {
    match gateway.queue.set_damaged_aside().await {
        Ok(0) => {}
        Ok(rows) => tracing::error!(rows, "damaged mail was set aside; it waits for an operator."),
        Err(error) => tracing::error!(%error, "the queue could not be looked through for damage."),
    }
    if let Err(error) = expiry::tell(gateway, now).await {
        tracing::error!(%error, "nobody could be told of certificates that end.");
    }
    retain(gateway, now).await;
    backup::clear_left(&gateway.snapshot().config.data_dir);
    tracing::info!("the daily round is done.");
}

/// `store.keep`.
async fn retain(gateway: &Gateway, now: Timestamp) {
    let snapshot = gateway.snapshot();
    let Ok(before) = now.checked_sub(snapshot.config.store_keep) else { return };
    match remove_final(&snapshot.config.database, before.as_microsecond()).await {
        Ok(removed) if removed == Removed::default() => {}
        Ok(removed) => {
            tracing::info!(
                records = removed.records,
                evidence = removed.evidence,
                pages = removed.pages,
                "old records were removed."
            );
            let public = serde_json::json!({
                "records": removed.records, "evidence": removed.evidence, "final_before": before.to_string(),
            });
            let event = Event::Maintenance { name: "records-removed", public };
            if removed.records > 0
                && let Err(error) = gateway.audit.record(vec![event]).await
            {
                tracing::error!(%error, "the audit log could not be told of removed records.");
            }
        }
        Err(error) => tracing::warn!(%error, "old records could not be removed now."),
    }
}
