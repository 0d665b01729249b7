//! The policy file's rules, and who may be written to in clear again.

use super::super::file::{self, File, HeaderField, OneOrMore, PolicyFile};
use super::super::files;
use super::super::parse::{self, Findings};
use super::trials::{self, Trials};
use super::{choice, key, missing, text};
use crate::policy::{BYPASS, Encrypt, IncomingPolicy, IncomingTreatment, Pattern, Rule, Side, Sign, SignedForm};
use crate::reason::Reason;
use std::path::Path;
use toml::Spanned;

/// Rules that look at the same mail one after the other, for every recipient: a thousand is a mistake.
const RULES: usize = 1000;

/// `[policy] file`: its rules, and its tests, which are run when the whole policy is there. Whoever writes the name means a
/// file: only where the key is absent may there be none.
#[expect(clippy::disallowed_methods, reason = "this module is part of the reader of the operator's files")]
pub(super) fn rules(file: &File, directory: &Path, findings: &mut Findings<'_>) -> (Vec<Rule>, Trials) {
    let written = key(&file.policy, |policy| &policy.file);
    let path = directory.join(text(written).unwrap_or("policy.toml"));
    let offset = written.map_or(0, |written| written.span().start);
    let content = match std::fs::read(&path).map(String::from_utf8) {
        Ok(Ok(content)) => content,
        Ok(Err(error)) => {
            let (line, problem) = parse::not_text(error.as_bytes(), error.utf8_error().valid_up_to());
            let problem = format!("`{}`, line {line}: {problem}", path.display());
            findings.error(offset, "policy.file", problem, parse::NOT_TEXT);
            return Default::default();
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && written.is_none() => return Default::default(),
        Err(error) => {
            let problem = format!("expected a readable file `{}`, found: {error}", path.display());
            let hint = match error.kind() {
                std::io::ErrorKind::PermissionDenied => files::DENIED,
                _ => "the path is relative to this configuration file; leave the key out if there are no rules",
            };
            findings.error(offset, "policy.file", problem, hint);
            return Default::default();
        }
    };
    let mut found = Findings::new(&path, &content);
    let parsed = parse::file::<PolicyFile>(&content, "policy.toml", &mut found);
    let (rules, trials) = match &parsed {
        Some(parsed) => {
            let rules = checked(parsed, &mut found);
            let trials = trials::read(parsed, &path, &rules, &mut found);
            (rules, trials)
        }
        None => Default::default(),
    };
    findings.extend(found);
    (rules, trials)
}

fn checked(file: &PolicyFile, found: &mut Findings<'_>) -> Vec<Rule> {
    if let Some(rule) = file.rule.get(RULES) {
        found.error(rule.span().start, "rule", format!("expected at most {RULES} rules, found more"), "join rules");
        return Vec::new();
    }
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    for table in &file.rule {
        let start = table.span().start;
        let Some(rule) = rule(table, found) else { continue };
        if rules.iter().any(|(_, other)| other.name == rule.name) {
            let problem = format!("expected a name of its own, found `{}` twice", rule.name);
            found.error(start, "rule.name", problem, "names tell rules apart in records and `explain`");
        }
        if let Some((earlier, before)) = rules.iter().find(|(_, before)| before.catches_all_of(&rule)) {
            let line = found.line(*earlier);
            let text = format!(
                "rule `{}` never decides: rule `{}` (line {line}) comes first and matches all its mail; put the narrower rule first",
                rule.name, before.name
            );
            found.warn_at(start, &text);
        }
        rules.push((start, rule));
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn rule(table: &Spanned<file::Rule>, found: &mut Findings<'_>) -> Option<Rule> {
    let (start, table) = (table.span().start, table.get_ref());
    let name = name(table, start, found);
    let no_conditions = file::Match::default();
    let conditions = table.conditions.as_ref().map_or(&no_conditions, Spanned::get_ref);
    let none = file::Then::default();
    let then = table.then.as_ref().map_or(&none, Spanned::get_ref);
    let written = [&then.sign, &then.form, &then.encrypt, &then.action].iter().any(|key| key.is_some());
    if !written && !found.refused_below("rule.then") {
        let hint = "write then = { encrypt = \"required\" }, or sign, form, or action for mail from outside";
        missing(found, start, "rule.then", "what follows", hint);
    }
    let side = side(conditions, then, found)?;
    let rule = Rule {
        name: name?,
        side,
        from: patterns("rule.match.from", conditions.from.as_ref(), found),
        to: patterns("rule.match.to", conditions.to.as_ref(), found),
        subject: tag(conditions.subject.as_ref(), found),
        field: conditions.header.as_ref().and_then(|field| header("rule.match.header", field, found)),
        reasons: reasons("rule.match.reasons", conditions.reasons.as_ref(), found),
        sign: word("rule.then.sign", then.sign.as_ref(), &Sign::WORDS, found),
        form: word("rule.then.form", then.form.as_ref(), &SignedForm::WORDS, found),
        encrypt: word("rule.then.encrypt", then.encrypt.as_ref(), &Encrypt::WORDS, found),
        action: word("rule.then.action", then.action.as_ref(), &IncomingTreatment::WORDS, found),
    };
    contradictions(&rule, conditions, then, found);
    Some(rule)
}

fn name(table: &file::Rule, start: usize, found: &mut Findings<'_>) -> Option<String> {
    let written = table.name.as_ref().filter(|name| !name.get_ref().trim().is_empty());
    let Some(written) = written else {
        missing(found, start, "rule.name", "a name", "any word; it stands in records and in `explain`");
        return None;
    };
    if written.get_ref() == BYPASS || written.get_ref().chars().any(char::is_control) {
        let problem = format!("expected a name of its own, found `{}`", written.get_ref().escape_debug());
        found.error(
            written.span().start,
            "rule.name",
            problem,
            "records call the emergency bypass so; use another word",
        );
    }
    Some(written.get_ref().clone())
}

/// One of some words, if anything was written.
pub(super) fn word<T: Copy>(
    key: &str,
    written: Option<&Spanned<String>>,
    words: &[(&str, T)],
    found: &mut Findings<'_>,
) -> Option<T> {
    let (_, first) = words.first()?;
    written.map(|written| choice(found, key, Some(written), words, *first))
}

/// What is written says which side a rule is for, where `side` does not; it may not say both.
fn side(conditions: &file::Match, then: &file::Then, found: &mut Findings<'_>) -> Option<Side> {
    let offset = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.span().start);
    let inside = [
        ("rule.match.subject", offset(&conditions.subject)),
        ("rule.match.header", conditions.header.as_ref().map(|value| value.span().start)),
        ("rule.then.sign", offset(&then.sign)),
        ("rule.then.form", offset(&then.form)),
        ("rule.then.encrypt", offset(&then.encrypt)),
    ];
    let outside = [
        ("rule.match.reasons", conditions.reasons.as_ref().map(|value| value.span().start)),
        ("rule.then.action", offset(&then.action)),
    ];
    let first = |keys: &[(&'static str, Option<usize>)]| keys.iter().find_map(|(key, at)| Some((*key, (*at)?)));
    let words = [("inside", Side::Inside), ("outside", Side::Outside)];
    let written = word("rule.match.side", conditions.side.as_ref(), &words, found);
    match (written, first(&inside), first(&outside)) {
        (Some(Side::Outside), Some((key, at)), _) => {
            let hint = match key {
                "rule.match.subject" | "rule.match.header" => {
                    "a tag or field from outside is never obeyed: anybody can write it; leave the key out"
                }
                _ => "mail from outside is neither signed nor encrypted here; `action` says what happens to it",
            };
            found.error(at, key, "expected a key for mail from outside, found one for mail from inside", hint);
            None
        }
        (Some(Side::Inside), _, Some((key, at))) => {
            let hint = "reasons are found in mail from outside, and `action` is for that; write side = \"outside\"";
            found.error(at, key, "expected a key for mail from inside, found one for mail from outside", hint);
            None
        }
        (None, Some((one, _)), Some((other, at))) => {
            let problem = format!("expected keys for one side, found `{one}` (inside) and this one (outside)");
            found.error(at, other, problem, "write two rules, one for each side");
            None
        }
        (Some(side), _, _) => Some(side),
        (None, None, Some(_)) => Some(Side::Outside),
        (None, _, None) => Some(Side::Inside),
    }
}

/// What can be written and can not be meant.
fn contradictions(rule: &Rule, conditions: &file::Match, then: &file::Then, found: &mut Findings<'_>) {
    if let (Some(Sign::Never), Some(form)) = (rule.sign, &then.form) {
        let problem = "expected no form where `sign` is `never`, found one";
        found.error(form.span().start, "rule.then.form", problem, "leave one of the two keys out");
    }
    let listed = conditions.reasons.iter().flat_map(|list| list.get_ref());
    for written in listed.filter(|_| rule.action == Some(IncomingTreatment::Deliver)) {
        let reason = Reason::from_code(written.get_ref());
        if reason.is_some_and(|reason| !IncomingPolicy::may_be_delivered_by_rule(reason)) {
            let problem = format!("expected a reason that a rule may deliver, found `{}`", written.get_ref());
            let hint = "no rule lets this through; [incoming] and [[authorise]] say what holds for it, and an operator \
                        can release single mails from quarantine";
            found.error(written.span().start, "rule.match.reasons", problem, hint);
        }
    }
}

/// Reason codes of incoming mail.
pub(super) fn reasons(
    key: &str,
    written: Option<&Spanned<Vec<Spanned<String>>>>,
    found: &mut Findings<'_>,
) -> Vec<Reason> {
    let Some(written) = written else { return Vec::new() };
    if written.get_ref().is_empty() {
        let hint = "leave the key out where the reasons don't matter";
        found.error(written.span().start, key, "expected at least one reason code, found an empty list", hint);
    }
    let outgoing = |reason: &Reason| matches!(reason, Reason::NoRecipientCertificate | Reason::NoSigningKey);
    let mut reasons = Vec::new();
    for one in written.get_ref() {
        match Reason::from_code(one.get_ref()) {
            Some(reason) if !outgoing(&reason) => reasons.push(reason),
            known => {
                let codes = Reason::ALL.into_iter().filter(|reason| !outgoing(reason)).map(Reason::code);
                let hint = match (known, parse::nearest(one.get_ref(), codes.clone())) {
                    (Some(_), _) => "this one is about mail from inside, which is not delivered then".to_owned(),
                    (None, Some(near)) => format!("did you mean \"{near}\"?"),
                    (None, None) => format!("the codes are {}", codes.collect::<Vec<_>>().join(", ")),
                };
                let problem = format!("expected a reason code of mail from outside, found `{}`", one.get_ref());
                found.error(one.span().start, key, problem, hint);
            }
        }
    }
    reasons
}

fn tag(written: Option<&Spanned<String>>, found: &mut Findings<'_>) -> Option<String> {
    let written = written?;
    let tag = written.get_ref().trim();
    if tag.chars().count() < 2 || tag.chars().any(char::is_control) {
        let problem = format!("expected a tag of two characters or more, found `{}`", written.get_ref().escape_debug());
        found.error(written.span().start, "rule.match.subject", problem, "such as subject = \"[rahasia]\"");
    }
    Some(tag.to_owned())
}

/// Fields that mail can't do without are no triggers: a trigger is removed from the mail.
pub(super) fn header(key: &str, field: &Spanned<HeaderField>, found: &mut Findings<'_>) -> Option<(String, String)> {
    let (start, field) = (field.span().start, field.get_ref());
    let hint = "write header = { name = \"X-Encrypt\", value = \"yes\" }";
    let (Some(name), Some(value)) = (&field.name, &field.value) else {
        missing(found, start, key, "name and value", hint);
        return None;
    };
    let is_name = |octet: u8| (b'!'..=b'~').contains(&octet) && octet != b':';
    let needed = [
        "from",
        "to",
        "cc",
        "bcc",
        "date",
        "subject",
        "message-id",
        "sender",
        "reply-to",
        "received",
        "mime-version",
        "in-reply-to",
        "references",
        "return-path",
    ];
    let lower = name.get_ref().to_ascii_lowercase();
    if lower.is_empty()
        || !lower.bytes().all(is_name)
        || needed.contains(&lower.as_str())
        || lower.starts_with("content-")
    {
        let problem = format!("expected the name of a field that may be removed, found `{}`", name.get_ref());
        found.error(name.span().start, &format!("{key}.name"), problem, hint);
    }
    Some((name.get_ref().clone(), value.get_ref().trim().to_owned()))
}

fn patterns(key: &str, written: Option<&Spanned<OneOrMore>>, found: &mut Findings<'_>) -> Vec<Pattern> {
    let Some(written) = written else { return Vec::new() };
    let texts = match written.get_ref() {
        OneOrMore::One(text) => std::slice::from_ref(text),
        OneOrMore::More(texts) => texts.as_slice(),
    };
    if texts.is_empty() {
        let hint = "leave the key out where everybody is meant";
        found.error(written.span().start, key, "expected at least one address or domain, found an empty list", hint);
    }
    texts.iter().filter_map(|text| pattern(key, text, written.span().start, found)).collect()
}

fn pattern(key: &str, text: &str, offset: usize, found: &mut Findings<'_>) -> Option<Pattern> {
    // An asterisk may stand in an address, and nobody has such a one: a rule for it would never hold.
    let pattern = Pattern::parse(text).filter(|_| !text.contains('*'));
    if pattern.is_none() {
        let problem = format!("expected an address or a domain, found `{text}`");
        found.error(offset, key, problem, meant(text));
    }
    pattern
}

/// What was probably meant by something that is no pattern.
fn meant(text: &str) -> String {
    let domain = text.rsplit(['*', '@']).next().unwrap_or_default().trim_start_matches('.');
    match Pattern::parse(&format!("@{domain}")) {
        Some(_) if !text.contains('<') => {
            format!("write \"@{domain}\" for everybody in that domain (not those below it), or one address")
        }
        _ => "write \"rina@mitra.example\", or \"@mitra.example\" for everybody there".to_owned(),
    }
}

/// `[encryption] allow_downgrade`.
pub(super) fn allow_downgrade(file: &File, findings: &mut Findings<'_>) -> Vec<Pattern> {
    let list = key(&file.encryption, |encryption| &encryption.allow_downgrade);
    let entries = list.iter().flat_map(|list| list.get_ref());
    entries
        .filter_map(|entry| pattern("encryption.allow_downgrade", entry.get_ref(), entry.span().start, findings))
        .collect()
}
