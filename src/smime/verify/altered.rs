//! Why a digest may differ: a second look, only to explain. Nothing found here makes a signature hold.

use crate::crypto::Digest;

/// Takes back what a relay may have done.
type Undo = fn(&[u8]) -> Vec<u8>;

/// Whether undoing something that relays and lists are known to do gives the digest that was signed.
pub(super) fn in_transit(digest: Digest, expected: &[u8], content: &[u8]) -> bool {
    let undone: [Undo; 5] =
        [without_trailing_blanks, without_last_lines, with_last_line_end, without_from_quoting, without_footer];
    undone.iter().any(|undo| digest.hash(&[&undo(content)]).is_ok_and(|actual| actual == expected))
}

fn without_trailing_blanks(content: &[u8]) -> Vec<u8> {
    per_line(content, |line| {
        let kept = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |last| last + 1);
        line.get(..kept).unwrap_or(line)
    })
}

fn without_from_quoting(content: &[u8]) -> Vec<u8> {
    per_line(content, |line| if line.starts_with(b">From ") { line.get(1..).unwrap_or(line) } else { line })
}

fn without_last_lines(content: &[u8]) -> Vec<u8> {
    let mut rest = content;
    while let Some(shorter) = rest.strip_suffix(b"\r\n") {
        rest = shorter;
    }
    rest.to_vec()
}

fn with_last_line_end(content: &[u8]) -> Vec<u8> {
    [content, b"\r\n"].concat()
}

/// A list's footer begins with a line of underscores (Mailman) or with `-- `.
fn without_footer(content: &[u8]) -> Vec<u8> {
    let begins = |mark: &[u8]| content.windows(mark.len()).rposition(|window| window == mark);
    let footer = begins(b"\r\n______").max(begins(b"\r\n-- \r\n"));
    footer.and_then(|at| content.get(..at + 2)).unwrap_or(content).to_vec()
}

fn per_line<'a>(content: &'a [u8], edit: impl Fn(&'a [u8]) -> &'a [u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for (index, line) in content.split(|octet| *octet == b'\n').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(edit(line.strip_suffix(b"\r").unwrap_or(line)));
    }
    out
}
