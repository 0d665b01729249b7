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
use crate::pki::{Certificate, Crl, Name, RevocationMode, TrustAnchor, WantedCrls};
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
mod harvest;
mod pgp;
mod result;
mod walk;

use walk::Walk;

pub use result::{Evidence, Harvest, Inspected, Integrity, Layer, LayerKind, Opened, RecipientSummary, Structure};

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
    /// Certificates blocked by the operator, as [`Certificate::is_among`] finds them.
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
    /// The content key of an encrypted layer. Asked for alone, and only when everything that is wanted to judge what stands
    /// around it was asked for: later needs may be about what was inside.
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
        /// Where they are. `None` asks for what is at hand; asked again with this where that was not enough. Only ever
        /// for certificates on a path that reaches an anchor (I67).
        at: Option<WantedCrls>,
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
    /// Distribution points that were asked for.
    asked_points: Vec<Vec<String>>,
    /// The last need was for content keys.
    asked_keys: bool,
    rounds: usize,
}

/// Mailboxes of `Sender` that are looked at: RFC 5322 section 3.6.2 has one, and each is compared with every name of every
/// signer's certificate.
const SENDERS: usize = 4;

/// Begins. Owns its bytes so that it can run on a worker thread.
pub fn inspect(message: Bytes, options: Options) -> Step {
    let headers = HeaderSection::parse(&message, &options.limits);
    let (from, senders, misleading) = match &headers {
        Ok(headers) => (
            header::from(&message, headers),
            header::mailboxes(&message, headers, "Sender").into_iter().take(SENDERS).collect(),
            header::misleading_name(&message, headers),
        ),
        Err(error) => (From::Unreadable(*error), Vec::new(), false),
    };
    let walk = Walk::begin(&message, &options, &from);
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
        asked_points: Vec::new(),
        asked_keys: false,
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
        let mut keys = Vec::new();
        for fact in facts {
            match fact {
                Fact::Certificates(certificates) => add_new(&mut state.untrusted, certificates),
                Fact::Crls(crls) => {
                    for crl in crls {
                        if !state.crls.iter().any(|known| known.der() == crl.der()) {
                            state.crls.push(crl);
                        }
                    }
                }
                Fact::ContentKeys(found) => keys = found,
            }
        }
        if std::mem::take(&mut state.asked_keys) {
            state.walk.resume(&state.options, &state.from, &keys);
            let inside = state.walk.layers.iter().flat_map(|layer| layer.certificates.iter().cloned());
            add_new(&mut state.untrusted, inside);
        }
        state.advance()
    }
}

impl State {
    fn advance(mut self) -> Step {
        let judged = self.judge();
        if self.rounds < self.options.limits.gather_rounds {
            let mut needs = self.needs(&judged);
            if needs.is_empty()
                && let Some(keys) = self.walk.wanted()
            {
                self.asked_keys = true;
                needs.push(keys);
            }
            if !needs.is_empty() {
                self.rounds += 1;
                return Step::Need(needs, Paused(Box::new(self)));
            }
        }
        self.walk.give_up();
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
        let asked_before = self.asked_issuers.clone();
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
                    needs.push(Need::Crls { issuer: issuer.clone(), at: None });
                }
            }
            // What is at hand was not enough.
            for wanted in
                path.wanted_crls.iter().filter(|wanted| asked_before.iter().any(|known| known.matches(&wanted.issuer)))
            {
                let new = |point: &&Vec<String>| !self.asked_points.contains(point);
                let points: Vec<Vec<String>> = wanted.points.iter().filter(new).cloned().collect();
                if !points.is_empty() {
                    self.asked_points.extend(points.iter().cloned());
                    let at = WantedCrls { points, ..wanted.clone() };
                    needs.push(Need::Crls { issuer: wanted.issuer.clone(), at: Some(at) });
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
        let opened = self.opened(&layers);
        let verdict = match (reasons.as_slice(), deciding) {
            _ if self.options.scope == Scope::Structure => Verdict::None,
            ([], None) => Verdict::None,
            (reasons, _) => Verdict::of(reasons),
        };
        let valid = deciding.filter(|_| verdict == Verdict::Valid);
        let harvest = valid
            .and_then(|index| harvest::harvest(self.from.mailbox()?, self.walk.layers.get(index)?, layers.get(index)?));
        Inspected {
            verdict,
            reasons: if self.options.scope == Scope::Structure { Vec::new() } else { reasons },
            warnings,
            from: self.from,
            signed: deciding.is_some(),
            encrypted: layers.iter().any(|layer| layer.kind.is_encrypted()),
            decrypted: layers.iter().any(|layer| layer.decrypted),
            covers_whole_message: !self.walk.partial && self.walk.has_smime(),
            revocation_soft,
            deciding,
            layers,
            structure: self.walk.structure,
            sealed: self.walk.sealed,
            evidence,
            opened,
            asked_private_key: self.walk.asked_private_key,
            harvest,
        }
    }

    /// What was in the innermost opened layer, where nothing around it and nothing in it is unproven.
    fn opened(&self, layers: &[Layer]) -> Option<Opened> {
        if layers.iter().any(|layer| layer.integrity == Some(Integrity::Unproven)) {
            return None;
        }
        let entity = self.walk.insides.last()?.entity.clone();
        Some(Opened { entity, keys: self.walk.insides.iter().map(|inside| inside.keys.clone()).collect() })
    }

    /// Of the deciding layer, of what is wrapped around it, and of the whole message. What is inside it changes nothing,
    /// but for this: what could have been changed on its way, can't be opened or can't be taken apart must never be shown
    /// as if it were whole, whoever signed around it.
    fn reasons(&self, layers: &[Layer], deciding: Option<usize>) -> Vec<Reason> {
        let mut reasons = self.walk.reasons.clone();
        if self.walk.has_smime() {
            if self.walk.partial {
                reasons.push(Reason::Partial);
            }
            if self.walk.ambiguous {
                reasons.push(Reason::Ambiguous);
            }
            let end = deciding.map_or(layers.len(), |deciding| deciding.saturating_add(1));
            reasons.extend(layers.iter().take(end).flat_map(|layer| &layer.reasons));
            let beyond = layers.iter().skip(end).flat_map(|layer| &layer.reasons);
            reasons.extend(beyond.filter(|reason| spoils_from_inside(**reason)));
            if layers.iter().any(|layer| layer.integrity == Some(Integrity::Unproven)) {
                reasons.push(Reason::IntegrityUnproven);
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

/// Whether an inner layer's reason counts for the message.
const fn spoils_from_inside(reason: Reason) -> bool {
    matches!(reason, Reason::Undecryptable | Reason::TooComplex | Reason::Malformed)
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

#[cfg(test)]
mod tests;
