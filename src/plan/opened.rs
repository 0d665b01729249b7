//! The copy for a recipient whose key has opened the mail: what was inside, octet by octet, under the fields that came
//! around it.

use super::{Source, mark};
use crate::limits::Limits;
use crate::mail::header::HeaderSection;
use crate::mail::span;

/// Puts `entity`, the inside of the encrypted layers, in the place of the encrypted content. `fields` go on top.
///
/// Of the header section inside, the fields of MIME count, and `Subject`, which some programs hide outside. Everything
/// else there would be a second word on what the fields around it say already. Nothing where the header section inside
/// can't be read.
pub(super) fn message(entity: &[u8], fields: &str, source: &Source<'_>) -> Option<Vec<u8>> {
    let inside = Inside::read(entity, source.limits)?;
    let around = HeaderSection::parse(source.content, source.limits).ok()?;
    let mut out = Vec::with_capacity(fields.len() + around.body() + entity.len() + 64);
    for field in around.fields() {
        let name = span(source.content, field.name.clone());
        if is_content(name) || name.eq_ignore_ascii_case(b"MIME-Version") {
            continue;
        }
        match inside.subject {
            Some(subject) if name.eq_ignore_ascii_case(b"Subject") => out.extend_from_slice(subject),
            _ => out.extend_from_slice(span(source.content, field.whole.clone())),
        }
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    for field in inside.content {
        out.extend_from_slice(field);
    }
    out.extend_from_slice(b"\r\n");
    // Forged fields are looked for in what is now one header section, whichever layer they came from (I41).
    let mut message = mark::rewrite(&out, source.hostname, fields, source.limits);
    message.extend_from_slice(inside.body);
    Some(message)
}

struct Inside<'a> {
    content: Vec<&'a [u8]>,
    subject: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Inside<'a> {
    fn read(entity: &'a [u8], limits: &Limits) -> Option<Self> {
        let header = HeaderSection::parse(entity, limits).ok()?;
        let whole = |name: &str| {
            let mut fields = header.named(entity, name);
            match (fields.next(), fields.next()) {
                (Some(field), None) => Some(span(entity, field.whole.clone())).filter(|whole| whole.ends_with(b"\r\n")),
                _ => None,
            }
        };
        let content = header.fields().iter().filter(|field| is_mime(span(entity, field.name.clone())));
        Some(Self {
            content: content.map(|field| span(entity, field.whole.clone())).collect(),
            subject: whole("Subject"),
            body: span(entity, header.body()..entity.len()),
        })
    }
}

fn is_content(name: &[u8]) -> bool {
    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
}

/// The fields of this name that say how the content is to be read, and no others (RFC 2045, 2183, 1864, 2424, 2557, 3282).
const MIME: [&[u8]; 10] = [
    b"Content-Type",
    b"Content-Transfer-Encoding",
    b"Content-Disposition",
    b"Content-Description",
    b"Content-ID",
    b"Content-Language",
    b"Content-Location",
    b"Content-Duration",
    b"Content-MD5",
    b"Content-Base",
];

fn is_mime(name: &[u8]) -> bool {
    MIME.iter().any(|known| name.eq_ignore_ascii_case(known))
}
