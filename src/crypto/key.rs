//! Public keys out of SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7, RFC 3279, RFC 5480, RFC 8410).

use super::transport::Oaep;
use super::{CryptoError, ED25519, RSA_ENCRYPTION, RSASSA_PSS, SignatureAlgorithm};
use crate::asn1::{Asn1Error, Fields, tag};
use der::asn1::ObjectIdentifier;

/// A public key as far as this crate uses keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey<'a> {
    /// RSA. `der` is the RSAPublicKey; `pss` says that the key is for PSS only, with these parameters if there are some.
    Rsa { der: &'a [u8], modulus: &'a [u8], exponent: &'a [u8], pss: Pss },
    /// A point on a curve, as the octets of X9.62.
    Ec { curve: Curve, point: &'a [u8] },
    /// 32 octets.
    Ed25519(&'a [u8]),
    /// 32 octets.
    X25519(&'a [u8]),
    /// DSA, which is recognised and never used.
    Dsa,
    /// Any other kind.
    Other,
}

/// What the identifier of an RSA key allows (RFC 4055 section 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pss {
    /// rsaEncryption: any use.
    Open,
    /// id-RSASSA-PSS without parameters: PSS with any.
    Any,
    /// id-RSASSA-PSS with parameters: this digest, at least this salt.
    Pinned(SignatureAlgorithm),
    /// id-RSAES-OAEP, which allows SHA-256 or says nothing: no signatures at all.
    Oaep,
}

/// The curves that tell apart what may be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
    /// Less than 256 bits.
    Small,
    /// Not implemented.
    Other,
}

impl<'a> PublicKey<'a> {
    /// Reads the DER of a SubjectPublicKeyInfo.
    pub(crate) fn from_spki(spki: &'a [u8]) -> Result<Self, CryptoError> {
        let mut fields = Fields::within(spki, tag::SEQUENCE)?;
        let mut algorithm = Fields::new(fields.required(tag::SEQUENCE)?.content);
        let bits = fields.required(tag::BIT_STRING)?.content;
        let Some((0, key)) = bits.split_first().map(|(unused, key)| (*unused, key)) else {
            return Err(CryptoError::Malformed);
        };
        if !fields.is_empty() {
            return Err(CryptoError::Malformed);
        }
        let name = oid(algorithm.required(tag::OID)?.content)?;
        let parameters = algorithm.next_any()?;
        match name.as_str() {
            RSA_ENCRYPTION => Self::rsa(key, Pss::Open),
            RSASSA_PSS => match parameters {
                Some(parameters) => Self::rsa(key, Pss::Pinned(super::pss_parameters(parameters.whole)?)),
                None => Self::rsa(key, Pss::Any),
            },
            RSAES_OAEP => match parameters.map(|parameters| Oaep::from_der(parameters.whole)).transpose()? {
                None => Self::rsa(key, Pss::Oaep),
                Some(parameters) if parameters == Oaep::sha256() => Self::rsa(key, Pss::Oaep),
                Some(_) => Ok(Self::Other),
            },
            EC_PUBLIC_KEY => {
                // RFC 5480 section 2.1.1: namedCurve; explicit parameters let an attacker choose the generator.
                let named =
                    parameters.filter(|parameters| parameters.tag == tag::OID).ok_or(CryptoError::Unsupported)?;
                Ok(Self::Ec { curve: Curve::from_oid(&oid(named.content)?), point: key })
            }
            ED25519 if key.len() == 32 && parameters.is_none() => Ok(Self::Ed25519(key)),
            X25519 if key.len() == 32 && parameters.is_none() => Ok(Self::X25519(key)),
            ED25519 | X25519 => Err(CryptoError::Malformed),
            DSA => Ok(Self::Dsa),
            _ => Ok(Self::Other),
        }
    }

    /// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017 appendix A.1.1).
    fn rsa(der: &'a [u8], pss: Pss) -> Result<Self, CryptoError> {
        let mut fields = Fields::within(der, tag::SEQUENCE)?;
        let modulus = positive(fields.required(tag::INTEGER)?.content)?;
        let exponent = positive(fields.required(tag::INTEGER)?.content)?;
        if !fields.is_empty() {
            return Err(CryptoError::Malformed);
        }
        Ok(Self::Rsa { der, modulus, exponent, pss })
    }
}

impl Curve {
    fn from_oid(name: &str) -> Self {
        match name {
            "1.2.840.10045.3.1.7" => Self::P256,
            "1.3.132.0.34" => Self::P384,
            "1.3.132.0.35" => Self::P521,
            // secp112r1 to secp192k1, sect113r1 to sect239k1, secp224k1 and secp224r1 (SEC 2).
            "1.3.132.0.1" | "1.3.132.0.2" | "1.3.132.0.3" | "1.3.132.0.4" | "1.3.132.0.5" | "1.3.132.0.6"
            | "1.3.132.0.7" | "1.3.132.0.8" | "1.3.132.0.9" | "1.3.132.0.15" | "1.3.132.0.22" | "1.3.132.0.23"
            | "1.3.132.0.24" | "1.3.132.0.25" | "1.3.132.0.26" | "1.3.132.0.27" | "1.3.132.0.28" | "1.3.132.0.29"
            | "1.3.132.0.30" | "1.3.132.0.31" | "1.3.132.0.32" | "1.3.132.0.33"
            // prime192v1 to prime239v3 (X9.62), brainpoolP160r1 to P224t1 (RFC 5639).
            | "1.2.840.10045.3.1.1" | "1.2.840.10045.3.1.2" | "1.2.840.10045.3.1.3" | "1.2.840.10045.3.1.4"
            | "1.2.840.10045.3.1.5" | "1.2.840.10045.3.1.6" | "1.3.36.3.3.2.8.1.1.1" | "1.3.36.3.3.2.8.1.1.2"
            | "1.3.36.3.3.2.8.1.1.3" | "1.3.36.3.3.2.8.1.1.4" | "1.3.36.3.3.2.8.1.1.5" | "1.3.36.3.3.2.8.1.1.6" => Self::Small,
            _ => Self::Other,
        }
    }
}

/// Significant bits of a magnitude in big-endian octets without leading zeros.
pub(crate) fn bits(magnitude: &[u8]) -> usize {
    magnitude.first().map_or(0, |first| {
        let leading = usize::try_from(first.leading_zeros()).unwrap_or_default();
        (magnitude.len() * 8).saturating_sub(leading)
    })
}

/// Dotted text of an OBJECT IDENTIFIER's content octets.
pub(crate) fn oid(content: &[u8]) -> Result<String, CryptoError> {
    ObjectIdentifier::from_bytes(content).map(|oid| oid.to_string()).map_err(|_| CryptoError::Malformed)
}

/// The value of a DER INTEGER from 0 to 2^31-1.
pub(crate) fn small_integer(der: &[u8]) -> Result<u32, CryptoError> {
    let mut fields = Fields::new(der);
    let content = fields.required(tag::INTEGER)?.content;
    if !fields.is_empty()
        || content.is_empty()
        || content.len() > 4
        || content.first().is_some_and(|first| first & 0x80 != 0)
    {
        return Err(CryptoError::Malformed);
    }
    Ok(content.iter().fold(0, |value, octet| (value << 8) | u32::from(*octet)))
}

/// The magnitude of a positive INTEGER, without its sign octet.
fn positive(content: &[u8]) -> Result<&[u8], CryptoError> {
    match content {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Ok(rest),
        [first, ..] if (1..0x80).contains(first) => Ok(content),
        _ => Err(CryptoError::Malformed),
    }
}

pub(crate) const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const DSA: &str = "1.2.840.10040.4.1";
const RSAES_OAEP: &str = "1.2.840.113549.1.1.7";
pub(crate) const X25519: &str = "1.3.101.110";

impl From<Asn1Error> for CryptoError {
    fn from(_: Asn1Error) -> Self {
        Self::Malformed
    }
}
