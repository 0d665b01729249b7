//! Names beside those in subjectAltName, and too many of them.

use super::ca::*;
use super::matrix::{nothing, three};
use super::*;
use rcgen::{GeneralSubtree, NameConstraints};

#[test]
fn i25_name_constraints_on_the_address_in_the_subject() {
    use rcgen::{DnType, DnValue};
    let check = |excluded: &str, address: &str, expected: &[Reason]| {
        let constraints = NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![GeneralSubtree::Rfc822Name(excluded.to_owned())],
        };
        let (root, issuing, leaf) = three(
            |params| params.name_constraints = Some(constraints),
            |params| {
                let value = DnValue::Ia5String(address.try_into().unwrap());
                params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), value);
                params.custom_extensions.push(alternative_names(&[rfc822_name(b"siti@other.example")]));
            },
        );
        let got = Question::new(&leaf, &[&issuing.certificate], &root.certificate).reasons();
        assert_eq!(got, expected, "{excluded} {address}");
    };
    check("siti@kab.go.id", "SITI@kab.go.id", &[Reason::PolicyConstraint]);
    check("kab.go.id", "siti@kab.go.id", &[Reason::PolicyConstraint]);
    check("budi@kab.go.id", "siti@kab.go.id", &[]);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn i06_names_of_a_certificate_are_bounded() {
    let check = |count: usize, expected: &[Reason]| {
        let (root, issuing, leaf) = three(nothing, |params| {
            let names: Vec<_> = (0..count).map(|index| rfc822_name(format!("u{index}@kab.go.id").as_bytes())).collect();
            params.custom_extensions.push(alternative_names(&names));
        });
        let mut question = Question::new(&leaf, &[&issuing.certificate], &root.certificate);
        question.address = Some("u0@kab.go.id");
        let started = std::time::Instant::now();
        assert_eq!(question.reasons(), expected, "{count}");
        assert!(started.elapsed().as_secs() < 1, "{count} names took {:?}", started.elapsed());
    };
    check(1000, &[]);
    check(1001, &[Reason::NoAddress, Reason::TooComplex, Reason::PolicyConstraint]);
    check(40_000, &[Reason::NoAddress, Reason::TooComplex, Reason::PolicyConstraint]);
}
