//! What was written → what is meant. Every wrong value is noted and replaced by a default so that
//! the check goes on; the caller throws the result away when anything was noted.
//!
//! A key that is absent means "as this version can". A default that is written out is accepted. Any
//! other value whose machinery this version lacks is an error, so that nobody believes in it.

mod incoming;
mod mail;
mod rules;

use super::file::{File, List, Section, Value};
use super::parse::Findings;
use super::value::{self, NetworkError};
use super::{Config, Listener, MasterKeySource, Network, NextHop, hash, trust};
use crate::limits::Limits;
use crate::mail::Address;
use crate::policy::{Policy, Side};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

const DAY: u64 = 86_400;

/// The checked configuration, or nothing where a value without a default is missing or wrong.
pub(super) fn check(file: &File, path: &Path, findings: &mut Findings<'_>) -> Option<Config> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let data_dir = directory.join(text(gateway(file, |gateway| &gateway.data_dir)).unwrap_or("/var/lib/segel"));
    let hostname = hostname(file, findings);
    let accept_deadline =
        duration(findings, "gateway.accept_deadline", gateway(file, |gateway| &gateway.accept_deadline), 120);
    let database = database(file, &data_dir, findings);
    let master_key = master_key(file, directory, &data_dir, findings);
    let listeners = listeners(file, findings);
    let console = console(file, &listeners, findings);
    let own = OwnAddresses { listeners: &listeners, hostname: hostname.as_deref().unwrap_or_default() };
    let domains = mail::domains(file, &own, findings);
    let route = mail::route(file, &own, findings);
    let authorise = mail::authorise(file, &domains, findings);
    let incoming = incoming::incoming(file, findings);
    let limits = limits(file, findings);
    let status_grace =
        duration(findings, "signing.status_grace", key(&file.signing, |signing| &signing.status_grace), DAY);
    let (anchors, crls) = trust::trust(file, directory, &limits, findings);
    without_machinery(file, findings);
    let rules = rules::rules(file, directory, findings);
    let allow_downgrade = rules::allow_downgrade(file, findings);
    let queue_expire = duration(findings, "queue.expire", key(&file.queue, |queue| &queue.expire), 5 * DAY);
    let postmaster = postmaster(file, &domains, findings);
    let (deliver_to, domains) = domains.into_iter().map(|domain| (domain.deliver_to, domain.policy)).unzip();
    let hostname = hostname?;
    let mut policy = Policy { hostname, domains, authorise, rules, allow_downgrade, incoming, hash: String::new() };
    policy.hash = hash::policy(&policy, &anchors, status_grace);
    Some(Config {
        file: path.to_owned(),
        hostname: policy.hostname.clone(),
        data_dir,
        accept_deadline,
        database,
        master_key,
        listeners,
        policy,
        deliver_to,
        route: route?,
        anchors,
        crls,
        status_grace,
        limits,
        queue_expire,
        queue_warn: Duration::from_secs(4 * 3600),
        postmaster: postmaster?,
        console,
        warnings: Vec::new(),
    })
}

/// What mail must not be sent to: it would come back for ever.
pub(super) struct OwnAddresses<'a> {
    listeners: &'a [Listener],
    hostname: &'a str,
}

impl OwnAddresses<'_> {
    /// The listener that a next hop would reach, as far as addresses alone tell.
    fn reached_by(&self, hop: &NextHop) -> Option<&Listener> {
        self.listeners.iter().filter(|listener| listener.bind.port() == hop.port).find(|listener| {
            let bind = listener.bind.ip();
            match hop.host.parse::<std::net::IpAddr>() {
                Ok(address) => address == bind || (bind.is_unspecified() && address.is_loopback()),
                Err(_) if hop.host == "localhost" => bind.is_loopback() || bind.is_unspecified(),
                Err(_) => hop.host.eq_ignore_ascii_case(self.hostname),
            }
        })
    }
}

// ---- access to optional keys of optional tables

fn gateway<'f, T>(file: &'f File, select: impl Fn(&'f super::file::Gateway) -> &'f Value<T>) -> Option<&'f Spanned<T>> {
    key(&file.gateway, select)
}

/// A key of a table, if both were written.
fn key<'f, S, T>(section: &'f Section<S>, select: impl Fn(&'f S) -> &'f Value<T>) -> Option<&'f Spanned<T>> {
    section.as_ref().and_then(|section| select(section.get_ref()).as_ref())
}

fn text(value: Option<&Spanned<String>>) -> Option<&str> {
    value.map(|value| value.get_ref().as_str())
}

fn duration(findings: &mut Findings<'_>, key: &str, value: Option<&Spanned<String>>, default: u64) -> Duration {
    let default = Duration::from_secs(default);
    let Some(written) = value else { return default };
    match value::duration(written.get_ref()) {
        Some(duration) if !duration.is_zero() || key == "signing.status_grace" || key == "incoming.defer_for" => {
            duration
        }
        _ => {
            let problem = format!("expected a duration, found `{}`", written.get_ref());
            findings.error(
                written.span().start,
                key,
                problem,
                "write a number and a unit, such as \"120s\", \"90m\", \"24h\" or \"5d\"",
            );
            default
        }
    }
}

/// One of some words; the first is the default.
pub(super) fn choice<T: Copy>(
    findings: &mut Findings<'_>,
    key: &str,
    value: Option<&Spanned<String>>,
    words: &[(&str, T)],
    default: T,
) -> T {
    let Some(written) = value else { return default };
    if let Some((_, meaning)) = words.iter().find(|(word, _)| word == written.get_ref()) {
        return *meaning;
    }
    let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let hint = match super::parse::nearest(written.get_ref(), words.iter().map(|(word, _)| *word)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "the value is one of these words in double quotes".to_owned(),
    };
    findings.error(written.span().start, key, format!("expected one of {list}, found `{}`", written.get_ref()), hint);
    default
}

/// Notes a value that means something, but not in this version.
pub(super) fn not_yet(findings: &mut Findings<'_>, offset: usize, key: &str, expected: &str, found: &str, hint: &str) {
    findings.error(offset, key, format!("expected {expected}, found {found}, which this version can not do"), hint);
}

/// Notes every list that has entries and every text that isn't empty: nothing behind these keys exists yet.
fn must_be_empty(findings: &mut Findings<'_>, key: &str, list: Option<&Spanned<Vec<Spanned<String>>>>, hint: &str) {
    if let Some(first) = list.and_then(|list| list.get_ref().first()) {
        not_yet(findings, first.span().start, key, "an empty list", &format!("`{}`", first.get_ref()), hint);
    }
}

pub(super) fn must_be_default(
    findings: &mut Findings<'_>,
    key: &str,
    value: Option<&Spanned<String>>,
    default: &str,
    hint: &str,
) {
    let same = |written: &str| {
        written == default
            || value::duration(default).is_some_and(|duration| value::duration(written) == Some(duration))
    };
    if let Some(written) = value.filter(|value| !same(value.get_ref())) {
        not_yet(
            findings,
            written.span().start,
            key,
            &format!("`{default}`"),
            &format!("`{}`", written.get_ref()),
            hint,
        );
    }
}

pub(super) fn missing(findings: &mut Findings<'_>, offset: usize, key: &str, expected: &str, hint: &str) {
    if !findings.was_refused(key) {
        findings.error(offset, key, format!("expected {expected}, found nothing"), hint);
    }
}

// ---- the tables

fn hostname(file: &File, findings: &mut Findings<'_>) -> Option<String> {
    const KEY: &str = "gateway.hostname";
    let hint = "the name under which this machine is known in DNS, such as \"gerbang.kabupaten.go.id\"";
    let Some(written) = gateway(file, |gateway| &gateway.hostname) else {
        missing(findings, file.gateway.as_ref().map_or(0, |gateway| gateway.span().start), KEY, "a host name", hint);
        return None;
    };
    if value::is_host_name(written.get_ref()) {
        return Some(written.get_ref().to_ascii_lowercase());
    }
    findings.error(written.span().start, KEY, format!("expected a host name, found `{}`", written.get_ref()), hint);
    None
}

fn database(file: &File, data_dir: &Path, findings: &mut Findings<'_>) -> PathBuf {
    const KEY: &str = "store.url";
    let default = data_dir.join("segel.db");
    let Some(written) = key(&file.store, |store| &store.url) else { return default };
    let offset = written.span().start;
    match written.get_ref().split_once(':') {
        Some(("sqlite", name)) if !name.is_empty() && !name.contains(['?', '/']) => data_dir.join(name),
        Some(("sqlite", _)) => {
            let problem = format!("expected `sqlite:` and the name of a file, found `{}`", written.get_ref());
            findings.error(offset, KEY, problem, "the file is made in gateway.data_dir: write \"sqlite:segel.db\"");
            default
        }
        Some(("postgres" | "postgresql", _)) => {
            // The URL may hold a password, so it isn't repeated.
            let hint = "write \"sqlite:segel.db\" or leave the key out";
            not_yet(findings, offset, KEY, "`sqlite:` and the name of a file", "a PostgreSQL URL", hint);
            default
        }
        _ => {
            findings.error(
                offset,
                KEY,
                "expected `sqlite:` and the name of a file, found something else",
                "write \"sqlite:segel.db\"",
            );
            default
        }
    }
}

fn master_key(file: &File, directory: &Path, data_dir: &Path, findings: &mut Findings<'_>) -> MasterKeySource {
    let written = key(&file.keys, |keys| &keys.master);
    if let Some(written) = written.filter(|written| !written.get_ref().is_empty()) {
        let path = directory.join(written.get_ref());
        if !path.is_file() {
            let problem = format!("expected a file that exists, found no file `{}`", path.display());
            let hint = "make it with `openssl rand 32 > FILE` and mode 0600, or leave the key out";
            findings.error(written.span().start, "keys.master", problem, hint);
        }
        return MasterKeySource::File(path);
    }
    // systemd.exec(5), "Credentials": the directory is named by this variable.
    let credential =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(|directory| Path::new(&directory).join("segel-master"));
    match credential.filter(|path| path.is_file()) {
        Some(path) => MasterKeySource::File(path),
        None => {
            let path = data_dir.join("master.key");
            findings.warn(format!(
                "the master key lies beside the data it protects (`{}`): whoever copies the disk has both; give it as the systemd credential `segel-master` or name it in keys.master",
                path.display()
            ));
            MasterKeySource::Generated(path)
        }
    }
}

fn listeners(file: &File, findings: &mut Findings<'_>) -> Vec<Listener> {
    if file.listener.is_empty() {
        let hint = "add a [[listener]] with name, bind and side; config/segel.toml shows one for each side";
        missing(findings, 0, "listener", "at least one [[listener]]", hint);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for table in &file.listener {
        let Some(listener) = listener(table, findings) else { continue };
        let bind_offset = table.get_ref().bind.as_ref().map_or(table.span().start, |bind| bind.span().start);
        if let Some(other) = listeners.iter().find(|other| same_socket(other.bind, listener.bind)) {
            let problem = format!(
                "expected an address of its own, found `{}`, where listener `{}` listens",
                listener.bind, other.name
            );
            findings.error(bind_offset, "listener.bind", problem, "each listener needs another address or port");
        }
        if listeners.iter().any(|other| other.name == listener.name) {
            let problem = format!("expected a name of its own, found `{}` twice", listener.name);
            findings.error(
                table.span().start,
                "listener.name",
                problem,
                "names tell listeners apart in logs and records",
            );
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(table: &Spanned<super::file::Listener>, findings: &mut Findings<'_>) -> Option<Listener> {
    let (start, table) = (table.span().start, table.get_ref());
    let name = match &table.name {
        Some(name) if !name.get_ref().is_empty() && !name.get_ref().contains(char::is_whitespace) => {
            Some(name.get_ref().clone())
        }
        Some(name) => {
            let problem = format!("expected one word, found `{}`", name.get_ref());
            findings.error(
                name.span().start,
                "listener.name",
                problem,
                "the name stands in logs and records; write it without spaces",
            );
            None
        }
        None => {
            missing(
                findings,
                start,
                "listener.name",
                "a name",
                "any word, such as \"inside\"; it stands in logs and records",
            );
            None
        }
    };
    let bind = socket(findings, "listener.bind", start, table.bind.as_ref());
    let side = match &table.side {
        Some(_) => choice(
            findings,
            "listener.side",
            table.side.as_ref(),
            &[("inside", Some(Side::Inside)), ("outside", Some(Side::Outside))],
            None,
        ),
        None => {
            let hint = "\"inside\" takes mail that leaves, from your own mail server; \"outside\" takes mail from the Internet";
            missing(findings, start, "listener.side", "`inside` or `outside`", hint);
            None
        }
    };
    let clients = networks(findings, "listener.clients", &table.clients);
    if side == Some(Side::Inside) {
        restricted(findings, start, table, &clients);
    }
    Some(Listener { name: name?, bind: bind?, side: side?, clients })
}

/// An inside listener is where authority comes from: whoever may use it is signed for.
fn restricted(findings: &mut Findings<'_>, start: usize, table: &super::file::Listener, clients: &[Network]) {
    const KEY: &str = "listener.clients";
    let hint = "list the addresses of your own mail servers, such as clients = [\"127.0.0.1/32\"]";
    match &table.clients {
        None => missing(findings, start, KEY, "the networks that may use this inside listener", hint),
        Some(list) if list.get_ref().is_empty() => {
            findings.error(
                list.span().start,
                KEY,
                "expected the networks that may use this inside listener, found an empty list",
                hint,
            );
        }
        Some(list) if Network::cover_everything(clients) => {
            let problem = "expected networks that leave strangers out, found every address: anyone could send signed mail in your name";
            findings.error(list.span().start, KEY, problem, hint);
        }
        Some(_) => {}
    }
}

fn networks(findings: &mut Findings<'_>, key: &str, list: &List) -> Vec<Network> {
    let mut networks = Vec::new();
    for entry in list.iter().flat_map(Spanned::get_ref) {
        let written = entry.get_ref();
        match Network::parse(written) {
            Ok(network) => networks.push(network),
            Err(NetworkError::Syntax) => {
                let hint = "write an address and a prefix length, such as \"10.0.0.0/24\" or \"2001:db8::/32\"";
                findings.error(entry.span().start, key, format!("expected a network, found `{written}`"), hint);
            }
            Err(NetworkError::HostBits(meant)) => {
                let problem = format!("expected a network without host bits, found `{written}`");
                let address = written.split('/').next().unwrap_or_default();
                findings.error(
                    entry.span().start,
                    key,
                    problem,
                    format!("write \"{meant}\" for the network or \"{address}\" for one machine"),
                );
            }
        }
    }
    networks
}

fn socket(findings: &mut Findings<'_>, key: &str, start: usize, value: Option<&Spanned<String>>) -> Option<SocketAddr> {
    let hint = "write an IP address and a port, such as \"127.0.0.1:10025\" or \"[::1]:10025\"";
    let Some(written) = value else {
        missing(findings, start, key, "an address and a port", hint);
        return None;
    };
    let address = written.get_ref().parse().ok();
    if address.is_none() {
        findings.error(
            written.span().start,
            key,
            format!("expected an address and a port, found `{}`", written.get_ref()),
            hint,
        );
    }
    address
}

/// Port 0 stands for any free port, so it never collides.
fn same_socket(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn console(file: &File, listeners: &[Listener], findings: &mut Findings<'_>) -> SocketAddr {
    const KEY: &str = "console.bind";
    let default = SocketAddr::from(([127, 0, 0, 1], 8025));
    let written = key(&file.console, |console| &console.bind);
    let Some(address) = (match written {
        Some(_) => socket(findings, KEY, 0, written),
        None => Some(default),
    }) else {
        return default;
    };
    let offset = written.map_or(0, |written| written.span().start);
    if !address.ip().is_loopback() {
        let hint = "write \"127.0.0.1:8025\"; reach it from elsewhere through an SSH tunnel";
        not_yet(findings, offset, KEY, "a loopback address", &format!("`{address}`, which needs TLS"), hint);
    }
    if let Some(listener) = listeners.iter().find(|listener| same_socket(listener.bind, address)) {
        let problem =
            format!("expected an address of its own, found `{address}`, where listener `{}` listens", listener.name);
        findings.error(offset, KEY, problem, "choose another port");
    }
    address
}

fn limits(file: &File, findings: &mut Findings<'_>) -> Limits {
    let mut limits = Limits::default();
    let hint = "write a number and a unit, such as \"64KiB\", \"25MiB\" or \"1GiB\"";
    for (name, value, least, target) in [
        ("limits.message", key(&file.limits, |limits| &limits.message), 64 << 10, &mut limits.message),
        ("limits.copies", key(&file.limits, |limits| &limits.copies), 64 << 10, &mut limits.copies),
        ("limits.memory", key(&file.limits, |limits| &limits.memory), 1 << 20, &mut limits.memory),
    ] {
        let Some(written) = value else { continue };
        match value::size(written.get_ref()) {
            Some(size) if size >= least => *target = size,
            Some(_) => {
                let problem = format!("expected at least {} KiB, found `{}`", least >> 10, written.get_ref());
                findings.error(written.span().start, name, problem, hint);
            }
            None => findings.error(
                written.span().start,
                name,
                format!("expected a size, found `{}`", written.get_ref()),
                hint,
            ),
        }
    }
    for (name, value, target) in [
        ("limits.recipients", key(&file.limits, |limits| &limits.recipients), &mut limits.recipients),
        ("limits.connections", key(&file.limits, |limits| &limits.connections), &mut limits.connections),
    ] {
        let Some(written) = value else { continue };
        match usize::try_from(*written.get_ref()) {
            Ok(number) if number > 0 => *target = number,
            _ => findings.error(
                written.span().start,
                name,
                "expected a number above 0, found 0",
                "leave the key out for the default",
            ),
        }
    }
    if limits.recipients < 100 {
        findings.warn("limits.recipients is below 100, which RFC 5321 section 4.5.3.1.8 asks every server to take");
    }
    if limits.memory < limits.message {
        let offset = file.limits.as_ref().map_or(0, |limits| limits.span().start);
        let problem = "expected at least limits.message, found less: no message of the allowed size would fit";
        findings.error(offset, "limits.memory", problem, "raise limits.memory or lower limits.message");
    }
    limits
}

/// Keys of machinery that joins later: only their defaults are accepted.
fn without_machinery(file: &File, findings: &mut Findings<'_>) {
    let tls = "leave certificate and key out; this version speaks no TLS";
    must_be_default(findings, "tls.certificate", key(&file.tls, |tls| &tls.certificate), "", tls);
    must_be_default(findings, "tls.key", key(&file.tls, |tls| &tls.key), "", tls);
    let fetch = "leave the key out and give CRLs as files in trust.crls and intermediates with the messages";
    match key(&file.fetch, |fetch| &fetch.enabled) {
        Some(enabled) if *enabled.get_ref() => not_yet(findings, enabled.span().start, "fetch.enabled", "`false`", "`true`", fetch),
        Some(_) => {}
        None => findings.warn(
            "nothing is fetched in this version (CRLs, OCSP, intermediates): give CRLs as files in trust.crls; `[fetch] enabled = false` says that you know",
        ),
    }
    must_be_empty(findings, "fetch.allow_private", key(&file.fetch, |fetch| &fetch.allow_private), fetch);
    must_be_default(findings, "fetch.proxy", key(&file.fetch, |fetch| &fetch.proxy), "", fetch);
    let dns = "leave the key out; this version looks up host names through the system only";
    must_be_empty(findings, "dns.servers", key(&file.dns, |dns| &dns.servers), dns);
    let warn = "leave the key out; this version sends no notices of delay";
    must_be_default(findings, "queue.warn", key(&file.queue, |queue| &queue.warn), "4h", warn);
    let keep = "leave the key out; this version keeps what is in quarantine until it is told otherwise";
    must_be_default(findings, "quarantine.keep", key(&file.quarantine, |quarantine| &quarantine.keep), "30d", keep);
    let security = "leave the key out; look with `segel quarantine list`";
    must_be_empty(findings, "notify.security", key(&file.notify, |notify| &notify.security), security);
}

fn postmaster(file: &File, domains: &[mail::OwnDomain], findings: &mut Findings<'_>) -> Option<Address> {
    const KEY: &str = "notify.postmaster";
    let Some(written) = key(&file.notify, |notify| &notify.postmaster) else {
        return Address::parse(&format!("postmaster@{}", domains.first()?.policy.domain.ascii())).ok();
    };
    let address = Address::parse(written.get_ref()).ok();
    if address.is_none() {
        let problem = format!("expected a mail address, found `{}`", written.get_ref());
        findings.error(
            written.span().start,
            KEY,
            problem,
            "write it without angle brackets: \"postmaster@kabupaten.go.id\"",
        );
    }
    address
}
