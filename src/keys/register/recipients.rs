//! Which keys a RecipientInfo means.

use super::super::KeyEntry;
use super::Held;
use crate::cms::recipient_info::RecipientIdentifier;
use crate::crypto::Digest;
use crate::pki::Certificate;
use der::Decode;
use spki::SubjectPublicKeyInfoRef;
use std::collections::HashMap;
use std::sync::Arc;

/// Keys for one identifier. A serial number is unique below its issuer; one public key may stand in many certificates,
/// which then share its identifier, and one of them is enough.
const MOST: usize = 16;

/// By what a RecipientInfo names a certificate.
#[derive(Default)]
pub(super) struct Recipients {
    /// Issuers are compared as names, not as octets.
    by_serial: HashMap<Vec<u8>, Vec<Arc<Held>>>,
    by_key_identifier: HashMap<Vec<u8>, Vec<Arc<Held>>>,
}

impl Recipients {
    /// Best first: in the order of adding.
    pub(super) fn add(&mut self, held: &Arc<Held>) {
        let certificate = &held.entry.certificate;
        self.by_serial.entry(certificate.serial().to_vec()).or_default().push(Arc::clone(held));
        if let Some(identifier) = key_identifier(certificate) {
            self.by_key_identifier.entry(identifier).or_default().push(Arc::clone(held));
        }
    }

    pub(super) fn find(&self, identifier: &RecipientIdentifier) -> Vec<KeyEntry> {
        let found = match identifier {
            RecipientIdentifier::IssuerAndSerial(_, serial) => self.by_serial.get(serial),
            RecipientIdentifier::KeyIdentifier(octets) => self.by_key_identifier.get(octets),
            RecipientIdentifier::None => None,
        };
        let meant = |held: &&Arc<Held>| match identifier {
            RecipientIdentifier::IssuerAndSerial(issuer, _) => held.entry.certificate.issuer().matches(issuer),
            RecipientIdentifier::KeyIdentifier(_) | RecipientIdentifier::None => true,
        };
        found.into_iter().flatten().filter(meant).take(MOST).map(|held| held.entry.clone()).collect()
    }
}

/// The extension, or SHA-1 of the public key's octets, as nearly every CA and every sender computes it.
fn key_identifier(certificate: &Certificate) -> Option<Vec<u8>> {
    if let Some(identifier) = certificate.subject_key_identifier() {
        return Some(identifier.to_vec());
    }
    let spki = SubjectPublicKeyInfoRef::from_der(certificate.spki_der()).ok()?;
    Digest::Sha1.hash(&[spki.subject_public_key.as_bytes()?]).ok()
}
