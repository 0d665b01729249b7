//! `config/segel.toml` against the parser: the same keys, and the defaults that it shows are the defaults.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENTED: &str = include_str!("../../../config/segel.toml");
const PARSER: &str = include_str!("../file.rs");
const INCOMING: &str = include_str!("../check/incoming.rs");

/// Keys that are shown with an example, because their default is that nothing is there.
const EXAMPLES: [&str; 6] =
    ["listener.client_ca", "listener.client_crls", "listener.tls", "outbound.own", "trust.crls", "policy.file"];
/// Keys that stand in prose: any value is another behaviour than none, or an error in this version.
const IN_PROSE: [&str; 2] = ["incoming.revocation-unknown", "authorise.header"];

/// A line of the documented file.
enum Line<'t> {
    /// `[name]` or `[[name]]`, and whether it is commented out.
    Table { name: &'t str, list: bool, comment: bool },
    /// `name = value`, likewise.
    Key { name: &'t str, comment: bool },
    /// Anything else.
    Prose,
}

fn line(text: &str) -> Line<'_> {
    let comment = text.starts_with('#');
    let bare = text.strip_prefix("# ").unwrap_or(text);
    let word = |name: &str| {
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase() || b"_-.".contains(&octet))
    };
    if let Some(name) = bare.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
        return Line::Table { name, list: true, comment };
    }
    if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Line::Table { name, list: false, comment };
    }
    match bare.split_once(" = ") {
        Some((name, _)) if word(name) => Line::Key { name, comment },
        _ => Line::Prose,
    }
}

/// `table.key` of every key that the file shows, commented out or not.
fn shown() -> BTreeSet<String> {
    let mut table = "";
    let mut keys = BTreeSet::new();
    for text in DOCUMENTED.lines() {
        // What a comment says after a table's or a key's own line is no part of it.
        match line(text.split("  #").next().unwrap_or(text).trim_end()) {
            Line::Table { name, .. } => table = name,
            Line::Key { name, .. } => assert!(
                keys.insert(format!("{table}.{name}")) || ["listener", "authorise"].contains(&table),
                "`{table}.{name}` is shown twice"
            ),
            Line::Prose => {}
        }
    }
    keys
}

/// The structures of the parser: name → (key, type).
fn structures() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let mut found: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let (mut structure, mut renamed) = ("", None);
    for text in PARSER.lines().map(str::trim) {
        if let Some(rest) = text.strip_prefix("pub(super) struct ") {
            structure = rest.split(' ').next().unwrap();
        } else if let Some(rest) = text.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split('"').next();
        } else if let Some((name, of)) = text.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")) {
            let of = of.trim_end_matches(',');
            found.entry(structure).or_default().push((renamed.take().unwrap_or(name), of));
        }
    }
    found
}

/// The keys of `[incoming]` that are no reason codes.
fn incoming_keys() -> impl Iterator<Item = &'static str> {
    let list = INCOMING.split_once("const OTHER_KEYS: [&str; ").unwrap().1.split_once(" = [").unwrap().1;
    list.split_once(']').unwrap().0.split(',').map(|word| word.trim().trim_matches('"')).filter(|word| !word.is_empty())
}

/// `table.key` of every key that the parser takes, from `structure` on.
fn known(structure: &str, table: &str, structures: &BTreeMap<&str, Vec<(&str, &str)>>, keys: &mut BTreeSet<String>) {
    for (name, of) in &structures[structure] {
        let path = if table.is_empty() { (*name).to_owned() } else { format!("{table}.{name}") };
        let inner = of.trim_start_matches("Section<").trim_start_matches("Vec<Spanned<").trim_end_matches('>');
        if structures.contains_key(inner) {
            known(inner, &path, structures, keys);
        } else if path == "incoming" {
            let codes = Reason::ALL.into_iter().map(Reason::code);
            keys.extend(codes.chain(incoming_keys()).map(|name| format!("incoming.{name}")));
        } else {
            keys.insert(path);
        }
    }
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let mut parsed = BTreeSet::new();
    known("File", "", &structures(), &mut parsed);
    assert!(parsed.len() > 100 && parsed.contains("trust.anchor.for"), "{parsed:?}");
    let mut shown = shown();
    shown.extend(IN_PROSE.map(str::to_owned));
    let missing: Vec<_> = parsed.difference(&shown).collect();
    let unknown: Vec<_> = shown.difference(&parsed).collect();
    assert!(missing.is_empty(), "not in config/segel.toml: {missing:?}");
    assert!(unknown.is_empty(), "in config/segel.toml, but the parser does not know them: {unknown:?}");
}

/// The file with this one key written out, and its table with it.
fn with_key(table: Option<usize>, key: usize) -> String {
    let written = |(number, text): (usize, &str)| match Some(number) == table || number == key {
        true => format!("{}\n", text.strip_prefix("# ").unwrap_or(text)),
        false => format!("{text}\n"),
    };
    DOCUMENTED.lines().enumerate().map(written).collect()
}

/// Everything that a configuration says. The treatments count by what they do, which the policy's hash holds.
fn settings(text: &str) -> String {
    let mut config = good(text);
    config.policy.incoming.treatments.clear();
    format!("{config:#?}")
}

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let plain = settings(DOCUMENTED);
    let (mut table, mut place, mut skip, mut seen) = ("", None, false, 0);
    for (number, text) in DOCUMENTED.lines().enumerate() {
        match line(text.split("  #").next().unwrap_or(text).trim_end()) {
            // A list's table that is commented out is an example as a whole.
            Line::Table { name, list, comment } => {
                (table, place, skip) = (name, comment.then_some(number), list && comment)
            }
            Line::Key { name, comment: true } if !skip && !EXAMPLES.contains(&format!("{table}.{name}").as_str()) => {
                let written = settings(&with_key(place, number));
                assert_eq!(written, plain, "line {}: `{table}.{name}` is not the default", number + 1);
                seen += 1;
            }
            Line::Key { .. } | Line::Prose => {}
        }
    }
    assert!(seen > 60, "{seen} defaults");
}
