//! `/metrics`: what is on the page, judged by Prometheus's own tool, and what alerts and dashboard make of it.

use crate::support::client::{get, send};
use crate::support::pki::{BUDI, JOKO, RINA, SITI};
use crate::support::process::run;
use crate::support::tls::Certificates;
use crate::support::{Gateway, Pki, Setup, Sink, letter};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The tool, if it was unpacked.
fn promtool() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("peers/usr/bin/promtool");
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "promtool is not installed");
        println!("skipped: promtool is not installed");
        return None;
    }
    Some(path)
}

/// A gateway through which some mail of each kind has gone.
struct Busy {
    gateway: Gateway,
    _inside: Sink,
    _outside: Sink,
}

fn busy() -> Busy {
    let (inside, outside) = (Sink::start(), Sink::start());
    let more = format!("{}[limits.client]\nmails = 4\n", Certificates::shared().configuration());
    let gateway = Setup::new(inside.address, outside.address).more(&more).start();
    gateway.know(&[]);
    let import = gateway.segel(&["revocation", "import", &Pki::shared().path("crl.der")]);
    assert_eq!(import.code, 0, "{import:?}");
    for number in 0..3 {
        let id = format!("out-{number}");
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, &id, "x")).starts_with("250"));
        outside.find(&id);
    }
    assert!(send(gateway.inside, BUDI, &[RINA], &letter(SITI, RINA, "refused", "x")).starts_with("550"));
    let signed = Pki::shared().sign(&letter(RINA, SITI, "in", "x"), RINA);
    assert!(send(gateway.outside, RINA, &[SITI], &signed).starts_with("250"));
    inside.find("in");
    let revoked = Pki::shared().sign(&letter(JOKO, SITI, "held", "x"), JOKO);
    assert!(send(gateway.outside, JOKO, &[SITI], &revoked).starts_with("250"));
    // Too many in a minute.
    let replies: Vec<String> =
        (0..4).map(|_| send(gateway.outside, RINA, &[SITI], &letter(RINA, SITI, "many", "x"))).collect();
    assert!(replies.iter().any(|reply| reply.starts_with("450")), "{replies:?}");
    Busy { gateway, _inside: inside, _outside: outside }
}

fn page(gateway: &Gateway) -> String {
    let (code, text) = get(gateway.console(), "/metrics");
    assert_eq!(code, 200, "{text}");
    text
}

/// Names as expressions use them: of samples.
fn samples(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// Names as the page declares them.
fn families(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Every name of ours, or of the process, in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("segel_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The value of a sample, with its labels as the page writes them.
fn value(page: &str, sample: &str) -> f64 {
    let find = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    find.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Each expression of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("config/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_alerts_dashboard_and_book_name_is_on_the_page() {
    need!("openssl", "aiosmtpd");
    let busy = busy();
    let page = page(&busy.gateway);
    let there = samples(&page);
    let alerts: BTreeSet<String> = read("config/alerts.yml")
        .lines()
        .filter(|line| line.trim_start().starts_with("expr:"))
        .flat_map(names)
        .collect();
    let dashboard: BTreeSet<String> = expressions().iter().flat_map(|one| names(one)).collect();
    assert!(alerts.len() > 15 && dashboard.len() > 30, "{alerts:?} {dashboard:?}");
    for (whose, named) in [("config/alerts.yml", &alerts), ("config/grafana.json", &dashboard)] {
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{whose} names what is not on the page: {missing:?}\n{page}");
    }
    // The book's table names each, and nothing else.
    let book = read("docs/operations.md");
    let table: BTreeSet<String> = book
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .filter(|name| name.starts_with("segel_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(table, families(&page));
    // The dashboard shows each.
    let shown = |family: &&String| dashboard.iter().any(|name| name.starts_with(family.as_str()));
    let families = families(&page);
    let unseen: Vec<_> = families.iter().filter(|family| !shown(family)).collect();
    let process = ["process_start_time_seconds", "process_virtual_memory_bytes"];
    let of_use = ["segel_disk_size_bytes", "segel_last_good_reload_timestamp_seconds"];
    assert!(
        unseen.iter().all(|name| process.contains(&name.as_str()) || of_use.contains(&name.as_str())),
        "{unseen:?}"
    );
}

#[test]
fn promtool_finds_nothing_wrong() {
    need!("openssl", "aiosmtpd");
    let Some(promtool) = promtool() else { return };
    let busy = busy();
    let page = page(&busy.gateway);
    let answer = run(Command::new(&promtool).args(["check", "metrics"]), page.as_bytes());
    let said = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert!(answer.status.success() && said(&answer).trim().is_empty(), "{}\n{page}", said(&answer));
    // The dashboard's expressions, as rules.
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("dashboard.yml");
    let mut text = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in expressions().iter().enumerate() {
        let expression = serde_json::to_string(&expression.replace("$instance", ".*")).unwrap();
        text.push_str(&format!("      - record: panel:{number}\n        expr: {expression}\n"));
    }
    std::fs::write(&rules, text).unwrap();
    for file in [Path::new(env!("CARGO_MANIFEST_DIR")).join("config/alerts.yml"), rules] {
        let answer = run(Command::new(&promtool).args(["check", "rules"]).arg(&file), b"");
        assert!(answer.status.success() && said(&answer).contains("SUCCESS"), "{}", said(&answer));
    }
    // The judge can say no.
    let answer = run(Command::new(&promtool).args(["check", "metrics"]), b"# TYPE a counter\na 1\n");
    assert!(!answer.status.success());
}

/// One that compares series with different labels, or names one that is never there, would be silent for ever.
#[test]
fn each_alert_fires_where_it_should() {
    let Some(promtool) = promtool() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (rules, cases) = (read("config/alerts.yml"), read("tests/e2e/support/alerts_test.yml"));
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(cases.contains(&format!("{{alertname=\"{name}\",")), "{name} is not tried");
    }
    let file = folder.path().join("cases.yml");
    std::fs::write(folder.path().join("alerts.yml"), rules).unwrap();
    std::fs::write(&file, cases).unwrap();
    let answer = run(Command::new(&promtool).args(["test", "rules"]).arg(&file), b"");
    assert!(answer.status.success(), "{answer:?}");
}

#[test]
fn each_alert_says_what_to_do() {
    let text = read("config/alerts.yml");
    let alerts = text.split("      - alert: ").skip(1);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let of = |key: &str| {
            let line = alert.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{key}: \"")));
            line.unwrap_or_else(|| panic!("{name} has no {key}")).len()
        };
        assert!(of("summary") > 20 && of("description") > 60, "{name}");
        assert!(alert.contains("severity: page") || alert.contains("severity: ticket"), "{name}");
    }
}

#[test]
fn what_happens_is_counted_and_nobody_is_named() {
    need!("openssl", "aiosmtpd");
    let busy = busy();
    let mut text = String::new();
    // A delivery is counted beside its settlement, the end of a session after the client's.
    for _ in 0..1200 {
        text = page(&busy.gateway);
        let hop =
            format!("segel_deliveries_total{{next_hop=\"smtp://{}\",result=\"delivered\"}}", busy._outside.address);
        if text.contains(&hop)
            && value(&text, &hop) >= 3.0
            && text.contains("segel_connections{listener=\"dalam\"} 0\n")
        {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    for (sample, least) in [
        ("segel_mail_total{outcome=\"accepted\",side=\"inside\"}", 3.0),
        ("segel_mail_total{outcome=\"refused\",side=\"inside\"}", 1.0),
        ("segel_mail_total{outcome=\"accepted\",side=\"outside\"}", 2.0),
        ("segel_copies_total{side=\"inside\",treatment=\"signed\"}", 3.0),
        ("segel_verdicts_total{side=\"outside\",verdict=\"valid\"}", 1.0),
        ("segel_reasons_total{reason=\"revoked\",side=\"outside\"}", 1.0),
        ("segel_recipients_total{side=\"outside\",treatment=\"quarantine\"}", 1.0),
        ("segel_queue_recipients{class=\"quarantine\",state=\"held\"}", 1.0),
        ("segel_signed_bodies_total{result=\"unchanged\"}", 1.0),
        ("segel_limited_total{limit=\"pace\",listener=\"luar\"}", 1.0),
        ("segel_connections_total{listener=\"dalam\"}", 4.0),
        ("segel_accept_seconds_count{side=\"inside\"}", 4.0),
        ("segel_stage_seconds_count{stage=\"commit\"}", 5.0),
        ("segel_store_commit_seconds_count", 5.0),
        ("segel_own_keys{kind=\"individual\"}", 2.0),
        ("segel_store_answers", 1.0),
    ] {
        assert!(value(&text, sample) >= least, "{sample} is less than {least}\n{text}");
    }
    for (sample, exactly) in [
        ("segel_signed_bodies_total{result=\"changed\"}", 0.0),
        ("segel_bypass_active", 0.0),
        ("segel_draining", 0.0),
        ("segel_connections{listener=\"dalam\"}", 0.0),
    ] {
        assert!((value(&text, sample) - exactly).abs() < f64::EPSILON, "{sample}\n{text}");
    }
    let expires = value(&text, "segel_own_certificate_next_expiry_timestamp_seconds");
    let began = value(&text, "process_start_time_seconds");
    let days = (expires - began) / 86_400.0;
    assert!((150.0..250.0).contains(&days), "a certificate of 200 days has {days}");
    assert!(!text.contains('@') && !text.contains("mitra.example"), "{text}");
}
