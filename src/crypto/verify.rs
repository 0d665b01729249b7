//! Signature verification: our own reading of keys and parameters, the mathematics in aws-lc-rs.

use super::key::{Curve, Pss, PublicKey, bits};
use super::{CryptoError, Digest, SignatureAlgorithm};
use aws_lc_rs::signature::{self, RsaParameters, RsaPssSaltLength, VerificationAlgorithm};

/// Verifies over `message` (hashed inside). `spki` is the DER of SubjectPublicKeyInfo.
///
/// Small RSA keys give an answer where aws-lc-rs has one (SHA-1, SHA-256, SHA-512 from 1,024 bits), so that a caller can
/// say `weak` and not `bad`. PKCS#1 v1.5 is verified by comparing the whole encoded block (RFC 8017 section 8.2.2).
///
/// # Errors
/// `BadSignature`; `Unsupported` for combinations that aws-lc-rs lacks (any RSA with SHA-224, P-256 with SHA-224, P-384
/// with SHA-1 or SHA-224) and for MD5; `Malformed` for a key that does not fit the algorithm.
pub fn verify(algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    match (algorithm, PublicKey::from_spki(spki)?) {
        (SignatureAlgorithm::RsaPkcs1(digest), PublicKey::Rsa { der, modulus, exponent, pss: Pss::Open }) => {
            check_exponent(exponent)?;
            run(pkcs1(digest, bits(modulus))?, der, message, signature)
        }
        (SignatureAlgorithm::RsaPss { digest, salt }, PublicKey::Rsa { der, modulus, exponent, pss }) => {
            check_exponent(exponent)?;
            check_pinned(pss, digest, salt)?;
            if bits(modulus) < 2048 {
                return Err(CryptoError::Unsupported);
            }
            let salt = u16::try_from(salt).map_err(|_| CryptoError::Malformed)?;
            let parameters = pss_of(digest)?.with_pss_salt_length(RsaPssSaltLength::Custom(salt));
            run(&parameters, der, message, signature)
        }
        (SignatureAlgorithm::Ecdsa(digest), PublicKey::Ec { curve, point }) => {
            run(ecdsa(curve, digest)?, point, message, signature)
        }
        (SignatureAlgorithm::Ed25519, PublicKey::Ed25519(key)) => run(&signature::ED25519, key, message, signature),
        (_, PublicKey::Dsa | PublicKey::X25519(_) | PublicKey::Other) => Err(CryptoError::Unsupported),
        _ => Err(CryptoError::Malformed),
    }
}

fn run(algorithm: &dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    algorithm.verify_sig(key, message, signature).map_err(|_| CryptoError::BadSignature)
}

/// Even exponents and 1 make no RSA key; more than 64 bits only cost time (aws-lc stops at 33).
fn check_exponent(exponent: &[u8]) -> Result<(), CryptoError> {
    let odd = exponent.last().is_some_and(|last| last & 1 == 1);
    if odd && exponent != [1] && exponent.len() <= 8 { Ok(()) } else { Err(CryptoError::Malformed) }
}

/// RFC 4055 section 3.3: the digest must be the key's, the salt at least as long.
fn check_pinned(pss: Pss, digest: Digest, salt: u32) -> Result<(), CryptoError> {
    match pss {
        Pss::Pinned(SignatureAlgorithm::RsaPss { digest: pinned, salt: least }) if pinned != digest || salt < least => {
            Err(CryptoError::BadSignature)
        }
        Pss::Oaep => Err(CryptoError::Malformed),
        _ => Ok(()),
    }
}

fn pkcs1(digest: Digest, bits: usize) -> Result<&'static RsaParameters, CryptoError> {
    match digest {
        Digest::Sha1 => Ok(&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
        Digest::Sha256 => Ok(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        Digest::Sha384 if bits >= 2048 => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
        Digest::Sha512 => Ok(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        Digest::Sha384 | Digest::Sha224 | Digest::Md5 => Err(CryptoError::Unsupported),
    }
}

fn pss_of(digest: Digest) -> Result<RsaParameters, CryptoError> {
    match digest {
        Digest::Sha256 => Ok(signature::RSA_PSS_2048_8192_SHA256),
        Digest::Sha384 => Ok(signature::RSA_PSS_2048_8192_SHA384),
        Digest::Sha512 => Ok(signature::RSA_PSS_2048_8192_SHA512),
        Digest::Md5 | Digest::Sha1 | Digest::Sha224 => Err(CryptoError::Unsupported),
    }
}

fn ecdsa(curve: Curve, digest: Digest) -> Result<&'static dyn VerificationAlgorithm, CryptoError> {
    Ok(match (curve, digest) {
        (Curve::P256, Digest::Sha1) => &signature::ECDSA_P256_SHA1_ASN1,
        (Curve::P256, Digest::Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Digest::Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Digest::Sha512) => &signature::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Digest::Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Digest::Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Digest::Sha512) => &signature::ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Digest::Sha1) => &signature::ECDSA_P521_SHA1_ASN1,
        (Curve::P521, Digest::Sha224) => &signature::ECDSA_P521_SHA224_ASN1,
        (Curve::P521, Digest::Sha256) => &signature::ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Digest::Sha384) => &signature::ECDSA_P521_SHA384_ASN1,
        (Curve::P521, Digest::Sha512) => &signature::ECDSA_P521_SHA512_ASN1,
        _ => return Err(CryptoError::Unsupported),
    })
}
