//! Mail that counts as unambiguous has the same parts for another reader, `mail-parser`.

use mail_parser::{MessageParser, PartType};
use segel::limits::Limits;
use segel::mail::mime::{Entity, parse};

/// Structure and raw content of the parts, two levels deep: nobody signs or verifies by what lies deeper.
pub fn check(data: &[u8]) {
    let Ok(structure) = parse(data, &Limits::default()) else { return };
    if !structure.ambiguities.is_empty() || structure.root.content_type.main != "multipart" {
        return;
    }
    if !is_closed(data, &structure.root) || holds_a_message(&structure.root) {
        // A delimiter of an outer multipart ends an inner one that was never closed (RFC 2046 section 5.1.2); where that one
        // stands in a `message/rfc822`, `mail-parser` does not come back. Other nested messages fail an assertion of its own.
        return;
    }
    // Over the end of a date that is none it would read on: it is asked for the structure alone.
    let Some(message) = MessageParser::new().with_mime_headers().default_header_raw().parse(data) else {
        panic!("mail-parser reads nothing");
    };
    compare(data, &structure.root, &message, 0, 0);
}

fn compare(data: &[u8], entity: &Entity, message: &mail_parser::Message<'_>, part: u32, depth: usize) {
    if entity.children.iter().any(|child| child.whole.is_empty()) {
        // Delimiters without anything between them: `mail-parser` goes past them.
        return;
    }
    let Some(part) = message.part(part) else { panic!("no such part") };
    let PartType::Multipart(children) = &part.body else {
        panic!("{:?} is no multipart for mail-parser", entity.content_type);
    };
    assert_eq!(entity.children.len(), children.len(), "parts of {:?}", entity.content_type);
    for (one, other) in entity.children.iter().zip(children) {
        let Some(part) = message.part(*other) else { panic!("no such part") };
        let found =
            data.get(part.raw_header_offset() as usize..part.raw_end_offset() as usize).expect("in the message");
        // To which part a line break belongs that ends a header section without a body is a matter of taste.
        let (own, theirs) = (&data[one.whole.clone()], found);
        assert!(one.whole.start == part.raw_header_offset() as usize, "{own:?} begins elsewhere: {theirs:?}");
        if one.children.is_empty() {
            assert_eq!(own.trim_ascii_end(), theirs.trim_ascii_end(), "{}", String::from_utf8_lossy(own));
        }
        if one.content_type.main == "multipart" && depth < 1 {
            compare(data, one, message, *other, depth + 1);
        }
    }
}

fn holds_a_message(entity: &Entity) -> bool {
    entity.content_type.main == "message" || entity.children.iter().any(holds_a_message)
}

/// Whether every multipart in it has its closing delimiter.
fn is_closed(data: &[u8], entity: &Entity) -> bool {
    let closes = entity.content_type.parameter("boundary").is_none_or(|boundary| {
        let close = format!("\n--{boundary}--");
        data[entity.body.start.saturating_sub(1)..entity.body.end]
            .windows(close.len())
            .any(|window| window == close.as_bytes())
    });
    (entity.content_type.main != "multipart" || closes) && entity.children.iter().all(|child| is_closed(data, child))
}
