//! Learning from mail.

use super::super::index::Announced;
use super::super::rules::{Admission, Announcement, Standing, admit, announce};
use super::super::{Directory, Harvested, Trust};
use super::{BOTH, Bench, CA, FOR_MAIL, P256, address, events, id, ids, open, twin};
use crate::pki::{Certificate, Name};
use crate::smime::inspect::Harvest;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

const SITI: &str = "siti@kota.example";

/// Validly signed mail from `whom` with one certificate for both uses.
fn mail(whom: &str, certificate: &Certificate) -> Harvest {
    Harvest {
        address: address(whom),
        signer: certificate.clone(),
        encryption: certificate.clone(),
        capabilities: None,
        signing_time: None,
        certificates: vec![certificate.clone()],
    }
}

async fn learn(directory: &Directory, harvest: &Harvest, trust: Trust) -> Harvested {
    // Sessions run on any thread.
    fn on_any_thread<T: Send>(future: T) -> T {
        future
    }
    on_any_thread(directory.harvest(harvest, trust)).await.unwrap()
}

#[test]
fn p10_another_ca_never_takes_a_mailbox_by_itself() {
    use Trust::{Imported, Seen, Trusted};
    let bench = Bench::new();
    let name = |name: &str| bench.pair(name, P256, "", CA).subject().clone();
    let (a, b, c) = (name("a"), name("b"), name("c"));
    let conflict = |holder: &Name| Admission::Conflict(holder.clone());
    type Row<'a> = (&'a [(&'a Name, Trust)], (&'a Name, Trust), Admission);
    let table: [Row<'_>; 12] = [
        (&[], (&a, Trusted), Admission::First),
        (&[], (&a, Seen), Admission::First),
        (&[(&a, Trusted)], (&a, Trusted), Admission::Renewal),
        (&[(&a, Seen)], (&a, Trusted), Admission::Renewal),
        (&[(&a, Seen)], (&a, Seen), Admission::Renewal),
        (&[(&a, Imported)], (&a, Trusted), Admission::Renewal),
        // The same name under an anchor that is trusted less may be somebody else's.
        (&[(&a, Trusted)], (&a, Seen), conflict(&a)),
        (&[(&a, Imported)], (&a, Seen), conflict(&a)),
        (&[(&a, Seen)], (&b, Trusted), conflict(&a)),
        (&[(&a, Trusted)], (&b, Trusted), conflict(&a)),
        // What an operator imported decides alone.
        (&[(&b, Trusted), (&a, Imported)], (&b, Trusted), conflict(&a)),
        (&[(&a, Imported), (&c, Imported)], (&c, Trusted), Admission::Renewal),
    ];
    for (known, (issuer, trust), expected) in table {
        let known: Vec<_> =
            known.iter().map(|(issuer, trust)| Standing { issuer: (*issuer).clone(), trust: *trust }).collect();
        assert_eq!(admit(&known, issuer, trust), expected, "{known:?}, then {issuer} {trust:?}");
    }
}

#[test]
fn o33_the_newest_signing_time_wins_and_a_future_one_is_refused() {
    use Announcement::{Again, Ignored, Taken};
    let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
    let at = |minutes: i64| Some(now + SignedDuration::from_mins(minutes));
    let known = |der: &'static [u8], signed| Some(Announced { der: Bytes::from_static(der), signed });
    let large = vec![0; 5000];
    type Row<'a> = (Option<Announced>, &'a [u8], Option<Timestamp>, Announcement);
    let table: [Row<'_>; 13] = [
        (None, b"a", at(-10), Taken),
        (None, b"a", at(4), Taken),
        (None, b"a", at(6), Ignored),
        (None, b"a", None, Taken),
        (None, &large, at(-1), Ignored),
        (known(b"a", at(-10)), b"b", at(-9), Taken),
        (known(b"a", at(-10)), b"b", at(-10), Ignored),
        (known(b"a", at(-10)), b"b", at(-11), Ignored),
        (known(b"a", at(-10)), b"b", None, Ignored),
        (known(b"a", at(-10)), b"b", at(6), Ignored),
        (known(b"a", at(-10)), b"a", at(-9), Again),
        (known(b"a", None), b"b", at(-9), Taken),
        (known(b"a", None), b"b", None, Ignored),
    ];
    for (known, der, signed, expected) in table {
        assert_eq!(announce(known.as_ref(), der, signed, now), expected, "{known:?}, then {signed:?}");
    }
}

#[tokio::test]
async fn p11_the_encryption_certificate_stands_for_the_sender_alone() {
    let bench = Bench::new();
    let (root, other) = (bench.pair("root", P256, "", CA), bench.pair("other", P256, "", CA));
    let issuing = bench.issue("issuing", "root", "", CA);
    let signer = bench.issue("signer", "issuing", SITI, FOR_MAIL);
    let two = bench.issue("two", "issuing", &format!("{SITI},email:budi@kota.example"), BOTH);
    let (store, audit, directory) = open(&bench).await;
    let dual = Harvest {
        signer: signer.clone(),
        certificates: vec![signer.clone(), two.clone(), other.clone(), root.clone(), issuing.clone()],
        ..mail(SITI, &two)
    };
    assert_eq!(learn(&directory, &dual, Trust::Trusted).await, Harvested::New);
    let reopened = Directory::open(store.clone(), audit).await.unwrap();
    for directory in [&directory, &reopened] {
        assert_eq!(ids(directory, "Siti@Kota.example"), [id(&two)]);
        assert!(ids(directory, "budi@kota.example").is_empty(), "the signature spoke for siti");
        let [known] = directory.for_mailbox(&address(SITI)).try_into().unwrap();
        assert_eq!((known.trust, known.bound_by_operator, known.blocked), (Trust::Trusted, false, false));
        assert_eq!(known.chain, std::slice::from_ref(&issuing));
        assert_eq!(directory.by_subject(issuing.subject()), std::slice::from_ref(&issuing));
        assert!(directory.by_subject(other.subject()).is_empty(), "it issued nothing here");
        assert!(directory.by_subject(root.subject()).is_empty(), "whom to trust is not learned from mail");
        assert_eq!(directory.digests().len(), 2);
    }
    // A key that only signs, a certificate for somebody else, a CA's: never to be encrypted to.
    let stranger = bench.issue("stranger", "root", "rina@kota.example", BOTH);
    for (whom, encryption) in [(SITI, &signer), (SITI, &stranger), (SITI, &issuing)] {
        assert_eq!(learn(&directory, &mail(whom, encryption), Trust::Trusted).await, Harvested::Unfit);
    }
    assert_eq!(ids(&directory, SITI), [id(&two)]);
    assert_eq!(events(&store).await, ["certificate-harvested"]);
}

#[tokio::test]
async fn p10_a_conflict_is_told_once_and_not_used() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    bench.pair("other", P256, "", CA);
    let first = bench.issue("first", "root", SITI, BOTH);
    let foreign = bench.issue("foreign", "other", SITI, BOTH);
    let (store, _, directory) = open(&bench).await;
    assert_eq!(learn(&directory, &mail(SITI, &first), Trust::Seen).await, Harvested::New);
    for _ in 0..3 {
        assert_eq!(learn(&directory, &mail(SITI, &foreign), Trust::Trusted).await, Harvested::Conflict);
    }
    assert_eq!(ids(&directory, SITI), [id(&first)]);
    assert_eq!(events(&store).await, ["certificate-harvested", "certificate-conflict"]);
    // An operator decides: by importing the other one, or by blocking the first.
    directory.block(&id(&first)).await.unwrap();
    assert_eq!(learn(&directory, &mail(SITI, &first), Trust::Trusted).await, Harvested::Known);
    // Nor does it come back under another fingerprint.
    assert_eq!(learn(&directory, &mail(SITI, &twin(&first)), Trust::Trusted).await, Harvested::Known);
    assert_eq!(learn(&directory, &mail(SITI, &foreign), Trust::Trusted).await, Harvested::New);
    assert_eq!(ids(&directory, SITI), [id(&foreign), id(&first)], "blocked ones last");
}

#[tokio::test]
async fn p10_a_renewal_is_preferred_and_an_imported_one_stays_first() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let old = bench.issue("old", "root", SITI, BOTH);
    // notBefore has seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let new = bench.issue("new", "root", SITI, BOTH);
    let (_, _, directory) = open(&bench).await;
    assert_eq!(learn(&directory, &mail(SITI, &old), Trust::Trusted).await, Harvested::New);
    assert_eq!(learn(&directory, &mail(SITI, &new), Trust::Trusted).await, Harvested::Renewed);
    assert_eq!(ids(&directory, SITI), [id(&new), id(&old)]);
    directory.import_certificates(std::slice::from_ref(&old), &[]).await.unwrap();
    assert_eq!(ids(&directory, SITI), [id(&old), id(&new)]);
    assert_eq!(learn(&directory, &mail(SITI, &old), Trust::Trusted).await, Harvested::Known);
    assert_eq!(directory.for_mailbox(&address(SITI))[0].trust, Trust::Imported, "mail takes no trust away");
}

#[tokio::test]
async fn o33_what_is_known_costs_no_write() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let certificate = bench.issue("siti", "root", SITI, BOTH);
    let (store, audit, directory) = open(&bench).await;
    let now = crate::clock::now();
    let say = |der: &[u8], minutes: i64| Harvest {
        capabilities: Some(der.to_vec()),
        signing_time: Some(now + SignedDuration::from_mins(minutes)),
        ..mail(SITI, &certificate)
    };
    use Harvested::{Known, New, Renewed};
    // In which order mail comes is for the network to say: what it told last is what holds.
    type Row<'a> = (&'a [u8], i64, Trust, Harvested, &'a [u8], u64);
    let table: [Row<'_>; 9] = [
        (b"old", -100, Trust::Seen, New, b"old", 1),
        (b"old", -100, Trust::Seen, Known, b"old", 0),
        (b"new", -50, Trust::Seen, Renewed, b"new", 1),
        (b"old", -60, Trust::Seen, Known, b"new", 0),
        (b"new", -20, Trust::Seen, Known, b"new", 0),
        (b"old", -30, Trust::Seen, Known, b"new", 0),
        (b"late", 60, Trust::Seen, Known, b"new", 0),
        (b"new", -20, Trust::Trusted, Renewed, b"new", 1),
        (b"new", -20, Trust::Seen, Known, b"new", 0),
    ];
    for (step, (der, minutes, trust, expected, held, commits)) in table.into_iter().enumerate() {
        let before = store.commits();
        assert_eq!(learn(&directory, &say(der, minutes), trust).await, expected, "step {step}");
        assert_eq!(store.commits() - before, commits, "step {step}");
        let announced = directory.index().certificate(&certificate.sha256()).unwrap().announced.clone().unwrap();
        assert_eq!(announced.der, held, "step {step}");
    }
    let reopened = Directory::open(store.clone(), audit).await.unwrap();
    let listed = reopened.find(&id(&certificate)).unwrap();
    assert_eq!((listed.trust, listed.source.name()), (Trust::Trusted, "mail"));
    assert!(listed.announced.is_some());
    assert_eq!(events(&store).await, ["certificate-harvested", "certificate-harvested"]);
}

#[tokio::test]
async fn an_issuer_that_comes_later_is_learned_too() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let issuing = bench.issue("issuing", "root", "", CA);
    let certificate = bench.issue("siti", "issuing", SITI, BOTH);
    let (_, _, directory) = open(&bench).await;
    assert_eq!(learn(&directory, &mail(SITI, &certificate), Trust::Trusted).await, Harvested::New);
    let with_issuer = Harvest { certificates: vec![issuing.clone()], ..mail(SITI, &certificate) };
    assert_eq!(learn(&directory, &with_issuer, Trust::Trusted).await, Harvested::Renewed);
    assert_eq!(learn(&directory, &with_issuer, Trust::Trusted).await, Harvested::Known);
    assert_eq!(directory.for_mailbox(&address(SITI))[0].chain, [issuing]);
}

#[tokio::test]
async fn one_mailbox_cannot_fill_the_directory() {
    let bench = Bench::new();
    bench.pair("root", P256, "", CA);
    let (_, _, directory) = open(&bench).await;
    let pinned = bench.issue("pinned", "root", SITI, BOTH);
    directory.import_certificates(std::slice::from_ref(&pinned), &[]).await.unwrap();
    for number in 0..17 {
        if number == 16 {
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        }
        let certificate = bench.issue(&format!("n{number}"), "root", SITI, BOTH);
        assert_eq!(learn(&directory, &mail(SITI, &certificate), Trust::Trusted).await, Harvested::Renewed);
    }
    let held = ids(&directory, SITI);
    assert_eq!((held.len(), &held[0]), (17, &id(&pinned)));
    assert_eq!(directory.digests().len(), 17, "what stands for nobody is gone");
}
