use super::Verdict;
use crate::crypto::{Digest, SignatureAlgorithm};
use crate::limits::Limits;
use crate::mail::{Address, header::From};
use crate::pki::{Certificate, Crl, Name, RevocationMode, RevocationStatus, TrustAnchor};
use crate::reason::Reason;
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::Arc;
/// What stays the same over all rounds.
#[derive(Clone, Debug)]
pub struct Options {
    pub scope: Scope,
    pub at: Timestamp,
    pub anchors: Arc<[TrustAnchor]>,
    /** `--revocation` overrides the anchors' modes */
    pub revocation: Option<RevocationMode>,
    pub allow_weak: Vec<Digest>,
    /** certificates blocked by the operator, by SHA-256 of DER */
    pub blocked: Arc<std::collections::HashSet<[u8; 32]>>,
    pub limits: Arc<Limits>,
}
/// Outgoing mail is inspected for structure only: no crypto, no needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Structure,
    Full,
}
pub enum Step {
    Need(Vec<Need>, Paused),
    Done(Inspected),
}
/// A fact that is wanted before going on. (Unwrapping keys joins with decryption.)
#[derive(Clone, Debug)]
pub enum Need {
    /** certificates with this subject */
    Certificates { subject: Name },
    /** CRLs issued by this name */
    Crls { issuer: Name },
}
/// Answers, in the order of the needs. An empty answer means: could not be had.
#[derive(Clone, Debug)]
pub enum Fact {
    Certificates(Vec<Certificate>),
    Crls(Vec<Crl>),
}
pub struct Paused {}
impl Paused {
    pub fn resume(self, _facts: Vec<Fact>) -> Step {
        todo!()
    }
}
/// Begins. Owns its bytes so that it can run on a worker thread.
pub fn inspect(_message: Bytes, _options: Options) -> Step {
    todo!()
}

#[derive(Clone, Debug)]
pub struct Inspected {
    pub verdict: Verdict,
    /// All reasons of the deciding layer and of the whole message, in order, each once.
    pub reasons: Vec<Reason>,
    pub warnings: Vec<String>,
    pub from: From,
    pub signed: bool,
    pub encrypted: bool,
    pub decrypted: bool,
    pub covers_whole_message: bool,
    /// A signer's revocation status is unknown, and his anchor tolerates that (`soft-fail`).
    pub revocation_soft: bool,
    /// Outermost first.
    pub layers: Vec<Layer>,
    pub structure: Structure,
    pub evidence: Evidence,
}
/// What outgoing mail already is (O56, O57).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    Plain,
    SmimeSigned,
    SmimeEncrypted,
    PgpMime,
    /** DSN, MDN: multipart/report */
    Report,
    /** not parsable or ambiguous enough that nothing may be added */
    Broken,
}
#[derive(Clone, Debug)]
pub struct Layer {
    pub kind: LayerKind,
    pub reasons: Vec<Reason>,
    pub decrypted: bool,
    pub integrity: Option<Integrity>,
    pub content_encryption: Option<String>,
    pub recipients: Vec<RecipientSummary>,
    pub signers: Vec<Signer>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    Enveloped,
    AuthEnveloped,
    SignedDetached,
    SignedOpaque,
    Compressed,
    CertsOnly,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    Authenticated,
    SignedInside,
    Unproven,
}
#[derive(Clone, Debug)]
pub struct RecipientSummary {
    pub kind: String,
    pub issuer: String,
    pub serial: String,
}
#[derive(Clone, Debug)]
pub struct Signer {
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// The address by which it is bound to From, else the first one the certificate names.
    pub address: Option<Address>,
    /// Whether the certificate names the mailbox in From.
    pub bound_to_from: bool,
    pub certificate: Option<Certificate>,
    /// issuer and serial of the SignerIdentifier where no certificate was found.
    pub identifier: String,
    pub digest: Option<Digest>,
    pub signature: Option<SignatureAlgorithm>,
    pub signing_time: Option<Timestamp>,
    pub revocation: RevocationStatus,
    pub chain: Vec<Certificate>,
}
/// What the verdict rests on, so that it can be computed again.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub at: Option<Timestamp>,
    pub certificates: Vec<Certificate>,
    pub crls: Vec<Crl>,
    pub anchors: Vec<Certificate>,
}
