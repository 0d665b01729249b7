//! Key transport with RSA: reading and writing the parameters of OAEP, and sealing a content key to a public key.
//! RFC 3370 section 4.2.1, RFC 3560, RFC 4055 section 4. Opening belongs to `keys`.

use super::key::{Pss, PublicKey};
use super::{CryptoError, Digest, MGF1, RSA_ENCRYPTION, digest_identifier, mask_generation};
use crate::asn1::{Fields, tag, write_tlv};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use der::asn1::ObjectIdentifier;

/// `id-RSAES-OAEP`.
pub const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const P_SPECIFIED: &str = "1.2.840.113549.1.1.9";

/// The parameters of RSAES-OAEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oaep {
    /// Digest of the label.
    pub digest: Digest,
    /// Digest inside MGF1.
    pub mgf: Digest,
    /// The label, mostly empty.
    pub label: Vec<u8>,
}

impl Oaep {
    /// Reads the parameters of RFC 4055 section 4.1:
    ///
    /// ```text
    /// RSAES-OAEP-params  ::=  SEQUENCE  {
    ///     hashFunc          [0] AlgorithmIdentifier DEFAULT sha1Identifier,
    ///     maskGenFunc       [1] AlgorithmIdentifier DEFAULT mgf1SHA1Identifier,
    ///     pSourceFunc       [2] AlgorithmIdentifier DEFAULT pSpecifiedEmptyIdentifier  }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` for a digest, mask or source that is not known; `Malformed`.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let mut fields = Fields::within(der, tag::SEQUENCE)?;
        let mut found = Self { digest: Digest::Sha1, mgf: Digest::Sha1, label: Vec::new() };
        if let Some(field) = fields.optional(tag::context(0))? {
            found.digest = digest_identifier(field.content)?;
        }
        if let Some(field) = fields.optional(tag::context(1))? {
            found.mgf = mask_generation(field.content)?;
        }
        if let Some(field) = fields.optional(tag::context(2))? {
            let mut source = Fields::within(field.content, tag::SEQUENCE)?;
            if super::key::oid(source.required(tag::OID)?.content)? != P_SPECIFIED {
                return Err(CryptoError::Unsupported);
            }
            found.label = source.required(tag::OCTET_STRING)?.content.to_vec();
        }
        if fields.is_empty() { Ok(found) } else { Err(CryptoError::Malformed) }
    }

    /// SHA-256 in both places and no label: what is written here.
    pub const fn sha256() -> Self {
        Self { digest: Digest::Sha256, mgf: Digest::Sha256, label: Vec::new() }
    }

    /// DER of the AlgorithmIdentifier id-RSAES-OAEP with SHA-256 explicit in both places.
    pub fn sha256_identifier() -> Vec<u8> {
        let oid = |oid: ObjectIdentifier| write_tlv(tag::OID, oid.as_bytes());
        // RFC 4055 section 2.1: NULL is what everybody writes after a digest inside RSA parameters.
        let sha256 = write_tlv(tag::SEQUENCE, &[oid(Digest::Sha256.oid()), vec![5, 0]].concat());
        let mgf1 = write_tlv(tag::SEQUENCE, &[oid(ObjectIdentifier::new_unwrap(MGF1)), sha256.clone()].concat());
        let fields = [write_tlv(tag::context(0), &sha256), write_tlv(tag::context(1), &mgf1)].concat();
        write_tlv(tag::SEQUENCE, &[oid(RSAES_OAEP), write_tlv(tag::SEQUENCE, &fields)].concat())
    }
}

/// A content key sealed to an RSA public key, whose SubjectPublicKeyInfo is `spki`, with RSAES-PKCS1-v1_5.
///
/// # Errors
/// `Malformed` or `Unsupported` for a key that does not take it.
pub fn seal_pkcs1(spki: &[u8], content_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = Pkcs1PublicEncryptingKey::new(public_key(spki)?).map_err(|_| CryptoError::Malformed)?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(content_key, &mut out).map_err(|_| CryptoError::Malformed)?.len();
    out.truncate(length);
    Ok(out)
}

/// As [`seal_pkcs1`], with RSAES-OAEP over SHA-256 and no label.
///
/// # Errors
/// `Malformed` or `Unsupported` for a key that does not take it.
pub fn seal_oaep(spki: &[u8], content_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = OaepPublicEncryptingKey::new(public_key(spki)?).map_err(|_| CryptoError::Malformed)?;
    let mut out = vec![0; key.ciphertext_size()];
    let sealed = key.encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut out, None);
    let length = sealed.map_err(|_| CryptoError::Malformed)?.len();
    out.truncate(length);
    Ok(out)
}

fn public_key(spki: &[u8]) -> Result<PublicEncryptingKey, CryptoError> {
    match PublicKey::from_spki(spki)? {
        PublicKey::Rsa { der, pss: Pss::Open | Pss::Oaep, .. } => {
            PublicEncryptingKey::from_der(&rsa_spki(der)).map_err(|_| CryptoError::Malformed)
        }
        _ => Err(CryptoError::Unsupported),
    }
}

/// SubjectPublicKeyInfo with rsaEncryption around an RSAPublicKey, whatever its own said.
fn rsa_spki(der: &[u8]) -> Vec<u8> {
    let oid = ObjectIdentifier::new_unwrap(RSA_ENCRYPTION);
    let identifier = write_tlv(tag::SEQUENCE, &[write_tlv(tag::OID, oid.as_bytes()), vec![5, 0]].concat());
    let bits = write_tlv(tag::BIT_STRING, &[&[0], der].concat());
    write_tlv(tag::SEQUENCE, &[identifier, bits].concat())
}
