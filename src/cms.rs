//! Cryptographic Message Syntax structures: RFC 5652.
//!
//! Structures only, read from DER that `asn1::ber_to_der` made, with the octets of signed attributes kept
//! as they came, because the types of the crate `cms` re-sort them silently. Never decides whether a
//! signature holds; that is `smime::verify`. What cannot be read is an error, never a guess.

pub mod attributes;
pub mod compressed_data;
pub mod content_info;
mod encode;
mod read;

pub mod recipient_info;

pub mod enveloped_data;

pub mod signed_data;

pub use content_info::{ContentInfo, ContentKind};
pub use signed_data::{SignedData, SignerIdentifier, SignerInfo};

/// Why CMS octets could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CmsError {
    /// Something is missing, surplus or of another type.
    #[error("malformed `{0}`")]
    Malformed(&'static str),
    /// More of something than `limits` allows.
    #[error("more of `{0}` than allowed")]
    TooComplex(&'static str),
    /// The encoding itself is broken.
    #[error("broken encoding")]
    Encoding(#[source] crate::asn1::Asn1Error),
    /// Well-formed, by something that is not implemented.
    #[error("`{0}` not supported")]
    Unsupported(&'static str),
    /// A value that cannot be written as DER.
    #[error("`{0}` cannot be encoded")]
    Unwritable(&'static str),
}

impl From<crate::asn1::Asn1Error> for CmsError {
    fn from(error: crate::asn1::Asn1Error) -> Self {
        Self::Encoding(error)
    }
}
