//! When a reply may leave that follows a private-key operation: on a fixed grid, counted from the final dot (I60).
//!
//! Good and bad ciphertext cost different time: padding is found wrong early, a signature inside is verified late. On the
//! grid that difference shows only where it crosses a line, and a line is crossed for many other reasons.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The grid's step: above what opening and committing a usual mail takes, below what a sending server notices.
const STEP: Duration = Duration::from_millis(50);

/// The grid of one message.
#[derive(Debug)]
pub(super) struct Grid {
    start: Instant,
    applies: AtomicBool,
}

impl Default for Grid {
    fn default() -> Self {
        Self { start: Instant::now(), applies: AtomicBool::new(false) }
    }
}

impl Grid {
    /// From now on the reply waits for a line of the grid, if `asked`.
    pub(super) fn applies_if(&self, asked: bool) {
        self.applies.fetch_or(asked, Ordering::Relaxed);
    }

    /// Waits for the next line.
    pub(super) async fn wait(&self) {
        if self.applies.load(Ordering::Relaxed) {
            sleep_until(self.start + next_line(self.start.elapsed())).await;
        }
    }
}

/// The first line at or after `elapsed`; never before the first one.
fn next_line(elapsed: Duration) -> Duration {
    let steps = elapsed.as_nanos().div_ceil(STEP.as_nanos()).max(1);
    STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{STEP, next_line};
    use std::time::Duration;

    #[test]
    fn i60_replies_leave_on_the_grid() {
        for (elapsed, line) in [(0, 1), (1, 1), (49, 1), (50, 1), (51, 2), (100, 2), (1234, 25)] {
            assert_eq!(next_line(Duration::from_millis(elapsed)), STEP * line, "{elapsed}");
        }
    }
}
