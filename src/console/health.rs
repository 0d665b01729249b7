//! Whether the gateway can take mail, and what somebody should look at.

use super::Watched;
use crate::clock;
use crate::inbound;
use crate::pipeline::Gateway;
use crate::queue::Counts;
use crate::store::{Tx, TxError, Write};
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

/// How long the store may take before the gateway counts as unwell.
const PATIENCE: Duration = Duration::from_secs(1);

/// What `/health` says. Names of keys and of words stay; new ones may come.
#[derive(Debug, Serialize)]
pub struct Health {
    /// The most important one.
    pub status: Status,
    /// What lies in the queue, if the store says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Counts>,
    /// Whether the store reads and writes: `ok`, `failed` or `slow` (more than a second).
    pub store: &'static str,
    /// Whether there is more space than `limits.free_space`: `ok` or `full`.
    pub disk: &'static str,
    /// Whether every listener listens: `ok` or `closed`.
    pub listeners: &'static str,
    /// CRLs.
    pub crls: Crls,
    /// `settled`, or `jumped` for some minutes after the time of day has jumped.
    pub clock: &'static str,
    /// The emergency bypass of signing, if one is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypassed>,
}

/// A bypass that is in force.
#[derive(Debug, Serialize)]
pub struct Bypassed {
    /// When it ends by itself; RFC 3339.
    pub until: String,
}

/// Where CRLs come from.
#[derive(Debug, Serialize)]
pub struct Crls {
    /// The places whose last answer was no good, or that have no current CRL.
    pub failing: Vec<String>,
}

/// In one word. From `Draining` on, the answer is 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// Mail is taken, but a source of CRLs fails, the clock has jumped, signing is bypassed or stored mail is damaged.
    Degraded,
    /// The gateway stops.
    Draining,
    /// A listener does not listen.
    ListenerClosed,
    /// Clients hear 452: less space is left than `limits.free_space`.
    DiskFull,
    /// The store does not answer within a second.
    StoreSlow,
    /// The store answers with an error.
    StoreFailed,
}

impl Health {
    /// Whether mail can be taken.
    pub fn is_ready(&self) -> bool {
        self.status < Status::Draining
    }
}

/// Looks at everything.
pub(super) async fn look(watched: &Watched) -> Health {
    let gateway = &watched.gateway;
    let (queue, store) = match timeout(PATIENCE, store(gateway)).await {
        Ok(Some(counts)) => (Some(counts), "ok"),
        Ok(None) => (None, "failed"),
        Err(_) => (None, "slow"),
    };
    let config = &gateway.snapshot().config;
    let floor = config.limits.free_space;
    let full = floor > 0 && inbound::free_space(&config.data_dir).is_some_and(|(free, _)| free < floor);
    let failing = gateway.revocation.failing(clock::now());
    let settled = gateway.clock.is_settled();
    let listening = watched.listening.are_all();
    let bypass = gateway.bypass_until();
    let damaged = queue.is_some_and(|counts| counts.damaged > 0);
    let draining = *watched.draining.borrow();
    let status = match store {
        "failed" => Status::StoreFailed,
        "slow" => Status::StoreSlow,
        _ if draining => Status::Draining,
        _ if full => Status::DiskFull,
        _ if !listening => Status::ListenerClosed,
        _ if !failing.is_empty() || !settled || bypass.is_some() || damaged => Status::Degraded,
        _ => Status::Ok,
    };
    Health {
        status,
        queue,
        store,
        disk: if full { "full" } else { "ok" },
        listeners: if listening { "ok" } else { "closed" },
        crls: Crls { failing },
        clock: if settled { "settled" } else { "jumped" },
        bypass: bypass.map(|until| Bypassed { until: until.to_string() }),
    }
}

/// Whether the store really answers: readers and the writer, within a second.
pub async fn store_answers(gateway: &Gateway) -> bool {
    matches!(timeout(PATIENCE, store(gateway)).await, Ok(Some(_)))
}

async fn store(gateway: &Gateway) -> Option<Counts> {
    let counts = gateway.queue.counts().await;
    let counts = counts.inspect_err(|error| tracing::error!(%error, "the store cannot be read.")).ok()?;
    let turn = gateway.store.write(Turn).await;
    turn.inspect_err(|error| tracing::error!(%error, "the store cannot be written to.")).ok()?;
    Some(counts)
}

/// Writes nothing: shows that the writer takes its jobs and begins and ends transactions.
struct Turn;

impl Write for Turn {
    type Output = ();

    fn apply(&self, _tx: &mut Tx<'_>) -> Result<(), TxError> {
        Ok(())
    }
}
