//! The MAC over a PFX: HMAC with the key derivation of RFC 7292 appendix B, or PBMAC1 (RFC 9579).

use super::super::KeyError;
use super::super::pbes2::{self, AlgorithmRef, Budget, HMAC_SHA1, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use super::kdf::{Hash, Purpose, derive, passwords};
use super::{MacData, bmp};
use aws_lc_rs::hmac;
use der::Sequence;
use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

const PBMAC1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA224: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4");
pub(super) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

const MALFORMED: KeyError = KeyError::Malformed("PKCS#12 MAC");

/// Checks the MAC over `content`, the octets of the authenticated safe.
///
/// # Errors
/// `Password` if it is another, `Unsupported` for other functions, `TooComplex` past the budget.
pub(super) fn verify(mac: &MacData<'_>, content: &[u8], password: &str, budget: &mut Budget) -> Result<(), KeyError> {
    let wrong = || KeyError::Password(String::from("PKCS#12 file"));
    let expected = mac.mac.digest.as_bytes();
    if mac.mac.algorithm.oid == PBMAC1 {
        let key = pbmac1_key(&mac.mac.algorithm, password, budget)?;
        return hmac::verify(&key, content, expected).map_err(|_| wrong());
    }
    let (hash, hmac) = hash(&mac.mac.algorithm.oid)?;
    let iterations = mac.iterations.unwrap_or(1);
    for form in passwords(password) {
        let mut key = Zeroizing::new(vec![0; hash.size()]);
        derive(&hash, Purpose::Mac, &form, mac.salt.as_bytes(), iterations, &mut key, budget)?;
        if hmac::verify(&hmac::Key::new(hmac, &key), content, expected).is_ok() {
            return Ok(());
        }
    }
    Err(wrong())
}

/// The HMAC-SHA-256 over `content` that [`verify`] accepts.
///
/// # Errors
/// More iterations than anybody may ask for.
pub(super) fn compute(content: &[u8], password: &str, salt: &[u8], iterations: u32) -> Result<Vec<u8>, KeyError> {
    let mut key = Zeroizing::new(vec![0; Hash::SHA256.size()]);
    derive(&Hash::SHA256, Purpose::Mac, &bmp(password), salt, iterations, &mut key, &mut Budget::new())?;
    Ok(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), content).as_ref().to_vec())
}

fn hash(oid: &ObjectIdentifier) -> Result<(Hash, hmac::Algorithm), KeyError> {
    match *oid {
        SHA1 => Ok((Hash::SHA1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
        SHA224 => Ok((Hash::SHA224, hmac::HMAC_SHA224)),
        SHA256 => Ok((Hash::SHA256, hmac::HMAC_SHA256)),
        SHA384 => Ok((Hash::SHA384, hmac::HMAC_SHA384)),
        SHA512 => Ok((Hash::SHA512, hmac::HMAC_SHA512)),
        other => Err(KeyError::Unsupported(format!("PKCS#12 MAC `{other}` is not supported"))),
    }
}

/// ```text
/// PBMAC1-params ::= SEQUENCE {                      -- RFC 8018 section 7.1
///     keyDerivationFunc AlgorithmIdentifier {{PBMAC1-KDFs}},
///     messageAuthScheme AlgorithmIdentifier {{PBMAC1-MACs}} }
/// ```
#[derive(Sequence)]
struct Pbmac1Params<'a> {
    key_derivation: AlgorithmRef<'a>,
    mac: AlgorithmRef<'a>,
}

/// RFC 9579: the key length stands in the parameters and is the MAC's; the password is UTF-8.
fn pbmac1_key(algorithm: &AlgorithmRef<'_>, password: &str, budget: &mut Budget) -> Result<hmac::Key, KeyError> {
    let parameters: Pbmac1Params<'_> =
        algorithm.parameters.ok_or(MALFORMED)?.decode_as().map_err(|_: der::Error| MALFORMED)?;
    let (hmac, length) = match parameters.mac.oid {
        HMAC_SHA1 => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 20),
        HMAC_SHA256 => (hmac::HMAC_SHA256, 32),
        HMAC_SHA384 => (hmac::HMAC_SHA384, 48),
        HMAC_SHA512 => (hmac::HMAC_SHA512, 64),
        other => return Err(KeyError::Unsupported(format!("PBMAC1 with `{other}` is not supported"))),
    };
    let mut key = Zeroizing::new(vec![0; length]);
    pbes2::derive(&parameters.key_derivation, password, &mut key, budget)?;
    Ok(hmac::Key::new(hmac, &key))
}

#[cfg(test)]
mod tests {
    use super::super::DigestInfo;
    use super::*;
    use aws_lc_rs::pbkdf2;
    use der::asn1::{AnyRef, OctetStringRef};
    use der::{Decode, Encode};

    /// Nothing installed here writes PBMAC1 (OpenSSL from 3.4 does), so the parameters are spelled out by hand.
    #[test]
    fn p20_pbmac1_is_verified() {
        // PBKDF2 { salt "12345678", 2048, 32, hmacWithSHA256 }, then hmacWithSHA256.
        let prf = data_encoding::HEXLOWER.decode(b"300c06082a864886f70d02090500").unwrap();
        let pbkdf2_parameters = [&b"\x30\x1f\x04\x0812345678\x02\x02\x08\x00\x02\x01\x20"[..], &prf].concat();
        let oid = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
        let function = AlgorithmRef { oid, parameters: Some(AnyRef::from_der(&pbkdf2_parameters).unwrap()) };
        let mac = AlgorithmRef::from_der(&prf).unwrap();
        let parameters = Pbmac1Params { key_derivation: function, mac }.to_der().unwrap();

        let mut key = [0; 32];
        let iterations = std::num::NonZeroU32::new(2048).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, b"12345678", b"rahasia", &mut key);
        let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"isi");
        let mac = MacData {
            mac: DigestInfo {
                algorithm: AlgorithmRef { oid: PBMAC1, parameters: Some(AnyRef::from_der(&parameters).unwrap()) },
                digest: OctetStringRef::new(digest.as_ref()).unwrap(),
            },
            salt: OctetStringRef::new(b"").unwrap(),
            iterations: None,
        };
        verify(&mac, b"isi", "rahasia", &mut Budget::new()).unwrap();
        for (content, password) in [(&b"isI"[..], "rahasia"), (b"isi", "Rahasia")] {
            let error = verify(&mac, content, password, &mut Budget::new()).unwrap_err();
            assert!(matches!(error, KeyError::Password(_)), "{error:?}");
        }
    }
}
