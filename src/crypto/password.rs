//! Hashed passwords: Argon2 (RFC 9106) in the PHC string format.
//!
//! `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, salt and hash in base64 without padding. Costs that nobody would configure are
//! refused: whoever writes the file must not be able to stop the machine by a typing error.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::BASE64_NOPAD;
use zeroize::Zeroizing;

/// KiB of memory, passes and lanes that a hash may ask for.
const MOST: (u32, u32, u32) = (1 << 20, 64, 16);
/// Octets of a salt that is made here (RFC 9106 section 3.1), and of the longest salt or hash that is read.
const SALT: usize = 16;
const LONGEST: usize = 64;

/// A hash that was read.
pub struct PasswordHash {
    algorithm: Algorithm,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// What verifying works in.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("blocks", &self.0.len()).finish()
    }
}

impl PasswordHash {
    /// Reads a PHC string of Argon2, version 1.3.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let algorithm = match parts.next()? {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => Algorithm::Argon2d,
            _ => return None,
        };
        if parts.next()? != "v=19" {
            return None;
        }
        let (mut memory, mut passes, mut lanes) = (None, None, None);
        for item in parts.next()?.split(',') {
            let (name, value) = item.split_once('=')?;
            let slot = match name {
                "m" => &mut memory,
                "t" => &mut passes,
                "p" => &mut lanes,
                _ => return None,
            };
            *slot = Some(value.parse::<u32>().ok()?);
        }
        let (memory, passes, lanes) = (memory?, passes?, lanes?);
        let decode = |text: &str| BASE64_NOPAD.decode(text.as_bytes()).ok().filter(|octets| octets.len() <= LONGEST);
        let (salt, hash) = (decode(parts.next()?)?, decode(parts.next()?)?);
        if parts.next().is_some() || memory > MOST.0 || passes > MOST.1 || lanes > MOST.2 || salt.len() < 8 {
            return None;
        }
        let params = Params::new(memory, passes, lanes, Some(hash.len())).ok()?;
        Some(Self { algorithm, params, salt, hash })
    }

    /// Whether this is its password. Takes tens of milliseconds and some MiB, on purpose: `memory` is kept by the caller and
    /// used again, so that guesses do not take it anew each time. It is overwritten with zeros.
    pub fn verify(&self, password: &[u8], memory: &mut Memory) -> bool {
        let mut found = Zeroizing::new(vec![0; self.hash.len()]);
        let argon2 = Argon2::new(self.algorithm, Version::V0x13, self.params.clone());
        let blocks = self.params.block_count();
        if memory.0.len() < blocks {
            memory.0.resize(blocks, Block::new());
        }
        let Some(used) = memory.0.get_mut(..blocks) else { return false };
        let done = argon2.hash_password_into_with_memory(password, &self.salt, &mut found, &mut *used).is_ok();
        used.fill(Block::new());
        done && super::equal(&found, &self.hash)
    }
}

/// The PHC string of a password, with a new salt and the costs that RFC 9106 and OWASP call the least: 19 MiB, 2 passes.
/// `None` for an empty password.
pub fn hash(password: &[u8]) -> Option<String> {
    let salt: [u8; SALT] = super::random();
    let params = Params::default();
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    if password.is_empty() || argon2.hash_password_into(password, &salt, &mut hash).is_err() {
        return None;
    }
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, hash) = (BASE64_NOPAD.encode(&salt), BASE64_NOPAD.encode(&hash));
    Some(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"))
}

#[cfg(test)]
mod tests {
    use super::{Memory, PasswordHash, hash};

    #[test]
    fn what_is_hashed_verifies() {
        let text = hash(b"rahasia").unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let read = PasswordHash::parse(&text).unwrap();
        let mut memory = Memory::default();
        let mut verify = |text: &[u8]| read.verify(text, &mut memory);
        assert!(verify(b"rahasia") && !verify(b"Rahasia") && !verify(b"") && verify(b"rahasia"));
        assert_ne!(hash(b"rahasia").unwrap(), text);
        assert!(hash(b"").is_none());
    }

    #[test]
    fn s43_a_hash_made_by_another_program_verifies() {
        // The reference implementation's test vector: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1`.
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(PasswordHash::parse(text).unwrap().verify(b"password", &mut Memory::default()));
        assert!(!PasswordHash::parse(text).unwrap().verify(b"passwore", &mut Memory::default()));
    }

    #[test]
    fn what_is_no_hash_is_none() {
        for text in [
            "",
            "rahasia",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$",
            "$2b$12$abcdefghijklmnopqrstuv",
        ] {
            assert!(PasswordHash::parse(text).is_none(), "{text}");
        }
    }
}
