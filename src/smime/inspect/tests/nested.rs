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
    let inspected = check_open(&wrapped, &["rsa"], Verdict::Indeterminate, &[Undecryptable]);
    assert_eq!((inspected.layers[1].reasons.as_slice(), inspected.opened.is_none()), (&[Undecryptable][..], true));
    assert!(inspected.layers[0].reasons.is_empty());
}

/// A bomb, or what can't be read, is none the better for a good signature around it.
#[test]
fn i05_what_breaks_inside_counts_whoever_signed_around_it() {
    let ca = ca();
    let bomb = entity_of(&compressed(&vec![b' '; 20 << 20], |stream| stream));
    let cut = entity_of(&compressed(ENTITY, |stream| stream[..stream.len() - 5].to_vec()));
    for (content, verdict, reason) in [(bomb, Verdict::Indeterminate, TooComplex), (cut, Verdict::Invalid, Malformed)] {
        let signed = message(&signed_entity_of(&content, P256));
        check_open(&signed, &[], verdict, &[reason]);
        let sealed = entity_of(&ca.cms(&content, "-encrypt -aes-256-gcm rsa.pem"));
        let wrapped = message(&signed_entity_of(&sealed, P256));
        check_open(&wrapped, &["rsa"], verdict, &[reason]);
        check_open(&wrapped, &["p256"], Verdict::Valid, &[]);
    }
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

/// CompressedData around an entity (RFC 3274).
fn compressed(content: &[u8], stream: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    use crate::cms::content_info::{ID_COMPRESSED_DATA, encode};
    use flate2::{Compress, Compression, FlushCompress};
    let mut out = Vec::with_capacity(content.len() + 1000);
    Compress::new(Compression::best(), true).compress_vec(content, &mut out, FlushCompress::Finish).unwrap();
    let out = stream(out);
    let hex = |text: &[u8]| data_encoding::HEXLOWER.decode(text).unwrap();
    let tlv = |tag: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        // Lengths in four octets are BER, which is normalised.
        [&[tag, 0x84][..], &length, &content].concat()
    };
    let explicit = tlv(0xa0, &[&tlv(0x04, &[&out])]);
    let encapsulated = tlv(0x30, &[&hex(b"06092a864886f70d010701"), &explicit]);
    let algorithm = hex(b"300d060b2a864886f70d0109100308");
    encode(&ID_COMPRESSED_DATA, &tlv(0x30, &[&[2, 1, 0], &algorithm, &encapsulated])).unwrap()
}

#[test]
fn i03_compressed_in_any_layer() {
    let ca = ca();
    let whole = |content: &[u8]| compressed(content, |stream| stream);
    let signed = signed_entity(P256);
    let inspected = check_open(&encrypted_mail(SITI, &whole(&signed)), &[], Verdict::Valid, &[]);
    assert_eq!(kinds(&inspected), [LayerKind::Compressed, SignedDetached]);
    assert_eq!((inspected.deciding, inspected.encrypted), (Some(1), false));
    let around = signed_entity_of(&entity_of(&whole(ENTITY)), P256);
    let inspected = check_open(&message(&around), &[], Verdict::Valid, &[]);
    assert_eq!(kinds(&inspected), [SignedDetached, LayerKind::Compressed]);
    for (cipher, kind, integrity) in [
        ("-aes-256-gcm", AuthEnveloped, Integrity::Authenticated),
        ("-aes-256-cbc", Enveloped, Integrity::SignedInside),
    ] {
        let inner = entity_of(&whole(&signed));
        let sealed = ca.cms(&inner, &format!("-encrypt {cipher} rsa.pem"));
        let inspected = check_open(&encrypted_mail(SITI, &sealed), &["rsa"], Verdict::Valid, &[]);
        assert_eq!(kinds(&inspected), [kind, LayerKind::Compressed, SignedDetached]);
        assert_eq!(inspected.layers[0].integrity, Some(integrity));
        assert_eq!(&inspected.opened.unwrap().entity[..], inner);
    }
    // Compression proves nothing.
    let sealed = ca.cms(&entity_of(&whole(ENTITY)), "-encrypt -aes-256-cbc rsa.pem");
    let inspected = check_open(&encrypted_mail(SITI, &sealed), &["rsa"], Verdict::Indeterminate, &[IntegrityUnproven]);
    assert_eq!(kinds(&inspected), [Enveloped]);
}

#[test]
fn i05_compressed_content_that_breaks_or_bursts() {
    let signed = signed_entity(P256);
    let cut = compressed(&signed, |stream| stream[..stream.len() - 5].to_vec());
    check_open(&encrypted_mail(SITI, &cut), &[], Verdict::Invalid, &[Malformed]);
    let bomb = compressed(&vec![b' '; 20 << 20], |stream| stream);
    assert!(bomb.len() < 100_000);
    check_open(&encrypted_mail(SITI, &bomb), &[], Verdict::Indeterminate, &[TooComplex]);
    // A bomb in what nothing authenticates is garbage like any other.
    let ca = ca();
    let sealed = ca.cms(&entity_of(&bomb), "-encrypt -aes-256-cbc rsa.pem");
    let inspected = check_open(&encrypted_mail(SITI, &sealed), &["rsa"], Verdict::Indeterminate, &[IntegrityUnproven]);
    assert_eq!(kinds(&inspected), [Enveloped]);
}
