//! Text → tables with their places, and the list of what was found wrong on the way.
//!
//! `toml` and serde stop at the first error. To find all of them, an entry that was refused is taken
//! out and the rest is read again; every round removes an entry, so the rounds are bounded by the file.

use super::{ConfigError, known};
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Errors and warnings, gathered while a file is read and checked.
pub(super) struct Findings<'a> {
    path: PathBuf,
    text: &'a str,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
    /// Keys whose values were refused here: to `check` they look absent.
    refused: Vec<String>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(path: &Path, text: &'a str) -> Self {
        Self { path: path.to_owned(), text, errors: Vec::new(), warnings: Vec::new(), refused: Vec::new() }
    }

    /// Adds an error at an octet offset of the text.
    pub(super) fn error(&mut self, offset: usize, key: &str, problem: impl Into<String>, hint: impl Into<String>) {
        let line = self.line(offset);
        self.errors.push(ConfigError {
            file: self.path.clone(),
            line,
            key: key.to_owned(),
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    /// Whether an absent key is absent because its value was refused.
    pub(super) fn was_refused(&self, key: &str) -> bool {
        self.refused
            .iter()
            .any(|refused| refused == key || key.strip_prefix(refused).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Whether a value in this table was refused, so that what is left of it says little.
    pub(super) fn refused_below(&self, table: &str) -> bool {
        self.refused.iter().any(|refused| refused.strip_prefix(table).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Adds what was found in another file.
    pub(super) fn extend(&mut self, other: Findings<'_>) {
        self.warnings.extend(other.warnings);
        self.errors.extend(other.errors);
    }

    /// Adds errors of another file.
    pub(super) fn extend_errors(&mut self, errors: Vec<ConfigError>) {
        self.errors.extend(errors);
    }

    /// A warning about a place in the text.
    pub(super) fn warn_at(&mut self, offset: usize, text: &str) {
        let line = self.line(offset);
        self.warnings.push(format!("{}:{line}: {text}", self.path.display()));
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Whether a key that begins like this has an error.
    pub(super) fn has_errors_of(&self, table: &str) -> bool {
        self.errors.iter().any(|error| error.key.starts_with(table))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn into_errors(mut self) -> Vec<ConfigError> {
        // The main file first, then others by name.
        let path = self.path;
        self.errors.sort_by_cached_key(|error| (error.file != path, error.file.clone(), error.line));
        self.errors
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|octet| *octet == b'\n').count()
    }
}

/// The file as written. Nothing when it isn't TOML; entries that were refused are left out, each with its error.
pub(super) fn file<T: DeserializeOwned>(text: &str, name: &str, findings: &mut Findings<'_>) -> Option<T> {
    let mut root = table(text, findings)?;
    single(root.get_mut(), name, findings);
    loop {
        match T::deserialize(toml::Deserializer::from(root.clone())) {
            Ok(file) => return Some(file),
            Err(error) => {
                let removed = error.span().and_then(|span| remove(root.get_mut(), &span));
                let offset = error.span().map_or(0, |span| span.start);
                let key = removed.as_deref().unwrap_or(name);
                report(findings, offset, key, error.message());
                findings.refused.extend(removed.clone());
                removed?;
            }
        }
    }
}

/// Tables that stand once. `toml` reads one in two brackets as a list of its values, and says so.
const SINGLE: [&str; 17] = [
    "gateway",
    "store",
    "keys",
    "tls",
    "outbound",
    "signing",
    "encryption",
    "incoming",
    "trust",
    "fetch",
    "dns",
    "limits",
    "queue",
    "quarantine",
    "notify",
    "policy",
    "console",
];

fn single(root: &mut DeTable<'_>, file: &str, findings: &mut Findings<'_>) {
    for name in SINGLE.iter().copied().filter(|_| file == "segel.toml").chain(["log"]) {
        let found = root.get(name).filter(|value| value.get_ref().is_array()).map(|value| value.span().start);
        if let Some(offset) = found {
            let hint = format!("one bracket is right here: [{name}]");
            findings.error(offset, name, "expected a table, found a list of tables", hint);
            findings.refused.push(name.to_owned());
            root.remove(name);
        }
    }
}

/// The root table, or nothing and an error for each place where the text isn't TOML.
fn table<'t>(text: &'t str, findings: &mut Findings<'_>) -> Option<Spanned<DeTable<'t>>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let (problem, hint) = match error.message() {
            "duplicate key" => (
                "expected each key and each [table] once, found it a second time",
                "put the keys of a table together; only tables in two brackets, such as [[listener]], stand there repeatedly",
            ),
            message if message.starts_with("string values must be quoted") => (
                "expected a value, found text without double quotes",
                "write text in straight double quotes: \"text\"; true, false and numbers stand without them",
            ),
            message => {
                (message, "values are text in double quotes, numbers, true, false or [lists]; see https://toml.io")
            }
        };
        findings.error(offset, "TOML", problem, hint);
    }
    errors.is_empty().then_some(root)
}

/// What to do about a file that is no text.
pub(super) const NOT_TEXT: &str = "save the file as UTF-8, without special characters where they are not needed";

/// The line where it stops being text, and what was found.
pub(super) fn not_text(content: &[u8], good: usize) -> (usize, String) {
    let line = 1 + content.iter().take(good).filter(|octet| **octet == b'\n').count();
    let utf16 = content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]);
    let found = if utf16 { "UTF-16" } else { "octets that are none" };
    (line, format!("expected text in UTF-8, found {found}"))
}

/// The text under one key of one table, whatever else is wrong with the file.
pub(super) fn one_text(text: &str, table: &str, key: &str) -> Option<String> {
    let (root, _) = DeTable::parse_recoverable(text);
    let value = root.get_ref().get(table)?.get_ref().get(key)?.get_ref().as_str()?.to_owned();
    Some(value)
}

fn report(findings: &mut Findings<'_>, offset: usize, key: &str, message: &str) {
    if let Some((unknown, known)) = unknown_field(message) {
        let problem = format!("expected a key that exists here, found `{unknown}`");
        let hint = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => known::elsewhere(key, unknown).unwrap_or_else(|| format!("the keys are {}", known.join(", "))),
        };
        findings.error(offset, key, problem, hint);
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        let found = if found == "map" { "a table" } else { found };
        findings.error(
            offset,
            key,
            format!("expected {}, found {found}", shape(expected)),
            shape_hint(key, expected, found),
        );
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid value: ").and_then(|rest| rest.split_once(", expected "))
    {
        findings.error(
            offset,
            key,
            format!("expected {}, found {found}", shape(expected)),
            shape_hint(key, expected, found),
        );
    } else {
        findings.error(offset, key, message, "config/segel.toml and config/policy.toml document every key");
    }
}

/// The name and the names that would do, of serde's message about an unknown field.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    Some((unknown, quoted.collect()))
}

/// Serde's names of shapes, as an operator would say it.
fn shape(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "u16" => "a number from 0 to 65535",
        "u32" => "a whole number, 0 or more",
        "a boolean" => "true or false",
        expected if expected.starts_with("struct ") || expected == "a map" => "a table",
        expected => expected,
    }
}

fn shape_hint(key: &str, expected: &str, found: &str) -> String {
    let one = found.strip_prefix("string ").unwrap_or("\"one\"");
    match (expected, key) {
        ("a string", _) if found.starts_with("integer") => {
            "write it as text in double quotes; a time or a size with its unit, such as \"120s\" or \"25MiB\""
                .to_owned()
        }
        ("a string" | "a string or a list of strings", _) => "write it as text in double quotes".to_owned(),
        ("a sequence", _) if found == "a table" => {
            format!("it may stand there more than once, so it has two brackets: [[{key}]]")
        }
        ("a sequence", _) => format!("write it in brackets, several with commas: [{one}]"),
        ("u16" | "u32", _) => "write such a number, without quotes".to_owned(),
        ("a boolean", _) => "write true or false without quotes".to_owned(),
        (_, key) if key.ends_with(".header") => "write header = { name = \"X-Encrypt\", value = \"yes\" }".to_owned(),
        _ => "a table is written as [name] on a line of its own with its keys below, or as name = { key = \"value\" }"
            .to_owned(),
    }
}

/// The name that was probably meant: at most a third of its letters differ.
pub(super) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let written = written.to_lowercase();
    let close: Vec<(usize, &str)> = known.map(|name| (distance(&written, name), name)).collect();
    let (changes, name) = close.iter().min_by_key(|(changes, _)| *changes)?;
    if *changes <= 1.max(name.len() / 3) {
        return Some(name);
    }
    // `in` for `inside`, `warning` for `warn`; not where several begin so.
    let begins =
        |name: &str| name.len() > 1 && written.len() > 1 && (name.starts_with(&written) || written.starts_with(name));
    let mut begun = close.iter().filter(|(_, name)| begins(name));
    begun.next().filter(|_| begun.next().is_none()).map(|(_, name)| *name)
}

/// Levenshtein's distance. Names of keys are short, so the quadratic cost doesn't matter; the length is bounded all the same.
fn distance(left: &str, right: &str) -> usize {
    const LONGEST: usize = 64;
    if left.len() > LONGEST {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(right.chars()) {
            let cost = (diagonal + usize::from(from != to)).min(previous + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, cost);
            previous = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// Takes the innermost entry out whose key or value lies at `span`; gives its full name.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().to_string();
        if let Some(inner) = remove_inside(value.get_mut(), span) {
            return Some(if inner.is_empty() { name } else { format!("{name}.{inner}") });
        }
        if key.span() == *span || value.span() == *span || contains(&value.span(), span) {
            found = Some(name);
        }
    }
    let name = found?;
    table.remove(name.as_str());
    Some(name)
}

/// As [`remove`], in a value. An entry of a list that is no table is named by the list.
fn remove_inside(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
    match value {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(entries) => {
            for entry in entries.iter_mut() {
                if let Some(inner) = remove_inside(entry.get_mut(), span) {
                    return Some(inner);
                }
            }
            None
        }
        _ => None,
    }
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
