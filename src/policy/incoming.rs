//! Incoming mail: its reasons, and the strongest treatment of all of them, for those who can open it and for those who
//! can't.
//!
//! A rule of the policy file has a say in the treatment, recipient by recipient. Nothing here can turn a bad verdict into a
//! good one. Where a private key was asked, nothing is refused and nothing
//! deferred: what is inside an encrypted layer never shows in a reply (I60).

use super::decide::{Decision, codes, still_deferring};
use super::decided::{Decided, ForRecipient, Form, HoldClass, Mark, Refusal, RefusalKind, Removals, Treatment};
use super::facts::RecipientFacts;
use super::matching::{self, Seen};
use super::rule::IncomingTreatment;
use super::{Facts, Policy, Rule, Side};
use crate::mail::Address;
use crate::mail::header::From;
use crate::reason::Reason;
use crate::smime::{Inspected, Verdict};
use jiff::Timestamp;

pub(super) fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    let discreet = facts.inspected.asked_private_key;
    let fired = Seen::of(facts).fired(policy);
    let looks = Looks::of(facts, policy);
    let mut recipients = Vec::with_capacity(facts.envelope.recipients.len());
    let (mut refused, mut deferred) = (Vec::new(), Vec::new());
    let mut chosen: Option<Row> = None;
    for (address, known) in facts.envelope.recipients.iter().zip(&facts.recipients) {
        let form = form(facts, known);
        let owned = !matches!(form, Form::Unopened);
        let found = looks.for_form(&form);
        let rule = matching::first(&fired, address, &found.reasons);
        let view = judge(facts, found, policy, rule, now).discreet(discreet);
        let treatment = match view.treatment {
            IncomingTreatment::Reject => {
                refused.push((address.clone(), view));
                continue;
            }
            IncomingTreatment::Deliver if view.defers => {
                deferred.push((address.clone(), view));
                continue;
            }
            IncomingTreatment::Quarantine => Treatment::Hold { class: view.class, reasons: found.reasons.clone() },
            IncomingTreatment::Deliver => Treatment::Deliver(form),
        };
        let row = Row { owned, delivered: matches!(treatment, Treatment::Deliver(_)), rule: view.rule };
        if chosen.is_none_or(|other| (row.owned, row.delivered) > (other.owned, other.delivered)) {
            chosen = Some(row);
        }
        let rule = view.by.map_or(view.rule, |rule| &rule.name).to_owned();
        recipients.push(ForRecipient { address: address.clone(), treatment, rule, signature: None });
    }
    // A deferral outranks a refusal: nothing is final while a fact is missing.
    if let Some((_, view)) = deferred.first() {
        let (row, reasons) = (view.rule, view.reasons);
        return Decision::Defer(refusal(RefusalKind::RevocationUnknown, deferred, row, codes(reasons)));
    }
    if let Some((_, view)) = refused.first() {
        let kind = view.rejected_for.map_or(RefusalKind::RejectedByRule, RefusalKind::Rejected);
        let by = view.by.map(|rule| format!("rule `{}`: ", rule.name)).unwrap_or_default();
        let (row, detail) = (view.rule, format!("{by}{}", codes(view.reasons)));
        return Decision::Refuse(refusal(kind, refused, row, detail));
    }
    let reasons = match chosen {
        Some(Row { owned: false, .. }) => looks.for_form(&Form::Unopened),
        _ => &looks.owners,
    };
    Decision::Accept(Box::new(Decided {
        recipients,
        signing: None,
        mark: Mark::Verdict,
        rule: chosen.map_or("plain", |row| row.rule),
        reasons: reasons.reasons.clone(),
        removals: Removals::default(),
    }))
}

/// What is said of the whole mail: as it is for who can open it, and for who gets it, before others.
#[derive(Clone, Copy)]
struct Row {
    owned: bool,
    delivered: bool,
    rule: &'static str,
}

/// What was found in the mail, as it looks to somebody.
struct Found<'a> {
    inspected: &'a Inspected,
    reasons: Vec<Reason>,
}

/// To those who own the keys that open it, and to the others.
struct Looks<'a> {
    owners: Found<'a>,
    others: Option<Found<'a>>,
}

impl<'a> Looks<'a> {
    fn of(facts: &'a Facts, policy: &Policy) -> Self {
        let found = |inspected: &'a Inspected| Found { inspected, reasons: reasons(facts, inspected, policy) };
        Self { owners: found(&facts.inspected), others: facts.unopened.as_ref().map(found) }
    }

    fn for_form(&self, form: &Form) -> &Found<'a> {
        match form {
            Form::Unopened => self.others.as_ref().unwrap_or(&self.owners),
            Form::Clear | Form::Encrypted(_) | Form::Opened => &self.owners,
        }
    }
}

/// What was found for the recipient at this place of the envelope: what `reasons` of rules are compared with.
pub fn found_for(facts: &Facts, policy: &Policy, place: usize) -> Vec<Reason> {
    match facts.recipients.get(place) {
        Some(known) if facts.side == Side::Outside => {
            Looks::of(facts, policy).for_form(&form(facts, known)).reasons.clone()
        }
        _ => Vec::new(),
    }
}

/// What a recipient gets if it is delivered: what was inside only with a key of his own for every layer.
fn form(facts: &Facts, known: &RecipientFacts) -> Form {
    if !facts.inspected.asked_private_key {
        return Form::Clear;
    }
    let is_his = |key: &String| known.asked_keys.contains(key);
    match &facts.inspected.opened {
        Some(opened) if !opened.keys.is_empty() && opened.keys.iter().all(|keys| keys.iter().any(is_his)) => {
            Form::Opened
        }
        None if !known.asked_keys.is_empty() => Form::Clear,
        _ => Form::Unopened,
    }
}

/// What becomes of the mail for somebody.
#[derive(Clone, Copy)]
struct View<'a> {
    reasons: &'a [Reason],
    treatment: IncomingTreatment,
    /// Of a hold: whom it waits for.
    class: HoldClass,
    rejected_for: Option<Reason>,
    defers: bool,
    /// The row of the tables.
    rule: &'static str,
    /// The rule of the policy file, where it decided.
    by: Option<&'a Rule>,
}

impl View<'_> {
    /// Refusals and deferrals become holds.
    fn discreet(mut self, discreet: bool) -> Self {
        if discreet && self.treatment == IncomingTreatment::Reject {
            self.treatment = IncomingTreatment::Quarantine;
            self.rule = "quarantined";
        }
        if discreet && self.defers {
            self.treatment = IncomingTreatment::Quarantine;
            self.class = HoldClass::AwaitingRevocation;
            self.defers = false;
            self.rule = "revocation-unknown-held";
        }
        self
    }
}

fn judge<'a>(facts: &Facts, found: &'a Found<'_>, policy: &Policy, rule: Option<&'a Rule>, now: Timestamp) -> View<'a> {
    let Found { inspected, reasons } = found;
    if let Some(accepted) = facts.again.as_ref().and_then(|again| again.accepted.as_ref()) {
        return answered(inspected, reasons, accepted);
    }
    let named = |reason: Reason| rule.is_some_and(|rule| rule.action.is_some() && rule.reasons.contains(&reason));
    let at_once = policy.incoming.explicit(Reason::RevocationUnknown).is_some() || named(Reason::RevocationUnknown);
    let unknown = reasons.contains(&Reason::RevocationUnknown) && !at_once && !inspected.revocation_soft;
    let strongest = reasons
        .iter()
        .filter(|reason| **reason != Reason::RevocationUnknown || at_once)
        .map(|reason| (policy.incoming.treatment_under(*reason, rule), *reason))
        .max_by_key(|(treatment, reason)| (*treatment, std::cmp::Reverse(*reason)));
    let by_tables = strongest.map_or(IncomingTreatment::Deliver, |(treatment, _)| treatment);
    // Without reasons a rule is about the whole mail; it makes nothing weaker.
    let whole = rule.filter(|rule| rule.reasons.is_empty()).and_then(|rule| rule.action);
    let by_whole = whole.filter(|action| *action > by_tables);
    let treatment = by_whole.unwrap_or(by_tables);
    let by_rule = by_whole.is_some()
        || (treatment == IncomingTreatment::Deliver && rule.is_some_and(|rule| rule.action.is_some()))
        || strongest.is_some_and(|(_, reason)| named(reason));
    let row = |whole: &'static str, table| if by_whole.is_some() { whole } else { table };
    let view = View {
        reasons,
        treatment,
        class: HoldClass::Quarantine,
        rejected_for: strongest.map(|(_, reason)| reason).filter(|_| by_whole.is_none()),
        defers: false,
        rule: row("rule-quarantined", "quarantined"),
        by: rule.filter(|_| by_rule),
    };
    match treatment {
        // What was taken can't be refused any more.
        IncomingTreatment::Reject if facts.again.is_some() => View { treatment: IncomingTreatment::Quarantine, ..view },
        IncomingTreatment::Reject => View { rule: row("rule-rejected", "incoming-rejected"), ..view },
        IncomingTreatment::Quarantine => view,
        IncomingTreatment::Deliver if unknown => awaiting(facts, policy, View { by: None, ..view }, now),
        IncomingTreatment::Deliver => View { rule: delivered(inspected), ..view },
    }
}

/// The status of the signer is unknown: deferred, then held for a CRL, then the security team's.
fn awaiting<'a>(facts: &Facts, policy: &Policy, view: View<'a>, now: Timestamp) -> View<'a> {
    let held = |class, rule| View { treatment: IncomingTreatment::Quarantine, class, rule, ..view };
    if still_deferring(facts, policy, now) {
        View { class: HoldClass::AwaitingRevocation, defers: true, rule: "revocation-unknown-deferred", ..view }
    } else if still_waiting(facts, policy, now) {
        held(HoldClass::AwaitingRevocation, "revocation-unknown-held")
    } else {
        held(HoldClass::Quarantine, "revocation-unknown-quarantined")
    }
}

/// An operator answers for reasons that he names: one that he has not named holds the mail, whatever its treatment is. The
/// verdict stays what it is.
fn answered<'a>(inspected: &Inspected, reasons: &'a [Reason], accepted: &[Reason]) -> View<'a> {
    let open = reasons.iter().any(|reason| !accepted.contains(reason));
    let (treatment, rule) = match open {
        true => (IncomingTreatment::Quarantine, "reason-not-accepted"),
        false if reasons.is_empty() => (IncomingTreatment::Deliver, delivered(inspected)),
        false => (IncomingTreatment::Deliver, "released"),
    };
    View { reasons, treatment, class: HoldClass::Quarantine, rejected_for: None, defers: false, rule, by: None }
}

/// Whether held mail still waits for a fresh CRL: `hold_for` after it was taken. Then it is the security team's.
fn still_waiting(facts: &Facts, policy: &Policy, now: Timestamp) -> bool {
    let Some(again) = &facts.again else { return !policy.incoming.hold_for.is_zero() };
    again.taken.checked_add(policy.incoming.hold_for).is_ok_and(|until| now < until)
}

fn delivered(inspected: &Inspected) -> &'static str {
    match inspected.verdict {
        Verdict::Valid => "verified",
        Verdict::None => "plain",
        Verdict::Invalid | Verdict::Indeterminate => "marked",
    }
}

fn refusal(kind: RefusalKind, who: Vec<(Address, View<'_>)>, rule: &'static str, detail: String) -> Refusal {
    Refusal { kind, addresses: who.into_iter().map(|(address, _)| address).collect(), detail, rule }
}

/// The verdict's reasons, and `sender-not-authorised` where mail claims an own domain and does not prove it.
///
/// A valid signature proves it (one by a stranger, `untrusted` …, as little as none), and so does DMARC. The reverse-path alone
/// proves nothing: `[[authorise]]` by envelope counts where SPF or DKIM has proven that path.
fn reasons(facts: &Facts, inspected: &Inspected, policy: &Policy) -> Vec<Reason> {
    let mut reasons = inspected.reasons.clone();
    if inspected.verdict != Verdict::Valid && claims_own_domain(facts, policy) {
        reasons.push(Reason::SenderNotAuthorised);
        reasons.sort_unstable();
        reasons.dedup();
    }
    reasons
}

fn claims_own_domain(facts: &Facts, policy: &Policy) -> bool {
    let own = |address: &Address| policy.domain(address.domain()).is_some();
    let path = facts.envelope.reverse_path.mailbox();
    let proven = path.filter(|path| facts.sender.proves_reverse_path(path.domain()));
    let in_path = path.is_some_and(own) && proven.is_none();
    let texts = &facts.from_texts;
    let in_from = match &facts.inspected.from {
        From::Mailbox(address) if facts.sender.proves_from(address.domain()) => false,
        From::Mailbox(address) => own(address) && !proven.is_some_and(|path| policy.authorises(path, address)),
        From::Several(addresses) => addresses.iter().any(own) || text_claims(&texts.from, policy) || texts.cut,
        From::Ambiguous(_) | From::Unreadable(_) => text_claims(&texts.from, policy) || texts.cut,
        // A reader without `From` shows what comes next to it.
        From::Absent => text_claims(&texts.from, policy) || text_claims(&texts.others, policy) || texts.cut,
    };
    in_path || in_from
}

/// Where parsers disagree, the text itself counts: an own domain anywhere in it is a claim.
fn text_claims(texts: &[String], policy: &Policy) -> bool {
    texts.iter().any(|text| {
        policy
            .domains
            .iter()
            .any(|own| text.contains(own.domain.ascii()) || text.contains(own.domain.as_str().to_lowercase().as_str()))
    })
}
