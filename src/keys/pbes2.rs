//! PBES2 (RFC 8018 section 6.2) with PBKDF2 and AES in CBC mode: how PKCS#12 and PKCS#8 files are encrypted.
//!
//! Older schemes (PBES1, the PKCS#12 ones, DES) are named and refused, never computed.

use super::KeyError;
use crate::crypto;
use aws_lc_rs::cipher::{
    self, AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use der::asn1::{AnyRef, Null, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Sequence};
use spki::AlgorithmIdentifier;
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// An AlgorithmIdentifier that borrows its parameters.
pub(super) type AlgorithmRef<'a> = AlgorithmIdentifier<AnyRef<'a>>;

/// Iterations of all key derivations of one file together. OpenSSL writes 2,048 each, careful tools up to a million.
const MAX_ITERATIONS: u32 = 10_000_000;
/// What is written: OWASP's figure of 2023 for PBKDF2 with HMAC-SHA-256.
pub(super) const ITERATIONS: u32 = 600_000;
/// Octets of a salt. RFC 8018 section 4.1 asks for at least 8; nothing writes more than 64.
const MAX_SALT: usize = 1024;

const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const SCRYPT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.4.11");
pub(super) const HMAC_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
pub(super) const HMAC_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
pub(super) const HMAC_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
pub(super) const HMAC_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");
const AES_128_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2");
const AES_192_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");

/// Outdated schemes by OID: RFC 8018 appendices A.3 and B.2, RFC 7292 appendix C.
const LEGACY: [(&str, &str); 15] = [
    ("1.2.840.113549.1.5.1", "pbeWithMD2AndDES-CBC"),
    ("1.2.840.113549.1.5.3", "pbeWithMD5AndDES-CBC"),
    ("1.2.840.113549.1.5.4", "pbeWithMD2AndRC2-CBC"),
    ("1.2.840.113549.1.5.6", "pbeWithMD5AndRC2-CBC"),
    ("1.2.840.113549.1.5.10", "pbeWithSHA1AndDES-CBC"),
    ("1.2.840.113549.1.5.11", "pbeWithSHA1AndRC2-CBC"),
    ("1.2.840.113549.1.12.1.1", "pbeWithSHAAnd128BitRC4"),
    ("1.2.840.113549.1.12.1.2", "pbeWithSHAAnd40BitRC4"),
    ("1.2.840.113549.1.12.1.3", "pbeWithSHAAnd3-KeyTripleDES-CBC"),
    ("1.2.840.113549.1.12.1.4", "pbeWithSHAAnd2-KeyTripleDES-CBC"),
    ("1.2.840.113549.1.12.1.5", "pbeWithSHAAnd128BitRC2-CBC"),
    ("1.2.840.113549.1.12.1.6", "pbeWithSHAAnd40BitRC2-CBC"),
    ("1.3.14.3.2.7", "desCBC"),
    ("1.2.840.113549.3.7", "des-EDE3-CBC"),
    ("1.2.840.113549.3.2", "rc2CBC"),
];

/// What is being decrypted; decides the words of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// A PKCS#12 file.
    Pkcs12,
    /// An encrypted private key in PEM.
    Pem,
}

impl Container {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pkcs12 => "PKCS#12 file",
            Self::Pem => "private key",
        }
    }

    /// The command that re-encrypts the file as PBES2.
    pub(super) fn convert(self) -> &'static str {
        match self {
            Self::Pkcs12 => {
                "openssl pkcs12 -legacy -in OLD.p12 -nodes -out KEY-IN-CLEAR.pem && openssl pkcs12 -export -in KEY-IN-CLEAR.pem -out NEW.p12 \
                 -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256; shred -u KEY-IN-CLEAR.pem"
            }
            Self::Pem => "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in OLD.key.pem -out NEW.key.pem",
        }
    }

    pub(super) fn legacy(self, algorithm: impl Into<String>) -> KeyError {
        KeyError::Legacy { algorithm: algorithm.into(), convert: self.convert() }
    }
}

/// How many iterations of key derivation a file may still cost.
#[derive(Debug)]
pub(super) struct Budget(u32);

impl Budget {
    pub(super) fn new() -> Self {
        Self(MAX_ITERATIONS)
    }

    /// Takes `iterations` out of the budget.
    pub(super) fn spend(&mut self, iterations: u32) -> Result<NonZeroU32, KeyError> {
        let iterations = NonZeroU32::new(iterations).ok_or(KeyError::Malformed("key derivation: no iterations"))?;
        self.0 = self.0.checked_sub(iterations.get()).ok_or(KeyError::TooComplex("key derivation"))?;
        Ok(iterations)
    }
}

/// ```text
/// PBES2-params ::= SEQUENCE {
///     keyDerivationFunc AlgorithmIdentifier {{PBES2-KDFs}},
///     encryptionScheme AlgorithmIdentifier {{PBES2-Encs}} }
/// ```
#[derive(Sequence)]
struct Pbes2Params<'a> {
    key_derivation: AlgorithmRef<'a>,
    encryption: AlgorithmRef<'a>,
}

/// ```text
/// PBKDF2-params ::= SEQUENCE {
///     salt CHOICE { specified OCTET STRING, otherSource AlgorithmIdentifier },
///     iterationCount INTEGER (1..MAX),
///     keyLength INTEGER (1..MAX) OPTIONAL,
///     prf AlgorithmIdentifier {{PBKDF2-PRFs}} DEFAULT algid-hmacWithSHA1 }
/// ```
/// `otherSource` is not used by anybody and refused.
#[derive(Sequence)]
pub(super) struct Pbkdf2Params<'a> {
    salt: &'a OctetStringRef,
    iterations: u32,
    #[asn1(optional = "true")]
    pub(super) key_length: Option<u32>,
    #[asn1(optional = "true")]
    prf: Option<AlgorithmRef<'a>>,
}

/// Derives a key by PBKDF2 (RFC 8018 section 5.2), `into` as long as it is wanted.
///
/// # Errors
/// Another function than PBKDF2 with HMAC-SHA-1, -256, -384 or -512; too many iterations; another length than wanted.
pub(super) fn derive(
    function: &AlgorithmRef<'_>,
    password: &str,
    into: &mut [u8],
    budget: &mut Budget,
) -> Result<(), KeyError> {
    if function.oid == SCRYPT {
        return Err(KeyError::Unsupported(String::from("key derivation `scrypt` is not supported, expected PBKDF2")));
    }
    if function.oid != PBKDF2 {
        return Err(KeyError::Unsupported(format!("key derivation `{}` is not supported", function.oid)));
    }
    const MALFORMED: KeyError = KeyError::Malformed("PBKDF2 parameters");
    let parameters: Pbkdf2Params<'_> =
        function.parameters.ok_or(MALFORMED)?.decode_as().map_err(|_: der::Error| MALFORMED)?;
    if parameters.key_length.is_some_and(|length| usize::try_from(length) != Ok(into.len())) {
        return Err(MALFORMED);
    }
    let salt = parameters.salt.as_bytes();
    if salt.len() > MAX_SALT {
        return Err(KeyError::TooComplex("salt"));
    }
    let algorithm = match parameters.prf.map_or(HMAC_SHA1, |prf| prf.oid) {
        HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
        HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
        HMAC_SHA384 => pbkdf2::PBKDF2_HMAC_SHA384,
        HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
        other => return Err(KeyError::Unsupported(format!("PBKDF2 with `{other}` is not supported"))),
    };
    let iterations = budget.spend(parameters.iterations)?;
    pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), into);
    Ok(())
}

/// Decrypts what was encrypted under `algorithm`.
///
/// # Errors
/// `Legacy` for an outdated scheme, `Password` if the padding is wrong, `TooComplex` past the budget.
pub(super) fn decrypt(
    container: Container,
    algorithm: &AlgorithmRef<'_>,
    ciphertext: &[u8],
    password: &str,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    const MALFORMED: KeyError = KeyError::Malformed("PBES2 parameters");
    if algorithm.oid != PBES2 {
        return Err(refused(container, &algorithm.oid));
    }
    let parameters: Pbes2Params<'_> =
        algorithm.parameters.ok_or(MALFORMED)?.decode_as().map_err(|_: der::Error| MALFORMED)?;
    let (cipher, key_length): (&cipher::Algorithm, usize) = match parameters.encryption.oid {
        AES_128_CBC => (&AES_128, cipher::AES_128_KEY_LEN),
        AES_192_CBC => (&AES_192, cipher::AES_192_KEY_LEN),
        AES_256_CBC => (&AES_256, cipher::AES_256_KEY_LEN),
        other => return Err(refused(container, &other)),
    };
    let iv: &OctetStringRef =
        parameters.encryption.parameters.ok_or(MALFORMED)?.decode_as().map_err(|_: der::Error| MALFORMED)?;
    let iv: [u8; 16] = iv.as_bytes().try_into().map_err(|_| MALFORMED)?;

    let mut key = Zeroizing::new(vec![0; key_length]);
    derive(&parameters.key_derivation, password, &mut key, budget)?;
    let wrong = |_| KeyError::Password(String::from(container.name()));
    let key = UnboundCipherKey::new(cipher, &key).and_then(PaddedBlockDecryptingKey::cbc_pkcs7).map_err(wrong)?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    let length = key.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(iv))).map_err(wrong)?.len();
    plain.truncate(length);
    Ok(plain)
}

fn refused(container: Container, oid: &ObjectIdentifier) -> KeyError {
    let text = oid.to_string();
    match LEGACY.iter().find(|(legacy, _)| *legacy == text) {
        Some((_, name)) => container.legacy(*name),
        None => KeyError::Unsupported(format!("encryption `{text}` is not supported, expected PBES2 with AES-CBC")),
    }
}

/// What was encrypted by [`encrypt`], and the DER of its AlgorithmIdentifier.
pub(super) struct Encrypted {
    pub(super) algorithm: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

/// Encrypts with PBES2: PBKDF2 with HMAC-SHA-256, AES-256 in CBC mode.
///
/// # Errors
/// None that an input could cause; the cipher and the encoder are fallible by type.
pub(super) fn encrypt(plain: &[u8], password: &str) -> Result<Encrypted, KeyError> {
    const FAILED: KeyError = KeyError::Malformed("PBES2 encoding");
    let salt = crypto::random::<16>();
    let iv = crypto::random::<16>();
    let iterations = NonZeroU32::new(ITERATIONS).ok_or(FAILED)?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut *key);

    let key =
        UnboundCipherKey::new(&AES_256, &*key).and_then(PaddedBlockEncryptingKey::cbc_pkcs7).map_err(|_| FAILED)?;
    let mut ciphertext = plain.to_vec();
    let context = cipher::EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(&mut ciphertext, context).map_err(|_| FAILED)?;
    let algorithm = parameters(&salt, &iv).map_err(|_| FAILED)?;
    Ok(Encrypted { algorithm, ciphertext })
}

fn parameters(salt: &[u8], iv: &[u8]) -> der::Result<Vec<u8>> {
    let key_derivation = Pbkdf2Params {
        salt: OctetStringRef::new(salt)?,
        iterations: ITERATIONS,
        key_length: None,
        prf: Some(AlgorithmRef { oid: HMAC_SHA256, parameters: Some(Null.into()) }),
    }
    .to_der()?;
    let iv = OctetStringRef::new(iv)?.to_der()?;
    let scheme = Pbes2Params {
        key_derivation: AlgorithmRef { oid: PBKDF2, parameters: Some(AnyRef::from_der(&key_derivation)?) },
        encryption: AlgorithmRef { oid: AES_256_CBC, parameters: Some(AnyRef::from_der(&iv)?) },
    }
    .to_der()?;
    AlgorithmRef { oid: PBES2, parameters: Some(AnyRef::from_der(&scheme)?) }.to_der()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p20_key_derivation_has_a_budget() {
        let mut budget = Budget::new();
        assert!(matches!(budget.spend(0), Err(KeyError::Malformed(_))));
        assert!(matches!(budget.spend(MAX_ITERATIONS + 1), Err(KeyError::TooComplex(_))));
        assert!(budget.spend(6_000_000).is_ok());
        assert!(matches!(budget.spend(6_000_000), Err(KeyError::TooComplex(_))));
        let salt = OctetStringRef::new(b"12345678").unwrap();
        let parameters = Pbkdf2Params { salt, iterations: u32::MAX, key_length: None, prf: None }.to_der().unwrap();
        let function = AlgorithmRef { oid: PBKDF2, parameters: Some(AnyRef::from_der(&parameters).unwrap()) };
        assert!(matches!(derive(&function, "x", &mut [0; 32], &mut Budget::new()), Err(KeyError::TooComplex(_))));
    }
}
