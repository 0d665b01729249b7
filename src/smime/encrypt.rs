//! stub
use crate::crypto::ContentCipher;
use crate::pki::RecipientKey;
/// x
#[derive(Clone, Debug)]
pub struct To {
    /// x
    pub key: RecipientKey,
    /// x
    pub oaep: bool,
}
/// x
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// x
    #[error("x")]
    X,
}
/// x
pub fn encrypt(_entity: &[u8], _cipher: ContentCipher, _to: &[To]) -> Result<Vec<u8>, EncryptError> {
    Err(EncryptError::X)
}
/// x
pub const fn smime_type(_cipher: ContentCipher) -> &'static str {
    ""
}
