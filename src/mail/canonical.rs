//! From a message as it came to the entity that is signed: O01 to O05, O10.
use crate::limits::Limits;
/// A message taken apart for signing.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// All fields that stay outside, as they were, with final CRLFs (no Content-*, no MIME-Version, no Bcc).
    pub outer: Vec<u8>,
    /// The entity to sign: Content-* fields, empty line, 7-bit canonical body (CRLF only), no final CRLF added.
    pub entity: Vec<u8>,
    pub form: Form,
}
/// Clear: multipart/signed is safe. Opaque: the entity holds what must not be re-encoded (O04), so its bytes are kept and wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Clear,
    Opaque,
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    #[error("{0}")]
    Unsuitable(&'static str),
}
pub fn canonical(_message: &[u8], _limits: &Limits) -> Result<Canonical, CanonicalError> {
    todo!()
}
/// `multipart/signed` around entity and the DER of a detached SignedData (O06, O07, O10). `boundary` random from the caller.
pub fn multipart_signed(
    _outer: &[u8],
    _entity: &[u8],
    _signature_der: &[u8],
    _micalg: &str,
    _boundary: &str,
) -> Vec<u8> {
    todo!()
}
/// `application/pkcs7-mime; smime-type=…` around the DER of a CMS message (O08).
pub fn pkcs7_mime(_outer: &[u8], _smime_type: &str, _der: &[u8]) -> Vec<u8> {
    todo!()
}
