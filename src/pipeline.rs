//! The straight line: inspect, gather, decide, transform, commit. Then, and only then, 250.
use crate::config::Config;
use crate::mail::Envelope;
use crate::policy::Side;
use crate::smtp::Reply;
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;

/// One consistent view of configuration and trust; a session keeps the one it began with.
#[derive(Debug)]
pub struct Snapshot {
    /// The configuration as checked.
    pub config: Config,
}

/// The parts that every session and worker shares.
#[derive(Debug)]
pub struct Gateway {}

impl Gateway {
    /// The view that a new session begins with.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        todo!()
    }
}

/// A message that has arrived, and how.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Name of the listener.
    pub listener: String,
    /// Its side.
    pub side: Side,
    /// The peer's address.
    pub peer: IpAddr,
    /// What it said in EHLO or HELO.
    pub helo: String,
    /// `ESMTP` or `SMTP`, as in `Received`.
    pub protocol: &'static str,
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// The content, dot-stuffing removed, CRLF line ends.
    pub content: Bytes,
}

/// Takes a message or says why not. The reply is 250 only after the commit.
pub async fn accept(_gateway: &Arc<Gateway>, _snapshot: &Arc<Snapshot>, _arrival: Arrival) -> Reply {
    todo!()
}
