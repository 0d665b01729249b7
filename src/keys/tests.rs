//! Import against OpenSSL, both ways.

pub(crate) mod bench;

use super::software::OpenKey;
use super::{KeyError, Unfit, import, pkcs12};
use crate::crypto::{self, Digest, SignatureAlgorithm};
use bench::{Bench, FOR_MAIL};

const ALGORITHMS: [(&str, SignatureAlgorithm); 5] = [
    ("rsa:2048", SignatureAlgorithm::RsaPkcs1(Digest::Sha256)),
    ("rsa:3072", SignatureAlgorithm::RsaPkcs1(Digest::Sha384)),
    ("rsa:4096", SignatureAlgorithm::RsaPkcs1(Digest::Sha512)),
    ("ec -pkeyopt ec_paramgen_curve:P-256", SignatureAlgorithm::Ecdsa(Digest::Sha256)),
    ("ec -pkeyopt ec_paramgen_curve:P-384", SignatureAlgorithm::Ecdsa(Digest::Sha384)),
];
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

/// The one pair of a file, and what was said about it.
fn only(import: import::Import) -> (import::Imported, Vec<String>) {
    let import::Import { mut pairs, warnings } = import;
    assert_eq!(pairs.len(), 1, "{pairs:?} {warnings:?}");
    (pairs.remove(0), warnings)
}

fn signs(imported: &import::Imported, algorithm: SignatureAlgorithm) {
    let key = OpenKey::from_pkcs8(&imported.key_der).unwrap();
    let signature = key.sign(algorithm, b"pesan").unwrap();
    crypto::verify(algorithm, imported.certificate.spki_der(), b"pesan", &signature).unwrap();
    assert!(crypto::verify(algorithm, imported.certificate.spki_der(), b"pesaN", &signature).is_err());
}

#[test]
fn p20_pkcs12_from_openssl_is_read() {
    let bench = Bench::new();
    for (key, algorithm) in ALGORITHMS {
        let certificate = bench.pair("siti", key, "siti@kabupaten.go.id", FOR_MAIL);
        bench.openssl("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -passout pass:rahasia-é").unwrap();
        let (imported, warnings) = only(import::pkcs12(&bench.read("siti.p12"), "rahasia-é").unwrap());
        assert_eq!(imported.certificate.der(), certificate.der(), "{key}");
        assert!(imported.chain.is_empty() && warnings.is_empty(), "{imported:?} {warnings:?}");
        signs(&imported, algorithm);
        for wrong in ["rahasia", "", "rahasia-é "] {
            let error = import::pkcs12(&bench.read("siti.p12"), wrong).unwrap_err();
            assert!(matches!(error, KeyError::Password(_)), "{error:?}");
        }
    }
}

#[test]
fn p20_pkcs12_variants_of_openssl_are_read() {
    let bench = Bench::new();
    bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    let options = [
        "-keypbe AES-128-CBC -certpbe AES-192-CBC -macalg sha1 -passout pass:x",
        "-keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha384 -iter 5000 -passout pass:x",
        "-certpbe NONE -macalg sha512 -passout pass:x",
        "-keypbe NONE -certpbe NONE -macalg sha224 -passout pass:x",
        "-nomac -certpbe AES-256-CBC -passout pass:x",
    ];
    for option in options {
        bench.openssl(&format!("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 {option}")).unwrap();
        let read = import::pkcs12(&bench.read("siti.p12"), "x").unwrap_or_else(|error| panic!("{option}: {error}"));
        let (imported, warnings) = only(read);
        assert_eq!(warnings.len(), usize::from(option.contains("-nomac")), "{warnings:?}");
        signs(&imported, SignatureAlgorithm::Ecdsa(Digest::Sha256));
    }
    bench.openssl("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -passout pass:").unwrap();
    import::pkcs12(&bench.read("siti.p12"), "").unwrap();
}

/// `der` as BER writers spell it: indefinite lengths, octet strings in two pieces.
fn to_ber(mut der: &[u8]) -> Vec<u8> {
    let mut ber = Vec::new();
    while !der.is_empty() {
        let (tlv, rest) = crate::asn1::read_tlv(der).unwrap();
        match tlv.tag {
            0x04 => ber.extend(in_pieces(0x24, tlv.content)),
            0x80 => ber.extend(in_pieces(0xa0, tlv.content)),
            tag if tag & 0x20 != 0 => ber.extend([&[tag, 0x80], &to_ber(tlv.content)[..], &[0, 0]].concat()),
            _ => ber.extend(tlv.whole),
        }
        der = rest;
    }
    ber
}

fn in_pieces(tag: u8, content: &[u8]) -> Vec<u8> {
    let (a, b) = content.split_at(content.len() / 2);
    let piece = |octets: &[u8]| der::Encode::to_der(&der::asn1::OctetString::new(octets).unwrap()).unwrap();
    [&[tag, 0x80], &piece(a)[..], &piece(b), &[0, 0]].concat()
}

#[test]
fn p20_pkcs12_in_ber_is_read() {
    let bench = Bench::new();
    bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    let command = "pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -passout pass:x";
    bench.openssl(command).unwrap();
    // Under a MAC only the outer layer can be written in another way.
    let (imported, _) = only(import::pkcs12(&to_ber(&bench.read("siti.p12")), "x").unwrap());
    signs(&imported, SignatureAlgorithm::Ecdsa(Digest::Sha256));
    // Without one, all of it.
    bench.openssl(&format!("{command} -nomac -certpbe AES-256-CBC")).unwrap();
    let file = bench.read("siti.p12");
    let safe = file.windows(4).position(|octets| octets[..2] == [0x04, 0x82] && octets[2] < 8).unwrap();
    let (safe, _) = crate::asn1::read_tlv(&file[safe..]).unwrap();
    let info = [
        &b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80"[..],
        &in_pieces(0x24, &to_ber(safe.content)),
        &[0, 0],
    ];
    let file = [&b"\x30\x80\x02\x01\x03\x30\x80"[..], &info.concat(), &[0, 0, 0, 0]].concat();
    let (imported, _) = only(import::pkcs12(&file, "x").unwrap());
    signs(&imported, SignatureAlgorithm::Ecdsa(Digest::Sha256));
}

#[test]
fn p20_pkcs12_without_mac_must_be_encrypted_as_a_whole() {
    let bench = Bench::new();
    bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    // The last is what OpenSSL does by default: it leaves the certificates in clear where there is no MAC.
    for clear in ["-certpbe NONE", "-keypbe NONE", "-keypbe NONE -certpbe NONE", "-keypbe AES-256-CBC"] {
        let command =
            format!("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -nomac {clear} -passout pass:x");
        bench.openssl(&command).unwrap();
        let error = import::pkcs12(&bench.read("siti.p12"), "x").unwrap_err();
        assert!(matches!(error, KeyError::NoIntegrity), "{clear}: {error:?}");
    }
}

#[test]
fn p20_legacy_encryption_of_pem_keys_is_refused_by_name() {
    let bench = Bench::new();
    bench.pair("siti", "rsa:2048", "siti@kabupaten.go.id", FOR_MAIL);
    bench.openssl("pkcs8 -topk8 -v1 PBE-SHA1-3DES -in siti.key -out old.key -passout pass:x").unwrap();
    let text = import::pem(&bench.read("siti.pem"), &bench.read("old.key"), Some("x")).unwrap_err().to_string();
    assert!(text.contains("pbeWithSHAAnd3-KeyTripleDES-CBC") && text.contains("openssl pkcs8 -topk8 -v2"), "{text}");

    bench.openssl("rsa -traditional -aes128 -in siti.key -out dek.key -passout pass:x").unwrap();
    let text = import::pem(&bench.read("siti.pem"), &bench.read("dek.key"), Some("x")).unwrap_err().to_string();
    assert!(text.contains("AES-128-CBC") && text.contains("openssl pkcs8 -topk8 -v2"), "{text}");
}

#[test]
fn p20_pkcs12_of_ours_is_read_by_openssl_and_by_us() {
    let bench = Bench::new();
    bench.pair("root", P256, "", &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"]);
    let root = crate::pki::Certificate::bundle(&bench.read("root.pem")).unwrap();
    let certificate = bench.issue("siti", "root", "siti@kabupaten.go.id", FOR_MAIL);
    let file = pkcs12::write(&bench.pkcs8("siti"), &certificate, &root, "demo", "Siti Rahayu").unwrap();
    bench.write("ours.p12", &file);
    let info = bench.openssl("pkcs12 -in ours.p12 -passin pass:demo -nodes").unwrap();
    assert!(info.contains("friendlyName: Siti Rahayu") && info.contains("localKeyID"), "{info}");
    assert_eq!(info.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(bench.openssl("pkcs12 -in ours.p12 -passin pass:Demo -nodes").is_err());
    let (imported, _) = only(import::pkcs12(&file, "demo").unwrap());
    assert_eq!(imported.key_der, bench.pkcs8("siti"));
    assert_eq!(imported.chain.len(), 1);
    assert!(matches!(import::pkcs12(&file, "Demo").unwrap_err(), KeyError::Password(_)));
}

#[test]
fn p20_the_key_decides_which_certificate_and_chain_is_its_own() {
    let bench = Bench::new();
    let ca = ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"];
    bench.pair("root", P256, "", &ca);
    bench.issue("issuing", "root", "", &ca);
    let certificate = bench.issue("siti", "issuing", "siti@kabupaten.go.id", FOR_MAIL);
    bench.issue("budi", "issuing", "budi@kabupaten.go.id", FOR_MAIL);
    let all = ["budi.pem", "root.pem", "siti.pem", "issuing.pem"].map(|name| bench.read(name)).concat();
    bench.write("all.pem", &all);
    bench.openssl("pkcs12 -export -in all.pem -inkey siti.key -out all.p12 -passout pass:x").unwrap();
    let from_pem = import::pem(&all, &bench.read("siti.key"), None).unwrap();
    for imported in [import::pkcs12(&bench.read("all.p12"), "x").unwrap(), from_pem] {
        let (imported, _) = only(imported);
        assert_eq!(imported.certificate.der(), certificate.der());
        let chain: Vec<_> = imported.chain.iter().map(|issuer| issuer.subject().to_string()).collect();
        assert_eq!(chain, ["CN=issuing", "CN=root"]);
    }
    let error = import::pem(&bench.read("budi.pem"), &bench.read("siti.key"), None).unwrap_err();
    assert!(matches!(error, KeyError::Mismatch), "{error:?}");
}

#[test]
fn p20_pem_keys_in_every_spelling() {
    let bench = Bench::new();
    bench.pair("rsa", "rsa:2048", "siti@kabupaten.go.id", FOR_MAIL);
    bench.pair("ec", P256, "siti@kabupaten.go.id", FOR_MAIL);
    bench.openssl("rsa -traditional -in rsa.key -out rsa.pkcs1").unwrap();
    bench.openssl("ec -in ec.key -out ec.sec1").unwrap();
    for prf in ["hmacWithSHA1", "hmacWithSHA256", "hmacWithSHA512"] {
        bench
            .openssl(&format!("pkcs8 -topk8 -v2 aes-256-cbc -v2prf {prf} -in ec.key -out ec.{prf} -passout pass:x"))
            .unwrap();
    }
    bench.openssl("ecparam -name prime256v1 -out parameters").unwrap();
    bench.write("ec.parameters", &[bench.read("parameters"), bench.read("ec.sec1")].concat());
    let files = [
        "rsa.key",
        "rsa.pkcs1",
        "ec.key",
        "ec.sec1",
        "ec.parameters",
        "ec.hmacWithSHA1",
        "ec.hmacWithSHA256",
        "ec.hmacWithSHA512",
    ];
    for file in files {
        let certificate = bench.read(if file.starts_with("rsa") { "rsa.pem" } else { "ec.pem" });
        let key = bench.read(file);
        import::pem(&certificate, &key, Some("x")).unwrap_or_else(|error| panic!("{file}: {error}"));
        if file.contains("hmac") {
            assert!(matches!(import::pem(&certificate, &key, None).unwrap_err(), KeyError::PasswordNeeded(_)));
            assert!(matches!(import::pem(&certificate, &key, Some("y")).unwrap_err(), KeyError::Password(_)));
        }
    }
    assert!(matches!(import::pem(&bench.read("ec.pem"), b"", None).unwrap_err(), KeyError::NoKey));
}

#[test]
fn o27_what_can_be_used_for_no_mail_is_refused_at_import() {
    let bench = Bench::new();
    let cases: [(&str, &[&str], Option<Unfit>); 11] = [
        ("rsa:1024", FOR_MAIL, Some(Unfit::ShortKey(1024))),
        (P256, &["basicConstraints=CA:FALSE", "keyUsage=keyEncipherment"], Some(Unfit::KeyUsage)),
        ("rsa:2048", &["basicConstraints=CA:FALSE", "keyUsage=keyAgreement"], Some(Unfit::KeyUsage)),
        ("rsa:2048", &["basicConstraints=CA:FALSE", "keyUsage=keyCertSign"], Some(Unfit::KeyUsage)),
        (P256, &["basicConstraints=CA:FALSE", "keyUsage=nonRepudiation"], None),
        (P256, &["basicConstraints=CA:FALSE", "extendedKeyUsage=clientAuth,serverAuth"], Some(Unfit::ExtendedKeyUsage)),
        (P256, &["basicConstraints=CA:FALSE", "extendedKeyUsage=anyExtendedKeyUsage"], None),
        (P256, &["basicConstraints=CA:FALSE"], None),
        (P256, &["basicConstraints=critical,CA:TRUE", "keyUsage=digitalSignature"], Some(Unfit::Authority)),
        ("ec -pkeyopt ec_paramgen_curve:P-521", FOR_MAIL, Some(Unfit::KeyType)),
        ("ed25519", FOR_MAIL, Some(Unfit::KeyType)),
    ];
    for (key, extensions, expected) in cases {
        bench.pair("siti", key, "siti@kabupaten.go.id", extensions);
        let found = match import::pem(&bench.read("siti.pem"), &bench.read("siti.key"), None) {
            Ok(_) => None,
            Err(KeyError::Unfit { why, .. }) => Some(why),
            Err(other) => panic!("{key} {extensions:?}: {other:?}"),
        };
        assert_eq!(found, expected, "{key} {extensions:?}");
    }
}

#[test]
fn hostile_pkcs12_ends_in_an_error() {
    let bench = Bench::new();
    bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    bench.openssl("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -passout pass:x -iter 1").unwrap();
    let good = bench.read("siti.p12");
    for length in 0..good.len() {
        assert!(import::pkcs12(&good[..length], "x").is_err(), "cut at {length}");
    }
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            // Whatever it is, it ends; what is under the MAC cannot change.
            if let Ok(imported) = import::pkcs12(&bad, "x") {
                signs(&only(imported).0, SignatureAlgorithm::Ecdsa(Digest::Sha256));
            }
        }
    }
    assert!(matches!(import::pkcs12(&vec![0x30; 2 << 20], "x").unwrap_err(), KeyError::TooComplex(_)));
}

#[test]
fn p44_no_password_and_no_key_in_any_text() {
    let bench = Bench::new();
    bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    const CANARY: &str = "kenari-9f3b";
    bench
        .openssl(&format!("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -passout pass:{CANARY}"))
        .unwrap();
    bench.openssl(&format!("pkcs8 -topk8 -v2 aes-256-cbc -in siti.key -out siti.enc -passout pass:{CANARY}")).unwrap();
    let (file, certificate, key) = (bench.read("siti.p12"), bench.read("siti.pem"), bench.read("siti.enc"));
    let wrong = format!("{CANARY}-salah");
    let texts = [
        format!("{:?}", import::pkcs12(&file, CANARY).unwrap()),
        format!("{:?}", import::pem(&certificate, &key, Some(CANARY)).unwrap()),
        format!("{:?} {0}", import::pkcs12(&file, &wrong).unwrap_err()),
        format!("{:?} {0}", import::pem(&certificate, &key, Some(&wrong)).unwrap_err()),
        format!("{:?}", OpenKey::from_pkcs8(&bench.pkcs8("siti")).unwrap()),
    ];
    for text in texts {
        assert!(!text.contains(CANARY) && text.len() < 400, "{text}");
    }
}
