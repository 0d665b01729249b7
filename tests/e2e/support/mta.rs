//! Real mail servers beside the gateway: Postfix, Exim and OpenSMTPD, each in a folder and a mount namespace of its own.
//!
//! They take mail from this machine for anybody and relay it to one server. Starting one needs root: they change users.

use super::PATIENCE;
use super::process::Process;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postfix,
    Exim,
    OpenSmtpd,
}

pub const KINDS: [Kind; 3] = [Kind::Postfix, Kind::Exim, Kind::OpenSmtpd];

/// A running mail server.
pub struct Mta {
    process: Option<Process>,
    kind: Kind,
    script: PathBuf,
    pub address: SocketAddr,
    folder: TempDir,
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("peers")
}

/// Whether it can be started here; says why not.
pub fn present(kind: Kind) -> bool {
    let root = super::process::run(Command::new("id").arg("-u"), b"").stdout == b"0\n";
    let program = match kind {
        Kind::Postfix => PathBuf::from("/usr/sbin/postfix"),
        Kind::Exim => peers().join("usr/sbin/exim4"),
        Kind::OpenSmtpd => peers().join("usr/sbin/smtpd"),
    };
    let there = program.exists() && root && super::process::present("unshare");
    if !there {
        println!("skipped: {kind:?} needs root and `{}`", program.display());
    }
    there
}

impl Mta {
    /// One that relays everything to `relay`.
    pub fn start(kind: Kind, relay: SocketAddr) -> Self {
        let folder = tempfile::Builder::new().prefix("segel-neighbour").tempdir().unwrap();
        let port = super::port::free();
        let text = match kind {
            Kind::Postfix => postfix(folder.path(), port, relay),
            Kind::Exim => exim(folder.path(), port, relay),
            Kind::OpenSmtpd => opensmtpd(folder.path(), port, relay),
        };
        let script = folder.path().join("start.sh");
        std::fs::write(&script, text).unwrap();
        let address = ([127, 0, 0, 1], port).into();
        let mut neighbour = Self { process: None, kind, script, address, folder };
        neighbour.again();
        neighbour
    }

    /// Starts it (again), with the queue that it has.
    pub fn again(&mut self) {
        let mut command = Command::new("unshare");
        command.arg("--mount").arg("sh").arg(&self.script);
        let process = self.process.insert(Process::start(&mut command));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            assert!(
                Instant::now() < until && process.runs(),
                "{:?} did not start: {:?} {:?}",
                self.kind,
                process.stdout.all(),
                process.stderr.all()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it; what it has queued stays.
    pub fn stop(&mut self) {
        self.end();
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < until, "{:?} does not stop", self.kind);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if self.kind == Kind::Postfix {
            // What was started is not what serves.
            let etc = self.folder.path().join("etc");
            super::process::run(Command::new("postfix").arg("-c").arg(etc).arg("abort"), b"");
        }
        if process.runs() {
            process.signal("TERM");
            process.wait();
        }
    }

    /// What it has logged, for messages of failed tests.
    pub fn log(&self) -> String {
        let file = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines = self.process.as_ref().map(|process| (process.stdout.all(), process.stderr.all()));
        format!("{file}\n{lines:#?}")
    }
}

impl Drop for Mta {
    fn drop(&mut self) {
        self.end();
    }
}

/// Users that the packages would have made, and where their libraries are.
const USERS: &str = "
cp /etc/passwd \"$D/passwd\"; cp /etc/group \"$D/group\"
for name in opensmtpd:990 opensmtpq:991 Debian-exim:992; do
  echo \"${name%:*}:x:${name#*:}:${name#*:}::/nonexistent:/usr/sbin/nologin\" >> \"$D/passwd\"
  echo \"${name%:*}:x:${name#*:}:\" >> \"$D/group\"
done
mount --bind \"$D/passwd\" /etc/passwd; mount --bind \"$D/group\" /etc/group
(cat /etc/ld.so.conf; echo \"$P/usr/lib/x86_64-linux-gnu\") > \"$D/ld.conf\"
ldconfig -f \"$D/ld.conf\" -C \"$D/ld.cache\" && mount --bind \"$D/ld.cache\" /etc/ld.so.cache
";

fn head(folder: &Path) -> String {
    format!("set -e\nD='{}'\nP='{}'\nchmod 755 \"$D\"\n", folder.display(), peers().display())
}

fn postfix(folder: &Path, port: u16, relay: SocketAddr) -> String {
    let (ip, relay_port) = (relay.ip(), relay.port());
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = $D/spool\ndata_directory = $D/data\ncommand_directory = /usr/sbin\n\
         daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\nmyhostname = postfix.test.example\n\
         mydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
         smtpd_relay_restrictions = permit_mynetworks, reject\nrelayhost = [{ip}]:{relay_port}\nmaillog_file = $D/log\n\
         maillog_file_prefixes = $D\nsmtp_host_lookup = native\ndisable_dns_lookups = yes\nalias_maps =\nalias_database =\n\
         minimal_backoff_time = 2s\nqueue_run_delay = 2s\nmaximal_backoff_time = 5s\nsmtpd_client_connection_count_limit = 0\n"
    );
    let services = "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 1 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\n\
         smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n\
         anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n";
    format!(
        "{}mkdir -p \"$D/etc\" \"$D/spool\" \"$D/data\"\ncat > \"$D/etc/main.cf\" <<END\n{main}END\n\
         cat > \"$D/etc/master.cf\" <<END\n127.0.0.1:{port} inet n - n - - smtpd\n{services}END\n\
         chown -R postfix \"$D/data\"\nexec postfix -c \"$D/etc\" start-fg\n",
        head(folder)
    )
}

fn exim(folder: &Path, port: u16, relay: SocketAddr) -> String {
    let (ip, relay_port) = (relay.ip(), relay.port());
    format!(
        "{}{USERS}mkdir -p \"$D/spool\"\ncat > \"$D/conf\" <<END\nexim_path = $P/usr/sbin/exim4\nspool_directory = $D/spool\n\
         log_file_path = $D/%slog\npid_file_path = $D/pid\nprimary_hostname = exim.test.example\ndaemon_smtp_ports = {port}\n\
         local_interfaces = 127.0.0.1\ntls_advertise_hosts =\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\n\
         dsn_advertise_hosts = *\naccept_8bitmime = true\nkeep_environment =\n\
         begin routers\nall:\n  driver = manualroute\n  domains = *\n  transport = out\n  route_list = * {ip}\n  self = send\n\
         begin transports\nout:\n  driver = smtp\n  port = {relay_port}\n  allow_localhost = true\n  hosts_try_dane =\n\
         begin retry\n* * F,1h,1s\nEND\nchown -R Debian-exim \"$D/spool\"\nchgrp Debian-exim \"$D\"; chmod 775 \"$D\"\n\
         chown root \"$D/conf\"; chmod 644 \"$D/conf\"\nexec \"$P/usr/sbin/exim4\" -C \"$D/conf\" -bdf -q2s\n",
        head(folder)
    )
}

fn opensmtpd(folder: &Path, port: u16, relay: SocketAddr) -> String {
    format!(
        "{}{USERS}mkdir -p \"$D/spool\" \"$D/lib\" \"$D/run\"\n\
         mount --bind \"$D/spool\" /var/spool; mount --bind \"$D/lib\" /var/lib; mount --bind \"$D/run\" /run\n\
         mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty; chmod 711 /var/spool/smtpd\ncat > \"$D/conf\" <<END\n\
         listen on 127.0.0.1 port {port}\naction \"relay\" relay host \"smtp://{relay}\"\n\
         match from any for any action \"relay\"\nEND\nexec \"$P/usr/sbin/smtpd\" -d -f \"$D/conf\"\n",
        head(folder)
    )
}
