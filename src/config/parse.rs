//! Text → tables with their places, and the list of what was found wrong on the way.
//!
//! `toml` and serde stop at the first error. To find all of them, an entry that was refused is taken
//! out and the rest is read again; every round removes an entry, so the rounds are bounded by the file.

use super::ConfigError;
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
        self.refused.iter().any(|refused| refused == key)
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

/// The root table, or nothing and an error for each place where the text isn't TOML.
fn table<'t>(text: &'t str, findings: &mut Findings<'_>) -> Option<Spanned<DeTable<'t>>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let hint = "values are text in double quotes, numbers, true, false or [lists]; see https://toml.io";
        findings.error(offset, "TOML", error.message(), hint);
    }
    errors.is_empty().then_some(root)
}

fn report(findings: &mut Findings<'_>, offset: usize, key: &str, message: &str) {
    if let Some((unknown, known)) = unknown_field(message) {
        let problem = format!("expected a key that exists here, found `{unknown}`");
        let hint = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        findings.error(offset, key, problem, hint);
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        findings.error(offset, key, format!("expected {}, found {found}", shape(expected)), shape_hint(expected));
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid value: ").and_then(|rest| rest.split_once(", expected "))
    {
        findings.error(offset, key, format!("expected {}, found {found}", shape(expected)), shape_hint(expected));
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
        "u32" => "a whole number",
        "a boolean" => "true or false",
        expected if expected.starts_with("struct ") || expected == "a map" => "a table",
        expected => expected,
    }
}

fn shape_hint(expected: &str) -> &'static str {
    match expected {
        "a string" => "write it as text in double quotes",
        "a sequence" => "write a list: [\"one\", \"two\"]; a table that repeats has two brackets: [[listener]]",
        "u16" | "u32" => "write the number without quotes",
        "a boolean" => "write true or false without quotes",
        _ => "a table is written as [name] on a line of its own, its keys below",
    }
}

/// The name that was probably meant: at most a third of its letters differ.
pub(super) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let close = known.map(|name| (distance(&written.to_lowercase(), name), name));
    let (changes, name) = close.min_by_key(|(changes, _)| *changes)?;
    (changes <= 1.max(name.len() / 3)).then_some(name)
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
