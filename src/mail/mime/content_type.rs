//! `Content-Type` and `Content-Disposition`: a value and its parameters, in the forms of RFC 2045 and RFC 2231.
//!
//! The reading is that of a lenient mail program; where a strict one would read something else that matters,
//! the result says so.

use super::Ambiguity;
use crate::mail::header::decode_words;
use std::borrow::Cow;

/// A parsed field value.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// What stands before the first `;`, lower case.
    pub(super) value: String,
    /// Parameters, joined and decoded, each name once.
    pub(super) parameters: Vec<Parameter>,
    pub(super) ambiguities: Vec<Ambiguity>,
    /// A comment stood in the value or between parameters.
    pub(super) comment: bool,
}

/// One parameter, name in lower case.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value: String,
}

/// One `name=value` as written. `section` is the number of `name*1`, `extended` the final star (RFC 2231).
struct Raw {
    name: String,
    section: Option<usize>,
    extended: bool,
    value: String,
}

/// Parameters of a field. More are not written by anybody; RFC 2231 sections count one each.
const PARAMETERS: usize = 200;

/// Parses an unfolded value.
pub(super) fn parse(value: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let text = match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            parsed.ambiguities.push(Ambiguity::EightBitHeader);
            String::from_utf8_lossy(value)
        }
    };
    if text.chars().any(|character| character.is_control() && character != '\t') {
        parsed.ambiguities.push(Ambiguity::Parameter);
    }
    let mut pieces = split(&text, &mut parsed);
    let mut pieces = pieces.drain(..);
    parsed.value = pieces.next().map(|piece| piece.trim_ascii().to_ascii_lowercase()).unwrap_or_default();
    if !parsed.value.is_ascii() {
        parsed.ambiguities.push(Ambiguity::EightBitHeader);
    }
    let raw: Vec<Raw> = pieces.filter_map(|piece| parameter(&piece, &mut parsed.ambiguities)).collect();
    join(raw, &mut parsed);
    parsed
}

/// The value without its comments (RFC 5322 section 3.2.2), which may nest.
pub(super) fn without_comments(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'(', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut kept = Vec::with_capacity(value.len());
    let mut depth = 0_usize;
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => {
                octets.next();
            }
            _ if depth == 0 => kept.push(*octet),
            _ => {}
        }
    }
    Cow::Owned(kept)
}

/// Splits at `;` outside quoted strings, and drops comments outside of them. Quotes and escapes are kept.
fn split(text: &str, parsed: &mut Parsed) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let (mut quoted, mut depth) = (false, 0_usize);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ';' if !quoted && depth == 0 => {
                if pieces.len() > PARAMETERS {
                    parsed.ambiguities.push(Ambiguity::Parameter);
                    return pieces;
                }
                pieces.push(String::new());
                continue;
            }
            '"' if depth == 0 => quoted = !quoted,
            // A comment begins after a blank or the end of a token only where a value is not under way: file names hold them.
            '(' if !quoted && (depth > 0 || comment_may_begin(pieces.last())) => {
                depth += 1;
                parsed.comment = true;
            }
            ')' if depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        let escaped = if character == '\\' && (quoted || depth > 0) { characters.next() } else { None };
        if depth == 0
            && let Some(piece) = pieces.last_mut()
        {
            piece.push(character);
            piece.extend(escaped);
        }
    }
    if quoted || depth > 0 {
        parsed.ambiguities.push(Ambiguity::Parameter);
    }
    pieces
}

/// In `name=a (1).pdf`, unquoted as many programs write it, the parenthesis is part of the name.
fn comment_may_begin(piece: Option<&String>) -> bool {
    !piece.is_some_and(|piece| {
        piece.split_once('=').is_some_and(|(name, value)| {
            is_name_of_file(&name.trim_ascii().to_ascii_lowercase()) && !value.trim_ascii_start().starts_with('"')
        })
    })
}

/// Whether a parameter only names a file; how it is spelled does not change what is read.
fn is_name_of_file(name: &str) -> bool {
    matches!(name, "name" | "filename")
}

/// Reads one `attribute=value`. An empty piece is a superfluous `;` and nothing else.
fn parameter(piece: &str, ambiguities: &mut Vec<Ambiguity>) -> Option<Raw> {
    if piece.trim_ascii().is_empty() {
        return None;
    }
    let mentions_boundary = mentions_boundary(piece);
    let Some((attribute, value)) = piece.split_once('=') else {
        // `; boundary` without a value, or text that some readers skip.
        if mentions_boundary {
            ambiguities.push(Ambiguity::Boundary);
        }
        return None;
    };
    let (name, section, extended) = attribute_parts(&attribute.trim_ascii().to_ascii_lowercase());
    let file = is_name_of_file(&name);
    let complaint = if mentions_boundary { Ambiguity::Boundary } else { Ambiguity::Parameter };
    if (section.is_some() || extended) && !file {
        ambiguities.push(complaint);
    }
    if name == "boundary" {
        // A fold is a blank by now; some readers find no value behind it.
        if attribute.ends_with([' ', '\t']) || value.starts_with([' ', '\t']) {
            ambiguities.push(complaint);
        }
    } else if mentions_boundary || !is_attribute(&name) || could_hold_parameters(value) {
        // A reader that ends the value at an escaped quote, or takes the odd name for a plainer one, reads on elsewhere.
        ambiguities.push(complaint);
    }
    // RFC 2047 section 5 (3): no encoded word within a parameter. Names of files have them all the same.
    if !file && value.contains("=?") {
        ambiguities.push(complaint);
    }
    let value = value.trim_matches([' ', '\t']);
    let (value, clean) = match value.strip_prefix('"') {
        Some(rest) => unquote(rest, file),
        None => (value.to_owned(), file || value.bytes().all(is_bare)),
    };
    if !clean {
        ambiguities.push(complaint);
    }
    if !file && !value.is_ascii() {
        ambiguities.push(Ambiguity::EightBitHeader);
    }
    Some(Raw { name, section, extended, value })
}

/// Whether a parameter is the boundary, or could be it for a reader that sees its name or its end elsewhere.
fn mentions_boundary(piece: &str) -> bool {
    const WORD: &[u8] = b"boundary";
    piece.as_bytes().windows(WORD.len()).any(|window| window.eq_ignore_ascii_case(WORD))
        && piece.split_once('=').is_none_or(|(attribute, value)| {
            let named = |text: &str| text.to_ascii_lowercase().contains("boundary");
            // A file may be called `boundary.pdf`; an equals sign after the word is another thing.
            named(attribute)
                || named(value.rsplit_once('=').map_or("", |(before, _)| before))
                || attribute.trim_ascii().is_empty()
        })
}

/// Whether a value holds what separates parameters, after a quote that only some readers take for its end.
fn could_hold_parameters(value: &str) -> bool {
    let inside = value.trim_matches([' ', '\t']);
    let inside = inside.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(inside);
    inside.contains('"') && inside.contains(';')
}

/// `attribute` of RFC 2231 section 7: a token without `*`, `'` and `%`.
fn is_attribute(name: &str) -> bool {
    super::is_token(name) && !name.contains(['*', '\'', '%'])
}

/// `title*1*` is section 1 of `title`, extended.
fn attribute_parts(attribute: &str) -> (String, Option<usize>, bool) {
    let (rest, extended) = match attribute.strip_suffix('*') {
        Some(rest) => (rest, true),
        None => (attribute, false),
    };
    match rest.split_once('*').and_then(|(name, number)| Some((name, number.parse().ok()?))) {
        Some((name, number)) => (name.to_owned(), Some(number), extended),
        None => (rest.to_owned(), None, extended),
    }
}

/// What every reader takes as part of an unquoted value, though RFC 2045 wants some of it quoted (`=`, `/`, `:`, `?`).
fn is_bare(octet: u8) -> bool {
    octet >= 0x80 || (octet.is_ascii_graphic() && !b"()<>@,;\\\"".contains(&octet))
}

/// The content of a quoted string after its first quote, and whether nothing but white space follows it and
/// no escape is read differently. In file names a backslash is often a path.
fn unquote(text: &str, file: bool) -> (String, bool) {
    let mut value = String::with_capacity(text.len());
    let mut clean = true;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                let rest = characters.as_str();
                return (value, clean && rest.trim_matches([' ', '\t']).is_empty());
            }
            '\\' => {
                clean &= file;
                value.extend(characters.next());
            }
            _ => value.push(character),
        }
    }
    (value, false)
}

/// Joins the sections of each name and decodes them; the first of two equal names counts, and is reported.
fn join(raw: Vec<Raw>, parsed: &mut Parsed) {
    let mut names: Vec<&str> = Vec::new();
    for parameter in &raw {
        if !names.contains(&parameter.name.as_str()) {
            names.push(&parameter.name);
        }
    }
    for name in names {
        let complaint = if name == "boundary" { Ambiguity::Boundary } else { Ambiguity::Parameter };
        let group: Vec<&Raw> = raw.iter().filter(|parameter| parameter.name == name).collect();
        let plain: Vec<String> = group
            .iter()
            .filter(|parameter| parameter.section.is_none() && !parameter.extended)
            .map(|parameter| match is_name_of_file(name) {
                true => decode_words(&parameter.value).into_owned(),
                false => parameter.value.clone(),
            })
            .collect();
        let extended: Vec<&&Raw> =
            group.iter().filter(|parameter| parameter.section.is_none() && parameter.extended).collect();
        let mut sections: Vec<&&Raw> = group.iter().filter(|parameter| parameter.section.is_some()).collect();
        sections.sort_by_key(|parameter| parameter.section);
        let in_order = sections.iter().enumerate().all(|(number, parameter)| parameter.section == Some(number));

        let mut candidates: Vec<String> = Vec::new();
        if !sections.is_empty() {
            candidates.push(join_sections(&sections));
        }
        candidates.extend(extended.iter().map(|parameter| decode_extended(&parameter.value)));
        let forms = usize::from(!sections.is_empty()) + extended.len() + plain.len();
        candidates.extend(plain);
        let equal = candidates.windows(2).all(|pair| pair.first() == pair.last());
        if !in_order || (forms > 1 && (!equal || !is_name_of_file(name))) {
            parsed.ambiguities.push(complaint);
        }
        let value = candidates.into_iter().next().unwrap_or_default();
        parsed.parameters.push(Parameter { name: name.to_owned(), value });
    }
}

/// RFC 2231 section 4.1: only the first extended section names the charset.
fn join_sections(sections: &[&&Raw]) -> String {
    let mut octets = Vec::new();
    let mut charset = String::new();
    for (number, section) in sections.iter().enumerate() {
        match (section.extended, number, section.value.split_once('\'')) {
            (true, 0, Some((name, rest))) => {
                charset = name.to_owned();
                octets.extend(percent_decode(rest.split_once('\'').map_or(rest, |(_, value)| value)));
            }
            (true, ..) => octets.extend(percent_decode(&section.value)),
            (false, ..) => octets.extend_from_slice(section.value.as_bytes()),
        }
    }
    in_charset(&octets, &charset)
}

/// `charset'language'%C3%A9`.
fn decode_extended(value: &str) -> String {
    let mut fields = value.splitn(3, '\'');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(charset), Some(_), Some(text)) => in_charset(&percent_decode(text), charset),
        _ => in_charset(&percent_decode(value), ""),
    }
}

/// Other charsets than UTF-8 are read as Latin-1 where they are not UTF-8 anyway: this is a name to show and compare,
/// and no octet of it may be lost.
fn in_charset(octets: &[u8], charset: &str) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) if !charset.to_ascii_lowercase().starts_with("iso-8859") => text.to_owned(),
        _ => octets.iter().map(|octet| char::from(*octet)).collect(),
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| super::encoding::hex_pair(after)).flatten();
        decoded.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}
