//! The mail addresses that a certificate names (RFC 5280 section 4.2.1.6, RFC 9598 section 3, RFC 8550 section 3).
//!
//! Only exact and clean ones count: nothing is trimmed, unescaped or cut at a NUL. What is left out can never match, so a
//! certificate with nothing else names no address.

use super::extensions::Extensions;
use crate::asn1::{Asn1Error, Fields, Tlv, tag};
use crate::pki::Name;
use crate::pki::name::hides;
use der::asn1::ObjectIdentifier;
use std::collections::HashSet;

/// emailAddress (PKCS #9).
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");
/// id-on-SmtpUTF8Mailbox.
const SMTP_UTF8_MAILBOX: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.9");

/// Names of one certificate that are looked at. No mailbox has hundreds of addresses, and each costs a comparison.
pub(super) const MOST: usize = 1000;

/// Every clean address, in the order subjectAltName, then subject; each once. `None` for more names than [`MOST`].
pub(super) fn texts(extensions: &Extensions, subject: &Name) -> Option<Vec<String>> {
    let named = alternative_names(&extensions.alternative_names).into_iter().map(|name| match name.tag {
        // rfc822Name [1] IA5String
        tag if tag == tag::context_primitive(1) => ascii(name.content),
        _ => utf8_mailbox(&name),
    });
    // emailAddress is IA5String; CAs also write it as UTF8String or PrintableString.
    let values = subject.values(&EMAIL_ADDRESS);
    let in_subject =
        values.into_iter().filter(|(tag, _)| matches!(tag, 0x0c | 0x13 | 0x16)).map(|(_, value)| ascii(value));
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (index, text) in named.chain(in_subject).enumerate() {
        if index >= MOST {
            return None;
        }
        if let Some(text) = text
            && seen.insert(text.clone())
        {
            found.push(text);
        }
    }
    Some(found)
}

/// The names up to the first that cannot be read.
fn alternative_names(content: &[u8]) -> Vec<Tlv<'_>> {
    let mut names = Vec::new();
    let mut fields = Fields::new(content);
    while let Ok(Some(name)) = fields.next_any() {
        names.push(name);
    }
    names
}

/// `otherName [0] { type-id OBJECT IDENTIFIER, value [0] EXPLICIT UTF8String }` of type SmtpUTF8Mailbox.
fn utf8_mailbox(name: &Tlv<'_>) -> Option<String> {
    let read = || {
        let mut parts = Fields::new(name.content);
        let of_type = parts.required(tag::OID)?.content == SMTP_UTF8_MAILBOX.as_bytes();
        let value = parts.required(tag::context(0))?;
        let text = Fields::within(value.content, tag::UTF8_STRING)?.rest();
        if parts.is_empty() && of_type { Ok(text) } else { Err(Asn1Error::Malformed(0)) }
    };
    if name.tag != tag::context(0) {
        return None;
    }
    let text = std::str::from_utf8(read().ok()?).ok()?;
    // RFC 9598 section 3: only for local parts that are not ASCII; the domain in A-labels.
    let (local, domain) = text.rsplit_once('@')?;
    (!local.is_ascii() && domain.is_ascii()).then(|| clean(text)).flatten()
}

fn ascii(content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok().filter(|text| text.is_ascii())?;
    clean(text)
}

/// The text itself, if nobody could take it for another address: exactly one `@`, no space, control, quote, comment, bracket
/// or wildcard in it, no leading, trailing or double dot. Quoted local parts and address literals are left out on purpose.
fn clean(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    let odd = |char: char| char.is_whitespace() || hides(char) || "\"\\()<>[],;:@".contains(char);
    let dotted = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.contains("..");
    let wild = domain.contains('*') || local.starts_with('*');
    (!text.chars().any(|char| char != '@' && odd(char))
        && !domain.contains('@')
        && !wild
        && !dotted(local)
        && !dotted(domain))
    .then(|| text.to_owned())
}
