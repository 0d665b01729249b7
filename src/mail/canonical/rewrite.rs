//! Writes an entity anew in 7 bits, part by part.

use super::{
    Encoding, Entity, Structure, append_content_type, declares_more_than_7bit, is_transport_safe, span, unfold,
};
use crate::mail::line_end;
use crate::mail::mime::encoding::{append_base64, append_quoted_printable};
use memchr::memmem;

/// The root entity in 7 bits with `fields` as its header section, or nothing if something in it must keep octets that
/// do not survive transport.
pub(super) fn entity(message: &[u8], structure: &Structure, fields: &[u8]) -> Option<Vec<u8>> {
    let mut writer = Writer { message, structure, out: Vec::with_capacity(message.len() + message.len() / 4) };
    writer.entity(&structure.root, Some(fields))?;
    Some(writer.out)
}

struct Writer<'a> {
    message: &'a [u8],
    structure: &'a Structure,
    out: Vec<u8>,
}

/// What becomes of a body.
enum Body {
    Kept,
    Base64,
    QuotedPrintable,
}

impl Writer<'_> {
    /// Recursion follows the tree, whose depth `mime::parse` has bounded. `fields` replaces the header of the root.
    fn entity(&mut self, entity: &Entity, fields: Option<&[u8]>) -> Option<()> {
        let whole = span(self.message, entity.whole.clone());
        let body = span(self.message, entity.body.clone());
        if fields.is_none() && is_transport_safe(whole) && !declares_more_than_7bit(entity) {
            self.out.extend_from_slice(whole);
            return Some(());
        }
        let protected = is_protected(entity, self.message);
        if protected {
            return None;
        }
        let header = fields.unwrap_or_else(|| span(self.message, entity.whole.start..entity.body.start));
        if !entity.children.is_empty() {
            self.header(header, entity, Some("7bit"), &[])?;
            return if entity.content_type.main == "multipart" {
                self.parts(entity, body)
            } else {
                entity.children.iter().try_for_each(|child| self.entity(child, None))
            };
        }
        self.leaf(entity, header, body, fields.is_some())
    }

    fn leaf(&mut self, entity: &Entity, header: &[u8], body: &[u8], root: bool) -> Option<()> {
        let text = entity.content_type.main == "text";
        let treatment = match entity.encoding {
            _ if is_transport_safe(body) => Body::Kept,
            // RFC 2046 section 5.2 allows no encoding of message/partial and of most other message types.
            _ if matches!(entity.content_type.main.as_str(), "message" | "multipart") => return None,
            Encoding::Base64 => Body::Base64,
            Encoding::Binary if !has_text_lines(body) => Body::Base64,
            _ if text => Body::QuotedPrintable,
            _ => Body::Base64,
        };
        let content = self.structure.decode(self.message, entity).ok()?;
        let label = match (&treatment, entity.encoding) {
            (Body::Base64, _) => Some("base64"),
            (Body::QuotedPrintable, _) => Some("quoted-printable"),
            (Body::Kept, Encoding::EightBit | Encoding::Binary) => Some("7bit"),
            (Body::Kept, _) => None,
        };
        let implied = if root { content.as_ref() } else { &[] };
        self.header(header, entity, label, implied)?;
        match treatment {
            Body::Kept => self.out.extend_from_slice(body),
            Body::Base64 => append_base64(&content, &mut self.out),
            Body::QuotedPrintable => append_quoted_printable(&content, &mut self.out),
        }
        Some(())
    }

    /// Copies a header section without blanks at line ends, its transfer encoding replaced by `label` if there is one.
    /// Header text cannot be encoded here, so octets above 127 end the attempt.
    fn header(&mut self, header: &[u8], entity: &Entity, label: Option<&str>, content: &[u8]) -> Option<()> {
        if !header.is_ascii() {
            return None;
        }
        if !content.is_empty() {
            append_content_type(&mut self.out, entity, content);
        }
        let (mut at, mut replaced, mut dropping) = (0, false, false);
        while at < header.len() {
            let (end, next) = line_end(header, at);
            let line = span(header, at..end);
            at = next;
            if line.is_empty() {
                break;
            }
            let continues = matches!(line.first(), Some(b' ' | b'\t'));
            if !continues {
                dropping = label.is_some() && is_transfer_encoding(line);
                if let Some(label) = label.filter(|_| dropping && !replaced) {
                    self.transfer_encoding(label);
                    replaced = true;
                }
            }
            let content = line.trim_ascii_end();
            // A folded line of blanks alone would become the empty line that ends the header.
            if !dropping && !content.is_empty() {
                self.out.extend_from_slice(content);
                self.out.extend_from_slice(b"\r\n");
            }
        }
        if let Some(label) = label.filter(|label| !replaced && *label != "7bit") {
            self.transfer_encoding(label);
        }
        self.out.extend_from_slice(b"\r\n");
        Some(())
    }

    fn transfer_encoding(&mut self, label: &str) {
        self.out.extend_from_slice(b"Content-Transfer-Encoding: ");
        self.out.extend_from_slice(label.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// The parts between delimiter lines. Nobody reads what stands outside of them, so it stays only if it is safe.
    fn parts(&mut self, entity: &Entity, body: &[u8]) -> Option<()> {
        let boundary = entity.content_type.parameter("boundary")?.to_owned();
        let delimiter = format!("--{boundary}");
        let first = entity.children.first().map_or(entity.body.end, |child| child.whole.start);
        let before = span(self.message, entity.body.start..first);
        let preamble = memmem::rfind(before, delimiter.as_bytes()).map_or(&[][..], |at| span(before, 0..at));
        if is_transport_safe(preamble) {
            self.out.extend_from_slice(preamble);
        }
        for child in &entity.children {
            self.out.extend_from_slice(delimiter.as_bytes());
            self.out.extend_from_slice(b"\r\n");
            self.entity(child, None)?;
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(delimiter.as_bytes());
        self.out.extend_from_slice(b"--");
        let last = entity.children.last().map_or(entity.body.start, |child| child.whole.end);
        let after = span(self.message, last..entity.body.end);
        let closing = format!("{delimiter}--");
        let epilogue = memmem::find(after, closing.as_bytes()).map_or(&[][..], |at| {
            let rest = span(after, at + closing.len()..after.len());
            let blanks = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
            span(rest, blanks..rest.len())
        });
        debug_assert!(last <= entity.body.start + body.len());
        if is_transport_safe(epilogue) {
            self.out.extend_from_slice(epilogue);
        } else {
            self.out.extend_from_slice(b"\r\n");
        }
        Some(())
    }
}

fn is_transfer_encoding(line: &[u8]) -> bool {
    let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
    name.trim_ascii_end().eq_ignore_ascii_case(b"Content-Transfer-Encoding")
}

/// Whether every line ends in CRLF and there is no NUL: then `binary` text may be encoded as text.
fn has_text_lines(body: &[u8]) -> bool {
    memchr::memchr(0, body).is_none()
        && memchr::memchr_iter(b'\n', body).count() == memmem::find_iter(body, b"\r\n").count()
        && memchr::memchr_iter(b'\r', body).count() == memmem::find_iter(body, b"\r\n").count()
}

/// Fields of a nested message that sign its octets.
const SIGNING_FIELDS: [&[u8]; 5] =
    [b"DKIM-Signature", b"ARC-Message-Signature", b"ARC-Seal", b"DomainKey-Signature", b"X-Google-DKIM-Signature"];

/// Whether the entity's octets are signed or encrypted by what it is or holds at its top: its own type, inline OpenPGP, or a
/// nested message with a signature over itself (O04).
fn is_protected(entity: &Entity, message: &[u8]) -> bool {
    let content_type = &entity.content_type;
    let by_type = match content_type.main.as_str() {
        "multipart" => matches!(content_type.sub.as_str(), "signed" | "encrypted"),
        "application" => {
            let sub = content_type.sub.as_str();
            sub.contains("pkcs7-") || sub.contains("pgp-") || sub == "pkcs10"
        }
        "text" => is_inline_pgp(span(message, entity.body.clone())),
        _ => false,
    };
    by_type
        || (content_type.main == "message"
            && entity.children.iter().any(|child| {
                let bytes = span(message, child.whole.clone());
                child.header.fields().iter().any(|field| {
                    let name = span(bytes, field.name.clone());
                    SIGNING_FIELDS.iter().any(|signing| name.eq_ignore_ascii_case(signing))
                        && !unfold(span(bytes, field.value.clone())).is_empty()
                })
            }))
}

fn is_inline_pgp(body: &[u8]) -> bool {
    memmem::find_iter(body, b"-----BEGIN PGP ").any(|at| {
        let line_start = at == 0 || body.get(at - 1) == Some(&b'\n');
        let kind = body.get(at + 15..).unwrap_or_default();
        line_start && (kind.starts_with(b"SIGNED MESSAGE") || kind.starts_with(b"MESSAGE"))
    })
}
