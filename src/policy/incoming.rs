//! Incoming mail: its reasons, and the strongest treatment of all of them, for those who can open it and for those who
//! can't.
//!
//! Nothing here can turn a bad verdict into a good one. Where a private key was asked, nothing is refused and nothing
//! deferred: what is inside an encrypted layer never shows in a reply (I60).

use super::decide::{
    Decided, Decision, ForRecipient, Form, HoldClass, Mark, Refusal, RefusalKind, Removals, Treatment, codes,
    still_deferring,
};
use super::facts::RecipientFacts;
use super::rule::IncomingTreatment;
use super::{Facts, Policy};
use crate::mail::Address;
use crate::mail::header::From;
use crate::reason::Reason;
use crate::smime::{Inspected, Verdict};
use jiff::Timestamp;

pub(super) fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    let discreet = facts.inspected.asked_private_key;
    let owners = judge(facts, &facts.inspected, policy, now).discreet(discreet);
    let others = match &facts.unopened {
        Some(unopened) => judge(facts, unopened, policy, now).discreet(discreet),
        None => owners.clone(),
    };
    let mut recipients = Vec::with_capacity(facts.envelope.recipients.len());
    let mut owned = false;
    for (address, known) in facts.envelope.recipients.iter().zip(&facts.recipients) {
        let form = form(facts, known);
        let view = if matches!(form, Form::Unopened) { &others } else { &owners };
        owned |= !matches!(form, Form::Unopened);
        let treatment = match view.treatment {
            IncomingTreatment::Reject => return refused(facts, view),
            IncomingTreatment::Quarantine => Treatment::Hold { class: view.class, reasons: view.reasons.clone() },
            IncomingTreatment::Deliver if view.defers => return deferred(facts, view),
            IncomingTreatment::Deliver => Treatment::Deliver(form),
        };
        recipients.push(ForRecipient { address: address.clone(), treatment, rule: view.rule.to_owned() });
    }
    let View { rule, reasons, .. } = if owned { owners } else { others };
    Decision::Accept(Box::new(Decided {
        recipients,
        signing: None,
        mark: Mark::Verdict,
        rule,
        reasons,
        removals: Removals::default(),
    }))
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

/// The mail as it looks to somebody.
#[derive(Clone)]
struct View {
    reasons: Vec<Reason>,
    treatment: IncomingTreatment,
    /// Of a hold: whom it waits for.
    class: HoldClass,
    rejected_for: Option<Reason>,
    defers: bool,
    rule: &'static str,
}

impl View {
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

fn judge(facts: &Facts, inspected: &Inspected, policy: &Policy, now: Timestamp) -> View {
    let reasons = reasons(facts, inspected, policy);
    if let Some(accepted) = facts.again.as_ref().and_then(|again| again.accepted.as_ref()) {
        return answered(inspected, reasons, accepted);
    }
    let explicit = policy.incoming.explicit(Reason::RevocationUnknown);
    let soft = inspected.revocation_soft;
    let unknown = reasons.contains(&Reason::RevocationUnknown) && explicit.is_none() && !soft;
    let strongest = reasons
        .iter()
        .filter(|reason| **reason != Reason::RevocationUnknown || explicit.is_some())
        .map(|reason| (policy.incoming.treatment(*reason), *reason))
        .max_by_key(|(treatment, reason)| (*treatment, std::cmp::Reverse(*reason)));
    let held = |class, rule| (IncomingTreatment::Quarantine, class, false, rule);
    let (treatment, class, defers, rule) = match strongest {
        // What was taken can't be refused any more.
        Some((IncomingTreatment::Reject, _)) if facts.again.is_some() => held(HoldClass::Quarantine, "quarantined"),
        Some((IncomingTreatment::Reject, _)) => {
            (IncomingTreatment::Reject, HoldClass::Quarantine, false, "incoming-rejected")
        }
        Some((IncomingTreatment::Quarantine, _)) => held(HoldClass::Quarantine, "quarantined"),
        _ if unknown && still_deferring(facts, policy, now) => {
            (IncomingTreatment::Deliver, HoldClass::AwaitingRevocation, true, "revocation-unknown-deferred")
        }
        _ if unknown && still_waiting(facts, policy, now) => {
            held(HoldClass::AwaitingRevocation, "revocation-unknown-held")
        }
        _ if unknown => held(HoldClass::Quarantine, "revocation-unknown-quarantined"),
        _ => (IncomingTreatment::Deliver, HoldClass::Quarantine, false, delivered(inspected)),
    };
    let rejected_for = strongest.map(|(_, reason)| reason);
    View { reasons, treatment, class, rejected_for, defers, rule }
}

/// An operator answers for reasons that he names: one that he has not named holds the mail, whatever its treatment is. The
/// verdict stays what it is.
fn answered(inspected: &Inspected, reasons: Vec<Reason>, accepted: &[Reason]) -> View {
    let open = reasons.iter().any(|reason| !accepted.contains(reason));
    let (treatment, rule) = match open {
        true => (IncomingTreatment::Quarantine, "reason-not-accepted"),
        false if reasons.is_empty() => (IncomingTreatment::Deliver, delivered(inspected)),
        false => (IncomingTreatment::Deliver, "released"),
    };
    View { reasons, treatment, class: HoldClass::Quarantine, rejected_for: None, defers: false, rule }
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

fn refused(facts: &Facts, view: &View) -> Decision {
    let reason = view.rejected_for.unwrap_or(Reason::PolicyConstraint);
    Decision::Refuse(refusal(facts, view, RefusalKind::Rejected(reason)))
}

fn deferred(facts: &Facts, view: &View) -> Decision {
    Decision::Defer(refusal(facts, view, RefusalKind::RevocationUnknown))
}

fn refusal(facts: &Facts, view: &View, kind: RefusalKind) -> Refusal {
    let addresses = facts.envelope.recipients.clone();
    Refusal { kind, addresses, detail: codes(&view.reasons), rule: view.rule }
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
        From::Ambiguous(_) => text_claims(&texts.from, policy) || texts.cut,
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
