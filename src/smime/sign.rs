//! Signing in two phases: the attributes here, the private key in `keys`, the assembly here again.
use crate::crypto::{Digest, SignatureAlgorithm};
use crate::pki::Certificate;
use jiff::Timestamp;
#[derive(Clone, Debug)]
pub struct Signer {
    pub certificate: Certificate,
    /** to put in: intermediates, no root */
    pub chain: Vec<Certificate>,
    pub algorithm: SignatureAlgorithm,
    pub digest: Digest,
}
/// The signature to be made.
pub struct Prepared {
    /* private: */ pub(crate) _p: (),
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("cannot encode the signature: {0}")]
    Encoding(String),
}
/// `opaque`: eContent is put in (O08); else detached.
pub fn prepare(
    _entity: &[u8],
    _signer: &Signer,
    _signing_time: Timestamp,
    _opaque: bool,
) -> Result<Prepared, SignError> {
    todo!()
}
impl Prepared {
    /// DER of the SET OF signed attributes (tag 0x31): the bytes that the key signs (it hashes them).
    pub fn to_be_signed(&self) -> &[u8] {
        todo!()
    }
    /// DER of the ContentInfo. ECDSA signatures are DER-encoded (r, s).
    pub fn assemble(self, _signature: &[u8]) -> Result<Vec<u8>, SignError> {
        todo!()
    }
}
