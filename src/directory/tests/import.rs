//! What operators do.

use super::super::{Directory, DirectoryError, Trust};
use super::{BOTH, Bench, CA, FOR_MAIL, P256, address, events, id, ids, open, twin};
use crate::limits::Limits;
use crate::mail::Address;
use crate::pki::path::AnchorSource;
use crate::pki::recipient::{RecipientRequest, check};
use crate::pki::{Certificate, Harvesting, RevocationMode, TrustAnchor};
use crate::reason::Reason;

const BUDI: &str = "budi@kota.example";
const RINA: &str = "rina@kota.example";

#[tokio::test]
async fn p10_whom_a_certificate_stands_for_is_what_it_names_or_what_the_operator_says() {
    let bench = Bench::new();
    let issuing = bench.pair("root", P256, "", CA);
    let named = bench.issue("named", "root", &format!("{BUDI},email:{RINA}"), BOTH);
    let nameless = bench.issue("nameless", "root", "", BOTH);
    let signs = bench.issue("signs", "root", BUDI, FOR_MAIL);
    let (store, audit, directory) = open(&bench).await;
    let table = [
        (vec![&nameless], vec![], "NoAddress"),
        (vec![&named], vec!["orang@kota.example"], "AddressNotNamed"),
        (vec![&named], vec![BUDI, "orang@kota.example"], "AddressNotNamed"),
        (vec![&named, &nameless], vec![BUDI], "NotOne(2)"),
        (vec![&issuing], vec![BUDI], "NotOne(0)"),
        (vec![&named, &signs], vec![], "Unfit"),
    ];
    for (certificates, addresses, expected) in table {
        let certificates: Vec<_> = certificates.into_iter().cloned().collect();
        let addresses: Vec<Address> = addresses.into_iter().map(address).collect();
        let error = directory.import_certificates(&certificates, &addresses).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{expected}: {error:?}");
    }
    assert!(directory.digests().is_empty(), "all of a file or nothing");

    let chain = [named.clone(), issuing.clone()];
    let rows = directory.import_certificates(&chain, &[address("BUDI@Kota.Example")]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.addresses.len()).collect::<Vec<_>>(), [1, 0]);
    assert!(ids(&directory, RINA).is_empty());
    directory.import_certificates(&chain, &[]).await.unwrap();
    directory.import_certificates(&chain, &[]).await.unwrap();
    directory.import_certificates(std::slice::from_ref(&nameless), &[address("dinas@kota.example")]).await.unwrap();
    let reopened = Directory::open(store.clone(), audit).await.unwrap();
    for directory in [&directory, &reopened] {
        assert_eq!((ids(directory, BUDI), ids(directory, RINA)), (vec![id(&named)], vec![id(&named)]));
        let [known] = directory.for_mailbox(&address("dinas@kota.example")).try_into().unwrap();
        assert_eq!((known.bound_by_operator, known.trust), (true, Trust::Imported));
        assert_eq!(known.chain, std::slice::from_ref(&issuing));
    }
    assert_eq!(events(&store).await, ["certificate-imported"; 4], "budi, the CA, rina, dinas");
}

/// Which keys and which uses can be encrypted to at all.
#[tokio::test]
async fn o31_only_what_can_be_encrypted_to_is_taken_in() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let (_, _, directory) = open(&bench).await;
    let agree = "keyUsage=keyAgreement";
    let encipher = "keyUsage=keyEncipherment";
    let table: [(&str, &[&str], bool); 11] = [
        ("EC -pkeyopt ec_paramgen_curve:P-256", &[agree], true),
        ("EC -pkeyopt ec_paramgen_curve:P-521", &[agree], true),
        ("EC -pkeyopt ec_paramgen_curve:P-256", &[], true),
        ("EC -pkeyopt ec_paramgen_curve:P-256", &[encipher], false),
        ("EC -pkeyopt ec_paramgen_curve:brainpoolP256r1", &[agree], false),
        ("X25519", &[agree], true),
        ("ED25519", &[], false),
        ("RSA -pkeyopt rsa_keygen_bits:2048", &[encipher], true),
        ("RSA -pkeyopt rsa_keygen_bits:2048", &[agree], false),
        ("X25519", &[agree, "extendedKeyUsage=emailProtection"], true),
        ("X25519", &[agree, "extendedKeyUsage=serverAuth"], false),
    ];
    bench.issue("any", "root", BUDI, BOTH);
    for (key, extensions, expected) in table {
        bench.openssl(&format!("genpkey -algorithm {key} -out it.key")).unwrap();
        bench.openssl("pkey -in it.key -pubout -out it.pub").unwrap();
        let lines = [extensions, &["basicConstraints=CA:FALSE", "subjectAltName=email:budi@kota.example"]].concat();
        bench.write("it.ext", lines.join("\n").as_bytes());
        let issue = "x509 -req -in any.csr -force_pubkey it.pub -CA root.pem -CAkey root.key -CAcreateserial -extfile it.ext -out it.pem";
        bench.openssl(issue).unwrap();
        let certificate = Certificate::bundle(&bench.read("it.pem")).unwrap();
        let taken = directory.import_certificates(&certificate, &[]).await;
        assert_eq!(taken.is_ok(), expected, "{key} {extensions:?}: {taken:?}");
    }
}

#[tokio::test]
async fn a_blocked_certificate_is_known_by_its_digest_at_once() {
    let bench = Bench::new();
    let issuing = bench.pair("root", P256, "", CA);
    let certificate = bench.issue("budi", "root", BUDI, BOTH);
    let (store, _, directory) = open(&bench).await;
    directory.import_certificates(&[certificate.clone(), issuing.clone()], &[]).await.unwrap();
    for bad in ["", "0123456", "not hex!"] {
        assert!(matches!(directory.block(bad).await.unwrap_err(), DirectoryError::Prefix(_)), "{bad}");
    }
    assert!(matches!(directory.block("00000000").await.unwrap_err(), DirectoryError::UnknownCertificate(_)));
    let prefix: Vec<_> = certificate.sha256().iter().take(5).map(|octet| format!("{octet:02X}")).collect();
    for _ in 0..2 {
        assert!(directory.block(&prefix.join(":")).await.unwrap().blocked);
    }
    assert!(directory.blocked().contains(&certificate.sha256()));
    assert!(directory.for_mailbox(&address(BUDI))[0].blocked);
    directory.reload().await.unwrap();
    assert_eq!(directory.blocked().len(), 2);
    // Anybody can write the same certificate with another fingerprint.
    let twin = twin(&certificate);
    assert!(twin.sha256() != certificate.sha256() && twin.verify_signed_by(&issuing).is_ok());
    assert!(twin.is_among(&directory.blocked()) && !issuing.is_among(&directory.blocked()));
    // Importing it again does not lift what somebody has decided.
    directory.import_certificates(std::slice::from_ref(&certificate), &[]).await.unwrap();
    assert!(directory.for_mailbox(&address(BUDI))[0].blocked);
    for _ in 0..2 {
        assert!(!directory.unblock(&id(&certificate)).await.unwrap().blocked);
    }
    assert!(directory.blocked().is_empty());
    directory.block(&id(&issuing)).await.unwrap();
    assert!(directory.for_mailbox(&address(BUDI))[0].chain.is_empty(), "no path leads over a blocked CA");
    let events = events(&store).await;
    assert_eq!(
        events[2..],
        ["certificate-blocked", "certificate-unblocked", "certificate-blocked"],
        "one event for each change"
    );
}

#[tokio::test]
async fn s14_a_certificate_for_many_mailboxes_is_parsed_once_while_it_is_in_use() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let many: Vec<String> = (0..200).map(|number| format!("p{number}@kota.example")).collect();
    let certificate = bench.issue("many", "root", &many.join(",email:"), BOTH);
    let (_, _, directory) = open(&bench).await;
    directory.import_certificates(std::slice::from_ref(&certificate), &[]).await.unwrap();
    let known: Vec<_> = many.iter().map(|whom| directory.for_mailbox(&address(whom)).remove(0).certificate).collect();
    let first = known[0].addresses().as_ptr();
    assert!(known.iter().all(|certificate| certificate.addresses().as_ptr() == first));
    let weak = known[0].downgrade();
    drop(known);
    assert!(weak.is_gone(), "only as long as somebody needs it");
    assert!(directory.knows(&address("P7@Kota.example")) && !directory.knows(&address("p200@kota.example")));
}

#[tokio::test]
async fn o31_a_key_that_nothing_can_be_sealed_to_is_not_taken_in() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    bench.issue("any", "root", BUDI, BOTH);
    bench.openssl("pkey -in any.key -pubout -outform DER -out any.spki").unwrap();
    let (good, mut bad) = (bench.read("any.spki"), bench.read("any.spki"));
    *bad.last_mut().unwrap() ^= 1;
    // OpenSSL makes no certificate for such a key; nobody verifies the CA's signature when a certificate is taken in.
    bench.openssl("x509 -in any.pem -outform DER -out any.der").unwrap();
    let mut der = bench.read("any.der");
    let at = der.windows(good.len()).position(|window| window == good).unwrap();
    der[at..at + bad.len()].copy_from_slice(&bad);
    let certificate = Certificate::from_der(&der).unwrap();
    let (_, _, directory) = open(&bench).await;
    let error = directory.import_certificates(&[certificate], &[]).await.unwrap_err();
    assert!(format!("{error:?}").ends_with("why: Key }"), "{error:?}");
    assert!(directory.digests().is_empty());
}

/// As when such a certificate was taken in by an older version: it counts as none that can be used, and mail to it is not
/// deferred without end.
#[test]
fn o31_a_key_that_nothing_can_be_sealed_to_is_unsupported() {
    let bench = Bench::new();
    let good = bench.pair("self", P256, BUDI, BOTH);
    let mut der = good.der().to_vec();
    let at = der.windows(good.spki_der().len()).position(|window| window == good.spki_der()).unwrap();
    der[at + good.spki_der().len() - 1] ^= 1;
    let bad = Certificate::from_der(&der).unwrap();
    for (certificate, expected) in [(good, None), (bad, Some(vec![Reason::Unsupported]))] {
        // Its own anchor: nothing is verified with the key, nor is a signature over it.
        let anchor = TrustAnchor {
            certificate: certificate.clone(),
            revocation: RevocationMode::None,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: Harvesting::default(),
        };
        let (result, _) = check(&RecipientRequest {
            certificate: &certificate,
            address: Some(&address(BUDI)),
            untrusted: &[],
            anchors: &[anchor],
            crls: &[],
            blocked: &std::collections::HashSet::new(),
            at: crate::clock::now(),
            limits: &Limits::default(),
        });
        assert_eq!(result.err(), expected);
    }
}

#[tokio::test]
async fn a_certificate_with_more_names_than_anybody_looks_at_says_so() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let many: Vec<String> = (0..1001).map(|number| format!("p{number}@kota.example")).collect();
    let certificate = bench.issue("many", "root", &many.join(",email:"), BOTH);
    let (_, _, directory) = open(&bench).await;
    for addresses in [vec![], vec![address("p1@kota.example")]] {
        let error = directory.import_certificates(std::slice::from_ref(&certificate), &addresses).await.unwrap_err();
        assert!(matches!(error, DirectoryError::TooManyAddresses(_)), "{error:?}");
        assert!(error.to_string().contains("more than 1,000 addresses"), "{error}");
    }
}
