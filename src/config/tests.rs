#![expect(clippy::disallowed_methods, reason = "the tests write the files that are read")]

mod documented;
mod mistakes;

use super::*;
use crate::policy::IncomingTreatment;
use crate::reason::Reason;

/// A configuration without errors. Lines 1 to 17; what a test adds begins at line 18.
const GOOD: &str = "[gateway]
hostname = \"gerbang.kabupaten.go.id\"
data_dir = \"data\"
[[listener]]
name = \"dalam\"
bind = \"127.0.0.1:10025\"
side = \"inside\"
clients = [\"127.0.0.1/32\"]
[fetch]
enabled = false
[outbound]
route = \"smtp://127.0.0.1:2526\"
[[domain]]
name = \"kabupaten.go.id\"
deliver_to = \"smtp://127.0.0.1:2525\"

# end
";

fn errors(text: &str) -> Vec<ConfigError> {
    from_text(Path::new("/nowhere/segel.toml"), text).err().unwrap_or_default()
}

fn good(text: &str) -> Config {
    from_text(Path::new("/nowhere/segel.toml"), text).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Exactly one error: its line, its key, and words of its problem and hint.
fn check(text: &str, line: usize, key: &str, words: &[&str]) {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "for {key}: {errors:#?}");
    let error = &errors[0];
    assert_eq!((error.line, error.key.as_str()), (line, key), "{error}");
    let whole = error.to_string();
    for word in words {
        assert!(whole.contains(word), "`{word}` is not in: {whole}");
    }
    assert!(!error.hint.is_empty(), "{whole}");
}

fn added(more: &str) -> String {
    format!("{GOOD}{more}")
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = good(GOOD);
    assert_eq!(config.hostname, "gerbang.kabupaten.go.id");
    assert_eq!(config.data_dir, Path::new("/nowhere/data"));
    assert_eq!(config.database, Path::new("/nowhere/data/segel.db"));
    assert_eq!(config.accept_deadline, Duration::from_secs(120));
    assert_eq!(config.queue_expire, Duration::from_secs(5 * 86_400));
    assert_eq!(config.status_grace, Duration::from_secs(86_400));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.notify.postmaster.as_str(), "postmaster@kabupaten.go.id");
    assert_eq!(config.console.to_string(), "127.0.0.1:8025");
    let domain = &config.policy.domains[0];
    assert_eq!(domain.sign, crate::policy::Sign::Required);
    assert_eq!(domain.encrypt, crate::policy::Encrypt::WhenPossible);
    assert_eq!(domain.unvouched, crate::policy::Unvouched::Refuse);
    let own = Domain::parse("KABUPATEN.go.id").unwrap();
    assert_eq!(config.next_hop(&own).to_string(), "may smtp://127.0.0.1:2525");
    assert_eq!(config.next_hop(&Domain::parse("example.org").unwrap()).to_string(), "may smtp://127.0.0.1:2526");
}

#[test]
fn the_documented_file_has_no_errors() {
    let text = include_str!("../../config/segel.toml");
    let config = good(text);
    assert_eq!(
        config.policy.hash,
        good(&GOOD.replace(
            "\n[fetch]",
            "\n[[listener]]\nname = \"luar\"\nbind = \"0.0.0.0:25\"\nside = \"outside\"\n[fetch]"
        ))
        .policy
        .hash
    );
}

/// Each line that shows a default in a comment is accepted when it is written out.
#[test]
fn every_documented_default_may_be_written_out() {
    let mut text = String::new();
    for line in include_str!("../../config/segel.toml").lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|octet| octet.is_ascii_lowercase() || b"_-".contains(&octet)));
        let is_table = bare.starts_with('[') && bare.ends_with(']');
        text.push_str(if is_key || is_table { bare } else { line });
        text.push('\n');
    }
    let keys: Vec<(String, usize)> = errors(&text).into_iter().map(|error| (error.key, error.line)).collect();
    // The example's files do not exist; its fingerprint and its hashed password are words. Without a certificate there is
    // no TLS on a listener.
    let files = [
        "listener.tls",
        "login.password",
        "tls.certificate",
        "tls.key",
        "listener.client_ca",
        "listener.client_crls",
        "tls.also.certificate",
        "tls.also.key",
        "domain.dkim.key",
        "server.ca",
        "server.fingerprint",
        "server.certificate",
        "server.key",
        "server.password_file",
        "trust.crls",
        "trust.anchor.file",
        "policy.file",
    ];
    for (key, line) in &keys {
        assert!(files.contains(&key.as_str()), "line {line}: {key}");
    }
    assert!(keys.iter().any(|(key, _)| key == "policy.file") && keys.iter().any(|(key, _)| key == "trust.anchor.file"));
}

#[test]
fn wrong_values_name_line_key_and_what_to_write() {
    let table: &[(&str, &str, usize, &str, &[&str])] = &[
        (
            "hostname = \"gerbang.kabupaten.go.id\"",
            "hostname = \"a b\"",
            2,
            "gateway.hostname",
            &["expected a host name", "found `a b`"],
        ),
        ("hostname = \"gerbang.kabupaten.go.id\"", "", 1, "gateway.hostname", &["found nothing"]),
        ("hostname = ", "hostnam = ", 2, "gateway.hostnam", &["did you mean `hostname`?"]),
        ("\"127.0.0.1:10025\"", "\"10025\"", 6, "listener.bind", &["expected an address and a port"]),
        ("\"127.0.0.1:10025\"", "10025", 6, "listener.bind", &["expected a string", "found integer `10025`"]),
        ("\"inside\"", "\"insde\"", 7, "listener.side", &["`inside`, `outside`", "did you mean \"inside\"?"]),
        ("[\"127.0.0.1/32\"]", "[\"10.0.0.5/24\"]", 8, "listener.clients", &["host bits", "\"10.0.0.0/24\""]),
        ("[\"127.0.0.1/32\"]", "\"127.0.0.1/32\"", 8, "listener.clients", &["expected a list", "found string"]),
        (
            "[\"127.0.0.1/32\"]",
            "[\n\"127.0.0.1/32\",\n\"x\"]",
            10,
            "listener.clients",
            &["expected a network, found `x`"],
        ),
        ("enabled = false", "enabled = \"no\"", 10, "fetch.enabled", &["expected true or false"]),
        ("smtp://127.0.0.1:2525", "127.0.0.1:2525", 15, "domain.deliver_to", &["expected smtp://host:port"]),
        ("name = \"kabupaten.go.id\"", "name = \"kabupaten..id\"", 14, "domain.name", &["expected a mail domain"]),
        ("[outbound]", "[outbond]", 11, "outbond", &["did you mean `outbound`?"]),
    ];
    for (from, to, line, key, words) in table {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{from}");
        if matches!(*key, "outbond" | "gateway.hostnam") {
            // What was misspelt is missing as well.
            let errors = errors(&text);
            let error = errors.iter().find(|error| error.key == *key).unwrap_or_else(|| panic!("{key}: {errors:#?}"));
            assert_eq!(error.line, *line, "{error}");
            for word in *words {
                assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
            }
        } else {
            check(&text, *line, key, words);
        }
    }
}

#[test]
fn syntax_errors_have_their_line() {
    let text = GOOD.replace("side = \"inside\"", "side = inside");
    let errors = errors(&text);
    assert_eq!((errors[0].line, errors[0].key.as_str()), (7, "TOML"), "{errors:#?}");
}

#[test]
fn all_errors_are_found_in_one_run_in_the_order_of_lines() {
    let text = GOOD.replace("hostname", "hostnam").replace("\"inside\"", "7").replace("\"127.0.0.1:10025\"", "\"x\"");
    let text = format!("{text}[limits]\nmessage = \"25MB\"\nsize = 1\n[queue]\nexpire = \"5\"\n");
    let found: Vec<(usize, String)> = errors(&text).into_iter().map(|error| (error.line, error.key)).collect();
    let expected = [
        (1, "gateway.hostname"),
        (2, "gateway.hostnam"),
        (6, "listener.bind"),
        (7, "listener.side"),
        (19, "limits.message"),
        (20, "limits.size"),
        (22, "queue.expire"),
    ];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())));
}

/// S62: an inside listener that anyone may use would sign for anyone.
#[test]
fn an_inside_listener_for_anyone_is_an_error() {
    let line = "clients = [\"127.0.0.1/32\"]\n";
    check(&GOOD.replace(line, ""), 4, "listener.clients", &["inside listener", "found nothing"]);
    check(&GOOD.replace(line, "clients = []\n"), 8, "listener.clients", &["found an empty list"]);
    for everybody in
        ["\"0.0.0.0/0\"", "\"::/0\"", "\"0.0.0.0/1\", \"128.0.0.0/1\"", "\"10.0.0.0/8\", \"::/0\"", "\"::ffff:0:0/96\""]
    {
        check(
            &GOOD.replace(line, &format!("clients = [{everybody}]\n")),
            8,
            "listener.clients",
            &["found every address"],
        );
    }
    good(&GOOD.replace(line, "").replace("\"inside\"", "\"outside\""));
}

#[test]
fn values_without_machinery_are_errors_and_written_defaults_are_not() {
    let table = [
        ("[store]\nurl = \"postgres://u:secret@h/d\"\n", 19, "store.url"),
        ("[incoming]\nlist_posts = \"deliver\"\n", 19, "incoming.list_posts"),
        ("[incoming]\nlists = [\"l@kabupaten.go.id\"]\n", 19, "incoming.lists"),
        ("[console]\nbind = \"0.0.0.0:8025\"\n", 19, "console.bind"),
        ("[[authorise]]\nheader = \"X-A\"\nfrom = [\"a@kabupaten.go.id\"]\n", 19, "authorise.header"),
    ];
    for (more, line, key) in table {
        check(&added(more), line, key, &["this version can not do"]);
        assert!(!errors(&added(more))[0].to_string().contains("secret"));
    }
    good(&added("[tls]\nkey = \"\"\n[queue]\nwarn = \"240m\"\n[quarantine]\nkeep = \"30d\"\n[incoming]\nlists = []\n"));
}

/// What faces the Internet: wrong values are errors that name line, key and what to write.
#[test]
fn values_of_the_network_are_checked() {
    let table: [(&str, usize, &str, &str); 17] = [
        ("[tls]\ncertificate = \"none.pem\"\n", 19, "tls.key", "expected a file, found nothing"),
        ("[tls]\nca = \"none.pem\"\n", 19, "tls.ca", "expected a readable file"),
        ("[dns]\nservers = [\"resolver.example\"]\n", 19, "dns.servers", "expected an IP address"),
        ("[trust]\ncrls = [\"ldap://ca.example/x\"]\n", 19, "trust.crls", "expected a file or an http URL"),
        ("[notify]\nsecurity = [\"csirt\"]\n", 19, "notify.security", "expected a mail address"),
        ("[incoming]\nhold_for = \"soon\"\n", 19, "incoming.hold_for", "expected a duration"),
        ("[incoming]\nauthenticate = \"yes\"\n", 19, "incoming.authenticate", "`remote`, `always`, `never`"),
        ("[queue]\nwarn = \"0s\"\n", 19, "queue.warn", "expected a duration"),
        ("[fetch]\nproxy = \"socks://h:1\"\n", 19, "fetch.proxy", "expected http://host:port"),
        (
            "[[authorise]]\nlogin = \"a\"\nenvelope = \"b@c.example\"\nfrom = [\"a@kabupaten.go.id\"]\n",
            18,
            "authorise.envelope",
            "one of them",
        ),
        (
            "[[authorise]]\nenvelope = \"b@c.example\"\nfrom = [\"@kabupaten.go.id\"]\n",
            20,
            "authorise.from",
            "expected a mail address",
        ),
        ("[[login]]\nname = \"a\"\npassword = \"geheim\"\n", 20, "login.password", "expected `$argon2id$"),
        ("[[route]]\ndomain = \"mitra.example\"\nto = \"mitra:25\"\n", 20, "route.to", "expected smtp://host:port"),
        ("[[server]]\nhost = \"a.example\"\nfingerprint = \"ab:cd\"\n", 20, "server.fingerprint", "SHA-256"),
        ("[[server]]\nhost = \"a.example\"\nlogin = \"x\"\n", 18, "server.login", "login and password_file together"),
        ("[limits]\nfree_space = \"much\"\n", 19, "limits.free_space", "expected a size"),
        ("[limits.client]\nexempt = [\"x\"]\n", 19, "limits.client.exempt", "expected a network"),
    ];
    for (more, line, key, word) in table {
        let text = match more.starts_with("[fetch]") {
            true => GOOD.replace("enabled = false", "enabled = true\nproxy = \"socks://h:1\""),
            false => added(more),
        };
        let line = if more.starts_with("[fetch]") { 11 } else { line };
        check(&text, line, key, &[word]);
        assert!(!errors(&text)[0].to_string().contains("geheim"));
    }
    let listener =
        |more: &str| GOOD.replace("clients = [\"127.0.0.1/32\"]", &format!("clients = [\"127.0.0.1/32\"]\n{more}"));
    check(&listener("tls = \"starttls\""), 9, "listener.tls", &["there is no certificate"]);
    check(&listener("require_tls = true"), 9, "listener.require_tls", &["expected TLS"]);
    check(&listener("auth = [\"cram-md5\"]\n"), 9, "listener.auth", &["inside listener with TLS only"]);
}

#[test]
fn mail_leaves_by_mx_or_by_named_servers() {
    let to = |domain: &str, text: &str| good(text).next_hop(&Domain::parse(domain).unwrap()).to_string();
    let mx = GOOD.replace("route = \"smtp://127.0.0.1:2526\"", "");
    assert_eq!(to("mitra.example", &mx), "may mx:mitra.example");
    assert_eq!(to("bücher.example", &mx), "may mx:xn--bcher-kva.example");
    assert_eq!(to("mitra.example", &GOOD.replace("smtp://127.0.0.1:2526", "mx")), "may mx:mitra.example");
    assert_eq!(to("mitra.example", GOOD), "may smtp://127.0.0.1:2526");
    assert_eq!(to("KABUPATEN.go.id", GOOD), "may smtp://127.0.0.1:2525");
    let far = GOOD.replace("\"smtp://127.0.0.1:2525\"", "[\"smtps://10.0.0.5:465\", \"smtp://10.0.0.6:25\"]");
    assert_eq!(to("kabupaten.go.id", &far), "verify smtps://10.0.0.5:465,smtp://10.0.0.6:25");
    let route = "[[route]]\ndomain = \".mitra.example\"\nto = \"smtp://10.0.0.9:25\"\ntls = \"encrypt\"\n";
    for (domain, hop) in [
        ("mitra.example", "encrypt smtp://10.0.0.9:25"),
        ("a.mitra.example", "encrypt smtp://10.0.0.9:25"),
        ("amitra.example", "may smtp://127.0.0.1:2526"),
    ] {
        assert_eq!(to(domain, &added(route)), hop);
    }
}

#[test]
fn what_would_loop_or_collide_is_an_error() {
    let other = |bind: &str, name: &str| {
        added(&format!("[[listener]]\nname = \"{name}\"\nbind = \"{bind}\"\nside = \"outside\"\n"))
    };
    check(&other("127.0.0.1:10025", "luar"), 20, "listener.bind", &["where listener `dalam` listens"]);
    check(&other("0.0.0.0:10025", "luar"), 20, "listener.bind", &["where listener `dalam` listens"]);
    check(&other("127.0.0.1:10026", "dalam"), 18, "listener.name", &["found `dalam` twice"]);
    check(&GOOD.replace("127.0.0.1:2525", "127.0.0.1:10025"), 15, "domain.deliver_to", &["mail would loop"]);
    check(&GOOD.replace("127.0.0.1:2526", "localhost:10025"), 12, "outbound.route", &["mail would loop"]);
    check(&added("[console]\nbind = \"127.0.0.1:10025\"\n"), 19, "console.bind", &["where listener `dalam` listens"]);
    let twice = "[[domain]]\nname = \"Kabupaten.GO.ID\"\ndeliver_to = \"smtp://127.0.0.1:2525\"\n";
    check(&added(twice), 19, "domain.name", &["expected each domain once"]);
    good(&other("127.0.0.1:10026", "luar"));
}

#[test]
fn nothing_to_listen_on_or_to_protect_is_an_error() {
    let keys: Vec<String> = errors("").into_iter().map(|error| error.key).collect();
    assert_eq!(keys, ["gateway.hostname", "listener", "domain"]);
}

#[test]
fn treatments_are_read_by_reason_code() {
    let config = good(&added("[incoming]\nuntrusted = \"reject\"\nown-domain = \"deliver\"\ndefer_for = \"0s\"\n"));
    let incoming = &config.policy.incoming;
    assert_eq!(incoming.treatments, [(Reason::Untrusted, IncomingTreatment::Reject)]);
    assert_eq!((incoming.own_domain, incoming.defer_for), (IncomingTreatment::Deliver, Duration::ZERO));
    check(&added("[incoming]\nuntrustd = \"reject\"\n"), 19, "incoming.untrustd", &["did you mean `untrusted`?"]);
    check(
        &added("[incoming]\nrevoked = \"delete\"\n"),
        19,
        "incoming.revoked",
        &["`deliver`, `quarantine`, `reject`", "found `delete`"],
    );
    check(&added("[incoming]\nrevoked = true\n"), 19, "incoming.revoked", &["expected a string, found boolean"]);
}

#[test]
fn the_policy_hash_tells_policies_apart_and_nothing_else() {
    let hash = |text: &str| good(text).policy.hash;
    let plain = hash(GOOD);
    assert_eq!(plain.len(), 64);
    for same in [
        "[incoming]\nrevoked = \"quarantine\"\n",
        "[limits]\nmessage = \"1MiB\"\n",
        "# comment\n",
        "[incoming]\ndefer_for = \"60m\"\n",
    ] {
        assert_eq!(hash(&added(same)), plain, "{same}");
    }
    for other in [
        "[incoming]\nrevoked = \"deliver\"\n",
        "[incoming]\nown-domain = \"deliver\"\n",
        "[signing]\nstatus_grace = \"1h\"\n",
    ] {
        assert_ne!(hash(&added(other)), plain, "{other}");
    }
    assert_eq!(hash(&GOOD.replace("\n\n# end", "\nsign = \"required\"\n")), plain);
    assert_ne!(hash(&GOOD.replace("\n\n# end", "\nsign = \"never\"\n")), plain);
}

#[test]
fn vouching_is_for_own_domains_only() {
    let entry = |from: &str| added(&format!("[[authorise]]\nenvelope = \"s@kabupaten.go.id\"\nfrom = [{from}]\n"));
    let config = good(&entry("\"bupati@kabupaten.go.id\""));
    assert!(
        matches!(&config.policy.authorise[0].by, crate::policy::Voucher::Envelope(by) if by.as_str() == "s@kabupaten.go.id")
    );
    check(&entry("\"a@example.org\""), 20, "authorise.from", &["own domain"]);
    check(&entry("\"bupati\""), 20, "authorise.from", &["expected a mail address"]);
    check(&entry(""), 18, "authorise.from", &["at least one address"]);
}

#[test]
fn trust_files_are_read_when_the_configuration_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let path = folder.path().join("segel.toml");
    let table = [
        ("[[trust.anchor]]\nfile = \"absent.pem\"\n", 19, "trust.anchor.file", "expected a readable file"),
        ("[[trust.anchor]]\nfile = \"broken.pem\"\n", 19, "trust.anchor.file", "expected certificates"),
        ("[[trust.anchor]]\nrevocation = \"none\"\n", 18, "trust.anchor.file", "found nothing"),
        ("[trust]\ncrls = [\"broken.pem\"]\n", 19, "trust.crls", "expected a CRL"),
    ];
    for (more, line, key, words) in table {
        let errors = from_text(&path, &added(more)).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!((errors[0].line, errors[0].key.as_str()), (line, key), "{}", errors[0]);
        assert!(errors[0].problem.contains(words), "{}", errors[0]);
    }
}

#[test]
fn rules_of_the_policy_file_are_read_and_what_they_can_not_do_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (path, policy) = (folder.path().join("segel.toml"), folder.path().join("policy.toml"));
    let rules = |text: &str| {
        std::fs::write(&policy, text).unwrap();
        from_text(&path, GOOD)
    };
    let good = rules(
        "[[rule]]\nname = \"rahasia\"\nmatch = { side = \"inside\", subject = \"[rahasia]\" }\nthen = { encrypt = \"required\" }\n\
         [[rule]]\nname = \"mitra\"\nmatch = { to = [\"@mitra.example\", \"a@b.example\"], header = { name = \"X-E\", value = \"1\" } }\n\
         then = { encrypt = \"never\" }\n",
    );
    let rules_read = good.unwrap_or_else(|errors| panic!("{errors:#?}")).policy.rules;
    assert_eq!(rules_read.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["rahasia", "mitra"]);
    assert_eq!((rules_read[0].subject.as_deref(), rules_read[1].to.len()), (Some("[rahasia]"), 2));
    let then = "then = { encrypt = \"required\" }\n";
    let a = "[[rule]]\nname = \"a\"\n";
    let test = |given: &str, expect: &str| format!("{a}{then}[[test]]\ngiven = {{{given}}}\nexpect = {{{expect}}}\n");
    let mail = "from = \"s@kabupaten.go.id\", to = \"r@mitra.example\"";
    for (text, line, key) in [
        (format!("\n[[rule]]\n{then}"), 2, "rule.name"),
        (format!("[[rule]]\nname = \"emergency-bypass\"\n{then}"), 2, "rule.name"),
        (a.to_owned(), 1, "rule.then"),
        (format!("{a}then = {{}}\n"), 1, "rule.then"),
        (format!("{a}then = {{ encrypt = \"maybe\" }}\n"), 3, "rule.then.encrypt"),
        (format!("{a}then = {{ sign = \"opaque\" }}\n"), 3, "rule.then.sign"),
        (format!("{a}then = {{ sign = \"never\", form = \"opaque\" }}\n"), 3, "rule.then.form"),
        (format!("{a}match = {{ to = \"nobody\" }}\n{then}"), 3, "rule.match.to"),
        (format!("{a}match = {{ to = 7 }}\n{then}"), 3, "rule.match.to"),
        (format!("{a}match = {{ topic = \"x\" }}\n{then}"), 3, "rule.match.topic"),
        (
            format!("{a}match = {{ header = {{ name = \"From\", value = \"x\" }} }}\n{then}"),
            3,
            "rule.match.header.name",
        ),
        // One rule, one side.
        (format!("{a}match = {{ side = \"outside\" }}\n{then}"), 4, "rule.then.encrypt"),
        (format!("{a}match = {{ side = \"outside\" }}\nthen = {{ sign = \"never\" }}\n"), 4, "rule.then.sign"),
        (format!("{a}match = {{ side = \"inside\" }}\nthen = {{ action = \"reject\" }}\n"), 4, "rule.then.action"),
        (format!("{a}match = {{ side = \"inside\", reasons = [\"revoked\"] }}\n{then}"), 3, "rule.match.reasons"),
        (format!("{a}match = {{ reasons = [\"revoked\"] }}\n{then}"), 3, "rule.match.reasons"),
        (
            format!("{a}match = {{ side = \"outside\", subject = \"[x]\" }}\nthen = {{ action = \"reject\" }}\n"),
            3,
            "rule.match.subject",
        ),
        (format!("{a}then = {{ encrypt = \"never\",\naction = \"reject\" }}\n"), 4, "rule.then.action"),
        // Reasons that are none, and those that no rule lets through.
        (
            format!("{a}match = {{ reasons = [\"revokt\"] }}\nthen = {{ action = \"reject\" }}\n"),
            3,
            "rule.match.reasons",
        ),
        (format!("{a}match = {{ reasons = [] }}\nthen = {{ action = \"reject\" }}\n"), 3, "rule.match.reasons"),
        (
            format!("{a}match = {{ reasons = [\"malformed\"] }}\nthen = {{ action = \"deliver\" }}\n"),
            3,
            "rule.match.reasons",
        ),
        // Tests.
        ("[[test]]\ngiven = 1\n".to_owned(), 2, "test.given"),
        (format!("[[test]]\ngiven = {{{mail}}}\n"), 1, "test.expect"),
        (
            "[[test]]\ngiven = { from = \"s@kabupaten.go.id\" }\nexpect = { action = \"deliver\" }\n".to_owned(),
            2,
            "test.given.to",
        ),
        (test(mail, "rule = \"b\""), 6, "test.expect.rule"),
        (test(mail, "action = \"hold\""), 6, "test.expect.action"),
        (test(mail, "encrypt = \"never\""), 6, "test.expect.encrypt"),
        (test(mail, "action = \"deliver\""), 6, "test.expect.action"),
        (test(&format!("{mail}, side = \"outside\""), "sign = \"never\""), 6, "test.expect.sign"),
        (
            test(&format!("{mail}, certificate = \"usable\""), "rule = \"a\",\nencrypted = false"),
            7,
            "test.expect.encrypted",
        ),
    ] {
        let errors = rules(&text).unwrap_err();
        let first = (errors[0].file.as_path(), errors[0].line, errors[0].key.as_str());
        assert_eq!(first, (policy.as_path(), line, key), "{text}: {errors:#?}");
    }
}

#[test]
fn tests_of_the_policy_file_pass_or_say_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let (path, policy) = (folder.path().join("segel.toml"), folder.path().join("policy.toml"));
    let rules = |text: &str| {
        std::fs::write(&policy, text).unwrap();
        from_text(&path, GOOD)
    };
    let then = "then = { encrypt = \"required\" }\n";
    let a = "[[rule]]\nname = \"a\"\n";
    let test = |given: &str, expect: &str| format!("{a}{then}[[test]]\ngiven = {{{given}}}\nexpect = {{{expect}}}\n");
    let mail = "from = \"s@kabupaten.go.id\", to = \"r@mitra.example\"";
    let passed =
        test(&format!("{mail}, certificate = \"usable\""), "rule = \"a\", action = \"deliver\", encrypted = true");
    assert_eq!(rules(&passed).unwrap_or_else(|errors| panic!("{errors:#?}")).policy_tests, 1);
    let failed = rules(&test(mail, "action = \"deliver\"")).unwrap_err();
    assert!(failed[0].problem.contains("expected `deliver`, came `reject`"), "{}", failed[0]);
    assert!(
        failed[0].hint.contains("rule `a`") && failed[0].hint.contains("encrypt-required-refused"),
        "{}",
        failed[0]
    );
    let shadowed =
        rules(&format!("{a}{then}\n[[rule]]\nname = \"b\"\nmatch = {{ to = \"@x.example\" }}\n{then}")).unwrap();
    let warning = shadowed.warnings.iter().find(|text| text.contains("rule `b` never decides")).expect("a warning");
    assert!(warning.contains("policy.toml:5: ") && warning.contains("rule `a` (line 1)"), "{warning}");
}

/// The blocks of TOML in a document.
fn blocks(document: &str) -> impl Iterator<Item = &str> {
    document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

#[test]
fn the_documented_rules_do_what_the_documents_say() {
    let folder = tempfile::tempdir().unwrap();
    let (path, policy) = (folder.path().join("segel.toml"), folder.path().join("policy.toml"));
    let run = |text: &str| {
        std::fs::write(&policy, text).unwrap();
        from_text(&path, GOOD).unwrap_or_else(|errors| panic!("{text}: {errors:#?}"))
    };
    let mut tests = 0;
    for block in blocks(include_str!("../../docs/policy.md")).chain(blocks(include_str!("../../docs/encryption.md"))) {
        let config = run(block);
        assert!(!config.warnings.iter().any(|warning| warning.contains("policy.toml")), "{:?}", config.warnings);
        tests += config.policy_tests;
    }
    assert!(tests >= 10, "{tests} tests in the documents");
    // The example file says nothing until its lines are uncommented, and then no two of them are at odds.
    let example = include_str!("../../config/policy.toml");
    assert!(run(example).policy.rules.is_empty());
    let is_code = |bare: &str| {
        let key = |(key, _): (&str, &str)| key.bytes().all(|octet| octet.is_ascii_lowercase());
        bare.starts_with("[[") || bare.split_once(" = ").is_some_and(key)
    };
    let bare = |line: &str| line.strip_prefix("# ").filter(|bare| is_code(bare)).unwrap_or(line).to_owned();
    let config = run(&example.lines().map(bare).collect::<Vec<_>>().join("\n"));
    assert_eq!((config.policy.rules.len(), config.policy_tests), (4, 1));
}

#[test]
fn the_policy_hash_covers_every_key_of_a_rule() {
    let folder = tempfile::tempdir().unwrap();
    let (path, policy) = (folder.path().join("segel.toml"), folder.path().join("policy.toml"));
    let mut seen = std::collections::BTreeSet::new();
    for (conditions, then) in [
        ("", "encrypt = \"never\""),
        ("", "encrypt = \"required\""),
        ("", "sign = \"never\""),
        ("", "form = \"opaque\""),
        ("to = \"@a.example\"", "sign = \"never\""),
        ("from = \"@a.example\"", "sign = \"never\""),
        ("subject = \"[a]\"", "sign = \"never\""),
        ("header = { name = \"X-A\", value = \"1\" }", "sign = \"never\""),
        ("", "action = \"quarantine\""),
        ("", "action = \"reject\""),
        ("reasons = [\"revoked\"]", "action = \"reject\""),
        ("reasons = [\"expired\"]", "action = \"reject\""),
    ] {
        std::fs::write(&policy, format!("[[rule]]\nname = \"a\"\nmatch = {{{conditions}}}\nthen = {{{then}}}\n"))
            .unwrap();
        let config = from_text(&path, GOOD).unwrap_or_else(|errors| panic!("{errors:#?}"));
        assert!(seen.insert(config.policy.hash), "{conditions} {then}");
    }
}

#[test]
fn a_policy_file_that_is_named_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.toml");
    assert!(from_text(&path, GOOD).is_ok());
    for name in ["policy.toml", "./policy.toml", "other.toml"] {
        let errors = from_text(&path, &format!("{GOOD}\n[policy]\nfile = \"{name}\"\n")).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(), ["policy.file"], "{name}");
    }
    std::fs::write(folder.path().join("policy.toml"), "").unwrap();
    assert!(from_text(&path, &format!("{GOOD}\n[policy]\nfile = \"policy.toml\"\n")).is_ok());
}
