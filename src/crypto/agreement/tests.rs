use super::*;

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

#[test]
fn o36_x963_kdf() {
    // NIST CAVP, ANSI X9.63-2001, SHA-256, 192 bits of secret, no SharedInfo.
    let secret = hex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08");
    let key = key_encryption_key(Derivation::X963(Digest::Sha256), &secret, &[], 16).unwrap();
    assert_eq!(*key, hex("443024c3dae66b95e6f5670601558f71"));
    // More than one block: the second begins with counter 2.
    let long = key_encryption_key(Derivation::X963(Digest::Sha1), &secret, b"x", 32).unwrap();
    let second = Digest::Sha1.hash(&[&secret, &[0, 0, 0, 2], b"x"]).unwrap();
    assert_eq!(long[20..], second[..12]);
    assert!(key_encryption_key(Derivation::X963(Digest::Md5), &secret, &[], 16).is_err());
    assert!(key_encryption_key(Derivation::X963(Digest::Sha256), &secret, &[], 65).is_err());
}

#[test]
fn o36_hkdf_without_salt() {
    // RFC 5869 appendix A.3, the first 32 of its 42 octets.
    let key = key_encryption_key(Derivation::Hkdf(Digest::Sha256), &[0x0b; 22], &[], 32).unwrap();
    assert_eq!(*key, hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"));
    assert!(key_encryption_key(Derivation::Hkdf(Digest::Sha224), &[1; 32], &[], 32).is_err());
}

#[test]
fn o36_key_wrap() {
    // RFC 3394 sections 4.1 and 4.6.
    let short = hex("000102030405060708090a0b0c0d0e0f");
    let key = hex("00112233445566778899aabbccddeeff");
    let wrapped = hex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
    assert_eq!(wrap(&short, &key).unwrap(), wrapped);
    assert_eq!(*unwrap(&short, &wrapped).unwrap(), key);
    let long = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let key = [key, hex("000102030405060708090a0b0c0d0e0f")].concat();
    let expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21";
    assert_eq!(wrap(&long, &key).unwrap(), hex(expected));
    let mut bad = hex(expected);
    bad[3] ^= 1;
    for (kek, wrapped) in [(&long[..], &bad[..]), (&long, &bad[..7]), (&long, &[]), (&long[..24], &bad), (&[], &bad)] {
        assert_eq!(unwrap(kek, wrapped).unwrap_err(), CryptoError::Unopened);
    }
    assert!(wrap(&long, &key[..15]).is_err() && wrap(&long[..24], &key).is_err());
}

#[test]
fn o36_a_point_off_the_curve_agrees_on_nothing() {
    for (group, length) in [(Group::P256, 65), (Group::P384, 97), (Group::P521, 133)] {
        let agreed = group.agree(&fresh(group)).unwrap();
        assert_eq!((agreed.ephemeral.len(), agreed.ephemeral[0]), (length, 4));
        let mut point = agreed.ephemeral;
        point[length - 1] ^= 1;
        assert_eq!(group.agree(&point).unwrap_err(), CryptoError::Malformed);
    }
    // RFC 7748 section 6.1: the all-zero result of a point of small order.
    assert_eq!(Group::X25519.agree(&[0; 32]).unwrap_err(), CryptoError::Malformed);
    assert_eq!(Group::X25519.agree(&fresh(Group::X25519)).unwrap().secret.len(), 32);
}

fn fresh(group: Group) -> Vec<u8> {
    let algorithm = match group {
        Group::P256 => &agreement::ECDH_P256,
        Group::P384 => &agreement::ECDH_P384,
        Group::P521 => &agreement::ECDH_P521,
        Group::X25519 => &agreement::X25519,
    };
    let key = agreement::PrivateKey::generate(algorithm).unwrap();
    key.compute_public_key().unwrap().as_ref().to_vec()
}
