use super::*;

fn identifier(oid: &str, parameters: &[u8]) -> Vec<u8> {
    encode::tlv(SEQUENCE, &[&encode::identifier(&ObjectIdentifier::new_unwrap(oid)).unwrap(), parameters])
}

const STD_SHA256: &str = "1.3.132.1.11.1";
const HKDF_SHA256: &str = "1.2.840.113549.1.9.16.3.19";
const WRAP128: &str = "2.16.840.1.101.3.4.1.5";
const WRAP256: &str = "2.16.840.1.101.3.4.1.45";

fn issuer_and_serial() -> Vec<u8> {
    encode::tlv(SEQUENCE, &[&encode::tlv(SEQUENCE, &[]), &[INTEGER, 1, 5]])
}

fn public_key(kind: &str, point: &[u8]) -> Vec<u8> {
    encode::tlv(0xa1, &[&identifier(kind, &[]), &encode::tlv(BIT_STRING, &[&[0], point])])
}

fn kari(originator: &[u8], ukm: Option<&[u8]>, scheme: &str, wrap: &[u8], keys: usize) -> Vec<u8> {
    let ukm = ukm.map_or(Vec::new(), |ukm| encode::tlv(0xa1, &[&encode::tlv(OCTET_STRING, &[ukm])]));
    let key = encode::tlv(SEQUENCE, &[&issuer_and_serial(), &encode::tlv(OCTET_STRING, &[&[7; 24]])]);
    let keys = encode::tlv(SEQUENCE, &[&key.repeat(keys)]);
    encode::tlv(0xa1, &[&[INTEGER, 1, 3], &encode::tlv(0xa0, &[originator]), &ukm, &identifier(scheme, wrap), &keys])
}

#[test]
fn i10_agreements_are_read() {
    let ec = public_key("1.2.840.10045.2.1", &[4; 65]);
    let x25519 = public_key("1.3.101.110", &[9; 32]);
    let wrap = identifier(WRAP128, &[]);
    let check = |der: &[u8], expected: Option<(Derivation, usize, &[u8])>| {
        let found = recipients(der).unwrap();
        assert_eq!(found[0].transport, Transport::Ecdh);
        match (&found[0].sealed, expected) {
            (SealedKey::Agreed(agreed), Some((derivation, wrap, shared_info))) => {
                assert_eq!((agreed.derivation, agreed.wrap), (derivation, wrap));
                assert_eq!(agreed.shared_info, shared_info);
                assert_eq!(agreed.wrapped, [7; 24]);
            }
            (SealedKey::Unsupported, None) => {}
            other => panic!("{other:?}"),
        }
    };
    // RFC 5753 section 7.2, octet by octet: keyInfo, entityUInfo [0], suppPubInfo [2] with 128 and 256 bits.
    let aes128 = [0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 5];
    let plain = [&[0x30, 21][..], &aes128, &[0xa2, 6, 4, 4, 0, 0, 0, 128]].concat();
    check(&kari(&ec, None, STD_SHA256, &wrap, 1), Some((Derivation::X963(Digest::Sha256), 16, &plain)));
    let keyed = [&[0x30, 28][..], &aes128, &[0xa0, 5, 4, 3, b'u', b'k', b'm', 0xa2, 6, 4, 4, 0, 0, 0, 128]].concat();
    check(&kari(&ec, Some(b"ukm"), STD_SHA256, &wrap, 1), Some((Derivation::X963(Digest::Sha256), 16, &keyed)));
    check(&kari(&x25519, None, STD_SHA256, &wrap, 1), Some((Derivation::X963(Digest::Sha256), 16, &plain)));
    check(&kari(&x25519, None, HKDF_SHA256, &wrap, 1), Some((Derivation::Hkdf(Digest::Sha256), 16, &plain)));
    // The wrap as it stands there, with NULL.
    let aes256 = [0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 45, 5, 0];
    let null = [&[0x30, 23][..], &aes256, &[0xa2, 6, 4, 4, 0, 0, 1, 0]].concat();
    let wrap256 = identifier(WRAP256, &[5, 0]);
    check(&kari(&ec, None, STD_SHA256, &wrap256, 2), Some((Derivation::X963(Digest::Sha256), 32, &null)));
    // Not implemented: keys of certificates, other groups, schemes and wraps, and keying material as a salt.
    let identified = encode::tlv(0x80, &[b"key"]);
    for originator in [&issuer_and_serial(), &identified, &public_key("1.3.101.111", &[9; 56])] {
        check(&kari(originator, None, STD_SHA256, &wrap, 1), None);
    }
    check(&kari(&ec, None, "1.2.840.113549.1.9.16.3.5", &wrap, 1), None);
    check(&kari(&ec, None, STD_SHA256, &identifier("2.16.840.1.101.3.4.1.25", &[]), 1), None);
    check(&kari(&ec, None, STD_SHA256, &identifier("1.2.840.113549.1.9.16.3.6", &[5, 0]), 1), None);
    check(&kari(&ec, None, STD_SHA256, &identifier(WRAP128, &[4, 1, 0]), 1), None);
    check(&kari(&x25519, Some(b"ukm"), HKDF_SHA256, &wrap, 1), None);
}

#[test]
fn i10_agreements_are_bounded_and_strict() {
    let ec = public_key("1.2.840.10045.2.1", &[4; 65]);
    let wrap = identifier(WRAP128, &[]);
    let check = |der: &[u8], expected: CmsError| assert_eq!(recipients(der), Err(expected));
    check(&kari(&ec, Some(&[0; 1025]), STD_SHA256, &wrap, 1), CmsError::TooComplex("UserKeyingMaterial"));
    assert_eq!(recipients(&kari(&ec, Some(&[0; 1024]), STD_SHA256, &wrap, 2000)).unwrap().len(), 2000);
    check(&kari(&ec, None, STD_SHA256, &wrap, 2001), CmsError::TooComplex("RecipientEncryptedKeys"));
    check(&kari(&ec, None, STD_SHA256, &[], 1), CmsError::Malformed("KeyWrapAlgorithm"));
    let long = public_key("1.2.840.10045.2.1", &[4; 134]);
    check(&kari(&long, None, STD_SHA256, &wrap, 1), CmsError::Malformed("OriginatorPublicKey"));
    check(&kari(&[5, 0], None, STD_SHA256, &wrap, 1), CmsError::Malformed("OriginatorIdentifierOrKey"));
}

#[test]
fn i10_transports_are_read() {
    let ktri = |algorithm: &[u8]| {
        let key = encode::tlv(OCTET_STRING, &[b"sealed"]);
        recipients(&encode::tlv(SEQUENCE, &[&[INTEGER, 1, 0], &issuer_and_serial(), algorithm, &key]))
            .map(|found| (found[0].transport, found[0].sealed.clone()))
    };
    let encrypted = b"sealed".to_vec();
    for parameters in [&[5, 0][..], &[]] {
        let pkcs1 = (Transport::RsaPkcs1, SealedKey::RsaPkcs1(encrypted.clone()));
        assert_eq!(ktri(&identifier("1.2.840.113549.1.1.1", parameters)), Ok(pkcs1));
    }
    const OAEP: &str = "1.2.840.113549.1.1.7";
    let oaep = |digest, mgf| {
        let encrypted = encrypted.clone();
        Ok((Transport::RsaOaep, SealedKey::RsaOaep { encrypted, digest, mgf, label: Vec::new() }))
    };
    // RFC 4055 section 4.1: everything by default.
    assert_eq!(ktri(&identifier(OAEP, &[SEQUENCE, 0])), oaep(Digest::Sha1, Digest::Sha1));
    assert_eq!(ktri(&identifier(OAEP, &[])), oaep(Digest::Sha1, Digest::Sha1));
    assert_eq!(ktri(&Oaep::sha256_identifier()), oaep(Digest::Sha256, Digest::Sha256));
    let hash = encode::tlv(0xa0, &[&identifier("2.16.840.1.101.3.4.2.1", &[])]);
    assert_eq!(ktri(&identifier(OAEP, &encode::tlv(SEQUENCE, &[&hash]))), oaep(Digest::Sha256, Digest::Sha1));
    // A digest, mask or source that is not known is unsupported, anything else malformed.
    let unsupported = Ok((Transport::RsaOaep, SealedKey::Unsupported));
    let unknown = identifier("1.2.3", &[]);
    for number in [0xa0, 0xa1, 0xa2] {
        let parameters = encode::tlv(SEQUENCE, &[&encode::tlv(number, &[&unknown])]);
        assert_eq!(ktri(&identifier(OAEP, &parameters)), unsupported);
    }
    for parameters in [&[5, 0][..], &[SEQUENCE, 2, 5, 0], &[SEQUENCE, 2, 0xa0, 0]] {
        assert_eq!(ktri(&identifier(OAEP, parameters)), Err(CmsError::Malformed("RSAES-OAEP-params")));
    }
    assert_eq!(ktri(&unknown), Ok((Transport::Other, SealedKey::Unsupported)));
}
