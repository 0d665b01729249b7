//! The SMTP dialogue, both sides, without input or output: RFC 5321, 2920, 1870, 6152, 2034.
pub mod client;
pub mod command;
pub mod data;
pub mod reply;
pub mod server;
pub mod status;
pub use reply::Reply;
pub use status::EnhancedCode;
