//! From a decision to the bytes that leave: `Decided` → `Plan` → `Copies` of `Transformed`.
//!
//! Pure. The private key's part stands between two calls: [`plan`] says what is to be signed, [`ToSign::finish`]
//! takes the signature and encrypts. Bytes that somebody signed are never changed; header fields of ours are added on top and
//! forged ones removed, nothing else.

pub mod alert;
pub mod expiry;
pub mod mark;
pub mod notice;
mod opened;
mod outgoing;
mod trigger;

pub use outgoing::ToSign;

use crate::crypto::{Digest, SignatureAlgorithm};
use crate::limits::Limits;
use crate::mail::authentication::SenderAuthentication;
use crate::mail::canonical::CanonicalError;
use crate::pki::certificate::{Curve, KeyInfo};
use crate::policy::{Decided, DomainPolicy, Form, Mark, Treatment};
use crate::smime::encrypt::EncryptError;
use crate::smime::inspect::{Inspected, Structure};
use crate::smime::report;
use crate::smime::sign::SignError;
use crate::smtp::data::{self, form};
use bytes::Bytes;
use jiff::Timestamp;

/// A finished message: the only thing the queue takes. Made here alone, from a `Decided` or from a notice.
#[derive(Clone, Debug)]
pub struct Transformed {
    bytes: Bytes,
}

impl Transformed {
    /// The whole message, CRLF line ends, not dot-stuffed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole message.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The same with whole fields (with CRLF) on top.
    #[must_use]
    pub fn with_fields(self, fields: &str) -> Self {
        if fields.is_empty() {
            return self;
        }
        Self { bytes: Bytes::from([fields.as_bytes(), &self.bytes].concat()) }
    }

    /// A message out of nothing, for the tests of the rooms below.
    #[cfg(test)]
    pub fn for_test(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

/// What a copy is made from besides the decision.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The message as it arrived.
    pub content: &'a [u8],
    /// What it was found to be, opened as far as keys go.
    pub inspected: &'a Inspected,
    /// What it is to somebody without a key, where a key was asked.
    pub unopened: Option<&'a Inspected>,
    /// What SPF, DKIM and DMARC say.
    pub sender: &'a SenderAuthentication,
    /// Own domains: their DKIM signatures do not survive what is done to outgoing mail.
    pub own: &'a [DomainPolicy],
    /// Our `Received` field, with its CRLF.
    pub received: &'a str,
    /// The authserv-id, and the name behind `by`.
    pub hostname: &'a str,
    /// The queue id.
    pub id: &'a str,
    /// The time of receipt, which becomes the signing time.
    pub now: Timestamp,
    /// Random octets for the boundary.
    pub random: [u8; 16],
    /// The bounds for taking the message apart.
    pub limits: &'a Limits,
}

/// The finished copies.
#[derive(Debug, Default)]
pub struct Copies {
    /// The copies.
    pub copies: Vec<Copy>,
    /// For each recipient of the envelope the place of his copy; none where his mail is held.
    pub by_recipient: Vec<Option<usize>>,
}

/// One copy.
#[derive(Debug)]
pub struct Copy {
    /// The message.
    pub content: Transformed,
    /// What was made of it: `plain`, `signed`, `encrypted` …
    pub treatment: &'static str,
}

impl Copies {
    fn add(&mut self, copy: Copy, recipients: &[usize]) {
        let number = self.copies.len();
        for place in recipients {
            if let Some(slot) = self.by_recipient.get_mut(*place) {
                *slot = Some(number);
            }
        }
        self.copies.push(copy);
    }
}

/// The next step towards the finished copies.
#[derive(Debug)]
pub enum Plan {
    /// Nothing is to be signed.
    Done(Copies),
    /// A private key has to act.
    Sign(Box<ToSign>),
}

/// Why no copy could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The message can't be taken apart without changing what a reader sees.
    #[error("cannot sign this structure")]
    Structure(#[source] CanonicalError),
    /// The certificate's key has no algorithm that we sign with.
    #[error("no signature algorithm for the key of certificate `{0}`")]
    Key(String),
    /// The signature could not be encoded.
    #[error("cannot encode the signature")]
    Encoding(#[source] SignError),
    /// A copy could not be encrypted.
    #[error("cannot encrypt")]
    Encryption(#[source] EncryptError),
    /// The encrypted copies together would be larger than `limits.copies`.
    #[error("{0} encrypted copies would be too many octets")]
    TooManyCopies(usize),
}

/// Plans the copies for the recipients to whom the message is delivered.
///
/// # Errors
/// [`PlanError`]; never for incoming mail.
pub fn plan(decided: &Decided, source: &Source<'_>) -> Result<Plan, PlanError> {
    if decided.mark() == Mark::Verdict {
        return Ok(Plan::Done(incoming(decided, source)));
    }
    let plain = treatment_name(source.inspected);
    match decided.key_used() {
        Some(signing) => outgoing::signed(signing, decided, source, plain).map(|waiting| Plan::Sign(Box::new(waiting))),
        None => outgoing::unsigned(decided, source, plain).map(Plan::Done),
    }
}

/// At most three copies: as it arrived, opened, and unopened for those who own no key.
fn incoming(decided: &Decided, source: &Source<'_>) -> Copies {
    let (mut clear, mut opened, mut unopened) = (Vec::new(), Vec::new(), Vec::new());
    for (place, recipient) in decided.recipients().iter().enumerate() {
        match &recipient.treatment {
            Treatment::Deliver(Form::Opened) => opened.push(place),
            Treatment::Deliver(Form::Unopened) => unopened.push(place),
            Treatment::Deliver(Form::Clear | Form::Encrypted(_)) => clear.push(place),
            Treatment::Hold { .. } => {}
        }
    }
    let mut copies = Copies { copies: Vec::new(), by_recipient: vec![None; decided.recipients().len()] };
    match opened_copy(source) {
        Some(content) if !opened.is_empty() => copies.add(Copy { content, treatment: "decrypted" }, &opened),
        _ => unopened.append(&mut opened),
    }
    let as_it_came = |inspected: &Inspected| {
        let bytes = mark::rewrite(source.content, source.hostname, &marks(source, inspected, false), source.limits);
        Transformed { bytes: Bytes::from(bytes) }
    };
    if !clear.is_empty() {
        copies.add(Copy { content: as_it_came(source.inspected), treatment: decided.rule() }, &clear);
    }
    if !unopened.is_empty() {
        let inspected = source.unopened.unwrap_or(source.inspected);
        copies.add(Copy { content: as_it_came(inspected), treatment: "unopened" }, &unopened);
    }
    copies
}

/// What can't be put together, or can't be sent, stays closed: the reader's own program may still open it.
fn opened_copy(source: &Source<'_>) -> Option<Transformed> {
    let inside = source.inspected.opened.as_ref()?;
    let bytes = opened::message(&inside.entity, &marks(source, source.inspected, true), source)?;
    (form(&bytes) != data::Form::Unsendable).then(|| Transformed { bytes: Bytes::from(bytes) })
}

/// Our fields on top of incoming mail.
fn marks(source: &Source<'_>, inspected: &Inspected, opened: bool) -> String {
    let mut fields = mark::segel_verdict(&report::segel_verdict(inspected), opened, source.id, source.hostname);
    let mut results = report::authentication_results(inspected);
    results.extend(source.sender.resinfo());
    fields.push_str(&mark::authentication_results(source.hostname, &results));
    fields.push_str(source.received);
    fields
}

/// What becomes of outgoing mail where nothing is done to it, as the queue and the audit record call it.
fn treatment_name(inspected: &Inspected) -> &'static str {
    match inspected.structure {
        Structure::SmimeSigned | Structure::SmimeEncrypted | Structure::PgpMime => "unchanged",
        Structure::Plain | Structure::Report | Structure::Broken => "plain",
    }
}

/// RFC 8551 section 2.2: RSA with SHA-256, ECDSA with the digest of the curve's size.
fn algorithm_for(key: &KeyInfo) -> Option<(SignatureAlgorithm, Digest)> {
    let (digest, algorithm): (Digest, fn(Digest) -> SignatureAlgorithm) = match key {
        KeyInfo::Rsa { .. } => (Digest::Sha256, SignatureAlgorithm::RsaPkcs1),
        KeyInfo::Ec { curve: Curve::P256 } => (Digest::Sha256, SignatureAlgorithm::Ecdsa),
        KeyInfo::Ec { curve: Curve::P384 } => (Digest::Sha384, SignatureAlgorithm::Ecdsa),
        KeyInfo::Ec { .. } | KeyInfo::Ed25519 | KeyInfo::Dsa | KeyInfo::Other => return None,
    };
    Some((algorithm(digest), digest))
}

/// A delimiter that no content can hold by accident: 128 random bits, and `=_`, which quoted-printable never writes
/// (RFC 2045 section 6.7).
fn boundary(random: &[u8; 16]) -> String {
    format!("=_segel_{}", data_encoding::HEXLOWER.encode(random))
}

#[cfg(test)]
mod tests;
