//! CRLs made by OpenSSL.

use super::Crls;
use super::Unusable;
use super::accept::{Arrived, accept};
use super::crls::compare_numbers;
use crate::keys::tests::bench::Bench;
use crate::limits::Limits;
use crate::pki::path::AnchorSource;
use crate::pki::{Certificate, Crl};
use crate::pki::{Harvesting, PathRequest, Purpose, RevocationMode, TrustAnchor, path};
use std::cmp::Ordering;

const CA: &[&str] = &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign,cRLSign"];

/// A CRL of `issuer` with this number, hex; `None`: without the extension.
fn crl(bench: &Bench, issuer: &str, number: Option<&str>, last_update: &str) -> Crl {
    made(bench, issuer, number, last_update, "20301231000000Z")
}

fn ended(bench: &Bench, issuer: &str, number: &str, last_update: &str, next_update: &str) -> Crl {
    made(bench, issuer, Some(number), last_update, next_update)
}

fn made(bench: &Bench, issuer: &str, number: Option<&str>, last_update: &str, next_update: &str) -> Crl {
    bench.write("index.txt", b"");
    bench.write("number", number.unwrap_or("01").as_bytes());
    let extensions = if number.is_some() { "crlnumber=number\n" } else { "" };
    let config = format!("[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\n{extensions}default_md=sha256\n");
    bench.write("ca.cnf", config.as_bytes());
    bench
        .openssl(&format!(
            "ca -config ca.cnf -gencrl -cert {issuer}.pem -keyfile {issuer}.key -crl_lastupdate {last_update} -crl_nextupdate {next_update} -out crl.pem"
        ))
        .unwrap();
    Crl::bundle(&bench.read("crl.pem"), &Limits::default()).unwrap().remove(0)
}

fn bench() -> (Bench, Certificate) {
    let bench = Bench::new();
    let root = bench.pair("root", "ec -pkeyopt ec_paramgen_curve:P-256", "", CA);
    bench.pair("other", "ec -pkeyopt ec_paramgen_curve:P-256", "", CA);
    (bench, root)
}

fn same(found: &[Crl], expected: &[&Crl]) {
    let found: Vec<_> = found.iter().map(Crl::der).collect();
    assert_eq!(found, expected.iter().map(|crl| crl.der()).collect::<Vec<_>>());
}

#[test]
fn numbers_are_compared_as_numbers() {
    for (a, b, expected) in [
        ("9", "10", Ordering::Less),
        ("009", "9", Ordering::Equal),
        ("ff", "100", Ordering::Less),
        ("2", "1", Ordering::Greater),
        ("", "0", Ordering::Equal),
    ] {
        assert_eq!(compare_numbers(a, b), expected, "{a} {b}");
    }
}

#[test]
fn the_newest_of_an_issuer_comes_first() {
    let (bench, root) = bench();
    // The number decides, also against the date.
    let nine = crl(&bench, "root", Some("09"), "20260103000000Z");
    let sixteen = crl(&bench, "root", Some("10"), "20260102000000Z");
    let foreign = crl(&bench, "other", Some("FF"), "20260104000000Z");
    let crls = Crls::new(vec![nine.clone(), foreign, sixteen.clone(), nine.clone()]);
    same(&crls.by_issuer(root.subject()), &[&sixteen, &nine]);
    assert_eq!(crls.all().len(), 3);
    // One without a number: the date decides.
    let unnumbered = crl(&bench, "root", None, "20260102120000Z");
    let crls = Crls::new(vec![sixteen.clone(), unnumbered.clone(), nine.clone()]);
    same(&crls.by_issuer(root.subject()), &[&nine, &unnumbered, &sixteen]);
    assert!(Crls::default().by_issuer(root.subject()).is_empty());
}

#[test]
fn i29_an_older_crl_never_replaces_a_newer_one() {
    let (bench, root) = bench();
    let one = crl(&bench, "root", Some("01"), "20260101000000Z");
    let two = crl(&bench, "root", Some("02"), "20260102000000Z");
    let three = crl(&bench, "root", Some("03"), "20260103000000Z");
    let held = Crls::new(vec![two.clone()]);
    let (rolled_back, names) = held.reloaded(vec![one.clone()]);
    same(&rolled_back.by_issuer(root.subject()), &[&two, &one]);
    assert_eq!(names.len(), 1);
    let (forward, names) = held.reloaded(vec![three.clone()]);
    same(&forward.by_issuer(root.subject()), &[&three]);
    assert!(names.is_empty());
    let (removed, names) = held.reloaded(Vec::new());
    assert!(removed.by_issuer(root.subject()).is_empty() && names.is_empty());
}

#[test]
fn p03_what_a_server_gives_is_taken_only_from_the_right_ca_and_never_older() {
    let (bench, root) = bench();
    let other = Certificate::bundle(&bench.read("other.pem")).unwrap().remove(0);
    let now: jiff::Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let one = crl(&bench, "root", Some("01"), "20260101000000Z");
    let two = crl(&bench, "root", Some("02"), "20260102000000Z");
    let foreign = crl(&bench, "other", Some("01"), "20260102000000Z");
    let future = crl(&bench, "root", Some("03"), "20291231000000Z");
    let broken = {
        let mut der = two.der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        der
    };
    let limits = Limits::default();
    let check = |content: &[u8], held: Option<&Crl>, signers: &[Certificate], known: &[Certificate], vouched: bool| {
        let arrived = Arrived { content, at: now, limits: &limits };
        let by_name = |name: &crate::pki::Name| {
            known.iter().filter(|certificate| certificate.subject().matches(name)).cloned().collect()
        };
        accept(&arrived, held, signers, by_name, vouched).map(|accepted| accepted.signer.is_some())
    };
    let (root, other) = (std::slice::from_ref(&root), std::slice::from_ref(&other));
    let issuer = |name: &str| format!("CN={name}");
    assert_eq!(check(two.der(), None, root, &[], false), Ok(true));
    assert_eq!(check(two.der(), None, &[], root, false), Ok(true));
    assert_eq!(check(two.der(), Some(&one), &[], root, false), Ok(true));
    assert_eq!(check(two.der(), Some(&two), root, &[], false), Ok(true));
    assert_eq!(check(one.der(), Some(&two), root, &[], false), Err(Unusable::Older));
    // Newer, but its time is over while that of the one at hand is not; it may still be the first, and condemn.
    let over = ended(&bench, "root", "09", "20260103000000Z", "20260104000000Z");
    assert_eq!(check(over.der(), Some(&two), root, &[], false), Err(Unusable::Over));
    assert_eq!(check(over.der(), None, root, &[], false), Ok(true));
    let later = ended(&bench, "root", "0A", "20260105000000Z", "20260106000000Z");
    assert_eq!(check(later.der(), Some(&over), root, &[], false), Ok(true));
    // The same number again with other content, and none where there was one.
    let again = crl(&bench, "root", Some("02"), "20260102000001Z");
    let unnumbered = crl(&bench, "root", None, "20260201000000Z");
    assert_eq!(check(again.der(), Some(&two), root, &[], false), Err(Unusable::Number));
    assert_eq!(check(unnumbered.der(), Some(&two), root, &[], false), Err(Unusable::Number));
    // A known CA's list, but not this CA's.
    assert_eq!(check(foreign.der(), None, root, other, false), Err(Unusable::OtherIssuer(issuer("other"))));
    assert_eq!(check(foreign.der(), Some(&two), &[], other, false), Err(Unusable::OtherIssuer(issuer("other"))));
    assert_eq!(check(&broken, None, root, &[], false), Err(Unusable::Signature(issuer("root"))));
    assert_eq!(check(&broken, None, &[], root, true), Err(Unusable::Signature(issuer("root"))));
    assert_eq!(check(two.der(), None, &[], &[], false), Err(Unusable::UnknownIssuer(issuer("root"))));
    // The operator named the URL, and nobody knows the CA yet.
    assert_eq!(check(two.der(), None, &[], &[], true), Ok(false));
    assert_eq!(check(future.der(), None, root, &[], false), Err(Unusable::Future(future.this_update())));
    for content in [&b"<html>not here</html>"[..], b"", &two.der()[..two.der().len() - 1]] {
        assert!(matches!(check(content, None, root, &[], true), Err(Unusable::NoCrl(_))), "{content:?}");
    }
}

#[test]
fn i67_only_proven_paths_say_where_crls_are() {
    let (bench, root) = bench();
    let other = Certificate::bundle(&bench.read("other.pem")).unwrap().remove(0);
    let points =
        "crlDistributionPoints=URI:http://a.example/1.crl,URI:ldap://a.example/cn=x,URI:HTTPS://b.example/2.crl";
    let extensions = [crate::keys::tests::bench::FOR_MAIL, &[points]].concat();
    let leaf = bench.issue("leaf", "root", "siti@own.test", &extensions);
    bench
        .openssl("x509 -req -in leaf.csr -CA root.pem -CAkey root.key -sha1 -set_serial 9 -days 30 -extfile ext.cnf -out weak.pem")
        .unwrap();
    let weak = Certificate::bundle(&bench.read("weak.pem")).unwrap().remove(0);
    let current = crl(&bench, "root", Some("02"), "20260102000000Z");
    let check =
        |leaf: &Certificate, anchor: &Certificate, mode, crls: &[Crl], grace: u64, at: &str, expected: usize| {
            let anchor = TrustAnchor {
                certificate: anchor.clone(),
                revocation: mode,
                domains: Vec::new(),
                source: AnchorSource::CommandLine,
                harvest: Harvesting::default(),
            };
            let report = path::validate(&PathRequest {
                end_entity: leaf,
                untrusted: &[],
                anchors: &[anchor],
                crls,
                at: at.parse().unwrap(),
                purpose: Purpose::EmailSign,
                address: None,
                revocation: None,
                crl_grace: std::time::Duration::from_secs(grace),
                policy: &path::PolicyInputs::default(),
                allow_weak: &[],
                limits: &Limits::default(),
            });
            let urls: Vec<Vec<String>> = report.wanted_crls.iter().flat_map(|wanted| wanted.points.clone()).collect();
            assert_eq!(urls.len(), expected, "{report:?}");
            let names = ["http://a.example/1.crl", "HTTPS://b.example/2.crl"].map(str::to_owned);
            // Each `URI:` of OpenSSL's is a point of its own; ldap is nobody's to ask, and told only where it stands alone.
            assert!(urls.is_empty() || urls.concat() == names, "{urls:?}");
        };
    let now = &crate::clock::now().to_string();
    check(&leaf, &root, RevocationMode::HardFail, &[], 0, now, 2);
    check(&leaf, &root, RevocationMode::SoftFail, &[], 0, now, 2);
    check(&leaf, &root, RevocationMode::None, &[], 0, now, 0);
    check(&leaf, &other, RevocationMode::HardFail, &[], 0, now, 0);
    // SHA-1 proves no longer who has issued it.
    check(&weak, &root, RevocationMode::HardFail, &[], 0, now, 0);
    check(&leaf, &root, RevocationMode::HardFail, std::slice::from_ref(&current), 0, now, 0);
    // Only the grace keeps it alive: good enough, but a newer one is wanted. (The list ends at the end of 2030.)
    check(&leaf, &root, RevocationMode::HardFail, &[current], 86_400, "2030-12-31T12:00:00Z", 2);
}

#[test]
fn p26_a_list_that_was_brought_is_missed_in_time_and_not_where_its_successor_comes_by_itself() {
    use super::status::renewals;
    let (bench, root) = bench();
    let name = root.subject().to_string();
    let check = |brought: &[&Crl], fetched: &[&Crl], expected: Option<(&str, &str)>| {
        let found = renewals(brought.iter().copied(), fetched.iter().copied());
        let found: Vec<_> =
            found.iter().map(|one| (one.issuer.as_str(), one.due.to_string(), one.end.to_string())).collect();
        let expected = expected.map(|(due, end)| (name.as_str(), due.to_owned(), end.to_owned()));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    };
    let old = ended(&bench, "root", "01", "20260101000000Z", "20260102000000Z");
    let day = ended(&bench, "root", "02", "20260201000000Z", "20260202000000Z");
    let year = ended(&bench, "root", "03", "20260301000000Z", "20270301000000Z");
    check(&[], &[&day], None);
    check(&[&day], &[], Some(("2026-02-01T18:00:00Z", "2026-02-02T00:00:00Z")));
    check(&[&year], &[], Some(("2027-02-22T00:00:00Z", "2027-03-01T00:00:00Z")));
    // The newest counts, in whatever order they came.
    check(&[&old, &day], &[], Some(("2026-02-01T18:00:00Z", "2026-02-02T00:00:00Z")));
    check(&[&day, &old], &[&old], Some(("2026-02-01T18:00:00Z", "2026-02-02T00:00:00Z")));
    check(&[&old, &day], &[&day], None);
    check(&[&old, &day], &[&year], None);
}
