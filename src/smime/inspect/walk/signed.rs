//! Signed layers: multipart/signed and SignedData with its content inside.

use super::super::entity::{decode, has_epilogue, is_read_differently};
use super::super::{LayerKind, Scope};
use super::{Found, Level, Place, Spot, Walker, reason_of, slice};
use crate::cms::{CmsError, ContentInfo, ContentKind, SignedData};
use crate::mail::mime::Entity;
use crate::pki::Certificate;
use crate::reason::Reason;
use crate::smime::verify::{Bounds, Checked, Content, check, tidy};
use bytes::Bytes;

impl Found {
    /// Whether it is a signature over all there is by somebody who knew all of it. Trust, dates and addresses are other
    /// questions.
    pub(super) fn proves_its_content(&self) -> bool {
        self.is_genuine() && self.signers.iter().all(|signer| signer.reasons.is_empty())
    }

    /// The same, and a digest that counts as weak does not matter.
    pub(super) fn is_genuine(&self) -> bool {
        let holds =
            |signer: &Checked| signer.holds() && signer.reasons.iter().all(|reason| *reason == Reason::WeakAlgorithm);
        self.kind.is_signed()
            && self.whole
            && self.plain_before
            && self.reasons.is_empty()
            && !self.signers.is_empty()
            && self.signers.iter().all(holds)
    }
}

impl Walker<'_> {
    /// RFC 1847: exactly two parts, the second the signature over the octets of the first.
    pub(super) fn multipart_signed(&mut self, spot: &Spot<'_>) -> Option<Level> {
        let (level, entity) = (spot.level, spot.entity);
        let within = |number: &str| {
            spot.part.as_ref().map(|part| if part.is_empty() { number.to_owned() } else { format!("{part}.{number}") })
        };
        let mut found = Found { whole: spot.whole, ..Found::new(LayerKind::SignedDetached, within("2")) };
        if has_epilogue(&level.bytes, entity) {
            found.reasons.push(Reason::Partial);
        }
        let mut inside = None;
        if let [content, signature] = entity.children.as_slice() {
            let bytes = slice(level, &content.whole);
            if bytes.is_empty() {
                found.reasons.push(Reason::Malformed);
            }
            found.plain_before = level.bytes.get(..content.whole.start).is_some_and(<[u8]>::is_ascii);
            let (signature, lenient) = decode(spot.structure, &level.bytes, signature);
            if lenient || is_read_differently(&level.bytes, entity) {
                found.reasons.push(Reason::Ambiguous);
            }
            self.detached(entity, signature.into_owned(), &bytes, &mut found);
            let whole = spot.whole && found.reasons.is_empty();
            inside = Some(Level { bytes, part: within("1"), is_message: false, whole });
        } else {
            found.reasons.push(Reason::Malformed);
        }
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

    pub(super) fn opaque(&mut self, info: &ContentInfo, spot: &Spot<'_>) -> Option<Level> {
        let mut found = spot.found(LayerKind::SignedOpaque);
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
            spot.place.forgive(&mut found.reasons);
        }
        let content = signed.content.clone().unwrap_or_default();
        // An attached detached signature has no content here to be judged against.
        if !(spot.place == Place::Part && signed.content.is_none()) {
            self.signers(&signed, &content, &mut found);
        }
        let goes_on = found.kind == LayerKind::SignedOpaque && !content.is_empty();
        let whole = spot.whole && found.reasons.is_empty();
        self.walk.layers.push(found);
        goes_on.then(|| Level::inside(content, whole))
    }
}

/// `sha-256`, `sha256` and `rsa-sha256` name the same digest; several are separated by commas.
fn names_digest(micalg: &str, digest: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    micalg.split(',').any(|name| plain(name).trim_start_matches("rsa") == plain(digest))
}
