//! Segel: an S/MIME mail gateway.
//!
//! `ARCHITECTURE.md` is the map. To read the code, begin with [`pipeline::accept`]: everything that a message meets between
//! its final dot and its reply stands there in one line.

#![forbid(unsafe_code)]

// The modules in reading order: each may use those above it, never those below.
// Pure: values in, values out. No async, no clock, no files, no sockets.
pub mod limits;
pub mod reason;
pub mod mail;
pub mod smtp;
pub mod asn1;
pub mod crypto;
pub mod pki;
pub mod cms;
pub mod smime;
pub mod policy;
pub mod plan;

// The shell: everything that waits or writes.
pub mod clock;
pub mod config;
pub mod metrics;
pub mod systemd;
pub mod seal;
pub mod store;
pub mod audit;
pub mod keys;
pub mod tls;
pub mod dns;
pub mod fetch;
pub mod revocation;
pub mod directory;
pub mod bypass;
pub mod queue;
pub mod outbound;
pub mod pipeline;
pub mod operations;
pub mod inbound;
pub mod console;
pub mod server;
#[cfg(feature = "demo")]
pub mod demo;
pub mod cli;
