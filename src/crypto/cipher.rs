//! Content-encryption algorithms: what they are called, how long their keys are, and what they prove.

use der::asn1::ObjectIdentifier;

/// A content-encryption algorithm of an encrypted layer (RFC 8551 section 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentCipher {
    /// AES-256 in Galois/Counter mode (RFC 5084).
    Aes256Gcm,
    /// AES-192 in Galois/Counter mode.
    Aes192Gcm,
    /// AES-128 in Galois/Counter mode.
    Aes128Gcm,
    /// ChaCha20-Poly1305 (RFC 8103). Read only.
    ChaCha20Poly1305,
    /// AES-256 in cipher block chaining mode (RFC 3565).
    Aes256Cbc,
    /// AES-192 in cipher block chaining mode.
    Aes192Cbc,
    /// AES-128 in cipher block chaining mode.
    Aes128Cbc,
    /// Triple DES (RFC 3370). Read only, and weak.
    DesEde3Cbc,
}

impl ContentCipher {
    /// Every algorithm that can be read, the strongest first.
    pub const ALL: [Self; 8] = [
        Self::Aes256Gcm,
        Self::Aes192Gcm,
        Self::Aes128Gcm,
        Self::ChaCha20Poly1305,
        Self::Aes256Cbc,
        Self::Aes192Cbc,
        Self::Aes128Cbc,
        Self::DesEde3Cbc,
    ];

    /// `aes256-gcm` as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes256-gcm",
            Self::Aes192Gcm => "aes192-gcm",
            Self::Aes128Gcm => "aes128-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Cbc => "aes256-cbc",
            Self::Aes192Cbc => "aes192-cbc",
            Self::Aes128Cbc => "aes128-cbc",
            Self::DesEde3Cbc => "des-ede3-cbc",
        }
    }

    /// The algorithm with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.name() == name)
    }

    /// Its object identifier.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::Aes256Gcm => "2.16.840.1.101.3.4.1.46",
            Self::Aes192Gcm => "2.16.840.1.101.3.4.1.26",
            Self::Aes128Gcm => "2.16.840.1.101.3.4.1.6",
            Self::ChaCha20Poly1305 => "1.2.840.113549.1.9.16.3.18",
            Self::Aes256Cbc => "2.16.840.1.101.3.4.1.42",
            Self::Aes192Cbc => "2.16.840.1.101.3.4.1.22",
            Self::Aes128Cbc => "2.16.840.1.101.3.4.1.2",
            Self::DesEde3Cbc => "1.2.840.113549.3.7",
        })
    }

    /// The algorithm with this identifier.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.oid() == *oid)
    }

    /// Octets of the content-encryption key.
    pub const fn key_length(self) -> usize {
        match self {
            Self::Aes256Gcm | Self::ChaCha20Poly1305 | Self::Aes256Cbc => 32,
            Self::Aes192Gcm | Self::Aes192Cbc | Self::DesEde3Cbc => 24,
            Self::Aes128Gcm | Self::Aes128Cbc => 16,
        }
    }

    /// Whether opening proves that the content was not changed.
    pub const fn is_authenticated(self) -> bool {
        matches!(self, Self::Aes256Gcm | Self::Aes192Gcm | Self::Aes128Gcm | Self::ChaCha20Poly1305)
    }

    /// Whether it is read with a flag only.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::DesEde3Cbc)
    }
}
