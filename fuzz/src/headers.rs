//! Header sections, addresses, `From` as it is seen, `Authentication-Results`.

use segel::limits::Limits;
use segel::mail::authentication::{AuthResult, Dkim, Dmarc, SenderAuthentication, Spf};
use segel::mail::header::{Comparable, From, HeaderSection, from, from_texts, lenient, mailboxes, misleading_name};
use segel::mail::{Address, Domain};
use segel::plan::mark;

/// What `data` says as the start of a message.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    if let Ok(headers) = HeaderSection::parse(data, &limits) {
        assert!(headers.fields().len() <= limits.header_fields);
        section(data, &headers);
        seen(data, &headers, &limits);
    }
    lenient_fields(data);
    forged(data, &limits);
    let text = String::from_utf8_lossy(data);
    for line in text.lines().take(20) {
        address(line);
        results(line);
        let (text, tag) = line.split_at(line.char_indices().nth(line.chars().count() / 2).map_or(0, |(at, _)| at));
        if let Some(found) = Comparable::of(line).find(&Comparable::of(tag)) {
            assert!(line.get(found.clone()).is_some_and(|found| Comparable::of(found).contains(&Comparable::of(tag))));
        }
        assert!(
            Comparable::of(tag).is_empty() || Comparable::of(line).contains(&Comparable::of(tag)) || !text.is_empty()
        );
    }
}

/// Fields cover the section without a gap, and nothing of it is outside `bytes`.
pub fn section(bytes: &[u8], headers: &HeaderSection) {
    let mut at = 0;
    for field in headers.fields() {
        assert_eq!(field.whole.start, at);
        assert!(field.name.start == at && field.name.end < field.value.start && field.value.end <= field.whole.end);
        assert!(field.whole.end <= bytes.len() && !field.name.is_empty());
        let name = &bytes[field.name.clone()];
        assert!(!name.iter().any(|octet| *octet <= b' ' || *octet == b':' || *octet == 0x7f), "{name:?}");
        assert!(!headers.text(bytes, field).contains(&b'\n'));
        at = field.whole.end;
    }
    if !headers.fields().is_empty() || headers.body() > 0 {
        assert!(
            matches!(bytes.get(at..headers.body()), Some(b"" | b"\r\n" | b"\n")),
            "one empty line ends the section"
        );
        assert!(headers.body() <= bytes.len());
    }
}

/// One mailbox in `From` must be one for every reader: also for the most lenient one, and for `mail-parser`.
fn seen(data: &[u8], headers: &HeaderSection, limits: &Limits) {
    let found = from(data, headers);
    let _ = (misleading_name(data, headers), mailboxes(data, headers, "To"));
    let texts = from_texts(data, limits);
    let From::Mailbox(address) = &found else { return };
    let wanted = format!("@{}", address.domain().ascii());
    assert!(texts.cut || texts.from.iter().any(|text| text.contains(&wanted)), "{address} is not in {texts:?}");
    // It reads nothing of a section that has no end, and over the end of a date that is none: it is asked for `From` alone.
    let section = [&data[..headers.body()], b"\r\n\r\n"].concat();
    let parser = mail_parser::MessageParser::new().header_address(mail_parser::HeaderName::From).default_header_raw();
    let parsed = parser.parse_headers(&section);
    let others: Vec<String> = parsed
        .iter()
        .filter_map(|message| message.from())
        .flat_map(|from| from.iter())
        .filter_map(|mailbox| mailbox.address())
        .map(str::to_owned)
        .collect();
    let same = |other: &String| Address::parse(other).is_ok_and(|other| other.same_mailbox(address));
    assert!(others.len() == 1 && same(&others[0]), "{address} for us, {others:?} for mail-parser");
}

/// The forgiving reader goes over everything up to the first empty line.
fn lenient_fields(data: &[u8]) {
    let fields = lenient::Fields::of(data);
    let (mut at, end) = (0, fields.end());
    for field in fields {
        assert!(field.start == at && field.end > at && field.end <= end);
        at = field.end;
    }
    assert_eq!(at, end);
}

/// No field that arrives says what only this gateway may say, and nothing else is touched.
fn forged(data: &[u8], limits: &Limits) {
    const OWN: &str = "mx.example";
    const OURS: &str = "Authentication-Results: mx.example; none\r\n";
    let marked = mark::rewrite(data, OWN, OURS, limits);
    assert!(marked.starts_with(OURS.as_bytes()));
    let rest = &marked[OURS.len()..];
    assert_eq!(mark::rewrite(rest, OWN, "", limits), rest, "once is enough");
    assert!(rest.len() <= data.len() + 2);
    let body = lenient::Fields::of(data).end();
    assert!(rest.ends_with(&data[body..]), "the body stays");
    let Ok(headers) = HeaderSection::parse(rest, limits) else { return };
    for field in headers.named(rest, "Authentication-Results") {
        let value = headers.text(rest, field);
        let id = value.split(|octet| b"; \t".contains(octet)).next().unwrap_or_default();
        assert!(!id.eq_ignore_ascii_case(OWN.as_bytes()), "{}", String::from_utf8_lossy(&value));
    }
    assert!(headers.named(rest, "Segel-Verdict").next().is_none());
    assert!(headers.named(rest, "Return-Path").next().is_none());
}

fn address(text: &str) {
    let Ok(address) = Address::parse(text) else { return };
    assert_eq!(address.as_str(), text);
    assert_eq!(format!("{}@{}", address.local(), address.domain()), text);
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(address.same_mailbox(&address));
    let key = Address::parse(&address.mailbox_key()).expect("the key is an address");
    assert!(key.same_mailbox(&address) && key.mailbox_key() == address.mailbox_key());
    assert!(address.domain().ascii().is_ascii());
    let plain = Domain::parse(address.domain().ascii()).expect("A-labels are a domain");
    assert!(plain.same(address.domain()));
}

/// Texts of others can't end a result, begin another or break the line.
fn results(text: &str) {
    let text = || text.to_owned();
    let dkim = Dkim { result: AuthResult::Fail, domain: text(), selector: text(), start: text(), reason: None };
    let found = SenderAuthentication {
        spf: Some(Spf { result: AuthResult::Neutral, domain: text(), helo: false }),
        dkim: vec![dkim],
        dmarc: Some(Dmarc { result: AuthResult::None, from: text(), policy: None }),
    };
    for (result, expected) in found.resinfo().iter().zip([["spf", "neutral"], ["dkim", "fail"], ["dmarc", "none"]]) {
        assert!(result.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{result}");
        assert!(result.starts_with(&expected.join("=")) && result.matches('"').count() % 2 == 0, "{result}");
        let mut quoted = false;
        for character in result.chars() {
            quoted ^= character == '"';
            assert!(quoted || !";()".contains(character), "{result}");
        }
    }
}
