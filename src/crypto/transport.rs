//! Key transport with RSA: reading and writing the parameters of OAEP, and sealing a content key to a public key.
//! RFC 3370 section 4.2.1, RFC 3560, RFC 4055 section 4. Opening belongs to `keys`.

use super::agreement::Group;
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

/// Whether a content key can really be sealed to this public key: it is tried. Reading alone does not show a point off its
/// curve, an even modulus or an exponent that nothing computes with.
pub fn is_usable(spki: &[u8]) -> bool {
    const CONTENT_KEY: [u8; 32] = [0; 32];
    match PublicKey::from_spki(spki) {
        Ok(PublicKey::Rsa { pss: Pss::Open, .. }) => seal_pkcs1(spki, &CONTENT_KEY).is_ok(),
        Ok(PublicKey::Rsa { pss: Pss::Oaep, .. }) => seal_oaep(spki, &CONTENT_KEY).is_ok(),
        Ok(PublicKey::Ec { curve, point }) => Group::of(curve).is_some_and(|group| group.agree(point).is_ok()),
        Ok(PublicKey::X25519(public)) => Group::X25519.agree(public).is_ok(),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use super::{is_usable, rsa_spki};
    use crate::asn1::{tag, write_tlv};
    use aws_lc_rs::agreement::{ECDH_P256, ECDH_P521, EphemeralPrivateKey, X25519};
    use aws_lc_rs::rand::SystemRandom;

    const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P521: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x23];
    const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

    fn spki(identifier: &[&[u8]], key: &[u8]) -> Vec<u8> {
        let bits = write_tlv(tag::BIT_STRING, &[&[0], key].concat());
        write_tlv(tag::SEQUENCE, &[write_tlv(tag::SEQUENCE, &identifier.concat()), bits].concat())
    }

    fn public(algorithm: &'static aws_lc_rs::agreement::Algorithm) -> Vec<u8> {
        let key = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).unwrap();
        key.compute_public_key().unwrap().as_ref().to_vec()
    }

    fn changed(mut key: Vec<u8>) -> Vec<u8> {
        *key.last_mut().unwrap() ^= 1;
        key
    }

    /// RSAPublicKey with a modulus of 2,048 bits that nobody has factored.
    fn rsa(last: u8, exponent: &[u8]) -> Vec<u8> {
        let mut modulus = vec![0];
        modulus.extend((0..=255u8).map(|octet| octet.wrapping_mul(167) | 0x80));
        *modulus.last_mut().unwrap() = last;
        let numbers = [write_tlv(tag::INTEGER, &modulus), write_tlv(tag::INTEGER, exponent)].concat();
        rsa_spki(&write_tlv(tag::SEQUENCE, &numbers))
    }

    #[test]
    fn o31_a_key_is_usable_if_a_content_key_can_be_sealed_to_it() {
        let x25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x6e];
        for (name, spki, expected) in [
            ("P-256", spki(&[EC, P256], &public(&ECDH_P256)), true),
            ("P-256 off the curve", spki(&[EC, P256], &changed(public(&ECDH_P256))), false),
            ("P-521", spki(&[EC, P521], &public(&ECDH_P521)), true),
            ("P-521 off the curve", spki(&[EC, P521], &changed(public(&ECDH_P521))), false),
            ("P-256 on P-521", spki(&[EC, P521], &public(&ECDH_P256)), false),
            ("no point", spki(&[EC, P256], &[]), false),
            ("infinity", spki(&[EC, P256], &[0]), false),
            ("X25519", spki(&[x25519], &public(&X25519)), true),
            ("X25519 of small order", spki(&[x25519], &[0; 32]), false),
            ("RSA", rsa(0xff, &[1, 0, 1]), true),
            ("RSA, e = 3", rsa(0xff, &[3]), true),
            ("RSA, e of 34 bits", rsa(0xff, &[2, 0, 0, 0, 1]), false),
            ("RSA, even modulus", rsa(0xfe, &[1, 0, 1]), false),
            ("RSA, even exponent", rsa(0xff, &[4]), false),
            ("nothing", Vec::new(), false),
        ] {
            assert_eq!(is_usable(&spki), expected, "{name}");
        }
    }
}
