//! Which rule of the policy file holds for a recipient: the first whose conditions are all met.
//!
//! What hangs on the mail alone is looked at once; a subject may be long, recipients many.

use super::{Facts, Policy, Rule, Side};
use crate::mail::Address;
use crate::mail::header::Comparable;
use crate::reason::Reason;

/// A condition of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `side`
    Side,
    /// `from`
    From,
    /// `to`
    To,
    /// `subject`
    Subject,
    /// `header`
    Header,
    /// `reasons`
    Reasons,
}

impl Condition {
    /// The key in the policy file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Side => "side",
            Self::From => "from",
            Self::To => "to",
            Self::Subject => "subject",
            Self::Header => "header",
            Self::Reasons => "reasons",
        }
    }
}

/// A mail as rules see it.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    facts: &'a Facts,
    subject: Comparable,
}

impl<'a> Seen<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        // What comes from outside is never obeyed (O31).
        let subject = match facts.side {
            Side::Inside => Comparable::of(&facts.triggers.subject),
            Side::Outside => Comparable::of(""),
        };
        Self { facts, subject }
    }

    /// Whether a tag stands in `Subject`. Of one that is too long every tag does.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.facts.side == Side::Inside && (self.facts.triggers.cut || self.subject.contains(&Comparable::of(tag)))
    }

    fn has_field(&self, name: &str, value: &str) -> bool {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        let mut fields = self.facts.triggers.fields.iter().filter(same);
        self.facts.side == Side::Inside && fields.any(|(_, found)| found.trim().eq_ignore_ascii_case(value))
    }

    /// The first condition on the mail that is not met.
    fn missed(&self, rule: &Rule) -> Option<Condition> {
        let from = self.facts.inspected.from.mailbox();
        let by = |from: &Address| rule.from.iter().any(|one| one.matches(from));
        if rule.side != self.facts.side {
            return Some(Condition::Side);
        }
        if !rule.from.is_empty() && !from.is_some_and(by) {
            return Some(Condition::From);
        }
        if rule.subject.as_ref().is_some_and(|tag| !self.has_tag(tag)) {
            return Some(Condition::Subject);
        }
        let missing = |(name, value): &(String, String)| !self.has_field(name, value);
        rule.field.as_ref().is_some_and(missing).then_some(Condition::Header)
    }

    /// The rules that hold for this mail as far as it alone goes.
    pub(super) fn fired<'p>(&self, policy: &'p Policy) -> Vec<&'p Rule> {
        policy.rules.iter().filter(|rule| self.missed(rule).is_none()).collect()
    }
}

/// The first condition on the recipient, and on what was found for him, that is not met.
fn missed_for(rule: &Rule, to: &Address, reasons: &[Reason]) -> Option<Condition> {
    if !rule.matches_envelope(rule.side, to) {
        return Some(Condition::To);
    }
    let found = rule.reasons.is_empty() || rule.reasons.iter().any(|reason| reasons.contains(reason));
    (!found).then_some(Condition::Reasons)
}

/// The first of the rules that holds for this recipient.
pub(super) fn first<'p>(fired: &[&'p Rule], to: &Address, reasons: &[Reason]) -> Option<&'p Rule> {
    fired.iter().copied().find(|rule| missed_for(rule, to, reasons).is_none())
}

/// How the rules were gone through for one recipient.
#[derive(Clone, Debug)]
pub struct Trace<'p> {
    /// Those that were looked at and do not hold, each with the first condition that was not met.
    pub missed: Vec<(&'p Rule, Condition)>,
    /// The one that holds.
    pub fired: Option<&'p Rule>,
}

/// Goes through the rules as the decision does, and notes what was not met. `reasons` are those found for this recipient.
pub fn trace<'p>(facts: &Facts, policy: &'p Policy, to: &Address, reasons: &[Reason]) -> Trace<'p> {
    let seen = Seen::of(facts);
    let mut missed = Vec::new();
    for rule in &policy.rules {
        match seen.missed(rule).or_else(|| missed_for(rule, to, reasons)) {
            Some(condition) => missed.push((rule, condition)),
            None => return Trace { missed, fired: Some(rule) },
        }
    }
    Trace { missed, fired: None }
}
