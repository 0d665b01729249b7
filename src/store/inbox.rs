//! Where callers put what the writer's thread takes: all that is there, at once.
//!
//! A wake-up costs more than a statement. So the thread is woken only when it sleeps, and not by what may wait while it
//! waits for company anyway.

use super::Urgency;
use super::writer::Group;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Both ends of the queue between callers and the writer's thread.
pub(super) fn inbox() -> (Sender, Receiver) {
    let inbox = Arc::new(Inbox {
        state: Mutex::new(State {
            jobs: VecDeque::new(),
            urgent: 0,
            closers: Vec::new(),
            open: true,
            gone: false,
            sleeps: Sleeps::No,
        }),
        wake: Condvar::new(),
        room: Semaphore::new(QUEUE),
    });
    (Sender(Arc::clone(&inbox)), Receiver(inbox))
}

struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    /// Places that are free.
    room: Semaphore,
}

struct State {
    jobs: VecDeque<Box<dyn Group>>,
    /// How many of them may not wait.
    urgent: usize,
    closers: Vec<oneshot::Sender<()>>,
    open: bool,
    /// The thread has ended.
    gone: bool,
    sleeps: Sleeps,
}

/// What the thread sleeps for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleeps {
    No,
    /// Any job.
    Idle,
    /// Jobs that may wait are there: one that may not.
    ForCompany,
}

impl State {
    /// Whether the thread has something to do now.
    fn is_ready(&self) -> bool {
        self.urgent > 0 || self.jobs.len() >= BATCH || !self.open
    }

    /// Whether the thread is to be woken for what came.
    fn wakes(&mut self) -> bool {
        let wakes = match self.sleeps {
            Sleeps::No => false,
            Sleeps::Idle => true,
            Sleeps::ForCompany => self.is_ready(),
        };
        if wakes {
            self.sleeps = Sleeps::No;
        }
        wakes
    }
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets in nobody any more; those who wait for a place hear of it.
    fn shut(&self, closer: Option<oneshot::Sender<()>>) {
        let mut state = self.state();
        state.open = false;
        // Nobody would answer any more: who asks hears that from the other end's absence.
        let gone = state.gone;
        state.closers.extend(closer.filter(|_| !gone));
        let wakes = state.wakes();
        drop(state);
        self.room.close();
        if wakes {
            self.wake.notify_one();
        }
    }
}

/// The callers' end. When it is dropped, the thread ends after what it has accepted.
pub(super) struct Sender(Arc<Inbox>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// Waits for a place; false if the writer is closed.
    pub(super) async fn send(&self, job: Box<dyn Group>) -> bool {
        let Ok(place) = self.0.room.acquire().await else { return false };
        let mut state = self.0.state();
        if !state.open {
            return false;
        }
        // The thread gives the place back when it takes the job.
        place.forget();
        state.urgent += usize::from(job.urgency() == Urgency::Now);
        state.jobs.push_back(job);
        let wakes = state.wakes();
        drop(state);
        if wakes {
            self.0.wake.notify_one();
        }
        true
    }

    /// Returns when the writer has ended after what it had accepted.
    pub(super) async fn close(&self) {
        let (reply, ended) = oneshot::channel();
        self.0.shut(Some(reply));
        // An error means that it is gone already.
        ended.await.ok();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.shut(None);
    }
}

/// The thread's end.
pub(super) struct Receiver(Arc<Inbox>);

impl Receiver {
    /// Sleeps until there is something to do, then takes all that is there, at most [`BATCH`] jobs; nothing when it is
    /// closed and empty. Where all may wait, others get 20 ms to share their flush.
    pub(super) fn take(&self) -> Vec<Box<dyn Group>> {
        let mut state = self.0.state();
        while state.jobs.is_empty() && state.open {
            state.sleeps = Sleeps::Idle;
            state = self.0.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.is_ready() {
            state.sleeps = Sleeps::ForCompany;
            let waited = self.0.wake.wait_timeout_while(state, SOON, |state| !state.is_ready());
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.sleeps = Sleeps::No;
        let count = state.jobs.len().min(BATCH);
        let batch: Vec<Box<dyn Group>> = state.jobs.drain(..count).collect();
        let urgent = batch.iter().filter(|job| job.urgency() == Urgency::Now).count();
        state.urgent = state.urgent.saturating_sub(urgent);
        drop(state);
        self.0.room.add_permits(count);
        batch
    }
}

impl Drop for Receiver {
    /// However the thread ends: callers do not wait for it.
    fn drop(&mut self) {
        self.0.shut(None);
        let mut state = self.0.state();
        state.gone = true;
        let (jobs, closers) = (std::mem::take(&mut state.jobs), std::mem::take(&mut state.closers));
        drop(state);
        drop(jobs);
        for closer in closers {
            // Nobody may be waiting any more.
            closer.send(()).ok();
        }
    }
}

/// Jobs in one transaction. More would keep the first of them waiting without saving flushes.
const BATCH: usize = 256;
/// Jobs that may wait for the writer; further callers wait to hand theirs over.
const QUEUE: usize = 1024;
const SOON: Duration = Duration::from_millis(20);
