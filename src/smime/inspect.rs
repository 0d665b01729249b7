//! What a message is and whether its signatures hold, in rounds: `Step::Need` asks for facts, `Step::Done` has the answer.
//!
//! The outermost signed layer decides; inner layers are reported and neither raise nor lower the verdict.
//! Never looks anything up, never reads a clock, never asks for the same thing twice. A fact that cannot be
//! had leaves its reason standing. CRLs inside the mail are ignored.

use super::Verdict;
use super::verify::{Judged, Trust, judge, tidy};
use crate::cms::recipient_info::Recipient;
use crate::crypto::Digest;
use crate::limits::Limits;
use crate::mail::Address;
use crate::mail::header::{self, From, HeaderSection};
use crate::pki::{Certificate, Crl, Name, RevocationMode, TrustAnchor};
use crate::reason::Reason;
use bytes::Bytes;
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

pub use super::verify::Signer;

mod entity;
mod walk;

use walk::{Found, Walk};

/// What stays the same over all rounds.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much is asked.
    pub scope: Scope,
    /// The time of the check: when the message was received.
    pub at: Timestamp,
    /// Whom to trust.
    pub anchors: Arc<[TrustAnchor]>,
    /// Overrides the anchors' modes (`--revocation`).
    pub revocation: Option<RevocationMode>,
    /// Digests that are accepted although weak (`--allow-weak`).
    pub allow_weak: Vec<Digest>,
    /// Certificates blocked by the operator, by SHA-256 of their DER.
    pub blocked: Arc<HashSet<[u8; 32]>>,
    /// Bounds on everything that the message decides.
    pub limits: Arc<Limits>,
}

/// How much of a message is inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outgoing mail: what it is, no cryptography, no needs.
    Structure,
    /// Everything.
    Full,
}

/// What comes after a round.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per message, moved a few times; a Box would be in everybody's way")]
pub enum Step {
    /// Facts are wanted before going on.
    Need(Vec<Need>, Paused),
    /// The answer.
    Done(Inspected),
}

/// A fact that is wanted before going on.
#[derive(Clone, Debug)]
pub enum Need {
    /// The content key of an encrypted layer.
    ContentKeys {
        /// To whom it is encrypted.
        recipients: Vec<Recipient>,
        /// Octets of the content key.
        length: usize,
    },
    /// Certificates with this subject.
    Certificates {
        /// The subject.
        subject: Name,
    },
    /// CRLs issued by this name.
    Crls {
        /// The issuer.
        issuer: Name,
    },
}

/// Answers, in the order of the needs. An empty answer means: could not be had.
#[derive(Clone, Debug)]
pub enum Fact {
    /// To `Need::ContentKeys`: one candidate for each private key that a RecipientInfo names. A candidate may be wrong; only
    /// the content tells (RFC 3218).
    ContentKeys(Vec<ContentKey>),
    /// To `Need::Certificates`.
    Certificates(Vec<Certificate>),
    /// To `Need::Crls`.
    Crls(Vec<Crl>),
}

/// A content key that a private key has given, right or wrong.
#[derive(Clone)]
pub struct ContentKey {
    /// The id of the private key.
    pub key: String,
    /// Its octets, as many as were asked for.
    pub octets: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What was inside the encrypted layers.
#[derive(Clone)]
pub struct Opened {
    /// The entity inside the innermost opened layer, octet by octet.
    pub entity: Bytes,
    /// For each opened layer, outermost first, the ids of the private keys that open it.
    pub keys: Vec<Vec<String>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// What a valid signer lets us learn about how to encrypt to him (RFC 8551 section 2.5.2 and 2.5.3).
#[derive(Clone, Debug)]
pub struct Harvest {
    /// The mailbox in `From`, which the signer's certificate names.
    pub address: Address,
    /// The signer's certificate.
    pub signer: Certificate,
    /// The certificate to encrypt to: named by the encryption key preference, else the signer's own if it fits.
    pub encryption: Certificate,
    /// DER of SMIMECapabilities, if the signed attributes have them.
    pub capabilities: Option<Vec<u8>>,
    /// When the signer says that he signed.
    pub signing_time: Option<Timestamp>,
    /// The other certificates of the SignedData, to build paths with.
    pub certificates: Vec<Certificate>,
}

/// An inspection between two rounds.
#[derive(Debug)]
pub struct Paused(Box<State>);

#[derive(Debug)]
struct State {
    options: Options,
    walk: Walk,
    from: From,
    /// What a person reads in `From` is another address than the one that is bound.
    misleading: bool,
    senders: Vec<Address>,
    /// Those that may speak for the domain in `From`.
    anchors: Vec<TrustAnchor>,
    untrusted: Vec<Certificate>,
    crls: Vec<Crl>,
    asked_subjects: Vec<Name>,
    asked_issuers: Vec<Name>,
    rounds: usize,
}

/// Begins. Owns its bytes so that it can run on a worker thread.
pub fn inspect(message: Bytes, options: Options) -> Step {
    let headers = HeaderSection::parse(&message, &options.limits);
    let (from, senders, misleading) = match &headers {
        Ok(headers) => (
            header::from(&message, headers),
            header::mailboxes(&message, headers, "Sender"),
            header::misleading_name(&message, headers),
        ),
        Err(_) => (From::Ambiguous("the header section cannot be read"), Vec::new(), false),
    };
    let walk = walk::walk(&message, &options, &from);
    let anchors = options.anchors.iter().filter(|anchor| may_speak_for(anchor, &from)).cloned().collect();
    let mut untrusted = Vec::new();
    add_new(&mut untrusted, walk.layers.iter().flat_map(|layer| layer.certificates.iter().cloned()));
    let state = State {
        options,
        walk,
        from,
        misleading,
        senders,
        anchors,
        untrusted,
        crls: Vec::new(),
        asked_subjects: Vec::new(),
        asked_issuers: Vec::new(),
        rounds: 0,
    };
    state.advance()
}

/// An anchor that is bound to domains vouches for senders in these domains only.
fn may_speak_for(anchor: &TrustAnchor, from: &From) -> bool {
    anchor.domains.is_empty()
        || from.mailbox().is_some_and(|mailbox| anchor.domains.iter().any(|domain| domain.same(mailbox.domain())))
}

impl Paused {
    /// Goes on with the answers, in the order of the needs. Answers to other questions are dropped.
    pub fn resume(self, facts: Vec<Fact>) -> Step {
        let mut state = self.0;
        for fact in facts {
            match fact {
                Fact::Certificates(certificates) => add_new(&mut state.untrusted, certificates),
                Fact::Crls(crls) => state.crls.extend(crls),
                Fact::ContentKeys(_) => {}
            }
        }
        state.advance()
    }
}

impl State {
    fn advance(mut self) -> Step {
        let judged = self.judge();
        if self.rounds < self.options.limits.gather_rounds {
            let needs = self.needs(&judged);
            if !needs.is_empty() {
                self.rounds += 1;
                return Step::Need(needs, Paused(Box::new(self)));
            }
        }
        Step::Done(self.finish(judged))
    }

    /// One list per layer, one judgement per SignerInfo.
    fn judge(&self) -> Vec<Vec<Judged>> {
        self.walk.memory.next_round();
        let reports = RefCell::default();
        let trust = Trust {
            at: self.options.at,
            anchors: &self.anchors,
            untrusted: &self.untrusted,
            crls: &self.crls,
            revocation: self.options.revocation,
            allow_weak: &self.options.allow_weak,
            blocked: &self.options.blocked,
            limits: &self.options.limits,
            from: self.from.mailbox(),
            senders: &self.senders,
            memory: &self.walk.memory,
            reports: &reports,
        };
        self.walk
            .layers
            .iter()
            .map(|layer| layer.signers.iter().map(|checked| judge(checked, &trust)).collect())
            .collect()
    }

    /// What could change the judgements and was not asked for before. Without anchors nothing can.
    fn needs(&mut self, judged: &[Vec<Judged>]) -> Vec<Need> {
        let mut needs = Vec::new();
        if self.anchors.is_empty() {
            return needs;
        }
        let wants_crls = self.wants_crls();
        for path in judged.iter().flatten().filter_map(|judged| judged.path.as_ref()) {
            for subject in &path.missing_issuers {
                if first_time(&mut self.asked_subjects, subject) {
                    needs.push(Need::Certificates { subject: subject.clone() });
                }
            }
            if !wants_crls || path.anchor.is_none() {
                continue;
            }
            // Everything on the path but the anchor itself, whose own status nobody vouches for.
            let below_anchor = path.chain.split_last().map_or(&[][..], |(_, rest)| rest);
            for issuer in below_anchor.iter().map(Certificate::issuer).chain(&path.missing_crls) {
                if first_time(&mut self.asked_issuers, issuer) {
                    needs.push(Need::Crls { issuer: issuer.clone() });
                }
            }
        }
        needs
    }

    fn wants_crls(&self) -> bool {
        match self.options.revocation {
            Some(mode) => mode != RevocationMode::None,
            None => self.anchors.iter().any(|anchor| anchor.revocation != RevocationMode::None),
        }
    }

    fn finish(self, judged: Vec<Vec<Judged>>) -> Inspected {
        let evidence = self.evidence(&judged);
        let mut warnings = self.walk.warnings.clone();
        let deciding = self.walk.layers.iter().position(|found| found.kind.is_signed());
        let revocation_soft = deciding.and_then(|index| judged.get(index)).is_some_and(|judged| {
            let unknown = |judged: &&Judged| judged.signer.reasons.contains(&Reason::RevocationUnknown);
            judged.iter().any(|judged| judged.soft) && judged.iter().filter(unknown).all(|judged| judged.soft)
        });
        let mut layers = Vec::new();
        for (index, (found, judged)) in self.walk.layers.iter().zip(judged).enumerate() {
            if deciding == Some(index) {
                warnings.extend(judged.iter().flat_map(|judged| &judged.warnings).map(|warning| (*warning).to_owned()));
            }
            layers.push(Layer::new(found, judged));
        }
        dedup(&mut warnings);
        let reasons = self.reasons(&layers, deciding);
        let verdict = match (reasons.as_slice(), deciding) {
            _ if self.options.scope == Scope::Structure => Verdict::None,
            ([], None) => Verdict::None,
            (reasons, _) => Verdict::of(reasons),
        };
        Inspected {
            verdict,
            reasons: if self.options.scope == Scope::Structure { Vec::new() } else { reasons },
            warnings,
            from: self.from,
            signed: deciding.is_some(),
            encrypted: layers.iter().any(|layer| layer.kind.is_encrypted()),
            decrypted: false,
            covers_whole_message: !self.walk.partial && self.walk.has_smime(),
            revocation_soft,
            deciding,
            layers,
            structure: self.walk.structure,
            evidence,
            opened: None,
            asked_private_key: false,
            harvest: None,
        }
    }

    /// Of the deciding layer and of the whole message.
    fn reasons(&self, layers: &[Layer], deciding: Option<usize>) -> Vec<Reason> {
        let mut reasons = self.walk.reasons.clone();
        if self.walk.has_smime() {
            if self.walk.partial {
                reasons.push(Reason::Partial);
            }
            if self.walk.ambiguous {
                reasons.push(Reason::Ambiguous);
            }
            if let Some(layer) = layers.get(deciding.unwrap_or(0)) {
                reasons.extend_from_slice(&layer.reasons);
            }
            if deciding.is_some() && (self.misleading || self.from.mailbox().is_none()) {
                reasons.push(Reason::Ambiguous);
            }
        }
        tidy(&mut reasons);
        reasons
    }

    fn evidence(&self, judged: &[Vec<Judged>]) -> Evidence {
        let mut evidence = Evidence { at: Some(self.options.at), ..Evidence::default() };
        for path in judged.iter().flatten().filter_map(|judged| judged.path.as_ref()) {
            let anchor = path.anchor.as_ref().map(|anchor| &anchor.certificate);
            for certificate in &path.chain {
                let is_anchor = anchor.is_some_and(|anchor| anchor.der() == certificate.der());
                let list = if is_anchor { &mut evidence.anchors } else { &mut evidence.certificates };
                if !list.iter().any(|known| known.der() == certificate.der()) {
                    list.push(certificate.clone());
                }
            }
            if let Some(anchor) = anchor
                && !evidence.anchors.iter().any(|known| known.der() == anchor.der())
            {
                evidence.anchors.push(anchor.clone());
            }
            for crl in &self.crls {
                let is_used = path.chain.iter().any(|certificate| certificate.issuer().matches(crl.issuer()));
                if is_used && !evidence.crls.iter().any(|known| known.der() == crl.der()) {
                    evidence.crls.push(crl.clone());
                }
            }
        }
        evidence
    }
}

/// Adds those that are not there yet.
fn add_new(known: &mut Vec<Certificate>, more: impl IntoIterator<Item = Certificate>) {
    let mut seen: HashSet<[u8; 32]> = known.iter().map(Certificate::sha256).collect();
    known.extend(more.into_iter().filter(|certificate| seen.insert(certificate.sha256())));
}

/// Remembers a name; whether it was new.
fn first_time(asked: &mut Vec<Name>, name: &Name) -> bool {
    let new = !asked.iter().any(|known| known.matches(name));
    if new {
        asked.push(name.clone());
    }
    new
}

fn dedup(warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
}

/// What a message is and whether it holds.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Of the message as a whole.
    pub verdict: Verdict,
    /// All reasons of the deciding layer and of the whole message, in order, each once.
    pub reasons: Vec<Reason>,
    /// Facts that change nothing: `altered-in-transit`, `micalg-mismatch`, …
    pub warnings: Vec<String>,
    /// What `From` says.
    pub from: From,
    /// Whether a signed layer was found.
    pub signed: bool,
    /// Whether an encrypted layer was found.
    pub encrypted: bool,
    /// Whether it was opened.
    pub decrypted: bool,
    /// Whether the outermost layer is the whole message.
    pub covers_whole_message: bool,
    /// A signer's revocation status is unknown, and his anchor tolerates that (`soft-fail`).
    pub revocation_soft: bool,
    /// Outermost first.
    pub layers: Vec<Layer>,
    /// Which of the layers decides: the outermost signed one.
    pub deciding: Option<usize>,
    /// What it is, for outgoing mail.
    pub structure: Structure,
    /// What the verdict rests on.
    pub evidence: Evidence,
    /// What was inside, if a key opened it.
    pub opened: Option<Opened>,
    /// Whether a private key was asked to act: then nothing learned inside may show outside (I60).
    pub asked_private_key: bool,
    /// What can be learned from a valid signer.
    pub harvest: Option<Harvest>,
}

/// What outgoing mail already is (O56, O57).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Nothing of the following.
    Plain,
    /// The whole message is an S/MIME signature.
    SmimeSigned,
    /// The whole message is encrypted with S/MIME.
    SmimeEncrypted,
    /// PGP/MIME (RFC 3156), signed or encrypted.
    PgpMime,
    /// DSN, MDN: multipart/report.
    Report,
    /// Not parsable, or ambiguous enough that nothing may be added.
    Broken,
}

/// One cryptographic layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Of this layer and all its signers, in order.
    pub reasons: Vec<Reason>,
    /// Whether it was opened.
    pub decrypted: bool,
    /// What protects an opened layer's content.
    pub integrity: Option<Integrity>,
    /// `aes256-gcm` …
    pub content_encryption: Option<String>,
    /// To whom it is encrypted.
    pub recipients: Vec<RecipientSummary>,
    /// One per SignerInfo.
    pub signers: Vec<Signer>,
    /// IMAP part number of the signature or CMS object in the message, where it can be addressed.
    pub part: Option<String>,
}

impl Layer {
    fn new(found: &Found, judged: Vec<Judged>) -> Self {
        let signers: Vec<Signer> = judged.into_iter().map(|judged| judged.signer).collect();
        let bound = signers.iter().any(|signer| signer.bound_to_from);
        let mut reasons = found.reasons.clone();
        for reason in signers.iter().flat_map(|signer| &signer.reasons) {
            let about_address = matches!(reason, Reason::NoAddress | Reason::AddressMismatch | Reason::SignedBySender);
            // A second signer under another address is no fault by itself.
            if !(bound && about_address) {
                reasons.push(*reason);
            }
        }
        tidy(&mut reasons);
        Self {
            kind: found.kind,
            reasons,
            decrypted: false,
            integrity: None,
            content_encryption: found.content_encryption.clone(),
            recipients: found.recipients.clone(),
            signers,
            part: found.part.clone(),
        }
    }
}

/// The kinds of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// EnvelopedData.
    Enveloped,
    /// AuthEnvelopedData.
    AuthEnveloped,
    /// multipart/signed.
    SignedDetached,
    /// SignedData with its content inside.
    SignedOpaque,
    /// CompressedData.
    Compressed,
    /// SignedData with certificates and no signature. Never counts as signed.
    CertsOnly,
}

impl LayerKind {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enveloped => "enveloped",
            Self::AuthEnveloped => "auth-enveloped",
            Self::SignedDetached => "signed-detached",
            Self::SignedOpaque => "signed-opaque",
            Self::Compressed => "compressed",
            Self::CertsOnly => "certs-only",
        }
    }

    /// Whether it claims a signature.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::SignedDetached | Self::SignedOpaque)
    }

    /// Whether a key is needed to go on.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Enveloped | Self::AuthEnveloped)
    }
}

/// What proves that a decrypted content was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// Authenticated encryption.
    Authenticated,
    /// A valid signature inside.
    SignedInside,
    /// Nothing.
    Unproven,
}

impl Integrity {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::SignedInside => "signed-inside",
            Self::Unproven => "unproven",
        }
    }
}

/// One recipient of an encrypted layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientSummary {
    /// `rsa-oaep` …
    pub kind: String,
    /// RFC 4514, empty where the recipient is meant by a key identifier.
    pub issuer: String,
    /// Lower-case hex; the key identifier where there is no serial.
    pub serial: String,
}

/// What the verdict rests on, so that it can be computed again.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The time of the check.
    pub at: Option<Timestamp>,
    /// Certificates of the paths, anchors apart.
    pub certificates: Vec<Certificate>,
    /// CRLs of their issuers.
    pub crls: Vec<Crl>,
    /// Anchors that paths ended at.
    pub anchors: Vec<Certificate>,
}

#[cfg(test)]
mod tests;
