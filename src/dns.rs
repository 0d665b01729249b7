//! Look-ups in DNS by `hickory-resolver`: addresses and mail exchangers.
//!
//! Decides nothing about what is found. A server that fails and a name that does not exist are told apart.

use crate::config::Dns;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// A resolver with its cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver(Option<TokioResolver>);

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

    /// What `mail-auth` asks; none where no name server can be asked.
    pub fn tokio(&self) -> Option<&TokioResolver> {
        self.0.as_ref()
    }
}

/// Servers and options.
fn configuration(dns: &Dns) -> (ResolverConfig, ResolverOpts) {
    let mut options = ResolverOpts::default();
    options.attempts = 2;
    options.timeout = std::time::Duration::from_secs(5);
    if dns.servers.is_empty() {
        return match hickory_resolver::system_conf::read_system_conf() {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the system's name servers can't be read");
                (ResolverConfig::default(), options)
            }
        };
    }
    let servers = dns.servers.iter().map(|address| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    });
    (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), options)
}
