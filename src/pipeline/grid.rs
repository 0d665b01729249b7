//! When a reply may leave that could follow a private-key operation: on a fixed grid, counted from the final dot (I60).
//!
//! Good and bad ciphertext cost different time: a signature inside is verified late, a bomb is given up early, and where
//! there is no key nothing is opened at all. On the grid that difference shows only where it crosses a line, and a line is
//! crossed for many other reasons.

use crate::pki::WantedCrls;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The grid's step: above what opening and committing a usual mail takes, below what a sending server notices. As much
/// again for each MiB that was begun, because all work grows with it.
const STEP: Duration = Duration::from_millis(50);

/// The grid of one message.
#[derive(Debug)]
pub(super) struct Grid {
    start: Instant,
    step: Duration,
    applies: AtomicBool,
    /// CRLs that were wanted inside an encrypted layer.
    put_off: Mutex<Vec<WantedCrls>>,
}

impl Default for Grid {
    /// For nobody who waits.
    fn default() -> Self {
        Self::of(0)
    }
}

impl Grid {
    /// From now on, for a message of so many octets.
    pub(super) fn of(octets: usize) -> Self {
        Self { start: Instant::now(), step: step(octets), applies: AtomicBool::new(false), put_off: Mutex::default() }
    }

    /// The reply waits for a line of the grid.
    pub(super) fn apply(&self) {
        self.applies.store(true, Ordering::Release);
    }

    /// Asking for these waits until the reply is out: a server that is asked earlier would learn what a key has found.
    pub(super) fn put_off(&self, wanted: Vec<WantedCrls>) {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted);
    }

    /// What waits for the reply.
    pub(super) fn take_put_off(&self) -> Vec<WantedCrls> {
        std::mem::take(&mut self.put_off.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the next line.
    pub(super) async fn wait(&self) {
        if self.applies.load(Ordering::Acquire) {
            sleep_until(self.start + next_line(self.start.elapsed(), self.step)).await;
        }
    }
}

fn step(octets: usize) -> Duration {
    STEP.saturating_mul(u32::try_from(octets.div_ceil(1 << 20)).unwrap_or(u32::MAX).saturating_add(1))
}

/// The first line at or after `elapsed`; never before the first one.
fn next_line(elapsed: Duration, step: Duration) -> Duration {
    let steps = elapsed.as_nanos().div_ceil(step.as_nanos().max(1)).max(1);
    step.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Grid, STEP, next_line, step};
    use std::time::Duration;

    #[test]
    fn i60_replies_leave_on_the_grid() {
        for (elapsed, line) in [(0, 1), (1, 1), (49, 1), (50, 1), (51, 2), (100, 2), (1234, 25)] {
            assert_eq!(next_line(Duration::from_millis(elapsed), STEP), STEP * line, "{elapsed}");
            assert_eq!(next_line(Duration::from_millis(elapsed * 3), STEP * 3), STEP * 3 * line, "{elapsed}");
        }
    }

    #[test]
    fn i60_the_step_grows_with_the_message() {
        for (octets, steps) in [(0, 1), (1, 2), (1 << 20, 2), ((1 << 20) + 1, 3), (25 << 20, 26)] {
            assert_eq!(step(octets), STEP * steps, "{octets}");
        }
    }

    #[tokio::test]
    async fn i60_only_what_a_key_could_open_waits() {
        let grid = Grid::of(0);
        assert!(tokio::time::timeout(Duration::ZERO, grid.wait()).await.is_ok(), "ready when it is asked first");
        grid.apply();
        grid.wait().await;
        assert!(grid.start.elapsed() >= STEP);
    }
}
