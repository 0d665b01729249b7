//! Writing: one key, its certificate, its chain. For the demo and for tests; the gateway exports no key.

use super::super::KeyError;
use super::super::pbes2::{self, ITERATIONS};
use super::super::pem::EncryptedPrivateKeyInfo;
use super::{
    Attribute, CERT_BAG, CertBag, ContentInfo, DATA, DigestInfo, ENCRYPTED_DATA, EncryptedContentInfo, EncryptedData,
    FRIENDLY_NAME, LOCAL_KEY_ID, MacData, Pfx, SHROUDED_KEY_BAG, SafeBag, X509_CERTIFICATE, bmp, mac,
};
use crate::crypto;
use crate::keys::pbes2::AlgorithmRef;
use crate::pki::Certificate;
use der::asn1::{AnyRef, Null, OctetStringRef, SetOfVec};
use der::{Decode, Encode, Header, Length, Tag, TagNumber};
use zeroize::Zeroizing;

/// A PFX with `key_pkcs8` (DER), its certificate and the chain: PBES2 with AES-256-CBC, HMAC-SHA-256 as MAC.
/// `friendly_name` is what programs show for it.
///
/// # Errors
/// None that an input could cause; cipher and encoder are fallible by type.
pub fn write(
    key_pkcs8: &[u8],
    certificate: &Certificate,
    chain: &[Certificate],
    password: &str,
    friendly_name: &str,
) -> Result<Vec<u8>, KeyError> {
    let attributes = attributes(certificate, friendly_name).map_err(failed)?;
    let mut bags = vec![cert_bag(certificate, Some(&attributes)).map_err(failed)?];
    for issuer in chain {
        bags.push(cert_bag(issuer, None).map_err(failed)?);
    }
    let certificates = pbes2::encrypt(&sequence(&bags).map_err(failed)?, password)?;
    let key = pbes2::encrypt(key_pkcs8, password)?;
    let key = key_bag(&key, &attributes).map_err(failed)?;
    let safes = [
        encrypted_safe(&certificates).map_err(failed)?,
        data_safe(&sequence(&[key]).map_err(failed)?).map_err(failed)?,
    ];
    let safe = sequence(&safes).map_err(failed)?;
    let salt = crypto::random::<16>();
    let digest = mac::compute(&safe, password, &salt, ITERATIONS)?;
    authenticated(&safe, &salt, &digest).map_err(failed)
}

fn failed(_: der::Error) -> KeyError {
    KeyError::Malformed("PKCS#12 encoding")
}

/// SEQUENCE OF whole TLVs.
fn sequence(elements: &[Vec<u8>]) -> der::Result<Zeroizing<Vec<u8>>> {
    let content = Zeroizing::new(elements.concat());
    let mut out = Zeroizing::new(Header::new(Tag::Sequence, Length::try_from(content.len())?).to_der()?);
    out.extend_from_slice(&content);
    Ok(out)
}

/// friendlyName and localKeyId (SHA-256 of the certificate), the same on the key's bag and the certificate's.
fn attributes(certificate: &Certificate, friendly_name: &str) -> der::Result<Vec<u8>> {
    let name = bmp(friendly_name);
    // A BMPString in an attribute has no zero at its end; only passwords have.
    let name = name.get(..name.len().saturating_sub(2)).unwrap_or_default();
    let name = set_of(AnyRef::new(Tag::BmpString, name)?)?;
    let id = certificate.sha256();
    let id = set_of(AnyRef::new(Tag::OctetString, &id)?)?;
    let mut attributes = SetOfVec::new();
    attributes.insert(Attribute { id: FRIENDLY_NAME, values: AnyRef::from_der(&name)? })?;
    attributes.insert(Attribute { id: LOCAL_KEY_ID, values: AnyRef::from_der(&id)? })?;
    attributes.to_der()
}

fn set_of(value: AnyRef<'_>) -> der::Result<Vec<u8>> {
    let mut set = SetOfVec::new();
    set.insert(value)?;
    set.to_der()
}

fn cert_bag(certificate: &Certificate, attributes: Option<&[u8]>) -> der::Result<Vec<u8>> {
    let value = AnyRef::new(Tag::OctetString, certificate.der())?;
    let bag = CertBag { id: X509_CERTIFICATE, value }.to_der()?;
    let attributes = attributes.map(AnyRef::from_der).transpose()?;
    SafeBag { id: CERT_BAG, value: AnyRef::from_der(&bag)?, attributes }.to_der()
}

fn key_bag(key: &pbes2::Encrypted, attributes: &[u8]) -> der::Result<Vec<u8>> {
    let info = EncryptedPrivateKeyInfo {
        algorithm: AlgorithmRef::from_der(&key.algorithm)?,
        data: OctetStringRef::new(&key.ciphertext)?,
    }
    .to_der()?;
    let attributes = Some(AnyRef::from_der(attributes)?);
    SafeBag { id: SHROUDED_KEY_BAG, value: AnyRef::from_der(&info)?, attributes }.to_der()
}

fn data_safe(content: &[u8]) -> der::Result<Vec<u8>> {
    ContentInfo { content_type: DATA, content: AnyRef::new(Tag::OctetString, content)? }.to_der()
}

fn encrypted_safe(content: &pbes2::Encrypted) -> der::Result<Vec<u8>> {
    let tag = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
    let data = EncryptedData {
        version: 0,
        content: EncryptedContentInfo {
            content_type: DATA,
            algorithm: AlgorithmRef::from_der(&content.algorithm)?,
            encrypted: AnyRef::new(tag, &content.ciphertext)?,
        },
        attributes: None,
    }
    .to_der()?;
    ContentInfo { content_type: ENCRYPTED_DATA, content: AnyRef::from_der(&data)? }.to_der()
}

fn authenticated(safe: &[u8], salt: &[u8], digest: &[u8]) -> der::Result<Vec<u8>> {
    let mac_data = MacData {
        mac: DigestInfo {
            algorithm: AlgorithmRef { oid: mac::SHA256, parameters: Some(Null.into()) },
            digest: OctetStringRef::new(digest)?,
        },
        salt: OctetStringRef::new(salt)?,
        iterations: Some(ITERATIONS),
    };
    let auth_safe = ContentInfo { content_type: DATA, content: AnyRef::new(Tag::OctetString, safe)? };
    Pfx { version: 3, auth_safe, mac_data: Some(mac_data) }.to_der()
}
