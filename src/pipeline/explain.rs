//! A dry run: which row fires for whom, with which key, and why. Nothing is stored and no key is used.

mod seen;
mod why;

pub use seen::{ExplainedFacts, ExplainedRules, MissedRule};

use super::{AcceptError, Arrival, Gateway, Snapshot, gather, reply};
use crate::mail::{Address, BodyType, Envelope, ReversePath};
use crate::pki::Certificate;
use crate::policy::{
    self, Decision, Facts, ForRecipient, Form, RecipientStanding, Refusal, SenderKey, Side, Standing, Treatment, codes,
};
use crate::reason::Reason;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use why::why;

/// What is asked.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The reverse-path, and the mailbox in `From` where no message is given.
    pub from: Address,
    /// The recipients.
    pub to: Vec<Address>,
    /// The side it would come from.
    pub side: Side,
    /// Who has authenticated.
    pub login: Option<String>,
    /// `Subject` and further fields, whole lines, where no message is given.
    pub fields: Vec<String>,
    /// A message to explain; without one, a plain text by `from`.
    pub message: Option<Bytes>,
}

/// What would happen.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `accept`, `refuse` or `defer`.
    pub decision: &'static str,
    /// The row that fires.
    pub rule: String,
    /// That row in a sentence.
    pub why: &'static str,
    /// What the decision saw of the mail; none where it was refused before it was there.
    pub facts: Option<ExplainedFacts>,
    /// The reasons found in the message.
    pub reasons: Vec<String>,
    /// What the client would hear, where the message is not taken.
    pub reply: Option<String>,
    /// The key that would sign.
    pub key: Option<String>,
    /// The certificates that were looked at, and what each is worth now.
    pub keys: Vec<ExplainedKey>,
    /// For each recipient.
    pub recipients: Vec<ExplainedRecipient>,
    /// The certificates that were looked at for recipients, chosen and rejected.
    pub certificates: Vec<ExplainedCertificate>,
    /// Hash of the policy.
    pub policy: String,
}

/// A recipient's certificate that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedCertificate {
    /// Whose.
    pub address: String,
    /// Its id in the directory.
    pub id: String,
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Its end, RFC 3339.
    pub until: String,
    /// `chosen`, `usable`, `unknown` or `rejected`, with the reasons.
    pub standing: String,
    /// What stands against it.
    pub reasons: Vec<Reason>,
}

/// A certificate that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedKey {
    /// Its id in the register.
    pub id: String,
    /// Whom it stands for.
    pub kind: &'static str,
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Its end, RFC 3339.
    pub until: String,
    /// Whether it would sign.
    pub chosen: bool,
    /// `usable`, `unknown`, or why not.
    pub standing: String,
    /// What stands against it.
    pub reasons: Vec<Reason>,
}

/// What happens for one recipient.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedRecipient {
    /// The address.
    pub address: String,
    /// `deliver`, `hold`, `refuse` or `defer`.
    pub treatment: String,
    /// Whether it leaves signed.
    pub signed: bool,
    /// `clear` or `opaque`, where it does.
    pub form: Option<&'static str>,
    /// Whether it leaves encrypted.
    pub encrypted: bool,
    /// What decided it for him: a row of the tables or a rule of the policy file.
    pub rule: String,
    /// That in a sentence, where it is a row of the tables.
    pub why: &'static str,
    /// The policy file's rules as they were gone through for him; none where the mail was refused before it was there.
    pub rules: Option<ExplainedRules>,
    /// Where it goes next.
    pub next_hop: String,
}

/// Goes the same way as [`super::accept`], up to the decision.
pub async fn explain(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    request: ExplainRequest,
    now: Timestamp,
) -> Result<Explanation, AcceptError> {
    let arrival = arrival(&request);
    let mut asked = Asked {
        snapshot,
        request: &request,
        facts: None,
        rules: Vec::new(),
        reasons: Vec::new(),
        keys: Vec::new(),
        certificates: Vec::new(),
    };
    let policy = &snapshot.config.policy;
    for recipient in &request.to {
        if let Err(refusal) = gather::at_rcpt(gateway, snapshot, request.side, recipient) {
            return Ok(asked.outcome(&Decision::Refuse(refusal)));
        }
    }
    let looked = gather::inspect(gateway, snapshot, &arrival, &Arc::default(), now).await?;
    asked.reasons = looked.inspected.reasons.iter().map(|reason| reason.code().to_owned()).collect();
    let mut facts = gather::facts(gateway, snapshot, &arrival, looked, None, now).await?;
    facts.first_seen = None;
    let decision = policy::decide(&facts, policy, now);
    let key = match &decision {
        Decision::Accept(decided) => decided.key_used().map(|signing| signing.key.id.clone()),
        Decision::Refuse(_) | Decision::Defer(_) => None,
    };
    // During a bypass no key is looked at; who asks wants to see them all the same.
    let from = facts.inspected.from.mailbox().filter(|_| facts.bypass);
    let (own, substitutes) = from.map(|from| gather::signing_keys(gateway, snapshot, from, now)).unwrap_or_default();
    let keys = facts.own_keys.iter().chain(&facts.substitutes).chain(&own).chain(&substitutes);
    asked.keys = keys.map(|one| explained_key(one, key.as_deref())).collect();
    asked.certificates = explained_certificates(&facts, &decision);
    asked.facts = Some(seen::facts(&facts, policy, gateway.bypass_until()));
    asked.rules = (0..facts.envelope.recipients.len()).map(|place| seen::rules(&facts, policy, place)).collect();
    Ok(asked.outcome(&decision))
}

/// Every certificate that is known for a recipient, and which was chosen.
fn explained_certificates(facts: &Facts, decision: &Decision) -> Vec<ExplainedCertificate> {
    let chosen = |address: &Address, id: &str| match decision {
        Decision::Accept(decided) => decided.recipients().iter().any(|one| {
            one.address.same_mailbox(address)
                && matches!(&one.treatment, Treatment::Deliver(Form::Encrypted(to)) if to.id == id)
        }),
        Decision::Refuse(_) | Decision::Defer(_) => false,
    };
    let mut all = Vec::new();
    for (address, known) in facts.envelope.recipients.iter().zip(&facts.recipients) {
        for certificate in &known.certificates {
            let (subject, issuer, until) = named(&certificate.certificate);
            all.push(ExplainedCertificate {
                address: address.as_str().to_owned(),
                id: certificate.id.clone(),
                subject,
                issuer,
                until,
                standing: match chosen(address, &certificate.id) {
                    true => "chosen".to_owned(),
                    false => certificate.standing.describe(),
                },
                reasons: match &certificate.standing {
                    RecipientStanding::Rejected(reasons) => reasons.clone(),
                    RecipientStanding::Unknown => vec![Reason::RevocationUnknown],
                    RecipientStanding::Usable(_) | RecipientStanding::Unconfirmed => Vec::new(),
                },
            });
        }
    }
    all
}

fn named(certificate: &Certificate) -> (String, String, String) {
    (certificate.subject().to_string(), certificate.issuer().to_string(), certificate.not_after().to_string())
}

fn arrival(request: &ExplainRequest) -> Arrival {
    let content = request.message.clone().unwrap_or_else(|| {
        let to: Vec<&str> = request.to.iter().map(Address::as_str).collect();
        let fields: String = request.fields.iter().map(|line| format!("{line}\r\n")).collect();
        Bytes::from(format!("From: <{}>\r\nTo: {}\r\n{fields}\r\n", request.from.as_str(), to.join(", ")))
    });
    Arrival {
        listener: "explain".to_owned(),
        side: request.side,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        helo: "localhost".to_owned(),
        protocol: "ESMTP",
        tls: None,
        login: request.login.clone(),
        envelope: Envelope::new(ReversePath::Mailbox(request.from.clone()), request.to.clone(), BodyType::EightBitMime),
        content,
    }
}

fn explained_key(key: &SenderKey, chosen: Option<&str>) -> ExplainedKey {
    let (subject, issuer, until) = named(&key.certificate);
    ExplainedKey {
        id: key.id.clone(),
        kind: key.kind.name(),
        subject,
        issuer,
        until,
        chosen: chosen == Some(key.id.as_str()),
        standing: match &key.standing {
            Standing::Usable => "usable".to_owned(),
            Standing::Unknown => "unknown: revocation-unknown".to_owned(),
            Standing::Unusable(reasons) => format!("rejected: {}", codes(reasons)),
        },
        reasons: match &key.standing {
            Standing::Usable => Vec::new(),
            Standing::Unknown => vec![Reason::RevocationUnknown],
            Standing::Unusable(reasons) => reasons.clone(),
        },
    }
}

/// What is known when the decision falls.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    request: &'a ExplainRequest,
    facts: Option<ExplainedFacts>,
    /// For each recipient.
    rules: Vec<ExplainedRules>,
    reasons: Vec<String>,
    keys: Vec<ExplainedKey>,
    certificates: Vec<ExplainedCertificate>,
}

impl Asked<'_> {
    fn outcome(mut self, decision: &Decision) -> Explanation {
        let said = |refusal| String::from_utf8_lossy(&reply::refused(refusal).to_bytes()).trim_end().to_owned();
        let (word, rule, reply, key) = match decision {
            Decision::Refuse(refusal) => ("refuse", refusal.rule, Some(said(refusal)), None),
            Decision::Defer(refusal) => ("defer", refusal.rule, Some(said(refusal)), None),
            Decision::Accept(decided) => {
                ("accept", decided.rule(), None, decided.key_used().map(|signing| signing.key.id.clone()))
            }
        };
        let mut recipients: Vec<ExplainedRecipient> = match decision {
            Decision::Refuse(refusal) | Decision::Defer(refusal) => self.all(word, refusal),
            Decision::Accept(decided) => decided.recipients().iter().map(|one| self.recipient(one)).collect(),
        };
        for (recipient, rules) in recipients.iter_mut().zip(self.rules.drain(..)) {
            recipient.rules = Some(rules);
        }
        Explanation {
            decision: word,
            rule: rule.to_owned(),
            why: why(rule),
            facts: self.facts,
            reasons: self.reasons,
            reply,
            key,
            keys: self.keys,
            recipients,
            certificates: self.certificates,
            policy: self.snapshot.config.policy.hash.clone(),
        }
    }

    fn next_hop(&self, address: &Address) -> String {
        self.snapshot.config.next_hop(address.domain()).to_string()
    }

    /// Nobody gets anything.
    fn all(&self, word: &str, refusal: &Refusal) -> Vec<ExplainedRecipient> {
        let each = |address: &Address| ExplainedRecipient {
            address: address.as_str().to_owned(),
            treatment: word.to_owned(),
            signed: false,
            form: None,
            encrypted: false,
            rule: refusal.rule.to_owned(),
            why: why(refusal.rule),
            rules: None,
            next_hop: self.next_hop(address),
        };
        self.request.to.iter().map(each).collect()
    }

    fn recipient(&self, one: &ForRecipient) -> ExplainedRecipient {
        let signature = one.signature.filter(|_| one.is_delivered());
        ExplainedRecipient {
            address: one.address.as_str().to_owned(),
            treatment: match &one.treatment {
                Treatment::Deliver(Form::Opened) => "deliver (opened)".to_owned(),
                Treatment::Deliver(Form::Unopened) => "deliver (unopened)".to_owned(),
                Treatment::Deliver(Form::Clear | Form::Encrypted(_)) => "deliver".to_owned(),
                Treatment::Hold { class, .. } => format!("hold ({})", class.name()),
            },
            signed: signature.is_some(),
            form: signature.map(policy::SignedForm::name),
            encrypted: matches!(one.treatment, Treatment::Deliver(Form::Encrypted(_))),
            rule: one.rule.clone(),
            why: why(&one.rule),
            rules: None,
            next_hop: self.next_hop(&one.address),
        }
    }
}
