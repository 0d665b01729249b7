//! Holds the architecture: imports go one way, pure modules stay pure, files stay readable.
//!
//! The sources are read as text, comments and literals blanked out, tests left out. Modules stand in `src/lib.rs` in
//! reading order; a module may use those above it. Inside a room the same holds for its rows, listed in [`ROOMS`].

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "architecture/source.rs"]
mod source;

use source::{Source, blank, paths, without_tests};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Values in, values out: no waiting, no files, no sockets, no clock.
const PURE: [&str; 11] =
    ["limits", "reason", "mail", "smtp", "asn1", "crypto", "pki", "cms", "smime", "policy", "plan"];

/// The modules of a room from left to right; one that is not listed may use all of its room.
const ROOMS: [(&str, &[&str]); 10] = [
    ("mail", &["address", "envelope", "header", "mime", "canonical"]),
    ("smtp", &["command", "status", "reply", "data", "server", "client"]),
    // A path is judged with the purposes and the revocation of its certificates, so it comes last.
    ("pki", &["name", "certificate", "purpose", "crl", "ocsp", "revocation", "path"]),
    ("cms", &["recipient_info", "enveloped_data", "auth_enveloped", "signed_data", "compressed"]),
    (
        "smime",
        &["verdict", "capabilities", "header_protection", "verify", "open", "inspect", "sign", "encrypt", "report"],
    ),
    ("policy", &["facts", "rule", "decide"]),
    ("plan", &["mark", "notice"]),
    ("queue", &["record", "retry", "settle", "claim", "dsn"]),
    ("outbound", &["route", "connect", "deliver", "worker"]),
    ("inbound", &["session", "listener"]),
];

/// Lines of code in a file before its tests.
const LONGEST_FILE: usize = 600;

/// What a pure module must not name, as words of code, and what to do instead.
const IMPURE: [(&str, &str); 12] = [
    ("async", "waiting belongs to the shell"),
    ("await", "waiting belongs to the shell"),
    ("tokio", "waiting belongs to the shell"),
    ("sqlx", "the store belongs to the shell"),
    ("std::fs", "files belong to the shell"),
    ("std::process", "processes belong to the shell"),
    ("std::thread", "threads belong to the shell"),
    ("std::env", "the environment belongs to the shell"),
    ("std::net", "sockets belong to the shell; addresses are values of core::net"),
    ("SystemTime", "time is an argument"),
    ("Instant", "time is an argument"),
    ("Timestamp::now", "time is an argument"),
];

/// Addresses are values, under whichever name they come.
const ADDRESS_VALUES: [&str; 6] = [
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::net::SocketAddrV4",
    "std::net::SocketAddrV6",
];

#[test]
fn imports_go_one_way() {
    let tree = Tree::read();
    assert_empty(tree.sources.iter().flat_map(|source| backward_edges(&tree.order, &tree.exports, source)));
}

#[test]
fn pure_modules_stay_pure() {
    let tree = Tree::read();
    for module in PURE {
        assert!(tree.order.iter().any(|known| known == module), "src/lib.rs does not declare `{module}`");
    }
    assert_empty(tree.sources.iter().flat_map(impurities));
}

#[test]
fn files_stay_readable() {
    let tree = Tree::read();
    assert_empty(tree.sources.iter().filter_map(|source| {
        let lines = source.code.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines before its tests", source.file))
    }));
}

#[test]
fn modules_have_no_mod_rs_and_begin_with_their_purpose() {
    let tree = Tree::read();
    assert_empty(tree.sources.iter().filter_map(|source| {
        if source.file.ends_with("mod.rs") {
            Some(format!("{}: `foo.rs` beside `foo/`, not `mod.rs`", source.file))
        } else if !source.text.starts_with("//!") && !source.tests {
            Some(format!("{}: begins without `//!`", source.file))
        } else {
            None
        }
    }));
}

#[test]
fn no_test_is_switched_off() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "xtask/src"] {
        collect(&root.join(folder), &mut files);
    }
    let attribute = ["#[", "ignore"].concat();
    assert_empty(files.iter().filter_map(|path| {
        let code = blank(&fs::read_to_string(path).unwrap());
        code.contains(&attribute).then(|| format!("{}: a test is switched off", path.display()))
    }));
}

#[test]
fn every_pure_rule_and_room_names_modules_that_may_exist() {
    for (room, rows) in ROOMS {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), rows.len(), "`{room}` lists a module twice");
    }
}

/// The product's sources and what its `lib.rs` says about them.
struct Tree {
    order: Vec<String>,
    exports: BTreeMap<(String, String), String>,
    sources: Vec<Source>,
}

impl Tree {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        files.sort();
        let mut sources: Vec<Source> = files
            .iter()
            .map(|path| {
                let file = path.strip_prefix(&root).unwrap().display().to_string();
                Source::new(&file, &fs::read_to_string(path).unwrap())
            })
            .collect();
        let tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            source.tests |= tests.contains(&source.file);
        }
        let lib = sources.iter().find(|source| source.file == "lib.rs").unwrap();
        let order = source::declared_modules(&lib.code);
        let exports = sources.iter().flat_map(source::exports).collect();
        Self { order, exports, sources }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn assert_empty(findings: impl Iterator<Item = String>) {
    let findings: Vec<String> = findings.collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Uses of a module that stands below the using one, in the crate or in its room.
fn backward_edges(order: &[String], exports: &BTreeMap<(String, String), String>, source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    if source.tests {
        return Vec::new();
    }
    let rank = |module: &str| order.iter().position(|known| known == module);
    let mut found = Vec::new();
    for path in paths(source) {
        let Some(target) = path.first() else { continue };
        if target != room {
            if let (Some(from), Some(to)) = (rank(room), rank(target))
                && to > from
            {
                found.push(format!("{}: `{room}` uses `{target}`, which stands below it", source.file));
            }
            continue;
        }
        let (Some(row), Some(name)) = (source.row(), path.get(1)) else { continue };
        let exported = exports.get(&(room.to_owned(), name.clone()));
        let name = exported.unwrap_or(name);
        let rows = ROOMS.iter().find(|listed| listed.0 == room).map_or(&[][..], |listed| listed.1);
        let rank = |row: &str| rows.iter().position(|known| *known == row);
        if let (Some(from), Some(to)) = (rank(row), rank(name))
            && to > from
        {
            found.push(format!("{}: `{room}::{row}` uses `{room}::{name}`, which stands to its right", source.file));
        }
    }
    found.dedup();
    found
}

/// What a pure module names although it is pure.
fn impurities(source: &Source) -> Vec<String> {
    if source.tests || !source.room().is_some_and(|room| PURE.contains(&room)) {
        return Vec::new();
    }
    let mut code = source.code.clone();
    // `use std::net::{IpAddr, …}` in one line's braces is spelled out first.
    code = source::spell_out(&code);
    for value in ADDRESS_VALUES {
        code = source::remove_path(&code, value);
    }
    let mut found: Vec<String> = IMPURE
        .iter()
        .filter(|(word, _)| source::names(&code, word))
        .map(|(word, instead)| format!("{}: names `{word}`: {instead}", source.file))
        .collect();
    if paths(source).iter().any(|path| path.first().is_some_and(|first| first == "clock")) {
        found.push(format!("{}: uses the clock: time is an argument", source.file));
    }
    found
}

/// The checks are checked: made-up sources with one fault each.
mod itself {
    use super::*;

    fn order() -> Vec<String> {
        ["limits", "mail", "pki", "smime", "clock", "store", "server"].map(str::to_owned).to_vec()
    }

    fn edges(file: &str, text: &str) -> usize {
        let exports = BTreeMap::from([(("pki".to_owned(), "Crl".to_owned()), "crl".to_owned())]);
        backward_edges(&order(), &exports, &Source::new(file, text)).len()
    }

    #[test]
    fn backward_edges_are_reported() {
        let cases: [(&str, &str, usize); 15] = [
            ("mail.rs", "use crate::limits::Limits;", 0),
            ("mail.rs", "use crate::store::Store;", 1),
            ("mail/header.rs", "fn f() { crate::smime::verify(); }", 1),
            ("mail.rs", "use crate::{limits::Limits, store};", 1),
            ("mail.rs", "use crate::{\n    limits,\n    pki::{self, Name},\n};", 1),
            ("mail.rs", "pub(crate) fn f() {} // crate::store::open", 0),
            ("mail.rs", "/* use crate::store; */ const A: &str = \"crate::store\";", 0),
            ("mail.rs", "const A: &str = r#\"a \" crate::store::b\"#; const B: char = '\"';", 0),
            ("mail.rs", "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}", 0),
            ("mail/tests.rs", "use crate::store::Store;", 0),
            ("pki/path.rs", "use super::name::Name;", 0),
            ("pki/name.rs", "use super::crl::Crl;", 1),
            ("pki/name.rs", "use crate::pki::Crl;", 1),
            ("pki/name/build.rs", "use crate::pki::{Name, Crl};", 1),
            ("server.rs", "use crate::{clock, mail::Address}; use crate::store::Store;", 0),
        ];
        for (file, text, expected) in cases {
            assert_eq!(edges(file, text), expected, "{file}: {text}");
        }
    }

    #[test]
    fn impurities_are_reported() {
        let cases: [(&str, &str, usize); 13] = [
            ("mail.rs", "fn f(now: jiff::Timestamp) {}", 0),
            ("mail.rs", "async fn f() {}", 1),
            ("mail.rs", "// async\nfn f() { let text = \"tokio\"; }", 0),
            ("mail.rs", "use tokio::sync::Mutex;", 1),
            ("mail.rs", "use std::fs;", 1),
            ("mail.rs", "use std::{fmt, fs};", 1),
            ("mail.rs", "use std::net::{IpAddr, SocketAddr};", 0),
            ("mail.rs", "use std::net::{IpAddr, TcpStream};", 1),
            ("mail.rs", "fn f() { Timestamp::now(); }", 1),
            ("mail.rs", "fn f() { crate::clock::now(); }", 1),
            ("mail.rs", "fn asynchronous() {} fn instant() {}", 0),
            ("store.rs", "async fn f() { std::fs::read(x); }", 0),
            ("smtp/tests.rs", "use std::fs;", 0),
        ];
        for (file, text, expected) in cases {
            assert_eq!(impurities(&Source::new(file, text)).len(), expected, "{file}: {text}");
        }
    }

    #[test]
    fn tests_are_left_out_and_lines_kept() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\n";
        assert_eq!(
            Source::new("a/b.rs", "#[cfg(test)]\npub(crate) mod testing;\nmod c;").test_modules(),
            ["a/b/testing.rs"]
        );
        assert!(Source::new("a/b.rs", "#[cfg(test)]\nmod tests { mod d; }").test_modules().is_empty());
        assert_eq!(without_tests(text), "fn a() {}\n\n");
        assert_eq!(blank("a /* b\n c */ \"d\" 'e' 'f // g"), "a \n \"\" '' 'f ");
    }
}

/// RUSTSEC-2023-0071: what is done with a private key by that crate can be timed.
#[test]
fn i61_no_private_key_is_used_by_the_crate_that_can_be_timed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.lines().any(|line| line.starts_with("aws-lc-rs = ")));
    assert!(!manifest.lines().any(|line| line.trim_start().starts_with("rsa =")), "a dependency of ours");
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let own = lock.split("\n\n").find(|package| package.contains("name = \"segel\"")).unwrap();
    assert!(!own.contains("\"rsa\"") && own.contains("\"aws-lc-rs\""), "{own}");
}
