//! From a shared secret to a content key: X9.63 KDF, HKDF, AES key wrap (RFC 5753, RFC 8418, RFC 3394); and the sender's
//! side of an agreement, whose ephemeral key lives for one call.

use super::key::Curve;
use super::{CryptoError, Digest};
use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use aws_lc_rs::{hkdf, rand};
use zeroize::Zeroizing;

/// A key-derivation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// ANSI X9.63 (SEC 1 section 3.6.1).
    X963(Digest),
    /// RFC 5869, without a salt.
    Hkdf(Digest),
}

/// What an agreement is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
    /// RFC 7748.
    X25519,
}

/// What the sender of an agreement keeps of it.
pub struct Agreed {
    /// The ephemeral public key: an uncompressed point, or 32 octets of X25519.
    pub ephemeral: Vec<u8>,
    /// The shared secret; not a key yet.
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agreed").finish_non_exhaustive()
    }
}

/// The most octets of key that are derived: more than any wrap takes.
const LONGEST: usize = 64;

/// `length` octets of key-encryption key from the shared secret `secret`.
///
/// `shared_info` is the DER of ECC-CMS-SharedInfo (RFC 5753 section 7.2): SharedInfo of X9.63, info of HKDF (RFC 8418
/// section 2.2).
///
/// # Errors
/// `Unsupported` for MD5, for HKDF over SHA-224, and beyond 64 octets.
pub fn key_encryption_key(
    derivation: Derivation,
    secret: &[u8],
    shared_info: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    if length > LONGEST {
        return Err(CryptoError::Unsupported);
    }
    match derivation {
        Derivation::X963(digest) => x963(digest, secret, shared_info, length),
        Derivation::Hkdf(digest) => {
            let algorithm = match digest {
                Digest::Sha1 => hkdf::HKDF_SHA1_FOR_LEGACY_USE_ONLY,
                Digest::Sha256 => hkdf::HKDF_SHA256,
                Digest::Sha384 => hkdf::HKDF_SHA384,
                Digest::Sha512 => hkdf::HKDF_SHA512,
                Digest::Md5 | Digest::Sha224 => return Err(CryptoError::Unsupported),
            };
            let mut out = Zeroizing::new(vec![0; length]);
            let extracted = hkdf::Salt::new(algorithm, &[]).extract(secret);
            extracted
                .expand(&[shared_info], Octets(length))
                .and_then(|expanded| expanded.fill(&mut out))
                .map_err(|_| CryptoError::Unsupported)?;
            Ok(out)
        }
    }
}

/// SEC 1 section 3.6.1: `Hash(Z || counter || SharedInfo)` for counter 1, 2, …
fn x963(digest: Digest, secret: &[u8], shared_info: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut out = Zeroizing::new(Vec::with_capacity(length + Digest::Sha512.size()));
    let mut counter = 1u32;
    while out.len() < length {
        let block = Zeroizing::new(digest.hash(&[secret, &counter.to_be_bytes(), shared_info])?);
        out.extend_from_slice(&block);
        counter += 1;
    }
    out.truncate(length);
    Ok(out)
}

/// A length for HKDF.
struct Octets(usize);

impl hkdf::KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

/// Wraps a content key (RFC 3394); `kek` has 16 or 32 octets, `cek` a multiple of 8.
///
/// # Errors
/// `Malformed` for other lengths.
pub fn wrap(kek: &[u8], cek: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut out = vec![0; cek.len().saturating_add(8)];
    let kek = key_wrap(kek).ok_or(CryptoError::Malformed)?;
    let length = kek.wrap(cek, &mut out).map_err(|_| CryptoError::Malformed)?.len();
    out.truncate(length);
    Ok(out)
}

/// Unwraps a content key (RFC 3394).
///
/// # Errors
/// `Unopened`, whatever the reason.
pub fn unwrap(kek: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let kek = key_wrap(kek).ok_or(CryptoError::Unopened)?;
    let length = kek.unwrap(wrapped, &mut out).map_err(|_| CryptoError::Unopened)?.len();
    out.truncate(length);
    Ok(out)
}

fn key_wrap(kek: &[u8]) -> Option<AesKek> {
    match kek.len() {
        16 => AesKek::new(&AES_128, kek).ok(),
        32 => AesKek::new(&AES_256, kek).ok(),
        _ => None,
    }
}

impl Group {
    /// The group of a named curve.
    pub(crate) const fn of(curve: Curve) -> Option<Self> {
        match curve {
            Curve::P256 => Some(Self::P256),
            Curve::P384 => Some(Self::P384),
            Curve::P521 => Some(Self::P521),
            Curve::Small | Curve::Other => None,
        }
    }

    /// Agrees with the holder of `public` under a key that is made for this once.
    ///
    /// # Errors
    /// `Malformed` if `public` is no point of the group, or one of small order.
    pub fn agree(self, public: &[u8]) -> Result<Agreed, CryptoError> {
        let algorithm = match self {
            Self::P256 => &agreement::ECDH_P256,
            Self::P384 => &agreement::ECDH_P384,
            Self::P521 => &agreement::ECDH_P521,
            Self::X25519 => &agreement::X25519,
        };
        let malformed = |_| CryptoError::Malformed;
        let key = EphemeralPrivateKey::generate(algorithm, &rand::SystemRandom::new()).map_err(malformed)?;
        let ephemeral = key.compute_public_key().map_err(malformed)?.as_ref().to_vec();
        let public = UnparsedPublicKey::new(algorithm, public);
        agreement::agree_ephemeral(key, public, CryptoError::Malformed, |secret| {
            Ok(Agreed { ephemeral, secret: Zeroizing::new(secret.to_vec()) })
        })
    }
}

#[cfg(test)]
mod tests;
