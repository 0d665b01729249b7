use super::*;
use crate::cms::enveloped_data::OpenError;
use crate::cms::recipient_info::{Derivation, Transport};
use crate::crypto::{ContentCipher as Cipher, Digest};

#[test]
fn i10_reads_every_cipher() {
    for cipher in Cipher::ALL {
        let option = match cipher {
            Cipher::ChaCha20Poly1305 => continue,
            Cipher::DesEde3Cbc => "des3".to_owned(),
            _ => cipher.name().replace("aes", "aes-"),
        };
        for stream in ["", "-stream"] {
            let ber = openssl(&format!("-{option} {stream} -recip e-rsa.pem"));
            let envelope = read(&ber).unwrap();
            assert_eq!((envelope.cipher, envelope.content_encryption.as_str()), (Some(cipher), cipher.name()));
            assert_eq!(envelope.content_type, crate::cms::content_info::ID_DATA);
            assert_eq!(opened(&envelope, "e-rsa"), ENTITY, "{option} {stream}");
        }
    }
}

#[test]
fn i10_reads_every_way_of_the_key() {
    let check = |options: &str, name: &str, transport: Transport| {
        let envelope = read(&openssl(options)).unwrap();
        assert_eq!(envelope.recipients.len(), 1);
        assert_eq!(envelope.recipients[0].transport, transport, "{options}");
        assert_eq!(opened(&envelope, name), ENTITY, "{options}");
        envelope.recipients[0].sealed.clone()
    };
    let oaep = "-aes-256-gcm -recip e-rsa.pem -keyopt rsa_padding_mode:oaep";
    for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
        let name = digest.name();
        let options = format!("{oaep} -keyopt rsa_oaep_md:{name} -keyopt rsa_mgf1_md:{name}");
        let sealed = check(&options, "e-rsa", Transport::RsaOaep);
        assert!(matches!(sealed, SealedKey::RsaOaep { digest: found, mgf, .. } if (found, mgf) == (digest, digest)));
    }
    let SealedKey::RsaOaep { digest, mgf, label, .. } = check(oaep, "e-rsa", Transport::RsaOaep) else { panic!() };
    assert_eq!((digest, mgf, label.as_slice()), (Digest::Sha1, Digest::Sha1, &[][..]));
    let sealed = check(&format!("{oaep} -keyopt rsa_oaep_label:534547454c"), "e-rsa", Transport::RsaOaep);
    assert!(matches!(sealed, SealedKey::RsaOaep { label, .. } if label == b"SEGEL"));
    check("-aes-256-cbc -keyid -recip e-rsa2.pem", "e-rsa2", Transport::RsaPkcs1);
    check("-aes-256-cbc -keyid -recip e-p256.pem", "e-p256", Transport::Ecdh);
    for name in ["e-p256", "e-p384", "e-p521"] {
        for digest in [Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            for (cofactor, wrap) in [(0, 16), (1, 32)] {
                let options = format!(
                    "-aes-256-cbc -aes{}-wrap -recip {name}.pem -keyopt ecdh_kdf_md:{} -keyopt ecdh_cofactor_mode:{cofactor}",
                    wrap * 8,
                    digest.name()
                );
                let SealedKey::Agreed(agreed) = check(&options, name, Transport::Ecdh) else { panic!("{options}") };
                assert_eq!((agreed.derivation, agreed.wrap), (Derivation::X963(digest), wrap));
            }
        }
    }
}

#[test]
fn i10_reads_many_recipients() {
    let names = ["e-rsa", "e-p256", "e-rsa2", "e-p384"];
    let options = names.map(|name| format!("-recip {name}.pem")).join(" ");
    let envelope = read(&openssl(&format!("-aes-128-gcm {options}"))).unwrap();
    assert_eq!(envelope.recipients.len(), 4);
    for name in names {
        assert_eq!(opened(&envelope, name), ENTITY);
    }
}

#[test]
fn i10_what_is_not_implemented_is_unsupported_without_a_key() {
    for options in [
        "-aes192-wrap -recip e-p256.pem",
        "-des3-wrap -recip e-p256.pem",
        "-secretkey 000102030405060708090a0b0c0d0e0f -secretkeyid 01",
        "-pwri_password secret",
    ] {
        let envelope = read(&openssl(&format!("-aes-256-cbc {options}"))).unwrap();
        assert_eq!(envelope.recipients[0].sealed, SealedKey::Unsupported, "{options}");
    }
    for (option, name) in
        [("-rc2-128 -provider default -provider legacy", "rc2-cbc"), ("-camellia256", "1.2.392.200011.61.1.1.1.4")]
    {
        let envelope = read(&openssl(&format!("{option} -recip e-rsa.pem"))).unwrap();
        assert_eq!((envelope.cipher, envelope.content_encryption.as_str()), (None, name));
        assert_eq!(envelope.open(&[0; 16]).unwrap_err(), OpenError::Unsupported);
    }
}

/// ENTITY in every kind of envelope, with the content key.
fn samples() -> Vec<(Vec<u8>, Vec<u8>)> {
    let ciphers = [Cipher::Aes256Gcm, Cipher::Aes128Gcm, Cipher::Aes256Cbc, Cipher::Aes128Cbc];
    let sample = |cipher| {
        let der = encrypt(ENTITY, cipher, &[to("e-p256", false)]).unwrap();
        let envelope = read(&der).unwrap();
        let key = content_key("e-p256", &envelope.recipients[0].sealed).unwrap();
        assert_eq!(envelope.open(&key).unwrap().as_slice(), ENTITY);
        (der, key)
    };
    ciphers.into_iter().map(sample).collect()
}

#[test]
fn i52_one_failure_for_every_reason() {
    for (der, key) in samples() {
        let envelope = read(&der).unwrap();
        for wrong in [&vec![0; key.len()][..], &key[1..], &[&key[..], &[0]].concat(), &[], &[0; 24]] {
            assert_eq!(envelope.open(wrong).unwrap_err(), OpenError::Failed);
        }
        let gcm = envelope.cipher.unwrap().is_authenticated();
        // Every octet of the ciphertext and the tag.
        let start = der.len() - envelope.ciphertext_length() - if gcm { 18 } else { 0 };
        for at in start..der.len() {
            let mut bad = der.clone();
            bad[at] ^= 0x80;
            match read(&bad).map(|envelope| envelope.open(&key)) {
                Ok(Ok(content)) => assert!(!gcm && content.as_slice() != ENTITY, "{at} of {}", der.len()),
                Ok(Err(error)) => assert_eq!(error, OpenError::Failed),
                Err(_) => {}
            }
        }
    }
}

#[test]
fn i52_padding_is_checked() {
    let key = [7; 16];
    let sealed = Cipher::Aes128Cbc.seal(&key, &[1; 16], &[], b"0123456789abcdef").unwrap().0;
    assert_eq!(sealed.len(), 32);
    let open = |sealed: &[u8]| Cipher::Aes128Cbc.open(&key, &[1; 16], &[], sealed, &[]).map(|plain| plain.to_vec());
    assert_eq!(open(&sealed).unwrap(), b"0123456789abcdef");
    // The last block is 16 times 16; the block before it is added to it.
    for (at, flip) in [(15, 16), (15, 1), (0, 1), (14, 16 ^ 3)] {
        let mut bad = sealed.clone();
        bad[at] ^= flip;
        assert_eq!(open(&bad).unwrap_err(), CryptoError::Unopened, "{at}");
    }
    for length in [0, 1, 15, 17, 31] {
        assert_eq!(open(&sealed[..length]).unwrap_err(), CryptoError::Unopened, "{length}");
    }
}

#[test]
fn i60_content_comes_out_with_any_padding() {
    for (cipher, block) in
        [(Cipher::Aes128Cbc, 16_usize), (Cipher::Aes192Cbc, 16), (Cipher::Aes256Cbc, 16), (Cipher::DesEde3Cbc, 8)]
    {
        let key: Vec<u8> = (1..=u8::try_from(cipher.key_length()).unwrap()).collect();
        let nonce = vec![5; block];
        // What is encrypted is padded once more; without that last block the padding is our own.
        let check = |plain: &[u8], content: usize, fits: bool| {
            let sealed = cipher.seal(&key, &nonce, &[], plain).unwrap().0;
            let sealed = &sealed[..sealed.len() - block];
            let opened = cipher.open_unpadded(&key, &nonce, sealed).unwrap();
            assert_eq!((&opened.content[..], opened.padding_fits), (&plain[..content], fits), "{cipher:?} {plain:?}");
            assert_eq!(cipher.open(&key, &nonce, &[], sealed, &[]).is_ok(), fits);
        };
        for whole in [block, 3 * block] {
            for count in 0..=255_u8 {
                let length = usize::from(count);
                let fits = (1..=block).contains(&length);
                let mut plain = vec![0xee; whole];
                plain[whole.saturating_sub(length)..].fill(count);
                plain[whole - 1] = count;
                check(&plain, if fits { whole - length } else { whole }, fits);
                // Each octet of it counts, and the one before does not.
                for wrong in 2..=length.min(block) {
                    let mut plain = plain.clone();
                    plain[whole - wrong] ^= 1 << (wrong % 8);
                    check(&plain, whole, false);
                }
                if fits && length < block {
                    plain[whole - length - 1] = count;
                    check(&plain, whole - length, true);
                }
            }
        }
        let sealed = cipher.seal(&key, &nonce, &[], b"0123456789abcdef").unwrap().0;
        for length in (0..sealed.len()).filter(|length| *length == 0 || length % block != 0) {
            let opened = cipher.open_unpadded(&key, &nonce, &sealed[..length]);
            assert_eq!(opened.unwrap_err(), CryptoError::Unopened, "{length}");
        }
    }
    assert!(Cipher::Aes128Gcm.open_unpadded(&[7; 16], &[1; 12], &[0; 16]).is_err());
}

#[test]
fn i52_truncated_tags() {
    let (der, _) = samples().remove(0);
    let tag = der.len() - 16;
    // GCMParameters end with INTEGER 16; the mac is the last value of the structure.
    let icv = der.windows(3).rposition(|window| window == [2, 1, 16]).unwrap() + 2;
    let with = |length: u8, octets: usize| {
        let mut bad = der[..tag + octets].to_vec();
        bad[icv] = length;
        bad[tag - 1] = u8::try_from(octets).unwrap();
        // The three lengths around everything have two octets each.
        for at in [0, 17, 21] {
            assert_eq!(bad[at + 1], 0x82);
            let outer = (usize::from(bad[at + 2]) << 8 | usize::from(bad[at + 3])) - (16 - octets);
            bad[at + 2..at + 4].copy_from_slice(&u16::try_from(outer).unwrap().to_be_bytes());
        }
        read(&bad)
    };
    assert!(with(16, 16).unwrap().cipher.is_some());
    for length in 12..16u8 {
        // Allowed by RFC 5084, not implemented.
        let envelope = with(length, usize::from(length)).unwrap();
        assert_eq!((envelope.cipher, envelope.open(&[0; 32]).unwrap_err()), (None, OpenError::Unsupported));
        assert_eq!(with(16, usize::from(length)), Err(CmsError::Malformed("mac")));
    }
    for (length, octets) in [(11, 11), (8, 8), (4, 4), (0, 0), (17, 16)] {
        assert_eq!(with(length, octets), Err(CmsError::Malformed("GCMParameters")), "{length}");
    }
}

#[test]
fn i10_broken_structures_are_malformed() {
    for (der, key) in samples() {
        for end in 0..der.len() {
            assert!(read(&der[..end]).is_err(), "{end}");
        }
        // Flips anywhere: an error, an unsupported part or other content, never a panic.
        for at in 0..der.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bad = der.clone();
                bad[at] ^= flip;
                if let Ok(envelope) = read(&bad) {
                    let _opened = envelope.open(&key);
                }
            }
        }
    }
}

#[test]
fn i52_a_cipher_in_the_wrong_structure_is_not_opened() {
    // GCM made CBC and the other way round, by the last arc of the identifier (RFC 9709 section 1 names the attack).
    let swap = |der: &[u8], from: u8, into: u8| {
        let oid = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, from];
        let at = der.windows(11).position(|window| window == oid).unwrap() + 10;
        let mut bad = der.to_vec();
        bad[at] = into;
        bad
    };
    let samples = samples();
    for (number, from, into) in [(0, 46, 42), (2, 42, 46)] {
        let (der, key) = &samples[number];
        let envelope = read(&swap(der, from, into)).unwrap();
        assert_eq!((envelope.cipher, envelope.open(key).unwrap_err()), (None, OpenError::Unsupported));
    }
}
