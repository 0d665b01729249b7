//! Writing the attributes of a new signature, and AlgorithmIdentifiers.

use super::{
    ALGORITHM_PROTECTION, CAPABILITIES, CONTENT_TYPE, KEY_PREFERENCE, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
};
use crate::cms::content_info::ID_DATA;
use crate::cms::read::{INTEGER, OCTET_STRING, SEQUENCE, SET};
use crate::cms::{CmsError, encode};
use der::Encode;
use der::asn1::{GeneralizedTime, ObjectIdentifier, UtcTime};
use jiff::Timestamp;

/// What the attributes of a new signature say; each part is DER.
#[derive(Clone, Debug)]
pub struct NewAttributes<'a> {
    /// Digest of the content.
    pub message_digest: &'a [u8],
    /// When it is signed.
    pub signing_time: Timestamp,
    /// SHA-256 of the signer's certificate.
    pub certificate_sha256: &'a [u8],
    /// DER of the issuer's Name.
    pub issuer: &'a [u8],
    /// Content octets of the serial's INTEGER.
    pub serial: &'a [u8],
    /// AlgorithmIdentifier of the digest.
    pub digest_algorithm: &'a [u8],
    /// AlgorithmIdentifier of the signature.
    pub signature_algorithm: &'a [u8],
    /// SMIMECapabilities.
    pub capabilities: &'a [u8],
    /// Issuer (Name) and serial (content octets) of the certificate to encrypt to, if it is not the signer's.
    pub encryption: Option<(&'a [u8], &'a [u8])>,
}

impl NewAttributes<'_> {
    /// The SET in DER order, tag 0x31: contentType, messageDigest, signingTime, signingCertificateV2, CMSAlgorithmProtection,
    /// SMIMECapabilities, and SMIMEEncryptionKeyPreference where there is something to prefer.
    pub fn to_der(&self) -> Result<Vec<u8>, CmsError> {
        let Some((&SEQUENCE, signature_algorithm)) = self.signature_algorithm.split_first() else {
            return Err(CmsError::Unwritable("signature algorithm"));
        };
        let retagged = [&[0xa1], signature_algorithm].concat();
        let protection = encode::tlv(SEQUENCE, &[self.digest_algorithm, &retagged]);
        let mut attributes = vec![
            attribute(&CONTENT_TYPE, &encode::identifier(&ID_DATA)?)?,
            attribute(&MESSAGE_DIGEST, &encode::tlv(OCTET_STRING, &[self.message_digest]))?,
            attribute(&SIGNING_TIME, &write_time(self.signing_time)?)?,
            attribute(&SIGNING_CERTIFICATE_V2, &self.signing_certificate())?,
            attribute(&ALGORITHM_PROTECTION, &protection)?,
            attribute(&CAPABILITIES, self.capabilities)?,
        ];
        if let Some((issuer, serial)) = self.encryption {
            // [0] IMPLICIT IssuerAndSerialNumber (RFC 8551 section 2.5.3).
            let certificate = encode::tlv(0xa0, &[issuer, &encode::tlv(INTEGER, &[serial])]);
            attributes.push(attribute(&KEY_PREFERENCE, &certificate)?);
        }
        Ok(encode::set_of(SET, attributes))
    }

    fn signing_certificate(&self) -> Vec<u8> {
        let names = encode::tlv(SEQUENCE, &[&encode::tlv(0xa4, &[self.issuer])]);
        let issuer_serial = encode::tlv(SEQUENCE, &[&names, &encode::tlv(INTEGER, &[self.serial])]);
        let hash = encode::tlv(OCTET_STRING, &[self.certificate_sha256]);
        let identifier = encode::tlv(SEQUENCE, &[&hash, &issuer_serial]);
        encode::tlv(SEQUENCE, &[&encode::tlv(SEQUENCE, &[&identifier])])
    }
}

fn attribute(kind: &ObjectIdentifier, value: &[u8]) -> Result<Vec<u8>, CmsError> {
    Ok(encode::tlv(SEQUENCE, &[&encode::identifier(kind)?, &encode::tlv(SET, &[value])]))
}

/// UTCTime to 2049, GeneralizedTime after (RFC 5652 section 11.3).
fn write_time(at: Timestamp) -> Result<Vec<u8>, CmsError> {
    let unwritable = CmsError::Unwritable("signing time");
    let seconds = u64::try_from(at.as_second()).map_err(|_| unwritable)?;
    let since_epoch = std::time::Duration::from_secs(seconds);
    match UtcTime::from_unix_duration(since_epoch) {
        Ok(time) => time.to_der(),
        Err(_) => GeneralizedTime::from_unix_duration(since_epoch).and_then(|time| time.to_der()),
    }
    .map_err(|_| unwritable)
}

/// DER of an AlgorithmIdentifier without parameters, or with NULL.
pub fn algorithm_identifier(oid: &ObjectIdentifier, parameters: Parameters) -> Result<Vec<u8>, CmsError> {
    let parameters: &[u8] = match parameters {
        Parameters::Absent => &[],
        Parameters::Null => &[0x05, 0x00],
    };
    Ok(encode::tlv(SEQUENCE, &[&encode::identifier(oid)?, parameters]))
}

/// What stands after the identifier of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// Nothing.
    Absent,
    /// NULL.
    Null,
}
