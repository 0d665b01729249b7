//! Where mail goes: named servers, or whoever a domain's MX records name, and how well TLS must prove them.

use super::value;
use std::fmt;
use std::net::IpAddr;

/// Where mail for some recipients goes. Its text is stored with queued mail: `verify smtp://10.0.0.5:25`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The servers.
    pub to: Destination,
    /// What TLS must give before mail leaves.
    pub tls: DeliverTls,
}

/// The servers of a next hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// These, the first that takes a connection; at least one.
    Servers(Vec<Server>),
    /// Whatever DNS says for this domain (A-labels, or an address literal in brackets): RFC 5321 section 5.1.
    Mx(String),
}

/// `smtp://host:port`, or `smtps://host:port` for implicit TLS (RFC 8314).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// A host name in lower case, or an IP address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS from the first octet.
    pub implicit_tls: bool,
}

/// `deliver_tls`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliverTls {
    /// Where it is offered; plain text where it is not or does not come about (RFC 7435).
    May,
    /// Never in plain text; nobody proves who the server is.
    Encrypt,
    /// Never in plain text, and the server's certificate names it and is trusted.
    Verify,
}

impl DeliverTls {
    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::May => "may",
            Self::Encrypt => "encrypt",
            Self::Verify => "verify",
        }
    }
}

impl Server {
    /// Whether it is this machine by its address or as `localhost`. Other names could resolve to anything.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl NextHop {
    /// One server.
    pub fn server(host: impl Into<String>, port: u16, tls: DeliverTls) -> Self {
        let server = Server { host: host.into(), port, implicit_tls: false };
        Self { to: Destination::Servers(vec![server]), tls }
    }

    /// Reads what [`fmt::Display`] writes; also `host:port`, which earlier versions stored.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((tls, to)) = text.split_once(' ') else {
            let (host, port) = text.rsplit_once(':')?;
            return Some(Self::server(host, port.parse().ok()?, DeliverTls::May));
        };
        let tls =
            [DeliverTls::May, DeliverTls::Encrypt, DeliverTls::Verify].into_iter().find(|one| one.name() == tls)?;
        let to = match to.strip_prefix("mx:") {
            Some(domain) => Destination::Mx(domain.to_owned()),
            None => Destination::Servers(to.split(',').map(value::server).collect::<Option<_>>()?),
        };
        Some(Self { to, tls })
    }

    /// For people and for the log: without what TLS must give.
    pub fn name(&self) -> String {
        match &self.to {
            Destination::Mx(domain) => format!("mx:{domain}"),
            Destination::Servers(servers) => servers.iter().map(Server::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.implicit_tls { "smtps" } else { "smtp" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tls.name(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{DeliverTls, NextHop};

    #[test]
    fn next_hops_are_stored_as_text() {
        for text in [
            "may smtp://127.0.0.1:25",
            "verify smtps://mail.example:465,smtp://[::1]:25",
            "encrypt mx:kabupaten.go.id",
            "may mx:[192.0.2.1]",
        ] {
            assert_eq!(NextHop::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(NextHop::parse("127.0.0.1:2525"), Some(NextHop::server("127.0.0.1", 2525, DeliverTls::May)));
        for text in ["", "may", "sometimes smtp://a:25", "may http://a:25", "may smtp://a", "a:b"] {
            assert_eq!(NextHop::parse(text), None, "{text}");
        }
    }
}
