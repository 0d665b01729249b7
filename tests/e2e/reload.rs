//! Reload: all or nothing, and while mail comes in nothing is lost.

use crate::support::client::send;
use crate::support::pki::{ASING, BUDI, RINA, SITI, openssl};
use crate::support::tls::{Certificates, GATE, handshake};
use crate::support::{Client, Gateway, Pki, Setup, Sink, fields, letter};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A rule that says nothing new, so that the policy has a file.
const POLICY: &str =
    "[[rule]]\nname = \"nobody\"\nmatch = { to = [\"nobody@mitra.example\"] }\nthen = { encrypt = \"never\" }\n";

fn gateway(inside: &Sink, outside: &Sink) -> Gateway {
    let mut setup = Setup::new(inside.address, outside.address).more(&Certificates::shared().configuration());
    setup.policy = POLICY.to_owned();
    setup.start()
}

#[test]
fn s40_under_load_no_mail_is_lost_and_each_is_treated_by_one_policy() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = gateway(&inside, &outside);
    let (stop, count, address) = (AtomicBool::new(false), AtomicUsize::new(0), gateway.inside);
    let certificates = Certificates::shared();
    let gate = |name: &str| ["pem", "key"].map(|part| certificates.path(&format!("{name}.{part}")));
    let sent: Vec<String> = thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let (stop, count) = (&stop, &count);
                scope.spawn(move || {
                    let mut sent = Vec::new();
                    let mut client = Client::hello(address);
                    while !stop.load(Ordering::Acquire) {
                        let id = format!("load-{sender}-{}", sent.len());
                        // Some sessions outlive a reload, some begin after it.
                        if sent.len() % 5 == 4 {
                            client = Client::hello(address);
                        }
                        let reply = client.transaction(SITI, &[RINA], &letter(SITI, RINA, &id, "x"));
                        assert!(reply.starts_with("250"), "{id}: {reply}");
                        sent.push(id);
                        count.fetch_add(1, Ordering::AcqRel);
                    }
                    sent
                })
            })
            .collect();
        let mut names = ("gate", "new");
        for round in 0..6 {
            let (from, to) = if round % 2 == 0 {
                ("sign = \"required\"", "sign = \"never\"")
            } else {
                ("sign = \"never\"", "sign = \"required\"")
            };
            if round == 0 {
                gateway.edit(
                    "[[domain]]\nname = \"kabupaten.go.id\"\n",
                    "[[domain]]\nname = \"kabupaten.go.id\"\nsign = \"required\"\n",
                );
            }
            gateway.edit(from, to);
            for (old, new) in gate(names.0).iter().zip(gate(names.1)) {
                gateway.edit(old, &new);
            }
            let answer = gateway.segel(&["reload"]);
            assert_eq!(answer.code, 0, "{answer:?}");
            let (_, text) = handshake(gateway.outside, &["-servername", GATE]);
            assert!(text.contains(&format!("subject=CN = {}", names.1)), "{text}");
            names = (names.1, names.0);
            // Each policy gets some mail.
            let enough = count.load(Ordering::Acquire) + 10;
            while count.load(Ordering::Acquire) < enough && senders.iter().all(|sender| !sender.is_finished()) {
                thread::park_timeout(std::time::Duration::from_millis(10));
            }
        }
        stop.store(true, Ordering::Release);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    assert!(sent.len() > 20, "too little load: {}", sent.len());
    let mails = outside.wait(sent.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    let (mut signed, mut unsigned) = (0, 0);
    for mail in &mails {
        let text = String::from_utf8_lossy(&mail.content).into_owned();
        let id = text.split("Message-ID: <").nth(1).and_then(|rest| rest.split('@').next()).unwrap().to_owned();
        *seen.entry(id).or_default() += 1;
        if text.contains("multipart/signed") { signed += 1 } else { unsigned += 1 }
    }
    for id in &sent {
        assert_eq!(seen.get(id), Some(&1), "{id}");
    }
    assert!(signed > 0 && unsigned > 0, "{signed} signed, {unsigned} not");
}

#[test]
fn a_file_that_is_broken_changes_nothing_and_is_named_with_its_line() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut gateway = gateway(&inside, &outside);
    let signs = |id: &str| {
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, "x")).starts_with("250"));
        Pki::shared().verify(&outside.find(id).content, &[]) == Ok(SITI.to_owned())
    };
    assert!(signs("before"));
    // One good change and one bad one: neither holds.
    gateway
        .edit("[[domain]]\nname = \"kabupaten.go.id\"\n", "[[domain]]\nname = \"kabupaten.go.id\"\nsign = \"never\"\n");
    let policy = gateway.home.configuration().with_file_name("policy.toml");
    std::fs::write(&policy, POLICY.replace("encrypt = \"never\"", "encrypt = \"perhaps\"")).unwrap();
    let answer = gateway.segel(&["reload"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.errors.contains("policy.toml:4"), "{answer:?}");
    let console = gateway.console();
    let failed = |count: usize| {
        let page = crate::support::client::get(console, "/metrics").1;
        page.contains("segel_last_reload_good 0")
            && page.contains(&format!("segel_reloads_total{{result=\"failed\"}} {count}"))
    };
    // The command looks at the file itself; the server has heard of it all the same.
    assert!(failed(1) && gateway.wait_log("not reloaded: ").contains("policy.toml:4"));
    assert!(signs("still"));
    gateway.server().signal("HUP");
    while !failed(2) {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    // So it has of a file that is no TOML at all.
    let configuration = gateway.home.configuration();
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, format!("{text}\nthis is = no toml\n")).unwrap();
    assert_eq!(gateway.segel(&["reload"]).code, 2);
    assert!(failed(3));
    std::fs::write(&configuration, text).unwrap();
    // Mended: both hold.
    std::fs::write(&policy, POLICY).unwrap();
    assert_eq!(gateway.segel(&["reload"]).code, 0);
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x")).starts_with("250"));
    assert!(Pki::shared().verify(&outside.find("after").content, &[]).is_err());
}

#[test]
fn an_anchor_that_is_imported_or_removed_beside_reloads_is_so_afterwards() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = gateway(&inside, &outside);
    let root = Pki::shared().path("stranger-root.pem");
    let printed = openssl(&["x509", "-in", &root, "-noout", "-fingerprint", "-sha256"]).stdout;
    let fingerprint = String::from_utf8(printed).unwrap().trim().rsplit('=').next().unwrap().replace(':', "");
    let import = ["trust", "import", "--fingerprint", &fingerprint, "--revocation", "none", &root];
    let remove = ["trust", "remove", &fingerprint];
    for number in 0..6 {
        for (arguments, expected) in [(&import[..], "valid"), (&remove, "indeterminate; reasons=untrusted")] {
            let home = &gateway.home;
            thread::scope(|scope| {
                let reloads: Vec<_> = (0..3).map(|_| scope.spawn(|| home.segel(&["reload"]))).collect();
                thread::park_timeout(std::time::Duration::from_millis(5 * number));
                let changed = home.segel(arguments);
                assert_eq!(changed.code, 0, "{changed:?}");
                for reload in reloads {
                    let answer = reload.join().unwrap();
                    assert_eq!(answer.code, 0, "{answer:?}");
                }
            });
            let id = format!("{}-{number}", arguments[1]);
            let mail = Pki::shared().sign(&letter(ASING, SITI, &id, "x"), ASING);
            assert!(send(gateway.outside, ASING, &[SITI], &mail).starts_with("250"));
            let verdict = &fields(&inside.find(&id).content, "segel-verdict")[0];
            assert!(verdict.starts_with(expected), "{id}: {verdict}");
        }
    }
}

#[test]
fn what_needs_a_restart_is_said() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    for (from, to, key) in [
        ("name = \"luar\"", "name = \"pintu\"", "listener"),
        ("data_dir = \"data\"", "data_dir = \"elsewhere\"", "gateway.data_dir"),
        ("[console]\nbind = \"127.0.0.1:0\"", "[console]\nbind = \"127.0.0.1:8026\"", "console.bind"),
        ("[notify]", "[limits]\nmemory = \"1GiB\"\n[notify]", "limits.memory"),
    ] {
        gateway.edit(from, to);
        let answer = gateway.segel(&["reload"]);
        if key == "gateway.data_dir" {
            // The control socket is looked for in the new place.
            assert_eq!(answer.code, 3, "{answer:?}");
            assert!(answer.errors.contains("no server answers"), "{answer:?}");
        } else {
            assert_eq!(answer.code, 2, "{answer:?}");
            let words = ["nothing was reloaded", &format!("`{key}` was changed"), "restart"];
            assert!(words.iter().all(|word| answer.errors.contains(word)), "{answer:?}");
        }
        gateway.edit(to, from);
    }
    let answer = gateway.segel(&["reload"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(send(gateway.inside, BUDI, &[RINA], &letter(BUDI, RINA, "goes-on", "x")).starts_with("250"));
}
