//! CRLs made by OpenSSL.

use super::Crls;
use super::crls::compare_numbers;
use crate::keys::bench::Bench;
use crate::limits::Limits;
use crate::pki::{Certificate, Crl};
use std::cmp::Ordering;

const CA: &[&str] = &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign,cRLSign"];

/// A CRL of `issuer` with this number, hex; `None`: without the extension.
fn crl(bench: &Bench, issuer: &str, number: Option<&str>, last_update: &str) -> Crl {
    bench.write("index.txt", b"");
    bench.write("number", number.unwrap_or("01").as_bytes());
    let extensions = if number.is_some() { "crlnumber=number\n" } else { "" };
    let config = format!("[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\n{extensions}default_md=sha256\n");
    bench.write("ca.cnf", config.as_bytes());
    bench
        .openssl(&format!(
            "ca -config ca.cnf -gencrl -cert {issuer}.pem -keyfile {issuer}.key -crl_lastupdate {last_update} -crl_nextupdate 20301231000000Z -out crl.pem"
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
fn an_older_crl_never_replaces_a_newer_one() {
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
