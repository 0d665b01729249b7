//! Private keys in PEM (RFC 7468): PKCS#8 plain and encrypted; PKCS#1 and SEC1, which OpenSSL writes, become PKCS#8.
//!
//! PEM keys encrypted by header fields (RFC 1421 style, MD5 key derivation) are named and refused.

use super::KeyError;
use super::pbes2::{self, AlgorithmRef, Budget, Container};
use data_encoding::BASE64;
use der::asn1::{AnyRef, BitStringRef, Null, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Sequence};
use zeroize::Zeroizing;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

const MALFORMED: KeyError = KeyError::Malformed("PEM");
const MALFORMED_KEY: KeyError = KeyError::Malformed("private key");

/// One block: label, header fields (RFC 1421), decoded content.
struct Block<'a> {
    label: &'a str,
    dek_info: Option<&'a str>,
    content: Zeroizing<Vec<u8>>,
}

/// The PKCS#8 DER of the one private key in `file`. Other blocks (certificates, EC parameters) are passed over.
///
/// # Errors
/// No key, more than one, malformed, wrong or missing password, outdated encryption.
pub(super) fn private_key(
    file: &[u8],
    password: Option<&str>,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = std::str::from_utf8(file).map_err(|_| MALFORMED)?;
    let mut found = None;
    let mut rest = text;
    while let Some((block, after)) = next_block(rest)? {
        rest = after;
        if !block.label.ends_with("PRIVATE KEY") {
            continue;
        }
        if found.is_some() {
            return Err(KeyError::TooComplex("private keys in one PEM file, expected one"));
        }
        found = Some(pkcs8(&block, password, budget)?);
    }
    found.ok_or(KeyError::NoKey)
}

fn next_block(text: &str) -> Result<Option<(Block<'_>, &str)>, KeyError> {
    let Some((_, after)) = text.split_once("-----BEGIN ") else { return Ok(None) };
    let (label, body) = after.split_once("-----").ok_or(MALFORMED)?;
    let (body, after) = body.split_once("-----END ").ok_or(MALFORMED)?;
    let after = after.strip_prefix(label).and_then(|after| after.strip_prefix("-----")).ok_or(MALFORMED)?;

    let mut dek_info = None;
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    for line in body.lines() {
        match line.split_once(':') {
            Some(("DEK-Info", value)) => dek_info = Some(value.trim()),
            Some(_) => {}
            None => base64.extend(line.bytes().filter(|byte| !byte.is_ascii_whitespace())),
        }
    }
    let content = Zeroizing::new(BASE64.decode(&base64).map_err(|_| MALFORMED)?);
    Ok(Some((Block { label, dek_info, content }, after)))
}

fn pkcs8(block: &Block<'_>, password: Option<&str>, budget: &mut Budget) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if let Some(algorithm) = block.dek_info {
        let name = algorithm.split(',').next().unwrap_or_default();
        return Err(Container::Pem.legacy(format!("PEM header encryption {name}")));
    }
    match block.label {
        "PRIVATE KEY" => Ok(block.content.clone()),
        "ENCRYPTED PRIVATE KEY" => {
            let password = password.ok_or(KeyError::PasswordNeeded("private key"))?;
            decrypt(&block.content, password, budget)
        }
        "RSA PRIVATE KEY" => wrap(RSA_ENCRYPTION, Null.into(), &block.content),
        "EC PRIVATE KEY" => {
            let key = EcPrivateKey::from_der(&block.content).map_err(|_| MALFORMED_KEY)?;
            wrap(EC_PUBLIC_KEY, key.curve.ok_or(MALFORMED_KEY)?, &block.content)
        }
        other => Err(KeyError::Unsupported(format!("`{other}` is not supported, expected `PRIVATE KEY` (PKCS#8)"))),
    }
}

/// ```text
/// ECPrivateKey ::= SEQUENCE {                       -- RFC 5915 section 3
///     version INTEGER { ecPrivkeyVer1(1) },
///     privateKey OCTET STRING,
///     parameters [0] ECParameters {{ NamedCurve }} OPTIONAL,
///     publicKey [1] BIT STRING OPTIONAL }
/// ```
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public_key: Option<BitStringRef<'a>>,
}

/// ```text
/// PrivateKeyInfo ::= SEQUENCE {                     -- RFC 5208 section 5
///     version INTEGER, privateKeyAlgorithm AlgorithmIdentifier, privateKey OCTET STRING,
///     attributes [0] IMPLICIT Attributes OPTIONAL }
/// ```
#[derive(Sequence)]
struct PrivateKeyInfo<'a> {
    version: u8,
    algorithm: AlgorithmRef<'a>,
    private_key: &'a OctetStringRef,
}

fn wrap(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let private_key = OctetStringRef::new(key).map_err(|_| MALFORMED_KEY)?;
    let algorithm = AlgorithmRef { oid, parameters: Some(parameters) };
    let info = PrivateKeyInfo { version: 0, algorithm, private_key };
    info.to_der().map(Zeroizing::new).map_err(|_| MALFORMED_KEY)
}

/// ```text
/// EncryptedPrivateKeyInfo ::= SEQUENCE {            -- RFC 5958 section 3
///     encryptionAlgorithm AlgorithmIdentifier, encryptedData OCTET STRING }
/// ```
#[derive(Sequence)]
pub(super) struct EncryptedPrivateKeyInfo<'a> {
    pub(super) algorithm: AlgorithmRef<'a>,
    pub(super) data: &'a OctetStringRef,
}

/// Decrypts an EncryptedPrivateKeyInfo.
fn decrypt(encrypted: &[u8], password: &str, budget: &mut Budget) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let info = EncryptedPrivateKeyInfo::from_der(encrypted).map_err(|_| MALFORMED_KEY)?;
    pbes2::decrypt(Container::Pem, &info.algorithm, info.data.as_bytes(), password, budget)
}
