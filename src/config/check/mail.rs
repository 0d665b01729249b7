//! Own domains, the route of everything else, and who may be signed for.

use super::super::file::{self, File, OneOrMore};
use super::super::parse::Findings;
use super::super::settings::{DkimKey, Route};
use super::super::{DeliverTls, Destination, NextHop, Server, files, value};
use super::{OwnAddresses, choice, key, missing, must_be_default};
use crate::crypto::ContentCipher;
use crate::mail::{Address, Domain};
use crate::policy::{Authorise, DomainPolicy, Encrypt, Pattern, Sign, Substitute, Unvouched, Voucher};
use std::path::Path;
use toml::Spanned;

/// A `[[domain]]`.
pub(super) struct OwnDomain {
    pub(super) policy: DomainPolicy,
    pub(super) means: Means,
}

/// What of it is about getting mail there, and not about deciding.
pub(super) struct Means {
    pub(super) deliver_to: NextHop,
    pub(super) dkim: Vec<DkimKey>,
    pub(super) verify_recipients: bool,
}

impl OwnDomain {
    pub(super) fn apart(self) -> (DomainPolicy, Means) {
        (self.policy, self.means)
    }
}

pub(super) fn domains(
    file: &File,
    directory: &Path,
    own: &OwnAddresses<'_>,
    findings: &mut Findings<'_>,
) -> Vec<OwnDomain> {
    if file.domain.is_empty() {
        let hint = "add a [[domain]] with name and deliver_to for each domain whose mail passes here";
        missing(findings, 0, "domain", "at least one [[domain]]", hint);
    }
    let mut domains: Vec<OwnDomain> = Vec::new();
    for table in &file.domain {
        let Some(domain) = domain(table, directory, own, findings) else { continue };
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

fn domain(
    table: &Spanned<file::Domain>,
    directory: &Path,
    own: &OwnAddresses<'_>,
    findings: &mut Findings<'_>,
) -> Option<OwnDomain> {
    let (start, table) = (table.span().start, table.get_ref());
    let name = name(start, table, findings);
    let deliver_to = match &table.deliver_to {
        Some(written) => {
            next_hop(findings, ("domain.deliver_to", "domain.deliver_tls"), written, table.deliver_tls.as_ref(), own)
        }
        None => {
            let hint = "the mail server of this domain, such as \"smtp://10.0.0.5:25\"";
            missing(findings, start, "domain.deliver_to", "smtp://host:port", hint);
            None
        }
    };
    let dkim = table.dkim.iter().filter_map(|key| dkim(key, directory, findings)).collect();
    let verify_recipients = table.verify_recipients.as_ref().is_none_or(|on| *on.get_ref());
    let sign = choice(findings, "domain.sign", table.sign.as_ref(), &Sign::WORDS, Sign::Required);
    let encrypt = choice(findings, "domain.encrypt", table.encrypt.as_ref(), &Encrypt::WORDS, Encrypt::WhenPossible);
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
        means: Means { deliver_to: deliver_to?, dkim, verify_recipients },
    })
}

/// `[[domain.dkim]]`
fn dkim(table: &Spanned<file::Dkim>, directory: &Path, findings: &mut Findings<'_>) -> Option<DkimKey> {
    let (start, table) = (table.span().start, table.get_ref());
    let (Some(selector), Some(file)) = (&table.selector, &table.key) else {
        let hint = "selector = \"s1\" and key = \"dkim/s1.pem\"";
        missing(findings, start, "domain.dkim", "selector and key", hint);
        return None;
    };
    if !value::is_host_name(selector.get_ref()) {
        let problem = format!("expected a selector, found `{}`", selector.get_ref());
        findings.error(selector.span().start, "domain.dkim.selector", problem, "labels of letters, digits and hyphens");
    }
    let key = files::private_key("domain.dkim.key", file, directory, findings)?;
    if let Err(problem) = super::super::settings::signs_dkim(&key) {
        let hint = "`openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` or `-algorithm ED25519` makes one";
        findings.error(file.span().start, "domain.dkim.key", problem, hint);
    }
    Some(DkimKey { selector: selector.get_ref().to_ascii_lowercase(), key })
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

/// `[outbound]`: everything that isn't for an own domain; nothing: by MX.
pub(super) fn route(file: &File, own: &OwnAddresses<'_>, findings: &mut Findings<'_>) -> Option<NextHop> {
    let written = key(&file.outbound, |outbound| &outbound.route)?;
    let tls = key(&file.outbound, |outbound| &outbound.tls);
    if let [one] = written.get_ref().texts()
        && one.eq_ignore_ascii_case("mx")
    {
        return None;
    }
    next_hop(findings, ("outbound.route", "outbound.tls"), written, tls, own)
}

/// `[[route]]`: single domains that are not ours.
pub(super) fn routes(
    file: &File,
    domains: &[OwnDomain],
    own: &OwnAddresses<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for table in &file.route {
        let (start, table) = (table.span().start, table.get_ref());
        let (Some(domain), Some(to)) = (&table.domain, &table.to) else {
            missing(
                findings,
                start,
                "route",
                "domain and to",
                "domain = \"mitra.go.id\" and to = \"smtp://10.0.0.9:25\"",
            );
            continue;
        };
        let subdomains = domain.get_ref().starts_with('.');
        let Ok(name) = Domain::parse(domain.get_ref().trim_start_matches('.')) else {
            let problem = format!("expected a mail domain, found `{}`", domain.get_ref());
            findings.error(domain.span().start, "route.domain", problem, "with a leading dot for its subdomains too");
            continue;
        };
        if !subdomains && domains.iter().any(|other| other.policy.domain.same(&name)) {
            let text = format!(
                "[[route]] `{}` is never used: it is an own domain, and goes to its deliver_to",
                domain.get_ref()
            );
            findings.warn_at(domain.span().start, &text);
        }
        let earlier = |route: &Route| route.matches(&name) && (route.subdomains || !subdomains);
        if routes.iter().any(earlier) {
            let text = format!("[[route]] `{}` is never used: an earlier one takes its mail", domain.get_ref());
            findings.warn_at(domain.span().start, &text);
        }
        let hop = next_hop(findings, ("route.to", "route.tls"), to, table.tls.as_ref(), own);
        routes.extend(hop.map(|next_hop| Route { domain: name, subdomains, next_hop }));
    }
    routes
}

/// Servers in their order, and what TLS must give: `verify`, except to loopback.
fn next_hop(
    findings: &mut Findings<'_>,
    (key, tls_key): (&str, &str),
    written: &Spanned<OneOrMore>,
    tls: Option<&Spanned<String>>,
    own: &OwnAddresses<'_>,
) -> Option<NextHop> {
    let offset = written.span().start;
    let mut servers = Vec::new();
    for text in written.get_ref().texts() {
        let Some(server) = value::server(text) else {
            let problem = format!("expected smtp://host:port, found `{text}`");
            let hint =
                "name host and port: \"smtp://10.0.0.5:25\", \"smtps://mail.example:465\", \"smtp://[::1]:2525\"";
            findings.error(offset, key, problem, hint);
            continue;
        };
        if let Some(listener) = own.reached_by(&server) {
            let problem = format!(
                "expected another server, found `{server}`, which is our listener `{}`: mail would loop",
                listener.name
            );
            findings.error(offset, key, problem, "name the server that stands behind the gateway");
        }
        servers.push(server);
    }
    let words = [("may", DeliverTls::May), ("encrypt", DeliverTls::Encrypt), ("verify", DeliverTls::Verify)];
    let default = if servers.iter().all(Server::is_loopback) { DeliverTls::May } else { DeliverTls::Verify };
    let tls = choice(findings, tls_key, tls, &words, default);
    (!servers.is_empty()).then_some(NextHop { to: Destination::Servers(servers), tls })
}

pub(super) fn authorise(file: &File, domains: &[OwnDomain], findings: &mut Findings<'_>) -> Vec<Authorise> {
    let mut entries = Vec::new();
    for table in &file.authorise {
        let (start, table) = (table.span().start, table.get_ref());
        let who =
            "authorise by envelope = \"address\", the reverse-path, or by login = \"name\", who has authenticated";
        must_be_default(findings, "authorise.header", table.header.as_ref(), "", who);
        let by = match (&table.envelope, &table.login) {
            (Some(written), None) => address(findings, "authorise.envelope", written).map(Voucher::Envelope),
            (None, Some(login)) if !login.get_ref().is_empty() => Some(Voucher::Login(login.get_ref().clone())),
            _ if table.header.is_some() => None,
            _ => {
                missing(findings, start, "authorise.envelope", "an envelope or a login, one of them", who);
                None
            }
        };
        let mut from = Vec::new();
        for written in table.from.iter().flat_map(Spanned::get_ref) {
            let Some(pattern) = sender(findings, written, &by) else { continue };
            let domain = match &pattern {
                Pattern::Mailbox(address) => address.domain(),
                Pattern::Domain(domain) => domain,
            };
            if !domains.is_empty() && !domains.iter().any(|own| own.policy.domain.same(domain)) {
                let problem = format!("expected an address in an own domain, found `{}`", written.get_ref());
                findings.error(
                    written.span().start,
                    "authorise.from",
                    problem,
                    "only own domains are signed for; add a [[domain]] or correct the address",
                );
            }
            from.push(pattern);
        }
        if table.from.as_ref().is_none_or(|list| list.get_ref().is_empty()) {
            let hint = "the addresses that may be signed for, such as from = [\"bupati@kabupaten.go.id\"]";
            missing(findings, start, "authorise.from", "at least one address", hint);
        }
        entries.extend(by.map(|by| Authorise { by, from }));
    }
    entries
}

/// An address; for a login also a domain.
fn sender(findings: &mut Findings<'_>, written: &Spanned<String>, by: &Option<Voucher>) -> Option<Pattern> {
    match (by, written.get_ref().starts_with('@')) {
        (Some(Voucher::Login(_)), true) if Pattern::parse(written.get_ref()).is_some() => {
            Pattern::parse(written.get_ref())
        }
        _ => address(findings, "authorise.from", written).map(Pattern::Mailbox),
    }
}

fn address(findings: &mut Findings<'_>, key: &str, written: &Spanned<String>) -> Option<Address> {
    let address = Address::parse(written.get_ref()).ok().filter(|_| !written.get_ref().contains('*'));
    if address.is_none() {
        let problem = format!("expected a mail address, found `{}`", written.get_ref());
        findings.error(
            written.span().start,
            key,
            problem,
            "write it without name and angle brackets: \"bupati@kabupaten.go.id\"; for a login also \"@kabupaten.go.id\"",
        );
    }
    address
}
