//! Which arriving fields claim to be ours, however they are spelled (I41, I42).

use crate::limits::Limits;
use crate::mail::header::decode_words;
use crate::mail::header::lenient::{compatible, is_invisible, name_and_value, plain_name, without_comments};

/// Whether the field is one that only this gateway may have written, or `Return-Path`.
pub(super) fn is_forged(field: &[u8], own: &str, limits: &Limits) -> bool {
    let Some((name, value)) = name_and_value(field) else {
        return false;
    };
    let plain = plain_name(name, limits.text_line);
    plain.as_deref() == Some("return-path")
        || looks_like(name, plain.as_deref(), "segeiverdict")
        || ((looks_like(name, plain.as_deref(), "authenticationresuits")
            || looks_like(name, plain.as_deref(), "arcauthenticationresuits"))
            && is_under(value, own))
}

/// Whether the name is `skeleton` in letters that look alike, with hyphens of any kind or none, or in an encoded word.
fn looks_like(name: &[u8], plain: Option<&str>, wanted: &str) -> bool {
    String::from_utf8_lossy(name).chars().filter_map(skeleton).eq(wanted.chars())
        || plain.is_some_and(|plain| plain.chars().filter_map(skeleton).eq(wanted.chars()))
}

/// The letter that a reader sees, or nothing for what is invisible, a hyphen or white space. `l` and `i` count as one,
/// because the capital of the one looks like the other.
fn skeleton(character: char) -> Option<char> {
    if is_ignorable(character) {
        return None;
    }
    let folded = match u32::from(character) {
        // The small letters of Cherokee are another block.
        code @ 0xab70..=0xabbf => char::from_u32(code - 0xab70 + 0x13a0)?,
        _ => compatible(character),
    };
    Some(match folded {
        'S' | 's' | 'ѕ' | 'Ѕ' | 'ſ' | 'ꜱ' | 'š' | 'Š' | 'ś' | 'Ś' | 'ş' | 'Ş' | 'ș' | 'Ș' | '$' | '5' | 'Տ' | 'Ꮪ'
        | 'Ꮥ' | 'ꓢ' => 's',
        'E' | 'e' | 'е' | 'Е' | 'ё' | 'Ё' | 'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' | 'È' | 'É' | 'Ê' | 'Ë'
        | 'Ē' | 'Ė' | 'Ę' | 'Ě' | 'Ε' | 'ε' | 'ҽ' | '℮' | 'ᴇ' | '3' | 'Ꭼ' | 'ꓰ' => 'e',
        'G' | 'g' | 'ɡ' | 'ɢ' | 'ԍ' | 'Ԍ' | 'ğ' | 'Ğ' | 'ġ' | 'Ġ' | 'ģ' | 'Ģ' | 'ց' | '9' | 'Ꮐ' | 'Ᏻ' | 'ꓖ' => {
            'g'
        }
        'I' | 'i' | 'L' | 'l' | '1' | '|' | 'і' | 'І' | 'ї' | 'Ї' | 'ӏ' | 'Ӏ' | 'ı' | 'İ' | 'ì' | 'í' | 'î' | 'ï'
        | 'Ì' | 'Í' | 'Î' | 'Ï' | 'ɩ' | 'ι' | 'Ι' | 'ℓ' | 'ɪ' | 'ʟ' | 'ⅰ' | 'Ⅰ' | 'ⅼ' | 'Ⅼ' | 'ł' | 'Ł' | 'ḷ' | 'ļ'
        | 'ĺ' | 'ľ' | 'ǀ' | 'Ꮮ' | 'Ꭵ' | 'ꓡ' | 'ꓲ' => 'i',
        'V' | 'v' | 'ѵ' | 'Ѵ' | 'ν' | 'ᴠ' | 'ⅴ' | 'Ⅴ' | '∨' | 'Ꮩ' | 'ꓦ' => 'v',
        'R' | 'r' | 'г' | 'Г' | 'ʀ' | 'ŕ' | 'ř' | 'Ŕ' | 'Ř' | 'ᴦ' | 'Ꭱ' | 'Ꮢ' | 'ꓣ' => 'r',
        'D' | 'd' | 'ԁ' | 'Ԁ' | 'ⅾ' | 'Ⅾ' | 'ď' | 'Ď' | 'đ' | 'Đ' | 'ᴅ' | 'Ꭰ' | 'Ꮷ' | 'ꓓ' => 'd',
        'C' | 'c' | 'с' | 'С' | 'ϲ' | 'Ϲ' | 'ⅽ' | 'Ⅽ' | 'ç' | 'Ç' | 'ć' | 'Ć' | 'č' | 'Č' | 'ᴄ' | 'Ꮯ' | 'ꓚ' => {
            'c'
        }
        'T' | 't' | 'т' | 'Т' | 'τ' | 'Τ' | 'ţ' | 'Ţ' | 'ț' | 'Ț' | 'ť' | 'Ť' | 'ᴛ' | '7' | 'Ꭲ' | 'ꓔ' => {
            't'
        }
        'A' | 'a' | 'а' | 'А' | 'Α' | 'α' | 'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'À' | 'Á' | 'Â' | 'Ã' | 'Ä' | 'Å'
        | 'ɑ' | 'Ꭺ' | 'ꓮ' => 'a',
        'U' | 'u' | 'υ' | 'ս' | 'Ս' | 'ù' | 'ú' | 'û' | 'ü' | 'Ù' | 'Ú' | 'Û' | 'Ü' | 'ꓴ' => 'u',
        'H' | 'h' | 'һ' | 'Н' | 'Η' | 'հ' | 'Ꮋ' | 'Ꮒ' | 'ꓧ' => 'h',
        'N' | 'n' | 'Ν' | 'ո' | 'ñ' | 'Ñ' | 'ń' | 'Ń' | 'ꓠ' => 'n',
        'O' | 'o' | '0' | 'о' | 'О' | 'ο' | 'Ο' | 'օ' | 'Օ' | 'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'Ò' | 'Ó' | 'Ô' | 'Õ'
        | 'Ö' | 'ꓳ' => 'o',
        other => other.to_ascii_lowercase(),
    })
}

/// Invisible, combining, white, or a kind of hyphen.
fn is_ignorable(character: char) -> bool {
    is_invisible(character)
        || matches!(character, '-' | '_' | '.' | '\u{300}'..='\u{36f}' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}')
        || matches!(character, '\u{2d7}' | '\u{2e3a}' | '\u{2e3b}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' | '\u{ff3f}')
}

/// Whether a reader may take `own` for the authserv-id of `value` (RFC 8601 section 2.2).
///
/// ```text
/// authres-payload = [CFWS] authserv-id [ CFWS authres-version ] ( no-result / 1*resinfo ) [CFWS] CRLF
/// authserv-id     = value      ; token or quoted-string of RFC 2045
/// ```
/// Readers are known to take what stands before a blank, a slash or a semicolon, so every host name ahead of the first
/// result counts. A result is known by its `=`; the `i=1;` of RFC 8617 comes before the id.
fn is_under(value: &[u8], own: &str) -> bool {
    let value = String::from_utf8_lossy(value);
    // A comment inside the id separates it for some readers and joins it for others; one without end is none for some.
    let mut readings = vec![without_comments(&value, " "), without_comments(&value, "")];
    if value.matches('(').count() != value.matches(')').count() {
        readings.push(value.into_owned());
    }
    readings.iter().any(|reading| {
        let text: String = decode_words(reading).chars().filter_map(of_an_id).collect();
        let text = without_instance(&text);
        let text = text.split('=').next().unwrap_or_default();
        let joined: String = text.split_whitespace().collect();
        let dotted = text.split('.').map(str::trim).collect::<Vec<_>>().join(".");
        [text, &joined, &dotted].into_iter().any(|text| names(text, own))
    })
}

/// A blank for any white space, and nothing for what no reader sees.
fn of_an_id(character: char) -> Option<char> {
    match character {
        '"' | '\\' | '\r' | '\n' => None,
        character if character.is_whitespace() => Some(' '),
        character if is_invisible(character) => None,
        character => Some(compatible(character)),
    }
}

/// `text` after the `i=1;` with which `ARC-Authentication-Results` begins, however often it stands there.
fn without_instance(text: &str) -> &str {
    let mut rest = text;
    while let Some((instance, after)) = rest.split_once(';') {
        let number = instance.trim().strip_prefix(['i', 'I']).and_then(|number| number.trim_start().strip_prefix('='));
        match number.map(str::trim) {
            Some(number) if number.bytes().all(|octet| octet.is_ascii_digit()) => rest = after,
            _ => break,
        }
    }
    rest
}

/// Octets of a host name as it may be written, before IDNA maps it.
const HOST: usize = 1024;

/// Whether one of the host names in `text` is `own`.
fn names(text: &str, own: &str) -> bool {
    let of_a_host =
        |character: char| !character.is_ascii() || character.is_ascii_alphanumeric() || "-.".contains(character);
    text.split(|character| !of_a_host(character))
        .filter(|host| (1..=HOST).contains(&host.len()))
        .any(|host| comparable(host.trim_start_matches('.')) == own)
}

/// A host name in A-labels and lower case, mapped as leniently as IDNA allows: what any reader may take for ours.
pub(super) fn comparable(id: &str) -> String {
    let id: String = id.chars().filter(|character| !character.is_control()).collect();
    let id = idna::domain_to_ascii(&id).unwrap_or(id);
    id.trim_end_matches('.').to_ascii_lowercase()
}
