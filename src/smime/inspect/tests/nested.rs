//! Layers in layers: one layer, one entry in the report.

use super::opened::{check_open, encrypted_mail, entity_of, signed_entity, signed_entity_of};
use super::*;
use LayerKind::{AuthEnveloped, Enveloped, SignedDetached, SignedOpaque};

fn kinds(inspected: &Inspected) -> Vec<LayerKind> {
    inspected.layers.iter().map(|layer| layer.kind).collect()
}

fn message(entity: &[u8]) -> Vec<u8> {
    [format!("From: {SITI}\r\nTo: x@example.org\r\n").as_bytes(), entity].concat()
}

const BUDI: &str = "-signer budi.pem -inkey budi.key -md sha256";

#[test]
fn i03_triple_wrapped() {
    let ca = ca();
    let inner = signed_entity(BUDI);
    for (cipher, kind) in [("-aes-256-gcm", AuthEnveloped), ("-aes-128-cbc", Enveloped)] {
        for (options, outer) in [("", SignedDetached), ("-nodetach", SignedOpaque)] {
            let middle = entity_of(&ca.cms(&inner, &format!("-encrypt {cipher} rsa.pem p256.pem")));
            let wrapped = message(&signed_entity_of(&middle, &format!("{P256} {options}")));
            let inspected = check_open(&wrapped, &["rsa", "p256"], Verdict::Valid, &[]);
            assert_eq!(kinds(&inspected), [outer, kind, SignedDetached]);
            assert_eq!((inspected.deciding, &inspected.layers[2].reasons[..]), (Some(0), &[AddressMismatch][..]));
            let opened = inspected.opened.unwrap();
            assert_eq!(
                (&opened.entity[..], opened.keys),
                (&inner[..], vec![vec!["rsa".to_owned(), "p256".to_owned()]])
            );
        }
    }
}

#[test]
fn i03_encrypted_in_encrypted() {
    let ca = ca();
    let inner = signed_entity(P256);
    let once = entity_of(&ca.cms(&inner, "-encrypt -aes-128-cbc p256.pem"));
    let twice = encrypted_mail(SITI, &ca.cms(&once, "-encrypt -aes-256-gcm rsa.pem"));
    let inspected = check_open(&twice, &["rsa", "p256"], Verdict::Valid, &[]);
    assert_eq!(kinds(&inspected), [AuthEnveloped, Enveloped, SignedDetached]);
    let opened = inspected.opened.unwrap();
    assert_eq!((&opened.entity[..], opened.keys), (&inner[..], vec![vec!["rsa".to_owned()], vec!["p256".to_owned()]]));
    // The inner one is somebody else's: what is inside the outer one is still what was sent.
    let inspected = check_open(&twice, &["rsa"], Verdict::None, &[]);
    assert_eq!((kinds(&inspected), inspected.decrypted), (vec![AuthEnveloped, Enveloped], true));
    assert_eq!(&inspected.opened.unwrap().entity[..], once);
    // Something unproven inside spoils the whole.
    let once = entity_of(&ca.cms(ENTITY, "-encrypt -aes-128-cbc p256.pem"));
    let twice = encrypted_mail(SITI, &ca.cms(&once, "-encrypt -aes-256-gcm rsa.pem"));
    let inspected = check_open(&twice, &["rsa", "p256"], Verdict::Indeterminate, &[IntegrityUnproven]);
    assert!(inspected.opened.is_none());
}

/// Who signs around what he cannot read says nothing about it.
#[test]
fn i51_a_signature_outside_proves_nothing_inside() {
    let ca = ca();
    let middle = entity_of(&ca.cms(ENTITY, "-encrypt -aes-128-cbc rsa.pem"));
    let wrapped = message(&signed_entity_of(&middle, P256));
    let inspected = check_open(&wrapped, &["rsa"], Verdict::Indeterminate, &[IntegrityUnproven]);
    assert!(inspected.opened.is_none() && inspected.layers[0].reasons.is_empty());
    assert!(report::authentication_results(&inspected)[0].starts_with("smime=pass"));
    // To somebody else: only the signature counts.
    check_open(&wrapped, &["p256"], Verdict::Valid, &[]);
    let mut broken = ca.cms(ENTITY, "-encrypt -aes-256-gcm rsa.pem");
    *broken.last_mut().unwrap() ^= 1;
    let wrapped = message(&signed_entity_of(&entity_of(&broken), P256));
    let inspected = check_open(&wrapped, &["rsa"], Verdict::Valid, &[]);
    assert_eq!((inspected.layers[1].reasons.as_slice(), inspected.opened.is_none()), (&[Undecryptable][..], true));
}

#[test]
fn i03_signed_inside_after_encryption_inside_a_signature() {
    let ca = ca();
    let inner = entity_of(&ca.cms(&signed_entity(BUDI), "-encrypt -aes-256-gcm p256.pem"));
    let outer = ca.cms(&signed_entity_of(&inner, P256), "-encrypt -aes-256-cbc rsa.pem");
    let inspected = check_open(&encrypted_mail(SITI, &outer), &["rsa", "p256"], Verdict::Valid, &[]);
    assert_eq!(kinds(&inspected), [Enveloped, SignedDetached, AuthEnveloped, SignedDetached]);
    assert_eq!(inspected.layers[0].integrity, Some(Integrity::SignedInside));
    let opened = inspected.opened.unwrap();
    assert!(opened.entity.starts_with(b"MIME-Version: 1.0") && opened.keys == [["rsa"], ["p256"]]);
}

#[test]
fn i03_layers_and_rounds_are_bounded() {
    let ca = ca();
    let mut entity = signed_entity(P256);
    for depth in 1..=9 {
        let der = ca.cms(&entity, "-encrypt -aes-128-gcm rsa.pem");
        let inspected = ca.open(&encrypted_mail(SITI, &der), &["rsa"]);
        let expected = if depth <= 7 { Verdict::Valid } else { Verdict::Indeterminate };
        assert_eq!(inspected.verdict, expected, "{depth}: {:?}", inspected.reasons);
        assert!(inspected.layers.len() <= ca.options().limits.layers);
        assert_eq!(inspected.reasons.contains(&TooComplex), depth > 7);
        entity = entity_of(&der);
    }
}
