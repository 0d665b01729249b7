//! The master key, and what it wraps: a key per content, content in chunks of AES-256-GCM.
use bytes::Bytes;
/// The key that wraps all others. Never leaves this module; zeroised.
pub struct MasterKey {/* private */}
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot read master key `{path}`")]
    Read {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("master key `{0}`: expected 32 octets in base64 or raw")]
    Format(std::path::PathBuf),
    #[error("sealed with master key `{expected}`, this one is `{found}`")]
    WrongKey { expected: String, found: String },
    #[error("sealed data was changed")]
    Altered,
}
/// A content key, wrapped by the master key. Destroying it destroys the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /** id of the master key */
    pub master: String,
    pub bytes: Vec<u8>,
}
impl MasterKey {
    /// Reads (or makes, 0600, for `Generated`) the key; the bool says that it was made now.
    pub fn open(_source: &crate::config::MasterKeySource) -> Result<(Self, bool), SealError> {
        todo!()
    }
    pub fn id(&self) -> &str {
        todo!()
    }
    /// `context` (purpose and id) is authenticated with it: a sealed thing can't be moved elsewhere.
    pub fn seal(&self, _context: &str, _plain: &[u8]) -> (WrappedKey, Bytes) {
        todo!()
    }
    pub fn open_sealed(
        &self,
        _context: &str,
        _key: &WrappedKey,
        _sealed: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, SealError> {
        todo!()
    }
}
