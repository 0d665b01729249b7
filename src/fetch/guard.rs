//! Which URLs and addresses may be asked at all.

use crate::config::Fetch;
use crate::dns;
use std::net::{IpAddr, Ipv4Addr};
use url::{Host, Url};

/// Octets of a URL. RFC 9110 section 4.1 asks everybody for 8,000; certificates stay below 200.
const LONGEST: usize = 2048;

/// Azure's "wire server" hands out credentials of the machine under an address that no registry calls special.
const WIRE_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));

/// Why a URL is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It can't be read, or names no host.
    #[error("not a URL with a host")]
    NoUrl,
    /// Anything but http and https.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// A name or password in the URL.
    #[error("the URL holds credentials")]
    Credentials,
    /// Not in `fetch.ports`.
    #[error("port {0} is not in fetch.ports")]
    Port(u16),
    /// Every address of the host is one of these, and not in `fetch.allow_private`.
    #[error("{0} is no address of the Internet, nor in fetch.allow_private")]
    Private(IpAddr),
}

/// What is asked of whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// A name, or a literal address, IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// Reads a URL. A host that is a literal address is checked here already (`url` reads decimal, octal and hexadecimal
/// forms as the addresses they mean): a proxy would not check it.
pub(super) fn target(text: &str, settings: &Fetch) -> Result<Target, Denied> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= LONGEST).ok_or(Denied::NoUrl)?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(Denied::Scheme),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Denied::Credentials);
    }
    let literal = match url.host().ok_or(Denied::NoUrl)? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
    };
    if let Some(address) = literal.filter(|address| !may_be_asked(*address, settings)) {
        return Err(Denied::Private(address));
    }
    let port = url.port_or_known_default().ok_or(Denied::NoUrl)?;
    if !settings.ports.contains(&port) {
        return Err(Denied::Port(port));
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok(Target { url, host, port, tls })
}

/// The addresses that may be connected to.
pub(super) fn allowed(addresses: &[IpAddr], settings: &Fetch) -> Result<Vec<IpAddr>, Denied> {
    let allowed: Vec<IpAddr> = addresses.iter().copied().filter(|address| may_be_asked(*address, settings)).collect();
    match (allowed.is_empty(), addresses.first()) {
        (true, Some(first)) => Err(Denied::Private(*first)),
        (true, None) => Err(Denied::NoUrl),
        (false, _) => Ok(allowed),
    }
}

fn may_be_asked(address: IpAddr, settings: &Fetch) -> bool {
    let address = address.to_canonical();
    settings.allow_private.iter().any(|network| network.contains(address))
        || (dns::is_public(address) && address != WIRE_SERVER)
}

/// Host and port of the proxy. It stands in the configuration, so its address is not questioned.
pub(super) fn proxy(text: &str) -> Result<(String, u16), Denied> {
    let url = Url::parse(text).map_err(|_| Denied::NoUrl)?;
    let host = url.host_str().ok_or(Denied::NoUrl)?;
    Ok((host.to_owned(), url.port_or_known_default().ok_or(Denied::NoUrl)?))
}
