//! Which rule of the policy file holds for a recipient: the first whose conditions are all met.
//!
//! What hangs on the mail alone is looked at once; a subject may be long, recipients many.

use super::{Encrypt, Facts, Policy, Rule, Side};
use crate::mail::Address;
use crate::mail::header::lenient::without_comments;
use crate::mail::header::{Comparable, decode_words, has_unclear_word};
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

/// Octets of a field that a rule looks at; what a rule compares it with is a word or two.
const FIELD: usize = 1000;

/// A mail as rules see it.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    facts: &'a Facts,
    subject: Comparable,
    fields: Vec<SeenField<'a>>,
}

/// A field that a rule names.
#[derive(Debug)]
struct SeenField<'a> {
    name: &'a str,
    /// Its value as readers understand it; none where nobody looks at so much.
    readings: Option<[String; 2]>,
    /// There may be something in it that can't be read here.
    unclear: bool,
}

/// Whether a tag or a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Yes,
    No,
    /// It can't be read for sure. Somebody else may read it.
    Unclear,
}

impl There {
    /// What can't be read counts as found for a rule that requires encryption, so that it is no way into the clear, and for no
    /// other: a rule that asks for less would be one.
    fn is_met(self, rule: &Rule) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::Unclear => rule.encrypt == Some(Encrypt::Required),
        }
    }
}

impl<'a> Seen<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        // What comes from outside is never obeyed (O31).
        let (subject, fields) = match facts.side {
            Side::Inside => (facts.triggers.subject.as_str(), facts.triggers.fields.as_slice()),
            Side::Outside => ("", &[][..]),
        };
        Self { facts, subject: Comparable::of(subject), fields: fields.iter().map(SeenField::of).collect() }
    }

    /// Whether a tag stands in `Subject`, as far as that can be read.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tag(tag) != There::No
    }

    fn tag(&self, tag: &str) -> There {
        match self.facts.side {
            Side::Outside => There::No,
            Side::Inside if self.subject.contains(&Comparable::of(tag)) => There::Yes,
            Side::Inside if self.facts.triggers.cut => There::Unclear,
            Side::Inside => There::No,
        }
    }

    fn field(&self, name: &str, value: &str) -> There {
        let wanted = readings(value);
        let same = |field: &&SeenField<'_>| field.readings.iter().flatten().any(|reading| wanted.contains(reading));
        let mut named = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        match (named.clone().any(|field| same(&field)), named.any(|field| field.unclear)) {
            (true, _) => There::Yes,
            (false, true) => There::Unclear,
            (false, false) => There::No,
        }
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
        if rule.subject.as_ref().is_some_and(|tag| !self.tag(tag).is_met(rule)) {
            return Some(Condition::Subject);
        }
        let missing = |(name, value): &(String, String)| !self.field(name, value).is_met(rule);
        rule.field.as_ref().is_some_and(missing).then_some(Condition::Header)
    }

    /// The rules that hold for this mail as far as it alone goes.
    pub(super) fn fired<'p>(&self, policy: &'p Policy) -> Vec<&'p Rule> {
        policy.rules.iter().filter(|rule| self.missed(rule).is_none()).collect()
    }
}

impl<'a> SeenField<'a> {
    fn of((name, value): &'a (String, String)) -> Self {
        let short = (value.len() <= FIELD).then_some(value);
        Self {
            name,
            readings: short.map(|value| readings(value)),
            unclear: short.is_none_or(|value| has_unclear_word(value)),
        }
    }
}

/// A value as readers understand it: decoded, in one case, each blank one space; and the same without comments and quotes.
pub(super) fn readings(value: &str) -> [String; 2] {
    let decoded = decode_words(value);
    let unquoted = without_comments(value, " ").replace(['"', '\\'], "");
    [Comparable::of(&decoded).trimmed(), Comparable::of(&decode_words(&unquoted)).trimmed()]
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
