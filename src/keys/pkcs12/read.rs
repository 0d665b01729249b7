//! Reading: PFX → AuthenticatedSafe → SafeContents → bags, each step bounded.

use super::super::KeyError;
use super::super::pbes2::{self, AlgorithmRef, Budget, Container};
use super::super::pem::EncryptedPrivateKeyInfo;
use super::{
    CERT_BAG, CertBag, ContentInfo, DATA, ENCRYPTED_DATA, ENVELOPED_DATA, EncryptedData, KEY_BAG, Pfx,
    SAFE_CONTENTS_BAG, SHROUDED_KEY_BAG, SIGNED_DATA, SafeBag, X509_CERTIFICATE, legacy, mac,
};
use crate::asn1::{self, Asn1Error};
use crate::limits::Limits;
use crate::pki::Certificate;
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Tag, Tagged};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Octets of a file. One key with its chain takes 5 KiB; a file with a hundred of them stays below this.
const MAX_FILE: usize = 1 << 20;
/// Bags of a file, as many as certificates are allowed in a message.
const MAX_BAGS: usize = 100;
/// SafeContents in each other. Nobody nests them; RFC 7292 allows it.
const MAX_DEPTH: usize = 4;

const MALFORMED: KeyError = KeyError::Malformed("PKCS#12 file");

/// What a file holds, in its order.
#[derive(Default)]
pub(in crate::keys) struct Contents {
    /// PKCS#8 DER of each private key.
    pub(in crate::keys) keys: Vec<Zeroizing<Vec<u8>>>,
    /// Every X.509 certificate.
    pub(in crate::keys) certificates: Vec<Certificate>,
    /// What was left out or is unusual.
    pub(in crate::keys) warnings: Vec<String>,
}

/// Whether the octets at hand came out of an EncryptedData.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    Encrypted,
    Clear,
}

/// Opens a file with its password (empty where it has none).
///
/// # Errors
/// `Password` if the MAC or a decryption fails; `Legacy`, `Unsupported`, `Malformed`, `TooComplex`, `NoIntegrity`.
pub(in crate::keys) fn read(file: &[u8], password: &str) -> Result<Contents, KeyError> {
    if file.len() > MAX_FILE {
        return Err(KeyError::TooComplex("PKCS#12 file"));
    }
    let file = normalised(file)?;
    let pfx = Pfx::from_der(&file).map_err(|_| MALFORMED)?;
    if pfx.version != 3 {
        return Err(MALFORMED);
    }
    if pfx.auth_safe.content_type == SIGNED_DATA {
        return Err(KeyError::Unsupported(String::from("PKCS#12 in public-key integrity mode is not supported")));
    }
    let safe = data(&pfx.auth_safe)?;
    let mut reader = Reader { password, budget: Budget::new(), contents: Contents::default(), bags: 0, clear: false };
    if let Some(mac) = &pfx.mac_data {
        mac::verify(mac, safe.as_bytes(), password, &mut reader.budget)?;
    }
    reader.authenticated_safe(safe.as_bytes())?;
    if pfx.mac_data.is_none() {
        if reader.clear {
            return Err(KeyError::NoIntegrity);
        }
        reader
            .contents
            .warnings
            .push(String::from("the PKCS#12 file has no MAC: nothing proves that it was not changed"));
    }
    Ok(reader.contents)
}

struct Reader<'p> {
    password: &'p str,
    budget: Budget,
    contents: Contents,
    bags: usize,
    /// A key or certificate stood in clear.
    clear: bool,
}

impl Reader<'_> {
    fn authenticated_safe(&mut self, octets: &[u8]) -> Result<(), KeyError> {
        let octets = normalised(octets)?;
        for safe in Vec::<ContentInfo<'_>>::from_der(&octets).map_err(|_| MALFORMED)? {
            match safe.content_type {
                DATA => self.safe_contents(data(&safe)?.as_bytes(), Cover::Clear)?,
                ENCRYPTED_DATA => {
                    let plain = self.decrypt(&safe)?;
                    self.safe_contents(&plain, Cover::Encrypted)?;
                }
                ENVELOPED_DATA => {
                    return Err(KeyError::Unsupported(String::from(
                        "PKCS#12 in public-key privacy mode is not supported",
                    )));
                }
                _ => return Err(MALFORMED),
            }
        }
        Ok(())
    }

    fn decrypt(&mut self, safe: &ContentInfo<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let encrypted: EncryptedData<'_> = safe.content.decode_as().map_err(|_: der::Error| MALFORMED)?;
        let content = encrypted.content;
        let ciphertext = implicit_octets(&content.encrypted)?;
        self.open(&content.algorithm, &ciphertext)
    }

    /// By PBES2, or with a warning by what was used before it.
    fn open(&mut self, algorithm: &AlgorithmRef<'_>, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Some(scheme) = legacy::Scheme::from_oid(&algorithm.oid) else {
            return pbes2::decrypt(Container::Pkcs12, algorithm, ciphertext, self.password, &mut self.budget);
        };
        let warning = format!(
            "the file is encrypted with `{}`, which is outdated: whoever finds it can open it; destroy the file and \
             its copies (`shred -u FILE`)",
            scheme.name()
        );
        if !self.contents.warnings.contains(&warning) {
            self.contents.warnings.push(warning);
        }
        scheme.decrypt(algorithm, ciphertext, self.password, &mut self.budget)
    }

    /// One SafeContents and those nested in it, without recursion.
    fn safe_contents(&mut self, octets: &[u8], cover: Cover) -> Result<(), KeyError> {
        let mut waiting = vec![(Zeroizing::new(octets.to_vec()), 1)];
        while let Some((octets, depth)) = waiting.pop() {
            if depth > MAX_DEPTH {
                return Err(KeyError::TooComplex("nesting in a PKCS#12 file"));
            }
            let octets = normalised(&octets)?;
            for bag in Vec::<SafeBag<'_>>::from_der(&octets).map_err(|_| MALFORMED)? {
                self.bags += 1;
                if self.bags > MAX_BAGS {
                    return Err(KeyError::TooComplex("bags in a PKCS#12 file"));
                }
                match bag.id {
                    SAFE_CONTENTS_BAG => waiting.push((whole(&bag.value)?, depth + 1)),
                    _ => self.bag(&bag, cover)?,
                }
            }
        }
        Ok(())
    }

    fn bag(&mut self, bag: &SafeBag<'_>, cover: Cover) -> Result<(), KeyError> {
        match bag.id {
            KEY_BAG => {
                self.clear |= cover == Cover::Clear;
                self.contents.keys.push(whole(&bag.value)?);
            }
            SHROUDED_KEY_BAG => {
                let encrypted = whole(&bag.value)?;
                let info = EncryptedPrivateKeyInfo::from_der(&encrypted).map_err(|_| MALFORMED)?;
                let key = self.open(&info.algorithm, info.data.as_bytes())?;
                self.contents.keys.push(key);
            }
            CERT_BAG => {
                self.clear |= cover == Cover::Clear;
                let bag: CertBag<'_> = bag.value.decode_as().map_err(|_: der::Error| MALFORMED)?;
                if bag.id != X509_CERTIFICATE {
                    self.contents.warnings.push(String::from("a certificate that is not X.509 was left out"));
                    return Ok(());
                }
                let der: &OctetStringRef = bag.value.decode_as().map_err(|_: der::Error| MALFORMED)?;
                match Certificate::from_der(der.as_bytes()) {
                    Ok(certificate) => self.contents.certificates.push(certificate),
                    // It may be some issuer's; the pair's own is missed later.
                    Err(error) => self.contents.warnings.push(format!("a certificate was left out: {error}")),
                }
            }
            // CRLs and secrets are no part of a key pair.
            _ => self.contents.warnings.push(format!("a bag of type `{}` was left out", bag.id)),
        }
        Ok(())
    }
}

/// DER of one value, cleared when dropped: it may be a decrypted key.
fn normalised(ber: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let limits = Limits::default();
    match asn1::ber_to_der(ber, &limits) {
        Ok(Cow::Borrowed(der)) => Ok(Zeroizing::new(der.to_vec())),
        Ok(Cow::Owned(der)) => Ok(Zeroizing::new(der)),
        Err(Asn1Error::TooComplex(_)) => Err(KeyError::TooComplex("nesting in a PKCS#12 file")),
        Err(Asn1Error::Malformed(_) | Asn1Error::Trailing) => Err(MALFORMED),
    }
}

/// The value with its tag and length.
fn whole(value: &AnyRef<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    value.to_der().map(Zeroizing::new).map_err(|_| MALFORMED)
}

fn data<'a>(info: &ContentInfo<'a>) -> Result<&'a OctetStringRef, KeyError> {
    if info.content_type != DATA {
        return Err(MALFORMED);
    }
    info.content.decode_as().map_err(|_: der::Error| MALFORMED)
}

/// The octets of `[0] IMPLICIT OCTET STRING`. Where BER had it constructed, the pieces are joined.
fn implicit_octets<'a>(value: &AnyRef<'a>) -> Result<Cow<'a, [u8]>, KeyError> {
    match value.tag() {
        Tag::ContextSpecific { constructed: false, number } if number.value() == 0 => Ok(Cow::Borrowed(value.value())),
        Tag::ContextSpecific { constructed: true, number } if number.value() == 0 => {
            let mut joined = Vec::new();
            let mut rest = value.value();
            while !rest.is_empty() {
                let (piece, after) = asn1::read_tlv(rest).map_err(|_| MALFORMED)?;
                if piece.tag != 0x04 {
                    return Err(MALFORMED);
                }
                joined.extend_from_slice(piece.content);
                rest = after;
            }
            Ok(Cow::Owned(joined))
        }
        _ => Err(MALFORMED),
    }
}
