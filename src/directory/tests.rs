//! The directory over a real store.

use super::{Directory, DirectoryError};
use crate::audit::Audit;
use crate::keys::tests::bench::{Bench, FOR_MAIL};
use crate::mail::{Address, Domain};
use crate::pki::{Certificate, RevocationMode};
use crate::seal::MasterKey;
use crate::store::{Store, Tx, TxError, Write, values};
use std::sync::Arc;

mod harvest;
mod import;

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const CA: &[&str] = &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"];

async fn open(bench: &Bench) -> (Store, Audit, Directory) {
    let store = Store::open(&bench.path("segel.db")).await.unwrap();
    let audit = Audit::open(store.clone(), Arc::new(MasterKey::ephemeral())).await.unwrap();
    let directory = Directory::open(store.clone(), audit.clone()).await.unwrap();
    (store, audit, directory)
}

#[tokio::test]
async fn anchors_are_kept_listed_and_removed_with_an_event_each() {
    let bench = Bench::new();
    let root = bench.pair("root", P256, "", CA);
    let leaf = bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    let (store, audit, directory) = open(&bench).await;
    let domains = vec![Domain::parse("mitra.go.id").unwrap(), Domain::parse("kota.go.id").unwrap()];
    let import = |certificate: &Certificate| {
        directory.import_anchor(certificate.clone(), RevocationMode::SoftFail, domains.clone())
    };
    import(&root).await.unwrap();
    assert!(matches!(import(&root).await.unwrap_err(), DirectoryError::Exists(_)));
    assert!(matches!(import(&leaf).await.unwrap_err(), DirectoryError::NotAuthority(_)));

    let reopened = Directory::open(store.clone(), audit).await.unwrap();
    let [anchor] = reopened.anchors().try_into().unwrap();
    assert_eq!(anchor.certificate.der(), root.der());
    assert_eq!(anchor.revocation, RevocationMode::SoftFail);
    assert_eq!(anchor.domains.iter().map(Domain::as_str).collect::<Vec<_>>(), ["mitra.go.id", "kota.go.id"]);

    for (prefix, expected) in [("", "Prefix"), ("0123456", "Prefix"), ("zzzzzzzz", "Prefix"), ("00000000", "NotFound")]
    {
        let error = directory.remove_anchor(prefix).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{prefix}: {error:?}");
    }
    // As OpenSSL prints it: upper case, with a colon after each octet.
    let prefix: Vec<_> = root.sha256().iter().take(5).map(|octet| format!("{octet:02X}")).collect();
    directory.remove_anchor(&prefix.join(":")).await.unwrap();
    assert!(directory.anchors().is_empty());
    assert_eq!(events(&store).await, ["anchor-imported", "anchor-removed"]);
}

/// For signing and for encrypting, as most people's are.
const BOTH: &[&str] =
    &["basicConstraints=CA:FALSE", "keyUsage=digitalSignature,keyAgreement", "extendedKeyUsage=emailProtection"];

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

async fn events(store: &Store) -> Vec<String> {
    sqlx::query_scalar("SELECT event FROM audit ORDER BY seq").fetch_all(store.readers()).await.unwrap()
}

/// Ids of what stands for a mailbox, best first.
fn ids(directory: &Directory, whom: &str) -> Vec<String> {
    directory.for_mailbox(&address(whom)).into_iter().map(|known| known.id).collect()
}

fn id(certificate: &Certificate) -> String {
    super::id_of(&certificate.sha256())
}

struct Encrypted(Vec<Address>);

impl Write for Encrypted {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        super::note_encrypted(tx, &self.0)
    }
}

#[tokio::test]
async fn the_first_encrypted_mail_is_remembered_for_the_mailbox() {
    let bench = Bench::new();
    let (store, audit, directory) = open(&bench).await;
    let whom: Vec<_> = (0..21).map(|number| address(&format!("Orang{number}@kota.example"))).collect();
    store.write(Encrypted(whom.clone())).await.unwrap();
    store.write(Encrypted(whom.clone())).await.unwrap();
    assert!(!directory.encrypted_before(&whom[0]), "not before it is told that the transaction is on disk");
    directory.remember_encrypted(&whom);
    let reopened = Directory::open(store, audit).await.unwrap();
    for directory in [&directory, &reopened] {
        assert!(whom.iter().all(|address| directory.encrypted_before(address)));
        assert!(directory.encrypted_before(&address("orang20@KOTA.example")));
        assert!(!directory.encrypted_before(&address("orang21@kota.example")));
    }
    directory.reload().await.unwrap();
    assert!(directory.encrypted_before(&whom[0]));
}

/// The same certificate under the other signature that verifies: for `(r, s)` it is `(r, n - s)` (SEC 1 section 4.1.4).
fn twin(certificate: &Certificate) -> Certificate {
    use crate::asn1::{Fields, tag, write_tlv};
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let mut outer = Fields::within(certificate.der(), tag::SEQUENCE).unwrap();
    let signed = outer.required(tag::SEQUENCE).unwrap().whole;
    let algorithm = outer.required(tag::SEQUENCE).unwrap().whole;
    let mut numbers = Fields::within(&outer.required(tag::BIT_STRING).unwrap().content[1..], tag::SEQUENCE).unwrap();
    let (r, s) = (numbers.required(tag::INTEGER).unwrap().whole, numbers.required(tag::INTEGER).unwrap().content);
    let mut difference = data_encoding::HEXLOWER.decode(ORDER.as_bytes()).unwrap();
    let mut borrow = 0;
    for (place, octet) in difference.iter_mut().rev().enumerate() {
        let taken = s.iter().rev().nth(place).map_or(0, |octet| i16::from(*octet)) + borrow;
        let left = i16::from(*octet) - taken;
        borrow = i16::from(left < 0);
        *octet = u8::try_from(left.rem_euclid(256)).unwrap();
    }
    let mut number: Vec<u8> = difference.into_iter().skip_while(|octet| *octet == 0).collect();
    if number[0] >= 0x80 {
        number.insert(0, 0);
    }
    let signature = write_tlv(tag::SEQUENCE, &[r, &write_tlv(tag::INTEGER, &number)].concat());
    let bits = write_tlv(tag::BIT_STRING, &[&[0], &signature[..]].concat());
    Certificate::from_der(&write_tlv(tag::SEQUENCE, &[signed, algorithm, &bits].concat())).unwrap()
}

struct Insert(Vec<(Certificate, bool)>);

impl Write for Insert {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        for (certificate, blocked) in &self.0 {
            tx.execute(
                "INSERT INTO certificate (sha256, der, trust, source, blocked, added) VALUES ($1, $2, 'seen', 'test', $3, 0)",
                &values![&certificate.sha256(), certificate.der(), *blocked],
            )?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn issuers_are_found_by_subject_and_blocked_ones_by_digest() {
    let bench = Bench::new();
    let root = bench.pair("root", P256, "", CA);
    let other = bench.pair("other", P256, "", CA);
    let leaf = bench.pair("siti", P256, "siti@kabupaten.go.id", FOR_MAIL);
    let (store, _, directory) = open(&bench).await;
    store.write(Insert(vec![(root.clone(), false), (other, false), (leaf.clone(), true)])).await.unwrap();
    assert!(directory.by_subject(root.subject()).is_empty());
    directory.reload().await.unwrap();
    let found = directory.by_subject(root.subject());
    assert_eq!(found.iter().map(Certificate::sha256).collect::<Vec<_>>(), [root.sha256()]);
    assert!(directory.by_subject(leaf.subject()).is_empty(), "an end entity issues nothing");
    assert_eq!(*directory.blocked(), [leaf.sha256(), leaf.signed_sha256()].into());
}
