//! SMIMECapabilities: what a partner's program says that it can read, and what this one says (RFC 8551 section 2.5.2).

use crate::asn1::{Fields, tag, write_tlv};
use crate::crypto::ContentCipher;
use crate::crypto::transport::{Oaep, RSAES_OAEP};
use der::asn1::ObjectIdentifier;

/// What a recipient has announced in validly signed mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Content-encryption algorithms that are known here, in the order of preference.
    pub ciphers: Vec<ContentCipher>,
    /// RSAES-OAEP with SHA-256 is announced.
    pub oaep: bool,
}

/// Entries of one list. Programs write a dozen.
const MOST: usize = 100;

/// `dhSinglePass-stdDH-sha256kdf-scheme` (RFC 5753 section 7.1.4).
const SHA256_KDF: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.1.11.1");
const AES256_WRAP: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.45");
const AES128_WRAP: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.5");

/// What is announced: AES in GCM and CBC, the better one first. AES-192 and what is only read for the past is left out.
const OWN: [ContentCipher; 4] =
    [ContentCipher::Aes256Gcm, ContentCipher::Aes128Gcm, ContentCipher::Aes256Cbc, ContentCipher::Aes128Cbc];

impl Capabilities {
    /// Reads the attribute's value. What is not known here is passed over.
    ///
    /// ```text
    /// SMIMECapability ::= SEQUENCE {
    ///   capabilityID OBJECT IDENTIFIER,
    ///   parameters ANY DEFINED BY capabilityID OPTIONAL }
    /// SMIMECapabilities ::= SEQUENCE OF SMIMECapability
    /// ```
    ///
    /// `None` for anything else, and for more than 100 entries.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let mut entries = Fields::within(der, tag::SEQUENCE).ok()?;
        let mut found = Self::default();
        for _ in 0..MOST {
            if entries.is_empty() {
                return Some(found);
            }
            let mut entry = Fields::new(entries.required(tag::SEQUENCE).ok()?.content);
            let oid = ObjectIdentifier::from_bytes(entry.required(tag::OID).ok()?.content).ok()?;
            let parameters = entry.next_any().ok()?;
            if oid == RSAES_OAEP {
                // RFC 3560 section 4; without parameters it is only said that OAEP is known.
                found.oaep |= parameters.is_none_or(|tlv| Oaep::from_der(tlv.whole) == Ok(Oaep::sha256()));
            } else if let Some(cipher) = ContentCipher::from_oid(&oid)
                && !found.ciphers.contains(&cipher)
            {
                found.ciphers.push(cipher);
            }
        }
        entries.is_empty().then_some(found)
    }
}

/// DER of the SMIMECapabilities that this gateway announces: only what it decrypts (O24).
pub fn own() -> Vec<u8> {
    let oid = |oid: ObjectIdentifier| write_tlv(tag::OID, oid.as_bytes());
    let entry = |fields: &[Vec<u8>]| write_tlv(tag::SEQUENCE, &fields.concat());
    let mut entries: Vec<Vec<u8>> = OWN.iter().map(|cipher| entry(&[oid(cipher.oid())])).collect();
    entries.push(Oaep::sha256_identifier());
    // RFC 5753 section 8: the key wrap is the parameter.
    entries.extend([AES256_WRAP, AES128_WRAP].map(|wrap| entry(&[oid(SHA256_KDF), entry(&[oid(wrap)])])));
    write_tlv(tag::SEQUENCE, &entries.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[Vec<u8>]) -> Vec<u8> {
        write_tlv(tag::SEQUENCE, &entries.concat())
    }

    fn entry(oid: &str, parameters: &[u8]) -> Vec<u8> {
        let oid = write_tlv(tag::OID, ObjectIdentifier::new_unwrap(oid).as_bytes());
        write_tlv(tag::SEQUENCE, &[&oid, parameters].concat())
    }

    #[test]
    fn o24_own_is_what_is_decrypted() {
        let own = Capabilities::from_der(&own()).unwrap();
        assert_eq!(own, Capabilities { ciphers: OWN.to_vec(), oaep: true });
    }

    #[test]
    fn o33_lists_are_read() {
        const OAEP: &str = "1.2.840.113549.1.1.7";
        let check = |der: &[u8], expected: Option<(&[ContentCipher], bool)>| {
            let expected = expected.map(|(ciphers, oaep)| Capabilities { ciphers: ciphers.to_vec(), oaep });
            assert_eq!(Capabilities::from_der(der), expected, "{der:x?}");
        };
        check(&list(&[]), Some((&[], false)));
        // RC2 with 128 bits, an unknown one, AES-128-CBC twice, 3DES.
        let aes = entry("2.16.840.1.101.3.4.1.2", &[]);
        let rc2 = entry("1.2.840.113549.3.2", &[2, 2, 0, 0x80]);
        let des = entry("1.2.840.113549.3.7", &[]);
        let mixed = [rc2, entry("1.2.3", &[]), aes.clone(), des, aes.clone()];
        check(&list(&mixed), Some((&[ContentCipher::Aes128Cbc, ContentCipher::DesEde3Cbc], false)));
        check(&list(&[entry(OAEP, &[])]), Some((&[], true)));
        check(&list(&[Oaep::sha256_identifier()]), Some((&[], true)));
        // All defaults: SHA-1. And something broken, which is none of ours.
        check(&list(&[entry(OAEP, &[0x30, 0])]), Some((&[], false)));
        check(&list(&[entry(OAEP, &[5, 0])]), Some((&[], false)));
        check(&list(&vec![aes.clone(); MOST]), Some((&[ContentCipher::Aes128Cbc], false)));
        check(&list(&vec![aes.clone(); MOST + 1]), None);
        check(&[], None);
        check(&list(&[vec![5, 0]]), None);
        check(&[&list(std::slice::from_ref(&aes))[..], &[0]].concat(), None);
        check(&list(&[write_tlv(tag::SEQUENCE, &[])]), None);
    }
}
