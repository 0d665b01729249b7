//! Parameters of `MAIL` and `RCPT` (RFC 5321 section 4.1.2), each at most once.
//!
//! Values that end in reports or fields of mail hold nothing but what RFC 3461 lets them hold: no control characters, however
//! they are encoded.

use super::CommandError;
use crate::mail::{BodyType, DsnRequest, Notify, RecipientDsn, Ret};

/// Characters of `ENVID` (RFC 3461 section 4.4) and of `ORCPT` (section 4.2).
const ENVELOPE_ID: usize = 100;
const ORIGINAL: usize = 500;

/// Parameters of `MAIL`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=` in octets (RFC 1870); 0 is as good as absent.
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152).
    pub body: Option<BodyType>,
    /// `RET=` and `ENVID=` (RFC 3461).
    pub dsn: DsnRequest,
    /// `AUTH=` (RFC 4954 section 5): who submitted the mail, as xtext, or `<>`.
    pub auth: Option<String>,
}

/// Parameters of `RCPT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// `NOTIFY=` and `ORCPT=` (RFC 3461).
    pub dsn: RecipientDsn,
}

impl MailParameters {
    /// Whether a parameter was given, which only EHLO allows.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        let mut known = Self::default();
        for item in items(text) {
            let (name, value) = item?;
            if name.eq_ignore_ascii_case("SIZE") {
                once(&mut known.size, size(value))?;
            } else if name.eq_ignore_ascii_case("BODY") {
                once(&mut known.body, body(value))?;
            } else if name.eq_ignore_ascii_case("RET") {
                once(&mut known.dsn.returned, value.and_then(Ret::parse))?;
            } else if name.eq_ignore_ascii_case("ENVID") {
                let good = value.filter(|text| text.len() <= ENVELOPE_ID && is_printable_xtext(text));
                once(&mut known.dsn.envelope_id, good.map(str::to_owned))?;
            } else if name.eq_ignore_ascii_case("AUTH") {
                let good = value.filter(|text| *text == "<>" || (text.len() <= ORIGINAL && is_printable_xtext(text)));
                once(&mut known.auth, good.map(str::to_owned))?;
            } else {
                return Err(CommandError::Parameter);
            }
        }
        Ok(known)
    }
}

impl RcptParameters {
    /// Whether a parameter was given, which only EHLO allows.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        let mut known = Self::default();
        for item in items(text) {
            let (name, value) = item?;
            if name.eq_ignore_ascii_case("NOTIFY") {
                once(&mut known.dsn.notify, value.and_then(Notify::parse))?;
            } else if name.eq_ignore_ascii_case("ORCPT") {
                let good = value.filter(|text| is_original_recipient(text));
                once(&mut known.dsn.original, good.map(str::to_owned))?;
            } else {
                return Err(CommandError::Parameter);
            }
        }
        Ok(known)
    }
}

/// `SIZE=1*20DIGIT`
fn size(value: Option<&str>) -> Option<u64> {
    let digits = value.filter(|size| (1..=20).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_digit()))?;
    // Twenty digits may be more than u64 holds: too large in any case.
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>) -> Option<BodyType> {
    match value {
        Some(value) if value.eq_ignore_ascii_case("7BIT") => Some(BodyType::SevenBit),
        Some(value) if value.eq_ignore_ascii_case("8BITMIME") => Some(BodyType::EightBitMime),
        _ => None,
    }
}

fn once<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), CommandError> {
    let value = value.ok_or(CommandError::ParameterValue)?;
    if slot.replace(value).is_some() { Err(CommandError::ParameterValue) } else { Ok(()) }
}

/// `original-recipient-address = addr-type ";" xtext`, where `addr-type` is an atom.
fn is_original_recipient(text: &str) -> bool {
    let atom = |text: &str| {
        let special = |byte: &u8| b"!#$%&'*+-/=?^_`{|}~".contains(byte);
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(&byte))
    };
    text.len() <= ORIGINAL
        && text.split_once(';').is_some_and(|(kind, address)| atom(kind) && is_printable_xtext(address))
}

/// `xtext = *( xchar / "+" 2HEXDIG )` (RFC 3461 section 4) that stands for printable US-ASCII and spaces, at least one.
fn is_printable_xtext(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let decoded = match octet {
            b'+' => {
                let mut digit = || octets.next().and_then(upper_hex);
                match (digit(), digit()) {
                    (Some(high), Some(low)) => high * 16 + low,
                    _ => return false,
                }
            }
            b'=' => return false,
            octet => octet,
        };
        if !matches!(decoded, 0x20..=0x7e) {
            return false;
        }
    }
    !text.is_empty()
}

/// RFC 3461 section 4: hexadecimal digits are in upper case.
fn upper_hex(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`, separated by spaces.
fn items(text: &str) -> impl Iterator<Item = Result<(&str, Option<&str>), CommandError>> {
    text.split(' ').filter(|item| !item.is_empty()).map(item)
}

fn item(item: &str) -> Result<(&str, Option<&str>), CommandError> {
    let (name, value) = item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
    let keyword = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // %d33-60 / %d62-126
    let printable =
        value.is_none_or(|value| !value.is_empty() && value.bytes().all(|b| matches!(b, 33..=60 | 62..=126)));
    if keyword && printable { Ok((name, value)) } else { Err(CommandError::ParameterValue) }
}
