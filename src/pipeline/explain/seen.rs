//! What the decision saw: the facts, and the rules as they were gone through.

use crate::mail::header::From;
use crate::policy::{self, Condition, Facts, Pattern, Policy, Rule, Side};
use jiff::Timestamp;
use serde::Serialize;

/// What was seen of the mail.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedFacts {
    /// `inside` or `outside`.
    pub side: &'static str,
    /// The mailbox in `From`; none where there is not exactly one.
    pub from: Option<String>,
    /// Whether that is in an own domain.
    pub own_domain: bool,
    /// MAIL FROM; empty for the null reverse-path.
    pub reverse_path: String,
    /// Who has authenticated.
    pub login: Option<String>,
    /// Inside: what vouches for `From`; none: nothing does.
    pub vouched_by: Option<&'static str>,
    /// Inside: `Subject`, as tags are looked for in it.
    pub subject: Option<String>,
    /// Inside: fields that rules look at and that are there.
    pub fields: Vec<(String, String)>,
    /// Inside: `Subject` can't be read whole: for rules that require encryption every tag stands in it.
    pub subject_unclear: bool,
    /// Inside: it is encrypted already.
    pub already_encrypted: bool,
    /// Inside: until when an emergency bypass is in force for this sender.
    pub bypass_until: Option<String>,
    /// Outside: what SPF, DKIM and DMARC say.
    pub authentication: Vec<String>,
    /// For how many recipients encrypted mail has left before.
    pub encrypted_before: usize,
}

/// The rules of the policy file, for one recipient.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedRules {
    /// The rule that holds; none: the domain's settings or `[incoming]` do.
    pub fired: Option<String>,
    /// Inside: `sign` as it is wanted, and whether the rule says so.
    pub sign: Option<&'static str>,
    /// Inside: likewise.
    pub encrypt: Option<&'static str>,
    /// Outside: what was found for him.
    pub reasons: Vec<&'static str>,
    /// The keys of `then` that the rule sets; the rest is the domain's, or `[incoming]`'s.
    pub by_rule: Vec<&'static str>,
    /// The rules before it, each with the first condition that was not met.
    pub missed: Vec<MissedRule>,
}

/// A rule that does not hold.
#[derive(Clone, Debug, Serialize)]
pub struct MissedRule {
    /// Its name.
    pub rule: String,
    /// The key of `match`.
    pub condition: &'static str,
    /// What the rule asks for.
    pub expected: String,
    /// What the mail has.
    pub found: String,
}

pub(super) fn facts(facts: &Facts, policy: &Policy, bypass: Option<Timestamp>) -> ExplainedFacts {
    let inside = facts.side == Side::Inside;
    let from = facts.inspected.from.mailbox();
    let path = facts.envelope.reverse_path.mailbox();
    let vouched = from.filter(|_| inside).and_then(|from| policy::vouched(facts, policy, from));
    ExplainedFacts {
        side: facts.side.name(),
        from: from.map(|from| from.as_str().to_owned()),
        own_domain: from.is_some_and(|from| policy.domain(from.domain()).is_some()),
        reverse_path: path.map(|path| path.as_str().to_owned()).unwrap_or_default(),
        login: facts.login.clone(),
        vouched_by: vouched.map(policy::Vouched::describe),
        subject: inside.then(|| plain(&facts.triggers.subject)).filter(|subject| !subject.is_empty()),
        fields: facts.triggers.fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        subject_unclear: facts.triggers.cut,
        already_encrypted: facts.already_encrypted,
        bypass_until: bypass.filter(|_| facts.bypass).map(|until| until.to_string()),
        authentication: facts.sender.resinfo(),
        encrypted_before: facts.recipients.iter().filter(|known| known.encrypted_before).count(),
    }
}

pub(super) fn rules(facts: &Facts, policy: &Policy, place: usize) -> ExplainedRules {
    let reasons = policy::found_for(facts, policy, place);
    let codes: Vec<&'static str> = reasons.iter().map(|reason| reason.code()).collect();
    let to = facts.envelope.recipients.get(place);
    let trace = to.map(|to| policy::trace(facts, policy, to, &reasons));
    let wanted = policy::wanted_for(facts, policy, place);
    let fired = trace.as_ref().and_then(|trace| trace.fired);
    let missed = trace.iter().flat_map(|trace| &trace.missed);
    let to = to.map(|to| to.as_str().to_owned()).unwrap_or_default();
    ExplainedRules {
        fired: fired.map(|rule| rule.name.clone()),
        sign: wanted.map(|wanted| wanted.sign.name()),
        encrypt: wanted.map(|wanted| wanted.encrypt.name()),
        by_rule: fired.map(keys).unwrap_or_default(),
        missed: missed.map(|(rule, condition)| missed_rule(facts, rule, *condition, &to, &codes)).collect(),
        reasons: codes,
    }
}

/// Text of the mail, as a terminal may show it.
fn plain(text: &str) -> String {
    const SHOWN: usize = 200;
    text.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

fn keys(rule: &Rule) -> Vec<&'static str> {
    let keys = [
        ("sign", rule.sign.is_some()),
        ("form", rule.form.is_some()),
        ("encrypt", rule.encrypt.is_some()),
        ("action", rule.action.is_some()),
    ];
    keys.into_iter().filter_map(|(key, set)| set.then_some(key)).collect()
}

fn missed_rule(facts: &Facts, rule: &Rule, condition: Condition, to: &str, codes: &[&'static str]) -> MissedRule {
    let patterns = |list: &[Pattern]| list.iter().map(Pattern::key).collect::<Vec<_>>().join(", ");
    let (expected, found) = match condition {
        Condition::Side => (rule.side.name().to_owned(), facts.side.name().to_owned()),
        Condition::From => {
            let found = match &facts.inspected.from {
                From::Mailbox(from) => from.as_str().to_owned(),
                From::Unreadable(error) => format!("unreadable: {error}"),
                From::Several(_) | From::Ambiguous(_) | From::Absent => "not one mailbox".to_owned(),
            };
            (patterns(&rule.from), found)
        }
        Condition::To => (patterns(&rule.to), to.to_owned()),
        Condition::Subject => (rule.subject.clone().unwrap_or_default(), plain(&facts.triggers.subject)),
        Condition::Header => {
            let (name, value) = rule.field.clone().unwrap_or_default();
            let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(&name);
            let there: Vec<&str> = facts.triggers.fields.iter().filter(same).map(|(_, value)| value.as_str()).collect();
            (format!("{name}: {value}"), plain(&there.join(", ")))
        }
        Condition::Reasons => {
            let wanted: Vec<&str> = rule.reasons.iter().map(|reason| reason.code()).collect();
            (wanted.join(", "), codes.join(", "))
        }
    };
    MissedRule { rule: rule.name.clone(), condition: condition.name(), expected, found }
}
