//! The policy file's tests: mails that somebody describes, and what he expects to come of them.

use super::super::ConfigError;
use super::super::file::{self, PolicyFile};
use super::super::parse::{Findings, nearest};
use super::missing;
use super::rules::{header, reasons, word};
use crate::mail::{Address, ReversePath};
use crate::policy::trial::{AssumedCertificate, AssumedKey, Given, Tried, try_out};
use crate::policy::{Encrypt, Policy, Rule, Side, Sign, SignedForm};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// More than anybody reads; each is a decision at every reload.
const TESTS: usize = 10_000;

/// All tests of a policy file.
#[derive(Debug, Default)]
pub(super) struct Trials {
    path: PathBuf,
    trials: Vec<Trial>,
}

#[derive(Debug)]
struct Trial {
    name: String,
    /// The side, if it was written.
    side: Option<Side>,
    given: Given,
    expected: Vec<Expected>,
}

/// One key of `expect`.
#[derive(Debug)]
struct Expected {
    key: &'static str,
    value: String,
    line: usize,
}

pub(super) fn read(file: &PolicyFile, path: &Path, rules: &[Rule], found: &mut Findings<'_>) -> Trials {
    if let Some(test) = file.test.get(TESTS) {
        found.error(test.span().start, "test", format!("expected at most {TESTS} tests, found more"), "leave some out");
        return Trials::default();
    }
    let trials = file.test.iter().enumerate();
    let trials = trials.filter_map(|(number, test)| trial(number, test, rules, found)).collect();
    Trials { path: path.to_owned(), trials }
}

fn trial(number: usize, test: &Spanned<file::Test>, rules: &[Rule], found: &mut Findings<'_>) -> Option<Trial> {
    let (start, test) = (test.span().start, test.get_ref());
    let name = test.name.as_ref().map_or_else(|| format!("test {}", number + 1), |name| name.get_ref().clone());
    let Some(given) = &test.given else {
        missing(found, start, "test.given", "a mail", "given = { from = \"siti@…\", to = \"rina@…\" }");
        return None;
    };
    let words = [("inside", Side::Inside), ("outside", Side::Outside)];
    let side = word("test.given.side", given.get_ref().side.as_ref(), &words, found);
    let expected = test.expect.as_ref().map(|expect| expected(expect.get_ref(), rules, found)).unwrap_or_default();
    if expected.is_empty() {
        let hint = "expect = { rule = \"rahasia\", encrypt = \"required\" }";
        missing(found, start, "test.expect", "what should come of it", hint);
    }
    Some(Trial { name, side, given: mail(given, found)?, expected })
}

fn mail(given: &Spanned<file::Given>, found: &mut Findings<'_>) -> Option<Given> {
    let (start, table) = (given.span().start, given.get_ref());
    let from = address("test.given.from", table.from.as_ref(), start, found);
    let to = address("test.given.to", table.to.as_ref(), start, found);
    let reverse_path = match table.reverse_path.as_ref() {
        None => from.clone().map(ReversePath::Mailbox),
        Some(written) if written.get_ref().is_empty() => Some(ReversePath::Null),
        written => address("test.given.reverse_path", written, start, found).map(ReversePath::Mailbox),
    };
    let keys = [
        ("own", AssumedKey::Own),
        ("substitute", AssumedKey::Substitute),
        ("unknown", AssumedKey::Unknown),
        ("none", AssumedKey::None),
    ];
    let certificates = [
        ("none", AssumedCertificate::None),
        ("usable", AssumedCertificate::Usable),
        ("unknown", AssumedCertificate::Unknown),
        ("revoked", AssumedCertificate::Revoked),
    ];
    let known = word("test.given.certificate", table.certificate.as_ref(), &certificates, found);
    Some(Given {
        // The policy knows better, where it was not written.
        side: Side::Inside,
        from: from?,
        to: to?,
        reverse_path: reverse_path?,
        login: table.login.as_ref().map(|login| login.get_ref().clone()),
        subject: table.subject.as_ref().map(|subject| subject.get_ref().clone()).unwrap_or_default(),
        field: table.header.as_ref().and_then(|field| header("test.given.header", field, found)),
        reasons: reasons("test.given.reasons", table.reasons.as_ref(), found),
        signed: table.signed.as_ref().is_some_and(|signed| *signed.get_ref()),
        key: word("test.given.key", table.key.as_ref(), &keys, found).unwrap_or(AssumedKey::Own),
        certificate: known.unwrap_or(AssumedCertificate::None),
    })
}

fn address(key: &str, written: Option<&Spanned<String>>, start: usize, found: &mut Findings<'_>) -> Option<Address> {
    let hint = "an address without name and angle brackets: \"siti@kabupaten.go.id\"";
    let Some(written) = written else {
        missing(found, start, key, "an address", hint);
        return None;
    };
    let address = Address::parse(written.get_ref()).ok();
    if address.is_none() {
        found.error(written.span().start, key, format!("expected an address, found `{}`", written.get_ref()), hint);
    }
    address
}

fn expected(expect: &file::Expect, rules: &[Rule], found: &mut Findings<'_>) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut words = |key: &'static str, written: &file::Value<String>, words: &[&str]| {
        let Some(written) = written else { return };
        let value = written.get_ref().clone();
        if !words.contains(&value.as_str()) {
            let hint = match nearest(&value, words.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if key == "rule" => "rule = \"\" says that no rule holds".to_owned(),
                None => "the value is one of these words in double quotes".to_owned(),
            };
            let listed = words.iter().filter(|word| !word.is_empty()).map(|word| format!("`{word}`"));
            let list = listed.take(20).collect::<Vec<_>>().join(", ");
            let problem = match (key, list.is_empty()) {
                ("rule", true) => format!("expected the name of a rule, of which there is none, found `{value}`"),
                ("rule", false) => format!("expected the name of a rule ({list}) or nothing, found `{value}`"),
                _ => format!("expected one of {list}, found `{value}`"),
            };
            found.error(written.span().start, &format!("test.expect.{key}"), problem, hint);
        }
        let line = found.line(written.span().start);
        all.push(Expected { key, value, line });
    };
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).chain([""]).collect();
    words("rule", &expect.rule, &names);
    words("sign", &expect.sign, &Sign::WORDS.map(|(word, _)| word));
    words("form", &expect.form, &SignedForm::WORDS.map(|(word, _)| word));
    words("encrypt", &expect.encrypt, &Encrypt::WORDS.map(|(word, _)| word));
    words("action", &expect.action, &["deliver", "quarantine", "reject", "defer"]);
    for (key, written) in [("signed", &expect.signed), ("encrypted", &expect.encrypted)] {
        if let Some(written) = written {
            let (value, line) = (written.get_ref().to_string(), found.line(written.span().start));
            all.push(Expected { key, value, line });
        }
    }
    all
}

impl Trials {
    pub(super) fn len(&self) -> usize {
        self.trials.len()
    }

    /// Runs them; an error for every expectation that was not met.
    pub(super) fn run(&self, policy: &Policy) -> Vec<ConfigError> {
        self.trials.iter().flat_map(|trial| self.run_one(policy, trial)).collect()
    }

    fn run_one(&self, policy: &Policy, trial: &Trial) -> Vec<ConfigError> {
        let own = policy.domain(trial.given.from.domain()).is_some();
        let side = trial.side.unwrap_or(if own { Side::Inside } else { Side::Outside });
        let tried = try_out(policy, &Given { side, ..trial.given.clone() });
        let unmet = trial.expected.iter().filter_map(|expected| {
            let came = came(&tried, expected.key);
            let quoted = |value: &str| if value.is_empty() { "none".to_owned() } else { format!("`{value}`") };
            (came.as_deref() != Some(expected.value.as_str())).then(|| ConfigError {
                file: self.path.clone(),
                line: expected.line,
                key: format!("test.expect.{}", expected.key),
                problem: format!(
                    "{}: expected {}, {}",
                    trial.name,
                    quoted(&expected.value),
                    match &came {
                        Some(came) => format!("came {}", quoted(came)),
                        None => format!("but the mail comes from {}, where there is no such thing", side.name()),
                    }
                ),
                hint: format!("this mail gets {}; correct the rule, or the test", told(&tried)),
            })
        });
        unmet.collect()
    }
}

/// What came of it, under a key of `expect`; none where the side has no such thing.
fn came(tried: &Tried, key: &str) -> Option<String> {
    match key {
        "rule" => Some(tried.rule.clone().unwrap_or_default()),
        "sign" => tried.sign.map(|sign| sign.name().to_owned()),
        "form" => tried.form.map(|form| form.name().to_owned()),
        "encrypt" => tried.encrypt.map(|encrypt| encrypt.name().to_owned()),
        "action" => Some(tried.action.to_owned()),
        "signed" => tried.sign.map(|_| tried.signed.to_string()),
        "encrypted" => tried.encrypt.map(|_| tried.encrypted.to_string()),
        _ => None,
    }
}

fn told(tried: &Tried) -> String {
    let rule = tried.rule.as_ref().map_or_else(|| "no rule".to_owned(), |rule| format!("rule `{rule}`"));
    let mut text = rule;
    for (key, value) in [
        ("sign", tried.sign.map(Sign::name)),
        ("form", tried.form.map(SignedForm::name)),
        ("encrypt", tried.encrypt.map(Encrypt::name)),
        ("action", Some(tried.action)),
    ] {
        text.push_str(&value.map(|value| format!(", {key} `{value}`")).unwrap_or_default());
    }
    format!("{text} ({})", tried.why)
}
