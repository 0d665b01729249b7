//! From a message to its cryptographic layers, outermost first.
//!
//! Goes inwards one layer at a time, bounded by `limits.layers`. What is not the whole message is `partial`.
//! A message attached as message/rfc822 is content like any other: its signature says nothing about this one.

use super::entity::{
    Claim, claim, decode, has_deciding_field_twice, has_epilogue, is_of_another_type, is_read_differently,
};
use super::{LayerKind, Options, RecipientSummary, Scope, Structure};
use crate::asn1::Asn1Error;
use crate::cms::enveloped_data::Envelope;
use crate::cms::recipient_info::{Recipient, RecipientIdentifier};
use crate::cms::{CmsError, ContentInfo, ContentKind, SignedData};
use crate::mail::header::{self, From};
use crate::mail::mime::{self, Ambiguity, Entity, MimeError};
use crate::pki::Certificate;
use crate::pki::path::Memory;
use crate::reason::Reason;
use crate::smime::verify::{Bounds, Checked, Content, check, tidy};
use bytes::Bytes;

/// What was found in a message.
#[derive(Debug)]
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
    pub(super) warnings: Vec<String>,
    /// What the signatures may still cost.
    pub(super) memory: Memory,
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
        }
    }
}

impl Walk {
    /// Whether there is anything to judge: certificates alone are not.
    pub(super) fn has_smime(&self) -> bool {
        self.layers.iter().any(|layer| layer.kind != LayerKind::CertsOnly)
    }
}

/// An entity still to be looked into, and its IMAP part number (empty for the message, `None` where it has none).
struct Level {
    bytes: Bytes,
    part: Option<String>,
}

/// Finds all layers that can be reached without a key.
pub(super) fn walk(message: &Bytes, options: &Options, from: &From) -> Walk {
    let mut walker = Walker {
        options,
        from,
        walk: Walk {
            layers: Vec::new(),
            partial: false,
            ambiguous: false,
            reasons: Vec::new(),
            structure: Structure::Plain,
            warnings: Vec::new(),
            memory: Memory::default(),
        },
    };
    let mut next = Some(Level { bytes: message.clone(), part: Some(String::new()) });
    let mut depth = 0;
    while let Some(level) = next.take() {
        next = walker.level(&level, depth);
        depth += 1;
    }
    walker.walk
}

struct Walker<'a> {
    options: &'a Options,
    /// What the message's own `From` says.
    from: &'a From,
    walk: Walk,
}

impl Walker<'_> {
    /// Takes what is at the root of `level`; gives what is inside, if something can be inside.
    fn level(&mut self, level: &Level, depth: usize) -> Option<Level> {
        let structure = match mime::parse(&level.bytes, &self.options.limits) {
            Ok(structure) => structure,
            Err(error) => {
                self.unreadable(&level.bytes, &error, depth);
                return None;
            }
        };
        if depth == 0 {
            self.walk.structure = outgoing_structure(&structure);
        } else {
            self.walk.ambiguous |= self.shows_another_from(&level.bytes, &structure.root);
        }
        let layers_before = self.walk.layers.len();
        let inside = self.entities(level, &structure, depth);
        if depth == 0 {
            self.walk.ambiguous |= !structure.ambiguities.is_empty();
            if has_deciding_field_twice(&level.bytes, &structure.root) && mentions_smime(&level.bytes) {
                // Another reader may find a signature where this one found none.
                self.walk.reasons.push(Reason::Ambiguous);
            }
            if self.walk.layers.iter().any(|layer| layer.kind.is_encrypted())
                && self.walk.structure == Structure::SmimeSigned
            {
                self.walk.structure = Structure::SmimeEncrypted;
            }
        } else if !structure.ambiguities.is_empty()
            && let Some(outer) = layers_before.checked_sub(1).and_then(|outer| self.walk.layers.get_mut(outer))
        {
            outer.reasons.push(Reason::Ambiguous);
        }
        inside
    }

    /// Whether what is signed has a `From` of its own (a message as the root, or protected header fields) that is not the
    /// message's: some readers show that one in its place.
    fn shows_another_from(&self, bytes: &[u8], root: &Entity) -> bool {
        let message = root.content_type.main == "message";
        std::iter::once(root).chain(root.children.iter().filter(|_| message)).any(|entity| {
            let own = bytes.get(entity.whole.clone()).unwrap_or_default();
            match (header::from(own, &entity.header), self.from.mailbox()) {
                (From::Absent, _) => false,
                (From::Mailbox(inner), Some(outer)) => !inner.same_mailbox(outer),
                _ => true,
            }
        })
    }

    /// The message or the content of a layer is no MIME entity that can be read.
    fn unreadable(&mut self, bytes: &[u8], error: &MimeError, depth: usize) {
        let reason = match error {
            MimeError::TooComplex => Reason::TooComplex,
            MimeError::Header(_) => Reason::Malformed,
        };
        if depth > 0 {
            if let Some(outer) = self.walk.layers.last_mut() {
                outer.reasons.push(reason);
            }
            return;
        }
        self.walk.structure = Structure::Broken;
        // A plain mail with a broken header section is not our business; one that claims S/MIME is.
        if reason == Reason::TooComplex || mentions_smime(bytes) {
            self.walk.reasons.push(reason);
        }
    }

    fn entities(&mut self, level: &Level, structure: &mime::Structure, depth: usize) -> Option<Level> {
        let root = &structure.root;
        let part = level.part.as_deref();
        if claim(root) == Claim::Pgp {
            return None;
        }
        if let Some(inside) = self.layer(level, structure, root, part, Place::Whole) {
            return inside;
        }
        let found = parts_that_claim(root, part, self.options.limits.mime_entities);
        let alone = found.len() == 1;
        let mut inside = None;
        let first = self.walk.layers.len();
        for (entity, part) in found {
            if let Some(within) = self.layer(level, structure, entity, part.as_deref(), Place::Part)
                && alone
            {
                inside = within;
            }
        }
        let new = self.walk.layers.get_mut(first..).unwrap_or_default();
        if new.iter().any(|layer| layer.kind != LayerKind::CertsOnly) {
            if depth == 0 {
                self.walk.partial = true;
            } else {
                new.iter_mut().for_each(|layer| layer.reasons.push(Reason::Partial));
            }
        }
        inside
    }

    /// The layer at `entity`, if it is one. The inner option is what is inside.
    #[expect(
        clippy::option_option,
        reason = "no layer, a layer with nothing to go on with, a layer with something inside"
    )]
    fn layer(
        &mut self,
        level: &Level,
        structure: &mime::Structure,
        entity: &Entity,
        part: Option<&str>,
        place: Place,
    ) -> Option<Option<Level>> {
        let claim = claim(entity);
        if matches!(claim, Claim::None | Claim::Pgp) {
            return None;
        }
        if self.walk.layers.len() >= self.options.limits.layers {
            self.walk.reasons.push(Reason::TooComplex);
            return Some(None);
        }
        if claim == Claim::MultipartSigned {
            return Some(self.multipart_signed(level, structure, entity, part));
        }
        let part = part.map(|part| if part.is_empty() { "1".to_owned() } else { part.to_owned() });
        let (content, lenient) = decode(structure, &level.bytes, entity);
        let first = self.walk.layers.len();
        let inside = match ContentInfo::from_ber(content.into_owned(), &self.options.limits) {
            Ok(content) if content.kind != ContentKind::Other => Some(self.cms(&content, part, place)),
            _ if claim == Claim::NamedLikeSmime => None,
            other => {
                let mut found = Found::new(kind_by_name(entity), part);
                found.reasons.push(other.map_or_else(|error| reason_of(&error), |_| Reason::Unsupported));
                place.forgive(&mut found.reasons);
                self.walk.layers.push(found);
                Some(None)
            }
        };
        if (lenient || is_of_another_type(entity))
            && let Some(found) = self.walk.layers.get_mut(first)
        {
            found.reasons.push(Reason::Ambiguous);
        }
        inside
    }

    /// RFC 1847: exactly two parts, the second the signature over the octets of the first.
    fn multipart_signed(
        &mut self,
        level: &Level,
        structure: &mime::Structure,
        entity: &Entity,
        part: Option<&str>,
    ) -> Option<Level> {
        let within = |number: &str| {
            part.map(|part| if part.is_empty() { number.to_owned() } else { format!("{part}.{number}") })
        };
        let mut found = Found::new(LayerKind::SignedDetached, within("2"));
        if has_epilogue(&level.bytes, entity) {
            found.reasons.push(Reason::Partial);
        }
        let inside = match entity.children.as_slice() {
            [content, signature] => {
                let bytes = level.bytes.slice(bounded(&content.whole, level.bytes.len()));
                if bytes.is_empty() {
                    found.reasons.push(Reason::Malformed);
                }
                let (signature, lenient) = decode(structure, &level.bytes, signature);
                if lenient || is_read_differently(&level.bytes, entity) {
                    found.reasons.push(Reason::Ambiguous);
                }
                self.detached(entity, signature.into_owned(), &bytes, &mut found);
                Some(Level { bytes, part: within("1") })
            }
            _ => {
                found.reasons.push(Reason::Malformed);
                None
            }
        };
        tidy(&mut found.reasons);
        self.walk.layers.push(found);
        inside
    }

    fn detached(&mut self, entity: &Entity, signature: Vec<u8>, content: &[u8], found: &mut Found) {
        let signed = ContentInfo::from_ber(signature, &self.options.limits).and_then(|info| match info.kind {
            ContentKind::Signed => SignedData::from_der(&info.content, &self.options.limits),
            _ => Err(CmsError::Malformed("SignedData")),
        });
        let signed = match signed {
            Ok(signed) => signed,
            Err(error) => return found.reasons.push(reason_of(&error)),
        };
        // One reader shows what is in the multipart, another what is in the signature (I54).
        if signed.content.is_some() {
            found.reasons.push(Reason::Ambiguous);
        }
        if signed.signers.is_empty() {
            found.reasons.push(Reason::Malformed);
        }
        self.signers(&signed, content, found);
        let digests: Vec<_> = found.signers.iter().filter_map(|signer| signer.digest).collect();
        if let Some(micalg) = entity.content_type.parameter("micalg")
            && !digests.iter().all(|digest| names_digest(micalg, digest.micalg()))
        {
            self.walk.warnings.push("micalg-mismatch".to_owned());
        }
    }

    fn signers(&self, signed: &SignedData, content: &[u8], found: &mut Found) {
        if self.options.scope == Scope::Structure {
            return;
        }
        for der in &signed.certificates {
            // A certificate that cannot be read cannot help; the others may do.
            if let Ok(certificate) = Certificate::from_der(der) {
                found.certificates.push(certificate);
            }
        }
        let content = Content::new(content);
        let bounds =
            Bounds { allow_weak: &self.options.allow_weak, limits: &self.options.limits, memory: &self.walk.memory };
        for info in &signed.signers {
            found.signers.push(check(signed, info, &content, &found.certificates, &bounds));
        }
    }

    /// A CMS object that carries its content.
    fn cms(&mut self, info: &ContentInfo, part: Option<String>, place: Place) -> Option<Level> {
        match info.kind {
            ContentKind::Signed => self.opaque(info, part, place),
            ContentKind::Enveloped | ContentKind::AuthEnveloped => {
                let kind =
                    if info.kind == ContentKind::Enveloped { LayerKind::Enveloped } else { LayerKind::AuthEnveloped };
                let mut found = Found::new(kind, part);
                match Envelope::read(info) {
                    Ok(envelope) => {
                        found.recipients = envelope.recipients.iter().map(summary).collect();
                        found.content_encryption = Some(envelope.content_encryption);
                    }
                    Err(error) => found.reasons.push(reason_of(&error)),
                }
                self.walk.layers.push(found);
                None
            }
            ContentKind::Compressed | ContentKind::Other => {
                let mut found = Found::new(LayerKind::Compressed, part);
                found.reasons.push(Reason::Unsupported);
                self.walk.layers.push(found);
                None
            }
        }
    }

    fn opaque(&mut self, info: &ContentInfo, part: Option<String>, place: Place) -> Option<Level> {
        let mut found = Found::new(LayerKind::SignedOpaque, part);
        let signed = match SignedData::from_der(&info.content, &self.options.limits) {
            Ok(signed) => signed,
            Err(error) => {
                found.reasons.push(reason_of(&error));
                self.walk.layers.push(found);
                return None;
            }
        };
        if signed.signers.is_empty() {
            if signed.content.as_ref().is_none_or(Bytes::is_empty) {
                found.kind = LayerKind::CertsOnly;
            } else {
                found.reasons.push(Reason::Malformed);
            }
        } else if signed.content.as_ref().is_none_or(Bytes::is_empty) {
            // A signature over nothing, or over something that is elsewhere.
            found.reasons.push(Reason::Malformed);
            place.forgive(&mut found.reasons);
        }
        let content = signed.content.clone().unwrap_or_default();
        // An attached detached signature has no content here to be judged against.
        if !(place == Place::Part && signed.content.is_none()) {
            self.signers(&signed, &content, &mut found);
        }
        let goes_on = found.kind == LayerKind::SignedOpaque && !content.is_empty();
        self.walk.layers.push(found);
        goes_on.then(|| Level { bytes: with_line_ends(content), part: None })
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

/// All parts below `root` that claim to be S/MIME, outermost ones only, with their part numbers; `bound` parts at most.
fn parts_that_claim<'a>(root: &'a Entity, part: Option<&str>, bound: usize) -> Vec<(&'a Entity, Option<String>)> {
    let mut waiting = vec![(root, part.map(str::to_owned))];
    let mut found = Vec::new();
    let mut looked_at = 0;
    while let Some((entity, part)) = waiting.pop() {
        looked_at += 1;
        if looked_at > bound {
            break;
        }
        // Last first, so that the first is taken next.
        for (index, child) in entity.children.iter().enumerate().rev() {
            let number = index + 1;
            let part =
                part.as_ref().map(|part| if part.is_empty() { number.to_string() } else { format!("{part}.{number}") });
            waiting.push((child, part));
        }
        if entity.content_type.main != "multipart" {
            waiting.truncate(waiting.len().saturating_sub(entity.children.len()));
        }
        if !std::ptr::eq(entity, root) && !matches!(claim(entity), Claim::None | Claim::Pgp) {
            waiting.truncate(waiting.len().saturating_sub(multipart_children(entity)));
            found.push((entity, part));
        }
    }
    found
}

fn multipart_children(entity: &Entity) -> usize {
    if entity.content_type.main == "multipart" { entity.children.len() } else { 0 }
}

fn reason_of(error: &CmsError) -> Reason {
    match error {
        CmsError::TooComplex(_) | CmsError::Encoding(Asn1Error::TooComplex(_)) => Reason::TooComplex,
        CmsError::Unsupported(_) => Reason::Unsupported,
        _ => Reason::Malformed,
    }
}

/// What an unreadable CMS object was meant to be, for the report only.
fn kind_by_name(entity: &Entity) -> LayerKind {
    match entity.content_type.parameter("smime-type").map(str::to_ascii_lowercase).as_deref() {
        Some("enveloped-data") => LayerKind::Enveloped,
        Some("authenveloped-data") => LayerKind::AuthEnveloped,
        Some("compressed-data") => LayerKind::Compressed,
        _ => LayerKind::SignedOpaque,
    }
}

/// `sha-256`, `sha256` and `rsa-sha256` name the same digest; several are separated by commas.
fn names_digest(micalg: &str, digest: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    micalg.split(',').any(|name| plain(name).trim_start_matches("rsa") == plain(digest))
}

fn summary(recipient: &Recipient) -> RecipientSummary {
    let (issuer, serial) = match &recipient.identifier {
        RecipientIdentifier::IssuerAndSerial(issuer, serial) => (issuer.to_string(), crate::smime::serial_hex(serial)),
        RecipientIdentifier::KeyIdentifier(octets) => (String::new(), data_encoding::HEXLOWER.encode(octets)),
        RecipientIdentifier::None => (String::new(), String::new()),
    };
    RecipientSummary { kind: recipient.transport.name().to_owned(), issuer, serial }
}

/// Some senders sign content whose lines end in LF alone. Every reader takes these for line ends, so they are
/// read as such; a mixture stays as it is and counts as ambiguous.
fn with_line_ends(content: Bytes) -> Bytes {
    if content.contains(&b'\r') || !content.contains(&b'\n') {
        return content;
    }
    let mut out = Vec::with_capacity(content.len() + content.len() / 32);
    for octet in content {
        if octet == b'\n' {
            out.push(b'\r');
        }
        out.push(octet);
    }
    Bytes::from(out)
}

fn bounded(range: &std::ops::Range<usize>, length: usize) -> std::ops::Range<usize> {
    let end = range.end.min(length);
    range.start.min(end)..end
}

fn mentions_smime(bytes: &[u8]) -> bool {
    const WORD: &[u8] = b"pkcs7-";
    bytes.windows(WORD.len()).any(|window| window.eq_ignore_ascii_case(WORD))
}

fn outgoing_structure(structure: &mime::Structure) -> Structure {
    let broken = |ambiguity: &Ambiguity| {
        matches!(ambiguity, Ambiguity::DuplicateField | Ambiguity::Boundary | Ambiguity::Nul | Ambiguity::FieldName)
    };
    let root = &structure.root;
    if structure.ambiguities.iter().any(broken) {
        return Structure::Broken;
    }
    match claim(root) {
        Claim::Pgp => Structure::PgpMime,
        // Told apart from encrypted once the content is known.
        Claim::MultipartSigned | Claim::PkcsMime => Structure::SmimeSigned,
        _ if root.content_type.is("multipart", "report") => Structure::Report,
        _ => Structure::Plain,
    }
}
