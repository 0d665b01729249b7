//! How the server stops: it says so, closes its listeners, lets what is under way end, and closes the store.

use super::Running;
use crate::{metrics, systemd};
use std::future::Future;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long sessions and deliveries in progress may take to end: their own grace of 30 s, and time to say so.
const DRAIN: Duration = Duration::from_secs(40);
/// How often the log says what is waited for.
const SAY: Duration = Duration::from_secs(5);
/// How long the pages may take to end.
const PAGES: Duration = Duration::from_secs(3);

impl Running {
    /// Ends sessions and deliveries, at most within the drain time, then closes the store. Cut short when `hurry` returns: what
    /// was under way then is taken up at the next start.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        let delay = self.gateway.snapshot().config.drain_delay;
        let (sessions, deliveries) = metrics::busy();
        tracing::info!(sessions, deliveries, "draining.");
        systemd::stopping("draining");
        // Nobody listens only when every task has ended already.
        self.draining.send_replace(true);
        tokio::select! {
            () = self.drain(delay) => {}
            () = hurry => tracing::warn!("told to stop a second time: what is under way is cut off; the next start takes it up."),
        }
        self.tasks.shutdown().await;
        // Before the store is closed: what is asked for until then is answered.
        self.end.send_replace(true);
        if timeout(PAGES, &mut self.pages).await.is_err() {
            self.pages.abort();
        }
        self.gateway.close().await;
        tracing::info!("stopped.");
    }

    async fn drain(&mut self, delay: Duration) {
        if !delay.is_zero() {
            tracing::info!(
                seconds = delay.as_secs(),
                "/health says 503; the listeners close after gateway.drain_delay."
            );
            sleep(delay).await;
        }
        self.shutdown.send_replace(true);
        let ended = async {
            let mut say = interval(SAY);
            say.set_missed_tick_behavior(MissedTickBehavior::Delay);
            say.tick().await;
            loop {
                tokio::select! {
                    ended = self.tasks.join_next() => match ended {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => tracing::error!(%error, "a part broke down."),
                        None => return,
                    },
                    _ = say.tick() => {
                        let (sessions, deliveries) = metrics::busy();
                        tracing::info!(sessions, deliveries, "waiting for sessions and deliveries to end.");
                        systemd::status(&format!("draining: {sessions} sessions, {deliveries} deliveries"));
                    }
                }
            }
        };
        if timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("not everything ended within {} s.", DRAIN.as_secs());
        }
    }
}
