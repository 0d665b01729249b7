/// A distinguished name: its DER, and RFC 4514 text for people (escaped, never raw).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    der: bytes::Bytes,
}
impl Name {
    pub fn from_der(_der: &[u8]) -> Result<Self, super::certificate::CertificateError> {
        todo!()
    }
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// Equal after RFC 5280 section 7.1 folding.
    pub fn matches(&self, _other: &Self) -> bool {
        todo!()
    }
}
impl std::fmt::Display for Name {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
