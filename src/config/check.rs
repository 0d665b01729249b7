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
mod trials;

use super::file::{File, Section, Value};
use super::parse::Findings;
use super::value;
use super::{Config, Listener, Log, LogFormat, LogLevel, MasterKeySource, Notify, Server, hash, trust};
use crate::mail::Address;
use crate::policy::Policy;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

const DAY: u64 = 86_400;

/// The checked configuration, or nothing where a value without a default is missing or wrong.
pub(super) fn check(file: &File, path: &Path, findings: &mut Findings<'_>) -> Option<Config> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let data_dir = data_dir(path, text(gateway(file, |gateway| &gateway.data_dir)));
    let hostname = hostname(file, findings);
    let database = database(file, &data_dir, findings);
    let master_key = master_key(file, directory, &data_dir, findings);
    let (tls, tls_ca) = network::tls(file, directory, findings);
    let logins = network::logins(file, findings);
    let listeners = listener::listeners(file, directory, &tls, &logins, findings);
    let console = console(file, &listeners, findings);
    let periods = Periods::of(file, findings);
    let log = log(file, findings);
    let own = OwnAddresses { listeners: &listeners, hostname: hostname.as_deref().unwrap_or_default() };
    let domains = mail::domains(file, directory, &own, findings);
    let route = mail::route(file, &own, findings);
    let routes = mail::routes(file, &domains, &own, findings);
    let outbound = network::outbound(file, findings);
    let servers = network::servers(file, directory, findings);
    let authorise = mail::authorise(file, &domains, findings);
    let (incoming, authenticate) = incoming::incoming(file, findings);
    let limits = limits::limits(file, findings);
    let rates = limits::rates(file, findings);
    let trust::Trusted { anchors, crls, urls: crl_urls } = trust::trust(file, directory, &limits, findings);
    let (dns, fetch) = (network::dns(file, findings), network::fetch(file, findings));
    let (rules, trials) = rules::rules(file, directory, findings);
    let allow_downgrade = rules::allow_downgrade(file, findings);
    let tell_recipients = key(&file.quarantine, |table| &table.tell_recipients).is_some_and(|value| *value.get_ref());
    let postmaster = postmaster(file, &domains, findings);
    let security = security(file, findings);
    let (domains, means): (Vec<_>, Vec<_>) = domains.into_iter().map(mail::OwnDomain::apart).unzip();
    let deliver_to = means.iter().map(|means| means.deliver_to.clone()).collect();
    let verify_recipients = means.iter().map(|means| means.verify_recipients).collect();
    let dkim = means.into_iter().map(|means| means.dkim).collect();
    let hostname = hostname?;
    let mut policy = Policy { hostname, domains, authorise, rules, allow_downgrade, incoming, hash: String::new() };
    policy.hash = hash::policy(&policy, &anchors, periods.status_grace);
    // Of a policy that has errors no test says anything.
    if findings.is_empty() {
        findings.extend_errors(trials.run(&policy));
    }
    Some(Config {
        file: path.to_owned(),
        hostname: policy.hostname.clone(),
        data_dir,
        accept_deadline: periods.accept_deadline,
        database,
        master_key,
        listeners,
        policy,
        policy_tests: trials.len(),
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
        status_grace: periods.status_grace,
        limits,
        queue_expire: periods.queue_expire,
        queue_warn: periods.queue_warn,
        store_keep: periods.store_keep,
        quarantine_keep: periods.quarantine_keep,
        tell_recipients,
        notify: Notify { postmaster: postmaster?, security },
        console,
        drain_delay: periods.drain_delay,
        log,
        warnings: Vec::new(),
    })
}

/// `gateway.data_dir` of the configuration at `path`.
pub(super) fn data_dir(path: &Path, written: Option<&str>) -> PathBuf {
    path.parent().unwrap_or_else(|| Path::new("")).join(written.unwrap_or(PACKAGED_DATA))
}

/// How long this and that may take, or is kept.
struct Periods {
    accept_deadline: Duration,
    drain_delay: Duration,
    status_grace: Duration,
    queue_expire: Duration,
    queue_warn: Duration,
    store_keep: Duration,
    quarantine_keep: Duration,
}

impl Periods {
    fn of(file: &File, findings: &mut Findings<'_>) -> Self {
        let (deadline, delay) =
            (gateway(file, |gateway| &gateway.accept_deadline), gateway(file, |gateway| &gateway.drain_delay));
        let grace = key(&file.signing, |signing| &signing.status_grace);
        let (expire, warn) = (key(&file.queue, |queue| &queue.expire), key(&file.queue, |queue| &queue.warn));
        let keep = key(&file.quarantine, |quarantine| &quarantine.keep);
        let periods = Self {
            accept_deadline: duration(findings, "gateway.accept_deadline", deadline, 120),
            drain_delay: duration(findings, "gateway.drain_delay", delay, 0),
            status_grace: duration(findings, "signing.status_grace", grace, DAY),
            queue_expire: duration(findings, "queue.expire", expire, 5 * DAY),
            queue_warn: duration(findings, "queue.warn", warn, 4 * 3600),
            store_keep: duration(findings, "store.keep", key(&file.store, |store| &store.keep), 365 * DAY),
            quarantine_keep: duration(findings, "quarantine.keep", keep, 30 * DAY),
        };
        if periods.queue_warn >= periods.queue_expire {
            findings
                .warn("queue.warn is not shorter than queue.expire: nobody hears of a delay before mail comes back");
        }
        periods
    }
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

/// Durations that may also be none.
const MAY_BE_ZERO: [&str; 3] = ["signing.status_grace", "incoming.defer_for", "gateway.drain_delay"];

fn duration(findings: &mut Findings<'_>, key: &str, value: Option<&Spanned<String>>, default: u64) -> Duration {
    let default = Duration::from_secs(default);
    let Some(written) = value else { return default };
    match value::duration(written.get_ref()) {
        Some(duration) if !duration.is_zero() || MAY_BE_ZERO.contains(&key) => duration,
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
    match credential(data_dir) {
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

/// Where the packaged service keeps its data; who runs a command on that finds its key where systemd has it from.
const PACKAGED_DATA: &str = "/var/lib/segel";
/// Where systemd shows the credentials of the packaged service while it runs.
const RUNNING: &str = "/run/credentials/segel.service";

/// The systemd credential `segel-master`: of the service itself, or for a command that root runs beside it.
fn credential(data_dir: &Path) -> Option<PathBuf> {
    const NAME: &str = "segel-master";
    // systemd.exec(5), "Credentials": the directory is named by this variable.
    let own = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let beside = own.is_none() && data_dir == Path::new(PACKAGED_DATA) && !data_dir.join("master.key").exists();
    let places = [RUNNING, "/etc/credstore"].into_iter().filter(|_| beside).map(PathBuf::from);
    let found = own.into_iter().chain(places).map(|directory| directory.join(NAME)).find(|path| path.is_file());
    // An encrypted one can be read while the service runs, and then there.
    found.or_else(|| {
        let sealed = beside && Path::new("/etc/credstore.encrypted").join(NAME).is_file();
        sealed.then(|| Path::new(RUNNING).join(NAME))
    })
}

/// Port 0 stands for any free port, so it never collides.
fn same_socket(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// `console.bind` where nothing is written.
pub(super) const CONSOLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);

fn console(file: &File, listeners: &[Listener], findings: &mut Findings<'_>) -> SocketAddr {
    const KEY: &str = "console.bind";
    let default = CONSOLE;
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

fn log(file: &File, findings: &mut Findings<'_>) -> Log {
    let format = key(&file.log, |log| &log.format);
    let formats = [
        ("auto", None),
        ("text", Some(LogFormat::Text)),
        ("json", Some(LogFormat::Json)),
        ("journal", Some(LogFormat::Journal)),
    ];
    let levels =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
    Log {
        format: choice(findings, "log.format", format, &formats, None),
        level: choice(findings, "log.level", key(&file.log, |log| &log.level), &levels, LogLevel::Info),
        addresses: key(&file.log, |log| &log.addresses).is_some_and(|value| *value.get_ref()),
    }
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
