//! PKCS#12 (RFC 7292): reading and writing PFX files, password mode only.
//!
//! Read by us on `der`, because the crates for it conflict with `cms`. BER is normalised first, as
//! older Java and NSS write it. Encryption is PBES2 (`keys::pbes2`); Triple DES and RC2 of old files are read with a
//! warning, never written. The MAC is HMAC with the key derivation of appendix B, or PBMAC1 (RFC 9579). **A file without a MAC is accepted only if all
//! its certificates and keys are encrypted**, with a warning: CBC hides, but proves nothing.

use super::pbes2::AlgorithmRef;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Sequence, ValueOrd};

mod kdf;
mod legacy;
mod mac;
mod read;
mod write;

pub(super) use read::read;
pub use write::write;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const SAFE_CONTENTS_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.6");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.21");

/// ```text
/// PFX ::= SEQUENCE {                                -- RFC 7292 section 4
///     version INTEGER {v3(3)}(v3,...),
///     authSafe ContentInfo,
///     macData MacData OPTIONAL }
/// ```
#[derive(Sequence)]
struct Pfx<'a> {
    version: u8,
    auth_safe: ContentInfo<'a>,
    #[asn1(optional = "true")]
    mac_data: Option<MacData<'a>>,
}

/// ```text
/// ContentInfo ::= SEQUENCE {                        -- RFC 5652 section 3
///     contentType ContentType,
///     content [0] EXPLICIT ANY DEFINED BY contentType }
/// AuthenticatedSafe ::= SEQUENCE OF ContentInfo     -- Data or EncryptedData, each a SafeContents
/// ```
#[derive(Sequence)]
struct ContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

/// ```text
/// MacData ::= SEQUENCE {
///     mac DigestInfo,
///     macSalt OCTET STRING,
///     iterations INTEGER DEFAULT 1 }
/// ```
#[derive(Sequence)]
struct MacData<'a> {
    mac: DigestInfo<'a>,
    salt: &'a OctetStringRef,
    #[asn1(optional = "true")]
    iterations: Option<u32>,
}

/// ```text
/// DigestInfo ::= SEQUENCE { digestAlgorithm AlgorithmIdentifier, digest OCTET STRING }
/// ```
#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: AlgorithmRef<'a>,
    digest: &'a OctetStringRef,
}

/// ```text
/// EncryptedData ::= SEQUENCE {                      -- RFC 5652 section 8
///     version CMSVersion,
///     encryptedContentInfo EncryptedContentInfo,
///     unprotectedAttrs [1] IMPLICIT UnprotectedAttributes OPTIONAL }
/// ```
#[derive(Sequence)]
struct EncryptedData<'a> {
    version: u8,
    content: EncryptedContentInfo<'a>,
    #[asn1(optional = "true")]
    attributes: Option<AnyRef<'a>>,
}

/// ```text
/// EncryptedContentInfo ::= SEQUENCE {
///     contentType ContentType,
///     contentEncryptionAlgorithm ContentEncryptionAlgorithmIdentifier,
///     encryptedContent [0] IMPLICIT OCTET STRING OPTIONAL }
/// ```
/// The content is read as any TLV: where BER had split it, it may still be a constructed string.
#[derive(Sequence)]
struct EncryptedContentInfo<'a> {
    content_type: ObjectIdentifier,
    algorithm: AlgorithmRef<'a>,
    encrypted: AnyRef<'a>,
}

/// ```text
/// SafeContents ::= SEQUENCE OF SafeBag
/// SafeBag ::= SEQUENCE {
///     bagId OBJECT IDENTIFIER,
///     bagValue [0] EXPLICIT ANY DEFINED BY bagId,
///     bagAttributes SET OF PKCS12Attribute OPTIONAL }
/// ```
#[derive(Sequence)]
struct SafeBag<'a> {
    id: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: AnyRef<'a>,
    #[asn1(optional = "true")]
    attributes: Option<AnyRef<'a>>,
}

/// ```text
/// CertBag ::= SEQUENCE {
///     certId OBJECT IDENTIFIER,
///     certValue [0] EXPLICIT ANY DEFINED BY certId } -- x509Certificate: OCTET STRING of the DER
/// ```
#[derive(Sequence)]
struct CertBag<'a> {
    id: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: AnyRef<'a>,
}

/// ```text
/// PKCS12Attribute ::= SEQUENCE { attrId OBJECT IDENTIFIER, attrValues SET OF ANY }
/// ```
#[derive(Sequence, ValueOrd)]
struct Attribute<'a> {
    id: ObjectIdentifier,
    values: AnyRef<'a>,
}

/// A password as BMPString with its two octets of zero (RFC 7292 appendix B.1). Characters beyond the first plane
/// become surrogate pairs, as OpenSSL and Windows write them.
fn bmp(text: &str) -> zeroize::Zeroizing<Vec<u8>> {
    let mut octets = zeroize::Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
    octets.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    octets.extend([0, 0]);
    octets
}

#[cfg(test)]
mod tests;
