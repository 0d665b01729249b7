//! Signing in two phases: the attributes here, the private key in `keys`, the assembly here again.
//!
//! Never touches a private key and never decides who may be signed for. Refuses to begin with an algorithm
//! that it could not write correctly. Output is DER throughout (O13).

use crate::cms::CmsError;
use crate::cms::attributes::{NewAttributes, Parameters, algorithm_identifier};
use crate::cms::signed_data::Assembly;
use crate::crypto::{CryptoError, Digest, SignatureAlgorithm};
use crate::pki::Certificate;
use crate::smime::capabilities;
use bytes::Bytes;
use der::asn1::ObjectIdentifier;
use jiff::Timestamp;

/// With what a message is signed.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The signer's certificate.
    pub certificate: Certificate,
    /// Certificates to put in besides: intermediates. A root in it is left out (RFC 8550 section 2.3).
    pub chain: Vec<Certificate>,
    /// RSA PKCS#1 v1.5 or ECDSA, over `digest`.
    pub algorithm: SignatureAlgorithm,
    /// SHA-256 or SHA-384.
    pub digest: Digest,
    /// The certificate that answers are to be encrypted to, if it is not the signer's own: it is put in and preferred (RFC
    /// 8551 section 2.5.3).
    pub encryption: Option<Certificate>,
}

impl Signer {
    /// The encryption certificate, if it is another one.
    fn preferred(&self) -> Option<&Certificate> {
        self.encryption.as_ref().filter(|other| other.sha256() != self.certificate.sha256())
    }
}

/// The signature to be made.
#[derive(Clone, Debug)]
pub struct Prepared {
    signer: Signer,
    attributes: Vec<u8>,
    digest_algorithm: Vec<u8>,
    signature_algorithm: Vec<u8>,
    content: Option<Bytes>,
}

/// Why a signature could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The structure could not be written.
    #[error("cannot encode the signature")]
    Encoding(#[source] CmsError),
    /// The content could not be digested.
    #[error("cannot digest the content")]
    Digest(#[source] CryptoError),
    /// Not an algorithm that is used for signing here.
    #[error("cannot sign with `{0}` over `{1}`")]
    Unsupported(&'static str, &'static str),
}

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Computes what the key has to sign. `opaque`: eContent is put in (O08); else detached.
///
/// # Errors
/// The algorithm is none of RSA PKCS#1 v1.5 or ECDSA with SHA-256 or SHA-384, or does not use `signer.digest`.
pub fn prepare(entity: &[u8], signer: &Signer, signing_time: Timestamp, opaque: bool) -> Result<Prepared, SignError> {
    let signature_algorithm = signature_identifier(signer)?;
    // RFC 5754 section 2: parameters of SHA-2 digests are absent.
    let digest_algorithm =
        algorithm_identifier(&signer.digest.oid(), Parameters::Absent).map_err(SignError::Encoding)?;
    let message_digest = signer.digest.hash(&[entity]).map_err(SignError::Digest)?;
    let attributes = NewAttributes {
        message_digest: &message_digest,
        signing_time,
        certificate_sha256: &signer.certificate.sha256(),
        issuer: signer.certificate.issuer().der(),
        serial: signer.certificate.serial(),
        digest_algorithm: &digest_algorithm,
        signature_algorithm: &signature_algorithm,
        capabilities: &capabilities::own(),
        encryption: signer.preferred().map(|other| (other.issuer().der(), other.serial())),
    }
    .to_der()
    .map_err(SignError::Encoding)?;
    Ok(Prepared {
        signer: signer.clone(),
        attributes,
        digest_algorithm,
        signature_algorithm,
        content: opaque.then(|| Bytes::copy_from_slice(entity)),
    })
}

impl Prepared {
    /// DER of the SET OF signed attributes (tag 0x31): the bytes that the key signs (it hashes them).
    pub fn to_be_signed(&self) -> &[u8] {
        &self.attributes
    }

    /// DER of the ContentInfo. ECDSA signatures are DER-encoded (r, s).
    ///
    /// # Errors
    /// The structure could not be written.
    pub fn assemble(self, signature: &[u8]) -> Result<Vec<u8>, SignError> {
        self.assemble_with(signature, self.content.as_deref())
    }

    /// The same with this eContent, or detached: the signature is one for both. `content` is the entity that was prepared.
    ///
    /// # Errors
    /// The structure could not be written.
    pub fn assemble_with(&self, signature: &[u8], content: Option<&[u8]>) -> Result<Vec<u8>, SignError> {
        let end_entity = &self.signer.certificate;
        let mut certificates = vec![end_entity.der().to_vec()];
        for certificate in self.signer.preferred().into_iter().chain(&self.signer.chain) {
            let der = certificate.der();
            if !certificate.is_self_signed() && !certificates.iter().any(|known| known == der) {
                certificates.push(der.to_vec());
            }
        }
        Assembly {
            digest_algorithm: &self.digest_algorithm,
            signature_algorithm: &self.signature_algorithm,
            content,
            certificates,
            issuer: end_entity.issuer().der(),
            serial: end_entity.serial(),
            signed_attributes: &self.attributes,
            signature,
        }
        .to_der()
        .map_err(SignError::Encoding)
    }
}

/// `rsaEncryption` with NULL, which every receiver takes (RFC 3370 section 3.2), or ECDSA without parameters (RFC 5754 section 3.3).
fn signature_identifier(signer: &Signer) -> Result<Vec<u8>, SignError> {
    let same = signer.algorithm.digest() == Some(signer.digest);
    let (oid, parameters) = match signer.algorithm {
        SignatureAlgorithm::RsaPkcs1(Digest::Sha256 | Digest::Sha384) if same => (RSA_ENCRYPTION, Parameters::Null),
        SignatureAlgorithm::Ecdsa(Digest::Sha256) if same => (ECDSA_WITH_SHA256, Parameters::Absent),
        SignatureAlgorithm::Ecdsa(Digest::Sha384) if same => (ECDSA_WITH_SHA384, Parameters::Absent),
        _ => return Err(SignError::Unsupported(signer.algorithm.name(), signer.digest.name())),
    };
    algorithm_identifier(&oid, parameters).map_err(SignError::Encoding)
}

#[cfg(test)]
mod tests;
