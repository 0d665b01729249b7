//! The programs that the end-to-end tests drive, from the system's packages.
//!
//! Nothing here fails: what cannot be installed is said, and the tests that need it decide.

use crate::process::{self, succeeds};

/// A package and the question whether what the tests use of it is there.
struct Tool {
    package: &'static str,
    probe: &'static [&'static str],
}

const TOOLS: [Tool; 9] = [
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
];

/// Installs the packages that are missing, as root or through sudo, without a question.
pub(crate) fn install() {
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
