//! SignedData and SignerInfo: RFC 5652 section 5.
//!
//! Reads and writes; verifies nothing. CRLs, attribute certificates and PKCS#6 certificates in the
//! structure are passed over: what a sender encloses says nothing about his own revocation.

use super::attributes::SignedAttributes;
use super::content_info::{ID_DATA, ID_SIGNED_DATA};
use super::read::{Fields, INTEGER, OCTET_STRING, SEQUENCE, SET};
use super::{CmsError, content_info, encode};
use crate::limits::Limits;
use crate::pki::Name;
use bytes::Bytes;
use der::asn1::ObjectIdentifier;
use spki::AlgorithmIdentifierOwned;

/// ```text
/// SignedData ::= SEQUENCE {
///   version CMSVersion,
///   digestAlgorithms DigestAlgorithmIdentifiers,
///   encapContentInfo EncapsulatedContentInfo,
///   certificates [0] IMPLICIT CertificateSet OPTIONAL,
///   crls [1] IMPLICIT RevocationInfoChoices OPTIONAL,
///   signerInfos SignerInfos }
/// ```
#[derive(Clone, Debug)]
pub struct SignedData {
    /// eContentType.
    pub content_type: ObjectIdentifier,
    /// eContent; absent in a detached signature.
    pub content: Option<Bytes>,
    /// DER of the X.509 certificates, in the order they came in.
    pub certificates: Vec<Bytes>,
    /// One per signature; empty in a certs-only message.
    pub signers: Vec<SignerInfo>,
}

/// ```text
/// SignerInfo ::= SEQUENCE {
///   version CMSVersion,
///   sid SignerIdentifier,
///   digestAlgorithm DigestAlgorithmIdentifier,
///   signedAttrs [0] IMPLICIT SignedAttributes OPTIONAL,
///   signatureAlgorithm SignatureAlgorithmIdentifier,
///   signature SignatureValue,
///   unsignedAttrs [1] IMPLICIT UnsignedAttributes OPTIONAL }
/// ```
#[derive(Clone, Debug)]
pub struct SignerInfo {
    /// Which certificate.
    pub identifier: SignerIdentifier,
    /// digestAlgorithm.
    pub digest_algorithm: AlgorithmIdentifierOwned,
    /// signedAttrs.
    pub signed_attributes: Option<SignedAttributes>,
    /// signatureAlgorithm.
    pub signature_algorithm: AlgorithmIdentifierOwned,
    /// The signature value.
    pub signature: Bytes,
}

/// ```text
/// SignerIdentifier ::= CHOICE {
///   issuerAndSerialNumber IssuerAndSerialNumber,
///   subjectKeyIdentifier [0] SubjectKeyIdentifier }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerIdentifier {
    /// Issuer, and the content octets of the serial's INTEGER.
    IssuerAndSerial(Name, Vec<u8>),
    /// The key identifier.
    KeyIdentifier(Vec<u8>),
}

impl SignedData {
    /// From the TLV that `ContentInfo` gives.
    pub fn from_der(der: &Bytes, limits: &Limits) -> Result<Self, CmsError> {
        let mut fields = Fields::sequence(der, "SignedData")?;
        fields.expect_tag(INTEGER)?;
        digest_algorithms(fields.expect_tag(SET)?.content, limits)?;
        let encapsulated = fields.expect_tag(SEQUENCE)?;
        let certificates = fields.optional(0xa0)?;
        fields.optional(0xa1)?;
        let infos = fields.expect_tag(SET)?;
        fields.finish()?;
        let (content_type, content) = encapsulated_content(encapsulated.content)?;
        Ok(Self {
            content_type,
            content: content.map(|octets| der.slice_ref(octets)),
            certificates: certificates.map_or(Ok(Vec::new()), |set| certificate_set(set.content, limits))?,
            signers: signer_infos(infos.content, limits)?,
        })
    }
}

/// `DigestAlgorithmIdentifiers ::= SET OF DigestAlgorithmIdentifier`. Nothing is done with them; but the set stands before
/// everything else, so it holds nothing in which a file of another kind could begin.
fn digest_algorithms(content: &[u8], limits: &Limits) -> Result<(), CmsError> {
    const NULL: [u8; 2] = [5, 0];
    let mut fields = Fields::new(content, "DigestAlgorithmIdentifiers");
    let mut count = 0;
    while !fields.is_empty() {
        count += 1;
        if count > limits.signer_infos {
            return Err(CmsError::TooComplex("DigestAlgorithmIdentifiers"));
        }
        let mut members = Fields::new(fields.expect_tag(SEQUENCE)?.content, "DigestAlgorithmIdentifier");
        members.identifier()?;
        if !members.is_empty() && members.next()?.whole != NULL {
            return Err(CmsError::Malformed("DigestAlgorithmIdentifier"));
        }
        members.finish()?;
    }
    Ok(())
}

/// ```text
/// EncapsulatedContentInfo ::= SEQUENCE {
///   eContentType ContentType,
///   eContent [0] EXPLICIT OCTET STRING OPTIONAL }
/// ```
fn encapsulated_content(content: &[u8]) -> Result<(ObjectIdentifier, Option<&[u8]>), CmsError> {
    let mut fields = Fields::new(content, "EncapsulatedContentInfo");
    let content_type = fields.identifier()?;
    let explicit = fields.optional(0xa0)?;
    fields.finish()?;
    let Some(explicit) = explicit else { return Ok((content_type, None)) };
    let mut inner = Fields::new(explicit.content, "eContent");
    let octets = inner.expect_tag(OCTET_STRING)?;
    inner.finish()?;
    Ok((content_type, Some(octets.content)))
}

fn certificate_set(content: &[u8], limits: &Limits) -> Result<Vec<Bytes>, CmsError> {
    let mut fields = Fields::new(content, "CertificateSet");
    let mut found = Vec::new();
    while !fields.is_empty() {
        let choice = fields.next()?;
        if choice.tag == SEQUENCE {
            found.push(Bytes::copy_from_slice(choice.whole));
        }
        if found.len() > limits.certificates {
            return Err(CmsError::TooComplex("certificates"));
        }
    }
    Ok(found)
}

fn signer_infos(content: &[u8], limits: &Limits) -> Result<Vec<SignerInfo>, CmsError> {
    let mut fields = Fields::new(content, "SignerInfos");
    let mut found = Vec::new();
    while !fields.is_empty() {
        found.push(signer_info(fields.expect_tag(SEQUENCE)?.content, limits)?);
        if found.len() > limits.signer_infos {
            return Err(CmsError::TooComplex("SignerInfos"));
        }
    }
    Ok(found)
}

fn signer_info(content: &[u8], limits: &Limits) -> Result<SignerInfo, CmsError> {
    let mut fields = Fields::new(content, "SignerInfo");
    fields.expect_tag(INTEGER)?;
    let sid = fields.next()?;
    let identifier = match sid.tag {
        SEQUENCE => {
            let mut inner = Fields::new(sid.content, "IssuerAndSerialNumber");
            let issuer = inner.expect_tag(SEQUENCE)?;
            let serial = inner.expect_tag(INTEGER)?;
            inner.finish()?;
            let issuer = Name::from_der(issuer.whole).map_err(|_| CmsError::Malformed("issuer"))?;
            SignerIdentifier::IssuerAndSerial(issuer, serial.content.to_vec())
        }
        0x80 => SignerIdentifier::KeyIdentifier(sid.content.to_vec()),
        _ => return Err(CmsError::Malformed("SignerIdentifier")),
    };
    let digest_algorithm = fields.algorithm()?;
    let signed_attributes =
        fields.optional(0xa0)?.map(|set| SignedAttributes::from_content(set.content, limits)).transpose()?;
    let signature_algorithm = fields.algorithm()?;
    let signature = Bytes::copy_from_slice(fields.expect_tag(OCTET_STRING)?.content);
    fields.optional(0xa1)?;
    fields.finish()?;
    Ok(SignerInfo { identifier, digest_algorithm, signed_attributes, signature_algorithm, signature })
}

/// What goes into a SignedData with one signer; each part is DER.
#[derive(Clone, Debug)]
pub struct Assembly<'a> {
    /// AlgorithmIdentifier of the digest.
    pub digest_algorithm: &'a [u8],
    /// AlgorithmIdentifier of the signature.
    pub signature_algorithm: &'a [u8],
    /// eContent for an opaque signature.
    pub content: Option<&'a [u8]>,
    /// Whole certificates.
    pub certificates: Vec<Vec<u8>>,
    /// Name.
    pub issuer: &'a [u8],
    /// Content octets of the serial's INTEGER.
    pub serial: &'a [u8],
    /// The SET OF signed attributes, tag 0x31.
    pub signed_attributes: &'a [u8],
    /// The signature value.
    pub signature: &'a [u8],
}

impl Assembly<'_> {
    /// DER of the ContentInfo: SignedData and SignerInfo version 1 (id-data, issuerAndSerialNumber).
    pub fn to_der(&self) -> Result<Vec<u8>, CmsError> {
        let version = [INTEGER, 1, 1];
        let digests = encode::tlv(SET, &[self.digest_algorithm]);
        let content = match self.content {
            Some(octets) => encode::tlv(0xa0, &[&encode::tlv(OCTET_STRING, &[octets])]),
            None => Vec::new(),
        };
        let encapsulated = encode::tlv(SEQUENCE, &[&encode::identifier(&ID_DATA)?, &content]);
        let certificates = encode::set_of(0xa0, self.certificates.clone());
        let signers = encode::tlv(SET, &[&self.signer_info()?]);
        let signed_data = encode::tlv(SEQUENCE, &[&version, &digests, &encapsulated, &certificates, &signers]);
        content_info::encode(&ID_SIGNED_DATA, &signed_data)
    }

    fn signer_info(&self) -> Result<Vec<u8>, CmsError> {
        let version = [INTEGER, 1, 1];
        let serial = encode::tlv(INTEGER, &[self.serial]);
        let identifier = encode::tlv(SEQUENCE, &[self.issuer, &serial]);
        let Some((&SET, rest)) = self.signed_attributes.split_first() else {
            return Err(CmsError::Unwritable("signed attributes"));
        };
        let attributes = [&[0xa0], rest].concat();
        let signature = encode::tlv(OCTET_STRING, &[self.signature]);
        Ok(encode::tlv(
            SEQUENCE,
            &[&version, &identifier, self.digest_algorithm, &attributes, self.signature_algorithm, &signature],
        ))
    }
}
