//! MIME structure: ranges lie in each other and in the input, in order; parts stand between exact delimiter lines.

use segel::limits::Limits;
use segel::mail::mime::{Encoding, Entity, Structure, parse};

/// The structure of `data` as a message.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let Ok(structure) = parse(data, &limits) else { return };
    assert!(structure.root.whole == (0..data.len()));
    let mut found = Found { entities: 0, depth: 0 };
    found.entity(data, &structure, &structure.root, 0);
    assert!(found.entities <= limits.mime_entities && found.depth <= limits.mime_depth);
    for (index, one) in structure.ambiguities.iter().enumerate() {
        assert!(!structure.ambiguities[index + 1..].contains(one), "{one:?} is reported twice");
    }
}

struct Found {
    entities: usize,
    depth: usize,
}

impl Found {
    fn entity(&mut self, data: &[u8], structure: &Structure, entity: &Entity, depth: usize) {
        self.entities += 1;
        self.depth = self.depth.max(depth);
        assert!(entity.whole.start <= entity.body.start && entity.body.start <= entity.body.end);
        assert!(entity.body.end == entity.whole.end && entity.whole.end <= data.len());
        let whole = &data[entity.whole.clone()];
        super::headers::section(whole, &entity.header);
        let body = &data[entity.body.clone()];
        if let Ok(content) = structure.decode(data, entity) {
            match entity.encoding {
                Encoding::Base64 => assert!(content.len() <= body.len() / 4 * 3),
                Encoding::QuotedPrintable => assert!(content.len() <= body.len()),
                Encoding::Unknown => panic!("decoded what has no name"),
                _ => assert!(*content == *body),
            }
        }
        let mut from = entity.body.start;
        for child in &entity.children {
            assert!(child.whole.start >= from && child.whole.end <= entity.body.end, "children in order, in the body");
            from = child.whole.end;
            if entity.content_type.main == "multipart" {
                stands_between_delimiters(data, entity, child);
            } else {
                assert!(entity.content_type.main == "message" && child.whole == entity.body);
            }
            self.entity(data, structure, child, depth + 1);
        }
    }
}

/// The line before the part, and the one after it, are exactly delimiters.
fn stands_between_delimiters(data: &[u8], entity: &Entity, part: &Entity) {
    let boundary = entity.content_type.parameter("boundary").expect("parts need a boundary");
    let delimiter = format!("--{boundary}");
    let before = &data[..part.whole.start];
    let line = before.strip_suffix(b"\n").map(|before| before.strip_suffix(b"\r").unwrap_or(before));
    // At the end of the message a delimiter line needs no line break.
    let line = line.unwrap_or(before);
    let line = &line[line.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1)..];
    let padding = line.strip_prefix(delimiter.as_bytes()).expect("a delimiter stands before the part");
    assert!(padding.iter().all(|octet| matches!(octet, b' ' | b'\t')), "{padding:?}");
    let after = &data[part.whole.end..entity.body.end];
    if !after.is_empty() {
        // A part without a line break of its own ends where the next delimiter line begins.
        let after = after.strip_prefix(b"\r\n").or_else(|| after.strip_prefix(b"\n")).unwrap_or(after);
        assert!(after.starts_with(delimiter.as_bytes()), "a delimiter stands after the part");
    }
    // No delimiter line within: neither of this multipart nor closing it.
    for line in data[part.whole.clone()].split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let rest = line.strip_prefix(delimiter.as_bytes());
        let rest = rest.map(|rest| rest.strip_prefix(b"--").unwrap_or(rest));
        assert!(
            !rest.is_some_and(|rest| rest.iter().all(|octet| matches!(octet, b' ' | b'\t'))),
            "{line:?} within a part"
        );
    }
}
