//! The key derivation of PKCS#12 (RFC 7292 appendix B): keys, initialisation vectors and MAC keys out of a password.

use super::super::KeyError;
use super::super::pbes2::Budget;
use super::bmp;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// Octets of a salt; nothing writes more than 64.
const MAX_SALT: usize = 1024;
/// Octets of a password as BMPString.
const MAX_PASSWORD: usize = 4096;

/// What the octets are for: `ID` in appendix B.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// A digest as the key derivation needs it: `block` is the input block's length in octets (`v` in appendix B.2).
pub(super) struct Hash {
    digest: &'static digest::Algorithm,
    block: usize,
}

impl Hash {
    pub(super) const SHA1: Self = Self { digest: &digest::SHA1_FOR_LEGACY_USE_ONLY, block: 64 };
    pub(super) const SHA224: Self = Self { digest: &digest::SHA224, block: 64 };
    pub(super) const SHA256: Self = Self { digest: &digest::SHA256, block: 64 };
    pub(super) const SHA384: Self = Self { digest: &digest::SHA384, block: 128 };
    pub(super) const SHA512: Self = Self { digest: &digest::SHA512, block: 128 };

    /// Octets of a result.
    pub(super) fn size(&self) -> usize {
        self.digest.output_len()
    }
}

/// What the password may have been written as: an empty one is two zero octets to some and nothing to others.
pub(super) fn passwords(password: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![bmp(password)];
    if password.is_empty() {
        forms.push(Zeroizing::new(Vec::new()));
    }
    forms
}

/// Fills `into` as appendix B.2 says. Each block of the result costs all iterations once.
///
/// # Errors
/// `TooComplex` past the budget, or for a salt or password that nobody has; no iterations.
pub(super) fn derive(
    hash: &Hash,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    into: &mut [u8],
    budget: &mut Budget,
) -> Result<(), KeyError> {
    if salt.len() > MAX_SALT || password.len() > MAX_PASSWORD {
        return Err(KeyError::TooComplex("salt or password"));
    }
    let padded = |text: &[u8]| text.len().div_ceil(hash.block) * hash.block;
    let diversifier = [purpose as u8; 128];
    let diversifier = diversifier.get(..hash.block).unwrap_or(&diversifier);
    let mut input = Zeroizing::new(Vec::with_capacity(padded(salt) + padded(password)));
    input.extend(salt.iter().cycle().take(padded(salt)));
    input.extend(password.iter().cycle().take(padded(password)));

    for part in into.chunks_mut(hash.size()) {
        budget.spend(iterations)?;
        let mut context = digest::Context::new(hash.digest);
        context.update(diversifier);
        context.update(&input);
        let mut block = Zeroizing::new(context.finish().as_ref().to_vec());
        for _ in 1..iterations {
            let next = digest::digest(hash.digest, &block);
            block.copy_from_slice(next.as_ref());
        }
        part.iter_mut().zip(block.iter()).for_each(|(to, from)| *to = *from);
        // Step 6C: each block of I becomes I + B + 1, where B is the result repeated to a block.
        for piece in input.chunks_mut(hash.block) {
            let repeated = block.iter().cycle().take(hash.block);
            let repeated: Zeroizing<Vec<u8>> = Zeroizing::new(repeated.copied().collect());
            let mut carry = 1;
            for (octet, add) in piece.iter_mut().zip(repeated.iter()).rev() {
                let [high, low] = (u16::from(*octet) + u16::from(*add) + carry).to_be_bytes();
                *octet = low;
                carry = u16::from(high);
            }
        }
    }
    Ok(())
}
