//! A dry run: which row fires for whom, with which key, and why. Nothing is stored and no key is used.

use super::{AcceptError, Arrival, Gateway, Snapshot, gather, reply};
use crate::mail::{Address, BodyType, Envelope, ReversePath};
use crate::policy::{self, Decision, Facts, ForRecipient, Form, Refusal, SenderKey, Side, Standing, Treatment, codes};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What is asked.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The reverse-path, and the mailbox in `From` where no message is given.
    pub from: Address,
    /// The recipients.
    pub to: Vec<Address>,
    /// The side it would come from.
    pub side: Side,
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
    /// `chosen`, `usable`, `unknown` or `rejected`, with the reasons.
    pub standing: String,
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
    /// `usable`, `unknown`, or why not.
    pub standing: String,
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
    /// Whether it leaves encrypted.
    pub encrypted: bool,
    /// What decided it for him: a row of the tables or a rule of the policy file.
    pub rule: String,
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
    let mut asked =
        Asked { snapshot, request: &request, reasons: Vec::new(), keys: Vec::new(), certificates: Vec::new() };
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
    asked.keys = facts.own_keys.iter().chain(&facts.substitutes).map(explained_key).collect();
    let decision = policy::decide(&facts, policy, now);
    asked.certificates = explained_certificates(&facts, &decision);
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
            all.push(ExplainedCertificate {
                address: address.as_str().to_owned(),
                id: certificate.id.clone(),
                subject: certificate.certificate.subject().to_string(),
                standing: match chosen(address, &certificate.id) {
                    true => "chosen".to_owned(),
                    false => certificate.standing.describe(),
                },
            });
        }
    }
    all
}

fn arrival(request: &ExplainRequest) -> Arrival {
    let content = request.message.clone().unwrap_or_else(|| {
        let to: Vec<&str> = request.to.iter().map(Address::as_str).collect();
        Bytes::from(format!("From: <{}>\r\nTo: {}\r\n\r\n", request.from.as_str(), to.join(", ")))
    });
    Arrival {
        listener: "explain".to_owned(),
        side: request.side,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        helo: "localhost".to_owned(),
        protocol: "ESMTP",
        tls: None,
        login: None,
        envelope: Envelope::new(ReversePath::Mailbox(request.from.clone()), request.to.clone(), BodyType::EightBitMime),
        content,
    }
}

fn explained_key(key: &SenderKey) -> ExplainedKey {
    ExplainedKey {
        id: key.id.clone(),
        kind: key.kind.name(),
        subject: key.certificate.subject().to_string(),
        standing: match &key.standing {
            Standing::Usable => "usable".to_owned(),
            Standing::Unknown => "unknown: revocation-unknown".to_owned(),
            Standing::Unusable(reasons) => format!("rejected: {}", codes(reasons)),
        },
    }
}

/// What is known when the decision falls.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    request: &'a ExplainRequest,
    reasons: Vec<String>,
    keys: Vec<ExplainedKey>,
    certificates: Vec<ExplainedCertificate>,
}

impl Asked<'_> {
    fn outcome(self, decision: &Decision) -> Explanation {
        let said = |refusal| String::from_utf8_lossy(&reply::refused(refusal).to_bytes()).trim_end().to_owned();
        let (word, rule, reply, key, recipients) = match decision {
            Decision::Refuse(refusal) => {
                ("refuse", refusal.rule, Some(said(refusal)), None, self.all("refuse", refusal))
            }
            Decision::Defer(refusal) => ("defer", refusal.rule, Some(said(refusal)), None, self.all("defer", refusal)),
            Decision::Accept(decided) => {
                let key = decided.signing().map(|signing| signing.key.id.clone());
                let each = decided.recipients().iter().map(|one| self.recipient(one, key.is_some()));
                ("accept", decided.rule(), None, key.clone(), each.collect())
            }
        };
        Explanation {
            decision: word,
            rule: rule.to_owned(),
            why: why(rule),
            reasons: self.reasons,
            reply,
            key,
            keys: self.keys,
            recipients,
            certificates: self.certificates,
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
            encrypted: false,
            rule: refusal.rule.to_owned(),
            next_hop: self.next_hop(address),
        };
        self.request.to.iter().map(each).collect()
    }

    fn recipient(&self, one: &ForRecipient, signed: bool) -> ExplainedRecipient {
        ExplainedRecipient {
            address: one.address.as_str().to_owned(),
            treatment: match &one.treatment {
                Treatment::Deliver(Form::Opened) => "deliver (opened)".to_owned(),
                Treatment::Deliver(Form::Unopened) => "deliver (unopened)".to_owned(),
                Treatment::Deliver(Form::Clear | Form::Encrypted(_)) => "deliver".to_owned(),
                Treatment::Hold { class, .. } => format!("hold ({})", class.name()),
            },
            signed: signed && one.is_delivered(),
            encrypted: matches!(one.treatment, Treatment::Deliver(Form::Encrypted(_))),
            rule: one.rule.clone(),
            next_hop: self.next_hop(&one.address),
        }
    }
}

/// The rows of DESIGN's tables in sentences.
fn why(rule: &str) -> &'static str {
    match rule {
        "from-not-one-mailbox" => "From does not hold exactly one mailbox, so nobody can be signed for or held to it",
        "foreign-from" => "From is not in an own domain: passed unchanged, never signed",
        "null-reverse-path" => "the reverse-path is null (a bounce or an automatic reply): passed unsigned",
        "unvouched-refused" => "the reverse-path is another's and no [[authorise]] lets it write as From",
        "unvouched-passed" => "the reverse-path is another's; the domain's `unvouched` passes such mail unsigned",
        "encrypt-required-refused" => {
            "encryption is required, and no certificate of the recipient can be used: nothing leaves in clear"
        }
        "recipient-unproven-deferred" => {
            "a certificate of the recipient is known and can't be used now: deferred, then held, never sent in clear"
        }
        "copies-refused" => "the encrypted copies for hidden recipients would be larger than `limits.copies`",
        "already-protected" => "the mail is signed or encrypted already: its bytes stay as they are",
        "report" => "a delivery or disposition report passes unsigned",
        "sign-never" => "the domain's `sign` is `never`",
        "signed" => "signed with the sender's own certificate",
        "substitute" => "the sender has no usable certificate: signed with the domain's substitute, named in Sender",
        "own-status-unknown" => "whether the sender's certificate is revoked can't be established now",
        "no-key-passed" => "the sender has no usable certificate and `sign` is `when-possible`: passed unsigned",
        "no-key-refused" => "the sender has no usable certificate and `sign` is `required`",
        "no-relay" => "the outside side takes mail for own domains only",
        "incoming-rejected" => "a reason found in the mail has the treatment `reject`",
        "quarantined" => "a reason found in the mail has the treatment `quarantine`",
        "revocation-unknown-deferred" => "the signer's revocation status is unknown: deferred for `defer_for`",
        "revocation-unknown-held" => "the signer's revocation status stayed unknown for `defer_for`: held",
        "revocation-unknown-quarantined" => "the signer's revocation status stayed unknown for `hold_for`: quarantined",
        "verified" => "a valid signature of the mailbox in From",
        "plain" => "no S/MIME: delivered, marked `none`",
        "marked" => "delivered, with its verdict in the header section",
        _ => "",
    }
}
