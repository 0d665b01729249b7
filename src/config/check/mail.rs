//! Own domains, the route of everything else, and who may be signed for.

use super::super::file::{self, File};
use super::super::parse::Findings;
use super::super::value;
use super::{NextHop, OwnAddresses, choice, key, missing, must_be_default, not_yet};
use crate::crypto::ContentCipher;
use crate::mail::{Address, Domain};
use crate::policy::{Authorise, DomainPolicy, Encrypt, Sign, Substitute, Unvouched};
use toml::Spanned;

/// A `[[domain]]` with its next hop.
pub(super) struct OwnDomain {
    pub(super) policy: DomainPolicy,
    pub(super) deliver_to: NextHop,
}

pub(super) fn domains(file: &File, own: &OwnAddresses<'_>, findings: &mut Findings<'_>) -> Vec<OwnDomain> {
    if file.domain.is_empty() {
        let hint = "add a [[domain]] with name and deliver_to for each domain whose mail passes here";
        missing(findings, 0, "domain", "at least one [[domain]]", hint);
    }
    let mut domains: Vec<OwnDomain> = Vec::new();
    for table in &file.domain {
        let Some(domain) = domain(table, own, findings) else { continue };
        if domains.iter().any(|other| other.policy.domain.same(&domain.policy.domain)) {
            let problem = format!("expected each domain once, found `{}` twice", domain.policy.domain.as_str());
            let offset = table.get_ref().name.as_ref().map_or(table.span().start, |name| name.span().start);
            findings.error(
                offset,
                "domain.name",
                problem,
                "names are compared without case and as A-labels; put all settings in one [[domain]]",
            );
        }
        domains.push(domain);
    }
    domains
}

fn domain(table: &Spanned<file::Domain>, own: &OwnAddresses<'_>, findings: &mut Findings<'_>) -> Option<OwnDomain> {
    let (start, table) = (table.span().start, table.get_ref());
    let name = name(start, table, findings);
    let deliver_to = match &table.deliver_to {
        Some(written) => next_hop(findings, "domain.deliver_to", written, own),
        None => {
            let hint = "the mail server of this domain, such as \"smtp://127.0.0.1:2525\"";
            missing(findings, start, "domain.deliver_to", "smtp://host:port", hint);
            None
        }
    };
    let tls_absent = "this version speaks no TLS: leave the key out, and reach the server on loopback (deliver_tls = \"may\" is its default there)";
    let words = [("verify", "verify"), ("encrypt", "encrypt"), ("may", "may")];
    let tls = choice(findings, "domain.deliver_tls", table.deliver_tls.as_ref(), &words, "may");
    if let Some(written) = table.deliver_tls.as_ref().filter(|_| tls != "may") {
        not_yet(findings, written.span().start, "domain.deliver_tls", "`may`", &format!("`{tls}`"), tls_absent);
    }
    let sign = choice(
        findings,
        "domain.sign",
        table.sign.as_ref(),
        &[("required", Sign::Required), ("when-possible", Sign::WhenPossible), ("never", Sign::Never)],
        Sign::Required,
    );
    let words = [("required", Encrypt::Required), ("when-possible", Encrypt::WhenPossible), ("never", Encrypt::Never)];
    let encrypt = choice(findings, "domain.encrypt", table.encrypt.as_ref(), &words, Encrypt::WhenPossible);
    let ciphers = [ContentCipher::Aes256Cbc, ContentCipher::Aes256Gcm].map(|cipher| (cipher.name(), cipher));
    let written = table.content_encryption.as_ref();
    let content_encryption = choice(findings, "domain.content_encryption", written, &ciphers, ContentCipher::Aes256Cbc);
    let substitutes =
        [("none", Substitute::None), ("organisation", Substitute::Organisation), ("system", Substitute::System)];
    let substitute = choice(findings, "domain.substitute", table.substitute.as_ref(), &substitutes, Substitute::None);
    let treatments = [("refuse", Unvouched::Refuse), ("pass-unsigned", Unvouched::PassUnsigned)];
    let unvouched = choice(findings, "domain.unvouched", table.unvouched.as_ref(), &treatments, Unvouched::Refuse);
    Some(OwnDomain {
        policy: DomainPolicy { domain: name?, sign, encrypt, content_encryption, substitute, unvouched },
        deliver_to: deliver_to?,
    })
}

fn name(start: usize, table: &file::Domain, findings: &mut Findings<'_>) -> Option<Domain> {
    let hint = "the part after the @, such as \"kabupaten.go.id\"";
    let Some(written) = &table.name else {
        missing(findings, start, "domain.name", "a mail domain", hint);
        return None;
    };
    // An address literal is a Domain to SMTP, but nobody's own domain.
    let domain = Domain::parse(written.get_ref()).ok().filter(|domain| !domain.ascii().starts_with('['));
    if domain.is_none() {
        findings.error(
            written.span().start,
            "domain.name",
            format!("expected a mail domain, found `{}`", written.get_ref()),
            hint,
        );
    }
    domain
}

/// `[outbound]`: everything that isn't for an own domain.
pub(super) fn route(file: &File, own: &OwnAddresses<'_>, findings: &mut Findings<'_>) -> Option<NextHop> {
    const KEY: &str = "outbound.route";
    let hint = "name a mail server that sends on for you, such as route = \"smtp://127.0.0.1:2525\"";
    let port = key(&file.outbound, |outbound| &outbound.port);
    if let Some(port) = port.filter(|port| *port.get_ref() != 25) {
        let hint = "the port of a mail server stands in outbound.route; this key is for delivery by MX";
        not_yet(findings, port.span().start, "outbound.port", "`25`", &format!("`{}`", port.get_ref()), hint);
    }
    match key(&file.outbound, |outbound| &outbound.route) {
        Some(written) if written.get_ref() == "mx" => {
            not_yet(findings, written.span().start, KEY, "smtp://host:port", "`mx`", hint);
            None
        }
        Some(written) => next_hop(findings, KEY, written, own),
        None if findings.was_refused(KEY) => None,
        None => {
            let offset = file.outbound.as_ref().map_or(0, |outbound| outbound.span().start);
            let problem =
                "expected smtp://host:port, found nothing: the default is `mx`, which this version can not do";
            findings.error(offset, KEY, problem, hint);
            None
        }
    }
}

fn next_hop(
    findings: &mut Findings<'_>,
    key: &str,
    written: &Spanned<String>,
    own: &OwnAddresses<'_>,
) -> Option<NextHop> {
    let offset = written.span().start;
    let Some(hop) = value::next_hop(written.get_ref()) else {
        let problem = format!("expected smtp://host:port, found `{}`", written.get_ref());
        findings.error(offset, key, problem, "name host and port: \"smtp://127.0.0.1:2525\", \"smtp://[::1]:2525\"");
        return None;
    };
    if let Some(listener) = own.reached_by(&hop) {
        let problem = format!(
            "expected another server, found `{hop}`, which is our listener `{}`: mail would loop",
            listener.name
        );
        findings.error(offset, key, problem, "name the server that stands behind the gateway");
    }
    if !hop.is_loopback() {
        let hint = "a server on this machine, or a TLS tunnel that listens on loopback; plain text never takes the place of TLS";
        not_yet(findings, offset, key, "a next hop on loopback", &format!("`{hop}`, which needs TLS"), hint);
    }
    Some(hop)
}

pub(super) fn authorise(file: &File, domains: &[OwnDomain], findings: &mut Findings<'_>) -> Vec<Authorise> {
    let mut entries = Vec::new();
    for table in &file.authorise {
        let (start, table) = (table.span().start, table.get_ref());
        let by_envelope = "authorise by envelope = \"address\", the reverse-path that your mail server gives";
        must_be_default(findings, "authorise.login", table.login.as_ref(), "", by_envelope);
        must_be_default(findings, "authorise.header", table.header.as_ref(), "", by_envelope);
        let envelope = match &table.envelope {
            Some(written) => address(findings, "authorise.envelope", written),
            None if table.login.is_some() || table.header.is_some() => None,
            None => {
                missing(findings, start, "authorise.envelope", "a mail address", by_envelope);
                None
            }
        };
        let mut from = Vec::new();
        for written in table.from.iter().flat_map(Spanned::get_ref) {
            let Some(address) = address(findings, "authorise.from", written) else { continue };
            if !domains.is_empty() && !domains.iter().any(|own| own.policy.domain.same(address.domain())) {
                let problem = format!("expected an address in an own domain, found `{}`", address.as_str());
                findings.error(
                    written.span().start,
                    "authorise.from",
                    problem,
                    "only own domains are signed for; add a [[domain]] or correct the address",
                );
            }
            from.push(address);
        }
        if table.from.as_ref().is_none_or(|list| list.get_ref().is_empty()) {
            let hint = "the addresses that may be signed for, such as from = [\"bupati@kabupaten.go.id\"]";
            missing(findings, start, "authorise.from", "at least one address", hint);
        }
        entries.extend(envelope.map(|envelope| Authorise { envelope, from }));
    }
    entries
}

fn address(findings: &mut Findings<'_>, key: &str, written: &Spanned<String>) -> Option<Address> {
    let address = Address::parse(written.get_ref()).ok();
    if address.is_none() {
        let problem = format!("expected a mail address, found `{}`", written.get_ref());
        findings.error(
            written.span().start,
            key,
            problem,
            "write it without name and angle brackets: \"bupati@kabupaten.go.id\"",
        );
    }
    address
}
