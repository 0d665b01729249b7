//! The keys that may open one message: own keys, for their owners among its recipients and for nobody else.

use super::super::grid::Grid;
use super::super::{Gateway, Snapshot};
use super::same_mailbox;
use crate::cms::recipient_info::Recipient;
use crate::keys::{KeyBackend, KeyEntry};
use crate::mail::{Address, Envelope};
use crate::policy::RecipientFacts;
use crate::smime::inspect::ContentKey;
use std::collections::HashSet;
use std::sync::Arc;

/// The keys that may open one message, and what was done with them.
pub(super) struct Keyring {
    /// Nothing: no key may.
    envelope: Option<Envelope>,
    /// The keys that were asked.
    pub(super) asked: Vec<KeyEntry>,
    pub(super) grid: Arc<Grid>,
    /// An encrypted layer was reached: whatever comes now may come from inside it.
    pub(super) opened: bool,
}

impl Keyring {
    pub(super) fn new(envelope: Option<Envelope>, grid: &Arc<Grid>) -> Self {
        Self { envelope, asked: Vec::new(), grid: Arc::clone(grid), opened: false }
    }

    /// A candidate for each key of a recipient that a RecipientInfo names. A key is asked once: a second RecipientInfo for it
    /// could only serve to compare answers (I62).
    pub(super) fn content_keys(
        &mut self,
        gateway: &Gateway,
        snapshot: &Snapshot,
        recipients: &[Recipient],
        length: usize,
    ) -> Vec<ContentKey> {
        // Before any key acts: what comes after, were it a deadline or a broken worker, must not tell when.
        self.grid.apply();
        self.opened = true;
        let Some(envelope) = &self.envelope else { return Vec::new() };
        let mut shares = Shares::of(&envelope.recipients, snapshot.limits.content_keys);
        let mut known = HashSet::new();
        let mut found: Vec<ContentKey> = Vec::new();
        for recipient in recipients {
            for entry in gateway.keys.for_recipient(&recipient.identifier) {
                if known.contains(&entry.id) || !shares.take(&entry.addresses) {
                    continue;
                }
                if found.len() >= snapshot.limits.recipients {
                    return found;
                }
                // A key that is not there, or can't do this at all: everybody can see that from outside.
                let Ok(octets) = gateway.keys.content_key(&entry.id, &recipient.sealed, length) else { continue };
                known.insert(entry.id.clone());
                found.push(ContentKey { key: entry.id.clone(), octets });
                if !self.asked.iter().any(|known| known.id == entry.id) {
                    self.asked.push(entry);
                }
            }
        }
        found
    }
}

/// How many keys may still be asked for each recipient of the envelope: what is sealed for one takes nothing from another.
struct Shares<'a> {
    left: Vec<(&'a Address, usize)>,
}

impl<'a> Shares<'a> {
    fn of(recipients: &'a [Address], each: usize) -> Self {
        Self { left: recipients.iter().map(|address| (address, each)).collect() }
    }

    /// Counts a key for everybody whose it is; whether there is such a recipient with something left.
    fn take(&mut self, owners: &[Address]) -> bool {
        let mut taken = false;
        for (address, left) in &mut self.left {
            if *left > 0 && same_mailbox(owners, address) {
                *left -= 1;
                taken = true;
            }
        }
        taken
    }
}

/// For each recipient the keys of his that were asked.
pub(super) fn owners(envelope: &Envelope, asked: &[KeyEntry]) -> Vec<RecipientFacts> {
    let of = |address| {
        let his = asked.iter().filter(|entry| same_mailbox(&entry.addresses, address));
        RecipientFacts { asked_keys: his.map(|entry| entry.id.clone()).collect(), ..RecipientFacts::default() }
    };
    envelope.recipients.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::Shares;
    use crate::mail::Address;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::parse(text).unwrap()).collect()
    }

    #[test]
    fn i62_keys_are_counted_for_each_recipient() {
        let recipients = addresses(&["siti@own.test", "budi@own.test", "wati@own.test"]);
        let mut shares = Shares::of(&recipients, 2);
        let mut take = |owners: &[&str]| shares.take(&addresses(owners));
        assert!(!take(&["nobody@own.test"]) && !take(&[]));
        assert!(take(&["SITI@own.test"]) && take(&["siti@own.test"]) && !take(&["siti@own.test"]));
        // What was sealed for Siti takes nothing from Budi; an office that both hold counts for who has something left.
        assert!(take(&["siti@own.test", "budi@own.test"]) && take(&["budi@own.test"]));
        assert!(!take(&["siti@own.test", "budi@own.test"]) && take(&["budi@own.test", "wati@own.test"]));
    }

    #[test]
    fn i11_twelve_recipients_have_a_key_each() {
        let recipients: Vec<_> = (0..12).flat_map(|number| addresses(&[&format!("staf{number}@own.test")])).collect();
        let mut shares = Shares::of(&recipients, 8);
        assert!(recipients.iter().all(|address| shares.take(std::slice::from_ref(address))));
    }
}
