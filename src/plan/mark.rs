//! Our header fields: written once, forged ones removed (I40 to I43, S17, S18, S19).
//!
//! Removing errs on the side of more: a field that any reader could take for ours goes, however it is spelled.
//! Nothing here fails: a header section that cannot be parsed passes as it is, but for forged fields in it.

mod forged;
mod passed;
mod returned;

pub use passed::{bound, claimed, passed};
pub use returned::{message_ids, returns_opened};

use crate::limits::Limits;
use crate::mail::header::lenient::{self, Fields};
use crate::mail::{Domain, span};
use crate::policy::DomainPolicy;
use std::net::IpAddr;

/// Removes every `Segel-Verdict` in any spelling, every `Authentication-Results` under our authserv-id (any case,
/// comments, A-label or U-label), `Segel-Passed`, and `Return-Path`, which only final delivery writes (RFC 5321 section 4.4), and puts
/// `prepend` (whole fields with CRLF) on top. All other bytes stay.
///
/// Fields of that name under our authserv-id in an ARC set (RFC 8617) go too: this gateway seals none. The scan takes one
/// pass, so it needs no bound but one: encoded words are decoded in names of [`Limits::text_line`] visible octets at most.
pub fn rewrite(message: &[u8], authserv_id: &str, prepend: &str, limits: &Limits) -> Vec<u8> {
    let own = forged::comparable(authserv_id);
    let mut out = Vec::with_capacity(prepend.len() + message.len());
    out.extend_from_slice(prepend.as_bytes());
    keep(&mut out, message, |field| !forged::is_forged(field, &own, limits) && !is_named(field, passed::NAME));
    out
}

/// Appends `message` without the fields that are not `wanted`. All other bytes stay, and every line ends where it ended, whichever
/// octets end one: the empty line of one reader must not become part of a line, nor a line of another become empty.
fn keep(out: &mut Vec<u8>, message: &[u8], wanted: impl Fn(&[u8]) -> bool) {
    let mut fields = Fields::of(message);
    for field in fields.by_ref() {
        let (bytes, next) = (span(message, field.clone()), message.get(field.end));
        if wanted(bytes) {
            out.extend_from_slice(bytes);
        } else if out.ends_with(b"\r") && bytes.ends_with(b"\n") {
            out.push(b'\n');
        } else if bytes.ends_with(b"\r") && next == Some(&b'\r') {
            out.push(b'\r');
        }
    }
    out.extend_from_slice(span(message, fields.end()..message.len()));
}

/// Whether a field of this name stands in the header section, in any case.
pub fn has(section: &[u8], name: &str) -> bool {
    Fields::of(section).any(|field| is_named(span(section, field), name))
}

fn is_named(field: &[u8], name: &str) -> bool {
    let named = field.split(|octet| *octet == b':').next().unwrap_or_default();
    named.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

/// The header section without the fields of this name, in any case. All other bytes stay.
pub fn without(section: &[u8], name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(section.len());
    keep(&mut out, section, |field| !is_named(field, name));
    out
}

/// The section without DKIM signatures of these domains and their subdomains: what is done to the mail breaks them (O59).
pub fn without_dkim(section: &[u8], own: &[DomainPolicy]) -> Vec<u8> {
    let ours = |field: &[u8]| {
        dkim_domain(field).is_some_and(|domain| own.iter().any(|own| is_within(&domain, own.domain.ascii())))
    };
    let mut out = Vec::with_capacity(section.len());
    keep(&mut out, section, |field| !(is_named(field, "DKIM-Signature") && ours(field)));
    out
}

/// `d=` of a signature, in lower case: `tag-list = tag-spec *( ";" tag-spec ) [ ";" ]` (RFC 6376 section 3.2).
fn dkim_domain(field: &[u8]) -> Option<String> {
    let (_, value) = lenient::name_and_value(field)?;
    let value: String = String::from_utf8_lossy(value).chars().filter(|c| !c.is_whitespace()).collect();
    let domain = value.split(';').find_map(|tag| tag.strip_prefix("d="))?;
    Some(domain.trim_end_matches('.').to_ascii_lowercase())
}

fn is_within(domain: &str, own: &str) -> bool {
    domain == own || domain.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'))
}

/// What a `Received` field says (RFC 5321 section 4.4).
pub struct Received<'a> {
    /// The argument of EHLO or HELO.
    pub helo: &'a str,
    /// The client's address.
    pub peer: IpAddr,
    /// Our host name.
    pub by: &'a str,
    /// The protocol (`ESMTP`, `ESMTPS`, `UTF8SMTP`; RFC 3848, RFC 6531).
    pub with: &'a str,
    /// Protocol and cipher suite of TLS.
    pub tls: Option<&'a str>,
    /// The queue id.
    pub id: &'a str,
    /// The recipient, only if there is exactly one: others must not learn of blind copies.
    pub for_one: Option<&'a str>,
    /// When the mail was received.
    pub at: jiff::Timestamp,
}

/// Writes a `Received` field, folded.
///
/// ```text
/// "from" FWS Domain CFWS "(" TCP-info ")" "by" … "with" … "id" … ["for" …] ";" date-time
/// ```
pub fn received(received: &Received<'_>) -> String {
    let peer = match received.peer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("IPv6:{address}"),
        },
    };
    let helo = match word(received.helo) {
        word if word.is_empty() => "unknown".to_owned(),
        word => word,
    };
    let (by, with, id) = (word(received.by), word(received.with), word(received.id));
    let tls = received.tls.map(comment).filter(|tls| !tls.is_empty());
    let tls = tls.map(|tls| format!(" ({tls})\r\n\t")).unwrap_or_else(|| " ".to_owned());
    let mut field = format!("Received: from {helo} ([{peer}])\r\n\tby {by} with {with}{tls}id {id}");
    if let Some(recipient) = received.for_one {
        field.push_str("\r\n\tfor <");
        field.extend(recipient.chars().filter(|character| !character.is_control() && !matches!(character, '<' | '>')));
        field.push('>');
    }
    field.push_str(";\r\n\t");
    field.push_str(&date(received.at));
    field.push_str("\r\n");
    field
}

/// `Authentication-Results` with one resinfo per signature (RFC 8601 section 2.2), folded; `none` if there is none.
pub fn authentication_results(authserv_id: &str, results: &[String]) -> String {
    let mut field = format!("Authentication-Results: {}", word(authserv_id));
    if results.is_empty() {
        field.push_str("; none");
    }
    for result in results {
        field.push_str(";\r\n\t");
        field.push_str(&folded(&line(result), 8));
    }
    field.push_str("\r\n");
    field
}

/// `Segel-Verdict: …; id=QID; by=HOST`, folded. `opened`: what stands below was inside an encrypted layer.
pub fn segel_verdict(value: &str, opened: bool, id: &str, by: &str) -> String {
    let opened = if opened { format!("; {}", returned::OPENED) } else { String::new() };
    let text = format!("{}{opened}; id={}; by={}", line(value), word(id), word(by));
    format!("Segel-Verdict: {}\r\n", folded(&text, "Segel-Verdict: ".len()))
}

/// How many `Received` fields there are, and how many name `hostname` in their `by` (S19).
///
/// Counting stops at [`Limits::header_fields`], far above any threshold.
pub fn hops(message: &[u8], hostname: &str, limits: &Limits) -> (usize, usize) {
    let own = Domain::parse(hostname).ok();
    let (mut all, mut ours) = (0, 0);
    for field in Fields::of(message).take(limits.header_fields) {
        let bytes = span(message, field);
        let Some((name, value)) = lenient::name_and_value(bytes) else { continue };
        if !name.trim_ascii().eq_ignore_ascii_case(b"Received") {
            continue;
        }
        all += 1;
        let value = String::from_utf8_lossy(value);
        let words = lenient::without_comments(&value, " ");
        let mut words = words.split([' ', '\t', '\r', '\n', ';']).filter(|word| !word.is_empty());
        let by = words.by_ref().find(|word| word.eq_ignore_ascii_case("by")).and(words.next());
        let same = |by: &str| match (&own, Domain::parse(by)) {
            (Some(own), Ok(by)) => own.same(&by),
            _ => by.eq_ignore_ascii_case(hostname),
        };
        ours += usize::from(by.is_some_and(same));
    }
    (all, ours)
}

/// A timestamp as `Sun, 22 Nov 2026 03:00:00 +0000` (RFC 5322 section 3.3).
pub(super) fn date(at: jiff::Timestamp) -> String {
    jiff::fmt::rfc2822::to_string(&at.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// Text without anything that ends a word or opens a comment in a structured field.
fn word(text: &str) -> String {
    let allowed =
        |character: &char| !character.is_control() && !character.is_whitespace() && !"()<>;\"\\,".contains(*character);
    text.chars().filter(allowed).collect()
}

/// Words that may stand in a comment.
fn comment(text: &str) -> String {
    text.split(' ').map(word).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Text on one line: control characters become spaces.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Octets of a line, below the 78 that RFC 5322 section 2.1.1 recommends.
const WIDTH: usize = 76;

/// Folds at spaces outside of quoted strings; `column` octets stand before it on its first line.
fn folded(text: &str, column: usize) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let (mut column, mut quoted, mut start) = (column, false, 0);
    let mut place = |piece: &str, out: &mut String| {
        if column + piece.len() + 1 > WIDTH && !out.is_empty() {
            out.push_str("\r\n\t");
            column = 8;
        } else if !out.is_empty() {
            out.push(' ');
            column += 1;
        }
        out.push_str(piece);
        column += piece.len();
    };
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                // Several spaces become one: a line of blanks only would end the header for some readers.
                if start < at {
                    place(text.get(start..at).unwrap_or_default(), &mut out);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < text.len() {
        place(text.get(start..).unwrap_or_default(), &mut out);
    }
    out
}

#[cfg(test)]
mod tests;
