//! The systemd unit: what it forbids, and that the gateway works all the same.

use crate::support::client::{get, send};
use crate::support::pki::{DEWI, LILIS, RATNA, RINA, SITI};
use crate::support::process::run;
use crate::support::sink::PYTHON;
use crate::support::tls::{Certificates, Secure};
use crate::support::{Pki, Setup, Sink, fields, letter};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

fn unit() -> String {
    file("packaging/segel.service")
}

/// A command line that runs a program under the unit's restrictions, as a user without rights.
fn confined(writable: &str) -> Vec<String> {
    let words = [PYTHON, &file("tests/e2e/support/confined.py"), &unit(), "nobody", writable];
    words.map(str::to_owned).to_vec()
}

/// Whether the restrictions can be applied here; says why not.
fn can_confine() -> bool {
    let probe = "test \"$(id -u)\" = 0 && unshare --mount mount -t proc -o subset=pid proc /proc && \
                 command -v setpriv systemd-analyze && ldconfig -p | grep -q libseccomp.so.2";
    let can = run(Command::new("sh").args(["-c", probe]), b"").status.success();
    if !can {
        println!("skipped: needs root, mount namespaces, setpriv, systemd-analyze and libseccomp");
    }
    can
}

fn confined_shell(writable: &Path, script: &str) -> Output {
    let line = confined(&writable.display().to_string());
    run(Command::new(&line[0]).args(&line[1..]).args(["sh", "-c", script]), b"")
}

#[test]
fn the_unit_scores_two_or_better() {
    need!("systemd-analyze");
    let mut command = Command::new("systemd-analyze");
    let output = run(command.args(["security", "--no-pager", "--offline=true", "--threshold=20", &unit()]), b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("Overall exposure level"), "{text}");
    println!("{}", text.lines().last().unwrap_or_default());
}

/// What is forbidden in the next test really is: each line alone must fail, and does not without the restrictions.
#[test]
fn the_restrictions_restrict() {
    if !can_confine() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().display().to_string();
    let may =
        confined_shell(folder.path(), &format!("touch {own}/x && grep -E '^(CapEff|Seccomp|NoNew)' /proc/self/status"));
    let text = String::from_utf8_lossy(&may.stdout).into_owned();
    assert!(may.status.success(), "{may:?}");
    for line in ["CapEff:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let socket = "perl -MSocket -e 'socket(my $s, 16, 3, 0) or exit 1'";
    let writable_code =
        format!("{PYTHON} -c 'import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ|mmap.PROT_WRITE|mmap.PROT_EXEC)'");
    for line in [
        "unshare --net true",
        "touch /usr/x; ok=$?; rm -f /usr/x; exit $ok",
        socket,
        &writable_code,
        "chown 0 /dev/null",
        "cat /proc/stat",
    ] {
        assert!(run(Command::new("sh").args(["-c", line]), b"").status.success(), "{line} fails without restrictions");
        assert!(!confined_shell(folder.path(), line).status.success(), "{line}");
    }
}

#[test]
fn the_gateway_works_under_the_unit_s_restrictions() {
    need!("openssl", "aiosmtpd");
    if !can_confine() {
        return;
    }
    let pki = Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let certificates = Certificates::shared();
    for name in ["gate.key", "other.key"] {
        // The service's user reads them, as `segel` does in /etc/segel.
        std::fs::set_permissions(certificates.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut setup = Setup::new(inside.address, outside.address).more(&certificates.configuration());
    setup.under = confined("-");
    let mut gateway = setup.start();
    gateway.know(&[RATNA, LILIS]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.server().id())).unwrap();
    for line in ["CapEff:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t65534"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // Signed, over TLS.
    let mut secure = Secure::starttls(gateway.inside, &[]);
    secure.script(&[(&format!("MAIL FROM:<{SITI}>"), "250"), (&format!("RCPT TO:<{RINA}>"), "250"), ("DATA", "354")]);
    let text = String::from_utf8(letter(SITI, RINA, "signed", "Salam.")).unwrap().replace("\r\n", "\n");
    secure.raw(text.as_bytes());
    secure.script(&[(".", "250")]);
    assert_eq!(pki.verify(&outside.find("signed").content, &[]), Ok(SITI.to_owned()));
    // Signed and encrypted; large enough for a file of its own.
    let long = "Rapat ditunda. ".repeat(40_000);
    assert!(send(gateway.inside, SITI, &[RATNA], &letter(SITI, RATNA, "sealed", &long)).starts_with("250"));
    let opened = pki.decrypt(&outside.find("sealed").content, RATNA).unwrap();
    assert_eq!(pki.verify(&opened, &[]), Ok(SITI.to_owned()));
    // Verified.
    let signed = pki.sign(&letter(DEWI, SITI, "verified", "Salam."), DEWI);
    assert!(send(gateway.outside, DEWI, &[SITI], &signed).starts_with("250"));
    let verdict = fields(&inside.find("verified").content, "segel-verdict");
    assert!(verdict[0].starts_with("valid"), "{verdict:?}");
    // What an alert and the dashboard ask of the process.
    let (_, page) = get(gateway.console(), "/metrics");
    let value = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    assert!(value("process_open_fds ").is_some_and(|files| files > 10.0), "{page}");
    let began = value("process_start_time_seconds ").unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(now - 600.0 < began && began <= now, "{began} {now}");
    // The control socket, a reload, the end.
    let answer = gateway.segel(&["reload"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let log = gateway.log();
    assert_eq!(gateway.stop(), Some(0), "{log:#?}");
    let refused = |line: &&String| line.contains("not permitted") || line.contains("ERROR");
    assert!(!log.iter().any(|line| refused(&line) && !line.contains("memory is not locked")), "{log:#?}");
}
