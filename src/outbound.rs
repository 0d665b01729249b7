//! Mail goes out: routes, connections to next hops, deliveries over them, and the worker that does them all.
//!
//! Drives [`crate::smtp::client`] over sockets. Connects to the next hop that a delivery names and to nothing else, and never
//! changes content. Whatever breaks defers; only the next hop's refusal, DNS that says there is no way, or content that
//! can't be sent to it, fails.

pub mod connect;
pub mod deliver;
pub mod probe;
pub mod route;
mod told;
pub mod worker;

use crate::config::{Config, Network};
use crate::dns::Resolver;
use crate::limits::Limits;
use crate::tls::client::Clients;
use std::net::IpAddr;
use std::sync::Arc;

/// What connecting needs to know of one snapshot. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Name in EHLO.
    pub hostname: String,
    /// Bounds on replies.
    pub limits: Limits,
    /// Look-ups.
    pub resolver: Resolver,
    /// Port of servers that DNS names.
    pub port: u16,
    /// Addresses that are this gateway: a list of exchangers ends there.
    pub own: Vec<IpAddr>,
    /// Networks that DNS may lead to although they are not of the Internet.
    pub allow_private: Vec<Network>,
    /// TLS, and what is known about single servers.
    pub tls: Arc<Clients>,
    /// Lanes (connections with their deliveries) at a time; beyond it, a next hop has no more than its first ones.
    pub concurrency: usize,
    /// Connections to one next hop at a time.
    pub per_hop: usize,
    /// Whether the log names people.
    pub names: bool,
}

/// The surroundings of this moment: a reload replaces them.
pub type Current = Arc<dyn Fn() -> Arc<Surroundings> + Send + Sync>;

/// Lanes at a time.
const CONCURRENCY: usize = 50;

/// Connections to one next hop at a time: Postfix's `default_destination_concurrency_limit`.
const PER_HOP: usize = 20;

impl Surroundings {
    /// What the configuration says.
    pub fn of(config: &Config, resolver: &Resolver) -> Self {
        let bound = config.listeners.iter().map(|listener| listener.bind.ip().to_canonical());
        let own = bound.filter(|address| !address.is_unspecified());
        Self {
            hostname: config.hostname.clone(),
            limits: config.limits.clone(),
            resolver: resolver.clone(),
            port: config.outbound.port,
            own: own.chain(config.outbound.own.iter().map(IpAddr::to_canonical)).collect(),
            allow_private: config.outbound.allow_private.clone(),
            tls: Arc::new(Clients::new(config.tls_ca.clone(), config.servers.clone())),
            concurrency: CONCURRENCY,
            per_hop: PER_HOP,
            names: config.log.addresses,
        }
    }

    /// Without a configuration: the system's name servers and CAs, and nothing known about anybody.
    pub fn new(hostname: impl Into<String>, limits: Limits) -> Self {
        Self {
            hostname: hostname.into(),
            limits,
            resolver: Resolver::new(&crate::config::Dns::default()),
            port: 25,
            own: Vec::new(),
            allow_private: Vec::new(),
            tls: Arc::new(Clients::new(Vec::new(), Vec::new())),
            concurrency: CONCURRENCY,
            per_hop: PER_HOP,
            names: false,
        }
    }
}
