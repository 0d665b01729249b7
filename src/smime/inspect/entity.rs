//! What one MIME entity claims to be, before its content is looked at.

use crate::mail::mime::Entity;
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
    /// Something else under a file name that S/MIME uses; only the content can tell.
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
            let last = entity.children.last();
            if protocol == "application/pgp-signature"
                || last.is_some_and(|part| part.content_type.is("application", "pgp-signature"))
            {
                Claim::Pgp
            } else if matches!(protocol.as_str(), "application/pkcs7-signature" | "application/x-pkcs7-signature")
                || entity.children.iter().any(|part| is_signature(part) || claim_of_leaf_is_smime(part))
            {
                Claim::MultipartSigned
            } else {
                Claim::None
            }
        }
        _ => Claim::None,
    }
}

/// A second part whose type a relay lost, but whose name tells.
fn claim_of_leaf_is_smime(part: &Entity) -> bool {
    part.content_type.main == "application" && names(part).any(|name| name.to_ascii_lowercase().ends_with(".p7s"))
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
