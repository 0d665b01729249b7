//! Whether there is room on the disk for another mail (S65): looked at once a second at most.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(1);

/// What was seen last. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub(super) struct Space {
    start: Instant,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Milliseconds since the start, from which on the disk is looked at again.
    again: AtomicU64,
    short: AtomicBool,
}

impl Default for Space {
    fn default() -> Self {
        Self { start: Instant::now(), seen: Arc::default() }
    }
}

impl Space {
    /// Whether fewer than `floor` octets are free where `directory` lies. 0: nobody looks. What can't be seen is no reason
    /// to refuse mail: the store says it when it is full.
    pub(super) fn is_short(&self, directory: &Path, floor: u64) -> bool {
        if floor == 0 {
            return false;
        }
        let now = millis(self.start.elapsed());
        let again = self.seen.again.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(FRESH));
        let mine = || self.seen.again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if now >= again && mine() {
            let short = free_space(directory).is_some_and(|(free, _)| free < floor);
            if short != self.seen.short.swap(short, Ordering::Relaxed) {
                match short {
                    true => tracing::error!(?directory, floor, "too little space is left: no mail is taken."),
                    false => tracing::info!(?directory, "there is space again."),
                }
            }
        }
        self.seen.short.load(Ordering::Relaxed)
    }
}

/// Octets that are free where `directory` lies, for who is not root, and the size of that file system.
pub fn free_space(directory: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(directory).ok()?;
    Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Space;
    use std::path::Path;

    #[test]
    fn s65_a_floor_of_free_space() {
        for (floor, short) in [(0, false), (1, false), (u64::MAX, true)] {
            assert_eq!(Space::default().is_short(Path::new("/"), floor), short, "{floor}");
        }
        assert!(!Space::default().is_short(Path::new("/no/such/place"), 1));
        // The answer is good for a second.
        let space = Space::default();
        assert!(space.is_short(Path::new("/"), u64::MAX) && space.is_short(Path::new("/"), 1));
    }
}
