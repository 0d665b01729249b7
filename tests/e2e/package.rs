//! The Debian package, in a Debian that has never met it, under systemd: installed, configured after an example, between two
//! Postfix servers with a network each, upgraded, removed, purged.
//!
//! `cargo xtask package` builds it and runs this; `SEGEL_PACKAGE` names the file.

use crate::support::pki::{RINA, SITI};
use crate::support::process::{Process, run};
use crate::support::tls::Certificates;
use crate::support::{PATIENCE, Pki, fields, letter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running Debian.
struct Debian {
    folder: TempDir,
    name: String,
    init: Process,
    first: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/support/debian.sh")
}

/// Runs what must succeed; its output.
#[track_caller]
fn must(command: &mut Command, input: &[u8]) -> String {
    let output = run(command, input);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Waits until `find` has an answer.
#[track_caller]
fn wait<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

impl Debian {
    fn boot() -> Self {
        let folder = tempfile::Builder::new().prefix("segel-debian").tempdir().unwrap();
        let root = folder.path().join("root");
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debian-bookworm");
        must(Command::new(script()).arg("make").args([&root, &cache]), b"");
        let name = format!("segel-test-{}", std::process::id());
        let init = Process::start(Command::new(script()).arg("boot").arg(&root).arg(&name));
        let first = wait("the first process", || {
            let output = run(Command::new("pgrep").args(["-P", &init.id().to_string()]), b"");
            let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let exe = fs::read_link(format!("/proc/{id}/exe")).ok()?;
            exe.ends_with("systemd").then_some(id)
        });
        let debian = Self { folder, name, init, first };
        wait("systemd", || {
            let state = debian.try_run("systemctl is-system-running").1;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        debian
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.first, "-m", "-p", "-u", "-i", "-n", "-C"]).env_clear();
        command.envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("DEBIAN_FRONTEND", "noninteractive")]);
        command.args(["sh", "-c", line]);
        command
    }

    fn try_run(&self, line: &str) -> (bool, String) {
        let output = run(&mut self.command(line), b"");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// A shell's line that must succeed; its output.
    #[track_caller]
    fn run(&self, line: &str) -> String {
        must(&mut self.command(line), b"")
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn exists(&self, path: &str) -> bool {
        self.root().join(path.trim_start_matches('/')).symlink_metadata().is_ok()
    }

    fn active(&self) -> bool {
        self.try_run("systemctl is-active segel").1.trim() == "active"
    }

    /// What the service has logged, for messages of failed tests.
    fn journal(&self) -> String {
        self.try_run("journalctl --no-pager -u segel | tail -50; tail -50 /var/log/mail-*.log").1
    }

    /// A mail by `sendmail` of one of both servers.
    #[track_caller]
    fn mail(&self, at: &str, from: &str, to: &str, content: &[u8]) {
        let text = String::from_utf8_lossy(content).replace("\r\n", "\n");
        let line = format!("ip netns exec {at} sendmail -C /etc/postfix-{at} -i -f {from} {to}");
        must(&mut self.command(&line), text.as_bytes());
    }

    /// The mail with these words, as soon as it is in somebody's mailbox.
    #[track_caller]
    fn find(&self, user: &str, id: &str) -> Vec<u8> {
        let path = self.root().join("var/mail").join(user);
        let until = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            let mails = format!("\n{text}");
            if let Some(mail) = mails.split("\nFrom ").find(|mail| mail.contains(id)) {
                let mail = mail.split_once('\n').unwrap().1;
                return mail.replace('\n', "\r\n").into_bytes();
            }
            assert!(Instant::now() < until, "{id} did not arrive: {}", self.journal());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // Its network namespaces are mounts in its own; all of it ends with the first process.
        if self.init.runs() {
            self.init.kill();
        }
        run(Command::new(script()).args(["clean", &self.name]), b"");
    }
}

/// The package of the same content with a higher version.
fn newer(package: &Path, folder: &Path) -> PathBuf {
    let (tree, file) = (folder.join("newer"), folder.join("newer.deb"));
    must(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree), b"");
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let version = text.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap().to_owned();
    fs::write(&control, text.replace(&format!("Version: {version}"), &format!("Version: {version}+1"))).unwrap();
    must(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&file), b"");
    file
}

fn install(debian: &Debian, package: &Path) -> String {
    fs::copy(package, debian.root().join("root/segel.deb")).unwrap();
    debian.run("apt-get install -y --no-install-recommends /root/segel.deb")
}

/// Two networks with a mail server each: 10.0.0.5 inside, 203.0.113.10 outside; the gateway is 10.0.0.4 and 203.0.113.4.
fn neighbours(debian: &Debian) {
    debian
        .write("/etc/hosts", "127.0.0.1 localhost\n10.0.0.4 gerbang.kabupaten.go.id\n10.0.0.5 mail.kabupaten.go.id\n");
    for (at, own, other) in [("inside", "10.0.0.4", "10.0.0.5"), ("outside", "203.0.113.4", "203.0.113.10")] {
        debian.run(&format!(
            "ip netns add {at} && ip link add to-{at} type veth peer name eth0 netns {at} && \
             ip addr add {own}/24 dev to-{at} && ip link set to-{at} up && \
             ip -n {at} addr add {other}/24 dev eth0 && ip -n {at} link set eth0 up && ip -n {at} link set lo up"
        ));
    }
    let certificates = Certificates::shared();
    let chain = |name: &str| {
        let part = |kind: &str| fs::read_to_string(certificates.path(&format!("{name}.{kind}"))).unwrap();
        format!("{}{}", part("key"), part("pem"))
    };
    certificates.server("mail.kabupaten.go.id", 20);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/postfix");
    let example = |name: &str| fs::read_to_string(examples.join(name)).unwrap();
    debian.run("for user in siti rina; do adduser --quiet --disabled-password --gecos '' $user; done");
    for at in ["inside", "outside"] {
        debian.run(&format!(
            "cp -r /etc/postfix /etc/postfix-{at}; mkdir -p /var/spool/postfix-{at}/etc /var/lib/postfix-{at}; \
             cp /etc/hosts /etc/nsswitch.conf /etc/services /var/spool/postfix-{at}/etc; chown postfix /var/lib/postfix-{at}"
        ));
        // Debian's own master.cf, without its listener; the rest of main.cf is what a mail server has anyway.
        let master = fs::read_to_string(debian.root().join("usr/share/postfix/master.cf.dist")).unwrap();
        let master: Vec<&str> = master.lines().filter(|line| !line.starts_with("smtp      inet")).collect();
        let common = format!(
            "compatibility_level = 3.6\nqueue_directory = /var/spool/postfix-{at}\ndata_directory = /var/lib/postfix-{at}\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nalias_maps =\nalias_database =\nsmtp_host_lookup = native\n\
             maillog_file = /var/log/mail-{at}.log\ninet_protocols = ipv4\n"
        );
        let (main, listener) = match at {
            "inside" => {
                (format!("{common}myhostname = mail.kabupaten.go.id\n{}", example("main.cf")), example("master.cf"))
            }
            _ => (
                format!(
                    "{common}myhostname = mx.mitra.example\nmydestination = mitra.example\nrelayhost = [203.0.113.4]:25\n\
                     mynetworks = 127.0.0.0/8\nsmtpd_tls_security_level = may\nsmtp_tls_security_level = may\nsmtpd_tls_chain_files = /etc/postfix/mx.pem\n"
                ),
                "smtp inet n - y - - smtpd\n".to_owned(),
            ),
        };
        debian.write(&format!("/etc/postfix-{at}/main.cf"), main);
        debian.write(&format!("/etc/postfix-{at}/master.cf"), format!("{}\n{listener}", master.join("\n")));
    }
    debian.write("/etc/postfix/internal-ca.pem", fs::read(certificates.path("ca.pem")).unwrap());
    debian.write("/etc/postfix/mail.kabupaten.go.id.pem", chain("mail.kabupaten.go.id"));
    debian.write("/etc/postfix/mx.pem", chain("other"));
    debian.write("/etc/postfix/sender_login", "siti@kabupaten.go.id siti\n");
    debian.run("postmap /etc/postfix/sender_login");
    for at in ["inside", "outside"] {
        debian.run(&format!("ip netns exec {at} postfix -c /etc/postfix-{at} start"));
    }
}

/// The example, as somebody would change it: files of his own, and in place of DNS the one server there is.
fn configure(debian: &Debian) {
    let (pki, certificates) = (Pki::shared(), Certificates::shared());
    let example = debian.root().join("usr/share/doc/segel/examples/postfix/segel.toml");
    let text = fs::read_to_string(example).unwrap();
    let route = "route = \"smtp://203.0.113.10:25\"\ntls = \"encrypt\"";
    assert!(text.contains("route = \"mx\""));
    debian.write("/etc/segel/segel.toml", text.replace("route = \"mx\"", route));
    for (name, path) in [("gate.pem", "gerbang.pem"), ("gate.key", "gerbang.key"), ("ca.pem", "internal-ca.pem")] {
        debian.write(&format!("/etc/segel/tls/{path}"), fs::read(certificates.path(name)).unwrap());
    }
    debian.write("/etc/segel/anchors/root.pem", pki.read("root.pem"));
    debian.run("chown -R root:segel /etc/segel && chmod 640 /etc/segel/tls/*");
    for name in ["password", "issuing.pem", "crl.der", "root-crl.der", &format!("{SITI}.p12")] {
        debian.write(&format!("/root/{name}"), pki.read(name));
    }
}

/// Both servers that took it say so.
#[track_caller]
fn over_tls(mail: &[u8]) {
    let received = fields(mail, "received").concat();
    assert_eq!(received.matches("with ESMTPS").count(), 2, "{received}");
}

/// A mail from inside arrives outside, signed by its sender; one from outside arrives inside, verified.
#[track_caller]
fn both_ways(debian: &Debian, id: &str) {
    let (out, back) = (format!("out-{id}"), format!("in-{id}"));
    debian.mail("inside", SITI, RINA, &letter(SITI, RINA, &out, "Salam."));
    let mail = debian.find("rina", &out);
    assert_eq!(Pki::shared().verify(&mail, &[]), Ok(SITI.to_owned()), "{}", String::from_utf8_lossy(&mail));
    over_tls(&mail);
    let signed = Pki::shared().sign(&letter(RINA, SITI, &back, "Salam."), RINA);
    debian.mail("outside", RINA, SITI, &signed);
    let mail = debian.find("siti", &back);
    let verdict = fields(&mail, "segel-verdict");
    assert!(verdict[0].starts_with("valid"), "{verdict:?}");
    over_tls(&mail);
}

/// Told what is left to do, enabled, and not started with the example.
fn installed(debian: &Debian, package: &Path) {
    let said = install(debian, package);
    for word in ["/etc/segel/segel.toml", "segel check", "systemctl start segel", "segel key import", "segel-master"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(debian.run("systemctl is-enabled segel").trim(), "enabled");
    debian.run("systemctl start segel");
    assert!(!debian.active());
    assert!(debian.journal().contains("still the example"), "{}", debian.journal());
    let modes = debian.run(
        "cd / && stat -c '%n %U:%G %a' etc/segel etc/segel/segel.toml etc/segel/policy.toml var/lib/segel etc/credstore/segel-master",
    );
    let expected = "etc/segel root:segel 750\netc/segel/segel.toml root:segel 640\netc/segel/policy.toml root:segel 640\n\
                    var/lib/segel segel:segel 700\netc/credstore/segel-master root:root 600\n";
    assert_eq!(modes, expected);
    let score = debian.run("systemd-analyze security --no-pager --threshold=20 segel.service | tail -1");
    println!("{}", score.trim());
    debian.run("man -w segel && bash -c '. /usr/share/bash-completion/completions/segel'");
}

/// Configured after the example, with a key imported before the first start; mail both ways; a reload that is refused.
fn works(debian: &Debian) {
    neighbours(debian);
    configure(debian);
    let checked = debian.run("segel check");
    assert!(checked.contains("0 warning(s)"), "{checked}");
    let import = format!("segel key import --address {SITI} --password-file /root/password '/root/{SITI}.p12'");
    debian.run(&import);
    debian.run("systemctl start segel || { journalctl --no-pager -u segel; exit 1; }");
    wait("the control socket", || debian.exists("/var/lib/segel/control.sock").then_some(()));
    debian.run("cd /root && segel cert import issuing.pem && segel revocation import crl.der && segel revocation import root-crl.der");
    assert_eq!(debian.run("find /var/lib/segel ! -user segel"), "");
    both_ways(debian, "first");
    debian.run("systemctl reload segel");
    debian.run("echo '[nonsense]' >> /etc/segel/segel.toml");
    assert!(!debian.try_run("systemctl reload segel").0, "a configuration with an error was taken");
    debian.run("sed -i '$d' /etc/segel/segel.toml && systemctl reload segel");
    both_ways(debian, "reloaded");
}

/// Another process, drained before; the same configuration and keys.
fn upgraded(debian: &Debian, package: &Path) {
    let before = debian.run("systemctl show -p MainPID --value segel");
    let configuration = fs::read(debian.root().join("etc/segel/segel.toml")).unwrap();
    install(debian, &newer(package, debian.folder.path()));
    wait("the upgraded service", || debian.active().then_some(()));
    assert_ne!(debian.run("systemctl show -p MainPID --value segel"), before);
    assert!(debian.journal().contains("stopped."), "not drained: {}", debian.journal());
    assert_eq!(fs::read(debian.root().join("etc/segel/segel.toml")).unwrap(), configuration);
    both_ways(debian, "upgraded");
}

/// Nothing runs, everything is kept; installed again, it goes on where it was.
fn removed(debian: &Debian, package: &Path) {
    debian.run("apt-get remove -y segel");
    assert!(!debian.active() && !debian.exists("/usr/bin/segel"));
    assert!(debian.exists("/etc/segel/segel.toml") && debian.exists("/var/lib/segel/segel.db"));
    install(debian, package);
    wait("the service again", || debian.active().then_some(()));
    both_ways(debian, "again");
}

/// The configuration goes; mail, keys and what opens them stay, and it says so. One that was never used leaves nothing.
fn purged(debian: &Debian, package: &Path) {
    let said = debian.run("apt-get purge -y segel");
    assert!(said.contains("kept /var/lib/segel") && said.contains("shred -u /etc/credstore/segel-master"), "{said}");
    assert!(!debian.exists("/etc/segel/segel.toml"));
    assert!(debian.exists("/var/lib/segel/segel.db") && debian.exists("/etc/credstore/segel-master"));
    // One that was never used leaves nothing.
    debian.run("rm -rf /var/lib/segel /etc/segel && shred -u /etc/credstore/segel-master");
    install(debian, package);
    assert!(debian.exists("/etc/credstore/segel-master"));
    debian.run("apt-get purge -y segel");
    for path in ["/etc/segel", "/var/lib/segel", "/etc/credstore/segel-master", "/usr/share/segel", "/usr/lib/segel"] {
        assert!(!debian.exists(path), "{path} is left");
    }
    assert!(!debian.run("find /etc/systemd /lib/systemd -name 'segel*'").contains("segel.service\n"));
}

#[test]
fn the_debian_package_installs_works_upgrades_and_goes() {
    let Some(package) = std::env::var_os("SEGEL_PACKAGE").map(PathBuf::from) else {
        println!("skipped: SEGEL_PACKAGE names no package; `cargo xtask package` makes one and runs this");
        return;
    };
    let probe = "test \"$(id -u)\" = 0 && command -v debootstrap dpkg-deb nsenter ip && unshare --net true";
    let can = run(Command::new("sh").args(["-c", probe]), b"").status.success();
    assert!(can, "SEGEL_PACKAGE is set, but this needs root, namespaces, debootstrap, dpkg-deb, nsenter and ip");
    let package = fs::canonicalize(package).unwrap();
    let debian = Debian::boot();
    installed(&debian, &package);
    works(&debian);
    upgraded(&debian, &package);
    removed(&debian, &package);
    purged(&debian, &package);
}
