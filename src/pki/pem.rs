//! PEM as files have it: several blocks, text between them, lines of any length (RFC 7468 section 3, lax).

use data_encoding::BASE64;

/// Whether the file is one DER value and no text: a SEQUENCE with a length in the long form, which no text begins with.
pub(super) fn is_der(file: &[u8]) -> bool {
    matches!(file, [0x30, 0x80..=0xff, ..])
}

/// The contents of all blocks with one of these labels; `None` if one of them is broken. Other blocks are skipped.
pub(super) fn blocks(file: &[u8], labels: &[&str]) -> Option<Vec<Vec<u8>>> {
    let text = String::from_utf8_lossy(file);
    let mut found = Vec::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let mut encoded = String::new();
        loop {
            let line = lines.next()?;
            if let Some(end) = line.strip_prefix("-----END ") {
                if end.strip_suffix("-----") != Some(label) {
                    return None;
                }
                break;
            }
            encoded.extend(line.chars().filter(|char| !char.is_whitespace()));
        }
        if labels.contains(&label) {
            found.push(BASE64.decode(encoded.as_bytes()).ok()?);
        }
    }
    Some(found)
}

/// One block with lines of 64 characters (RFC 7468 section 2).
pub(super) fn write(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    // 48 octets are 64 characters.
    for chunk in der.chunks(48) {
        BASE64.encode_append(chunk, &mut out);
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}
