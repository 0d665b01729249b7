//! Usual mistakes of an administrator, and what he hears.

use super::*;

/// What a new administrator writes first, and what he has to hear.
#[test]
fn usual_mistakes_are_understood() {
    let table: [(&str, usize, &str, &[&str]); 12] = [
        ("[limits]\nmessage = \"25 MB\"\n", 19, "limits.message", &["did you mean \"25MiB\"?"]),
        ("[limits]\nmessage = \"25M\"\n", 19, "limits.message", &["did you mean \"25MiB\"?"]),
        ("[limits]\nfree_space = \"1 gb\"\n", 19, "limits.free_space", &["did you mean \"1GiB\"?"]),
        ("[queue]\nexpire = 5\n", 19, "queue.expire", &["found integer `5`", "with its unit", "\"120s\""]),
        ("[route]\ndomain = \"a.example\"\n", 18, "route", &["found a table", "[[route]]"]),
        ("[[limits]]\nmessage = \"25MiB\"\n", 18, "limits", &["expected a table, found a list", "[limits]"]),
        ("[console]\nsign = \"never\"\n", 19, "console.sign", &["`sign` is a key of [[domain]]"]),
        ("[[anchor]]\nfile = \"root.pem\"\n", 18, "anchor", &["[[trust.anchor]]"]),
        ("[[rule]]\nname = \"x\"\n", 18, "rule", &["policy.file"]),
        ("[log]\nlevel = \"warning\"\n", 19, "log.level", &["did you mean \"warn\"?"]),
        ("[dns]\nservers = \"127.0.0.1\"\n", 19, "dns.servers", &["write it in brackets", "[\"127.0.0.1\"]"]),
        ("[encryption]\nallow_downgrade = [\"*@a.example\"]\n", 19, "encryption.allow_downgrade", &["\"@a.example\""]),
    ];
    for (more, line, key, words) in table {
        check(&added(more), line, key, words);
    }
    check(&added("[fetch]\nproxy = \"\"\n"), 18, "TOML", &["found it a second time"]);
    check(&GOOD.replace("\"dalam\"", "\u{201c}dalam\u{201d}"), 5, "TOML", &["straight double quotes"]);
}

#[test]
fn what_can_never_be_used_is_warned_of() {
    let route = |domain: &str| format!("[[route]]\ndomain = \"{domain}\"\nto = \"smtp://10.0.0.9:25\"\n");
    let warned = |more: &str| good(&added(more)).warnings.join("\n");
    for (more, word) in [
        (route("kabupaten.go.id"), "`kabupaten.go.id` is never used: it is an own domain"),
        (route("a.example") + &route("A.example"), "`A.example` is never used"),
        (route(".example") + &route("a.example"), "`a.example` is never used"),
        ("[queue]\nexpire = \"1h\"\n".to_owned(), "nobody hears of a delay"),
    ] {
        assert!(warned(&more).contains(word), "{more}: {}", warned(&more));
    }
    assert!(!warned(&(route("a.example") + &route(".example"))).contains("never used"));
}

#[test]
fn a_file_that_is_no_text_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.toml");
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(GOOD.bytes().flat_map(|octet| [octet, 0])).collect();
    for (content, line, word) in [(b"# a\n# caf\xe9\n".to_vec(), 2, "octets that are none"), (utf16, 1, "UTF-16")] {
        std::fs::write(&path, content).unwrap();
        let error = &load(&path).unwrap_err()[0];
        assert!(error.line == line && error.problem.contains(word) && error.hint.contains("UTF-8"), "{error}");
    }
}

#[test]
fn a_pattern_with_an_asterisk_would_never_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.toml");
    std::fs::write(&path, added("[policy]\nfile = \"policy.toml\"\n")).unwrap();
    for (to, word) in [
        ("*@mitra.example", "\"@mitra.example\""),
        ("*.mitra.example", "\"@mitra.example\""),
        ("mitra.example", "\"@mitra.example\""),
        ("*", "rina@mitra.example"),
        ("Rina <rina@mitra.example>", "rina@mitra.example"),
    ] {
        let rule =
            format!("[[rule]]\nname = \"x\"\nmatch = {{ to = \"{to}\" }}\nthen = {{ encrypt = \"required\" }}\n");
        std::fs::write(folder.path().join("policy.toml"), rule).unwrap();
        let errors = load(&path).unwrap_err();
        assert!(errors.len() == 1 && errors[0].line == 3 && errors[0].hint.contains(word), "{to}: {errors:#?}");
    }
}

#[test]
fn the_place_of_a_server_is_found_in_a_file_that_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.toml");
    for broken in ["x = nonsense\n", "[log]\nlevel = 7\n", "[log]\n[log]\n"] {
        std::fs::write(&path, format!("{GOOD}{broken}")).unwrap();
        assert!(load(&path).is_err());
        assert_eq!(control_socket(&path), Some(folder.path().join("data/control.sock")), "{broken}");
    }
    assert_eq!(control_socket(&folder.path().join("absent.toml")), None);
}

/// A test of the policy file sees what is refused before there is a mail.
#[test]
fn a_policys_test_is_refused_where_the_mail_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.toml");
    let authorised =
        "[[authorise]]\nlogin = \"x\"\nfrom = [\"siti@kabupaten.go.id\"]\n[policy]\nfile = \"policy.toml\"\n";
    std::fs::write(&path, added(authorised).replace("[[domain]]\n", "[[domain]]\nunvouched = \"pass-unsigned\"\n"))
        .unwrap();
    for (given, action) in [
        ("from = \"x@mitra.example\", side = \"outside\", to = \"siti@kabupaten.go.id\"", "deliver"),
        ("from = \"x@mitra.example\", side = \"outside\", to = \"rina@mitra.example\"", "reject"),
        ("from = \"siti@kabupaten.go.id\", login = \"x\", to = \"rina@mitra.example\"", "deliver"),
        (
            "from = \"siti@kabupaten.go.id\", login = \"x\", reverse_path = \"budi@kabupaten.go.id\", to = \"rina@mitra.example\"",
            "reject",
        ),
    ] {
        let test = |action: &str| format!("[[test]]\ngiven = {{ {given} }}\nexpect = {{ action = \"{action}\" }}\n");
        std::fs::write(folder.path().join("policy.toml"), test(action)).unwrap();
        assert!(load(&path).is_ok(), "{given}: {:#?}", load(&path).err());
        std::fs::write(folder.path().join("policy.toml"), test("quarantine")).unwrap();
        assert!(load(&path).is_err(), "{given}");
    }
}
