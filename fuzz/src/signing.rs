//! What is signed is what a reader finds, and says what was written.

use segel::limits::Limits;
use segel::mail::canonical::{Form, canonical, multipart_signed, pkcs7_mime};
use segel::mail::mime::{Entity, Structure, parse};

/// Takes `data` apart for signing, puts it together and reads the result.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let Ok(prepared) = canonical(data, &limits) else { return };
    let (outer, entity) = (&prepared.outer, &prepared.entity);
    let message = match prepared.form {
        Form::Clear => multipart_signed(outer, entity, b"signature", "sha-256", "----=_limit"),
        Form::Opaque => pkcs7_mime(outer, "signed-data", b"signature"),
    };
    // One level more than there was may be one too many.
    let Ok(structure) = parse(&message, &limits) else { return };
    let root = &structure.root;
    match prepared.form {
        Form::Clear => {
            assert!(safe(entity), "{:?}", String::from_utf8_lossy(entity));
            assert!(root.content_type.is("multipart", "signed") && root.children.len() == 2, "{:?}", root.content_type);
            let [content, signature] = &root.children[..] else { panic!("two parts") };
            assert_eq!(&message[content.whole.clone()], &entity[..], "what is read is what is signed");
            assert_eq!(structure.decode(&message, signature).as_deref(), Ok(&b"signature"[..]));
            let original = crlf(data);
            let before = parse(&original, &limits).expect("it was read before");
            same_content(&original, &before, &before.root, &message, &structure, content);
        }
        Form::Opaque => {
            assert!(root.content_type.is("application", "pkcs7-mime"));
            assert_eq!(structure.decode(&message, root).as_deref(), Ok(&b"signature"[..]));
        }
    }
}

/// RFC 8551 section 3.1: nothing that a relay has a reason to change.
fn safe(entity: &[u8]) -> bool {
    entity.is_ascii()
        && !entity.contains(&0)
        && entity.split(|octet| *octet == b'\n').all(|line| line.strip_suffix(b"\r").unwrap_or(line).len() <= 998)
        && entity.iter().enumerate().all(|(at, octet)| match octet {
            b'\n' => at > 0 && entity[at - 1] == b'\r',
            b'\r' => entity.get(at + 1) == Some(&b'\n'),
            _ => true,
        })
}

/// Leaf by leaf the same content, whatever its encoding.
fn same_content(one: &[u8], first: &Structure, before: &Entity, two: &[u8], second: &Structure, after: &Entity) {
    assert_eq!(before.children.len(), after.children.len());
    if before.children.is_empty() {
        let text = before.content_type.main == "text";
        let (before, after) = (first.decode(one, before), second.decode(two, after));
        assert_eq!(
            before.as_deref().map(|content| ends(content, text)),
            after.as_deref().map(|content| ends(content, text))
        );
    }
    for (before, after) in before.children.iter().zip(&after.children) {
        same_content(one, first, before, two, second, after);
    }
}

/// Without line breaks at the end: who wrote none gets one. Lines of a text may have ended in LF, also where it was encoded.
fn ends(content: &[u8], text: bool) -> Vec<u8> {
    let end = content.iter().rposition(|octet| !b"\r\n".contains(octet)).map_or(0, |at| at + 1);
    content[..end].iter().copied().filter(|octet| !(text && *octet == b'\r')).collect()
}

fn crlf(data: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(data.len());
    for (at, octet) in data.iter().enumerate() {
        if *octet == b'\n' && (at == 0 || data[at - 1] != b'\r') {
            lines.push(b'\r');
        }
        lines.push(*octet);
    }
    lines
}
