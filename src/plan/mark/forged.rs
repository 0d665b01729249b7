//! Which arriving fields claim to be ours, however they are spelled (I41, I42).

use crate::limits::Limits;
use crate::mail::header::decode_words;
use crate::mail::header::lenient::{name_and_value, without_comments};

/// Whether the field is one that only this gateway may have written, or `Return-Path`.
pub(super) fn is_forged(field: &[u8], own: &str, limits: &Limits) -> bool {
    let Some((name, value)) = name_and_value(field).filter(|(name, _)| name.len() <= limits.text_line) else {
        return false;
    };
    let name_without_space = || name.iter().filter(|octet| !octet.is_ascii_whitespace());
    let is = |wanted: &[u8]| name_without_space().map(u8::to_ascii_lowercase).eq(wanted.iter().copied());
    is(b"return-path") || looks_like_verdict(name) || (is(b"authentication-results") && is_under(value, own))
}

/// `Segel-Verdict` in letters that look alike, with hyphens of any kind or none, in an encoded word.
fn looks_like_verdict(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    let name = decode_words(name.trim());
    name.chars().filter_map(skeleton).eq("segeiverdict".chars())
}

/// The letter that a reader sees, or nothing for what is invisible, a hyphen or white space. `l` and `i` count as one,
/// because the capital of the one looks like the other.
fn skeleton(character: char) -> Option<char> {
    let folded = match u32::from(character) {
        // Full-width forms, then mathematical letters: 52 of each alphabet in a row, capitals first.
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0)?,
        code @ 0x1d400..=0x1d6a3 => char::from_u32(u32::from(b'a') + (code - 0x1d400) % 52 % 26)?,
        code @ 0x24b6..=0x24e9 => char::from_u32(u32::from(b'a') + (code - 0x24b6) % 26)?,
        _ => character,
    };
    Some(match folded {
        'S' | 's' | 'ѕ' | 'Ѕ' | 'ſ' | 'ꜱ' | 'š' | 'Š' | 'ś' | 'Ś' | 'ş' | 'Ş' | 'ș' | 'Ș' | '$' | '5' | 'Տ' => {
            's'
        }
        'E' | 'e' | 'е' | 'Е' | 'ё' | 'Ё' | 'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' | 'È' | 'É' | 'Ê' | 'Ë'
        | 'Ē' | 'Ė' | 'Ę' | 'Ě' | 'Ε' | 'ε' | 'ҽ' | '℮' | 'ᴇ' | '3' => 'e',
        'G' | 'g' | 'ɡ' | 'ɢ' | 'ԍ' | 'Ԍ' | 'ğ' | 'Ğ' | 'ġ' | 'Ġ' | 'ģ' | 'Ģ' | 'ց' | '9' => 'g',
        'I' | 'i' | 'L' | 'l' | '1' | '|' | 'і' | 'І' | 'ї' | 'Ї' | 'ӏ' | 'Ӏ' | 'ı' | 'İ' | 'ì' | 'í' | 'î' | 'ï'
        | 'Ì' | 'Í' | 'Î' | 'Ï' | 'ɩ' | 'ι' | 'Ι' | 'ℓ' | 'ɪ' | 'ʟ' | 'ⅰ' | 'Ⅰ' | 'ⅼ' | 'Ⅼ' | 'ł' | 'Ł' | 'ḷ' | 'ļ'
        | 'ĺ' | 'ľ' | 'ǀ' => 'i',
        'V' | 'v' | 'ѵ' | 'Ѵ' | 'ν' | 'Ν' | 'ᴠ' | 'ⅴ' | 'Ⅴ' | '∨' => 'v',
        'R' | 'r' | 'г' | 'Г' | 'ʀ' | 'ŕ' | 'ř' | 'Ŕ' | 'Ř' | 'ᴦ' => 'r',
        'D' | 'd' | 'ԁ' | 'Ԁ' | 'ⅾ' | 'Ⅾ' | 'ď' | 'Ď' | 'đ' | 'Đ' | 'ᴅ' => 'd',
        'C' | 'c' | 'с' | 'С' | 'ϲ' | 'Ϲ' | 'ⅽ' | 'Ⅽ' | 'ç' | 'Ç' | 'ć' | 'Ć' | 'č' | 'Č' | 'ᴄ' => 'c',
        'T' | 't' | 'т' | 'Т' | 'τ' | 'Τ' | 'ţ' | 'Ţ' | 'ț' | 'Ț' | 'ť' | 'Ť' | 'ᴛ' | '7' => 't',
        other if is_ignorable(other) => return None,
        other => other.to_ascii_lowercase(),
    })
}

/// Invisible, combining, white, or a kind of hyphen.
fn is_ignorable(character: char) -> bool {
    character.is_control()
        || character.is_whitespace()
        || matches!(
            character,
            '-' | '_' | '.' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{fffd}'
        )
        || matches!(character, '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{2010}'..='\u{2015}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2043}' | '\u{2060}'..='\u{206f}' | '\u{2212}')
        || matches!(character, '\u{2d7}' | '\u{2e3a}' | '\u{2e3b}' | '\u{fe58}' | '\u{fe63}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(character, '\u{e0000}'..='\u{e01ef}')
}

/// Whether the authserv-id at the start of `value` is `own` (RFC 8601 section 2.2).
///
/// ```text
/// authres-payload = [CFWS] authserv-id [ CFWS authres-version ] ( no-result / 1*resinfo ) [CFWS] CRLF
/// authserv-id     = value      ; token or quoted-string of RFC 2045
/// ```
fn is_under(value: &[u8], own: &str) -> bool {
    let value = String::from_utf8_lossy(value);
    // A comment inside the id separates it for some readers and joins it for others.
    [" ", ""].into_iter().any(|instead| {
        let text = without_comments(&value, instead);
        let text: String = text.chars().filter(|character| !matches!(character, '"' | '\\' | '\r' | '\n')).collect();
        let id = text.trim_start().split([' ', '\t', ';']).next().unwrap_or_default();
        comparable(&decode_words(id)) == own
    })
}

/// A host name in A-labels and lower case, mapped as leniently as IDNA allows: what any reader may take for ours.
pub(super) fn comparable(id: &str) -> String {
    let id: String = id.chars().filter(|character| !character.is_control()).collect();
    let id = idna::domain_to_ascii(&id).unwrap_or(id);
    id.trim_end_matches('.').to_ascii_lowercase()
}
