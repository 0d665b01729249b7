//! `segel check` and the command line's own errors, by running the program.

use crate::support::{CONFIGURATION, bare, json, segel};

/// Runs on `configuration`; gives the exit code, standard output and standard error.
fn run(configuration: &str, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("segel.toml"), configuration).unwrap();
    segel(&folder, arguments)
}

#[test]
fn a_good_configuration_is_summed_up() {
    let (code, out, err) = run(CONFIGURATION, &["check"]);
    assert_eq!(code, 0, "{err}");
    for word in ["no errors", "kabupaten.go.id", "dalam (inside) on 127.0.0.1:10025", "smtp://127.0.0.1:2526"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    assert!(err.contains("warning: the master key lies beside"), "{err}");
}

#[test]
fn errors_name_file_line_key_and_a_hint_and_end_with_2() {
    let text = CONFIGURATION
        .replace("clients = [\"127.0.0.1/32\"]", "clients = [\"0.0.0.0/0\"]")
        .replace("hostname", "hostnme");
    let (code, out, err) = run(&text, &["check"]);
    assert_eq!((code, out.as_str()), (2, ""));
    for line in [
        "segel.toml:2: `gateway.hostnme`",
        "hint: did you mean `hostname`?",
        "segel.toml:8: `listener.clients`",
        "3 error(s)",
    ] {
        assert!(err.contains(line), "{line}: {err}");
    }
    let (code, out, _) = run(&text, &["check", "--json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(json).collect();
    assert_eq!((code, lines.len()), (2, 3));
    assert_eq!((lines[2]["line"].as_u64(), lines[2]["key"].as_str()), (Some(8), Some("listener.clients")));
}

#[test]
fn the_policys_tests_are_run_and_one_that_fails_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("segel.toml"), CONFIGURATION).unwrap();
    let policy = "[[rule]]\nname = \"rahasia\"\nmatch = { subject = \"[rahasia]\" }\nthen = { encrypt = \"required\" }\n\n\
                  [[test]]\nname = \"gaji\"\ngiven = { from = \"siti@kabupaten.go.id\", to = \"r@mitra.example\", subject = \"[rahasia]\" }\n\
                  expect = { rule = \"rahasia\", action = \"reject\" }\n";
    let check = |text: &str, more: &[&str]| {
        std::fs::write(folder.path().join("policy.toml"), text).unwrap();
        segel(&folder, &[&["check"], more].concat())
    };
    let (code, out, err) = check(policy, &[]);
    assert!(code == 0 && out.contains("1 rule(s), 1 test(s) passed"), "{out}{err}");
    let (code, _, err) = check(&policy.replace("action = \"reject\"", "action = \"deliver\""), &[]);
    assert_eq!(code, 2);
    for part in [
        "policy.toml:9: `test.expect.action`: gaji: expected `deliver`, came `reject`",
        "hint: this mail gets rule `rahasia`",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    let (code, out, _) = check(policy, &["--json"]);
    let line = json(out.lines().last().unwrap());
    assert_eq!((code, line["rules"].as_u64(), line["tests"].as_u64()), (0, Some(1), Some(1)));
}

#[test]
fn a_configuration_that_is_not_there_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["check"][..], &["key", "list"], &["serve"], &["reload"]] {
        let mut arguments = vec!["-c", "absent.toml"];
        arguments.extend(command);
        let (code, _, err) = bare(&folder, &arguments);
        assert_eq!(code, 2, "{command:?}");
        assert!(err.contains("$SEGEL_CONFIG"), "{command:?}");
    }
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let table: [(&[&str], i32); 9] = [
        (&[], 2),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["frobnicate"], 2),
        (&["inspect"], 2),
        (&["inspect", "--at", "yesterday", "a.eml"], 2),
        (&["inspect", "--password-file", "a.txt", "a.eml"], 2),
        (&["pki", "verify", "a.pem"], 2),
        (&["key", "import", "a.p12"], 2),
    ];
    for (arguments, code) in table {
        assert_eq!(bare(&folder, arguments).0, code, "{arguments:?}");
    }
}

#[test]
fn what_needs_a_server_or_a_store_says_so() {
    let (code, _, err) = run(CONFIGURATION, &["reload"]);
    assert_eq!(code, 3);
    assert!(err.contains("no server answers") && err.contains("hint: "), "{err}");
    for arguments in [&["audit", "verify"][..], &["queue", "list"], &["quarantine", "list"], &["key", "list"]] {
        let (code, _, err) = run(CONFIGURATION, arguments);
        assert_eq!(code, 3, "{arguments:?}");
        assert!(err.contains("no store") && err.contains("hint: "), "{err}");
    }
    let (code, out, err) = run(CONFIGURATION, &["trust", "list"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("no trust anchors"), "{out}");
}
