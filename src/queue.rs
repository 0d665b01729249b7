//! The durable queue: record, hand out, settle, hold. `docs/queue.md` has states, transitions and the crash table.
//!
//! Takes finished mail only ([`Transformed`]), stores it sealed, and hands it out under leases. Never transforms mail and
//! never speaks SMTP. Failure policy: what cannot be committed is an error and leaves nothing; what cannot be opened any
//! more is set aside and reported, never dropped.

mod claim;
mod commit;
mod content;
mod damage;
mod hold;
mod id;
mod list;
mod notice;
mod operator;
mod record;
mod recover;
mod release;
mod reroute;
mod retention;
mod rotation;
pub mod settle;
mod settlement;

pub use content::KEPT_FOR_BACKUP;
pub use hold::Hold;
pub use id::QueueId;
pub use list::{
    Counts, EvidenceBundle, EvidenceFile, Filter, Page, RecipientView, RecordView, ReleasedView, Shown, Stock,
};
pub use notice::Notices;
pub use operator::{Change, ChangeError, Changed, OperatorRequest, RESTORED};
pub use record::{Delivery, DeliveryRecipient, Direction, NewCopy, NewRecipient, NewRecord, NewState};
pub use release::{Alarm, Becomes, Postponed, Step, Taken, TakenRecipient};
pub use retention::{Removed, remove_final};
pub use rotation::rewrap;
pub use settle::{Outcome, RecipientRecord, Schedule, Settlement, Via};

use crate::audit::Audit;
use crate::clock::Watch;
use crate::config::NextHop;
use crate::pki::Crl;
#[cfg(doc)]
use crate::plan::Transformed;
use crate::seal::{MasterKey, SealError};
use crate::store::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// How long mail that has come into memory waits for its next hop, however late it is: as long as a greeting may take (RFC 5321
/// section 4.5.3.2.1).
const LAST_TRY: Duration = Duration::from_secs(300);

/// The queue of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("folder", &self.0.folder).finish_non_exhaustive()
    }
}

struct Shared {
    store: Store,
    master: Arc<MasterKey>,
    audit: Audit,
    folder: PathBuf,
    terms: RwLock<Arc<Terms>>,
    work: Notify,
    holds: Arc<hold::Holds>,
    clock: Arc<Watch>,
    /// Digests of CRLs that were evidence lately: a CRL can be large, and it is the same one for hours.
    crl_digests: Mutex<Vec<(Crl, [u8; 32])>>,
}

/// What a reload changes.
struct Terms {
    schedule: Schedule,
    notices: Notices,
}

/// Why the queue did not do it.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A content file cannot be written or read.
    #[error("content file `{path}` cannot be written or read")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Stored content does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No such record.
    #[error("no mail `{0}` in the queue")]
    NotFound(QueueId),
    /// The content's key was destroyed when its last recipient became final.
    #[error("the content of `{0}` is destroyed: all its recipients are final")]
    Destroyed(QueueId),
    /// The lease ended or was taken over: nothing was changed.
    #[error("the lease on `{0}` is no longer held")]
    LeaseLost(QueueId),
    /// A row that this program cannot have written.
    #[error("row `{row}`: {problem}")]
    Row {
        /// Which row.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A task of the runtime was stopped.
    #[error("the work was interrupted")]
    Interrupted,
}

impl QueueError {
    /// Whether there is no space: 452 4.3.1; everything else is 451 4.3.0.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Store(error) => error.is_full(),
            Self::File { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

impl QueueError {
    /// Whether the store itself is in trouble, which passes: no other mail would fare better now.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Store(error) => error.is_temporary(),
            Self::File { .. } => true,
            _ => false,
        }
    }
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Queue {
    /// The queue over a store. Large content lies in `data_dir/content`. [`Self::recover`] comes before the first claim.
    pub fn new(
        store: Store,
        master: Arc<MasterKey>,
        audit: Audit,
        data_dir: &Path,
        schedule: Schedule,
        notices: Notices,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            master,
            audit,
            folder: data_dir.join("content"),
            terms: RwLock::new(Arc::new(Terms { schedule, notices })),
            work: Notify::new(),
            holds: hold::Holds::new(),
            clock: Arc::default(),
            crl_digests: Mutex::new(Vec::new()),
        }))
    }

    /// Lets deliveries hold so many octets of content in memory; 64 MiB if that is more. Beyond it, mail waits in the
    /// store and is claimed later.
    #[must_use]
    pub fn hold_at_most(self, octets: usize) -> Self {
        self.0.holds.limit_octets(octets);
        self
    }

    /// Whether a next hop has greeted lately: until it has, only some mail for it is taken into memory.
    pub fn set_proven(&self, next_hop: &NextHop, proven: bool) {
        self.0.holds.set_proven(next_hop, proven);
    }

    /// Whether outcomes can be settled: not after the store has met damage, until the next start.
    pub fn can_settle(&self) -> bool {
        !self.0.store.is_damaged()
    }

    /// How long until this mail is given up. After a jump of the clock nobody can say: then it is not. What expired while
    /// nobody tried (the gateway was off, or starts with a clock that is ahead) has one more try.
    pub fn time_left(&self, delivery: &Delivery) -> Duration {
        if !self.0.clock.is_settled() {
            return Duration::MAX;
        }
        let left = self.0.terms().schedule.expiry(delivery.received).duration_since(crate::clock::now());
        Duration::try_from(left).unwrap_or_default().max(LAST_TRY.saturating_sub(delivery.hold.age()))
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> Arc<Watch> {
        Arc::clone(&self.0.clock)
    }

    /// Takes other times, names and routes from now on, after a reload. [`Self::reroute`] applies them to what waits.
    pub fn set_terms(&self, schedule: Schedule, notices: Notices) {
        let terms = Arc::new(Terms { schedule, notices });
        *self.0.terms.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    /// Returns when something may have become due: a notice was made, an operator asked for a retry.
    pub async fn woken(&self) {
        self.0.work.notified().await;
    }
}

impl Shared {
    fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lease_micros(&self) -> i64 {
        i64::try_from(self.terms().schedule.lease.as_micros()).unwrap_or(i64::MAX)
    }
}

/// The time by the database's clock, in microseconds: leases are compared in it.
const DB_NOW: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

#[cfg(test)]
mod tests;
