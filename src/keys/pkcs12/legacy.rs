//! The old encryption of PKCS#12 files (RFC 7292 appendix C): Triple DES and RC2 under a key derived with SHA-1.
//!
//! Read only, and only in PKCS#12: CAs and Windows wrote such files until a few years ago, and no other copy of the key
//! may be left. RC4, which is a stream cipher under a key of 40 or 128 bits, is refused.

use super::super::KeyError;
use super::super::pbes2::{AlgorithmRef, Budget, Container};
use super::kdf::{Hash, Purpose, derive, passwords};
use aws_lc_rs::cipher::{DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use der::Sequence;
use der::asn1::{ObjectIdentifier, OctetStringRef};
use rc2::Rc2;
use rc2::cipher::{Array, BlockCipherDecrypt};
use zeroize::Zeroizing;

const BLOCK: usize = 8;

/// What encrypted a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    TripleDes3Key,
    TripleDes2Key,
    Rc2Bits128,
    Rc2Bits40,
}

/// ```text
/// pkcs-12PbeParams ::= SEQUENCE { salt OCTET STRING, iterations INTEGER }
/// ```
#[derive(Sequence)]
struct Parameters<'a> {
    salt: &'a OctetStringRef,
    iterations: u32,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::TripleDes3Key, Self::TripleDes2Key, Self::Rc2Bits128, Self::Rc2Bits40];

    pub(super) fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        let text = oid.to_string();
        Self::ALL.into_iter().find(|scheme| scheme.oid() == text)
    }

    fn oid(self) -> &'static str {
        match self {
            Self::TripleDes3Key => "1.2.840.113549.1.12.1.3",
            Self::TripleDes2Key => "1.2.840.113549.1.12.1.4",
            Self::Rc2Bits128 => "1.2.840.113549.1.12.1.5",
            Self::Rc2Bits40 => "1.2.840.113549.1.12.1.6",
        }
    }

    /// Its name in RFC 7292.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TripleDes3Key => "pbeWithSHAAnd3-KeyTripleDES-CBC",
            Self::TripleDes2Key => "pbeWithSHAAnd2-KeyTripleDES-CBC",
            Self::Rc2Bits128 => "pbeWithSHAAnd128BitRC2-CBC",
            Self::Rc2Bits40 => "pbeWithSHAAnd40BitRC2-CBC",
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::TripleDes3Key => 24,
            Self::TripleDes2Key | Self::Rc2Bits128 => 16,
            Self::Rc2Bits40 => 5,
        }
    }

    /// Decrypts what stands under `algorithm`.
    ///
    /// # Errors
    /// `Password` if nothing that was padded comes out, `Malformed`, `TooComplex` past the budget.
    pub(super) fn decrypt(
        self,
        algorithm: &AlgorithmRef<'_>,
        ciphertext: &[u8],
        password: &str,
        budget: &mut Budget,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed("PKCS#12 encryption parameters");
        let parameters: Parameters<'_> =
            algorithm.parameters.ok_or(MALFORMED)?.decode_as().map_err(|_: der::Error| MALFORMED)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(BLOCK) {
            return Err(KeyError::Malformed("PKCS#12 ciphertext"));
        }
        let salt = parameters.salt.as_bytes();
        for form in passwords(password) {
            let mut key = Zeroizing::new(vec![0; self.key_length()]);
            let mut iv = [0; BLOCK];
            derive(&Hash::SHA1, Purpose::Key, &form, salt, parameters.iterations, &mut key, budget)?;
            derive(&Hash::SHA1, Purpose::Iv, &form, salt, parameters.iterations, &mut iv, budget)?;
            let mut plain = Zeroizing::new(ciphertext.to_vec());
            if self.cbc(&key, iv, &mut plain).is_some()
                && let Some(length) = unpadded(&plain)
            {
                plain.truncate(length);
                return Ok(plain);
            }
        }
        Err(KeyError::Password(String::from(Container::Pkcs12.name())))
    }

    /// None for a key that the cipher refuses: a weak DES key.
    #[expect(deprecated, reason = "that Triple DES is for old files only is the point")]
    fn cbc(self, key: &[u8], iv: [u8; BLOCK], octets: &mut [u8]) -> Option<()> {
        use aws_lc_rs::cipher::{DES_EDE_FOR_LEGACY_USE_ONLY, DES_EDE3_FOR_LEGACY_USE_ONLY};
        let algorithm = match self {
            Self::TripleDes3Key => &DES_EDE3_FOR_LEGACY_USE_ONLY,
            Self::TripleDes2Key => &DES_EDE_FOR_LEGACY_USE_ONLY,
            Self::Rc2Bits128 | Self::Rc2Bits40 => return rc2_cbc(key, iv, octets),
        };
        let key = UnboundCipherKey::new(algorithm, key).and_then(DecryptingKey::cbc).ok()?;
        key.decrypt(octets, DecryptionContext::Iv64(FixedLength::from(iv))).ok()?;
        Some(())
    }
}

/// RFC 2268 with as many effective bits as the key has, in CBC mode.
fn rc2_cbc(key: &[u8], iv: [u8; BLOCK], octets: &mut [u8]) -> Option<()> {
    let cipher = Rc2::new_with_eff_key_len(key, 8 * key.len());
    let mut before = iv;
    for block in octets.chunks_exact_mut(BLOCK) {
        let ciphertext = <[u8; BLOCK]>::try_from(&*block).ok()?;
        let mut plain = Array::from(ciphertext);
        cipher.decrypt_block(&mut plain);
        for ((to, plain), before) in block.iter_mut().zip(plain).zip(before) {
            *to = plain ^ before;
        }
        before = ciphertext;
    }
    Some(())
}

/// How much stands before the padding (RFC 8018 section 6.1.1). A file with a MAC was verified before; where there is
/// none, whoever made it knows what is in it.
fn unpadded(plain: &[u8]) -> Option<usize> {
    let padding = usize::from(*plain.last()?);
    let length = plain.len().checked_sub(padding)?;
    let right =
        (1..=BLOCK).contains(&padding) && plain.get(length..)?.iter().all(|octet| usize::from(*octet) == padding);
    right.then_some(length)
}
