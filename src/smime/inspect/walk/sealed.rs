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
use std::collections::HashSet;
use std::fmt;

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
    /// As it was walked and hashed: line ends that are LF alone are CRLF. Wiped when dropped.
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
                found.ciphertext = envelope.has_ciphertext();
                found.sealed = envelope.is_sealed();
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
        for candidate in distinct(candidates, self.options.limits.content_keys) {
            if let Ok(content) = pending.envelope.open(&candidate.octets) {
                let level = Level::inside(Bytes::from_owner(content), true);
                self.walk.opened(pending.layer, Integrity::Authenticated);
                let keys = same_key(candidates, candidate);
                self.walk.insides.push(Inside { entity: level.bytes.clone(), keys });
                return self.go(level);
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
        for candidate in distinct(candidates, self.options.limits.content_keys) {
            let Ok(opened) = pending.envelope.open_unpadded(&candidate.octets) else { continue };
            let padding_fits = opened.padding_fits;
            let level = Level::inside(Bytes::from_owner(opened.content), true);
            let entity = level.bytes.clone();
            // The same way with a padding that does not fit: how long this takes shows outside.
            self.go(level);
            match before.proof(self.walk, pending.layer, padding_fits) {
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
        let candidates = candidates(keys, pending.length, options.limits.recipients);
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

    /// Compression between the two changes nothing: it is undone without a choice. A padding that does not fit proves
    /// nothing.
    fn proof(&self, walk: &Walk, layer: usize, padding_fits: bool) -> Proof {
        let same = walk.layers.get(layer).is_some_and(|found| found.reasons.len() == self.layer_reasons);
        let unchanged = same && padding_fits;
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

/// One for each private key, the first (I62), `most` at most; a content key of another length fails like any wrong one.
fn candidates(keys: &[ContentKey], length: usize, most: usize) -> Vec<&ContentKey> {
    let mut known = HashSet::new();
    let mut found: Vec<&ContentKey> = keys.iter().filter(|key| known.insert(key.key.as_str())).take(most).collect();
    found.retain(|key| key.octets.len() == length);
    found
}

/// The first `most` content keys that are not the same: a mail to many recipients has one for them all.
fn distinct<'a>(candidates: &[&'a ContentKey], most: usize) -> Vec<&'a ContentKey> {
    let mut found: Vec<&ContentKey> = Vec::new();
    for candidate in candidates {
        let repeated = found.iter().any(|known| crypto::equal(&known.octets, &candidate.octets));
        if !repeated && found.len() < most {
            found.push(candidate);
        }
    }
    found
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
