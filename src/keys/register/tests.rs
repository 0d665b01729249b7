//! The register over a real store.

use super::super::{Custody, KeyBackend, KeyError, import};
use super::{ImportRequest, Keys, context};
use crate::audit::Audit;
use crate::cms::recipient_info::{Agreement, Derivation, RecipientIdentifier, SealedKey};
use crate::crypto::{self, Digest, SignatureAlgorithm};
use crate::keys::tests::bench::{Bench, FOR_MAIL};
use crate::mail::{Address, Domain};
use crate::pki::Certificate;
use crate::policy::KeyKind;
use crate::seal::{MasterKey, SealError};
use crate::store::Store;
use std::sync::Arc;

const ES256: SignatureAlgorithm = SignatureAlgorithm::Ecdsa(Digest::Sha256);
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

struct World {
    bench: Bench,
    store: Store,
    master: Arc<MasterKey>,
    audit: Audit,
    keys: Keys,
}

impl World {
    async fn new() -> Self {
        let bench = Bench::new();
        let store = Store::open(&bench.path("segel.db")).await.unwrap();
        let master = Arc::new(MasterKey::ephemeral());
        let audit = Audit::open(store.clone(), Arc::clone(&master)).await.unwrap();
        let keys = Keys::open(store.clone(), Arc::clone(&master), audit.clone()).await.unwrap();
        Self { bench, store, master, audit, keys }
    }

    fn request(&self, name: &str, kind: KeyKind, addresses: &[&str]) -> ImportRequest {
        let mail = format!("{name}@kabupaten.go.id");
        ImportRequest {
            certificate: self.bench.pair(name, P256, &mail, FOR_MAIL),
            key_der: self.bench.pkcs8(name),
            addresses: addresses.iter().map(|text| address(text)).collect(),
            kind,
            custody: Custody::Gateway,
            chain: Vec::new(),
        }
    }

    async fn events(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT event FROM audit ORDER BY seq").fetch_all(self.store.readers()).await.unwrap()
    }

    async fn reopened(&self, master: &Arc<MasterKey>) -> Keys {
        Keys::open(self.store.clone(), Arc::clone(master), self.audit.clone()).await.unwrap()
    }
}

#[tokio::test]
async fn o20_the_mailbox_chooses_the_key_and_no_other_does() {
    let world = World::new().await;
    let siti = world.keys.import(world.request("siti", KeyKind::Individual, &["siti@kabupaten.go.id"])).await.unwrap();
    let dinas = world.keys.import(world.request("dinas", KeyKind::Organisation, &[])).await.unwrap();
    let found = |text: &str| world.keys.for_mailbox(&address(text)).into_iter().map(|key| key.id).collect::<Vec<_>>();
    for (text, expected) in [
        ("siti@kabupaten.go.id", vec![siti.id.clone()]),
        ("Siti@KABUPATEN.go.id", vec![siti.id.clone()]),
        ("dinas@kabupaten.go.id", vec![dinas.id.clone()]),
        ("siti+arsip@kabupaten.go.id", vec![]),
        ("siti@kota.go.id", vec![]),
        ("sit@kabupaten.go.id", vec![]),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
    let substitutes = |domain: &str, kind| world.keys.substitutes(&Domain::parse(domain).unwrap(), kind).len();
    assert_eq!(substitutes("kabupaten.go.id", KeyKind::Organisation), 1);
    assert_eq!(substitutes("kabupaten.go.id", KeyKind::System), 0);
    assert_eq!(substitutes("kabupaten.go.id", KeyKind::Individual), 0);
    assert_eq!(substitutes("kota.go.id", KeyKind::Organisation), 0);
    // A newer certificate for the same mailbox comes first, a blocked one last.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let newer = world.keys.import(world.request("siti", KeyKind::Individual, &[])).await.unwrap();
    assert_eq!(found("siti@kabupaten.go.id"), [newer.id.clone(), siti.id.clone()]);
    world.keys.block(&newer.id).await.unwrap();
    assert_eq!(found("siti@kabupaten.go.id"), [siti.id, newer.id]);
}

#[tokio::test]
async fn o20_an_address_that_the_certificate_does_not_name_is_refused() {
    let world = World::new().await;
    let request = world.request("siti", KeyKind::Individual, &["siti@kabupaten.go.id", "budi@kabupaten.go.id"]);
    let error = world.keys.import(request).await.unwrap_err();
    assert!(
        matches!(&error, KeyError::AddressNotNamed { address, .. } if address == "budi@kabupaten.go.id"),
        "{error}"
    );
    let nameless = ImportRequest {
        certificate: world.bench.pair("x", P256, "", FOR_MAIL),
        key_der: world.bench.pkcs8("x"),
        ..world.request("siti", KeyKind::System, &[])
    };
    assert!(matches!(world.keys.import(nameless).await.unwrap_err(), KeyError::NoAddress));
    assert!(world.keys.list().is_empty() && world.events().await.is_empty());
}

#[tokio::test]
async fn p22_keys_are_sealed_at_rest_and_bound_to_their_row() {
    let world = World::new().await;
    let request = world.request("siti", KeyKind::Individual, &[]);
    let plain = request.key_der.clone();
    let certificate = request.certificate.clone();
    let entry = world.keys.import(request).await.unwrap();
    let signature = world.keys.sign(&entry.id, ES256, b"pesan").unwrap();
    crypto::verify(ES256, certificate.spki_der(), b"pesan", &signature).unwrap();

    // Nothing of the private number stands in any file of the database. (The public half does, in the certificate.)
    let secret = plain[36..68].to_vec();
    for file in ["segel.db", "segel.db-wal", "segel.db-shm"] {
        let octets = if world.bench.path(file).exists() { world.bench.read(file) } else { Vec::new() };
        assert!(!octets.windows(16).any(|window| secret.windows(16).any(|part| part == window)), "{file}");
    }
    // It opens after a restart with the same master key, not with another.
    world.reopened(&world.master).await.sign(&entry.id, ES256, b"pesan").unwrap();
    let other = world.reopened(&Arc::new(MasterKey::ephemeral())).await;
    let error = other.sign(&entry.id, ES256, b"pesan").unwrap_err();
    assert!(matches!(error, KeyError::Seal(SealError::WrongKey { .. })), "{error:?}");
    // It opens in no other row.
    let (wrapped, sealed) = world.master.seal(&context("0123456789abcdef"), &plain);
    assert!(world.master.open_sealed(&context(&entry.id), &wrapped, &sealed).is_err());
}

#[tokio::test]
async fn p22_a_destroyed_key_is_gone_and_its_record_stays() {
    let world = World::new().await;
    let entry = world.keys.import(world.request("siti", KeyKind::Individual, &[])).await.unwrap();
    let sealed: Vec<u8> =
        sqlx::query_scalar("SELECT sealed FROM own_key").fetch_one(world.store.readers()).await.unwrap();
    world.keys.sign(&entry.id, ES256, b"pesan").unwrap();
    assert!(world.keys.destroy(&entry.id).await.unwrap().destroyed);
    assert!(matches!(world.keys.sign(&entry.id, ES256, b"pesan").unwrap_err(), KeyError::Destroyed(_)));
    assert!(world.keys.for_mailbox(&address("siti@kabupaten.go.id")).is_empty());
    assert_eq!(world.keys.list().len(), 1);
    for again in [world.keys.destroy(&entry.id).await, world.keys.block(&entry.id).await] {
        assert!(matches!(again.unwrap_err(), KeyError::Destroyed(_)));
    }
    // Once the log is written back, the sealed octets stand in no page any more.
    world.store.clone().close().await;
    let file = world.bench.read("segel.db");
    assert!(!file.windows(32).any(|window| window == &sealed[sealed.len() - 32..]));
}

#[tokio::test]
async fn blocking_stops_signing_and_every_change_is_audited() {
    let world = World::new().await;
    let entry = world.keys.import(world.request("siti", KeyKind::Individual, &[])).await.unwrap();
    assert!(matches!(
        world
            .keys
            .import(ImportRequest {
                certificate: entry.certificate.clone(),
                key_der: world.bench.pkcs8("siti"),
                ..world.request("lain", KeyKind::Individual, &[])
            })
            .await
            .unwrap_err(),
        KeyError::Exists(_)
    ));
    world.keys.sign(&entry.id, ES256, b"pesan").unwrap();
    assert!(world.keys.block(&entry.id).await.unwrap().blocked);
    world.keys.block(&entry.id).await.unwrap();
    assert!(matches!(world.keys.sign(&entry.id, ES256, b"pesan").unwrap_err(), KeyError::Blocked(_)));
    assert!(world.reopened(&world.master).await.find(&entry.id).unwrap().blocked);
    world.keys.unblock(&entry.id).await.unwrap();
    world.keys.sign(&entry.id, ES256, b"pesan").unwrap();
    world.keys.destroy(&entry.id).await.unwrap();
    assert!(matches!(world.keys.block("0").await.unwrap_err(), KeyError::NotFound(_)));
    assert!(matches!(world.keys.sign("0", ES256, b"").unwrap_err(), KeyError::NotFound(_)));
    assert_eq!(world.events().await, ["key-imported", "key-blocked", "key-unblocked", "key-destroyed"]);
    // With the file at hand it can come back.
    let again = ImportRequest {
        certificate: entry.certificate.clone(),
        key_der: world.bench.pkcs8("siti"),
        ..world.request("lain", KeyKind::Individual, &[])
    };
    world.keys.import(again).await.unwrap();
    world.keys.sign(&entry.id, ES256, b"pesan").unwrap();
}

thread_local! {
    /// What this thread has logged; none where nobody reads it.
    static LOGGED: std::cell::RefCell<Option<Vec<u8>>> = const { std::cell::RefCell::new(None) };
}

/// What this thread logs from now on stands in `LOGGED`.
///
/// One subscriber for the whole process: with one of a thread's own, a line that another thread comes by first counts as
/// wanted by nobody, here too, until the next subscriber begins.
fn capture() {
    struct Buffer;
    impl std::io::Write for Buffer {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            LOGGED.with_borrow_mut(|logged| logged.as_mut().into_iter().for_each(|all| all.extend_from_slice(octets)));
            Ok(octets.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Buffer).finish();
    // It may be there already.
    tracing::subscriber::set_global_default(subscriber).ok();
    tracing::callsite::rebuild_interest_cache();
    LOGGED.set(Some(Vec::new()));
}

#[tokio::test]
async fn p44_the_log_holds_no_password_no_address_and_no_key() {
    const PASSWORD: &str = "kenari-9f3b";
    capture();
    let world = World::new().await;
    let request = world.request("siti", KeyKind::Individual, &[]);
    let secret = format!("{:?}", &request.key_der[36..44]).replace(['[', ']'], "");
    let command = format!("pkcs12 -export -in siti.pem -inkey siti.key -out siti.p12 -passout pass:{PASSWORD}");
    world.bench.openssl(&command).unwrap();
    let file = world.bench.read("siti.p12");
    let wrong = import::pkcs12(&file, &format!("{PASSWORD}!")).unwrap_err();
    tracing::error!(error = &wrong as &dyn std::error::Error, "as a caller would log it");
    tracing::error!(imported = ?import::pkcs12(&file, PASSWORD).unwrap(), request = ?request, "and this");
    let entry = world.keys.import(request).await.unwrap();
    world.keys.sign(&entry.id, ES256, b"pesan").unwrap();
    world.keys.destroy(&entry.id).await.unwrap();
    let log = String::from_utf8(LOGGED.take().unwrap()).unwrap();
    assert!(log.contains("as a caller would log it") && log.contains(&entry.id), "{log}");
    for canary in [PASSWORD, "siti@", &secret] {
        assert!(!log.contains(canary), "{canary}: {log}");
    }
}

#[tokio::test]
async fn custody_other_than_the_gateway_is_refused() {
    let world = World::new().await;
    for custody in [Custody::Owner, Custody::Token, Custody::Remote] {
        let request = ImportRequest { custody, ..world.request("siti", KeyKind::Individual, &[]) };
        assert!(matches!(world.keys.import(request).await.unwrap_err(), KeyError::Unsupported(_)));
    }
}

/// What a RecipientInfo says about a certificate: by issuer and serial number, by key identifier.
fn identifiers(certificate: &Certificate, key_identifier: &[u8]) -> [RecipientIdentifier; 2] {
    [
        RecipientIdentifier::IssuerAndSerial(certificate.issuer().clone(), certificate.serial().to_vec()),
        RecipientIdentifier::KeyIdentifier(key_identifier.to_vec()),
    ]
}

#[tokio::test]
async fn i11_every_key_is_found_by_both_kinds_of_identifier() {
    let world = World::new().await;
    let (named, unnamed, other) = {
        let for_encryption = ["basicConstraints=CA:FALSE", "keyUsage=keyAgreement", "extendedKeyUsage=emailProtection"];
        let pair = |name: &str, extension: &str| {
            let extensions = [&for_encryption[..], &[extension]].concat();
            let certificate = world.bench.pair(name, P256, "siti@kabupaten.go.id", &extensions);
            ImportRequest {
                certificate,
                key_der: world.bench.pkcs8(name),
                addresses: Vec::new(),
                kind: KeyKind::Individual,
                custody: Custody::Gateway,
                chain: Vec::new(),
            }
        };
        (
            pair("a", "subjectKeyIdentifier=0102030405"),
            pair("b", "subjectKeyIdentifier=none"),
            pair("c", "subjectKeyIdentifier=0102030405"),
        )
    };
    let point = {
        let spki = spki::SubjectPublicKeyInfoRef::try_from(unnamed.certificate.spki_der()).unwrap();
        Digest::Sha1.hash(&[spki.subject_public_key.as_bytes().unwrap()]).unwrap()
    };
    assert_eq!(unnamed.certificate.subject_key_identifier(), None);
    let mut all = Vec::new();
    for (request, identifier) in [(named, &[1, 2, 3, 4, 5][..]), (unnamed, &point)] {
        let identifiers = identifiers(&request.certificate, identifier);
        assert!(identifiers.iter().all(|identifier| world.keys.for_recipient(identifier).is_empty()));
        let entry = world.keys.import(request).await.unwrap();
        assert!(entry.can_decrypt && !entry.can_sign);
        assert!(matches!(world.keys.sign(&entry.id, ES256, b"pesan"), Err(KeyError::Signing)));
        all.extend(identifiers.map(|identifier| (identifier, entry.id.clone())));
    }
    let find = |identifier: &RecipientIdentifier| {
        world.keys.for_recipient(identifier).into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    for (identifier, id) in &all {
        assert_eq!(find(identifier), std::slice::from_ref(id));
    }
    // A key that only decrypts never signs.
    assert!(world.keys.for_mailbox(&address("siti@kabupaten.go.id")).is_empty());
    // One identifier for two keys: both are tried.
    let third = world.keys.import(other).await.unwrap();
    assert_eq!(find(&all[1].0).len(), 2);
    // Another serial number, another issuer, nothing.
    let RecipientIdentifier::IssuerAndSerial(issuer, serial) = &all[0].0 else { panic!() };
    let mut longer = serial.clone();
    longer.push(0);
    for wrong in [
        RecipientIdentifier::IssuerAndSerial(issuer.clone(), longer),
        RecipientIdentifier::IssuerAndSerial(third.certificate.issuer().clone(), serial.clone()),
        RecipientIdentifier::KeyIdentifier(vec![1, 2, 3, 4]),
        RecipientIdentifier::None,
    ] {
        assert!(find(&wrong).is_empty(), "{wrong:?}");
    }
    world.keys.block(&all[0].1).await.unwrap();
    assert!(find(&all[0].0).is_empty() && find(&all[1].0) == [third.id.clone()]);
    world.keys.unblock(&all[0].1).await.unwrap();
    assert_eq!(find(&all[0].0), [all[0].1.clone()]);
    world.keys.destroy(&all[0].1).await.unwrap();
    assert!(find(&all[0].0).is_empty());
}

#[tokio::test]
async fn i11_keys_that_are_blocked_or_destroyed_open_nothing() {
    let world = World::new().await;
    let entry = world.keys.import(world.request("siti", KeyKind::Individual, &[])).await.unwrap();
    let sealed = SealedKey::Agreed(Agreement {
        originator: vec![4; 65],
        derivation: Derivation::X963(Digest::Sha256),
        wrap: 16,
        shared_info: Vec::new(),
        wrapped: vec![0; 40],
    });
    assert_eq!(world.keys.content_key(&entry.id, &sealed, 32).unwrap().len(), 32);
    world.keys.block(&entry.id).await.unwrap();
    assert!(matches!(world.keys.content_key(&entry.id, &sealed, 32), Err(KeyError::Blocked(_))));
    world.keys.destroy(&entry.id).await.unwrap();
    assert!(matches!(world.keys.content_key(&entry.id, &sealed, 32), Err(KeyError::Destroyed(_))));
    assert!(matches!(world.keys.content_key("0123456789abcdef", &sealed, 32), Err(KeyError::NotFound(_))));
}
