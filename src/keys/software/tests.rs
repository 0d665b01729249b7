//! Content keys out of what OpenSSL encrypted, and nothing out of what is wrong.

use super::super::{KeyError, import};
use super::OpenKey;
use crate::cms::ContentInfo;
use crate::cms::enveloped_data::Envelope;
use crate::cms::recipient_info::{Agreement, Derivation, SealedKey};
use crate::crypto::{Digest, agreement};
use crate::keys::tests::bench::Bench;
use crate::limits::Limits;

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "ec -pkeyopt ec_paramgen_curve:P-384";
const P521: &str = "ec -pkeyopt ec_paramgen_curve:P-521";
const RSA: &str = "rsa:2048";
const TO_ENCRYPT: &[&str] = &["basicConstraints=CA:FALSE", "extendedKeyUsage=emailProtection"];
const TEXT: &[u8] = b"Content-Type: text/plain\r\n\r\nRahasia.\r\n";

/// A pair `siti` and what OpenSSL makes of the text for it.
fn sealed(bench: &Bench, key: &str, options: &str) -> (OpenKey, Envelope) {
    bench.pair("siti", key, "siti@kabupaten.go.id", TO_ENCRYPT);
    bench.write("text", TEXT);
    bench
        .openssl(&format!("cms -encrypt -binary -in text -outform DER -out sealed -recip siti.pem {options}"))
        .unwrap_or_else(|error| panic!("{key} {options}: {error}"));
    let info = ContentInfo::from_ber(bench.read("sealed"), &Limits::default()).unwrap();
    (OpenKey::from_pkcs8(&bench.pkcs8("siti")).unwrap(), Envelope::read(&info).unwrap())
}

fn length(envelope: &Envelope) -> usize {
    envelope.cipher.unwrap().key_length()
}

#[test]
fn i10_content_keys_from_openssl_are_opened() {
    let bench = Bench::new();
    let oaep = |digest: &str| {
        format!("-aes256 -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:{digest} -keyopt rsa_mgf1_md:{digest}")
    };
    let cases = [
        (RSA, "-aes256".to_owned()),
        ("rsa:3072", "-aes128".to_owned()),
        (RSA, "-des3".to_owned()),
        (RSA, "-aes-256-gcm".to_owned()),
        (RSA, "-aes256 -keyopt rsa_padding_mode:oaep".to_owned()),
        (RSA, oaep("sha256")),
        (RSA, oaep("sha384")),
        ("rsa:4096", oaep("sha512")),
        (RSA, oaep("sha256") + " -keyopt rsa_oaep_label:6c6162656c"),
        (P256, "-aes128".to_owned()),
        (P256, "-aes256 -keyopt ecdh_kdf_md:sha256".to_owned()),
        (P256, "-aes-128-gcm -keyopt ecdh_kdf_md:sha384 -aes256-wrap".to_owned()),
        (P384, "-aes256 -keyopt ecdh_kdf_md:sha384".to_owned()),
        (P384, "-aes128 -keyopt ecdh_cofactor_mode:1".to_owned()),
        (P521, "-aes256 -keyopt ecdh_kdf_md:sha512".to_owned()),
    ];
    for (key, options) in cases {
        let (open, envelope) = sealed(&bench, key, &options);
        let found = open.content_key(&envelope.recipients[0].sealed, length(&envelope));
        let found = found.unwrap_or_else(|error| panic!("{key} {options}: {error}"));
        let text = envelope.open(&found).unwrap_or_else(|error| panic!("{key} {options}: {error}"));
        assert_eq!(*text, TEXT, "{key} {options}");
    }
}

#[test]
fn i10_x25519_is_opened() {
    let bench = Bench::new();
    bench.openssl("genpkey -algorithm X25519 -out x.key").unwrap();
    let point = bench.openssl("pkey -in x.key -pubout -outform DER -out x.pub").map(|_| bench.read("x.pub")).unwrap();
    let agreed = agreement::Group::X25519.agree(&point[point.len() - 32..]).unwrap();
    let derivation = Derivation::Hkdf(Digest::Sha256);
    let kek = agreement::key_encryption_key(derivation, &agreed.secret, b"info", 16).unwrap();
    let sealed = Agreement {
        originator: agreed.ephemeral,
        derivation,
        wrap: 16,
        shared_info: b"info".to_vec(),
        wrapped: agreement::wrap(&kek, &[7; 32]).unwrap(),
    };
    let open = OpenKey::from_pkcs8(&bench.pkcs8("x")).unwrap();
    assert_eq!(*open.content_key(&SealedKey::Agreed(sealed.clone()), 32).unwrap(), [7; 32]);
    // A point of small order gives the secret that everybody knows.
    let weak = SealedKey::Agreed(Agreement { originator: vec![0; 32], ..sealed });
    assert_ne!(*open.content_key(&weak, 32).unwrap(), [7; 32]);
}

/// Each of them gives octets of the wanted length, other ones each time.
fn gives_random_octets(open: &OpenKey, wrong: &[(String, SealedKey)], length: usize, right: &[u8]) {
    for (what, sealed) in wrong {
        let once = open.content_key(sealed, length).unwrap_or_else(|error| panic!("{what}: {error}"));
        let twice = open.content_key(sealed, length).unwrap();
        assert_eq!((once.len(), twice.len()), (length, length), "{what}");
        assert!(once != twice && *once != right && once.iter().any(|octet| *octet != 0), "{what}");
    }
}

fn flipped(octets: &[u8], at: usize) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets[at] ^= 1;
    octets
}

#[test]
fn i60_a_wrong_rsa_ciphertext_gives_random_octets() {
    let bench = Bench::new();
    for options in ["-aes256", "-aes256 -keyopt rsa_padding_mode:oaep"] {
        let (open, envelope) = sealed(&bench, RSA, options);
        let again = |octets: &[u8]| match &envelope.recipients[0].sealed {
            SealedKey::RsaPkcs1(_) => SealedKey::RsaPkcs1(octets.to_vec()),
            SealedKey::RsaOaep { digest, mgf, label, .. } => {
                SealedKey::RsaOaep { encrypted: octets.to_vec(), digest: *digest, mgf: *mgf, label: label.clone() }
            }
            other => panic!("{other:?}"),
        };
        let (SealedKey::RsaPkcs1(good) | SealedKey::RsaOaep { encrypted: good, .. }) = &envelope.recipients[0].sealed
        else {
            panic!("no key transport")
        };
        let right = open.content_key(&envelope.recipients[0].sealed, 32).unwrap();
        // A right padding around a key of another length; padding type 1; no zero after the padding.
        bench.write("short", &[9; 24]);
        bench.openssl("pkeyutl -encrypt -certin -inkey siti.pem -in short -out other").unwrap();
        let mut raw = vec![0u8, 1];
        raw.resize(223, 0xff);
        raw.push(0);
        raw.resize(256, 7);
        bench.write("raw1", &raw);
        bench.write("raw2", &[&[0, 2][..], &[3; 254]].concat());
        bench.write("raw3", &[&[0, 2, 3, 3, 0][..], &[3; 251]].concat());
        let mut wrong = vec![
            ("empty".to_owned(), Vec::new()),
            ("one octet".to_owned(), vec![1]),
            ("shorter".to_owned(), good[1..].to_vec()),
            ("longer".to_owned(), [good, &[0][..]].concat()),
            ("zeros".to_owned(), vec![0; good.len()]),
            ("above the modulus".to_owned(), vec![0xff; good.len()]),
            ("another length".to_owned(), bench.read("other")),
        ];
        for raw in ["raw1", "raw2", "raw3"] {
            let command = format!(
                "pkeyutl -encrypt -certin -inkey siti.pem -in {raw} -out {raw}.out -pkeyopt rsa_padding_mode:none"
            );
            bench.openssl(&command).unwrap();
            wrong.push((raw.to_owned(), bench.read(&format!("{raw}.out"))));
        }
        wrong.extend([0, 1, 100, 255].map(|at| (format!("bit at {at}"), flipped(good, at))));
        let wrong: Vec<_> = wrong.iter().map(|(what, octets)| (what.clone(), again(octets))).collect();
        gives_random_octets(&open, &wrong, 32, &right);
        // The right ciphertext, asked for another length.
        gives_random_octets(&open, &[("asked for 16".to_owned(), again(good))], 16, &right[..16]);
    }
}

#[test]
fn i60_a_wrong_agreement_gives_random_octets() {
    let bench = Bench::new();
    for key in [P256, P384] {
        let (open, envelope) = sealed(&bench, key, "-aes256");
        let SealedKey::Agreed(good) = &envelope.recipients[0].sealed else { panic!("no agreement") };
        let right = open.content_key(&envelope.recipients[0].sealed, 32).unwrap();
        let point = |originator: Vec<u8>| Agreement { originator, ..good.clone() };
        let wrapped = |wrapped: Vec<u8>| Agreement { wrapped, ..good.clone() };
        let octets = good.originator.len();
        let wrong = [
            ("no point", point(Vec::new())),
            ("not on the curve", point(flipped(&good.originator, octets - 1))),
            ("the point at infinity", point(vec![0])),
            ("a point cut off", point(good.originator[..octets - 1].to_vec())),
            ("a point too long", point([&good.originator[..], &[0]].concat())),
            ("an unknown form", point(flipped(&good.originator, 0))),
            ("a point of another curve", point([&[4][..], &[1; 132]].concat())),
            ("nothing wrapped", wrapped(Vec::new())),
            ("a block too few", wrapped(good.wrapped[8..].to_vec())),
            ("no blocks", wrapped(good.wrapped[1..].to_vec())),
            ("a bit in the integrity block", wrapped(flipped(&good.wrapped, 0))),
            ("a bit in the key", wrapped(flipped(&good.wrapped, 39))),
            ("much too long", wrapped(vec![1; 8 * 1000])),
            ("another SharedInfo", Agreement { shared_info: vec![1], ..good.clone() }),
            ("another derivation", Agreement { derivation: Derivation::X963(Digest::Sha512), ..good.clone() }),
        ];
        let wrong = wrong.map(|(what, agreement)| (format!("{key}: {what}"), SealedKey::Agreed(agreement)));
        gives_random_octets(&open, &wrong, 32, &right);
        gives_random_octets(&open, &[("24".to_owned(), envelope.recipients[0].sealed.clone())], 24, &right[..24]);
    }
}

#[test]
fn i60_only_what_anybody_sees_is_an_error() {
    let bench = Bench::new();
    let (rsa, to_rsa) = sealed(&bench, RSA, "-aes256");
    let (ec, to_ec) = sealed(&bench, P256, "-aes256");
    let to = |envelope: &Envelope| envelope.recipients[0].sealed.clone();
    let oaep = |digest, mgf| SealedKey::RsaOaep { encrypted: vec![1; 256], digest, mgf, label: Vec::new() };
    let SealedKey::Agreed(agreement) = to(&to_ec) else { panic!("no agreement") };
    let cases = [
        ("an agreement for RSA", &rsa, to(&to_ec), 32),
        ("key transport for a curve", &ec, to(&to_rsa), 32),
        ("something else", &rsa, SealedKey::Unsupported, 32),
        ("two digests", &rsa, oaep(Digest::Sha256, Digest::Sha1), 32),
        ("SHA-224", &rsa, oaep(Digest::Sha224, Digest::Sha224), 32),
        ("a wrap of 24", &ec, SealedKey::Agreed(Agreement { wrap: 24, ..agreement }), 32),
        ("no length", &rsa, to(&to_rsa), 0),
        ("a length that no cipher has", &rsa, to(&to_rsa), 65),
    ];
    for (what, open, sealed, length) in cases {
        assert!(matches!(open.content_key(&sealed, length), Err(KeyError::CannotDecrypt)), "{what}");
    }
}

#[test]
fn p20_certificates_to_encrypt_are_taken_in() {
    let bench = Bench::new();
    let (sign, decrypt, both) = ((true, false), (false, true), (true, true));
    let cases: [(&str, &str, (bool, bool)); 12] = [
        (RSA, "keyEncipherment", decrypt),
        (RSA, "keyEncipherment,dataEncipherment", decrypt),
        (RSA, "digitalSignature,keyEncipherment", both),
        (RSA, "nonRepudiation", sign),
        (RSA, "digitalSignature,keyAgreement", sign),
        (P256, "keyAgreement", decrypt),
        (P256, "digitalSignature,keyAgreement", both),
        (P384, "keyAgreement,decipherOnly", decrypt),
        (P384, "digitalSignature,keyEncipherment", sign),
        (P521, "keyAgreement", decrypt),
        (P521, "digitalSignature,keyAgreement", decrypt),
        ("rsa-pss -pkeyopt rsa_keygen_bits:2048", "digitalSignature,keyEncipherment", sign),
    ];
    for (key, usage, (sign, decrypt)) in cases {
        let usage = format!("keyUsage={usage}");
        let extensions = ["basicConstraints=CA:FALSE", &usage, "extendedKeyUsage=emailProtection"];
        bench.pair("siti", key, "siti@kabupaten.go.id", &extensions);
        let read = import::pem(&bench.read("siti.pem"), &bench.read("siti.key"), None);
        if key.starts_with("rsa-pss") {
            // aws-lc-rs reads no such key; what matters is that none is taken for one that decrypts.
            assert!(read.is_err() || !read.unwrap().pairs[0].uses.decrypt);
            continue;
        }
        let read = read.unwrap_or_else(|error| panic!("{key} {usage}: {error}"));
        assert_eq!(read.pairs[0].uses, import::Uses { sign, decrypt }, "{key} {usage}");
    }
}

#[test]
fn p20_an_x25519_certificate_is_taken_in() {
    let bench = Bench::new();
    bench.pair("root", P256, "", &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"]);
    bench.issue("siti", "root", "siti@kabupaten.go.id", TO_ENCRYPT);
    bench.openssl("genpkey -algorithm X25519 -out siti.key").unwrap();
    bench.openssl("pkey -in siti.key -pubout -out siti.pub").unwrap();
    bench.write("ext.cnf", b"subjectAltName=email:siti@kabupaten.go.id\nkeyUsage=keyAgreement");
    bench
        .openssl(
            "x509 -req -in siti.csr -force_pubkey siti.pub -CA root.pem -CAkey root.key -CAcreateserial -days 9 -extfile ext.cnf -out siti.pem",
        )
        .unwrap();
    let read = import::pem(&bench.read("siti.pem"), &bench.read("siti.key"), None).unwrap();
    assert_eq!(read.pairs[0].uses, import::Uses { sign: false, decrypt: true });
    // Another key of the same kind is not its own.
    bench.openssl("genpkey -algorithm X25519 -out budi.key").unwrap();
    let error = import::pem(&bench.read("siti.pem"), &bench.read("budi.key"), None).unwrap_err();
    assert!(matches!(error, KeyError::Mismatch), "{error:?}");
}
