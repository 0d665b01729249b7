use super::{Certificate, Name};
use jiff::Timestamp;
use std::sync::Arc;
/// A full CRL over its original DER, indexed by serial. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Crl(Arc<ParsedCrl>);
#[derive(Debug)]
struct ParsedCrl {}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    #[error("not a CRL: {0}")]
    Malformed(String),
    #[error("larger than allowed")]
    TooComplex,
}
impl Crl {
    pub fn from_der(_der: &[u8], _limits: &crate::limits::Limits) -> Result<Self, CrlError> {
        todo!()
    }
    /// PEM (several) or DER.
    pub fn bundle(_file: &[u8], _limits: &crate::limits::Limits) -> Result<Vec<Self>, CrlError> {
        todo!()
    }
    pub fn der(&self) -> &[u8] {
        todo!()
    }
    pub fn issuer(&self) -> &Name {
        todo!()
    }
    pub fn this_update(&self) -> Timestamp {
        todo!()
    }
    pub fn next_update(&self) -> Option<Timestamp> {
        todo!()
    }
    pub fn number(&self) -> Option<String> {
        todo!()
    }
    /// Signature under the issuer's key; remembered per issuer key so that it costs once.
    pub fn verify(&self, _issuer: &Certificate) -> bool {
        todo!()
    }
}
