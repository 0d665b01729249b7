//! Algorithm identifiers; digests and signature verification on aws-lc-rs. No private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}
/// What a SignerInfo's or certificate's signature was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    RsaPkcs1(Digest),
    RsaPss { digest: Digest, salt: u32 },
    Ecdsa(Digest),
    Ed25519,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    #[error("the signature does not verify")]
    BadSignature,
    #[error("algorithm not supported")]
    Unsupported,
    #[error("malformed key or signature")]
    Malformed,
}
impl Digest {
    /// `sha256` as in JSON.
    pub fn name(self) -> &'static str {
        todo!()
    }
    /// `sha-256` as in micalg (RFC 8551 section 3.5.3.2).
    pub fn micalg(self) -> &'static str {
        todo!()
    }
    pub fn oid(self) -> der::asn1::ObjectIdentifier {
        todo!()
    }
    pub fn from_oid(_oid: &der::asn1::ObjectIdentifier) -> Option<Self> {
        todo!()
    }
    /// Digest of the concatenation. MD5 gives `Unsupported` (never computed).
    pub fn hash(self, _parts: &[&[u8]]) -> Result<Vec<u8>, CryptoError> {
        todo!()
    }
    pub fn is_weak(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }
}
impl SignatureAlgorithm {
    /// `rsa-pkcs1`, `rsa-pss`, `ecdsa`, `ed25519` as in JSON.
    pub fn name(self) -> &'static str {
        todo!()
    }
    pub fn digest(self) -> Option<Digest> {
        todo!()
    }
    /// From an AlgorithmIdentifier; `digest` is SignerInfo.digestAlgorithm, for identifiers such as rsaEncryption that leave it open.
    pub fn from_identifier(_id: &spki::AlgorithmIdentifierOwned, _digest: Option<Digest>) -> Result<Self, CryptoError> {
        todo!()
    }
}
/// Verifies over `message` (hashed inside). `spki` is the DER of SubjectPublicKeyInfo.
pub fn verify(
    _algorithm: SignatureAlgorithm,
    _spki: &[u8],
    _message: &[u8],
    _signature: &[u8],
) -> Result<(), CryptoError> {
    todo!()
}
/// Random octets from aws-lc-rs.
pub fn random<const N: usize>() -> [u8; N] {
    todo!()
}
pub fn sha256(_bytes: &[u8]) -> [u8; 32] {
    todo!()
}
