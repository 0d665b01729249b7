//! From a decision to the bytes that leave: `Decided` → `Plan` → `Transformed`.
//!
//! Pure. The private key's part stands between two calls: [`plan`] says what is to be signed, [`ToSign::finish`]
//! takes the signature. Bytes that somebody signed are never changed; header fields of ours are added on top and
//! forged ones removed, nothing else.

pub mod mark;
pub mod notice;

use crate::crypto::{Digest, SignatureAlgorithm};
use crate::limits::Limits;
use crate::mail::canonical::{self, CanonicalError, Form};
use crate::pki::certificate::{Curve, KeyInfo};
use crate::policy::{Decided, Mark, Signing};
use crate::smime::inspect::{Inspected, Structure};
use crate::smime::report;
use crate::smime::sign::{self, Prepared, SignError};
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
    /// What it was found to be.
    pub inspected: &'a Inspected,
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

/// The next step towards a finished copy.
#[derive(Debug)]
pub enum Plan {
    /// Nothing is to be signed.
    Done(Transformed),
    /// A private key has to act.
    Sign(Box<ToSign>),
}

/// A copy that waits for its signature.
#[derive(Debug)]
pub struct ToSign {
    key: String,
    algorithm: SignatureAlgorithm,
    prepared: Prepared,
    outer: Vec<u8>,
    entity: Vec<u8>,
    form: Form,
    micalg: &'static str,
    boundary: String,
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
}

/// Plans the copy for the recipients to whom the message is delivered.
pub fn plan(decided: &Decided, source: &Source<'_>) -> Result<Plan, PlanError> {
    if let Some(signing) = decided.signing() {
        return to_sign(signing, source).map(|waiting| Plan::Sign(Box::new(waiting)));
    }
    let mut fields = String::new();
    if decided.mark() == Mark::Verdict {
        let verdict = report::segel_verdict(source.inspected);
        fields.push_str(&mark::segel_verdict(&verdict, source.id, source.hostname));
        let results = report::authentication_results(source.inspected);
        fields.push_str(&mark::authentication_results(source.hostname, &results));
    }
    fields.push_str(source.received);
    let bytes = mark::rewrite(source.content, source.hostname, &fields, source.limits);
    Ok(Plan::Done(Transformed { bytes: Bytes::from(bytes) }))
}

/// What was made of the message, as the queue and the audit record call it.
pub fn treatment_name(decided: &Decided, inspected: &Inspected) -> &'static str {
    match (decided.signing(), decided.mark(), inspected.structure) {
        (Some(_), _, _) => "signed",
        (None, Mark::Verdict, _) => decided.rule(),
        (None, Mark::None, Structure::SmimeSigned | Structure::SmimeEncrypted | Structure::PgpMime) => "unchanged",
        (None, Mark::None, _) => "plain",
    }
}

fn to_sign(signing: &Signing, source: &Source<'_>) -> Result<ToSign, PlanError> {
    let parts = canonical::canonical(source.content, source.limits).map_err(PlanError::Structure)?;
    let certificate = &signing.key.certificate;
    let (algorithm, digest) = algorithm_for(&certificate.key_info())
        .ok_or_else(|| PlanError::Key(data_encoding::HEXLOWER.encode(&certificate.sha256())))?;
    let signer = sign::Signer {
        certificate: certificate.clone(),
        chain: signing.key.chain.clone(),
        algorithm,
        digest,
        encryption: None,
    };
    let opaque = parts.form == Form::Opaque;
    let prepared = sign::prepare(&parts.entity, &signer, source.now, opaque).map_err(PlanError::Encoding)?;
    let mut fields = String::from(source.received);
    let mut outer = parts.outer;
    if let Some(sender) = &signing.sender {
        outer = mark::without(&outer, "Sender");
        fields.push_str(&format!("Sender: <{}>\r\n", sender.as_str()));
    }
    Ok(ToSign {
        key: signing.key.id.clone(),
        algorithm,
        prepared,
        outer: mark::rewrite(&outer, source.hostname, &fields, source.limits),
        entity: parts.entity,
        form: parts.form,
        micalg: digest.micalg(),
        boundary: boundary(&source.random),
    })
}

impl ToSign {
    /// The id of the key that must sign.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it must sign.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The DER of the signed attributes.
    pub fn to_be_signed(&self) -> &[u8] {
        self.prepared.to_be_signed()
    }

    /// Puts the signature in.
    pub fn finish(self, signature: &[u8]) -> Result<Transformed, PlanError> {
        let der = self.prepared.assemble(signature).map_err(PlanError::Encoding)?;
        let bytes = match self.form {
            Form::Clear => canonical::multipart_signed(&self.outer, &self.entity, &der, self.micalg, &self.boundary),
            Form::Opaque => canonical::pkcs7_mime(&self.outer, "signed-data", &der),
        };
        Ok(Transformed { bytes: Bytes::from(bytes) })
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
