//! Outgoing mail: what is wanted for each recipient, against what is possible.
//!
//! The two are kept apart: [`Wish`] is what rules and domains say, [`Means`] what keys and certificates allow. A `[[test]]` of
//! the policy file brings means of its own and goes the same way.

use super::decide::Decision;
use super::decided::{Decided, ForRecipient, Form, HoldClass, Mark, Refusal, RefusalKind, Removals, Treatment};
use super::matching::{self, Seen};
use super::protect::{self, CertificateMeans, Prospect, Protected};
use super::rule::{Encrypt, Sign, SignedForm};
use super::signing::{self, KeyMeans};
use super::{DomainPolicy, Facts, Policy, Rule};
use crate::mail::Address;
use crate::mail::header::From;
use crate::reason::Reason;
use jiff::Timestamp;

/// What is wanted for one recipient.
#[derive(Clone, Debug)]
pub(super) struct Wish<'p> {
    /// The rule that holds for him.
    pub(super) rule: Option<&'p Rule>,
    pub(super) sign: Sign,
    pub(super) form: SignedForm,
    pub(super) encrypt: Encrypt,
    /// What decided, where it was neither the domain nor a row of its own.
    pub(super) by: Option<String>,
}

/// What is possible.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) key: KeyMeans,
    /// For each recipient.
    pub(super) certificates: Vec<CertificateMeans>,
}

/// Why the mail is not taken.
#[derive(Debug)]
pub(super) enum Outcome {
    Refuse(Refusal),
    Defer(Refusal),
}

/// What becomes of the mail, before anybody has a key in his hand.
#[derive(Debug)]
pub(super) struct Outlook {
    /// The row about signing.
    pub(super) row: &'static str,
    /// Whether anybody's copy is signed.
    pub(super) signs: bool,
    pub(super) recipients: Vec<Prospect>,
}

pub(super) fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    let domain = facts.inspected.from.mailbox().and_then(|from| policy.domain(from.domain()));
    let (key, signing) = domain.map_or((KeyMeans::Nothing, None), |domain| signing::choose_key(facts, domain));
    let means = Means { key, certificates: facts.recipients.iter().map(CertificateMeans::of).collect() };
    let outlook = match outlook(facts, policy, &means, now) {
        Ok(outlook) => outlook,
        Err(Outcome::Refuse(refusal)) => return Decision::Refuse(refusal),
        Err(Outcome::Defer(refusal)) => return Decision::Defer(refusal),
    };
    let pairs = facts.envelope.recipients.iter().zip(&facts.recipients).zip(outlook.recipients);
    let recipients: Vec<ForRecipient> = pairs
        .map(|((address, known), prospect)| ForRecipient {
            address: address.clone(),
            treatment: match prospect.protected {
                Protected::Clear => Treatment::Deliver(Form::Clear),
                Protected::Waits(reasons) => waits(reasons),
                Protected::Encrypted => match protect::encrypt_to(known, domain) {
                    Some(to) => Treatment::Deliver(Form::Encrypted(Box::new(to))),
                    // What is possible was read off the same certificates.
                    None => waits(vec![Reason::NoRecipientCertificate]),
                },
            },
            rule: prospect.rule,
            signature: prospect.signature,
        })
        .collect();
    let mut reasons: Vec<Reason> = recipients.iter().flat_map(ForRecipient::held_for).copied().collect();
    reasons.sort_unstable();
    reasons.dedup();
    let removals = removals(facts, policy);
    let signing = signing.filter(|_| outlook.signs);
    Decision::Accept(Box::new(Decided { recipients, signing, mark: Mark::None, rule: outlook.row, reasons, removals }))
}

fn waits(reasons: Vec<Reason>) -> Treatment {
    Treatment::Hold { class: HoldClass::AwaitingKey, reasons }
}

/// `From` against the reverse-path, then signing, then encryption for each recipient.
pub(super) fn outlook(facts: &Facts, policy: &Policy, means: &Means, now: Timestamp) -> Result<Outlook, Outcome> {
    let From::Mailbox(from) = &facts.inspected.from else {
        let (kind, rule) = match &facts.inspected.from {
            From::Unreadable(error) => (RefusalKind::UnreadableHeader(*error), "header-unreadable"),
            _ => (RefusalKind::AmbiguousSender, "from-not-one-mailbox"),
        };
        let detail = format!("From is {:?}", facts.inspected.from);
        return Err(Outcome::Refuse(Refusal { kind, addresses: Vec::new(), detail, rule }));
    };
    let domain = policy.domain(from.domain());
    if let Some(refusal) = signing::forbidden_login(facts, policy, domain, from) {
        return Err(Outcome::Refuse(refusal));
    }
    let wishes = wishes(facts, policy);
    let (row, signs) = match domain {
        Some(domain) => signing::row(facts, policy, domain, from, &wishes, means.key)?,
        // Redirects and lists are never signed for; rules about encryption hold for them too.
        None => ("foreign-from", false),
    };
    let mut recipients = protect::recipients(facts, policy, &wishes, &means.certificates, now)?;
    for (prospect, wish) in recipients.iter_mut().zip(&wishes) {
        prospect.signature = (signs && wish.sign != Sign::Never).then_some(wish.form);
    }
    Ok(Outlook { row, signs, recipients })
}

/// What is wanted for each recipient of the envelope.
pub(super) fn wishes<'p>(facts: &Facts, policy: &'p Policy) -> Vec<Wish<'p>> {
    let domain = facts.inspected.from.mailbox().and_then(|from| policy.domain(from.domain()));
    let fired = Seen::of(facts).fired(policy);
    facts.envelope.recipients.iter().map(|to| wish(facts, policy, domain, &fired, to)).collect()
}

/// What is wanted of outgoing mail for one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whether it is signed.
    pub sign: Sign,
    /// In which form.
    pub form: SignedForm,
    /// Whether it is encrypted.
    pub encrypt: Encrypt,
}

/// What rules and domains want for the recipient at this place of the envelope, whatever is possible.
pub fn wanted_for(facts: &Facts, policy: &Policy, place: usize) -> Option<Wanted> {
    let wishes = wishes(facts, policy);
    let wish = wishes.get(place).filter(|_| facts.side == super::Side::Inside)?;
    Some(Wanted { sign: wish.sign, form: wish.form, encrypt: wish.encrypt })
}

fn wish<'p>(
    facts: &Facts,
    policy: &Policy,
    domain: Option<&DomainPolicy>,
    fired: &[&'p Rule],
    to: &Address,
) -> Wish<'p> {
    let rule = matching::first(fired, to, &[]);
    let mut wish = Wish {
        rule,
        sign: rule.and_then(|rule| rule.sign).or(domain.map(|domain| domain.sign)).unwrap_or(Sign::Never),
        form: rule.and_then(|rule| rule.form).unwrap_or(SignedForm::Clear),
        encrypt: rule.and_then(|rule| rule.encrypt).or(domain.map(|domain| domain.encrypt)).unwrap_or(Encrypt::Never),
        by: rule.map(|rule| rule.name.clone()),
    };
    // What came encrypted does not leave in clear, whoever sends it on.
    if facts.returns_opened && policy.domain(to.domain()).is_none() {
        wish.encrypt = Encrypt::Required;
        wish.by = Some("returns-opened-mail".to_owned());
    }
    wish
}

/// Every tag and field that a rule looks at leaves the mail, whether or not the rule held for anybody: what it meant is
/// nobody's business outside (O31).
fn removals(facts: &Facts, policy: &Policy) -> Removals {
    let mut removals = Removals::default();
    let seen = Seen::of(facts);
    for rule in &policy.rules {
        removals.tags.extend(rule.subject.iter().filter(|tag| seen.has_tag(tag)).cloned());
        let names = rule.field.iter().map(|(name, _)| name);
        let is_there = |name: &&String| facts.triggers.fields.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        removals.fields.extend(names.filter(is_there).cloned());
    }
    removals
}
