//! `[[listener]]`: who may come in where, and with what proof.

use super::super::file::{self, File, List};
use super::super::parse::Findings;
use super::super::settings::{ClientCertificates, ListenerTls, Login, Mechanism, TlsIdentity};
use super::super::value::NetworkError;
use super::super::{Listener, Network, files};
use super::{choice, missing, same_socket};
use crate::pki::Crl;
use crate::policy::Side;
use std::net::SocketAddr;
use std::path::Path;
use toml::Spanned;

pub(super) fn listeners(
    file: &File,
    directory: &Path,
    tls: &[TlsIdentity],
    logins: &[Login],
    findings: &mut Findings<'_>,
) -> Vec<Listener> {
    if file.listener.is_empty() {
        let hint = "add a [[listener]] with name, bind and side; config/segel.toml shows one for each side";
        missing(findings, 0, "listener", "at least one [[listener]]", hint);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for table in &file.listener {
        let Some(listener) = listener(table, directory, tls, logins, findings) else { continue };
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

fn listener(
    table: &Spanned<file::Listener>,
    directory: &Path,
    identities: &[TlsIdentity],
    logins: &[Login],
    findings: &mut Findings<'_>,
) -> Option<Listener> {
    let (start, table) = (table.span().start, table.get_ref());
    let name = name(start, table, findings);
    let bind = socket(findings, "listener.bind", start, table.bind.as_ref());
    let side = side(start, table, findings);
    let clients = networks(findings, "listener.clients", &table.clients);
    let tls = tls(table, identities, findings);
    let require_tls = table.require_tls.as_ref().is_some_and(|value| *value.get_ref());
    if let Some(written) = table.require_tls.as_ref().filter(|_| require_tls && tls == ListenerTls::Off) {
        let problem = "expected TLS on this listener, found none to require";
        findings.error(
            written.span().start,
            "listener.require_tls",
            problem,
            "set tls = \"starttls\" and [tls] certificate and key",
        );
    }
    let client_certificates = client_certificates(table, directory, tls, side, findings);
    let auth = auth(table, tls, side, &client_certificates, logins, findings);
    if side == Some(Side::Inside) && auth.is_empty() && client_certificates.anchors.is_empty() {
        restricted(findings, start, table, &clients);
    }
    if side == Some(Side::Inside)
        && Network::cover_everything(&clients)
        && !(auth.is_empty() && client_certificates.anchors.is_empty())
    {
        restricted(findings, start, table, &clients);
    }
    Some(Listener { name: name?, bind: bind?, side: side?, clients, tls, require_tls, client_certificates, auth })
}

fn name(start: usize, table: &file::Listener, findings: &mut Findings<'_>) -> Option<String> {
    match &table.name {
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
    }
}

fn side(start: usize, table: &file::Listener, findings: &mut Findings<'_>) -> Option<Side> {
    match &table.side {
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
    }
}

/// `tls`: STARTTLS where there is a certificate, if nothing is said.
fn tls(table: &file::Listener, identities: &[TlsIdentity], findings: &mut Findings<'_>) -> ListenerTls {
    let words = [("starttls", ListenerTls::StartTls), ("implicit", ListenerTls::Implicit), ("off", ListenerTls::Off)];
    let unreadable = findings.has_errors_of("tls.");
    let default = if identities.is_empty() && !unreadable { ListenerTls::Off } else { ListenerTls::StartTls };
    let tls = choice(findings, "listener.tls", table.tls.as_ref(), &words, default);
    // A certificate that is written and can't be read is an error already.
    let none = identities.is_empty() && !findings.has_errors_of("tls.");
    if let Some(written) = table.tls.as_ref().filter(|_| tls != ListenerTls::Off && none) {
        let hint = "name certificate and key under [tls]";
        findings.error(
            written.span().start,
            "listener.tls",
            "expected `off`: there is no certificate, found TLS",
            hint,
        );
    }
    tls
}

fn client_certificates(
    table: &file::Listener,
    directory: &Path,
    tls: ListenerTls,
    side: Option<Side>,
    findings: &mut Findings<'_>,
) -> ClientCertificates {
    const KEY: &str = "listener.client_ca";
    let Some(written) = &table.client_ca else { return ClientCertificates::default() };
    if side == Some(Side::Outside) || tls == ListenerTls::Off {
        let problem = "expected client certificates on an inside listener with TLS only";
        findings.error(written.span().start, KEY, problem, "strangers are not identified; leave the key out here");
    }
    let anchors = files::certificates(KEY, written, directory, findings);
    let mut crls = Vec::new();
    for one in table.client_crls.iter().flat_map(Spanned::get_ref) {
        const KEY: &str = "listener.client_crls";
        let hint = "a CRL of the CA in client_ca, PEM or DER";
        let limits = crate::limits::Limits::default();
        let Some((path, content)) = files::read(KEY, one, directory, limits.crl, hint, findings) else { continue };
        match Crl::bundle(&content, &limits) {
            Ok(list) if !list.is_empty() => crls.extend(list.iter().map(|crl| crl.der().to_vec())),
            _ => findings.error(
                one.span().start,
                KEY,
                format!("expected a CRL, found none in `{}`", path.display()),
                hint,
            ),
        }
    }
    ClientCertificates { anchors, crls }
}

fn auth(
    table: &file::Listener,
    tls: ListenerTls,
    side: Option<Side>,
    client: &ClientCertificates,
    logins: &[Login],
    findings: &mut Findings<'_>,
) -> Vec<Mechanism> {
    const KEY: &str = "listener.auth";
    let mut mechanisms = Vec::new();
    for one in table.auth.iter().flat_map(Spanned::get_ref) {
        let (offset, found) = (one.span().start, format!("found `{}`", one.get_ref()));
        if side == Some(Side::Outside) || tls == ListenerTls::Off {
            let hint = "passwords never cross in clear, and strangers do not log in";
            findings.error(offset, KEY, format!("expected AUTH on an inside listener with TLS only, {found}"), hint);
            continue;
        }
        match one.get_ref().as_str() {
            "plain" if logins.is_empty() => {
                findings.error(offset, KEY, "expected a [[login]], found none", "`segel login NAME` prints one");
            }
            "plain" => mechanisms.push(Mechanism::Plain),
            "external" if client.anchors.is_empty() => {
                findings.error(
                    offset,
                    KEY,
                    "expected client_ca beside `external`, found none",
                    "name the CA of the clients",
                );
            }
            "external" => mechanisms.push(Mechanism::External),
            _ => findings.error(offset, KEY, format!("expected `plain` or `external`, {found}"), "auth = [\"plain\"]"),
        }
    }
    mechanisms
}

/// An inside listener is where authority comes from: whoever may use it is signed for.
fn restricted(findings: &mut Findings<'_>, start: usize, table: &file::Listener, clients: &[Network]) {
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

pub(super) fn networks(findings: &mut Findings<'_>, key: &str, list: &List) -> Vec<Network> {
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

pub(super) fn socket(
    findings: &mut Findings<'_>,
    key: &str,
    start: usize,
    value: Option<&Spanned<String>>,
) -> Option<SocketAddr> {
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
