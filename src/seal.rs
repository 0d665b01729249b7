//! The master key, and what it wraps: a key per content, content in chunks of AES-256-GCM.
//!
//! Nothing that a mail holds lies in clear on disk; destroying a wrapped key destroys what it seals. This module never
//! logs and never returns a key. Failure policy: what was changed, moved or cut off does not open, and no part of it is
//! returned.
//!
//! ```text
//! wrapped key = salt (16) | nonce (12) | AES-256-GCM(content key) (32 + 16)   key: HMAC-SHA256(wrap root, salt)
//! sealed      = version (1) | chunk*                  chunk: AES-256-GCM of up to 65,536 octets, tag appended
//! chunk nonce = last chunk? (1) | zeros (7) | chunk number (4, big-endian)
//! ```
//! A key derived for each salt keeps random nonces below any bound (SP 800-38D section 8.3 allows 2^32 for one key).
//! The chunk number in the nonce forbids exchanging chunks, the flag forbids cutting off.

use crate::config::MasterKeySource;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

pub mod memory;
mod rotation;

pub use rotation::{Rewrapped, Rotation, install, old_name};

/// The key that wraps all others. Never leaves this module; zeroised.
pub struct MasterKey {
    id: String,
    root: hmac::Key,
    wrap: hmac::Key,
}

/// A content key, wrapped by the master key. Destroying it destroys the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Id of the master key.
    pub master: String,
    /// Salt, nonce and the sealed key, 76 octets.
    pub bytes: Vec<u8>,
}

/// A content key in the open, for those who seal many small things under one key (the audit log's subjects).
#[derive(Clone)]
pub struct ContentKey(Zeroizing<[u8; KEY]>);

/// Makes pseudonyms: the same for the same text, telling nothing without this key.
#[derive(Clone)]
pub struct PseudonymKey(Zeroizing<[u8; KEY]>);

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The master key's file cannot be read or made.
    #[error("cannot read master key `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The master key's file holds something else.
    #[error("master key `{0}`: expected 32 octets in base64 or raw")]
    Format(PathBuf),
    /// Another master key sealed this.
    #[error("sealed with master key `{expected}`, this one is `{found}`")]
    WrongKey {
        /// Id that stands beside the sealed thing.
        expected: String,
        /// Id of this key.
        found: String,
    },
    /// It does not open: changed, moved or cut off.
    #[error("sealed data was changed")]
    Altered,
    /// A file of an earlier change of keys is in the way.
    #[error("`{0}` is still there from an earlier change of the master key")]
    OldKeyLeft(PathBuf),
}

impl MasterKey {
    /// Reads (or makes, 0600, for `Generated`) the key; the bool says that it was made now.
    pub fn open(source: &MasterKeySource) -> Result<(Self, bool), SealError> {
        match source {
            MasterKeySource::File(path) => Ok((Self::read(path)?, false)),
            MasterKeySource::Generated(path) => match Self::read(path) {
                Err(SealError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    Self::generate(path)?;
                    // Read back: what later starts will find is what this one uses.
                    Ok((Self::read(path)?, true))
                }
                other => Ok((other?, false)),
            },
        }
    }

    /// A key that lives in memory only.
    pub fn ephemeral() -> Self {
        Self::from_octets(&random_key().0)
    }

    /// Identifies the key without telling anything about it; stands beside whatever it sealed.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals under a new random key. `context` (purpose and id) is authenticated with it: a sealed thing can't be moved
    /// elsewhere.
    pub fn seal(&self, context: &str, plain: &[u8]) -> (WrappedKey, Bytes) {
        let (wrapped, sealed, _) = self.seal_with_key(context, plain);
        (wrapped, sealed)
    }

    /// The same, and the key, for what stands and falls with this content ([`ContentKey::seal_small`]).
    pub fn seal_with_key(&self, context: &str, plain: &[u8]) -> (WrappedKey, Bytes, ContentKey) {
        let key = random_key();
        let sealed = key.seal_chunks(plain);
        (self.wrap(context, &key), sealed.into(), key)
    }

    /// Opens what [`Self::seal`] made. All of it or nothing.
    pub fn open_sealed(&self, context: &str, key: &WrappedKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.unwrap_key(context, key)?.open(sealed)
    }

    /// A new random key, and the same wrapped.
    pub fn new_key(&self, context: &str) -> (WrappedKey, ContentKey) {
        let key = random_key();
        (self.wrap(context, &key), key)
    }

    /// Opens a wrapped key.
    pub fn unwrap_key(&self, context: &str, wrapped: &WrappedKey) -> Result<ContentKey, SealError> {
        if wrapped.master != self.id {
            return Err(SealError::WrongKey { expected: wrapped.master.clone(), found: self.id.clone() });
        }
        let (salt, rest) = wrapped.bytes.split_at_checked(SALT).ok_or(SealError::Altered)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Altered)?;
        let mut body = Zeroizing::new(body.to_vec());
        let opened = self
            .wrapping_key(salt)
            .open_in_place(Nonce::assume_unique_for_key(*nonce), wrap_aad(context), &mut body)
            .map_err(|_| SealError::Altered)?;
        let key = <[u8; KEY]>::try_from(&*opened).map_err(|_| SealError::Altered)?;
        Ok(ContentKey(Zeroizing::new(key)))
    }

    /// The key of pseudonyms for one `purpose`. It comes from this master key, so whoever wants the same pseudonyms under
    /// another one keeps it ([`PseudonymKey::seal`]).
    pub fn pseudonym_key(&self, purpose: &str) -> PseudonymKey {
        PseudonymKey(Zeroizing::new(first_32(hmac::sign(&self.root, purpose.as_bytes()).as_ref())))
    }

    fn wrap(&self, context: &str, key: &ContentKey) -> WrappedKey {
        let salt: [u8; SALT] = random();
        let nonce: [u8; NONCE] = random();
        let mut body = Zeroizing::new(key.0.to_vec());
        seal_appending(&self.wrapping_key(&salt), nonce, wrap_aad(context), &mut body);
        let bytes = [&salt[..], &nonce[..], &body[..]].concat();
        WrappedKey { master: self.id.clone(), bytes }
    }

    fn wrapping_key(&self, salt: &[u8]) -> LessSafeKey {
        let mut octets = first_32(hmac::sign(&self.wrap, salt).as_ref());
        let key = aes_256_gcm(&octets);
        octets.zeroize();
        key
    }

    fn from_octets(octets: &[u8; KEY]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, octets);
        let wrap = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, b"segel wrap 1").as_ref());
        let id = hmac::sign(&root, b"segel id 1");
        let id = data_encoding::HEXLOWER.encode(id.as_ref().first_chunk::<8>().unwrap_or(&[0; 8]));
        Self { id, root, wrap }
    }

    fn read(path: &Path) -> Result<Self, SealError> {
        let read_error = |source| SealError::Read { path: path.to_owned(), source };
        let mut octets = Zeroizing::new(Vec::with_capacity(FILE_MAX));
        let file = OpenOptions::new().read(true).open(path).map_err(read_error)?;
        file.take(FILE_MAX as u64).read_to_end(&mut octets).map_err(read_error)?;
        if let Ok(raw) = <&[u8; KEY]>::try_from(octets.as_slice()) {
            return Ok(Self::from_octets(raw));
        }
        let text = octets.trim_ascii();
        let decoded = data_encoding::BASE64.decode(text).map(Zeroizing::new).ok();
        match decoded.as_deref().map(|decoded| <&[u8; KEY]>::try_from(decoded.as_slice())) {
            Some(Ok(key)) => Ok(Self::from_octets(key)),
            _ => Err(SealError::Format(path.to_owned())),
        }
    }

    /// Makes the file, flushed with its folder. Never writes over one that is there.
    fn generate(path: &Path) -> Result<(), SealError> {
        let read_error = |source| SealError::Read { path: path.to_owned(), source };
        let text = Zeroizing::new(data_encoding::BASE64.encode(&*random_key().0) + "\n");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(read_error)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(read_error)?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_folder(folder).map_err(read_error)
    }
}

impl PseudonymKey {
    /// The pseudonym of `text`.
    pub fn of(&self, text: &str) -> [u8; 32] {
        first_32(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), text.as_bytes()).as_ref())
    }

    /// Sealed under a master key, to be kept.
    pub fn seal(&self, master: &MasterKey, context: &str) -> (WrappedKey, Bytes) {
        master.seal(context, &*self.0)
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(master: &MasterKey, context: &str, key: &WrappedKey, sealed: &[u8]) -> Result<Self, SealError> {
        let octets = master.open_sealed(context, key, sealed)?;
        let octets = <[u8; KEY]>::try_from(octets.as_slice()).map_err(|_| SealError::Altered)?;
        Ok(Self(Zeroizing::new(octets)))
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(…)")
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ContentKey {
    /// Seals one small text under a random nonce, which stands in front. For keys that seal far fewer than 2^32 texts.
    pub fn seal_small(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = random();
        let mut body = plain.to_vec();
        seal_appending(&aes_256_gcm(&self.0), nonce, Aad::from(context.as_bytes().to_vec()), &mut body);
        [&nonce[..], &body[..]].concat()
    }

    /// Opens what [`Self::seal_small`] made.
    pub fn open_small(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Altered)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = aes_256_gcm(&self.0)
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| SealError::Altered)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    fn seal_chunks(&self, plain: &[u8]) -> Vec<u8> {
        let key = aes_256_gcm(&self.0);
        let chunks = plain.len().div_ceil(CHUNK).max(1);
        let mut sealed = Vec::with_capacity(1 + plain.len() + chunks * TAG);
        sealed.push(VERSION);
        let mut rest = plain;
        for number in 0..chunks {
            let (chunk, after) = rest.split_at_checked(CHUNK).unwrap_or((rest, &[]));
            rest = after;
            let start = sealed.len();
            sealed.extend_from_slice(chunk);
            let Some(in_place) = sealed.get_mut(start..) else { break };
            let nonce = Nonce::assume_unique_for_key(chunk_nonce(number, number + 1 == chunks));
            let tag = infallible(key.seal_in_place_separate_tag(nonce, Aad::empty(), in_place));
            sealed.extend_from_slice(tag.as_ref());
        }
        sealed
    }

    /// Opens what [`MasterKey::seal_with_key`] sealed under this key. All of it or nothing.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some((&VERSION, mut rest)) = sealed.split_first() else { return Err(SealError::Altered) };
        let key = aes_256_gcm(&self.0);
        let chunks = rest.len().div_ceil(CHUNK + TAG).max(1);
        let mut plain = Zeroizing::new(Vec::with_capacity(rest.len()));
        for number in 0..chunks {
            let (chunk, after) = rest.split_at_checked(CHUNK + TAG).unwrap_or((rest, &[]));
            rest = after;
            let start = plain.len();
            plain.extend_from_slice(chunk);
            let in_place = plain.get_mut(start..).ok_or(SealError::Altered)?;
            let nonce = Nonce::assume_unique_for_key(chunk_nonce(number, number + 1 == chunks));
            let length = key.open_in_place(nonce, Aad::empty(), in_place).map_err(|_| SealError::Altered)?.len();
            plain.truncate(start + length);
        }
        Ok(plain)
    }
}

/// Flushes a folder, so that the names in it survive a power cut.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    OpenOptions::new().read(true).open(folder).and_then(|folder: File| folder.sync_all())
}

/// Random octets.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    infallible(aws_lc_rs::rand::fill(&mut octets));
    octets
}

fn random_key() -> ContentKey {
    ContentKey(Zeroizing::new(random()))
}

fn chunk_nonce(number: usize, last: bool) -> [u8; NONCE] {
    // 2^32 chunks are 256 TiB: far above any message.
    let [a, b, c, d] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    [u8::from(last), 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

fn wrap_aad(context: &str) -> Aad<Vec<u8>> {
    Aad::from([b"segel wrap 1\0", context.as_bytes()].concat())
}

fn seal_appending<A: AsRef<[u8]>>(key: &LessSafeKey, nonce: [u8; NONCE], aad: Aad<A>, body: &mut Vec<u8>) {
    infallible(key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, body));
}

fn aes_256_gcm(octets: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(infallible(UnboundKey::new(&AES_256_GCM, octets)))
}

fn first_32(octets: &[u8]) -> [u8; 32] {
    octets.first_chunk::<32>().copied().unwrap_or_default()
}

#[expect(
    clippy::expect_used,
    reason = "fails only for a key of another length, more than 2^36 octets, or a system without randomness: \
              nothing could be sealed then, and going on would write mail in clear"
)]
fn infallible<T>(result: Result<T, aws_lc_rs::error::Unspecified>) -> T {
    result.expect("AES-256-GCM with a key of 32 octets, and randomness")
}

const VERSION: u8 = 1;
const KEY: usize = 32;
const SALT: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;
const CHUNK: usize = 64 << 10;
/// 44 octets of base64 and white space; more than that is another file.
const FILE_MAX: usize = 256;

#[cfg(test)]
mod tests;
