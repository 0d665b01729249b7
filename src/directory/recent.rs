//! Certificates that are in use now, by their digest: one that stands for a thousand recipients of a mail is parsed once,
//! and its addresses are read once.

use super::index::{Digest, Entry};
use crate::pki::Certificate;
use crate::pki::certificate::WeakCertificate;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Certificates that are looked for at a time: those of a large mail's recipients.
const MOST: usize = 2048;

#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Digest, WeakCertificate>>);

impl Recent {
    /// As [`Entry::certificate`].
    pub(super) fn parsed(&self, sha256: &Digest, entry: &Entry) -> Option<Certificate> {
        let known = self.lock().get(sha256).and_then(WeakCertificate::upgrade);
        if let Some(certificate) = known.filter(|known| known.der() == entry.der) {
            return Some(certificate);
        }
        // Parsing is done without the lock.
        let certificate = entry.certificate()?;
        let mut recent = self.lock();
        if recent.len() >= MOST {
            recent.retain(|_, known| !known.is_gone());
        }
        // Whoever finds no place is parsed again for the next who asks.
        if recent.len() < MOST {
            recent.insert(*sha256, certificate.downgrade());
        }
        Some(certificate)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, WeakCertificate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
