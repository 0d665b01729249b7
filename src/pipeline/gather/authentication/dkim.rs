//! What stands against a DKIM signature that verifies: the library takes some that RFC 6376 and 8301 tell a verifier to ignore.
//!
//! A `pass` can clear mail with an own domain in `From`, so a signature has to be one of the whole mail, by a key that was
//! published for it.

use mail_auth::common::crypto::Algorithm;
use mail_auth::{AuthenticatedMessage, DkimOutput, MessageAuthenticator};

/// Fields of which a reader shows one: a second one that is not signed could be the one that he shows (RFC 6376 section 8.15).
const ONCE: [&str; 11] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Why it counts for nothing, if it does.
pub(super) async fn objection(
    output: &DkimOutput<'_>,
    message: &AuthenticatedMessage<'_>,
    authenticator: &MessageAuthenticator,
) -> Option<&'static str> {
    let signature = output.signature()?;
    let raw = message.dkim_headers.iter().find(|header| std::ptr::eq(&raw const header.header, signature));
    let tags = Tags::of(raw.map(|header| header.value).unwrap_or_default());
    if signature.l > 0 || tags.get("l").is_some() {
        return Some("a part of the body is not signed");
    }
    if !matches!(signature.a, Algorithm::RsaSha256 | Algorithm::Ed25519Sha256) {
        return Some("the algorithm is too weak");
    }
    if tags.get("x").is_some_and(|expiry| expiry.trim_start_matches('0').is_empty()) {
        return Some("the signature has expired");
    }
    if tags.get("q").is_some_and(|methods| !methods.split(':').any(|method| method == "dns/txt")) {
        return Some("no usable key");
    }
    if let Some(why) = unsigned_field(&signature.h, message) {
        return Some(why);
    }
    let record = authenticator.txt_raw_lookup(format!("{}._domainkey.{}.", signature.s, signature.d)).await;
    match record {
        Ok(record) => key_objection(&Tags::of(&record)),
        Err(_) => Some("the key could not be looked up"),
    }
}

/// A field that has to be signed and is not, or stands more often than it is signed.
fn unsigned_field(signed: &[String], message: &AuthenticatedMessage<'_>) -> Option<&'static str> {
    let count = |name: &str| {
        let same = |found: &[u8]| found.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        let there = message.headers.iter().filter(|(found, _)| same(found)).count();
        (there, signed.iter().filter(|one| one.trim().eq_ignore_ascii_case(name)).count())
    };
    if count("From").1 == 0 {
        return Some("From is not signed");
    }
    let twice = |name: &&str| {
        let (there, signed) = count(name);
        there > 1 && signed < there
    };
    ONCE.iter().any(twice).then_some("a field stands twice and is signed once")
}

/// `t=`, `s=` and `h=` of the key record (RFC 6376 section 3.6.1).
fn key_objection(record: &Tags) -> Option<&'static str> {
    let lists = |tag: &str, wanted: &[&str]| {
        record
            .get(tag)
            .is_none_or(|value| value.split(':').any(|one| wanted.contains(&one.to_ascii_lowercase().as_str())))
    };
    if record.get("t").is_some_and(|flags| flags.split(':').any(|flag| flag.eq_ignore_ascii_case("y"))) {
        return Some("the domain is testing DKIM");
    }
    (!lists("s", &["*", "email"]) || !lists("h", &["sha256"])).then_some("the key is not for this")
}

/// `tag-list = tag-spec *( ";" tag-spec ) [ ";" ]` (RFC 6376 section 3.2), white space left out. A tag that stands twice is
/// the first one: the library has refused such a list.
struct Tags(Vec<(String, String)>);

impl Tags {
    fn of(list: &[u8]) -> Self {
        let text: String = String::from_utf8_lossy(list).chars().filter(|c| !c.is_whitespace()).collect();
        let tags = text.split(';').filter_map(|tag| tag.split_once('='));
        Self(tags.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Tags, key_objection, unsigned_field};
    use mail_auth::AuthenticatedMessage;

    #[test]
    fn s67_key_records_say_what_they_are_for() {
        for (record, good) in [
            ("v=DKIM1; k=rsa; p=abc", true),
            ("v=DKIM1; t=s; s=email; h=sha256; p=abc", true),
            ("p=abc; s=*; h=sha1 : SHA256", true),
            ("v=DKIM1; t=y; p=abc", false),
            ("v=DKIM1; t=s:y; p=abc", false),
            ("v=DKIM1; s=tlsrpt; p=abc", false),
            ("v=DKIM1; h=sha1; p=abc", false),
        ] {
            assert_eq!(key_objection(&Tags::of(record.as_bytes())).is_none(), good, "{record}");
        }
    }

    #[test]
    fn s67_what_stands_twice_is_signed_twice_and_from_always() {
        let check = |header: &str, signed: &[&str], good: bool| {
            let text = format!("{header}\r\nText\r\n");
            let message = AuthenticatedMessage::parse(text.as_bytes()).unwrap();
            let signed: Vec<String> = signed.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(unsigned_field(&signed, &message).is_none(), good, "{header} {signed:?}");
        };
        let one = "From: a@b\r\nSubject: x\r\n";
        check(one, &["from", "subject"], true);
        check(one, &["From"], true);
        check(one, &["subject"], false);
        check("From: a@b\r\nSubject: x\r\nsubject : y\r\n", &["from", "subject"], false);
        check("From: a@b\r\nSubject: x\r\nSubject: y\r\n", &["from", "subject", "subject"], true);
        check("From: a@b\r\nReceived: x\r\nReceived: y\r\n", &["from"], true);
        check("Content-Type: text/html\r\nFrom: a@b\r\nContent-Type: text/plain\r\n", &["from", "content-type"], false);
    }
}
