//! Getting at a content key with a private key, without telling whether there was one.
//!
//! Whoever can see that a padding, a length or an unwrapping failed can have messages opened for him, one question at a
//! time (Bleichenbacher 1998; RFC 3218). So random octets are made first, then the operation is done, and a mask without
//! a branch says which of both is returned. The content then fails to open as it does for a damaged message.

use super::KeyError;
use crate::asn1::{Fields, tag};
use crate::cms::recipient_info::{Agreement, SealedKey};
use crate::crypto::{self, Digest};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use spki::SubjectPublicKeyInfoRef;
use std::hint::black_box;
use zeroize::Zeroizing;

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const ID_X25519: &str = "1.3.101.110";

/// Octets of the longest content key that anything asks for, with room for what may come.
const MAX_CONTENT_KEY: usize = 64;

/// What opens content keys.
pub(super) enum Opener {
    /// RSAES-PKCS1-v1_5 and RSAES-OAEP (RFC 8017 section 7).
    Rsa(Box<Rsa>),
    /// Diffie-Hellman on a curve.
    Agreement(Box<PrivateKey>),
}

pub(super) struct Rsa {
    pkcs1: Pkcs1PrivateDecryptingKey,
    oaep: OaepPrivateDecryptingKey,
}

impl Opener {
    /// None for keys that are for signatures only.
    pub(super) fn rsa(pkcs8: &[u8]) -> Option<Self> {
        let parse = || PrivateDecryptingKey::from_pkcs8(pkcs8).ok();
        let pkcs1 = Pkcs1PrivateDecryptingKey::new(parse()?).ok()?;
        let oaep = OaepPrivateDecryptingKey::new(parse()?).ok()?;
        Some(Self::Rsa(Box::new(Rsa { pkcs1, oaep })))
    }

    pub(super) fn agreement(pkcs8: &[u8]) -> Option<Self> {
        let key = [&ECDH_P256, &ECDH_P384, &ECDH_P521]
            .into_iter()
            .find_map(|curve| PrivateKey::from_private_key_der(curve, pkcs8).ok())
            .or_else(|| PrivateKey::from_private_key(&X25519, x25519(pkcs8)?).ok())?;
        Some(Self::Agreement(Box::new(key)))
    }

    /// See [`super::OpenKey::content_key`].
    pub(super) fn content_key(&self, sealed: &SealedKey, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if !(1..=MAX_CONTENT_KEY).contains(&length) {
            return Err(KeyError::CannotDecrypt);
        }
        let mut key = Zeroizing::new(Vec::with_capacity(MAX_CONTENT_KEY));
        key.extend_from_slice(&Zeroizing::new(crypto::random::<MAX_CONTENT_KEY>())[..]);
        key.truncate(length);
        let (plain, found) = match (self, sealed) {
            (Self::Rsa(rsa), SealedKey::RsaPkcs1(encrypted)) => rsa.pkcs1(encrypted),
            (Self::Rsa(rsa), SealedKey::RsaOaep { encrypted, digest, mgf, label }) => {
                rsa.oaep(oaep(*digest, *mgf).ok_or(KeyError::CannotDecrypt)?, encrypted, label)
            }
            (Self::Agreement(key), SealedKey::Agreed(sealed)) => agreed(key, sealed)?,
            (Self::Rsa(_), SealedKey::Agreed(_))
            | (Self::Agreement(_), SealedKey::RsaPkcs1(_) | SealedKey::RsaOaep { .. })
            | (_, SealedKey::Unsupported) => return Err(KeyError::CannotDecrypt),
        };
        select(mask_if_equal(found, length), &plain, &mut key);
        Ok(key)
    }

    /// Whether the public key in `spki` is this key's.
    pub(super) fn belongs_to(&self, spki: &SubjectPublicKeyInfoRef<'_>) -> bool {
        let Self::Agreement(key) = self else { return false };
        let oid = if key.algorithm() == &X25519 { ID_X25519 } else { EC_PUBLIC_KEY };
        let own = key.compute_public_key();
        spki.algorithm.oid.to_string() == oid
            && own.is_ok_and(|own| spki.subject_public_key.as_bytes() == Some(own.as_ref()))
    }

    /// See [`super::OpenKey::opens_for`].
    pub(super) fn opens_for(&self, spki: &[u8]) -> bool {
        const PROBE: [u8; 32] = *b"segel: pairwise consistency test";
        match self {
            Self::Rsa(rsa) => {
                let to = PublicEncryptingKey::from_der(spki).ok();
                let Some(to) = to.and_then(|key| OaepPublicEncryptingKey::new(key).ok()) else { return false };
                let mut sealed = vec![0; to.ciphertext_size()];
                let Ok(sealed) = to.encrypt(&OAEP_SHA256_MGF1SHA256, &PROBE, &mut sealed, None) else { return false };
                let (plain, found) = rsa.oaep(&OAEP_SHA256_MGF1SHA256, sealed, &[]);
                plain.get(..found).is_some_and(|plain| plain == PROBE)
            }
            Self::Agreement(own) => opens_agreed(own, spki).unwrap_or(false),
        }
    }
}

impl Rsa {
    fn pkcs1(&self, encrypted: &[u8]) -> (Zeroizing<Vec<u8>>, usize) {
        let mut plain = Zeroizing::new(vec![0; self.pkcs1.min_output_size().max(MAX_CONTENT_KEY)]);
        let found = self.pkcs1.decrypt(encrypted, &mut plain).map_or(NOTHING, |found| found.len());
        (plain, found)
    }

    fn oaep(&self, algorithm: &'static OaepAlgorithm, encrypted: &[u8], label: &[u8]) -> (Zeroizing<Vec<u8>>, usize) {
        let mut plain = Zeroizing::new(vec![0; self.oaep.min_output_size().max(MAX_CONTENT_KEY)]);
        let label = (!label.is_empty()).then_some(label);
        let found = self.oaep.decrypt(algorithm, encrypted, &mut plain, label).map_or(NOTHING, |found| found.len());
        (plain, found)
    }
}

/// The parameters that aws-lc-rs has: one digest in both places. Others are public, and refused before anything is done.
fn oaep(digest: Digest, mgf: Digest) -> Option<&'static OaepAlgorithm> {
    match (digest, mgf) {
        (Digest::Sha1, Digest::Sha1) => Some(&OAEP_SHA1_MGF1SHA1),
        (Digest::Sha256, Digest::Sha256) => Some(&OAEP_SHA256_MGF1SHA256),
        (Digest::Sha384, Digest::Sha384) => Some(&OAEP_SHA384_MGF1SHA384),
        (Digest::Sha512, Digest::Sha512) => Some(&OAEP_SHA512_MGF1SHA512),
        _ => None,
    }
}

/// Key agreement, derivation and unwrapping (RFC 5753 section 2.1, RFC 8418 section 2). A point that is not on the curve
/// is no other failure than a key that does not unwrap.
fn agreed(key: &PrivateKey, sealed: &Agreement) -> Result<(Zeroizing<Vec<u8>>, usize), KeyError> {
    if !matches!(sealed.wrap, 16 | 32) {
        return Err(KeyError::CannotDecrypt);
    }
    let peer = UnparsedPublicKey::new(key.algorithm(), &sealed.originator);
    let unwrapped = agreement::agree(key, peer, (), |secret| {
        let kek = crypto::agreement::key_encryption_key(sealed.derivation, secret, &sealed.shared_info, sealed.wrap)
            .map_err(|_| ())?;
        crypto::agreement::unwrap(&kek, &sealed.wrapped).map_err(|_| ())
    });
    let mut plain = Zeroizing::new(vec![0; MAX_CONTENT_KEY]);
    let found = unwrapped.map_or(NOTHING, |unwrapped| {
        plain.iter_mut().zip(unwrapped.iter()).for_each(|(to, from)| *to = *from);
        unwrapped.len()
    });
    Ok((plain, found))
}

/// Both sides of an agreement with a new ephemeral key come to the same secret.
fn opens_agreed(own: &PrivateKey, spki: &[u8]) -> Option<bool> {
    let spki = <SubjectPublicKeyInfoRef<'_> as der::Decode>::from_der(spki).ok()?;
    let point = UnparsedPublicKey::new(own.algorithm(), spki.subject_public_key.as_bytes()?);
    let other = PrivateKey::generate(own.algorithm()).ok()?;
    let others_point = other.compute_public_key().ok()?;
    let others_point = UnparsedPublicKey::new(own.algorithm(), others_point.as_ref());
    let secret = |key, point| agreement::agree(key, point, (), |secret| Ok(Zeroizing::new(secret.to_vec()))).ok();
    Some(secret(&other, point)? == secret(own, others_point)?)
}

/// The 32 octets of an X25519 key.
///
/// ```text
/// OneAsymmetricKey ::= SEQUENCE { version, privateKeyAlgorithm { id-X25519 }, privateKey OCTET STRING, … }
/// CurvePrivateKey ::= OCTET STRING                  -- RFC 8410 section 7, inside privateKey
/// ```
fn x25519(pkcs8: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::within(pkcs8, tag::SEQUENCE).ok()?;
    fields.required(tag::INTEGER).ok()?;
    let mut algorithm = Fields::new(fields.required(tag::SEQUENCE).ok()?.content);
    if crypto::key::oid(algorithm.required(tag::OID).ok()?.content).ok()? != ID_X25519 {
        return None;
    }
    let outer = fields.required(tag::OCTET_STRING).ok()?;
    Fields::new(outer.content).required(tag::OCTET_STRING).ok().map(|key| key.content)
}

/// A length that no key has: the operation has failed.
const NOTHING: usize = usize::MAX;

/// All ones where both are equal, else zero. Without a branch.
fn mask_if_equal(a: usize, b: usize) -> u8 {
    let difference = (a ^ b) as u64;
    let differs = (difference | difference.wrapping_neg()) >> 63;
    // 0 or 1, so nothing is cut off. The optimiser does not see where the mask comes from, so it makes no branch of it.
    black_box((differs as u8).wrapping_sub(1))
}

/// Where the mask is all ones, `from` takes the place of `to`.
fn select(mask: u8, from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= mask & (*to ^ *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i60_selects_without_a_branch() {
        for (a, b, expected) in [(32, 32, 0xff), (16, 32, 0), (NOTHING, 32, 0), (0, 0, 0xff), (1 << 63, 0, 0)] {
            assert_eq!(mask_if_equal(a, b), expected, "{a} {b}");
        }
        let mut key = [1, 2, 3];
        select(0, &[7, 8, 9, 10], &mut key);
        assert_eq!(key, [1, 2, 3]);
        select(0xff, &[7, 8, 9, 10], &mut key);
        assert_eq!(key, [7, 8, 9]);
    }
}
