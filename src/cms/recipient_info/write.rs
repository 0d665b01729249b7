//! Writing RecipientInfos as DER; every certificate is named by issuer and serial.

use super::{AES128_WRAP, AES256_WRAP, Derivation, EC_PUBLIC_KEY, RSA_ENCRYPTION, X25519, shared_info};
use crate::cms::CmsError;
use crate::cms::attributes::{Parameters, algorithm_identifier};
use crate::cms::encode;
use crate::cms::read::{BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE};
use crate::crypto::Digest;
use crate::crypto::agreement::Group;
use crate::crypto::transport::Oaep;
use der::asn1::ObjectIdentifier;

/// `dhSinglePass-stdDH-sha256kdf-scheme` and its brothers (RFC 5753 section 7.1.4).
const SHA256_KDF: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.1.11.1");
const SHA384_KDF: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.1.11.2");
const SHA512_KDF: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.1.11.3");
/// `dhSinglePass-stdDH-hkdf-sha256-scheme` (RFC 8418 section 2.2).
const SHA256_HKDF: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.19");

/// One RecipientInfo.
#[derive(Clone, Debug)]
pub struct NewRecipient {
    pub(in crate::cms) der: Vec<u8>,
    /// KeyAgreeRecipientInfo, which is version 3.
    pub(in crate::cms) agreed: bool,
}

impl NewRecipient {
    /// KeyTransRecipientInfo, version 0: RSAES-PKCS1-v1_5 with NULL (RFC 3370 section 4.2.1), or RSAES-OAEP over SHA-256.
    /// `issuer` is the DER of the Name, `serial` the content octets of the INTEGER.
    ///
    /// # Errors
    /// `Unwritable`.
    pub fn transported(issuer: &[u8], serial: &[u8], oaep: bool, encrypted: &[u8]) -> Result<Self, CmsError> {
        let algorithm = match oaep {
            true => Oaep::sha256_identifier(),
            false => algorithm_identifier(&RSA_ENCRYPTION, Parameters::Null)?,
        };
        let encrypted = encode::tlv(OCTET_STRING, &[encrypted]);
        let identifier = issuer_and_serial(issuer, serial);
        let der = encode::tlv(SEQUENCE, &[&[INTEGER, 1, 0], &identifier, &algorithm, &encrypted]);
        Ok(Self { der, agreed: false })
    }
}

/// A KeyAgreeRecipientInfo with an ephemeral key of its own.
#[derive(Clone, Debug)]
pub struct NewAgreement<'a> {
    /// DER of the issuer's Name.
    pub issuer: &'a [u8],
    /// Content octets of the serial's INTEGER.
    pub serial: &'a [u8],
    /// What was agreed over.
    pub group: Group,
    /// The ephemeral public key.
    pub ephemeral: &'a [u8],
    /// Octets of the key-encryption key.
    pub wrap: usize,
    /// The wrapped content key.
    pub wrapped: &'a [u8],
}

impl NewAgreement<'_> {
    /// DER of ECC-CMS-SharedInfo without keying material, for a wrap with `wrap` octets of key.
    ///
    /// # Errors
    /// `Unwritable` for other lengths than 16 and 32.
    pub fn shared_info(wrap: usize) -> Result<Vec<u8>, CmsError> {
        Ok(shared_info(&wrap_algorithm(wrap)?, None, wrap))
    }

    /// The RecipientInfo, version 3.
    ///
    /// # Errors
    /// `Unwritable`.
    pub fn encode(&self) -> Result<NewRecipient, CmsError> {
        let (scheme, kind) = match self.group {
            Group::P256 => (SHA256_KDF, EC_PUBLIC_KEY),
            Group::P384 => (SHA384_KDF, EC_PUBLIC_KEY),
            Group::P521 => (SHA512_KDF, EC_PUBLIC_KEY),
            Group::X25519 => (SHA256_HKDF, X25519),
        };
        // RFC 5753 section 3.1.1: parameters of the ephemeral key are absent; the certificate says the curve.
        let kind = algorithm_identifier(&kind, Parameters::Absent)?;
        let public = encode::tlv(BIT_STRING, &[&[0], self.ephemeral]);
        let originator = encode::tlv(0xa0, &[&encode::tlv(0xa1, &[&kind, &public])]);
        let algorithm = encode::tlv(SEQUENCE, &[&encode::identifier(&scheme)?, &wrap_algorithm(self.wrap)?]);
        let identifier = issuer_and_serial(self.issuer, self.serial);
        let key = encode::tlv(SEQUENCE, &[&identifier, &encode::tlv(OCTET_STRING, &[self.wrapped])]);
        let keys = encode::tlv(SEQUENCE, &[&key]);
        let der = encode::tlv(0xa1, &[&[INTEGER, 1, 3], &originator, &algorithm, &keys]);
        Ok(NewRecipient { der, agreed: true })
    }
}

/// The derivation that is written for a group.
pub const fn derivation(group: Group) -> Derivation {
    match group {
        Group::P256 => Derivation::X963(Digest::Sha256),
        Group::P384 => Derivation::X963(Digest::Sha384),
        Group::P521 => Derivation::X963(Digest::Sha512),
        Group::X25519 => Derivation::Hkdf(Digest::Sha256),
    }
}

fn wrap_algorithm(wrap: usize) -> Result<Vec<u8>, CmsError> {
    match wrap {
        16 => algorithm_identifier(&AES128_WRAP, Parameters::Absent),
        32 => algorithm_identifier(&AES256_WRAP, Parameters::Absent),
        _ => Err(CmsError::Unwritable("KeyWrapAlgorithm")),
    }
}

fn issuer_and_serial(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    encode::tlv(SEQUENCE, &[issuer, &encode::tlv(INTEGER, &[serial])])
}
