//! Reads the outcome off what arrived and off what `segel inspect` says of it.

use super::authority::People;
use super::scenario::{Direction, Scenario, TAG};
use super::sink::header;
use serde_json::Value;

/// What became of the mail for one recipient.
pub(super) struct Finding {
    /// The outcome.
    pub(super) outcome: &'static str,
    /// What `segel inspect` says of what arrived.
    pub(super) verdict: Option<String>,
    /// Its reasons.
    pub(super) reasons: Vec<String>,
    /// The stored mail, relative to the demo's folder.
    pub(super) file: Option<String>,
    /// Why, for the reader.
    pub(super) why: String,
}

/// The outcome and, for the reader, why.
type Outcome = (&'static str, String);

/// Judges the copy that arrived for `to`. `report` is what he reads with his own key, if he has one.
pub(super) fn delivered(scenario: &Scenario, to: &str, arrived: &[u8], report: &Value, people: &People) -> Finding {
    let (outcome, why) = match scenario.direction {
        Direction::Outgoing => outgoing(scenario, to, arrived, report, people),
        Direction::Incoming => incoming(to, &header(arrived, "segel-verdict").unwrap_or_default(), report),
    };
    Finding { outcome, verdict: Some(text(report, "verdict")), reasons: reasons(report), file: None, why }
}

/// Mail that is held. `report` is what the gateway reads with its keys.
pub(super) fn quarantined(report: &Value) -> Finding {
    let why = format!("{}; held with the evidence", judged(report));
    let (verdict, reasons) = (Some(text(report, "verdict")), reasons(report));
    Finding { outcome: "quarantined", verdict, reasons, file: None, why }
}

fn outgoing(scenario: &Scenario, to: &str, arrived: &[u8], report: &Value, people: &People) -> Outcome {
    if below_trace(arrived, &scenario.content) {
        return match says(report, "signed") || says(report, "encrypted") {
            true => ("unchanged", format!("not an octet differs from what was sent; {}", text(report, "verdict"))),
            false if scenario.reverse_path.is_none() => ("plain", "notices of machines pass unsigned".to_owned()),
            false => ("plain", judged(report)),
        };
    }
    let permitted = Permitted::of(scenario, to);
    let named: Vec<String> = recipients(report).map(|one| owner(one, people)).collect();
    if let Some(trace) = permitted.trace(&named, arrived).or_else(|| tag_left(arrived)) {
        return ("leaked", trace);
    }
    let is_valid = text(report, "verdict") == "valid";
    match (says(report, "encrypted"), signer(report)) {
        (true, Some((signer, _))) if is_valid && says(report, "decrypted") && !named.is_empty() => {
            let whose = named.iter().map(|one| name(one)).collect::<Vec<_>>().join(" and ");
            let mut why = format!("{whose} alone can open it ({}): valid, signed by {signer}", ciphers(report));
            if let Some(hidden) = permitted.hidden {
                why.push_str(&format!("; no trace of {}", name(hidden)));
            }
            if header(&scenario.content, "subject").is_some_and(|subject| subject.contains(TAG)) {
                why.push_str(&format!("; {TAG} is gone from Subject"));
            }
            ("encrypted", why)
        }
        (true, _) => ("unreadable", format!("{}'s key does not open it: {}", name(to), judged(report))),
        (false, Some((signer, how))) if is_valid => ("signed", format!("valid: signed by {signer} ({how})")),
        (false, Some(_)) => ("marked", judged(report)),
        (false, None) => ("plain", judged(report)),
    }
}

/// Who may be named in a copy.
struct Permitted<'a> {
    /// Whose certificates: everybody to whom it was written openly, or a hidden recipient alone.
    certificates: Vec<&'a str>,
    /// Somebody of whom there must be no trace.
    hidden: Option<&'a str>,
}

impl<'a> Permitted<'a> {
    fn of(scenario: &'a Scenario, to: &'a str) -> Self {
        let open = header(&scenario.content, "to").unwrap_or_default();
        let is_open = |address: &str| open.contains(address);
        let all = || scenario.to.iter().map(|one| one.address);
        let certificates = if is_open(to) { all().filter(|address| is_open(address)).collect() } else { vec![to] };
        Self { certificates, hidden: all().find(|address| *address != to && !is_open(address)) }
    }

    /// Who is named in a copy and must not be: by his certificate, or anywhere in its header section.
    fn trace(&self, named: &[String], arrived: &[u8]) -> Option<String> {
        let stranger = named.iter().find(|one| !self.certificates.contains(&one.as_str()));
        if let Some(stranger) = stranger {
            return Some(format!("the copy names the certificate of {stranger}"));
        }
        let text = String::from_utf8_lossy(arrived);
        let hidden = self.hidden.filter(|hidden| text.contains(hidden))?;
        Some(format!("the copy names {hidden}"))
    }
}

fn tag_left(arrived: &[u8]) -> Option<String> {
    let left = header(arrived, "subject").is_some_and(|subject| subject.contains(TAG));
    left.then(|| format!("{TAG} still stands in Subject"))
}

/// The gateway's own mark says what it did; what arrived has to bear it out.
fn incoming(to: &str, mark: &str, report: &Value) -> Outcome {
    let items: Vec<&str> = mark.split(';').map(str::trim).collect();
    let verdict = items.first().copied().unwrap_or_default();
    let opened = items.contains(&"opened=yes") && !says(report, "encrypted");
    let found = text(report, "verdict");
    match (verdict, signer(report)) {
        ("valid", Some((signer, how))) if found == "valid" => {
            let outcome = if opened { "decrypted" } else { "verified" };
            let before = if opened { format!("opened with {}'s key; ", name(to)) } else { String::new() };
            (outcome, format!("{before}valid: signed by {signer} ({how})"))
        }
        ("none" | "", _) if says(report, "encrypted") => {
            ("unopened", format!("no key of {}'s opens it; delivered closed, as it came", name(to)))
        }
        ("none" | "", _) => ("plain", "there is no signature to judge".to_owned()),
        _ => ("marked", judged(report)),
    }
}

/// Whether `arrived` is `sent` below trace fields and nothing else.
fn below_trace(arrived: &[u8], sent: &[u8]) -> bool {
    arrived.strip_suffix(sent).is_some_and(|above| {
        String::from_utf8_lossy(above)
            .lines()
            .all(|line| line.starts_with("Received:") || line.starts_with([' ', '\t']))
    })
}

/// `rina@mitra.example` is Rina.
fn name(address: &str) -> String {
    let mut letters = address.split('@').next().unwrap_or_default().chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn says(report: &Value, key: &str) -> bool {
    report.get(key).and_then(Value::as_bool) == Some(true)
}

fn text(report: &Value, key: &str) -> String {
    report.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn reasons(report: &Value) -> Vec<String> {
    let list = report.get("reasons").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The verdict and its reasons.
fn judged(report: &Value) -> String {
    let reasons = reasons(report).join(", ");
    if reasons.is_empty() { text(report, "verdict") } else { format!("{}: {reasons}", text(report, "verdict")) }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Who signed, and with what.
fn signer(report: &Value) -> Option<(String, String)> {
    let signer = list(report, "layers").find_map(|layer| list(layer, "signers").next())?;
    let word = |key: &str| signer.get(key).and_then(Value::as_str).unwrap_or("?");
    Some((word("address").to_owned(), format!("{}, {}", word("signature"), word("digest"))))
}

/// Whom the outermost layer is encrypted to.
fn recipients(report: &Value) -> impl Iterator<Item = &Value> {
    report.pointer("/layers/0").into_iter().flat_map(|layer| list(layer, "recipients"))
}

/// The address in the certificate that is meant.
fn owner(recipient: &Value, people: &People) -> String {
    let (issuer, serial) = (text(recipient, "issuer"), text(recipient, "serial"));
    let is_meant = |certificate: &crate::pki::Certificate| {
        certificate.serial_hex() == serial && certificate.issuer().to_string() == issuer
    };
    let found = people.all().find(|(_, person)| is_meant(&person.certificate));
    found.map_or_else(|| format!("serial {serial}"), |(address, _)| address.to_owned())
}

/// How the content key reaches the recipients, and how the content is encrypted.
fn ciphers(report: &Value) -> String {
    let mut words: Vec<String> = recipients(report).map(|one| text(one, "type")).collect();
    words.dedup();
    words.extend(report.pointer("/layers/0").map(|layer| text(layer, "content_encryption")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Permitted, below_trace, incoming, name, signer};
    use crate::demo::scenario::{Direction, Recipient, Scenario};
    use serde_json::json;

    #[test]
    fn marks_are_read_and_borne_out_by_what_arrived() {
        let signed = |encrypted: bool, verdict: &str| {
            let layers = json!([{}, {"signers": [{"address": "a@b", "signature": "ecdsa", "digest": "sha256"}]}]);
            json!({"verdict": verdict, "encrypted": encrypted, "reasons": [], "layers": layers})
        };
        let plain = |encrypted: bool| json!({"verdict": "none", "encrypted": encrypted, "reasons": [], "layers": []});
        let cases = [
            ("valid; signer=\"a@b\"; id=x; by=y", signed(false, "valid"), "verified"),
            ("valid; encrypted=yes; opened=yes; id=x", signed(false, "valid"), "decrypted"),
            ("valid; encrypted=yes; opened=yes; id=x", signed(true, "valid"), "verified"),
            ("valid; id=x", signed(false, "invalid"), "marked"),
            ("valid; id=x", plain(false), "marked"),
            ("invalid; reasons=altered", signed(false, "invalid"), "marked"),
            ("indeterminate; reasons=untrusted", signed(false, "indeterminate"), "marked"),
            ("none; encrypted=yes; id=x", plain(true), "unopened"),
            ("none; id=x", plain(false), "plain"),
            ("", plain(false), "plain"),
        ];
        for (mark, report, outcome) in cases {
            assert_eq!(incoming("siti@x", mark, &report).0, outcome, "{mark}");
        }
        assert_eq!(signer(&signed(true, "valid")), Some(("a@b".to_owned(), "ecdsa, sha256".to_owned())));
        assert_eq!((name("siti@x").as_str(), name("").as_str()), ("Siti", ""));
    }

    #[test]
    fn only_trace_fields_may_stand_above_unchanged_mail() {
        let cases: [(&[u8], bool); 4] = [
            (b"Received: from a\r\n\tby b\r\nFrom: c\r\n\r\nd", true),
            (b"From: c\r\n\r\nd", true),
            (b"X-Added: a\r\nFrom: c\r\n\r\nd", false),
            (b"Received: from a\r\nFrom: c\r\n\r\ne", false),
        ];
        for (arrived, unchanged) in cases {
            assert_eq!(below_trace(arrived, b"From: c\r\n\r\nd"), unchanged);
        }
    }

    #[test]
    fn a_copy_names_nobody_else_than_it_may() {
        let to = |address| Recipient { address, about: "", expected: "encrypted" };
        let scenario = Scenario {
            name: "x",
            direction: Direction::Outgoing,
            reverse_path: None,
            from: "s@x",
            to: vec![to("open@x"), to("too@x"), to("hidden@x")],
            content: b"To: open@x, too@x\r\n\r\n".to_vec(),
        };
        let cases: [(&str, &[&str], &str, bool); 7] = [
            ("open@x", &["open@x", "too@x"], "To: open@x, too@x\r\n\r\n", true),
            ("open@x", &["open@x", "hidden@x"], "", false),
            ("open@x", &["open@x", "serial 11"], "", false),
            ("open@x", &["open@x"], "Received: from a for <hidden@x>\r\n\r\n", false),
            ("hidden@x", &["hidden@x"], "Received: from a for <hidden@x>\r\n\r\n", true),
            ("hidden@x", &["hidden@x", "open@x"], "", false),
            ("hidden@x", &["open@x"], "", false),
        ];
        for (to, named, arrived, fine) in cases {
            let named: Vec<String> = named.iter().map(|one| (*one).to_owned()).collect();
            let trace = Permitted::of(&scenario, to).trace(&named, arrived.as_bytes());
            assert_eq!(trace.is_none(), fine, "{to} {named:?} {arrived}: {trace:?}");
        }
    }
}
