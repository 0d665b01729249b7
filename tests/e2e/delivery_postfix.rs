//! Postfix as the next hop: it takes nothing without TLS.

use crate::support::client::send;
use crate::support::pki::{DEWI, RINA, SITI};
use crate::support::process::{Process, run};
use crate::support::{PATIENCE, Setup, Sink, letter, port};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running Postfix that takes mail for `mitra.example`, logs it and throws it away. Dewi it does not know.
struct Postfix {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Postfix {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("segel-postfix").tempdir().unwrap();
        let root = folder.path().display().to_string();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["queue", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert!(run(Command::new("chown").args(["postfix", &format!("{root}/data")]), b"").status.success());
        let line = format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {root}/key.pem -out {root}/cert.pem -days 30 -subj /CN=mx"
        );
        assert!(run(Command::new("openssl").args(line.split(' ')), b"").status.success());
        let port = port::free();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\n\
             myhostname = mx.mitra.example\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmydestination =\n\
             relay_domains = mitra.example\nrelay_transport = discard\nlocal_recipient_maps =\nmynetworks = 127.0.0.0/8\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{{DEWI}=REJECT}}, reject_unauth_destination\n\
             smtpd_relay_restrictions = reject_unauth_destination\nsmtpd_tls_security_level = encrypt\n\
             smtpd_tls_cert_file = {root}/cert.pem\nsmtpd_tls_key_file = {root}/key.pem\nsmtpd_tls_loglevel = 1\n\
             maillog_file = /dev/stdout\nalias_maps =\nalias_database =\n"
        );
        let services = "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
                        rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
                        trace unix - - n - 0 bounce\nanvil unix - - n - 1 anvil\ndiscard unix - - n - - discard\n\
                        error unix - - n - - error\nretry unix - - n - - error\npostlog unix-dgram n - n - 1 postlogd\n\
                        smtp unix - - n - - smtp\nlocal unix - n n - - local\nshowq unix n - n - - showq\n";
        fs::write(folder.path().join("main.cf"), main).unwrap();
        fs::write(folder.path().join("master.cf"), format!("127.0.0.1:{port} inet n - n - - smtpd\n{services}"))
            .unwrap();
        let mut command = Command::new("/usr/sbin/postfix");
        command.args(["-c", &root, "start-fg"]);
        let postfix = Self { process: Process::start(&mut command), port, folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "Postfix does not listen: {:?}", postfix.process.stdout.all());
            std::thread::park_timeout(Duration::from_millis(50));
        }
        postfix
    }

    /// Waits for a line of the log with all of these.
    fn wait(&self, words: &[&str]) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned();
        let found = self.process.stdout.wait(PATIENCE, find);
        found.unwrap_or_else(|| panic!("no {words:?} in {:#?}", self.process.stdout.all()))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its own command ends all of its processes.
        let folder = self.folder.path().display().to_string();
        run(Command::new("/usr/sbin/postfix").args(["-c", &folder, "stop"]), b"");
    }
}

#[test]
fn c30_postfix_takes_mail_over_tls() {
    need!("openssl", "aiosmtpd", "postfix");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: Postfix needs root");
        return;
    }
    let postfix = Postfix::start();
    let inside = Sink::start();
    let gateway =
        Setup::new(inside.address, ([127, 0, 0, 1], postfix.port).into()).domain("sign = \"never\"\n").start();
    for number in 0..3 {
        let id = format!("postfix-{number}");
        assert!(send(gateway.inside, SITI, &[RINA, DEWI], &letter(SITI, RINA, &id, "x")).starts_with("250"));
        postfix.wait(&["message-id=<postfix", &id]);
    }
    postfix.wait(&["TLS connection established", "TLSv1.3"]);
    postfix.wait(&[RINA, "status=sent"]);
    // Dewi's refusal is hers alone.
    let notices = inside.wait(3);
    assert!(notices.iter().all(|mail| {
        let text = String::from_utf8_lossy(&mail.content).into_owned();
        text.contains(DEWI) && !text.contains(&format!("rfc822; {RINA}")) && text.contains("554 5.7.1")
    }));
}
