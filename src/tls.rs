//! TLS with rustls: what listeners show and ask for, and how next hops are proven.
//!
//! TLS 1.2 and 1.3 only (RFC 8996, 9325); no renegotiation, no compression. Makes configurations; sockets are others' affair.

pub mod client;
pub mod server;
