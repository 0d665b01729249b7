//! A `[[test]]` of the policy file: a mail that somebody describes, decided as mail is.
//!
//! Only where facts come from is different: keys and certificates are assumed, not looked up.

use super::decide::{self, Decision};
use super::decided::Treatment;
use super::outgoing::{self, Means, Outcome};
use super::protect::{CertificateMeans, Protected};
use super::rule::{Encrypt, IncomingTreatment, Sign, SignedForm, Substitute};
use super::signing::KeyMeans;
use super::{Facts, Policy, RecipientFacts, Side, Triggers, incoming, matching};
use crate::mail::authentication::SenderAuthentication;
use crate::mail::header::{From, FromTexts, decode_words, has_unclear_word};
use crate::mail::{Address, BodyType, Envelope, ReversePath};
use crate::reason::Reason;
use crate::smime::inspect::{Evidence, Structure};
use crate::smime::{Inspected, Verdict};
use jiff::Timestamp;

/// Whose key is assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssumedKey {
    /// The sender's own.
    Own,
    /// The one that the domain's `substitute` names, if it names one.
    Substitute,
    /// The sender's, whose status is unknown.
    Unknown,
    /// None.
    None,
}

/// What is assumed of the recipient's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssumedCertificate {
    /// None is known.
    None,
    /// One may be encrypted to.
    Usable,
    /// One is known, and its status is not.
    Unknown,
    /// One is known, and revoked.
    Revoked,
}

/// The mail.
#[derive(Clone, Debug)]
pub struct Given {
    /// The side that it comes from.
    pub side: Side,
    /// The mailbox in `From`.
    pub from: Address,
    /// The recipient.
    pub to: Address,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Who has authenticated.
    pub login: Option<String>,
    /// `Subject`
    pub subject: String,
    /// A field.
    pub field: Option<(String, String)>,
    /// Outside: what was found.
    pub reasons: Vec<Reason>,
    /// Outside, without reasons: it has a valid signature.
    pub signed: bool,
    /// Inside: who could sign.
    pub key: AssumedKey,
    /// Inside: whether he could be encrypted to.
    pub certificate: AssumedCertificate,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The rule that holds.
    pub rule: Option<String>,
    /// Inside: what is wanted.
    pub sign: Option<Sign>,
    /// Inside: likewise.
    pub form: Option<SignedForm>,
    /// Inside: likewise.
    pub encrypt: Option<Encrypt>,
    /// `deliver`, `quarantine`, `reject` or `defer`.
    pub action: &'static str,
    /// What decided that.
    pub why: String,
    /// Whether the copy is signed.
    pub signed: bool,
    /// Whether the copy is encrypted.
    pub encrypted: bool,
}

/// Decides it. Time does not matter: whatever waits has come just now.
pub fn try_out(policy: &Policy, given: &Given) -> Tried {
    let facts = facts(given);
    let tried = match given.side {
        Side::Inside => try_outgoing(policy, given, &facts),
        Side::Outside => try_incoming(policy, given, &facts),
    };
    let known = given.certificate != AssumedCertificate::None;
    // What is refused before the mail is there does not get so far.
    let early = decide::reverse_path(policy, given.login.as_deref(), &given.reverse_path)
        .and_then(|()| decide::recipient(policy, given.side, &given.to))
        .and_then(|()| decide::rule_at_rcpt(policy, given.side, &given.to, known));
    match early {
        Ok(()) => tried,
        Err(refusal) => {
            let (action, why) = (IncomingTreatment::Reject.name(), refusal.rule.to_owned());
            Tried { action, why, signed: false, encrypted: false, ..tried }
        }
    }
}

fn try_outgoing(policy: &Policy, given: &Given, facts: &Facts) -> Tried {
    let substitute = policy.domain(given.from.domain()).is_some_and(|own| own.substitute != Substitute::None);
    let key = match given.key {
        AssumedKey::Own => KeyMeans::Own,
        AssumedKey::Substitute if substitute => KeyMeans::Substitute,
        AssumedKey::Unknown => KeyMeans::Unknown,
        AssumedKey::Substitute | AssumedKey::None => KeyMeans::Nothing,
    };
    let against = |reason: Reason| vec![reason, Reason::NoRecipientCertificate];
    let certificate = match given.certificate {
        AssumedCertificate::None => CertificateMeans::default(),
        AssumedCertificate::Usable => CertificateMeans { usable: true, ..CertificateMeans::default() },
        AssumedCertificate::Unknown => CertificateMeans {
            unknown: true,
            reasons: against(Reason::RevocationUnknown),
            ..CertificateMeans::default()
        },
        AssumedCertificate::Revoked => {
            CertificateMeans { reasons: against(Reason::Revoked), ..CertificateMeans::default() }
        }
    };
    let means = Means { key, certificates: vec![certificate] };
    let wishes = outgoing::wishes(facts, policy);
    let wish = wishes.first();
    let tried = Tried {
        rule: wish.and_then(|wish| wish.rule).map(|rule| rule.name.clone()),
        sign: wish.map(|wish| wish.sign),
        form: wish.map(|wish| wish.form),
        encrypt: wish.map(|wish| wish.encrypt),
        action: "deliver",
        why: String::new(),
        signed: false,
        encrypted: false,
    };
    match outgoing::outlook(facts, policy, &means, Timestamp::UNIX_EPOCH) {
        Err(Outcome::Refuse(refusal)) => Tried { action: "reject", why: refusal.rule.to_owned(), ..tried },
        Err(Outcome::Defer(refusal)) => Tried { action: "defer", why: refusal.rule.to_owned(), ..tried },
        Ok(outlook) => Tried {
            why: outlook.row.to_owned(),
            signed: outlook.recipients.iter().any(|one| one.signature.is_some()),
            encrypted: outlook.recipients.iter().any(|one| one.protected == Protected::Encrypted),
            ..tried
        },
    }
}

fn try_incoming(policy: &Policy, given: &Given, facts: &Facts) -> Tried {
    let found = incoming::found_for(facts, policy, 0);
    let rule = matching::trace(facts, policy, &given.to, &found).fired;
    let (action, why) = match incoming::decide(facts, policy, Timestamp::UNIX_EPOCH) {
        Decision::Refuse(refusal) => (IncomingTreatment::Reject.name(), refusal.rule.to_owned()),
        Decision::Defer(refusal) => ("defer", refusal.rule.to_owned()),
        Decision::Accept(decided) => match decided.recipients().first() {
            Some(one) if !matches!(one.treatment, Treatment::Deliver(_)) => {
                (IncomingTreatment::Quarantine.name(), decided.rule().to_owned())
            }
            _ => (IncomingTreatment::Deliver.name(), decided.rule().to_owned()),
        },
    };
    Tried {
        rule: rule.map(|rule| rule.name.clone()),
        sign: None,
        form: None,
        encrypt: None,
        action,
        why,
        signed: false,
        encrypted: false,
    }
}

fn facts(given: &Given) -> Facts {
    let verdict = match (given.reasons.is_empty(), given.signed) {
        (false, _) => Verdict::of(&given.reasons),
        (true, true) => Verdict::Valid,
        (true, false) => Verdict::None,
    };
    Facts {
        side: given.side,
        login: given.login.clone(),
        sender: SenderAuthentication::default(),
        envelope: Envelope::new(given.reverse_path.clone(), vec![given.to.clone()], BodyType::SevenBit),
        inspected: Inspected {
            verdict,
            reasons: given.reasons.clone(),
            warnings: Vec::new(),
            from: From::Mailbox(given.from.clone()),
            signed: given.signed,
            encrypted: false,
            decrypted: false,
            covers_whole_message: given.signed,
            revocation_soft: false,
            layers: Vec::new(),
            deciding: None,
            structure: Structure::Plain,
            sealed: false,
            evidence: Evidence::default(),
            opened: None,
            asked_private_key: false,
            harvest: None,
        },
        unopened: None,
        from_texts: FromTexts::default(),
        own_keys: Vec::new(),
        substitutes: Vec::new(),
        recipients: vec![RecipientFacts::default()],
        passed: false,
        triggers: Triggers {
            subject: decode_words(&given.subject).into_owned(),
            cut: has_unclear_word(&given.subject),
            fields: given.field.iter().cloned().collect(),
        },
        already_encrypted: false,
        returns_opened: false,
        bypass: false,
        first_seen: None,
        again: None,
    }
}
