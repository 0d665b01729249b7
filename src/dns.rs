//! Look-ups in DNS by `hickory-resolver`: addresses and mail exchangers.
//!
//! Decides nothing about what is found. A name that does not exist, one without such records, and an answer that can't be had
//! now are told apart: only the first two are facts.

mod public;

pub use public::is_public;

use crate::config::Dns;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// For one name, all tries and aliases included.
const LOOKUP: Duration = Duration::from_secs(20);

/// For one question to one server, and how often it is asked.
const QUESTION: (Duration, usize) = (Duration::from_secs(5), 2);

/// Addresses of one name that are used. RFC 5321 section 5.1 asks for at least two; the largest providers publish fewer.
const ADDRESSES: usize = 16;

/// MX records of one domain that are used. More do not fit one UDP packet.
const EXCHANGERS: usize = 100;

/// A resolver with its cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver(Option<TokioResolver>);

/// An MX record (RFC 1035 section 3.3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// Lower is tried first.
    pub preference: u16,
    /// A-labels in lower case, without the last dot; empty for the root, which takes no mail (RFC 7505).
    pub host: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN: there is no such name.
    #[error("no such domain")]
    NotFound,
    /// The name exists, but not with such records.
    #[error("no such records")]
    NoRecords,
    /// No server, no answer in time, or SERVFAIL: it may be there later.
    #[error("name service: {0}")]
    Temporary(String),
}

impl Resolver {
    /// Over the configured servers, else the system's. Where there is none, every look-up fails for now.
    pub fn new(dns: &Dns) -> Self {
        let (config, options) = configuration(dns);
        let built =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build();
        if let Err(error) = &built {
            tracing::error!(%error, "no name server can be asked");
        }
        Self(built.ok())
    }

    /// The addresses of a host, aliases followed, IPv6 and IPv4 in turn (RFC 8305 section 4), each family in the
    /// order of the answer. A literal address is its own answer.
    ///
    /// # Errors
    /// [`DnsError`]; where one family has addresses, what is wrong with the other one does not matter.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address.to_canonical()]);
        }
        let (v4, v6) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok(in_turn(&only(&v6, address), &only(&v4, address))),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(in_turn(&only(&found, address), &[])),
            (Err(error @ DnsError::Temporary(_)), _) | (_, Err(error @ DnsError::Temporary(_))) => Err(error),
            (Err(DnsError::NotFound), Err(DnsError::NotFound)) => Err(DnsError::NotFound),
            (Err(_), Err(_)) => Err(DnsError::NoRecords),
        }
        .and_then(|found| if found.is_empty() { Err(DnsError::NoRecords) } else { Ok(found) })
    }

    /// The MX records of a domain, in the order of the answer; what they mean is for whoever asks.
    ///
    /// # Errors
    /// [`DnsError::NoRecords`] where there are none: then the domain is its own exchanger (RFC 5321 section 5.1).
    pub async fn exchangers(&self, domain: &str) -> Result<Vec<Exchanger>, DnsError> {
        let found = only(&self.ask(domain, RecordType::MX).await?, exchanger);
        if found.is_empty() { Err(DnsError::NoRecords) } else { Ok(found.into_iter().take(EXCHANGERS).collect()) }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let Some(resolver) = &self.0 else {
            return Err(DnsError::Temporary("no name server can be asked".to_owned()));
        };
        let mut asked = Name::from_ascii(name).map_err(|_| DnsError::NotFound)?;
        // The system's search list is for the short names of machines: mail domains and exchangers are whole.
        if name.contains('.') {
            asked.set_fqdn(true);
        }
        match timeout(LOOKUP, resolver.lookup(asked, kind)).await {
            Ok(Ok(found)) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Ok(Err(error)) if error.is_nx_domain() => Err(DnsError::NotFound),
            Ok(Err(error)) if error.is_no_records_found() => Err(no_records(&error)),
            Ok(Err(error)) => Err(DnsError::Temporary(format!("`{name}` {kind}: {error}"))),
            Err(_) => Err(DnsError::Temporary(format!("`{name}` {kind}: no answer in time"))),
        }
    }
}

/// No records is a fact only where the server said so without an error.
fn no_records(error: &NetError) -> DnsError {
    use hickory_resolver::net::DnsError as Answer;
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(Answer::NoRecordsFound(none)) if none.response_code != ResponseCode::NoError => {
            DnsError::Temporary(none.response_code.to_string())
        }
        _ => DnsError::NoRecords,
    }
}

fn only<T>(data: &[RData], wanted: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    data.iter().filter_map(wanted).collect()
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0).to_canonical()),
        _ => None,
    }
}

fn exchanger(data: &RData) -> Option<Exchanger> {
    let RData::MX(record) = data else { return None };
    let host = record.exchange.to_lowercase().to_ascii();
    let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
    Some(Exchanger { preference: record.preference, host })
}

/// One of each in turn, then the rest.
fn in_turn(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for index in 0..first.len().max(second.len()) {
        for address in [first.get(index), second.get(index)].into_iter().flatten() {
            if found.len() < ADDRESSES && !found.contains(address) {
                found.push(*address);
            }
        }
    }
    found
}

/// Servers and options, also for `mail-auth`'s own resolver.
pub fn configuration(dns: &Dns) -> (ResolverConfig, ResolverOpts) {
    let mut options = ResolverOpts::default();
    if dns.servers.is_empty() {
        return match hickory_resolver::system_conf::read_system_conf() {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the system's name servers can't be read");
                (ResolverConfig::default(), options)
            }
        };
    }
    (options.timeout, options.attempts) = QUESTION;
    let servers = dns.servers.iter().map(|address| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    });
    (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), options)
}

#[cfg(test)]
mod tests {
    use super::{DnsError, Resolver, in_turn};
    use crate::config::Dns;
    use std::net::IpAddr;

    #[test]
    fn c10_families_take_turns() {
        #[track_caller]
        fn check(v6: &[&str], v4: &[&str], expected: &[&str]) {
            let parse = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect::<Vec<IpAddr>>();
            assert_eq!(in_turn(&parse(v6), &parse(v4)), parse(expected));
        }
        check(&[], &["192.0.2.1", "192.0.2.2"], &["192.0.2.1", "192.0.2.2"]);
        check(&["::2"], &["192.0.2.1", "192.0.2.2"], &["::2", "192.0.2.1", "192.0.2.2"]);
        check(&["::2", "::3", "::3"], &["192.0.2.1"], &["::2", "192.0.2.1", "::3"]);
    }

    #[tokio::test]
    async fn literal_addresses_need_no_server() {
        let nobody = Resolver(None);
        assert_eq!(nobody.addresses("192.0.2.1").await, Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(nobody.addresses("::ffff:192.0.2.1").await, Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert!(matches!(nobody.exchangers("mitra.example").await, Err(DnsError::Temporary(_))));
        let dead = Resolver::new(&Dns { servers: vec!["127.0.0.1:1".parse().unwrap()] });
        assert!(matches!(dead.addresses("mitra.example").await, Err(DnsError::Temporary(_))));
    }
}
