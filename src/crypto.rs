//! Algorithm identifiers; digests, signature verification, ciphers and key derivation on aws-lc-rs. No private key but the
//! ephemeral ones that `agreement` makes and forgets.
//!
//! This module says whether a signature verifies. Whether an algorithm or a key is strong enough to prove anything is
//! the callers' question (`Digest::is_weak`, `pki`). What is not implemented is `Unsupported`, never a success.

pub mod agreement;
mod cipher;
pub(crate) mod key;
pub mod password;
pub mod transport;
mod verify;

pub use cipher::{ContentCipher, TAG, Unpadded, reads_as_text};
pub use verify::verify;

use crate::asn1::{Fields, tag};
use aws_lc_rs::digest;
use der::asn1::ObjectIdentifier;
use der::{Encode, Tagged};

/// A message digest that certificates and SignerInfos name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// RFC 1321. Recognised, never computed.
    Md5,
    /// FIPS 180-4. Weak.
    Sha1,
    /// FIPS 180-4.
    Sha224,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha384,
    /// FIPS 180-4.
    Sha512,
}

/// What a SignerInfo's or certificate's signature was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2).
    RsaPkcs1(Digest),
    /// RSASSA-PSS with MGF1 over the same digest (RFC 4055 section 3.1).
    RsaPss {
        /// Digest of the message and in MGF1.
        digest: Digest,
        /// Octets of salt.
        salt: u32,
    },
    /// ECDSA over a named curve; the curve is the key's (RFC 5758 section 3.2).
    Ecdsa(Digest),
    /// Pure Ed25519 (RFC 8410).
    Ed25519,
}

/// Why a signature counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Key and algorithm are understood, the signature is not by this key over this message.
    #[error("the signature does not verify")]
    BadSignature,
    /// The algorithm, its parameters or the kind of key are not implemented.
    #[error("algorithm not supported")]
    Unsupported,
    /// The key or the identifier breaks its format.
    #[error("malformed key or signature")]
    Malformed,
    /// A ciphertext or wrapped key that this key does not open; never says why.
    #[error("cannot be decrypted")]
    Unopened,
}

impl Digest {
    /// Every digest that is recognised.
    pub const ALL: [Self; 6] = [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// `sha256` as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// `sha-256` as in micalg (RFC 8551 section 3.5.3.2).
    pub fn micalg(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// The identifier of the digest itself (RFC 5754 section 2, RFC 3370 section 2).
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Md5 => ObjectIdentifier::new_unwrap("1.2.840.113549.2.5"),
            Self::Sha1 => ObjectIdentifier::new_unwrap("1.3.14.3.2.26"),
            Self::Sha224 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4"),
            Self::Sha256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        }
    }

    /// The digest with this identifier.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|digest| digest.oid() == *oid)
    }

    /// The digest with this JSON name (`--allow-weak sha1`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|digest| digest.name() == name)
    }

    /// Octets of the result.
    pub fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Digest of the concatenation.
    ///
    /// # Errors
    /// MD5 gives `Unsupported`.
    pub fn hash(self, parts: &[&[u8]]) -> Result<Vec<u8>, CryptoError> {
        let algorithm = match self {
            Self::Md5 => return Err(CryptoError::Unsupported),
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        let mut context = digest::Context::new(algorithm);
        for part in parts {
            context.update(part);
        }
        Ok(context.finish().as_ref().to_vec())
    }

    /// Whether a signature over this digest proves nothing (RFC 8551 section 2.1, RFC 8550 section 4.3).
    pub fn is_weak(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }
}

impl SignatureAlgorithm {
    /// `rsa-pkcs1`, `rsa-pss`, `ecdsa`, `ed25519` as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1(_) => "rsa-pkcs1",
            Self::RsaPss { .. } => "rsa-pss",
            Self::Ecdsa(_) => "ecdsa",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The digest of the message; Ed25519 has none of its own.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Self::RsaPkcs1(digest) | Self::RsaPss { digest, .. } | Self::Ecdsa(digest) => Some(digest),
            Self::Ed25519 => None,
        }
    }

    /// From an AlgorithmIdentifier; `digest` is SignerInfo.digestAlgorithm, for identifiers such as rsaEncryption that leave it open.
    ///
    /// # Errors
    /// `Unsupported` for anything else, `Malformed` for PSS parameters that cannot be read or are absent.
    pub fn from_identifier(id: &spki::AlgorithmIdentifierOwned, digest: Option<Digest>) -> Result<Self, CryptoError> {
        let oid = id.oid.to_string();
        if let Some((_, digest)) = PKCS1_IDENTIFIERS.iter().find(|(known, _)| *known == oid) {
            return Ok(Self::RsaPkcs1(*digest));
        }
        if let Some((_, digest)) = ECDSA_IDENTIFIERS.iter().find(|(known, _)| *known == oid) {
            return Ok(Self::Ecdsa(*digest));
        }
        match oid.as_str() {
            RSA_ENCRYPTION => digest.map(Self::RsaPkcs1).ok_or(CryptoError::Unsupported),
            RSASSA_PSS => {
                let parameters = id.parameters.as_ref().ok_or(CryptoError::Malformed)?;
                let der = parameters.to_der().map_err(|_| CryptoError::Malformed)?;
                if parameters.tag() != der::Tag::Sequence {
                    return Err(CryptoError::Malformed);
                }
                pss_parameters(&der)
            }
            // RFC 8410 section 3: parameters must be absent.
            ED25519 if id.parameters.is_none() => Ok(Self::Ed25519),
            ED25519 => Err(CryptoError::Malformed),
            _ => Err(CryptoError::Unsupported),
        }
    }
}

pub(crate) const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
pub(crate) const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
pub(crate) const ED25519: &str = "1.3.101.112";
const MGF1: &str = "1.2.840.113549.1.1.8";

const PKCS1_IDENTIFIERS: [(&str, Digest); 7] = [
    ("1.2.840.113549.1.1.4", Digest::Md5),
    ("1.2.840.113549.1.1.5", Digest::Sha1),
    // OIW's sha1WithRSASignature, still written by old Windows CAs.
    ("1.3.14.3.2.29", Digest::Sha1),
    ("1.2.840.113549.1.1.14", Digest::Sha224),
    ("1.2.840.113549.1.1.11", Digest::Sha256),
    ("1.2.840.113549.1.1.12", Digest::Sha384),
    ("1.2.840.113549.1.1.13", Digest::Sha512),
];

const ECDSA_IDENTIFIERS: [(&str, Digest); 5] = [
    ("1.2.840.10045.4.1", Digest::Sha1),
    ("1.2.840.10045.4.3.1", Digest::Sha224),
    ("1.2.840.10045.4.3.2", Digest::Sha256),
    ("1.2.840.10045.4.3.3", Digest::Sha384),
    ("1.2.840.10045.4.3.4", Digest::Sha512),
];

/// Reads the parameters of RFC 4055 section 3.1:
///
/// ```text
/// RSASSA-PSS-params  ::=  SEQUENCE  {
///     hashAlgorithm     [0] HashAlgorithm DEFAULT sha1Identifier,
///     maskGenAlgorithm  [1] MaskGenAlgorithm DEFAULT mgf1SHA1Identifier,
///     saltLength        [2] INTEGER DEFAULT 20,
///     trailerField      [3] INTEGER DEFAULT 1  }
/// ```
pub(crate) fn pss_parameters(der: &[u8]) -> Result<SignatureAlgorithm, CryptoError> {
    let malformed = |_| CryptoError::Malformed;
    let mut fields = Fields::within(der, tag::SEQUENCE).map_err(malformed)?;
    let mut digest = Digest::Sha1;
    let mut mask_digest = Digest::Sha1;
    let mut salt = 20;
    if let Some(field) = fields.optional(tag::context(0)).map_err(malformed)? {
        digest = digest_identifier(field.content)?;
    }
    if let Some(field) = fields.optional(tag::context(1)).map_err(malformed)? {
        mask_digest = mask_generation(field.content)?;
    }
    if let Some(field) = fields.optional(tag::context(2)).map_err(malformed)? {
        salt = key::small_integer(field.content)?;
    }
    if let Some(field) = fields.optional(tag::context(3)).map_err(malformed)?
        && key::small_integer(field.content)? != 1
    {
        return Err(CryptoError::Unsupported);
    }
    if !fields.is_empty() {
        return Err(CryptoError::Malformed);
    }
    // RFC 4055 section 3.1 recommends the same digest in both places; nobody does otherwise.
    if mask_digest != digest {
        return Err(CryptoError::Unsupported);
    }
    Ok(SignatureAlgorithm::RsaPss { digest, salt })
}

/// The digest of a MaskGenAlgorithm, which must be MGF1 (RFC 4055 section 2.2).
fn mask_generation(der: &[u8]) -> Result<Digest, CryptoError> {
    let mut mask = Fields::within(der, tag::SEQUENCE)?;
    if key::oid(mask.required(tag::OID)?.content)? != MGF1 {
        return Err(CryptoError::Unsupported);
    }
    digest_identifier(mask.required(tag::SEQUENCE)?.whole)
}

/// The digest that an AlgorithmIdentifier names; its parameters are absent or NULL.
fn digest_identifier(der: &[u8]) -> Result<Digest, CryptoError> {
    let malformed = |_| CryptoError::Malformed;
    let mut fields = Fields::within(der, tag::SEQUENCE).map_err(malformed)?;
    let oid = fields.required(tag::OID).map_err(malformed)?;
    let oid = ObjectIdentifier::from_bytes(oid.content).map_err(|_| CryptoError::Malformed)?;
    Digest::from_oid(&oid).ok_or(CryptoError::Unsupported)
}

/// Random octets from aws-lc-rs.
#[expect(
    clippy::panic,
    reason = "aws-lc aborts the process itself when the system has no randomness; going on without would be worse"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        panic!("the system gives no random octets");
    }
    bytes
}

/// Whether two secrets are the same, in time that depends on their lengths alone.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests;
