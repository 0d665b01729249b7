use super::Name;
use crate::mail::Address;
use jiff::Timestamp;
use std::sync::Arc;
/// A parsed certificate over its original DER. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Parsed>);
#[derive(Debug)]
struct Parsed {}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("not a certificate: {0}")]
    Malformed(String),
    #[error("too large")]
    TooComplex,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyInfo {
    Rsa { bits: usize, exponent: u64 },
    Ec { curve: Curve },
    Ed25519,
    Dsa,
    Other,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
    P521,
    Other,
}
impl Certificate {
    pub fn from_der(_der: &[u8]) -> Result<Self, CertificateError> {
        todo!()
    }
    /// One or many certificates from PEM (several blocks, other blocks ignored) or one DER.
    pub fn bundle(_file: &[u8]) -> Result<Vec<Self>, CertificateError> {
        todo!()
    }
    pub fn der(&self) -> &[u8] {
        todo!()
    }
    pub fn subject(&self) -> &Name {
        todo!()
    }
    pub fn issuer(&self) -> &Name {
        todo!()
    }
    /// Content octets of the INTEGER.
    pub fn serial(&self) -> &[u8] {
        todo!()
    }
    /// Lower-case hex, no leading 00 unless alone.
    pub fn serial_hex(&self) -> String {
        todo!()
    }
    pub fn not_before(&self) -> Timestamp {
        todo!()
    }
    pub fn not_after(&self) -> Timestamp {
        todo!()
    }
    pub fn spki_der(&self) -> &[u8] {
        todo!()
    }
    pub fn key_info(&self) -> KeyInfo {
        todo!()
    }
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        todo!()
    }
    pub fn is_ca(&self) -> bool {
        todo!()
    }
    pub fn is_self_signed(&self) -> bool {
        todo!()
    }
    pub fn sha256(&self) -> [u8; 32] {
        todo!()
    }
    /// Every address the certificate names: rfc822Name, SmtpUTF8Mailbox, emailAddress in the subject; exact octets that are no address
    /// (NUL, wildcard, two @ …) are left out of matching and never truncated (I58).
    pub fn addresses(&self) -> &[Address] {
        todo!()
    }
    pub fn names_address(&self, _address: &Address) -> bool {
        todo!()
    }
    pub fn to_pem(&self) -> String {
        todo!()
    }
}
