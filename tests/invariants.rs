//! What must hold for whatever is read, without a fuzzer: the checks of the fuzz targets over the seeds, over some hundred
//! pseudo-random changes of each, always the same ones, and over the cases that were found.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::let_underscore_must_use,
    unreachable_pub,
    reason = "a test says so by failing"
)]
#![allow(clippy::disallowed_methods, reason = "tests read files")]

#[path = "../fuzz/src/lib.rs"]
mod checks;

#[path = "invariants/cases.rs"]
mod cases;

use checks::Choices;
use checks::inspect::Material;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder that `fuzz/seed.sh` fills, with the smallest set.
fn seeds() -> &'static Path {
    static SEEDS: OnceLock<PathBuf> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seed.sh");
        let output =
            Command::new("sh").arg(script).arg(&folder).arg("small").env_remove("SEGEL_CORPORA").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    })
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = seeds().join("corpus").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let found: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!found.is_empty(), "no seeds of {target}");
    found
}

/// What is put in: words that decide on something in one of the formats.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n.\r\n",
    b"\n.\r\n",
    b".",
    b"--",
    b"\r\n--b1\r\n",
    b"\"",
    b"\\",
    b";",
    b"@",
    b"<>",
    b"=?utf-8?q?=40?=",
    b"\r\nFrom: budi@example.id",
    b"\r\nContent-Type: multipart/mixed; boundary=b1",
    b"\r\nSTARTTLS\r\n",
    b"\r\nRSET\r\n",
    b"\x30\x80",
    b"\x24\x80",
    b"\0\0",
    b"\x84\0\0\0\x01",
    "é＠\u{202e}".as_bytes(),
];

/// A changed copy: some octets, a word, or a piece of another seed.
fn changed(seed: &[u8], other: &[u8], choices: &mut Choices) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + choices.below(4) {
        let at = choices.below(bytes.len() + 1);
        let end = (at + choices.below(40)).min(bytes.len());
        match choices.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << choices.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(choices.below(256)).unwrap(),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, WORDS[choices.below(WORDS.len())].iter().copied())),
            4 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            _ => {
                let from = choices.below(other.len() + 1);
                let piece = &other[from..(from + choices.below(200)).min(other.len())];
                drop(bytes.splice(at..end, piece.iter().copied()));
            }
        }
    }
    bytes
}

/// Every seed as it is, and `times` changes of it.
fn holds(target: &str, times: usize, check: impl Fn(&[u8])) {
    let seeds = corpus(target);
    let (_, mut choices) = Choices::split(b"segel...");
    for seed in &seeds {
        check(seed);
        for _ in 0..times {
            check(&changed(seed, &seeds[choices.below(seeds.len())], &mut choices));
        }
    }
}

#[test]
fn ber_becomes_der_that_says_the_same() {
    holds("ber", 300, checks::ber::check);
}

#[test]
fn certificates_keep_their_octets() {
    holds("certificate", 100, checks::certificate::check);
}

#[test]
fn cms_lies_in_its_input() {
    holds("cms", 200, checks::cms::check);
}

#[test]
fn a_configuration_or_errors_that_say_where() {
    holds("config", 20, checks::config::check);
}

#[test]
fn crls_keep_their_octets() {
    holds("crl", 200, checks::crl::check);
}

#[test]
fn headers_are_read_by_everybody_the_same_way() {
    holds("headers", 50, checks::headers::check);
}

#[test]
fn parts_stand_between_delimiters() {
    holds("mime", 100, checks::mime::check);
}

#[test]
fn keys_belong_to_their_certificates() {
    holds("pkcs12", 10, checks::pkcs12::check);
}

#[test]
fn unambiguous_mail_has_the_same_parts_for_another_reader() {
    holds("readers", 50, checks::readers::check);
}

#[test]
fn what_is_signed_is_what_is_read() {
    holds("signing", 50, checks::signing::check);
}

#[test]
fn a_dialogue_does_not_depend_on_how_octets_are_cut() {
    holds("smtp_commands", 200, checks::smtp_commands::check);
}

#[test]
fn one_mail_sent_is_one_mail_received() {
    holds("smtp_data", 200, checks::smtp_data::check);
}

#[test]
fn nothing_is_valid_that_was_not_signed() {
    let material = Material::read(&seeds().join("pki"));
    let verdicts = std::cell::RefCell::new(std::collections::BTreeMap::new());
    holds("inspect", 10, |data| {
        let verdict = checks::inspect::check_with(&material, data);
        *verdicts.borrow_mut().entry(verdict.name()).or_insert(0) += 1;
    });
    // Nothing is shown where nothing is valid.
    let verdicts = verdicts.into_inner();
    assert!(["valid", "invalid", "indeterminate", "none"].iter().all(|name| verdicts[name] > 10), "{verdicts:?}");
}

/// The same without anybody to trust.
#[test]
fn nothing_is_valid_without_an_anchor() {
    for seed in corpus("inspect") {
        checks::inspect::check(&seed);
    }
}

/// A check that no target calls is tried by nobody.
#[test]
fn every_check_has_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let modules = std::fs::read_to_string(fuzz.join("src/lib.rs")).unwrap();
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let names: Vec<&str> =
        modules.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let target = std::fs::read_to_string(fuzz.join(format!("targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("segel_fuzz::{name}::check(data)")), "{name}");
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
    }
}
