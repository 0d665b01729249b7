//! The configuration file → checked values. The only reader of files that the operator wrote.
//!
//! Three steps: `parse` (text → tables with their places), `file` (tables → what was written) and
//! `check` (what was written → [`Config`]). Nothing is ignored: an unknown key, a value that means
//! nothing and a value whose machinery this version lacks are errors that name file, line and key.
//! All errors that can be found are found in one run; there is no partly valid configuration.

mod check;
mod file;
mod files;
mod hash;
mod known;
mod next_hop;
mod parse;
mod settings;
mod trust;
pub mod value;

pub use next_hop::{DeliverTls, Destination, NextHop, Server};
pub use settings::{
    Authenticate, ClientCertificates, DkimKey, Dns, Fetch, ListenerTls, Log, LogFormat, LogLevel, Login, Mechanism,
    Notify, Outbound, Rate, Rates, Route, ServerSettings, TlsIdentity,
};

use crate::limits::Limits;
use crate::mail::Domain;
use crate::pki::{Crl, TrustAnchor};
use crate::policy::{Policy, Side};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An address that the gateway listens on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The operator's name for it, in logs and records.
    pub name: String,
    /// Address and port.
    pub bind: SocketAddr,
    /// Which way mail goes that arrives here.
    pub side: Side,
    /// Who may connect, and who is trusted inside without more. Empty: anyone outside; inside, whoever authenticates.
    pub clients: Vec<Network>,
    /// TLS here.
    pub tls: ListenerTls,
    /// No mail without TLS.
    pub require_tls: bool,
    /// Client certificates; inside only.
    pub client_certificates: ClientCertificates,
    /// AUTH; inside only.
    pub auth: Vec<Mechanism>,
}

/// `192.0.2.0/24`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address; host bits are zero.
    pub address: IpAddr,
    /// Leading bits that count, 0 to 32 or 128.
    pub prefix: u8,
}

/// Everything, checked. What a session begins with, it keeps.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read.
    pub file: PathBuf,
    /// The name in greetings, `Received` and `Authentication-Results`.
    pub hostname: String,
    /// Directory of database, large contents, control socket and lock.
    pub data_dir: PathBuf,
    /// Bound on the whole of `pipeline::accept`.
    pub accept_deadline: Duration,
    /// File of the SQLite database.
    pub database: PathBuf,
    /// Where the master key is.
    pub master_key: MasterKeySource,
    /// At least one; no two on one address.
    pub listeners: Vec<Listener>,
    /// Everything that decides.
    pub policy: Policy,
    /// How many `[[test]]`s of the policy file have passed.
    pub policy_tests: usize,
    /// Next hop per own domain, in the order of `policy.domains`.
    pub deliver_to: Vec<NextHop>,
    /// DKIM keys per own domain, likewise.
    pub dkim: Vec<Vec<DkimKey>>,
    /// Whether recipients of an own domain are verified by asking its server, likewise.
    pub verify_recipients: Vec<bool>,
    /// Next hop of everything else; none: by MX.
    pub route: Option<NextHop>,
    /// Routes of single domains, which come first.
    pub routes: Vec<Route>,
    /// What else delivery needs.
    pub outbound: Outbound,
    /// What is known about single servers.
    pub servers: Vec<ServerSettings>,
    /// Certificates of the listeners; the first for clients that name nothing we have.
    pub tls: Vec<TlsIdentity>,
    /// CAs that prove next hops, DER; empty: the system's.
    pub tls_ca: Vec<Vec<u8>>,
    /// Who may log in.
    pub logins: Vec<Login>,
    /// Name servers.
    pub dns: Dns,
    /// What is fetched.
    pub fetch: Fetch,
    /// CRLs that `trust.crls` names by URL.
    pub crl_urls: Vec<String>,
    /// What one client may do.
    pub rates: Rates,
    /// SPF, DKIM, DMARC.
    pub authenticate: Authenticate,
    /// Anchors named in the file; imported ones are in the store.
    pub anchors: Vec<TrustAnchor>,
    /// CRLs named in the file.
    pub crls: Vec<Crl>,
    /// How long an own certificate's last good status may be used past its nextUpdate.
    pub status_grace: Duration,
    /// Bounds, those of `[limits]` set.
    pub limits: Limits,
    /// When the queue gives up on a recipient.
    pub queue_expire: Duration,
    /// When a sender is told of a delay.
    pub queue_warn: Duration,
    /// How long records are kept once every recipient is final.
    pub store_keep: Duration,
    /// When quarantined mail is destroyed.
    pub quarantine_keep: Duration,
    /// Whether recipients inside hear that a mail to them is held.
    pub tell_recipients: bool,
    /// Whom to tell what.
    pub notify: Notify,
    /// Address of `/health` and `/metrics`.
    pub console: SocketAddr,
    /// How long `/health` answers 503 before the listeners close.
    pub drain_delay: Duration,
    /// What the log looks like.
    pub log: Log,
    /// Things that are accepted but worth knowing, for `check` and the log.
    pub warnings: Vec<String>,
}

impl Config {
    /// The next hop for mail to `domain`: an own domain's `deliver_to`, else its `[[route]]`, else the route of all, else MX.
    pub fn next_hop(&self, domain: &Domain) -> NextHop {
        let own = self.policy.domains.iter().zip(&self.deliver_to).find(|(own, _)| own.domain.same(domain));
        let routed = || self.routes.iter().find(|route| route.matches(domain)).map(|route| &route.next_hop);
        match own.map(|(_, hop)| hop).or_else(routed).or(self.route.as_ref()) {
            Some(hop) => hop.clone(),
            None => NextHop { to: Destination::Mx(domain.ascii().to_owned()), tls: DeliverTls::May },
        }
    }

    /// What is known about a server.
    pub fn server(&self, server: &Server) -> Option<&ServerSettings> {
        let port = |known: &&ServerSettings| known.port.is_none_or(|port| port == server.port);
        self.servers.iter().filter(port).find(|known| known.host == server.host)
    }

    /// The control socket of the server that runs on this configuration.
    pub fn control_socket(&self) -> PathBuf {
        self.data_dir.join(SOCKET)
    }
}

/// Where the master key is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A credential, or a file that must exist.
    File(PathBuf),
    /// Made when missing, mode 0600, with a warning.
    Generated(PathBuf),
}

impl MasterKeySource {
    /// The key's file.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Generated(path) => path,
        }
    }
}

/// What is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: `{key}`: {problem}\n  hint: {hint}", file = file.display())]
pub struct ConfigError {
    /// The file that the operator has to change.
    pub file: PathBuf,
    /// Line of the value, from 1; of the table where a key is missing.
    pub line: usize,
    /// Full name of the key, such as `listener.clients`.
    pub key: String,
    /// "expected …, found …".
    pub problem: String,
    /// What to write instead.
    pub hint: String,
}

/// Reads and checks a configuration.
///
/// # Errors
/// All errors that were found, in the order of their lines.
#[expect(clippy::disallowed_methods, reason = "this module is the reader of the operator's files")]
pub fn load(path: &Path) -> Result<Config, Vec<ConfigError>> {
    let error = |line: usize, problem: String, hint: &str| {
        Err(vec![ConfigError { file: path.to_owned(), line, key: "-c".to_owned(), problem, hint: hint.to_owned() }])
    };
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => from_text(path, &text),
        Ok(Err(found)) => {
            let (line, problem) = parse::not_text(found.as_bytes(), found.utf8_error().valid_up_to());
            error(line, problem, parse::NOT_TEXT)
        }
        Err(found) => {
            let hint = match found.kind() {
                std::io::ErrorKind::PermissionDenied => files::DENIED,
                _ => "name the file with `-c FILE` or $SEGEL_CONFIG; the default is /etc/segel/segel.toml",
            };
            error(1, format!("expected a readable configuration file, found: {found}"), hint)
        }
    }
}

/// Where the gateway of this file answers `/health`. Nothing else in it is looked at: a file that is being changed must not
/// make a gateway that runs look ill.
///
/// # Errors
/// The file can't be read, or says something else than an address there.
#[expect(clippy::disallowed_methods, reason = "this module is the reader of the operator's files")]
pub fn console_address(path: &Path) -> Result<SocketAddr, ConfigError> {
    let error = |problem: String| ConfigError {
        file: path.to_owned(),
        line: 1,
        key: "console.bind".to_owned(),
        problem,
        hint: "name the address with --address, such as 127.0.0.1:8025".to_owned(),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|found| error(format!("expected a readable configuration file, found: {found}")))?;
    match parse::one_text(&text, "console", "bind") {
        None => Ok(check::CONSOLE),
        Some(written) => {
            written.parse().map_err(|_| error(format!("expected an address and a port, found `{written}`")))
        }
    }
}

/// Where a server that runs on this file takes commands; nothing else in it is looked at. None where the file can't be read.
#[expect(clippy::disallowed_methods, reason = "this module is the reader of the operator's files")]
pub fn control_socket(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path).ok()?;
    let written = parse::one_text(&text, "gateway", "data_dir");
    Some(check::data_dir(path, written.as_deref()).join(SOCKET))
}

/// In `data_dir`.
const SOCKET: &str = "control.sock";

/// Checks `text` as the content of `path`, which gives error messages their file and relative paths their directory.
///
/// # Errors
/// As [`load`].
pub fn from_text(path: &Path, text: &str) -> Result<Config, Vec<ConfigError>> {
    let mut findings = parse::Findings::new(path, text);
    let Some(file) = parse::file::<file::File>(text, "segel.toml", &mut findings) else {
        return Err(findings.into_errors());
    };
    let config = check::check(&file, path, &mut findings);
    match (config, findings.is_empty()) {
        (Some(mut config), true) => {
            config.warnings = findings.into_warnings();
            Ok(config)
        }
        _ => Err(findings.into_errors()),
    }
}

#[cfg(test)]
mod tests;
