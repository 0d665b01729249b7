//! The programs that the end-to-end tests drive, from the system's packages.
//!
//! Nothing here fails: what cannot be installed is said, and the tests that need it decide.

use crate::process::{self, succeeds};

/// A package and the question whether what the tests use of it is there.
struct Tool {
    package: &'static str,
    probe: &'static [&'static str],
}

const TOOLS: [Tool; 12] = [
    Tool { package: "openssl", probe: &["openssl", "version"] },
    Tool { package: "swaks", probe: &["swaks", "--version"] },
    // smtp-source and smtp-sink.
    Tool { package: "postfix", probe: &["sh", "-c", "command -v smtp-sink || test -x /usr/sbin/smtp-sink"] },
    Tool { package: "python3-aiosmtpd", probe: &["/usr/bin/python3", "-c", "import aiosmtpd"] },
    // Other programs that read and write encrypted mail.
    Tool { package: "libnss3-tools", probe: &["sh", "-c", "command -v cmsutil"] },
    Tool { package: "gpgsm", probe: &["gpgsm", "--version"] },
    Tool { package: "gpg-agent", probe: &["gpg-agent", "--version"] },
    Tool { package: "faketime", probe: &["faketime", "-v"] },
    Tool { package: "strace", probe: &["strace", "-V"] },
    // A name server, another verifier of DKIM, an examiner of TLS.
    Tool { package: "knot", probe: &["knotd", "--version"] },
    Tool { package: "libmail-dkim-perl", probe: &["perl", "-MMail::DKIM::Verifier", "-e", "1"] },
    Tool { package: "testssl.sh", probe: &["sh", "-c", "command -v testssl"] },
];

/// Mail servers that the system installs beside no other: unpacked into the target folder, where the tests start them.
const NEIGHBOURS: &str = "exim4-daemon-light exim4-base opensmtpd libevent-2.1-7 libidn12 libgnutls-dane0 libspf2-2";

/// Installs the packages that are missing, as root or through sudo, without a question; unpacks the neighbours.
pub(crate) fn install() {
    install_tools();
    unpack_neighbours();
    unpack_promtool();
}

/// Into `target/peers`, without root. What is missing is said; the tests that need it are skipped.
fn unpack_neighbours() {
    let script = format!(
        "set -e; folder=\"${{CARGO_TARGET_DIR:-target}}/peers\"; mkdir -p \"$folder\"; cd \"$folder\"; \
         test -x usr/sbin/exim4 -a -x usr/sbin/smtpd && exit 0; \
         apt-get download -qq {NEIGHBOURS}; for package in *.deb; do dpkg -x \"$package\" .; done; rm -f -- *.deb"
    );
    if let Err(failure) = process::run("sh", &["-c", &script], &[]) {
        println!("skipped: Exim and OpenSMTPD could not be unpacked ({failure}); the tests beside them cannot run");
    }
}

/// Prometheus's own judge of metrics, rules and expressions, without its server. Likewise.
fn unpack_promtool() {
    let script = "set -e; folder=\"${CARGO_TARGET_DIR:-target}/peers\"; mkdir -p \"$folder\"; cd \"$folder\"; \
         test -x usr/bin/promtool && exit 0; apt-get download -qq prometheus; \
         dpkg --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool; rm -f -- prometheus_*.deb";
    if let Err(failure) = process::run("sh", &["-c", script], &[]) {
        println!("skipped: promtool could not be unpacked ({failure}); metrics and alerts are judged by us alone");
    }
}

fn install_tools() {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !tool.present()).collect();
    if missing.is_empty() {
        return;
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if let Some(prefix) = privilege() {
        // Postfix asks what kind of mail server it shall be; the answer is none.
        let script = format!(
            "export DEBIAN_FRONTEND=noninteractive; \
             echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections; \
             apt-get update -qq && apt-get install -y -qq --no-install-recommends {}",
            packages.join(" ")
        );
        let mut line: Vec<&str> = prefix.to_vec();
        line.extend(["sh", "-c", &script]);
        if let [program, arguments @ ..] = line.as_slice()
            && let Err(failure) = process::run(program, arguments, &[])
        {
            eprintln!("xtask: {failure}");
        }
    }
    for tool in missing.iter().filter(|tool| !tool.present()) {
        println!("skipped: `{}` could not be installed; the tests that drive it cannot run", tool.package);
    }
}

impl Tool {
    fn present(&self) -> bool {
        matches!(self.probe, [program, arguments @ ..] if succeeds(program, arguments))
    }
}

/// What to put before a command so that it may install packages; none where that is not possible.
fn privilege() -> Option<&'static [&'static str]> {
    if !succeeds("apt-get", &["--version"]) {
        return None;
    }
    if succeeds("sh", &["-c", "test \"$(id -u)\" = 0"]) {
        return Some(&[]);
    }
    succeeds("sudo", &["-n", "true"]).then_some(&["sudo", "-n"])
}
