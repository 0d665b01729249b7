//! Private keys in memory: signing and decrypting with aws-lc-rs, whose memory is cleared when it is freed.
//!
//! A key is parsed and checked once and used many times: parsing costs as much as signing.

use super::{KeyError, Unfit};
use crate::asn1;
use crate::cms::recipient_info::SealedKey;
use crate::crypto::{Digest, SignatureAlgorithm};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding,
};
use der::Decode;
use open::Opener;
use spki::SubjectPublicKeyInfoRef;
use std::fmt;
use zeroize::Zeroizing;

mod open;

/// Bits of the modulus, for the words of an error: aws-lc-rs parses no short RSA key. PrivateKeyInfo, in it
/// `RSAPrivateKey ::= SEQUENCE { version, modulus INTEGER, … }` (RFC 8017 appendix A.1.2).
fn rsa_bits(pkcs8: &[u8]) -> Option<usize> {
    let (info, _) = asn1::read_tlv(pkcs8).ok()?;
    let (_, rest) = asn1::read_tlv(info.content).ok()?;
    let (_, rest) = asn1::read_tlv(rest).ok()?;
    let (key, _) = asn1::read_tlv(rest).ok()?;
    let (key, _) = asn1::read_tlv(key.content).ok()?;
    let (_, rest) = asn1::read_tlv(key.content).ok()?;
    let (modulus, _) = asn1::read_tlv(rest).ok()?;
    let skipped = modulus.content.iter().take_while(|octet| **octet == 0).count();
    let first = modulus.content.get(skipped)?;
    let octets = modulus.content.len().checked_sub(skipped)?;
    (modulus.tag == 0x02).then(|| 8 * octets - first.leading_zeros() as usize)
}

/// RFC 8550 section 4.4 and the CA/Browser Forum's S/MIME requirements, section 6.1.5.
const RSA_BITS_MIN: usize = 2048;

/// A private key that is ready to sign, to decrypt, or both. Shows nothing of itself.
pub struct OpenKey {
    /// None for kinds of keys that only agree.
    pair: Option<Pair>,
    /// None for keys that only sign.
    opener: Option<Opener>,
}

enum Pair {
    Rsa(Box<rsa::KeyPair>),
    P256(Box<EcdsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
}

impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenKey(…)")
    }
}

impl OpenKey {
    /// Parses a PKCS#8 PrivateKeyInfo (RFC 5958) and checks that its numbers belong together.
    ///
    /// # Errors
    /// Not RSA, P-256, P-384, P-521 or X25519; RSA below 2048 bits; numbers that make no key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let unfit = |why| KeyError::Unfit { serial: String::from("unknown"), why };
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(pkcs8) {
            let bits = pair.public_modulus_len().saturating_mul(8);
            return match bits < RSA_BITS_MIN {
                true => Err(unfit(Unfit::ShortKey(bits))),
                false => Ok(Self { pair: Some(Pair::Rsa(Box::new(pair))), opener: Opener::rsa(pkcs8) }),
            };
        }
        let opener = Opener::agreement(pkcs8);
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8) {
            return Ok(Self { pair: Some(Pair::P256(Box::new(pair))), opener });
        }
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8) {
            return Ok(Self { pair: Some(Pair::P384(Box::new(pair))), opener });
        }
        if opener.is_some() {
            return Ok(Self { pair: None, opener });
        }
        match rsa_bits(pkcs8) {
            Some(bits) if bits < RSA_BITS_MIN => Err(unfit(Unfit::ShortKey(bits))),
            _ => Err(unfit(Unfit::KeyType)),
        }
    }

    /// The content key in `sealed`, or random octets of the same `length` if there is none: whoever calls this cannot
    /// tell (RFC 3218 section 2.3.2). What is random, what is found and which of them is returned takes the same path.
    ///
    /// # Errors
    /// Only what anybody sees without the key: this kind of key cannot open what is sealed in this way.
    pub fn content_key(&self, sealed: &SealedKey, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.opener.as_ref().ok_or(KeyError::CannotDecrypt)?.content_key(sealed, length)
    }

    /// Whether something encrypted to the public key in `spki` is opened by this key: a round trip.
    pub(super) fn opens_for(&self, spki: &[u8]) -> bool {
        self.opener.as_ref().is_some_and(|opener| opener.opens_for(spki))
    }

    /// The digest that suits the key, for a signature whose digest is not set: SHA-384 for P-384, else SHA-256.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match &self.pair {
            Some(Pair::P256(_)) => SignatureAlgorithm::Ecdsa(Digest::Sha256),
            Some(Pair::P384(_)) => SignatureAlgorithm::Ecdsa(Digest::Sha384),
            Some(Pair::Rsa(_)) | None => SignatureAlgorithm::RsaPkcs1(Digest::Sha256),
        }
    }

    /// Signs `message`, which is hashed here. RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2) as octets, ECDSA as the DER of
    /// Ecdsa-Sig-Value (RFC 5753).
    ///
    /// # Errors
    /// The key has another algorithm, or a digest that it is not used with (P-256: SHA-256, P-384: SHA-384).
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match (self.pair.as_ref().ok_or(KeyError::Signing)?, algorithm) {
            (Pair::Rsa(pair), SignatureAlgorithm::RsaPkcs1(digest)) => {
                let padding: &'static dyn RsaEncoding = match digest {
                    Digest::Sha256 => &RSA_PKCS1_SHA256,
                    Digest::Sha384 => &RSA_PKCS1_SHA384,
                    Digest::Sha512 => &RSA_PKCS1_SHA512,
                    Digest::Md5 | Digest::Sha1 | Digest::Sha224 => return Err(KeyError::Signing),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).map_err(|_| KeyError::Signing)?;
                Ok(signature)
            }
            (Pair::P256(pair), SignatureAlgorithm::Ecdsa(Digest::Sha256))
            | (Pair::P384(pair), SignatureAlgorithm::Ecdsa(Digest::Sha384)) => {
                Ok(pair.sign(&random, message).map_err(|_| KeyError::Signing)?.as_ref().to_vec())
            }
            _ => Err(KeyError::Signing),
        }
    }

    /// Whether `spki`, the DER of a SubjectPublicKeyInfo, is this key's public half. Algorithm parameters are left
    /// out (RSA has NULL or nothing there); on a curve the point decides.
    pub fn belongs_to(&self, spki: &[u8]) -> bool {
        let Ok(other) = SubjectPublicKeyInfoRef::from_der(spki) else { return false };
        let own: Result<PublicKeyX509Der<'_>, _> = match &self.pair {
            Some(Pair::Rsa(pair)) => pair.public_key().as_der(),
            Some(Pair::P256(pair) | Pair::P384(pair)) => pair.public_key().as_der(),
            None => return self.opener.as_ref().is_some_and(|opener| opener.belongs_to(&other)),
        };
        let Ok(own) = own else { return false };
        SubjectPublicKeyInfoRef::from_der(own.as_ref()).is_ok_and(|own| {
            own.algorithm.oid == other.algorithm.oid && own.subject_public_key == other.subject_public_key
        })
    }
}

#[cfg(test)]
mod tests;
