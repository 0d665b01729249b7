//! Cryptographic Message Syntax structures over `cms` types: RFC 5652. Types only, none of its builders.
pub mod signed_data;
