//! What must hold for whatever Segel reads. Each module has one `check`, which panics where it does not hold.
//!
//! The fuzz targets in `targets` feed them; `tests/invariants.rs` of the product replays the kept cases and some thousand
//! pseudo-random inputs through the same functions, so that they hold without a fuzzer too.

pub mod ber;
pub mod certificate;
pub mod cms;
pub mod config;
pub mod crl;
pub mod headers;
pub mod inspect;
pub mod mime;
pub mod pkcs12;
pub mod readers;
pub mod signing;
pub mod smtp_commands;
pub mod smtp_data;

/// Decisions that an input makes for what stands around it: how it is cut, what is answered.
pub struct Choices(u64);

impl Choices {
    /// The last eight octets of `data` decide; what stands before them is the input.
    pub fn split(data: &[u8]) -> (&[u8], Self) {
        let (input, tail) = data.split_at(data.len().saturating_sub(8));
        let seed = tail.iter().fold(0u64, |seed, octet| (seed << 8) | u64::from(*octet));
        (input, Self(seed))
    }

    /// A number below `bound`, 0 where that is 0 (splitmix64).
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        (mixed % u64::try_from(bound.max(1)).unwrap_or(1)) as usize
    }

    /// One of two.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Cuts `bytes` into pieces, most of them short.
    pub fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = [1, 2, 3, 7, 40, 1 << 20][self.below(6)];
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(longest)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
