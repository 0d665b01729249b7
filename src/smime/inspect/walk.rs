//! From a message to its cryptographic layers, outermost first.
//!
//! Goes inwards one layer at a time, bounded by `limits.layers`. What is not the whole message is `partial`.
//! A message attached as message/rfc822 is content like any other: its signature says nothing about this one.
//! At an encrypted layer that is the whole message the walk waits for keys, and goes on with what they open.

use super::entity::{
    Claim, bounded, claim, decode, has_deciding_field_twice, is_of_another_type, kind_by_name, mentions_smime,
    outgoing_structure, parts_that_claim,
};
use super::pgp::{Pgp, pgp};
use super::{LayerKind, Options, RecipientSummary, Structure};
use crate::asn1::Asn1Error;
use crate::cms::{CmsError, ContentInfo, ContentKind};
use crate::mail::header::{self, From};
use crate::mail::mime::{self, Ambiguity, Entity, MimeError};
use crate::pki::Certificate;
use crate::pki::path::Memory;
use crate::reason::Reason;
use crate::smime::inspect::Integrity;
use crate::smime::verify::Checked;
use bytes::Bytes;
use zeroize::Zeroizing;

mod sealed;
mod signed;

use sealed::{Inside, Pending};

/// What was found in a message.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Outermost first.
    pub(super) layers: Vec<Found>,
    /// Whether the outermost layers are not the whole message.
    pub(super) partial: bool,
    /// Whether two readers could see two messages.
    pub(super) ambiguous: bool,
    /// Reasons that need no layer: the message could not be read at all.
    pub(super) reasons: Vec<Reason>,
    pub(super) structure: Structure,
    /// Nothing in the message can be read without a recipient's private key.
    pub(super) sealed: bool,
    pub(super) warnings: Vec<String>,
    /// What the signatures may still cost.
    pub(super) memory: Memory,
    /// The encrypted layer that waits for keys.
    pending: Option<Pending>,
    /// What was in the opened layers, outermost first.
    pub(super) insides: Vec<Inside>,
    /// Whether a private key gave a candidate.
    pub(super) asked_private_key: bool,
}

/// One layer as its octets tell it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: LayerKind,
    pub(super) reasons: Vec<Reason>,
    pub(super) part: Option<String>,
    pub(super) recipients: Vec<RecipientSummary>,
    pub(super) content_encryption: Option<String>,
    pub(super) signers: Vec<Checked>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) decrypted: bool,
    pub(super) integrity: Option<Integrity>,
    /// Of an encrypted one: whether there is a ciphertext in it.
    ciphertext: bool,
    /// Of an encrypted one: whether it really hides its content.
    sealed: bool,
    /// Whether every reader takes it for all there is: nothing stands beside it or beside a layer around it.
    whole: bool,
    /// Whether the octets before its content, which no signature covers, are of 7 bits.
    plain_before: bool,
}

impl Found {
    const fn new(kind: LayerKind, part: Option<String>) -> Self {
        Self {
            kind,
            reasons: Vec::new(),
            part,
            recipients: Vec::new(),
            content_encryption: None,
            signers: Vec::new(),
            certificates: Vec::new(),
            decrypted: false,
            integrity: None,
            ciphertext: false,
            sealed: false,
            whole: false,
            plain_before: false,
        }
    }

    /// Whether its octets are a signature by somebody, or encrypted to somebody. Whether it holds is another question.
    fn is_what_it_says(&self) -> bool {
        let is_none = |reason: &Reason| matches!(reason, Reason::Malformed | Reason::TooComplex);
        let known = !self.kind.is_signed() || !self.reasons.contains(&Reason::Unsupported);
        let to_somebody = !self.kind.is_encrypted() || (self.ciphertext && !self.recipients.is_empty());
        known && to_somebody && !self.reasons.iter().any(is_none)
    }
}

impl Walk {
    /// Finds all layers that can be reached without a key.
    pub(super) fn begin(message: &Bytes, options: &Options, from: &From) -> Self {
        let mut walk = Self::default();
        let level = Level { bytes: message.clone(), part: Some(String::new()), is_message: true, whole: true };
        Walker { options, from, walk: &mut walk }.go(level);
        walk
    }

    /// What the message is, for outgoing mail. A media type alone says nothing: what claims to be signed or encrypted and is
    /// not is a mail like any other.
    fn judge_structure(&mut self, structure: &mime::Structure, bytes: &[u8]) {
        let pgp = (claim(&structure.root) == Claim::Pgp).then(|| pgp(structure, bytes)).flatten();
        let outermost = self.layers.first().filter(|layer| layer.is_what_it_says());
        self.structure = match outgoing_structure(structure) {
            Structure::PgpMime if pgp.is_none() => Structure::Plain,
            Structure::SmimeSigned => match outermost {
                Some(layer) if layer.kind.is_encrypted() => Structure::SmimeEncrypted,
                Some(layer) if layer.kind.is_signed() => Structure::SmimeSigned,
                _ => Structure::Plain,
            },
            other => other,
        };
        self.sealed = match self.structure {
            Structure::SmimeEncrypted => outermost.is_some_and(|layer| layer.sealed && layer.reasons.is_empty()),
            Structure::PgpMime => pgp == Some(Pgp::Encrypted),
            _ => false,
        };
    }

    /// Whether there is anything to judge: certificates alone are not.
    pub(super) fn has_smime(&self) -> bool {
        self.layers.iter().any(|layer| layer.kind != LayerKind::CertsOnly)
    }
}

/// An entity still to be looked into.
struct Level {
    bytes: Bytes,
    /// Its IMAP part number: empty for the message, `None` where it has none.
    part: Option<String>,
    /// The message itself, not the inside of a layer.
    is_message: bool,
    /// It is all there is in the layer around it, and that one in the next, up to the message.
    whole: bool,
}

impl Level {
    /// What is inside a CMS object, at which no part number points.
    fn inside(content: Bytes, whole: bool) -> Self {
        Self { bytes: with_line_ends(content), part: None, is_message: false, whole }
    }
}

/// Where a layer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the whole message, or the whole content of the layer around it.
    Whole,
    /// Beside other parts.
    Part,
}

impl Place {
    /// What is attached to a message may be a signature of a file: partial, but no malformed mail.
    fn forgive(self, reasons: &mut Vec<Reason>) {
        if self == Self::Part {
            reasons.retain(|reason| *reason != Reason::Malformed);
        }
    }
}

/// One entity of a level.
struct Spot<'a> {
    level: &'a Level,
    structure: &'a mime::Structure,
    entity: &'a Entity,
    part: Option<String>,
    place: Place,
    /// Every reader takes it for all there is.
    whole: bool,
}

impl Spot<'_> {
    /// The part number of its leaf, where it has one.
    fn leaf(&self) -> Option<String> {
        self.part.as_ref().map(|part| if part.is_empty() { "1".to_owned() } else { part.clone() })
    }

    fn found(&self, kind: LayerKind) -> Found {
        let before = self.level.bytes.get(..self.entity.body.start).unwrap_or_default();
        Found { whole: self.whole, plain_before: before.is_ascii(), ..Found::new(kind, self.leaf()) }
    }
}

struct Walker<'a> {
    options: &'a Options,
    /// What the message's own `From` says.
    from: &'a From,
    walk: &'a mut Walk,
}

impl Walker<'_> {
    /// Inwards from `level` until nothing is left, or a key is needed. Each turn takes a layer; those are bounded.
    fn go(&mut self, level: Level) {
        let mut next = Some(level);
        while let Some(level) = next.take() {
            next = self.level(&level);
        }
    }

    /// Takes what is at the root of `level`; gives what is inside, if something can be inside.
    fn level(&mut self, level: &Level) -> Option<Level> {
        let structure = match mime::parse(&level.bytes, &self.options.limits) {
            Ok(structure) => structure,
            Err(error) => {
                self.unreadable(level, &error);
                return None;
            }
        };
        if !level.is_message {
            self.walk.ambiguous |= self.shows_another_from(&level.bytes, &structure.root);
        }
        let layers_before = self.walk.layers.len();
        let inside = self.entities(level, &structure);
        if level.is_message {
            self.walk.ambiguous |= !structure.ambiguities.is_empty();
            if has_deciding_field_twice(&level.bytes, &structure.root) && mentions_smime(&level.bytes) {
                // Another reader may find a signature where this one found none.
                self.walk.reasons.push(Reason::Ambiguous);
            }
            self.walk.judge_structure(&structure, &level.bytes);
        } else if !structure.ambiguities.is_empty()
            && let Some(outer) = layers_before.checked_sub(1).and_then(|outer| self.walk.layers.get_mut(outer))
        {
            outer.reasons.push(Reason::Ambiguous);
        }
        inside
    }

    /// Whether what is signed has a `From` of its own (a message as the root, or protected header fields) that is not the
    /// message's, or whose name passes for another address: some readers show that one in its place.
    fn shows_another_from(&self, bytes: &[u8], root: &Entity) -> bool {
        let message = root.content_type.main == "message";
        let signed = self.walk.layers.iter().any(|layer| layer.kind.is_signed());
        std::iter::once(root).chain(root.children.iter().filter(|_| message)).any(|entity| {
            let own = bytes.get(entity.whole.clone()).unwrap_or_default();
            match (header::from(own, &entity.header), self.from.mailbox()) {
                (From::Absent, _) => false,
                (From::Mailbox(inner), Some(outer)) => {
                    !inner.same_mailbox(outer) || (signed && header::misleading_name(own, &entity.header))
                }
                _ => true,
            }
        })
    }

    /// The message or the content of a layer is no MIME entity that can be read.
    fn unreadable(&mut self, level: &Level, error: &MimeError) {
        let reason = match error {
            MimeError::TooComplex => Reason::TooComplex,
            MimeError::Header(_) => Reason::Malformed,
        };
        if !level.is_message {
            if let Some(outer) = self.walk.layers.last_mut() {
                outer.reasons.push(reason);
            }
            return;
        }
        self.walk.structure = Structure::Broken;
        // A plain mail with a broken header section is not our business; one that claims S/MIME is.
        if reason == Reason::TooComplex || mentions_smime(&level.bytes) {
            self.walk.reasons.push(reason);
        }
    }

    fn entities(&mut self, level: &Level, structure: &mime::Structure) -> Option<Level> {
        let root = &structure.root;
        if claim(root) == Claim::Pgp {
            return None;
        }
        let whole = level.whole && !structure.ambiguities.iter().any(hides_a_part);
        let spot = Spot { level, structure, entity: root, part: level.part.clone(), place: Place::Whole, whole };
        if let Some(inside) = self.layer(spot) {
            return inside;
        }
        let found = parts_that_claim(root, level.part.as_deref(), self.options.limits.mime_entities);
        let alone = found.len() == 1;
        let mut inside = None;
        let first = self.walk.layers.len();
        for (entity, part) in found {
            let spot = Spot { level, structure, entity, part, place: Place::Part, whole: false };
            if let Some(within) = self.layer(spot)
                && alone
            {
                inside = within;
            }
        }
        let new = self.walk.layers.get_mut(first..).unwrap_or_default();
        if new.iter().any(|layer| layer.kind != LayerKind::CertsOnly) {
            if level.is_message {
                self.walk.partial = true;
            } else {
                new.iter_mut().for_each(|layer| layer.reasons.push(Reason::Partial));
            }
        }
        inside
    }

    /// The layer at an entity, if it is one. The inner option is what is inside.
    #[expect(
        clippy::option_option,
        reason = "no layer, a layer with nothing to go on with, a layer with something inside"
    )]
    fn layer(&mut self, spot: Spot<'_>) -> Option<Option<Level>> {
        let claim = claim(spot.entity);
        if matches!(claim, Claim::None | Claim::Pgp) {
            return None;
        }
        if self.walk.layers.len() >= self.options.limits.layers {
            self.walk.reasons.push(Reason::TooComplex);
            return Some(None);
        }
        if claim == Claim::MultipartSigned {
            return Some(self.multipart_signed(&spot));
        }
        let (content, lenient) = decode(spot.structure, &spot.level.bytes, spot.entity);
        let differs = lenient || is_of_another_type(spot.entity);
        let spot = Spot { whole: spot.whole && !differs, ..spot };
        let first = self.walk.layers.len();
        let inside = match ContentInfo::from_ber(content.into_owned(), &self.options.limits) {
            Ok(info) if info.kind != ContentKind::Other => Some(self.cms(&info, &spot)),
            _ if claim == Claim::NamedLikeSmime => None,
            other => {
                let mut found = spot.found(kind_by_name(spot.entity));
                found.reasons.push(other.map_or_else(|error| reason_of(&error), |_| Reason::Unsupported));
                spot.place.forgive(&mut found.reasons);
                self.walk.layers.push(found);
                Some(None)
            }
        };
        if differs && let Some(found) = self.walk.layers.get_mut(first) {
            found.reasons.push(Reason::Ambiguous);
        }
        inside
    }

    /// A CMS object that carries its content.
    fn cms(&mut self, info: &ContentInfo, spot: &Spot<'_>) -> Option<Level> {
        match info.kind {
            ContentKind::Signed => self.opaque(info, spot),
            ContentKind::Enveloped | ContentKind::AuthEnveloped => {
                self.encrypted(info, spot);
                None
            }
            ContentKind::Compressed => self.compressed(info, spot),
            ContentKind::Other => None,
        }
    }
}

/// Whether a reader could find another whole than this one did: other parts, another type, an earlier end of the header.
const fn hides_a_part(ambiguity: &Ambiguity) -> bool {
    !matches!(ambiguity, Ambiguity::LongLine | Ambiguity::EightBitHeader | Ambiguity::PartHeader)
}

fn reason_of(error: &CmsError) -> Reason {
    match error {
        CmsError::TooComplex(_) | CmsError::Encoding(Asn1Error::TooComplex(_)) => Reason::TooComplex,
        CmsError::Unsupported(_) => Reason::Unsupported,
        _ => Reason::Malformed,
    }
}

/// Some senders sign or encrypt content whose lines end in LF alone. Every reader takes these for line ends, so they are
/// read as such; a mixture stays as it is and counts as ambiguous.
fn with_line_ends(content: Bytes) -> Bytes {
    if content.contains(&b'\r') || !content.contains(&b'\n') {
        return content;
    }
    let lines = content.iter().filter(|octet| **octet == b'\n').count();
    // Enough from the start: what a growing vector leaves behind is not wiped.
    let mut out = Zeroizing::new(Vec::with_capacity(content.len() + lines));
    for octet in &content {
        if *octet == b'\n' {
            out.push(b'\r');
        }
        out.push(*octet);
    }
    Bytes::from_owner(out)
}

/// A slice of a level that shares its memory.
fn slice(level: &Level, range: &std::ops::Range<usize>) -> Bytes {
    level.bytes.slice(bounded(range, level.bytes.len()))
}
