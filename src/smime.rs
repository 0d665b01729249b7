//! S/MIME: what a message is, who signed it and whether that holds; and making such messages. RFC 8551, 8550.
//!
//! Pure: facts and the time are arguments, private keys stay with `keys`. What cannot be established is a
//! reason, never an error and never `valid`.

pub mod capabilities;
pub mod verdict;
pub mod verify;
pub mod inspect;
pub mod sign;
pub mod encrypt;
pub mod report;

pub use capabilities::Capabilities;
pub use inspect::{Fact, Inspected, Need, Options, Paused, Step, inspect};
pub use verdict::Verdict;

/// Content octets of a serial's INTEGER as people compare them: lower-case hex, no leading 00 unless alone.
fn serial_hex(content: &[u8]) -> String {
    let kept = match content {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => content,
    };
    data_encoding::HEXLOWER.encode(kept)
}

#[cfg(test)]
mod tests;
