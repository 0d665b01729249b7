//! SMIMECapabilities: what a partner's program says that it can read (RFC 8551 section 2.5.2).

use crate::crypto::ContentCipher;

/// What a recipient has announced in validly signed mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Content-encryption algorithms that are known here, in the order of preference.
    pub ciphers: Vec<ContentCipher>,
    /// RSAES-OAEP with SHA-256 is announced.
    pub oaep: bool,
}

impl Capabilities {
    /// Reads the DER of the attribute's value. `None`: it is not SMIMECapabilities.
    pub fn from_der(_der: &[u8]) -> Option<Self> {
        None
    }
}
