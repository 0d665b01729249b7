//! The gateway from outside: the real binary, driven by other people's programs.
//!
//! One file per scenario. Mail comes from swaks, smtp-source and a raw client, certificates and signatures from
//! OpenSSL, and arrives at aiosmtpd, so that a mistake of ours is not made twice. Tests wait on conditions.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

#[macro_use]
mod support;

mod auth;
mod authentication;
mod bypass;
mod backup;
mod canary;
mod commands;
mod compose;
mod corpora;
mod damage;
mod decryption;
mod delivery;
mod delivery_postfix;
mod delivery_tls;
mod dsn;
mod durability;
mod encryption;
mod examples;
mod expiry;
mod explain;
mod harness;
mod harvesting;
mod identity;
mod incoming;
mod health;
mod limits;
mod load;
mod logging;
mod metrics;
mod mx;
mod neighbours;
mod notify_systemd;
mod open_relay;
mod oracle;
mod outgoing;
mod package;
mod quarantine;
mod policy;
mod queue;
mod queue_operations;
mod record;
mod release;
mod reload;
mod retention;
mod revocation;
mod revocation_network;
mod secrets;
mod service;
mod shutdown;
mod size;
mod soak;
mod tls;
mod upgrade;
