//! What a reader may take for the author, in every spelling: for refusing and warning, never for trusting.

use super::decode_words;
use super::lenient::{
    Fields, compatible, is_invisible, name_and_value, plain_name, without_comments, without_comments_even_quoted,
};
use crate::limits::Limits;
use crate::mail::span;

/// The texts of all fields that a reader may take for the author's, see [`from_texts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromTexts {
    /// Of `From`, several readings of each field.
    pub from: Vec<String>,
    /// Of `Sender`, `Resent-From` and `Resent-Sender`.
    pub others: Vec<String>,
    /// There was more of it than is read here; no honest mail has so much.
    pub cut: bool,
}

/// Fields of one kind that are read.
const FIELDS: usize = 32;
/// Octets of a field that are read.
const FIELD: usize = 16 << 10;
/// Octets of a domain as it may be written, before IDNA maps it.
const DOMAIN: usize = 1024;

/// The texts that any reader may take for `From`, `Sender`, `Resent-From` or `Resent-Sender`, also where the header
/// section cannot be read: lines that are no fields are skipped, and it goes on to the first empty line.
///
/// Each text is in lower case, without white space, quotes, backslashes and invisible characters; encoded words are
/// decoded, comments removed (and, as another text, kept), full-width letters and full stops are ASCII, and what stands
/// after an `@` is in A-labels where IDNA can map it. So whether a mail claims a domain is asked with
/// `text.contains("@kabupaten.go.id")` or by splitting at `<>,;:`.
pub fn from_texts(bytes: &[u8], limits: &Limits) -> FromTexts {
    // Empty lines ahead of the header are skipped by many readers.
    let message = bytes.trim_ascii_start();
    let mut texts = FromTexts::default();
    let (mut froms, mut others) = (0, 0);
    for field in Fields::of(message) {
        let Some((name, value)) = name_and_value(span(message, field)) else { continue };
        let (count, list) = match plain_name(name, limits.text_line).as_deref() {
            Some("from") => (&mut froms, &mut texts.from),
            Some("sender" | "resent-from" | "resent-sender") => (&mut others, &mut texts.others),
            _ => continue,
        };
        *count += 1;
        texts.cut |= value.len() > FIELD || *count > FIELDS;
        if *count <= FIELDS {
            append_readings(&String::from_utf8_lossy(span(value, 0..value.len().min(FIELD))), list);
        }
    }
    texts
}

/// Readers differ on what comes first: unfolding, decoding or dropping comments.
fn append_readings(value: &str, list: &mut Vec<String>) {
    let unfolded: String = value.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    let visible: String = value.chars().filter(|character| !is_invisible(*character)).collect();
    for text in [unfolded, visible] {
        let decoded = decode_words(&text);
        for reading in [
            decoded.to_string(),
            without_comments(&decoded, ""),
            without_comments_even_quoted(&decoded),
            decode_words(&without_comments_even_quoted(&text)).into_owned(),
        ] {
            let reading = with_a_labels(&plain(&reading));
            if !reading.is_empty() && !list.contains(&reading) {
                list.push(reading);
            }
        }
    }
}

fn plain(text: &str) -> String {
    let shown = |character: &char| !is_invisible(*character) && !matches!(character, '"' | '\\');
    text.chars().filter(shown).map(compatible).collect::<String>().to_lowercase()
}

/// `text` with each domain after an `@` as IDNA maps it.
fn with_a_labels(text: &str) -> String {
    let mut pieces = text.split('@');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(['<', '>', ',', ';', ':', '(', ')', '[', ']']).unwrap_or(piece.len());
        let (domain, rest) = piece.split_at_checked(end).unwrap_or((piece, ""));
        out.push('@');
        if !domain.is_ascii()
            && domain.len() <= DOMAIN
            && let Ok(mapped) = idna::domain_to_ascii(domain)
        {
            out.push_str(&mapped);
        } else {
            out.push_str(domain);
        }
        out.push_str(rest);
    }
    out
}
