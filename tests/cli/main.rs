//! The commands from outside: the program run in a folder of its own, on what OpenSSL and the demo make.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod certificates;
mod check;
mod directory;
mod operations;
mod support;
