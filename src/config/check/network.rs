//! TLS, logins, servers, DNS and fetching.

use super::super::file::{self, File};
use super::super::files;
use super::super::parse::Findings;
use super::super::settings::{Dns, Fetch, Login, Outbound, ServerSettings, TlsIdentity};
use super::{key, listener, missing};
use crate::crypto::password::PasswordHash;
use crate::pki::Certificate;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use toml::Spanned;

/// `[tls]`: the listeners' certificates, and whom next hops are proven by.
pub(super) fn tls(file: &File, directory: &Path, findings: &mut Findings<'_>) -> (Vec<TlsIdentity>, Vec<Vec<u8>>) {
    let Some(table) = file.tls.as_ref().map(Spanned::get_ref) else { return (Vec::new(), Vec::new()) };
    let first = files::identity("tls", table.certificate.as_ref(), table.key.as_ref(), directory, findings);
    let mut identities: Vec<TlsIdentity> = first.into_iter().collect();
    for also in &table.also {
        let also = also.get_ref();
        identities.extend(files::identity(
            "tls.also",
            also.certificate.as_ref(),
            also.key.as_ref(),
            directory,
            findings,
        ));
    }
    for identity in &identities {
        let first = identity.chain.first().and_then(|der| Certificate::from_der(der).ok());
        if let Some(ended) = first.filter(|first| first.not_after() < crate::clock::now()) {
            findings.warn(format!("the TLS certificate of {} has ended at {}", ended.subject(), ended.not_after()));
        }
    }
    let ca = table.ca.as_ref().filter(|ca| !ca.get_ref().is_empty());
    (identities, ca.map(|ca| files::certificates("tls.ca", ca, directory, findings)).unwrap_or_default())
}

/// `[[login]]`: names with their hashed passwords.
pub(super) fn logins(file: &File, findings: &mut Findings<'_>) -> Vec<Login> {
    let mut logins: Vec<Login> = Vec::new();
    for table in &file.login {
        let (start, table) = (table.span().start, table.get_ref());
        let hint = "`segel login NAME` prints the lines to put here";
        let (Some(name), Some(hash)) = (&table.name, &table.password) else {
            missing(findings, start, "login", "name and password", hint);
            continue;
        };
        if name.get_ref().is_empty() || logins.iter().any(|known| known.name == *name.get_ref()) {
            let problem = format!("expected a name of its own, found `{}`", name.get_ref());
            findings.error(name.span().start, "login.name", problem, "each name stands once");
        }
        if PasswordHash::parse(hash.get_ref()).is_none() {
            // It may be the password itself, so it isn't repeated.
            findings.error(hash.span().start, "login.password", "expected `$argon2id$…`, found something else", hint);
        }
        logins.push(Login { name: name.get_ref().clone(), hash: hash.get_ref().clone() });
    }
    logins
}

pub(super) fn outbound(file: &File, findings: &mut Findings<'_>) -> Outbound {
    let port = key(&file.outbound, |outbound| &outbound.port).map_or(25, |port| *port.get_ref());
    let mut own: Vec<IpAddr> = Vec::new();
    for one in key(&file.outbound, |outbound| &outbound.own).iter().flat_map(|list| list.get_ref()) {
        match one.get_ref().parse() {
            Ok(address) => own.push(address),
            Err(_) => {
                let problem = format!("expected an IP address, found `{}`", one.get_ref());
                let hint = "the addresses under which others reach this gateway, such as \"203.0.113.25\"";
                findings.error(one.span().start, "outbound.own", problem, hint);
            }
        }
    }
    let list = file.outbound.as_ref().and_then(|outbound| outbound.get_ref().allow_private.as_ref()).cloned();
    let allow_private = listener::networks(findings, "outbound.allow_private", &list);
    Outbound { port, own, allow_private }
}

/// `[[server]]`
pub(super) fn servers(file: &File, directory: &Path, findings: &mut Findings<'_>) -> Vec<ServerSettings> {
    file.server.iter().filter_map(|table| server(table.span().start, table.get_ref(), directory, findings)).collect()
}

fn server(start: usize, table: &file::Server, directory: &Path, findings: &mut Findings<'_>) -> Option<ServerSettings> {
    let Some(host) = &table.host else {
        missing(findings, start, "server.host", "a host name or address", "as it stands in deliver_to or route");
        return None;
    };
    let ca = table.ca.as_ref().map(|ca| files::certificates("server.ca", ca, directory, findings)).unwrap_or_default();
    let fingerprint = table.fingerprint.as_ref().and_then(|written| fingerprint(written, findings));
    let identity = files::identity("server", table.certificate.as_ref(), table.key.as_ref(), directory, findings);
    let login = match (&table.login, &table.password_file) {
        (None, None) => None,
        (Some(name), Some(file)) => files::password("server.password_file", file, directory, findings)
            .map(|password| (name.get_ref().clone(), password)),
        _ => {
            missing(
                findings,
                start,
                "server.login",
                "login and password_file together",
                "the password stands in a file",
            );
            None
        }
    };
    let name = table.name.as_ref().map(|name| name.get_ref().to_ascii_lowercase());
    let port = table.port.as_ref().map(|port| *port.get_ref());
    let host = host.get_ref().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Some(ServerSettings { host, port, ca, fingerprint, name, identity, login })
}

fn fingerprint(written: &Spanned<String>, findings: &mut Findings<'_>) -> Option<[u8; 32]> {
    let digits: String = written.get_ref().chars().filter(|c| *c != ':').collect();
    let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
    let found = octets.and_then(|octets| octets.try_into().ok());
    if found.is_none() {
        let hint = "`openssl x509 -noout -fingerprint -sha256 -in CERT` prints it";
        findings.error(written.span().start, "server.fingerprint", "expected a SHA-256 fingerprint of 64 digits", hint);
    }
    found
}

pub(super) fn dns(file: &File, findings: &mut Findings<'_>) -> Dns {
    let mut servers = Vec::new();
    for one in key(&file.dns, |dns| &dns.servers).iter().flat_map(|list| list.get_ref()) {
        let text = one.get_ref();
        let address =
            text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 53)));
        match address {
            Some(address) => servers.push(address),
            None => {
                let problem = format!("expected an IP address, found `{text}`");
                findings.error(one.span().start, "dns.servers", problem, "such as \"127.0.0.1\" or \"127.0.0.1:5353\"");
            }
        }
    }
    Dns { servers }
}

pub(super) fn fetch(file: &File, findings: &mut Findings<'_>) -> Fetch {
    let enabled = key(&file.fetch, |fetch| &fetch.enabled).is_none_or(|on| *on.get_ref());
    let list = file.fetch.as_ref().and_then(|fetch| fetch.get_ref().allow_private.as_ref()).cloned();
    let allow_private = listener::networks(findings, "fetch.allow_private", &list);
    let ports = key(&file.fetch, |fetch| &fetch.ports).map_or_else(|| vec![80, 443], |ports| ports.get_ref().clone());
    let written = key(&file.fetch, |fetch| &fetch.proxy).filter(|proxy| !proxy.get_ref().is_empty());
    let proxy = written.map(|proxy| proxy.get_ref().clone());
    if let Some(written) = written {
        let parsed = url::Url::parse(written.get_ref()).ok();
        if !parsed.is_some_and(|url| url.scheme() == "http" && url.host().is_some() && url.path() == "/") {
            let problem = format!("expected http://host:port, found `{}`", written.get_ref());
            findings.error(written.span().start, "fetch.proxy", problem, "such as \"http://10.0.0.3:3128\"");
        }
    }
    Fetch { enabled, allow_private, ports, proxy }
}
