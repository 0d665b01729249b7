//! Addresses, envelopes, header sections, MIME structure and canonical text: RFC 5321, 5322, 2045 to 2049.
//!
//! Everything here works on the bytes as they arrived and answers with offsets into them; nothing is
//! parsed and written again unless it is going to be signed. What cannot be read in one way only is said
//! to be so; nothing here panics on any input.

pub mod address;
pub mod canonical;
pub mod authentication;
pub mod envelope;
pub mod header;
mod masked;
pub mod mime;

use std::ops::Range;

pub use address::{Address, Domain};
pub use envelope::{BodyType, DsnRequest, Envelope, Notify, RecipientDsn, Ret, ReversePath};
pub use masked::without_addresses;

/// The octets in `range`, or none where the range does not lie within `bytes`: offsets are computed by
/// these modules themselves, and a mistake there must not become a panic on outside data.
pub(crate) fn span(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

/// The end of the line that begins at `from`: where its content ends, and where the next line begins.
/// A line ends at LF, with or without CR before it.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> (usize, usize) {
    let rest = bytes.get(from..).unwrap_or_default();
    match memchr::memchr(b'\n', rest) {
        Some(at) if at > 0 && rest.get(at - 1) == Some(&b'\r') => (from + at - 1, from + at + 1),
        Some(at) => (from + at, from + at + 1),
        None => (bytes.len(), bytes.len()),
    }
}
