//! What a reader may take for the author, in every spelling: for refusing and warning, never for trusting.

use super::lenient::{
    Fields, compatible, is_bidi_control, is_invisible, name_and_value, plain_name, without_closed_comments,
    without_comments,
};
use super::{From, HeaderSection, decode_words, from};
use crate::limits::Limits;
use crate::mail::address::is_atext;
use crate::mail::{Address, span};

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
            without_closed_comments(&decoded),
            decode_words(&without_closed_comments(&text)).into_owned(),
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

/// Whether the display name or a comment of `From` shows another mailbox than the real one, or turns the order of its
/// characters round: what a person reads is not what was verified.
///
/// False where [`super::from()`] finds no mailbox: then there is nothing that could be shown wrongly.
pub fn misleading_name(bytes: &[u8], headers: &HeaderSection) -> bool {
    let real = match from(bytes, headers) {
        From::Mailbox(address) => vec![address],
        From::Several(addresses) => addresses,
        From::Absent | From::Ambiguous(_) | From::Unreadable(_) => return false,
    };
    headers.named(bytes, "From").any(|field| {
        let value = headers.text(bytes, field);
        let mut text = String::from_utf8_lossy(&value).into_owned();
        for address in &real {
            text = text.replace(address.as_str(), " ");
        }
        let decoded = decode_words(&text);
        decoded.chars().any(is_bidi_control) || shows_another(&decoded, &real)
    })
}

/// Whether an addr-spec that is none of `real` stands in `text`.
fn shows_another(text: &str, real: &[Address]) -> bool {
    let shown = |character: &char| matches!(character, ' ' | '\t') || !is_invisible(*character);
    let text: String = text.chars().filter(shown).map(compatible).collect();
    let mut pieces = text.split('@');
    let mut before = pieces.next().unwrap_or_default();
    for after in pieces {
        if let Some(address) = address_at(before, after)
            && !real.iter().any(|real| real.same_mailbox(&address))
        {
            return true;
        }
        before = after;
    }
    false
}

/// The address whose `@` stands between `before` and `after`. Where blanks surround the sign, only a domain with a dot makes
/// an address of it: people write `lunch @ noon`.
fn address_at(before: &str, after: &str) -> Option<Address> {
    let word = |character: char| u8::try_from(character).map_or(true, is_atext) || character == '.';
    let (left, right) = (before.trim_end(), after.trim_start());
    let local = left.rsplit(|character| !word(character)).next().unwrap_or_default().trim_matches(['.', '\'']);
    let domain = right.split(|character| !word(character)).next().unwrap_or_default().trim_end_matches(['.', '\'']);
    if (left.len() != before.len() || right.len() != after.len()) && !domain.contains('.') {
        return None;
    }
    let domain = match domain.is_ascii() {
        true => domain.to_owned(),
        false => idna::domain_to_ascii(domain).ok()?,
    };
    Address::parse(&format!("{local}@{domain}")).ok()
}
