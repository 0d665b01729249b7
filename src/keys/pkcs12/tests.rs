//! Old files, files with several pairs, and the files of others.

use super::super::{KeyError, import};
use super::read;
use crate::keys::tests::bench::{Bench, FOR_MAIL};

const RSA: &str = "rsa:2048";
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

#[test]
fn p20_files_in_old_encryption_are_read_with_a_warning() {
    let bench = Bench::new();
    let certificate = bench.pair("siti", RSA, "siti@kabupaten.go.id", FOR_MAIL);
    let triple = "pbeWithSHAAnd3-KeyTripleDES-CBC";
    let cases: [(&str, &[&str]); 6] = [
        ("-legacy", &["pbeWithSHAAnd40BitRC2-CBC", triple]),
        ("-legacy -descert", &[triple]),
        (
            "-legacy -keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-RC2-128",
            &["pbeWithSHAAnd128BitRC2-CBC", "pbeWithSHAAnd2-KeyTripleDES-CBC"],
        ),
        ("-legacy -keypbe PBE-SHA1-RC2-40 -certpbe AES-256-CBC -macalg sha256", &["pbeWithSHAAnd40BitRC2-CBC"]),
        ("-legacy -iter 1 -nomaciter", &["pbeWithSHAAnd40BitRC2-CBC", triple]),
        ("-legacy -iter 20000 -maciter", &["pbeWithSHAAnd40BitRC2-CBC", triple]),
    ];
    for password in ["rahasia-é", "", "x"] {
        for (options, algorithms) in cases {
            let command = format!("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 {options}");
            bench.openssl(&format!("{command} -passout pass:{password}")).unwrap();
            let file = bench.read("siti.p12");
            let found = import::pkcs12(&file, password).unwrap_or_else(|error| panic!("{options}: {error}"));
            assert_eq!(found.pairs[0].certificate.der(), certificate.der(), "{options}");
            assert_eq!(found.warnings.len(), algorithms.len(), "{options}: {:?}", found.warnings);
            for (warning, algorithm) in found.warnings.iter().zip(algorithms) {
                assert!(warning.contains(algorithm) && warning.contains("destroy the file"), "{warning}");
            }
            let error = import::pkcs12(&file, "salah").unwrap_err();
            assert!(matches!(error, KeyError::Password(_)), "{options}: {error:?}");
        }
    }
}

#[test]
fn p20_files_in_old_encryption_without_mac_end_in_the_password() {
    let bench = Bench::new();
    bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    bench
        .openssl("pkcs12 -export -legacy -nomac -certpbe PBE-SHA1-RC2-40 -in siti.pem -inkey siti.key -out siti.p12 -passout pass:x")
        .unwrap();
    let file = bench.read("siti.p12");
    assert_eq!(import::pkcs12(&file, "x").unwrap().warnings.len(), 3);
    assert!(import::pkcs12(&file, "y").is_err());
    // Whatever is changed in it, it ends.
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 0x11;
        import::pkcs12(&bad, "x").ok();
    }
}

#[test]
fn p20_rc4_and_pbes1_stay_refused_by_name() {
    let bench = Bench::new();
    bench.pair("siti", RSA, "siti@kabupaten.go.id", FOR_MAIL);
    for (option, name) in [
        ("PBE-SHA1-RC4-128", "pbeWithSHAAnd128BitRC4"),
        ("PBE-SHA1-RC4-40", "pbeWithSHAAnd40BitRC4"),
        ("PBE-MD5-DES", "pbeWithMD5AndDES-CBC"),
    ] {
        let command = format!(
            "pkcs12 -export -legacy -keypbe {option} -certpbe AES-256-CBC -in siti.pem -inkey siti.key -out siti.p12 -passout pass:x"
        );
        bench.openssl(&command).unwrap();
        let text = import::pkcs12(&bench.read("siti.p12"), "x").unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("openssl pkcs12 -legacy -in"), "{text}");
    }
}

#[test]
fn p20_every_pair_of_a_file_is_taken() {
    let bench = Bench::new();
    let mail = "siti@kabupaten.go.id";
    let sign = bench.pair("sign", P256, mail, FOR_MAIL);
    let usage = |usage| ["basicConstraints=CA:FALSE", usage, "extendedKeyUsage=emailProtection"];
    let open = bench.pair("open", RSA, mail, &usage("keyUsage=keyEncipherment"));
    bench.pair("web", RSA, mail, &["basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth"]);
    // A second certificate for the same key, as after a renewal.
    bench.openssl("x509 -in open.pem -signkey open.key -set_serial 77 -days 9 -out renewed.pem").unwrap();
    let renewed = crate::pki::Certificate::bundle(&bench.read("renewed.pem")).unwrap().remove(0);

    let pairs = ["sign", "open", "web"].map(|name| {
        let certificate = crate::pki::Certificate::bundle(&bench.read(&format!("{name}.pem"))).unwrap().remove(0);
        (bench.pkcs8(name), certificate)
    });
    let keys = pairs.iter().map(|(key, _)| key.clone()).collect();
    let mut certificates: Vec<_> = pairs.iter().map(|(_, certificate)| certificate.clone()).collect();
    certificates.push(renewed.clone());
    let found = import::choose(keys, &certificates, Vec::new()).unwrap();
    let mut uses: Vec<_> = found.pairs.iter().map(|pair| (pair.certificate.sha256(), pair.uses)).collect();
    let mut expected = vec![
        (sign.sha256(), import::Uses { sign: true, decrypt: false }),
        (open.sha256(), import::Uses { sign: false, decrypt: true }),
        (renewed.sha256(), import::Uses { sign: false, decrypt: true }),
    ];
    uses.sort_by_key(|(id, _)| *id);
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!(uses, expected);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert!(found.warnings[0].contains("emailProtection"), "{:?}", found.warnings);
}

/// The AuthenticatedSafe's content in a file without a MAC: `PFX { version, ContentInfo { id-data, [0] OCTET STRING } }`.
fn safes(file: &[u8]) -> Vec<u8> {
    let inside = |der: &[u8]| crate::asn1::read_tlv(der).unwrap().0.content.to_vec();
    let after = |der: &[u8]| crate::asn1::read_tlv(der).unwrap().1.to_vec();
    let info = inside(&after(&inside(file)));
    inside(&inside(&inside(&after(&info))))
}

#[test]
fn p20_a_file_with_two_pairs_is_two_keys() {
    let bench = Bench::new();
    let mail = "siti@kabupaten.go.id";
    bench.pair("sign", P256, mail, FOR_MAIL);
    let to_open = ["basicConstraints=CA:FALSE", "keyUsage=keyEncipherment", "extendedKeyUsage=emailProtection"];
    bench.pair("open", RSA, mail, &to_open);
    let mut both = Vec::new();
    for name in ["sign", "open"] {
        let command = format!(
            "pkcs12 -export -nomac -certpbe AES-256-CBC -in {name}.pem -inkey {name}.key -out {name}.p12 -passout pass:x"
        );
        bench.openssl(&command).unwrap();
        both.extend(safes(&bench.read(&format!("{name}.p12"))));
    }
    let wrap = crate::asn1::write_tlv;
    let content = wrap(0xa0, &wrap(0x04, &wrap(0x30, &both)));
    let info = [&b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"[..], &content].concat();
    let file = wrap(0x30, &[&b"\x02\x01\x03"[..], &wrap(0x30, &info)].concat());
    bench.write("both.p12", &file);
    let read = bench.openssl("pkcs12 -in both.p12 -passin pass:x -nodes").unwrap();
    assert_eq!(read.matches("BEGIN PRIVATE KEY").count(), 2, "OpenSSL reads the same");
    let found = import::pkcs12(&file, "x").unwrap();
    let mut uses: Vec<_> = found.pairs.iter().map(|pair| (pair.uses.sign, pair.uses.decrypt)).collect();
    uses.sort_unstable();
    assert_eq!(uses, [(false, true), (true, false)]);
}

/// Files below a folder of the corpora, and how many of them must open.
fn corpus(folder: &str, password: &str, at_least: usize, except: &[&str]) {
    let Some(corpora) = std::env::var_os("SEGEL_CORPORA") else {
        println!("SEGEL_CORPORA is not set: the files of others were not read.");
        return;
    };
    let mut waiting = vec![std::path::PathBuf::from(corpora).join(folder)];
    let mut opened = 0;
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                waiting.push(path);
            } else if name.ends_with(".p12") || name.ends_with(".pfx") {
                #[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
                let file = std::fs::read(&path).unwrap();
                let contents = read(&file, password);
                if except.iter().any(|except| name.contains(except)) {
                    assert!(contents.is_err(), "{}", path.display());
                    continue;
                }
                let contents = contents.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(!contents.certificates.is_empty() || !contents.keys.is_empty(), "{}", path.display());
                opened += 1;
            }
        }
    }
    assert!(opened >= at_least, "{folder}: {opened}");
}

#[test]
fn p20_files_of_others_are_read() {
    corpus("thunderbird", "nss", 10, &[]);
    corpus("mimekit", "no.secret", 10, &[]);
    corpus("pkits/pkcs12", "password", 400, &[]);
}

#[test]
fn p20_pbmac1_files_of_others_are_read() {
    let good = ["pbmac1_256_256.good.p12", "pbmac1_512_256.good.p12", "pbmac1_512_512.good.p12"];
    let Some(corpora) = std::env::var_os("SEGEL_CORPORA") else {
        println!("SEGEL_CORPORA is not set: the files of others were not read.");
        return;
    };
    let folder = std::path::PathBuf::from(corpora).join("openssl/recipes/80-test_pkcs12_data");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("pbmac1") || !name.ends_with(".p12") {
            continue;
        }
        #[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
        let file = std::fs::read(&path).unwrap();
        let found = read(&file, "1234");
        if good.contains(&name.as_str()) {
            let contents = found.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((contents.keys.len(), contents.certificates.len()), (1, 1), "{name}");
        } else if name.contains("bad") {
            assert!(found.is_err(), "{name}");
        }
    }
}
