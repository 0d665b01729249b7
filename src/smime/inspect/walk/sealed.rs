//! Encrypted and compressed layers.
//!
//! Whatever is wrong with a content that nothing authenticates must look the same from outside: a padding that does not
//! fit, a length, garbage, a text that nobody has signed (I60). So such a layer is either proven by a signature that is
//! all there is inside, or it counts as opened with nothing in it that could be used or told.

use super::super::{ContentKey, Integrity, LayerKind, Need, Options, RecipientSummary, Scope};
use super::{Level, Place, Spot, Walk, Walker, reason_of};
use crate::cms::compressed_data::decompress;
use crate::cms::content_info::ID_DATA;
use crate::cms::enveloped_data::Envelope;
use crate::cms::recipient_info::{Recipient, RecipientIdentifier};
use crate::cms::{ContentInfo, ContentKind};
use crate::crypto;
use crate::mail::header::From;
use crate::reason::Reason;
use bytes::Bytes;
use std::fmt;

/// Candidates that are tried at one layer. One private key gives one; a mail that names more keys of this gateway is a
/// mailing, and each of its content keys is the same.
const MOST_CANDIDATES: usize = 8;

/// An encrypted layer that waits for keys.
pub(super) struct Pending {
    layer: usize,
    envelope: Envelope,
    length: usize,
    is_authenticated: bool,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("layer", &self.layer).finish_non_exhaustive()
    }
}

/// What was in an opened layer.
pub(in super::super) struct Inside {
    /// Octet by octet. Wiped when dropped.
    pub(in super::super) entity: Bytes,
    /// The private keys whose content key is the right one.
    pub(in super::super) keys: Vec<String>,
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Walker<'_> {
    /// Notes who can open it. If it is all there is, the walk waits here for a key; beside other parts it stays closed,
    /// because what is beside it could carry away what is in it (EFAIL, I50).
    pub(super) fn encrypted(&mut self, info: &ContentInfo, spot: &Spot<'_>) {
        let is_authenticated = info.kind == ContentKind::AuthEnveloped;
        let mut found = spot.found(if is_authenticated { LayerKind::AuthEnveloped } else { LayerKind::Enveloped });
        match Envelope::read(info) {
            Ok(envelope) => {
                found.recipients = envelope.recipients.iter().map(summary).collect();
                found.content_encryption = Some(envelope.content_encryption.clone());
                // Other content than a MIME entity is no mail (RFC 8551 section 3.3).
                match envelope.cipher.filter(|_| envelope.content_type == ID_DATA) {
                    None if spot.place == Place::Whole => found.reasons.push(Reason::Unsupported),
                    Some(cipher) if self.options.scope == Scope::Full => {
                        if cipher.is_weak() {
                            self.walk.warnings.push("weak-encryption".to_owned());
                        }
                        if spot.whole {
                            let (layer, length) = (self.walk.layers.len(), cipher.key_length());
                            self.walk.pending = Some(Pending { layer, envelope, length, is_authenticated });
                        }
                    }
                    _ => {}
                }
            }
            Err(error) => found.reasons.push(reason_of(&error)),
        }
        self.walk.layers.push(found);
    }

    /// What is attached as a compressed file is not looked into.
    pub(super) fn compressed(&mut self, info: &ContentInfo, spot: &Spot<'_>) -> Option<Level> {
        let mut found = spot.found(LayerKind::Compressed);
        let inside = if spot.place == Place::Part || self.options.scope == Scope::Structure {
            found.reasons.push(Reason::Unsupported);
            None
        } else {
            match decompress(&info.content, &self.options.limits) {
                Ok(content) => Some(Level::inside(content, spot.whole)),
                Err(error) => {
                    found.reasons.push(reason_of(&error));
                    None
                }
            }
        };
        self.walk.layers.push(found);
        inside
    }

    /// The first key that the content accepts opens it.
    fn open_authenticated(&mut self, pending: &Pending, candidates: &[&ContentKey]) {
        for (index, candidate) in candidates.iter().enumerate() {
            if is_repeated(candidates, index) {
                continue;
            }
            if let Ok(content) = pending.envelope.open(&candidate.octets) {
                let entity = Bytes::from_owner(content);
                self.walk.opened(pending.layer, Integrity::Authenticated);
                self.walk.insides.push(Inside { entity: entity.clone(), keys: same_key(candidates, candidate) });
                return self.go(Level::inside(entity, true));
            }
        }
        if let Some(found) = self.walk.layers.get_mut(pending.layer) {
            found.reasons.push(Reason::Undecryptable);
        }
    }

    /// A wrong key opens one of 256 contents too, as garbage; so the first key counts under which a signature is all
    /// there is inside, and holds. Only somebody who knew the whole content can have made that.
    fn open_unauthenticated(&mut self, pending: &Pending, candidates: &[&ContentKey]) {
        let before = Mark::of(self.walk, pending.layer);
        for (index, candidate) in candidates.iter().enumerate() {
            if is_repeated(candidates, index) {
                continue;
            }
            let Ok(content) = pending.envelope.open(&candidate.octets) else { continue };
            let entity = Bytes::from_owner(content);
            self.go(Level::inside(entity.clone(), true));
            match before.proof(self.walk, pending.layer) {
                Proof::Signed => {
                    self.walk.opened(pending.layer, Integrity::SignedInside);
                    self.walk.insides.push(Inside { entity, keys: same_key(candidates, candidate) });
                    return;
                }
                // It says who claims to have signed, and that this is worth too little to show anything.
                Proof::Weak => {
                    self.walk.pending = None;
                    return self.walk.unproven(pending.layer);
                }
                Proof::None => before.restore(self.walk, pending.layer),
            }
        }
        self.walk.unproven(pending.layer);
    }
}

impl Walk {
    /// The keys that are waited for.
    pub(in super::super) fn wanted(&self) -> Option<Need> {
        let pending = self.pending.as_ref()?;
        let names = |recipient: &Recipient| recipient.identifier != RecipientIdentifier::None;
        let recipients = &pending.envelope.recipients;
        recipients
            .iter()
            .any(names)
            .then(|| Need::ContentKeys { recipients: recipients.clone(), length: pending.length })
    }

    /// Goes on inside the layer that waited, if a key opens it. Without any key it is encrypted to somebody else.
    pub(in super::super) fn resume(&mut self, options: &Options, from: &From, keys: &[ContentKey]) {
        let Some(pending) = self.pending.take() else { return };
        if keys.is_empty() {
            return;
        }
        self.asked_private_key = true;
        let candidates = candidates(keys, pending.length);
        let mut walker = Walker { options, from, walk: self };
        if pending.is_authenticated {
            walker.open_authenticated(&pending, &candidates);
        } else {
            walker.open_unauthenticated(&pending, &candidates);
        }
    }

    /// No round is left to ask for the keys of the layer that waits.
    pub(in super::super) fn give_up(&mut self) {
        if self.wanted().is_some()
            && let Some(pending) = self.pending.take()
            && let Some(found) = self.layers.get_mut(pending.layer)
        {
            found.reasons.push(Reason::TooComplex);
        }
    }

    fn opened(&mut self, layer: usize, integrity: Integrity) {
        if let Some(found) = self.layers.get_mut(layer) {
            found.decrypted = true;
            found.integrity = Some(integrity);
        }
    }

    /// Always `decrypted`: to say it only where the padding was right would tell that it was.
    fn unproven(&mut self, layer: usize) {
        self.opened(layer, Integrity::Unproven);
        if let Some(found) = self.layers.get_mut(layer) {
            found.reasons.push(Reason::IntegrityUnproven);
        }
    }
}

/// What a content proves about itself.
enum Proof {
    Signed,
    /// A signature whose digest counts as weak.
    Weak,
    None,
}

/// How far a walk was, to undo what was found in a content that turned out to be nothing.
struct Mark {
    layers: usize,
    layer_reasons: usize,
    reasons: usize,
    warnings: usize,
    ambiguous: bool,
}

impl Mark {
    fn of(walk: &Walk, layer: usize) -> Self {
        Self {
            layers: walk.layers.len(),
            layer_reasons: walk.layers.get(layer).map_or(0, |found| found.reasons.len()),
            reasons: walk.reasons.len(),
            warnings: walk.warnings.len(),
            ambiguous: walk.ambiguous,
        }
    }

    fn restore(&self, walk: &mut Walk, layer: usize) {
        walk.layers.truncate(self.layers);
        if let Some(found) = walk.layers.get_mut(layer) {
            found.reasons.truncate(self.layer_reasons);
        }
        walk.reasons.truncate(self.reasons);
        walk.warnings.truncate(self.warnings);
        walk.ambiguous = self.ambiguous;
        walk.pending = None;
    }

    /// Compression between the two changes nothing: it is undone without a choice.
    fn proof(&self, walk: &Walk, layer: usize) -> Proof {
        let unchanged = walk.layers.get(layer).is_some_and(|found| found.reasons.len() == self.layer_reasons);
        let inside = walk.layers.get(self.layers..).unwrap_or_default();
        let first = inside
            .iter()
            .find(|found| !(found.kind == LayerKind::Compressed && found.whole && found.reasons.is_empty()));
        match first {
            Some(found) if unchanged && found.proves_its_content() => Proof::Signed,
            Some(found) if unchanged && found.is_genuine() => Proof::Weak,
            _ => Proof::None,
        }
    }
}

/// One for each private key, the first (I62); a content key of another length fails like any wrong one.
fn candidates(keys: &[ContentKey], length: usize) -> Vec<&ContentKey> {
    let mut found: Vec<&ContentKey> = Vec::new();
    for key in keys {
        if found.len() < MOST_CANDIDATES && !found.iter().any(|known| known.key == key.key) {
            found.push(key);
        }
    }
    found.retain(|key| key.octets.len() == length);
    found
}

fn is_repeated(candidates: &[&ContentKey], index: usize) -> bool {
    let Some((candidate, before)) = candidates.get(index).zip(candidates.get(..index)) else { return false };
    before.iter().any(|known| crypto::equal(&known.octets, &candidate.octets))
}

/// The ids of all private keys with this content key.
fn same_key(candidates: &[&ContentKey], right: &ContentKey) -> Vec<String> {
    let same = candidates.iter().filter(|candidate| crypto::equal(&candidate.octets, &right.octets));
    same.map(|candidate| candidate.key.clone()).collect()
}

fn summary(recipient: &Recipient) -> RecipientSummary {
    let (issuer, serial) = match &recipient.identifier {
        RecipientIdentifier::IssuerAndSerial(issuer, serial) => (issuer.to_string(), crate::smime::serial_hex(serial)),
        RecipientIdentifier::KeyIdentifier(octets) => (String::new(), data_encoding::HEXLOWER.encode(octets)),
        RecipientIdentifier::None => (String::new(), String::new()),
    };
    RecipientSummary { kind: recipient.transport.name().to_owned(), issuer, serial }
}
