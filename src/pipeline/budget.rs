//! Memory for making copies: signing and encrypting keep a mail several times, for every recipient who is not named in it
//! once more. All messages together have one budget; who finds no room is told at once, or waits where nobody may see why.

use crate::policy::{Decided, Form, Side, Treatment};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is below needs no room: the many small mails never wait for one another.
const SMALL: usize = 1 << 20;
/// Octets of one permit.
const STEP: usize = 1 << 10;

/// What is free, in KiB: for everybody, and of that four fifths for the outside, so that strangers never keep the inside
/// from sending (S65).
#[derive(Clone, Debug)]
pub(super) struct Budget {
    all: Share,
    outside: Share,
}

#[derive(Clone, Debug)]
struct Share {
    free: Arc<Semaphore>,
    size: u32,
}

/// Room for one message; given back when dropped.
#[derive(Debug, Default)]
pub struct Room {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Share {
    fn new(octets: usize) -> Self {
        let size = u32::try_from(octets / STEP).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(permits)), size }
    }
}

impl Budget {
    pub(super) fn new(octets: usize) -> Self {
        Self { all: Share::new(octets), outside: Share::new(octets - octets / 5) }
    }

    /// Octets that are taken.
    pub(super) fn held(&self) -> usize {
        let size = usize::try_from(self.all.size).unwrap_or(usize::MAX);
        size.saturating_sub(self.all.free.available_permits()).saturating_mul(STEP)
    }

    fn shares(&self, side: Side) -> impl Iterator<Item = &Share> {
        [(side == Side::Outside).then_some(&self.outside), Some(&self.all)].into_iter().flatten()
    }

    /// What is larger than the whole takes the whole.
    fn permits(&self, side: Side, octets: usize) -> Option<u32> {
        let most = self.shares(side).map(|share| share.size).min().unwrap_or(1);
        (octets >= SMALL).then(|| u32::try_from(octets.div_ceil(STEP)).unwrap_or(u32::MAX).min(most))
    }

    /// Room for so many octets, if there is some now.
    pub(super) fn take(&self, side: Side, octets: usize) -> Option<Room> {
        let Some(permits) = self.permits(side, octets) else { return Some(Room::default()) };
        let taken = self.shares(side).map(|share| Arc::clone(&share.free).try_acquire_many_owned(permits).ok());
        Some(Room { _permits: taken.collect::<Option<_>>()? })
    }

    /// Likewise; waits for it. `None` only when the gateway has ended.
    pub(super) async fn wait(&self, side: Side, octets: usize) -> Option<Room> {
        let Some(permits) = self.permits(side, octets) else { return Some(Room::default()) };
        let mut taken = Vec::new();
        for share in self.shares(side) {
            taken.push(Arc::clone(&share.free).acquire_many_owned(permits).await.ok()?);
        }
        Some(Room { _permits: taken })
    }
}

/// Octets that making and storing the copies of a mail takes at most: the mail itself four times over (as it came, apart, put
/// together, sealed), and for each encrypted copy three times (encrypted, encoded, sealed).
pub(super) fn estimate(content: usize, decided: &Decided) -> usize {
    let encrypted = decided.recipients().iter().filter_map(|recipient| match &recipient.treatment {
        Treatment::Deliver(Form::Encrypted(to)) => Some(to.hidden),
        _ => None,
    });
    octets(content, encrypted)
}

/// `hidden` for each recipient of an encrypted copy: each hidden one has his own, the others share one.
fn octets(content: usize, hidden: impl Iterator<Item = bool>) -> usize {
    let (mut alone, mut together) = (0_usize, 0);
    hidden.for_each(|hidden| if hidden { alone += 1 } else { together = 1 });
    let times = alone.saturating_add(together).saturating_mul(3).saturating_add(4);
    content.saturating_mul(times)
}

#[cfg(test)]
mod tests {
    use super::{Budget, octets};
    use crate::policy::Side::{Inside, Outside};
    use std::time::Duration;
    use tokio::time::timeout;

    const MIB: usize = 1 << 20;

    #[test]
    fn s14_encrypted_copies_count_each_hidden_recipient_and_the_others_once() {
        for (hidden, expected) in [
            (&[][..], 4),
            (&[false], 7),
            (&[false, false, false], 7),
            (&[true], 7),
            (&[true, true, false, false], 13),
            (&[true; 7], 25),
        ] {
            assert_eq!(octets(MIB, hidden.iter().copied()), expected * MIB, "{hidden:?}");
        }
        assert_eq!(octets(usize::MAX / 2, [true].into_iter()), usize::MAX);
    }

    #[test]
    fn s14_copies_of_all_messages_together_have_one_budget() {
        let budget = Budget::new(10 * MIB);
        let first = budget.take(Inside, 6 * MIB).unwrap();
        assert!(budget.take(Inside, 5 * MIB).is_none());
        let second = budget.take(Inside, 4 * MIB).unwrap();
        assert!(budget.take(Inside, MIB).is_none());
        assert!(budget.take(Inside, MIB - 1).is_some(), "small mail needs no room");
        drop((first, second));
        // Larger than the whole: then alone.
        let whole = budget.take(Inside, usize::MAX).unwrap();
        assert!(budget.take(Inside, MIB).is_none());
        drop(whole);
        assert!(budget.take(Inside, 10 * MIB).is_some());
    }

    #[test]
    fn s65_the_outside_leaves_room_to_the_inside() {
        let budget = Budget::new(10 * MIB);
        let stranger = budget.take(Outside, usize::MAX).unwrap();
        assert!(budget.take(Outside, MIB).is_none());
        let inside = budget.take(Inside, 2 * MIB).unwrap();
        assert!(budget.take(Inside, MIB).is_none());
        drop(stranger);
        // What was refused for want of the second share has given the first one back.
        let (first, second) = (budget.take(Outside, 8 * MIB), budget.take(Inside, MIB));
        assert!(first.is_some() && second.is_none());
        drop((first, inside));
        assert!(budget.take(Inside, 10 * MIB).is_some());
    }

    #[tokio::test]
    async fn i60_mail_for_which_a_key_was_asked_waits_for_room() {
        let budget = Budget::new(10 * MIB);
        let taken = budget.take(Outside, 8 * MIB).unwrap();
        let mut waiting = Box::pin(budget.wait(Outside, 3 * MIB));
        assert!(timeout(Duration::from_millis(10), &mut waiting).await.is_err());
        drop(taken);
        assert!(waiting.await.is_some());
        assert!(budget.take(Inside, 10 * MIB).is_some(), "and gives it back");
    }
}
