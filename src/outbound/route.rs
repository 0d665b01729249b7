//! From a next hop to the servers that may take its mail (RFC 5321 section 5.1, 7505).
//!
//! What the operator names is taken as it is. What DNS names is sorted by preference, cut where this gateway stands in it, and
//! kept off addresses that are not of the Internet: a stranger's zone must not lead us to our own machines.

use super::Surroundings;
use crate::config::Server;
use crate::dns::{DnsError, Exchanger, is_public};
use crate::queue::Outcome;
use crate::tls::client::Known;
use std::fmt;
use std::net::IpAddr;
use tokio::task::JoinSet;

/// Exchangers of one domain that are tried. The largest publish five to ten.
const HOSTS: usize = 20;

/// Addresses of one domain that are tried.
const TARGETS: usize = 30;

/// One address of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server's name, or its address again.
    pub host: String,
    /// Where it is.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// TLS from the first octet.
    pub implicit_tls: bool,
    /// What the configuration says of it.
    pub known: Option<Known>,
}

impl fmt::Display for Target {
    /// `mx1.example[192.0.2.1]:25`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.host.parse::<IpAddr>().is_err();
        write!(f, "{}[{}]:{}", if named { &self.host } else { "" }, self.address, self.port)
    }
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// RFC 7505: the domain takes no mail.
    #[error("`{0}` takes no mail (null MX)")]
    Null(String),
    /// NXDOMAIN.
    #[error("domain `{0}` does not exist")]
    NotFound(String),
    /// Neither MX nor address, or exchangers without address.
    #[error("no server takes mail for `{0}`: it has no exchanger with an address")]
    None(String),
    /// The best exchanger is this gateway.
    #[error("mail for `{0}` loops back to this gateway: its best exchanger is here")]
    Loop(String),
    /// Only addresses that are not of the Internet.
    #[error("no server takes mail for `{0}`: its exchangers have private addresses only")]
    Private(String),
    /// The look-up may work later.
    #[error("look-up of `{name}` failed: {why}")]
    Temporary {
        /// What was looked up.
        name: String,
        /// What came of it.
        why: String,
    },
}

impl RouteError {
    /// RFC 3463 section 3.2 and 3.5, RFC 7505 section 4.2. Class 5 is final.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Null(_) => "5.1.10",
            Self::NotFound(_) => "5.1.2",
            Self::None(_) | Self::Private(_) => "5.4.4",
            Self::Loop(_) => "5.4.6",
            Self::Temporary { .. } => "4.4.3",
        }
    }

    /// As the fate of whatever was to be delivered.
    pub fn outcome(&self) -> Outcome {
        let (status, diagnostic) = (self.status().to_owned(), self.to_string());
        match self {
            Self::Temporary { .. } => Outcome::Deferred { status, diagnostic },
            _ => Outcome::Failed { status, diagnostic },
        }
    }
}

/// The addresses of a server that the operator names. That it has none is his mistake or his name server's: it passes.
///
/// # Errors
/// [`RouteError::Temporary`]
pub async fn server(server: &Server, surroundings: &Surroundings) -> Result<Vec<Target>, RouteError> {
    let temporary = |error: DnsError| RouteError::Temporary { name: server.host.clone(), why: error.to_string() };
    let addresses = surroundings.resolver.addresses(&server.host).await.map_err(temporary)?;
    let known = surroundings.tls.find(server);
    let target = |address| Target {
        host: server.host.clone(),
        address,
        port: server.port,
        implicit_tls: server.implicit_tls,
        known,
    };
    Ok(addresses.into_iter().map(target).collect())
}

/// The servers that DNS names for a domain (A-labels, or an address literal in brackets), in the order of trying.
///
/// # Errors
/// [`RouteError`]
pub async fn exchangers(domain: &str, surroundings: &Surroundings) -> Result<Vec<Target>, RouteError> {
    let hosts = match literal(domain) {
        Some(address) => vec![Host { preference: 0, name: address.to_string(), addresses: Ok(vec![address]) }],
        None => hosts(domain, surroundings).await?,
    };
    let own = |host: &Host| {
        let here = |address: &IpAddr| surroundings.own.contains(address);
        host.name.eq_ignore_ascii_case(&surroundings.hostname) || host.addresses.iter().flatten().any(here)
    };
    let hosts = cut(hosts, own).ok_or_else(|| RouteError::Loop(domain.to_owned()))?;
    let allowed = |address: &IpAddr| {
        is_public(*address) || surroundings.allow_private.iter().any(|network| network.contains(*address))
    };
    let chosen = reachable(domain, &hosts, allowed)?;
    let target = |(host, address): (String, IpAddr)| {
        let server = Server { host, port: surroundings.port, implicit_tls: false };
        let known = surroundings.tls.find(&server);
        Target { host: server.host, address, port: server.port, implicit_tls: false, known }
    };
    Ok(chosen.into_iter().map(target).collect())
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    let v6 = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).and_then(|_| inner.get(5..));
    v6.unwrap_or(inner).parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// An exchanger and what its name leads to.
#[derive(Clone, Debug)]
struct Host {
    preference: u16,
    name: String,
    addresses: Result<Vec<IpAddr>, DnsError>,
}

/// The exchangers of a domain, sorted, with their addresses: the whole list is needed to find ourselves in it.
async fn hosts(domain: &str, surroundings: &Surroundings) -> Result<Vec<Host>, RouteError> {
    let found = match surroundings.resolver.exchangers(&absolute(domain)).await {
        Ok(found) => usable(found).ok_or_else(|| RouteError::Null(domain.to_owned()))?,
        // RFC 5321 section 5.1: only where there is no MX is the domain its own exchanger.
        Err(DnsError::NoRecords) => vec![Exchanger { preference: 0, host: domain.to_owned() }],
        Err(DnsError::NotFound) => return Err(RouteError::NotFound(domain.to_owned())),
        Err(error @ DnsError::Temporary(_)) => {
            return Err(RouteError::Temporary { name: domain.to_owned(), why: error.to_string() });
        }
    };
    let mut asking = JoinSet::new();
    for (place, exchanger) in sorted(found, random).into_iter().take(HOSTS).enumerate() {
        let resolver = surroundings.resolver.clone();
        asking.spawn(async move {
            let addresses = resolver.addresses(&absolute(&exchanger.host)).await;
            (place, Host { preference: exchanger.preference, name: exchanger.host, addresses })
        });
    }
    let mut hosts = asking.join_all().await;
    hosts.sort_by_key(|(place, _)| *place);
    Ok(hosts.into_iter().map(|(_, host)| host).collect())
}

/// What stands in mail and in zones is whole: the system's search list is not for it. An exchanger that is written as an
/// address (which RFC 5321 does not allow, and people do) is asked for as one, and then is one.
fn absolute(name: &str) -> String {
    if name.parse::<IpAddr>().is_ok() { name.to_owned() } else { format!("{name}.") }
}

/// Without the root, which is nobody's host; `None` if it stands alone (RFC 7505 section 3).
fn usable(mut found: Vec<Exchanger>) -> Option<Vec<Exchanger>> {
    found.retain(|exchanger| !exchanger.host.is_empty());
    (!found.is_empty()).then_some(found)
}

/// By preference, and at random among equals. `random` gives a number below its argument.
fn sorted(mut found: Vec<Exchanger>, mut random: impl FnMut(usize) -> usize) -> Vec<Exchanger> {
    for last in (1..found.len()).rev() {
        found.swap(last, random(last + 1));
    }
    found.sort_by_key(|exchanger| exchanger.preference);
    found
}

fn random(below: usize) -> usize {
    let octets: [u8; 4] = crate::seal::random();
    // `below` is small, so what the remainder prefers is not noticed.
    usize::try_from(u32::from_le_bytes(octets)).unwrap_or(0) % below.max(1)
}

/// RFC 5321 section 5.1: the gateway's own preference and worse ones are cut off. `None` if nothing is left then.
fn cut(mut hosts: Vec<Host>, own: impl Fn(&Host) -> bool) -> Option<Vec<Host>> {
    if let Some(here) = hosts.iter().filter(|host| own(host)).map(|host| host.preference).min() {
        hosts.retain(|host| host.preference < here);
        if hosts.is_empty() {
            return None;
        }
    }
    Some(hosts)
}

/// Name and address of everybody who may be connected to, in order.
fn reachable(
    domain: &str,
    hosts: &[Host],
    allowed: impl Fn(&IpAddr) -> bool,
) -> Result<Vec<(String, IpAddr)>, RouteError> {
    let all = || hosts.iter().flat_map(|host| host.addresses.iter().flatten().map(|address| (&host.name, *address)));
    let chosen: Vec<(String, IpAddr)> = all()
        .filter(|(_, address)| allowed(address))
        .map(|(name, address)| (name.clone(), address))
        .take(TARGETS)
        .collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let later = hosts.iter().find_map(|host| match &host.addresses {
        Err(error @ DnsError::Temporary(_)) => {
            Some(RouteError::Temporary { name: host.name.clone(), why: error.to_string() })
        }
        _ => None,
    });
    let domain = domain.to_owned();
    Err(later.unwrap_or(if all().next().is_some() { RouteError::Private(domain) } else { RouteError::None(domain) }))
}

#[cfg(test)]
mod tests;
