//! Segel: an S/MIME mail gateway.

#![forbid(unsafe_code)]

// Pure: values in, values out.
pub mod asn1;
pub mod cms;
pub mod crypto;
pub mod limits;
pub mod mail;
pub mod pki;
pub mod plan;
pub mod policy;
pub mod reason;
pub mod smime;
pub mod smtp;
// The shell: everything that waits or writes.
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
#[cfg(feature = "demo")]
pub mod demo;
pub mod directory;
pub mod inbound;
pub mod keys;
pub mod operations;
pub mod outbound;
pub mod pipeline;
pub mod queue;
pub mod revocation;
pub mod seal;
pub mod server;
pub mod store;
