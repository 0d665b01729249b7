//! Addresses, envelopes, header sections, MIME structure and canonical text: RFC 5321, 5322, 2045 to 2049.
pub mod address;
pub mod canonical;
pub mod envelope;
pub mod header;
pub mod mime;

pub use address::{Address, Domain};
pub use envelope::{BodyType, Envelope, ReversePath};
