//! From a message as it came to the entity that is signed: O01 to O05, O10.
//!
//! Mail that is clean already keeps its body byte for byte. Otherwise each leaf that a relay could change is encoded
//! anew; what holds a signature or encryption of its own is never touched, and makes the whole opaque if it would have to
//! be. So does a structure that two readers see differently: its octets are wrapped as they are. What has no structure at all,
//! or one beyond the limits, is refused.

mod rewrite;

use super::header::{HeaderError, HeaderSection, unfold};
use super::mime::{self, Encoding, Entity, MimeError, Structure};
use super::span;
use crate::limits::Limits;
use memchr::memmem;
use std::borrow::Cow;

/// A message taken apart for signing.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// All fields that stay outside, as they were, with final CRLFs (no Content-*, no MIME-Version, no Bcc).
    pub outer: Vec<u8>,
    /// The entity to sign: Content-* fields, empty line, 7-bit canonical body (CRLF only), no final CRLF added.
    /// For [`Form::Opaque`] the body is the one that arrived.
    pub entity: Vec<u8>,
    /// How it may be signed.
    pub form: Form,
}

/// Clear: multipart/signed is safe. Opaque: the entity holds what must not be re-encoded (O04), so its bytes are kept and wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `multipart/signed` survives transport.
    Clear,
    /// Only `application/pkcs7-mime` does.
    Opaque,
}

/// Why a message cannot be made canonical.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The structure has no single reading, or a limit was reached; what exactly.
    #[error("{0}")]
    Unsuitable(&'static str),
}

/// Takes a message apart: fields that stay outside, and the entity to sign.
///
/// # Errors
/// [`CanonicalError`] for structures without a single reading.
pub fn canonical(message: &[u8], limits: &Limits) -> Result<Canonical, CanonicalError> {
    let message = with_crlf(message);
    let structure = parsed(&message, limits)?;
    let root = &structure.root;
    let (outer, inner) = divide(&message, &root.header);
    let body = span(&message, root.body.clone());
    // Nothing is re-encoded that two readers could take apart differently: its bytes are wrapped as they are.
    if !structure.ambiguities.is_empty() {
        return Ok(Canonical { outer, entity: joined(&inner, root, body), form: Form::Opaque });
    }
    let clean = is_transport_safe(body) && inner.is_ascii() && !declares_more_than_7bit(root);
    if !clean {
        match rewrite::entity(&message, &structure, &inner) {
            Some(entity) => return Ok(Canonical { outer, entity, form: Form::Clear }),
            None => return Ok(Canonical { outer, entity: joined(&inner, root, body), form: Form::Opaque }),
        }
    }
    Ok(Canonical { outer, entity: joined(&inner, root, body), form: Form::Clear })
}

/// Takes a message apart without changing an octet of its body: what is encrypted needs no 7-bit form, and what somebody
/// signed keeps its bytes.
///
/// # Errors
/// [`CanonicalError`] for structures without a single reading.
pub fn as_it_is(message: &[u8], limits: &Limits) -> Result<Canonical, CanonicalError> {
    let structure = parsed(message, limits)?;
    let root = &structure.root;
    let (outer, inner) = divide(message, &root.header);
    let entity = joined(&inner, root, span(message, root.body.clone()));
    Ok(Canonical { outer, entity, form: Form::Opaque })
}

fn parsed(message: &[u8], limits: &Limits) -> Result<Structure, CanonicalError> {
    mime::parse(message, limits).map_err(|error| {
        CanonicalError::Unsuitable(match error {
            MimeError::TooComplex => "the message has too many parts",
            MimeError::Header(HeaderError::NotAField(_)) => "the header section holds a line that is no field",
            MimeError::Header(_) => "the header section is too large",
        })
    })
}

/// Lines of a file that end in LF alone get CRLF; mail from SMTP has none and is not copied.
fn with_crlf(message: &[u8]) -> Cow<'_, [u8]> {
    let is_bare = |at: usize| at == 0 || message.get(at - 1) != Some(&b'\r');
    if !memchr::memchr_iter(b'\n', message).any(is_bare) {
        return Cow::Borrowed(message);
    }
    let mut lines = Vec::with_capacity(message.len() + message.len() / 32);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(content) => {
                lines.extend_from_slice(content.strip_suffix(b"\r").unwrap_or(content));
                lines.extend_from_slice(b"\r\n");
            }
            None => lines.extend_from_slice(line),
        }
    }
    Cow::Owned(lines)
}

/// The fields that stay outside, and the Content-* fields.
fn divide(message: &[u8], header: &HeaderSection) -> (Vec<u8>, Vec<u8>) {
    let (mut outer, mut inner) = (Vec::with_capacity(header.body()), Vec::with_capacity(512));
    for field in header.fields() {
        let name = span(message, field.name.clone());
        let whole = span(message, field.whole.clone());
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) {
            append_line(&mut inner, whole);
        } else if !is("MIME-Version") && !is("Bcc") && !is("Resent-Bcc") {
            append_line(&mut outer, whole);
        }
    }
    (outer, inner)
}

/// Only the last line of a message without body can lack its CRLF.
fn append_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
}

/// The entity with its body as it is.
fn joined(inner: &[u8], root: &Entity, body: &[u8]) -> Vec<u8> {
    let mut entity = Vec::with_capacity(inner.len() + body.len() + 64);
    append_content_type(&mut entity, root, body);
    entity.extend_from_slice(inner);
    entity.extend_from_slice(b"\r\n");
    entity.extend_from_slice(body);
    entity
}

/// A message without `Content-Type` is us-ascii text. If it is not ASCII, it is called UTF-8 where it is, and otherwise
/// left without a charset: a reader then guesses as it would have done, while `unknown-8bit` or a guess of ours would
/// stand under the signature as a fact.
fn append_content_type(out: &mut Vec<u8>, entity: &Entity, content: &[u8]) {
    if entity.content_type.explicit {
        return;
    }
    out.extend_from_slice(match (content.is_ascii(), std::str::from_utf8(content)) {
        (true, _) if entity.encoding.is_identity() => b"Content-Type: text/plain; charset=us-ascii\r\n".as_slice(),
        (false, Ok(_)) => b"Content-Type: text/plain; charset=utf-8\r\n",
        _ => b"Content-Type: text/plain\r\n",
    });
}

/// Whether a relay converts something because of its label (some do so by the label alone).
fn declares_more_than_7bit(entity: &Entity) -> bool {
    matches!(entity.encoding, Encoding::EightBit | Encoding::Binary)
        || entity.children.iter().any(declares_more_than_7bit)
}

/// Octets of a line without CRLF (RFC 5321 section 4.5.3.1.6).
const LINE: usize = 998;

/// Whether no relay has a reason to change these octets: ASCII without NUL, lines up to 998, none that begins with
/// `From `, ends in a blank or is a lone dot (RFC 8551 section 3.1.4), CRLF only.
fn is_transport_safe(text: &[u8]) -> bool {
    if !text.is_ascii() || memchr::memchr(0, text).is_some() {
        return false;
    }
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
        let line = span(text, at..end);
        let line = match line.split_last() {
            Some((b'\r', content)) if end < text.len() => content,
            _ if end < text.len() => return false,
            _ => line,
        };
        let harmless = line.len() <= LINE
            && !matches!(line.last(), Some(b' ' | b'\t' | b'\r'))
            && line != b"."
            && !(line.first() == Some(&b'F') && line.starts_with(b"From "));
        if !harmless {
            return false;
        }
        at = end + 1;
    }
    // A bare CR inside a line.
    memchr::memchr_iter(b'\r', text).all(|at| text.get(at + 1) == Some(&b'\n'))
}

/// `multipart/signed` around entity and the DER of a detached SignedData (O06, O07, O10). `boundary` is random, from the
/// caller; should the entity hold it, it is made longer. `micalg` as `sha-256`, several with commas (RFC 8551 section 3.5.3.2).
pub fn multipart_signed(outer: &[u8], entity: &[u8], signature_der: &[u8], micalg: &str, boundary: &str) -> Vec<u8> {
    let mut boundary = boundary.to_owned();
    while memmem::find(entity, format!("--{boundary}").as_bytes()).is_some() && boundary.len() < 70 {
        boundary.push('_');
    }
    let quote = if micalg.contains(',') { "\"" } else { "" };
    let mut out =
        Vec::with_capacity(outer.len() + entity.len() + signature_der.len() / 3 * 4 + signature_der.len() / 40 + 640);
    out.extend_from_slice(outer);
    let head = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/signed;\r\n protocol=\"application/pkcs7-signature\";\r\n \
         micalg={quote}{micalg}{quote};\r\n boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(entity);
    let middle = format!(
        "\r\n--{boundary}\r\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7s\"\r\n\
         Content-Description: S/MIME Cryptographic Signature\r\n\r\n"
    );
    out.extend_from_slice(middle.as_bytes());
    mime::encoding::append_base64(signature_der, &mut out);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

/// `application/pkcs7-mime; smime-type=…` around the DER of a CMS message (O08).
pub fn pkcs7_mime(outer: &[u8], smime_type: &str, der: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(outer.len() + der.len() / 3 * 4 + der.len() / 40 + 320);
    out.extend_from_slice(outer);
    let head = format!(
        "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type={smime_type};\r\n name=\"smime.p7m\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7m\"\r\n\
         Content-Description: S/MIME Message\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    mime::encoding::append_base64(der, &mut out);
    out
}

#[cfg(test)]
mod tests;
