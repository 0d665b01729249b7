//! Mail goes out: connections to next hops, deliveries over them, and the worker that does them all.
//!
//! Drives [`crate::smtp::client`] over sockets. Connects to the next hop that a delivery names and to nothing else, and never
//! changes content. Whatever breaks defers; only the next hop's refusal, or content that can't be sent to it, fails.

pub mod connect;
pub mod deliver;
pub mod worker;

use crate::limits::Limits;

/// What deliveries need to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name in EHLO.
    pub hostname: String,
    /// Bounds on replies.
    pub limits: Limits,
    /// Lanes (connections with their deliveries) at a time; beyond it, a next hop has no more than its first ones.
    pub concurrency: usize,
    /// Connections to one next hop at a time.
    pub per_hop: usize,
}

impl Settings {
    /// 50 lanes at a time, 20 connections to one next hop (Postfix's `default_destination_concurrency_limit`).
    pub fn new(hostname: impl Into<String>, limits: Limits) -> Self {
        Self { hostname: hostname.into(), limits, concurrency: 50, per_hop: 20 }
    }
}
