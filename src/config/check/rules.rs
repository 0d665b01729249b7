//! The policy file's rules, and who may be written to in clear again.

use super::super::file::{self, File, HeaderField, OneOrMore, PolicyFile};
use super::super::parse::{self, Findings};
use super::{choice, key, missing, must_be_default, not_yet, text};
use crate::policy::{Encrypt, Pattern, Rule, Side};
use std::path::Path;
use toml::Spanned;

/// Rules that look at the same mail one after the other, for every recipient: a thousand is a mistake.
const RULES: usize = 1000;

/// `[policy] file`. Whoever writes the name means a file: only where the key is absent may there be none.
#[expect(clippy::disallowed_methods, reason = "this module is part of the reader of the operator's files")]
pub(super) fn rules(file: &File, directory: &Path, findings: &mut Findings<'_>) -> Vec<Rule> {
    let written = key(&file.policy, |policy| &policy.file);
    let path = directory.join(text(written).unwrap_or("policy.toml"));
    let content = match std::fs::read_to_string(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && written.is_none() => return Vec::new(),
        Err(error) => {
            let offset = written.map_or(0, |written| written.span().start);
            let problem = format!("expected a readable file `{}`, found: {error}", path.display());
            findings.error(offset, "policy.file", problem, "leave the key out if there are no rules");
            return Vec::new();
        }
    };
    let mut found = Findings::new(&path, &content);
    let rules = parse::file::<PolicyFile>(&content, "policy.toml", &mut found);
    let rules = rules.map(|file| checked(&file, &mut found)).unwrap_or_default();
    findings.extend(found.into_errors());
    rules
}

fn checked(file: &PolicyFile, found: &mut Findings<'_>) -> Vec<Rule> {
    if let Some(test) = file.test.first() {
        let hint = "take the [[test]] tables out; `segel explain` shows what a rule does";
        not_yet(found, test.span().start, "test", "no [[test]]", "one", hint);
    }
    if let Some(rule) = file.rule.get(RULES) {
        found.error(rule.span().start, "rule", format!("expected at most {RULES} rules, found more"), "join rules");
    }
    let mut rules: Vec<Rule> = Vec::new();
    for table in &file.rule {
        let Some(rule) = rule(table, found) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            let problem = format!("expected a name of its own, found `{}` twice", rule.name);
            found.error(table.span().start, "rule.name", problem, "names tell rules apart in records and `explain`");
        }
        rules.push(rule);
    }
    rules
}

fn rule(table: &Spanned<file::Rule>, found: &mut Findings<'_>) -> Option<Rule> {
    let (start, table) = (table.span().start, table.get_ref());
    let name = table.name.as_ref().map(|name| name.get_ref().clone()).filter(|name| !name.trim().is_empty());
    if name.is_none() {
        missing(found, start, "rule.name", "a name", "any word; it stands in records and in `explain`");
    }
    let then = |select: fn(&file::Then) -> &file::Value<String>| key(&table.then, select);
    let hint = "the sender's domain says whether mail is signed: leave the key out";
    must_be_default(found, "rule.then.sign", then(|then| &then.sign), "", hint);
    must_be_default(found, "rule.then.action", then(|then| &then.action), "", "use the tables of [incoming]");
    if then(|then| &then.encrypt).is_none() {
        let hint = "write then = { encrypt = \"required\" }, \"when-possible\" or \"never\"";
        missing(found, start, "rule.then.encrypt", "what follows", hint);
    }
    let words = [("required", Encrypt::Required), ("when-possible", Encrypt::WhenPossible), ("never", Encrypt::Never)];
    let encrypt = choice(found, "rule.then.encrypt", then(|then| &then.encrypt), &words, Encrypt::Required);
    let none = file::Match::default();
    let conditions = table.conditions.as_ref().map_or(&none, Spanned::get_ref);
    let reasons = "outgoing mail has no reasons: use the tables of [incoming]";
    if let Some(first) = conditions.reasons.as_ref().and_then(|list| list.get_ref().first()) {
        let (offset, text) = (first.span().start, format!("`{}`", first.get_ref()));
        not_yet(found, offset, "rule.match.reasons", "an empty list", &text, reasons);
    }
    Some(Rule {
        name: name?,
        side: side(conditions, found),
        from: patterns("rule.match.from", conditions.from.as_ref(), found),
        to: patterns("rule.match.to", conditions.to.as_ref(), found),
        subject: tag(conditions.subject.as_ref(), found),
        field: conditions.header.as_ref().and_then(|field| header(field, found)),
        encrypt,
    })
}

/// Rules are about encryption, and that is about outgoing mail.
fn side(conditions: &file::Match, found: &mut Findings<'_>) -> Option<Side> {
    let written = conditions.side.as_ref();
    let words = [("inside", Some(Side::Inside)), ("outside", Some(Side::Outside))];
    let side = choice(found, "rule.match.side", written, &words, None);
    if let Some(written) = written.filter(|_| side == Some(Side::Outside)) {
        let hint = "a tag or field from outside is never obeyed; leave the key out, or write \"inside\"";
        not_yet(found, written.span().start, "rule.match.side", "`inside`", "`outside`", hint);
    }
    side
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
fn header(field: &Spanned<HeaderField>, found: &mut Findings<'_>) -> Option<(String, String)> {
    let (start, field) = (field.span().start, field.get_ref());
    let hint = "write header = { name = \"X-Encrypt\", value = \"yes\" }";
    let (Some(name), Some(value)) = (&field.name, &field.value) else {
        missing(found, start, "rule.match.header", "name and value", hint);
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
        found.error(name.span().start, "rule.match.header.name", problem, hint);
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
    let pattern = Pattern::parse(text);
    if pattern.is_none() {
        let problem = format!("expected an address or a domain, found `{text}`");
        found.error(offset, key, problem, "write \"rina@mitra.example\", or \"@mitra.example\" for everybody there");
    }
    pattern
}

/// `[encryption] allow_downgrade`.
pub(super) fn allow_downgrade(file: &File, findings: &mut Findings<'_>) -> Vec<Pattern> {
    let list = key(&file.encryption, |encryption| &encryption.allow_downgrade);
    let entries = list.iter().flat_map(|list| list.get_ref());
    entries
        .filter_map(|entry| pattern("encryption.allow_downgrade", entry.get_ref(), entry.span().start, findings))
        .collect()
}
