//! What was written → what is meant. Every wrong value is noted and replaced by a default so that
//! the check goes on; the caller throws the result away when anything was noted.
//!
//! A key that is absent means "as this version can". A default that is written out is accepted. Any
//! other value whose machinery this version lacks is an error, so that nobody believes in it.

mod incoming;
mod limits;
mod listener;
mod mail;
mod network;
mod rules;

use super::file::{File, Section, Value};
use super::parse::Findings;
use super::value;
use super::{Config, Listener, MasterKeySource, Notify, Server, hash, trust};
use crate::mail::Address;
use crate::policy::Policy;
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
    let (tls, tls_ca) = network::tls(file, directory, findings);
    let logins = network::logins(file, findings);
    let listeners = listener::listeners(file, directory, &tls, &logins, findings);
    let console = console(file, &listeners, findings);
    let own = OwnAddresses { listeners: &listeners, hostname: hostname.as_deref().unwrap_or_default() };
    let domains = mail::domains(file, directory, &own, findings);
    let route = mail::route(file, &own, findings);
    let routes = mail::routes(file, &own, findings);
    let outbound = network::outbound(file, findings);
    let servers = network::servers(file, directory, findings);
    let authorise = mail::authorise(file, &domains, findings);
    let (incoming, authenticate) = incoming::incoming(file, findings);
    let limits = limits::limits(file, findings);
    let rates = limits::rates(file, findings);
    let status_grace =
        duration(findings, "signing.status_grace", key(&file.signing, |signing| &signing.status_grace), DAY);
    let trust::Trusted { anchors, crls, urls: crl_urls } = trust::trust(file, directory, &limits, findings);
    let (dns, fetch) = (network::dns(file, findings), network::fetch(file, findings));
    let rules = rules::rules(file, directory, findings);
    let allow_downgrade = rules::allow_downgrade(file, findings);
    let queue_expire = duration(findings, "queue.expire", key(&file.queue, |queue| &queue.expire), 5 * DAY);
    let queue_warn = duration(findings, "queue.warn", key(&file.queue, |queue| &queue.warn), 4 * 3600);
    let store_keep = duration(findings, "store.keep", key(&file.store, |store| &store.keep), 365 * DAY);
    let quarantine_keep = duration(findings, "quarantine.keep", key(&file.quarantine, |table| &table.keep), 30 * DAY);
    let tell_recipients = key(&file.quarantine, |table| &table.tell_recipients).is_some_and(|value| *value.get_ref());
    let postmaster = postmaster(file, &domains, findings);
    let security = security(file, findings);
    let (domains, means): (Vec<_>, Vec<_>) = domains.into_iter().map(mail::OwnDomain::apart).unzip();
    let deliver_to = means.iter().map(|means| means.deliver_to.clone()).collect();
    let verify_recipients = means.iter().map(|means| means.verify_recipients).collect();
    let dkim = means.into_iter().map(|means| means.dkim).collect();
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
        dkim,
        verify_recipients,
        route,
        routes,
        outbound,
        servers,
        tls,
        tls_ca,
        logins,
        dns,
        fetch,
        crl_urls,
        rates,
        authenticate,
        anchors,
        crls,
        status_grace,
        limits,
        queue_expire,
        queue_warn,
        store_keep,
        quarantine_keep,
        tell_recipients,
        notify: Notify { postmaster: postmaster?, security },
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
    fn reached_by(&self, hop: &Server) -> Option<&Listener> {
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
        Some(_) => listener::socket(findings, KEY, 0, written),
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

fn security(file: &File, findings: &mut Findings<'_>) -> Vec<Address> {
    let written = key(&file.notify, |notify| &notify.security);
    let mut addresses = Vec::new();
    for one in written.iter().flat_map(|list| list.get_ref()) {
        match Address::parse(one.get_ref()) {
            Ok(address) => addresses.push(address),
            Err(_) => {
                let problem = format!("expected a mail address, found `{}`", one.get_ref());
                let hint = "write it without angle brackets: \"csirt@kabupaten.go.id\"";
                findings.error(one.span().start, "notify.security", problem, hint);
            }
        }
    }
    addresses
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
