//! A dry run: which row fires for whom, with which key, and why. Nothing is stored and no key is used.

mod seen;
mod why;

pub use seen::{ExplainedFacts, ExplainedRules, MissedRule};

use super::{AcceptError, Arrival, Gateway, Snapshot, gather, reply, transform};
use crate::mail::{Address, BodyType, Envelope, ReversePath};
use crate::pki::Certificate;
use crate::policy::{
    self, Decided, Decision, Facts, ForRecipient, Form, RecipientStanding, Refusal, SenderKey, Side, Standing,
    Treatment, codes,
};
use crate::reason::Reason;
use crate::smtp::Reply;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use why::why;

/// What is asked.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The reverse-path, and the mailbox in `From` where no message is given.
    pub from: ReversePath,
    /// The recipients.
    pub to: Vec<Address>,
    /// The side it would come from.
    pub side: Side,
    /// The client's address, which SPF and DMARC go by. From loopback they are not asked, as `[incoming]` has it.
    pub client: IpAddr,
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
    /// What the client would hear of him, where he is refused when he is named.
    pub reply: Option<String>,
    /// Where it goes next.
    pub next_hop: String,
}

/// Goes the same way as [`super::accept`], up to the private key's part.
pub async fn explain(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    request: ExplainRequest,
    now: Timestamp,
) -> Result<Explanation, AcceptError> {
    let mut asked = Asked::new(snapshot, &request);
    let login = request.login.as_deref();
    if let Err(refusal) = policy::reverse_path(&snapshot.config.policy, login, &request.from) {
        return Ok(asked.not_taken(&AcceptError::Refused(refusal)));
    }
    let arrival = match asked.recipients(gateway) {
        Ok(taken) => arrival(&request, taken),
        Err(refusal) => return Ok(asked.not_taken(&AcceptError::Refused(refusal))),
    };
    if let Err(answer) = asked.is_short_enough(&arrival.content) {
        return Ok(asked.outcome(answer));
    }
    if let Err(error) = super::stop_loops(snapshot, &arrival) {
        return Ok(asked.not_taken(&error));
    }
    let looked = gather::inspect(gateway, snapshot, &arrival, &Arc::default(), now).await?;
    let mut facts = gather::dry_facts(gateway, snapshot, &arrival, looked, None, now).await?;
    // As if it came now; what asks remembers nothing.
    facts.first_seen = Some(gather::seen_before(gateway, &arrival, now).await?.unwrap_or(now));
    let decision = policy::decide(&facts, &snapshot.config.policy, now);
    asked.look_at(gateway, &facts, &decision, now);
    Ok(match decision {
        Decision::Refuse(refusal) => asked.not_taken(&AcceptError::Refused(refusal)),
        Decision::Defer(refusal) => asked.not_taken(&AcceptError::Deferred(refusal)),
        Decision::Accept(decided) => match transform::can_be_made(snapshot, &arrival, &facts, &decided, now) {
            Ok(()) => asked.taken(&decided),
            Err(error) => asked.not_taken(&error),
        },
    })
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

fn arrival(request: &ExplainRequest, to: Vec<Address>) -> Arrival {
    let content = request.message.clone().unwrap_or_else(|| {
        let named: Vec<&str> = request.to.iter().map(Address::as_str).collect();
        let from = match &request.from {
            ReversePath::Mailbox(from) => from.as_str().to_owned(),
            ReversePath::Null => "MAILER-DAEMON@bounces.invalid".to_owned(),
        };
        let fields: String = request.fields.iter().map(|line| format!("{line}\r\n")).collect();
        Bytes::from(format!("From: <{from}>\r\nTo: {}\r\n{fields}\r\n", named.join(", ")))
    });
    Arrival {
        listener: "explain".to_owned(),
        side: request.side,
        peer: request.client,
        helo: "localhost".to_owned(),
        protocol: "ESMTP",
        tls: None,
        login: request.login.clone(),
        envelope: Envelope::new(request.from.clone(), to, BodyType::EightBitMime),
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
    /// Recipients who are refused when they are named, and why.
    at_rcpt: Vec<(Address, Refusal)>,
    facts: Option<ExplainedFacts>,
    /// For each recipient of the mail.
    rules: Vec<ExplainedRules>,
    reasons: Vec<String>,
    keys: Vec<ExplainedKey>,
    certificates: Vec<ExplainedCertificate>,
}

/// What comes of it.
struct Answer {
    decision: &'static str,
    rule: &'static str,
    reply: Option<Reply>,
    key: Option<String>,
    /// For each recipient of the mail; none where nobody gets anything.
    recipients: Vec<ExplainedRecipient>,
}

impl<'a> Asked<'a> {
    fn new(snapshot: &'a Snapshot, request: &'a ExplainRequest) -> Self {
        Self {
            snapshot,
            request,
            at_rcpt: Vec::new(),
            facts: None,
            rules: Vec::new(),
            reasons: Vec::new(),
            keys: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Those who are not refused when they are named: the mail goes on for them.
    ///
    /// # Errors
    /// Nobody is left.
    fn recipients(&mut self, gateway: &Gateway) -> Result<Vec<Address>, Refusal> {
        let mut taken = Vec::new();
        for recipient in &self.request.to {
            match gather::at_rcpt(gateway, self.snapshot, self.request.side, recipient) {
                Ok(()) => taken.push(recipient.clone()),
                Err(refusal) => self.at_rcpt.push((recipient.clone(), refusal)),
            }
        }
        match self.at_rcpt.first() {
            Some((_, refusal)) if taken.is_empty() => Err(refusal.clone()),
            _ => Ok(taken),
        }
    }

    fn is_short_enough(&self, content: &[u8]) -> Result<(), Answer> {
        let limits = &self.snapshot.config.limits;
        let most = if self.request.side == Side::Inside { limits.message_inside } else { limits.message };
        if content.len() <= most {
            return Ok(());
        }
        let reply = Some(Reply::new(552, 3, 4, "Message exceeds the size limit"));
        Err(Answer { decision: "refuse", rule: "too-large", reply, key: None, recipients: Vec::new() })
    }

    /// Notes what the decision saw.
    fn look_at(&mut self, gateway: &Gateway, facts: &Facts, decision: &Decision, now: Timestamp) {
        let policy = &self.snapshot.config.policy;
        let key = match decision {
            Decision::Accept(decided) => decided.key_used().map(|signing| signing.key.id.clone()),
            Decision::Refuse(_) | Decision::Defer(_) => None,
        };
        let from = facts.inspected.from.mailbox().filter(|_| facts.bypass);
        // During a bypass no key is looked at; who asks wants to see them all the same.
        let more = from.map(|from| gather::signing_keys(gateway, self.snapshot, from, now));
        let (own, substitutes) = more.unwrap_or_default();
        let keys = facts.own_keys.iter().chain(&facts.substitutes).chain(&own).chain(&substitutes);
        self.keys = keys.map(|one| explained_key(one, key.as_deref())).collect();
        self.certificates = explained_certificates(facts, decision);
        self.reasons = facts.inspected.reasons.iter().map(|reason| reason.code().to_owned()).collect();
        let bypass = from.and_then(|from| gateway.bypass.until_for(from.domain()));
        self.facts = Some(seen::facts(facts, policy, bypass));
        self.rules = (0..facts.envelope.recipients.len()).map(|place| seen::rules(facts, policy, place)).collect();
    }

    fn taken(self, decided: &Decided) -> Explanation {
        let recipients = decided.recipients().iter().map(|one| self.recipient(one)).collect();
        let key = decided.key_used().map(|signing| signing.key.id.clone());
        self.outcome(Answer { decision: "accept", rule: decided.rule(), reply: None, key, recipients })
    }

    fn not_taken(self, error: &AcceptError) -> Explanation {
        let reply = reply::of(error);
        let decision = if reply.code() >= 500 { "refuse" } else { "defer" };
        self.outcome(Answer { decision, rule: error.rule(), reply: Some(reply), key: None, recipients: Vec::new() })
    }

    /// Puts together what was asked and what was answered, recipient by recipient as he was named.
    fn outcome(mut self, answer: Answer) -> Explanation {
        let mut rules = std::mem::take(&mut self.rules).into_iter();
        let mut answered = answer.recipients.into_iter();
        let mut recipients = Vec::with_capacity(self.request.to.len());
        for address in &self.request.to {
            let named = self.at_rcpt.iter().find(|(refused, _)| refused.as_str() == address.as_str());
            recipients.push(match named {
                Some((_, refusal)) => ExplainedRecipient {
                    reply: Some(line(&reply::refused(refusal))),
                    ..self.nothing(address, "refuse", refusal.rule)
                },
                None => ExplainedRecipient {
                    rules: rules.next(),
                    ..answered.next().unwrap_or_else(|| self.nothing(address, answer.decision, answer.rule))
                },
            });
        }
        Explanation {
            decision: answer.decision,
            rule: answer.rule.to_owned(),
            why: why(answer.rule),
            facts: self.facts,
            reasons: self.reasons,
            reply: answer.reply.as_ref().map(line),
            key: answer.key,
            keys: self.keys,
            recipients,
            certificates: self.certificates,
            policy: self.snapshot.config.policy.hash.clone(),
        }
    }

    fn next_hop(&self, address: &Address) -> String {
        self.snapshot.config.next_hop(address.domain()).to_string()
    }

    /// He gets nothing.
    fn nothing(&self, address: &Address, word: &str, rule: &str) -> ExplainedRecipient {
        ExplainedRecipient {
            address: address.as_str().to_owned(),
            treatment: word.to_owned(),
            signed: false,
            form: None,
            encrypted: false,
            rule: rule.to_owned(),
            why: why(rule),
            rules: None,
            reply: None,
            next_hop: self.next_hop(address),
        }
    }

    fn recipient(&self, one: &ForRecipient) -> ExplainedRecipient {
        let signature = one.signature.filter(|_| one.is_delivered());
        ExplainedRecipient {
            treatment: match &one.treatment {
                Treatment::Deliver(Form::Opened) => "deliver (opened)".to_owned(),
                Treatment::Deliver(Form::Unopened) => "deliver (unopened)".to_owned(),
                Treatment::Deliver(Form::Clear | Form::Encrypted(_)) => "deliver".to_owned(),
                Treatment::Hold { class, .. } => format!("hold ({})", class.name()),
            },
            signed: signature.is_some(),
            form: signature.map(policy::SignedForm::name),
            encrypted: matches!(one.treatment, Treatment::Deliver(Form::Encrypted(_))),
            ..self.nothing(&one.address, "", &one.rule)
        }
    }
}

/// A reply as it goes over the wire.
fn line(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.to_bytes()).trim_end().to_owned()
}
