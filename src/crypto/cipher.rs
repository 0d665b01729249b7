//! Content-encryption algorithms: what they are called, how long their keys are, what they prove, and the ciphers themselves.
//!
//! Whatever is wrong with a ciphertext is one error, `Unopened`: padding, tag and length of the key are not told apart.

use super::CryptoError;
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use der::asn1::ObjectIdentifier;
use std::fmt;
use std::hint::black_box;
use zeroize::Zeroizing;

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

    /// Octets of the nonce or initialisation vector (RFC 5084 section 3.2 recommends 12, and aws-lc-rs knows no other).
    pub const fn nonce_length(self) -> usize {
        match self {
            Self::DesEde3Cbc => 8,
            Self::Aes256Cbc | Self::Aes192Cbc | Self::Aes128Cbc => 16,
            Self::Aes256Gcm | Self::Aes192Gcm | Self::Aes128Gcm | Self::ChaCha20Poly1305 => 12,
        }
    }

    /// Encrypts: the ciphertext, and the tag of [`TAG`] octets (empty for CBC, which is padded by RFC 5652 section 6.3).
    ///
    /// # Errors
    /// `Malformed` for a key or nonce of another length and for `aad` with CBC.
    pub fn seal(self, key: &[u8], nonce: &[u8], aad: &[u8], plain: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        let malformed = |_| CryptoError::Malformed;
        let mut out = Vec::with_capacity(plain.len() + BLOCK);
        out.extend_from_slice(plain);
        match self.primitive() {
            Primitive::Aead(algorithm) => {
                let key = LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(malformed)?);
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(malformed)?;
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out).map_err(malformed)?;
                Ok((out, tag.as_ref().to_vec()))
            }
            Primitive::Block(algorithm) if aad.is_empty() => {
                let context = match self.nonce_length() {
                    8 => EncryptionContext::Iv64(FixedLength::try_from(nonce).map_err(malformed)?),
                    _ => EncryptionContext::Iv128(FixedLength::try_from(nonce).map_err(malformed)?),
                };
                let key = UnboundCipherKey::new(algorithm, key).map_err(malformed)?;
                let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(malformed)?;
                key.less_safe_encrypt(&mut out, context).map_err(malformed)?;
                Ok((out, Vec::new()))
            }
            Primitive::Block(_) => Err(CryptoError::Malformed),
        }
    }

    /// Decrypts. Nothing of the content comes out before the tag is verified (I52), or with a padding that does not fit.
    ///
    /// # Errors
    /// `Unopened`, whatever the reason.
    pub fn open(
        self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let unopened = |_| CryptoError::Unopened;
        match self.primitive() {
            Primitive::Aead(algorithm) => {
                if tag.len() != TAG {
                    return Err(CryptoError::Unopened);
                }
                let key = LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(unopened)?);
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(unopened)?;
                let mut out = Zeroizing::new(vec![0; ciphertext.len()]);
                key.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, &mut out).map_err(unopened)?;
                Ok(out)
            }
            Primitive::Block(_) => {
                let unpadded = self.open_unpadded(key, nonce, ciphertext)?;
                if unpadded.padding_fits { Ok(unpadded.content) } else { Err(CryptoError::Unopened) }
            }
        }
    }

    /// Decrypts blocks that nothing authenticates. Whether the padding fits takes the same time to find out as that it
    /// does not, and is for the caller to keep to himself: whoever can tell the two apart can read the content (I60).
    ///
    /// # Errors
    /// `Unopened` for what everybody can see (the lengths, an authenticated cipher) and for a key that can't be used.
    pub fn open_unpadded(self, key: &[u8], nonce: &[u8], ciphertext: &[u8]) -> Result<Unpadded, CryptoError> {
        let unopened = |_| CryptoError::Unopened;
        let Primitive::Block(algorithm) = self.primitive() else { return Err(CryptoError::Unopened) };
        let block = self.nonce_length();
        if !ciphertext.len().is_multiple_of(block) {
            return Err(CryptoError::Unopened);
        }
        let last = last_octets(ciphertext, block).ok_or(CryptoError::Unopened)?;
        let context = match block {
            8 => DecryptionContext::Iv64(FixedLength::try_from(nonce).map_err(unopened)?),
            _ => DecryptionContext::Iv128(FixedLength::try_from(nonce).map_err(unopened)?),
        };
        // The library removes a padding in time that depends on it. So it gets one more block, which always holds the
        // padding of a whole block: nothing, encrypted after what is there.
        let (whole, _) = self.seal(key, last, &[], &[]).map_err(|_| CryptoError::Unopened)?;
        let mut content = Zeroizing::new(Vec::with_capacity(ciphertext.len() + whole.len()));
        content.extend_from_slice(ciphertext);
        content.extend_from_slice(&whole);
        let key = UnboundCipherKey::new(algorithm, key).map_err(unopened)?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(unopened)?;
        key.decrypt(&mut content, context).map_err(unopened)?;
        content.truncate(ciphertext.len());
        let (padded, padding_fits) = padding(last_octets(&content, block).ok_or(CryptoError::Unopened)?);
        content.truncate(ciphertext.len().saturating_sub(padded));
        Ok(Unpadded { content, padding_fits })
    }

    fn primitive(self) -> Primitive {
        match self {
            Self::Aes256Gcm => Primitive::Aead(&aead::AES_256_GCM),
            Self::Aes192Gcm => Primitive::Aead(&aead::AES_192_GCM),
            Self::Aes128Gcm => Primitive::Aead(&aead::AES_128_GCM),
            Self::ChaCha20Poly1305 => Primitive::Aead(&aead::CHACHA20_POLY1305),
            Self::Aes256Cbc => Primitive::Block(&cipher::AES_256),
            Self::Aes192Cbc => Primitive::Block(&cipher::AES_192),
            Self::Aes128Cbc => Primitive::Block(&cipher::AES_128),
            Self::DesEde3Cbc => Primitive::Block(triple_des()),
        }
    }
}

/// What was in blocks that nothing authenticates.
pub struct Unpadded {
    /// Without its padding, or all of it where the padding does not fit.
    pub content: Zeroizing<Vec<u8>>,
    /// Whether the padding is one.
    pub padding_fits: bool,
}

impl fmt::Debug for Unpadded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpadded").finish_non_exhaustive()
    }
}

/// How many octets of padding end `block` (RFC 5652 section 6.3), 0 where they don't fit, and whether they fit; without a
/// branch or an early end.
fn padding(block: &[u8]) -> (usize, bool) {
    let count = block.last().map_or(0, |octet| u32::from(*octet));
    let whole = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let mut wrong = is_below(count, 1) | is_below(whole, count);
    for (place, octet) in (0_u32..).zip(block.iter().rev()) {
        let within = is_below(place, count).wrapping_neg();
        wrong |= black_box(within & (u32::from(*octet) ^ count));
    }
    let fits = black_box(is_below(wrong, 1));
    (usize::try_from(fits.wrapping_neg() & count).unwrap_or(0), fits == 1)
}

/// 1 where `one` is less than `other`, else 0; both below 2^31.
const fn is_below(one: u32, other: u32) -> u32 {
    one.wrapping_sub(other) >> 31
}

fn last_octets(octets: &[u8], count: usize) -> Option<&[u8]> {
    octets.get(octets.len().checked_sub(count)?..)
}

/// Octets of the tag of every authenticated cipher here.
pub const TAG: usize = 16;
/// Octets of the longest block, and so of the longest padding.
const BLOCK: usize = 16;

/// Octets of 7 bits in a row that no ciphertext has: one octet in two has eight, so 64 come once in 2^64.
const TEXT: usize = 64;

/// Whether what should be a ciphertext is text, or holds some: someone has put in what was to be encrypted.
pub fn reads_as_text(ciphertext: &[u8]) -> bool {
    let mut run = 0_usize;
    let long = ciphertext.iter().any(|octet| {
        run = if octet.is_ascii() { run + 1 } else { 0 };
        run >= TEXT
    });
    long || (ciphertext.len() >= TEXT / 4 && ciphertext.is_ascii())
}

enum Primitive {
    Aead(&'static aead::Algorithm),
    Block(&'static cipher::Algorithm),
}

#[allow(deprecated, reason = "old mail is read, never written")]
const fn triple_des() -> &'static cipher::Algorithm {
    &cipher::DES_EDE3_FOR_LEGACY_USE_ONLY
}
