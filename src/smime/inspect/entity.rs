//! What one MIME entity claims to be, before its content is looked at.

use super::{LayerKind, Structure};
use crate::mail::mime::{self, Ambiguity, Encoding, Entity};
use std::borrow::Cow;
use std::ops::Range;

/// What an entity claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// `multipart/signed` with an S/MIME signature.
    MultipartSigned,
    /// A media type that S/MIME owns: `application/pkcs7-mime` and its `x-` form.
    PkcsMime,
    /// `application/pkcs7-signature` and its `x-` form.
    PkcsSignature,
    /// Another `application/` type under a file name that S/MIME uses; only the content can tell.
    NamedLikeSmime,
    /// PGP/MIME (RFC 3156).
    Pgp,
    /// Nothing of these.
    None,
}

/// What `entity` claims to be.
pub(super) fn claim(entity: &Entity) -> Claim {
    let kind = &entity.content_type;
    if kind.main == "multipart" {
        return multipart(entity);
    }
    if kind.is("application", "pkcs7-mime") || kind.is("application", "x-pkcs7-mime") {
        return Claim::PkcsMime;
    }
    if is_signature(entity) {
        return Claim::PkcsSignature;
    }
    if kind.main == "application" && names(entity).any(has_smime_suffix) {
        return Claim::NamedLikeSmime;
    }
    Claim::None
}

fn multipart(entity: &Entity) -> Claim {
    let kind = &entity.content_type;
    let protocol = kind.parameter("protocol").unwrap_or_default().trim().to_ascii_lowercase();
    match kind.sub.as_str() {
        "encrypted" if protocol == "application/pgp-encrypted" => Claim::Pgp,
        "signed" => {
            let openpgp = protocol == "application/pgp-signature" || entity.children.last().is_some_and(is_openpgp);
            // The first part is content, whatever it is.
            let mut signatures = entity.children.iter().skip(usize::from(openpgp));
            if is_smime_protocol(&protocol)
                || signatures.any(|part| is_signature(part) || is_named_like_a_signature(part))
            {
                Claim::MultipartSigned
            } else if openpgp {
                Claim::Pgp
            } else {
                Claim::None
            }
        }
        _ => Claim::None,
    }
}

fn is_smime_protocol(protocol: &str) -> bool {
    matches!(protocol, "application/pkcs7-signature" | "application/x-pkcs7-signature")
}

fn is_openpgp(part: &Entity) -> bool {
    part.content_type.is("application", "pgp-signature")
}

/// A second part whose type a relay lost, but whose name tells.
fn is_named_like_a_signature(part: &Entity) -> bool {
    part.content_type.main == "application" && names(part).any(has_signature_suffix)
}

fn has_signature_suffix(name: &str) -> bool {
    name.trim().to_ascii_lowercase().ends_with(".p7s")
}

/// Whether readers could take a `multipart/signed` for something else: the protocol says OpenPGP, or the signature is of a
/// type or under a name that readers show (RFC 1847 section 2.1 wants the type that the protocol names).
pub(super) fn is_read_differently(bytes: &[u8], multipart: &Entity) -> bool {
    let protocol = multipart.content_type.parameter("protocol").unwrap_or_default().trim().to_ascii_lowercase();
    if protocol == "application/pgp-signature" || multipart.children.iter().any(is_openpgp) {
        return true;
    }
    let Some(signature) = multipart.children.get(1) else { return false };
    let octets = signature.content_type.is("application", "octet-stream") && names(signature).any(has_signature_suffix);
    if !is_signature(signature) && !octets {
        return true;
    }
    let own = bytes.get(signature.whole.clone()).unwrap_or_default();
    let mut dispositions = signature.header.named(own, "Content-Disposition");
    let inline = dispositions.any(|field| {
        let value = signature.header.text(own, field);
        value.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"inline"))
    });
    inline && !names(signature).all(has_signature_suffix)
}

/// Whether a part's name promises S/MIME under a type that programs open by themselves: they would show something else.
pub(super) fn is_of_another_type(entity: &Entity) -> bool {
    claim(entity) == Claim::NamedLikeSmime && !entity.content_type.is("application", "octet-stream")
}

/// Whether one of the two fields that decide how an entity is read stands twice in it or in a part of it.
pub(super) fn has_deciding_field_twice(bytes: &[u8], entity: &Entity) -> bool {
    let own = bytes.get(entity.whole.clone()).unwrap_or_default();
    let twice = |name| entity.header.named(own, name).count() > 1;
    twice("Content-Type")
        || twice("Content-Transfer-Encoding")
        // Depth is bounded by `limits.mime_depth`.
        || (entity.content_type.main == "multipart"
            && entity.children.iter().any(|part| has_deciding_field_twice(bytes, part)))
}

/// Decoded content, and whether readers could differ: then what a lenient one gets.
pub(super) fn decode<'a>(structure: &mime::Structure, bytes: &'a [u8], entity: &Entity) -> (Cow<'a, [u8]>, bool) {
    if let Ok(content) = structure.decode(bytes, entity) {
        return (content, false);
    }
    let body = bytes.get(entity.body.clone()).unwrap_or_default();
    // DER begins with 0x30, its base64 with `M`.
    let is_base64 = entity.encoding == Encoding::Base64 || body.trim_ascii_start().first() == Some(&b'M');
    (if is_base64 { Cow::Owned(decode_base64_leniently(body)) } else { Cow::Borrowed(body) }, true)
}

/// Passes over what is not of the alphabet and stops at the first padding, as lenient readers do.
fn decode_base64_leniently(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for octet in body {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).unwrap_or_default());
        }
    }
    out
}

fn is_signature(entity: &Entity) -> bool {
    let kind = &entity.content_type;
    kind.is("application", "pkcs7-signature") || kind.is("application", "x-pkcs7-signature")
}

fn names(entity: &Entity) -> impl Iterator<Item = &str> {
    entity.disposition_filename.as_deref().into_iter().chain(entity.content_type.parameter("name"))
}

fn has_smime_suffix(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    [".p7m", ".p7s", ".p7c", ".p7z"].iter().any(|suffix| name.ends_with(suffix))
}

/// Whether something other than white space follows the last part's delimiter line. A preamble is not asked
/// about: many senders write "This is a signed message" there, and no MIME reader shows it.
pub(super) fn has_epilogue(bytes: &[u8], entity: &Entity) -> bool {
    if !entity.text_outside_parts {
        return false;
    }
    let Some(last) = entity.children.last() else { return true };
    let after: Range<usize> = last.whole.end..entity.body.end;
    let Some(after) = bytes.get(after) else { return true };
    // CRLF, the closing delimiter line, then what should be nothing.
    let after = after.strip_prefix(b"\r\n").or_else(|| after.strip_prefix(b"\n")).unwrap_or(after);
    let line_end = after.iter().position(|octet| *octet == b'\n').map_or(after.len(), |at| at + 1);
    after.get(line_end..).is_some_and(|rest| !rest.iter().all(u8::is_ascii_whitespace))
}

/// All parts below `root` that claim to be S/MIME, outermost ones only, with their part numbers; `bound` parts at most.
pub(super) fn parts_that_claim<'a>(
    root: &'a Entity,
    part: Option<&str>,
    bound: usize,
) -> Vec<(&'a Entity, Option<String>)> {
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

/// What an unreadable CMS object was meant to be, for the report only.
pub(super) fn kind_by_name(entity: &Entity) -> LayerKind {
    match entity.content_type.parameter("smime-type").map(str::to_ascii_lowercase).as_deref() {
        Some("enveloped-data") => LayerKind::Enveloped,
        Some("authenveloped-data") => LayerKind::AuthEnveloped,
        Some("compressed-data") => LayerKind::Compressed,
        _ => LayerKind::SignedOpaque,
    }
}

pub(super) fn bounded(range: &std::ops::Range<usize>, length: usize) -> std::ops::Range<usize> {
    let end = range.end.min(length);
    range.start.min(end)..end
}

pub(super) fn mentions_smime(bytes: &[u8]) -> bool {
    const WORD: &[u8] = b"pkcs7-";
    bytes.windows(WORD.len()).any(|window| window.eq_ignore_ascii_case(WORD))
}

pub(super) fn outgoing_structure(structure: &mime::Structure) -> Structure {
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
