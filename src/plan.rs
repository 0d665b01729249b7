//! From a decision to the bytes that leave: Decided → Plan → Transformed. Pure.
pub mod mark;
pub mod notice;
use bytes::Bytes;
/// A finished message: the only thing the queue takes. Made here alone, from a `Decided` or from a notice.
#[derive(Clone, Debug)]
pub struct Transformed {
    bytes: Bytes,
}
impl Transformed {
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
    /// For tests of the modules below; not part of the product.
    #[cfg(test)]
    pub fn for_test(bytes: Bytes) -> Self {
        Self { bytes }
    }
}
