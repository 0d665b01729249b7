//! `cargo xtask conformance`: which requirement is shown by which test.
//!
//! A test that shows a requirement carries its id at the start of its name: `s21_bare_lf_never_ends_data`. The table
//! knows nothing else, so it claims nothing without a test. A name may begin with several ids: `s12_c40_…`.

#![expect(clippy::disallowed_methods, reason = "reads the sources and writes the document")]

use crate::process::Failure;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Requirement id → the tests that show it, as (file, name).
type Claims = BTreeMap<String, Vec<(String, String)>>;

/// The letters of the ids, in the order of the document.
const SECTIONS: [(char, &str); 6] = [
    ('S', "SMTP server"),
    ('C', "SMTP client, queue, notices"),
    ('O', "Outgoing mail"),
    ('I', "Incoming mail"),
    ('P', "Certificates and keys"),
    ('N', "Newer and national"),
];

/// Writes `docs/conformance.md`.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    let path = document(root);
    let text = render(&claims(root)?);
    fs::write(&path, text).map_err(|error| Failure::File(path, error))
}

fn document(root: &Path) -> PathBuf {
    root.join("docs").join("conformance.md")
}

fn claims(root: &Path) -> Result<Claims, Failure> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut claims = Claims::new();
    for path in files {
        let source = fs::read_to_string(&path).map_err(|error| Failure::File(path.clone(), error))?;
        let file = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        for name in tests(&source) {
            for id in ids(name) {
                claims.entry(id).or_default().push((file.clone(), name.to_owned()));
            }
        }
    }
    Ok(claims)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failure = |error| Failure::File(folder.to_owned(), error);
    for entry in fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The names of the functions in `source` that stand under a test attribute.
fn tests(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut under_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            under_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) {
            if std::mem::take(&mut under_test) {
                names.extend(rest.split(['(', '<']).next());
            }
        } else if line.starts_with("#[ignore") {
            under_test = false;
        }
    }
    names
}

/// The ids at the start of a test's name, in upper case.
fn ids(name: &str) -> Vec<String> {
    name.split('_').take_while(|word| is_id(word)).map(str::to_uppercase).collect()
}

fn is_id(word: &str) -> bool {
    let mut characters = word.chars();
    let letter = characters.next().unwrap_or(' ').to_ascii_uppercase();
    word.len() == 3
        && SECTIONS.iter().any(|section| section.0 == letter)
        && characters.all(|character| character.is_ascii_digit())
}

fn render(claims: &Claims) -> String {
    let mut text = String::from(
        "# Conformance\n\n\
         Which requirement is shown by which test. Written by `cargo xtask conformance` from the names of the tests;\n\
         a test fails when this file is out of date. A requirement that is not listed here is not claimed.\n",
    );
    for (letter, title) in SECTIONS {
        let rows: Vec<_> = claims.iter().filter(|(id, _)| id.starts_with(letter)).collect();
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("\n## {letter}: {title}\n\n| id | shown by |\n|---|---|\n"));
        for (id, tests) in rows {
            let tests: Vec<String> = tests.iter().map(|(file, name)| format!("`{name}` ({file})")).collect();
            text.push_str(&format!("| {id} | {} |\n", tests.join("<br>")));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_tests_are_claims() {
        let source = "
            fn s01_helper() {}
            #[test]
            fn s02_shown() {}
            #[tokio::test(flavor = \"current_thread\")]
            async fn c03_c04_shown_twice() {}
            #[test]
            fn plain() {}
            #[test]
            #[ignore]
            fn i54_left_out() {}
        ";
        assert_eq!(tests(source), ["s02_shown", "c03_c04_shown_twice", "plain"]);
        assert_eq!(ids("c03_c04_shown_twice"), ["C03", "C04"]);
        assert!(ids("plain").is_empty());
        assert!(ids("s2_x").is_empty());
        assert!(ids("x21_y").is_empty());
    }

    #[test]
    fn the_document_is_up_to_date() {
        let root = crate::root();
        let written = fs::read_to_string(document(&root)).unwrap_or_default();
        let expected = render(&claims(&root).unwrap());
        assert!(written == expected, "docs/conformance.md is out of date: run `cargo xtask conformance`");
    }
}
