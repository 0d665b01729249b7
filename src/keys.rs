//! The only holder of certificates' private keys: import, custody, signing.
use crate::crypto::SignatureAlgorithm;
use crate::mail::Address;
use crate::pki::Certificate;
use crate::policy::KeyKind;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    Gateway,
    Owner,
    Token,
    Remote,
}
/// A row of the register, without the key.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    pub id: String,
    pub addresses: Vec<Address>,
    pub kind: KeyKind,
    pub custody: Custody,
    pub certificate: Certificate,
    pub chain: Vec<Certificate>,
    pub blocked: bool,
    pub imported: jiff::Timestamp,
}
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no key `{0}`")]
    NotFound(String),
    #[error("key and certificate do not belong together")]
    Mismatch,
    #[error("cannot open `{0}`: wrong password or damaged file")]
    Password(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("the key could not sign")]
    Signing,
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    #[error("the store failed")]
    Store(#[source] sqlx::Error),
}
/// Signs (and later decrypts) with a private key that stays behind it: software, token, remote.
pub trait KeyBackend: Send + Sync {
    /// Signature over `message`, which the backend hashes. ECDSA as DER. Blocks: call it on the CPU pool.
    fn sign(&self, key: &str, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}
