//! What keys open, with which key and what is said about it.

use super::*;
use crate::smime::tests::finish_keys;
use std::cell::RefCell;

/// A mail that is this CMS object.
pub(super) fn encrypted_mail(from: &str, der: &[u8]) -> Vec<u8> {
    let fields = "Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n";
    mail(from, fields, &base64(der))
}

/// An entity that is this CMS object.
pub(super) fn entity_of(der: &[u8]) -> Vec<u8> {
    let fields = "Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    [fields.as_bytes(), &base64(der)].concat()
}

/// ENTITY, signed: the entity without the message's fields.
pub(super) fn signed_entity(options: &str) -> Vec<u8> {
    signed_entity_of(ENTITY, options)
}

pub(super) fn signed_entity_of(content: &[u8], options: &str) -> Vec<u8> {
    let text = String::from_utf8(ca().signed_content(content, SITI, options)).unwrap();
    text.as_bytes()[text.find("MIME-Version").unwrap()..].to_vec()
}

pub(super) fn check_open(message: &[u8], keys: &[&str], verdict: Verdict, reasons: &[Reason]) -> Inspected {
    let inspected = ca().open(message, keys);
    assert_eq!((inspected.verdict, inspected.reasons.as_slice()), (verdict, reasons), "{:#?}", inspected.layers);
    inspected
}

/// Recipients, ciphers and what the layer says of them.
const KINDS: [(&str, &str, &str, &str); 12] = [
    ("-aes-256-cbc rsa.pem", "rsa", "aes256-cbc", "rsa-pkcs1"),
    ("-aes-192-cbc rsa.pem", "rsa", "aes192-cbc", "rsa-pkcs1"),
    ("-aes-128-cbc -keyid rsa.pem", "rsa", "aes128-cbc", "rsa-pkcs1"),
    ("-aes-256-gcm rsa.pem", "rsa", "aes256-gcm", "rsa-pkcs1"),
    ("-aes-192-gcm rsa.pem", "rsa", "aes192-gcm", "rsa-pkcs1"),
    ("-aes-128-gcm rsa.pem", "rsa", "aes128-gcm", "rsa-pkcs1"),
    ("-aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep", "rsa", "aes256-gcm", "rsa-oaep"),
    (
        "-aes-128-cbc -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256",
        "rsa",
        "aes128-cbc",
        "rsa-oaep",
    ),
    ("-aes-256-gcm p256.pem", "p256", "aes256-gcm", "ecdh"),
    ("-aes-128-cbc -keyid p256.pem", "p256", "aes128-cbc", "ecdh"),
    ("-aes-256-cbc -recip p384.pem -keyopt ecdh_kdf_md:sha384", "p384", "aes256-cbc", "ecdh"),
    ("-des3 rsa.pem", "rsa", "des-ede3-cbc", "rsa-pkcs1"),
];

#[test]
fn i10_opens_what_openssl_encrypts() {
    let ca = ca();
    let inner = signed_entity(P256);
    for (options, key, cipher, transport) in KINDS {
        let message = encrypted_mail(SITI, &ca.cms(&inner, &format!("-encrypt {options}")));
        let inspected = check_open(&message, &[key], Verdict::Valid, &[]);
        assert!(inspected.encrypted && inspected.decrypted && inspected.signed && inspected.asked_private_key);
        assert!(inspected.covers_whole_message);
        assert_eq!((inspected.deciding, inspected.layers.len()), (Some(1), 2));
        let layer = &inspected.layers[0];
        assert_eq!(layer.content_encryption.as_deref(), Some(cipher));
        assert_eq!((layer.recipients[0].kind.as_str(), layer.decrypted), (transport, true));
        let authenticated = cipher.ends_with("gcm");
        let integrity = if authenticated { Integrity::Authenticated } else { Integrity::SignedInside };
        assert_eq!(layer.integrity, Some(integrity));
        let opened = inspected.opened.as_ref().unwrap();
        assert_eq!((&opened.entity[..], &opened.keys), (&inner[..], &vec![vec![key.to_owned()]]));
        assert_eq!(inspected.warnings.contains(&"weak-encryption".to_owned()), cipher.starts_with("des"), "{options}");
        assert!(report::segel_verdict(&inspected).ends_with("; encrypted=yes"));
        let json = report::json(&inspected, None);
        assert_eq!((&json["decrypted"], &json["layers"][0]["decrypted"]), (&true.into(), &true.into()));
        assert_eq!(json["layers"][0]["integrity"], integrity.name());
    }
}

#[test]
fn i10_authenticated_content_needs_no_signature() {
    let message = encrypted_mail(SITI, &ca().cms(ENTITY, "-encrypt -aes-256-gcm rsa.pem"));
    let inspected = check_open(&message, &["rsa"], Verdict::None, &[]);
    assert!(inspected.decrypted && !inspected.signed);
    assert_eq!(&inspected.opened.unwrap().entity[..], ENTITY);
    // Lines that somebody else's mailer ended in LF alone can be read, and be sent on, in their usual form only.
    let lf: Vec<u8> = ENTITY.iter().copied().filter(|octet| *octet != b'\r').collect();
    let message = encrypted_mail(SITI, &ca().cms(&lf, "-encrypt -aes-256-gcm rsa.pem"));
    assert_eq!(&check_open(&message, &["rsa"], Verdict::None, &[]).opened.unwrap().entity[..], ENTITY);
    let signed = signed_entity(P256);
    let lf: Vec<u8> = signed.iter().copied().filter(|octet| *octet != b'\r').collect();
    let message = encrypted_mail(SITI, &ca().cms(&lf, "-encrypt -aes-256-cbc rsa.pem"));
    assert_eq!(&check_open(&message, &["rsa"], Verdict::Valid, &[]).opened.unwrap().entity[..], signed);
}

#[test]
fn i10_refused_ciphers_are_unsupported_and_nobody_is_asked() {
    let ca = ca();
    let der = ca.cms(ENTITY, "-encrypt -aes-256-cbc rsa.pem");
    // aes256-cbc (…1.42) by another name (…1.47, CCM): the object identifier's last octet.
    let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
    let at = der.windows(oid.len()).position(|window| window == oid).unwrap() + oid.len() - 1;
    let mut other = der;
    other[at] = 0x2f;
    let inspected = check_open(&encrypted_mail(SITI, &other), &["rsa"], Verdict::Indeterminate, &[Unsupported]);
    assert!(!inspected.asked_private_key && !inspected.decrypted);
    assert_eq!(inspected.layers[0].content_encryption.as_deref(), Some("aes256-ccm"));
}

#[test]
fn i12_without_a_key_it_is_somebody_elses() {
    for options in ["-aes-256-gcm rsa.pem", "-aes-256-cbc rsa.pem"] {
        let message = encrypted_mail(SITI, &ca().cms(ENTITY, &format!("-encrypt {options}")));
        let inspected = check_open(&message, &["p256"], Verdict::None, &[]);
        assert!(inspected.encrypted && !inspected.decrypted && !inspected.asked_private_key);
        assert!(inspected.opened.is_none() && inspected.layers[0].integrity.is_none());
    }
}

#[test]
fn i11_every_key_that_opens_it_is_named() {
    let ca = ca();
    for cipher in ["-aes-256-gcm", "-aes-256-cbc"] {
        let der = ca.cms(&signed_entity(P256), &format!("-encrypt {cipher} rsa.pem p256.pem p384.pem"));
        let message = encrypted_mail(SITI, &der);
        let keys = |names: &[&str]| check_open(&message, names, Verdict::Valid, &[]).opened.unwrap().keys;
        assert_eq!(keys(&["p384"]), [["p384"]]);
        assert_eq!(keys(&["rsa", "p384"]), [["rsa", "p384"]]);
        // One that is named and gives something else is not among them, wherever it stands.
        for first in [true, false] {
            let inspected = finish_keys(
                &message,
                ca.options(),
                |_| Vec::new(),
                &[],
                |need| {
                    let mut found = ca.content_keys(&["p256"], need);
                    let wrong = ContentKey { key: "wrong".to_owned(), octets: Zeroizing::new(vec![7; 32]) };
                    found.insert(if first { 0 } else { 1 }, wrong);
                    found
                },
            );
            assert_eq!(
                (inspected.verdict, inspected.opened.unwrap().keys),
                (Verdict::Valid, vec![vec!["p256".to_owned()]])
            );
        }
    }
}

#[test]
fn i11_every_one_of_many_recipients_opens_it() {
    let ca = ca();
    for cipher in ["-aes-256-gcm", "-aes-256-cbc"] {
        let message = encrypted_mail(SITI, &ca.cms(&signed_entity(P256), &format!("-encrypt {cipher} rsa.pem")));
        let twelve = |need: &Need| {
            let found = ca.content_keys(&["rsa"], need).remove(0);
            (0..12).map(|number| ContentKey { key: number.to_string(), ..found.clone() }).collect()
        };
        let inspected = finish_keys(&message, ca.options(), |_| Vec::new(), &[], twelve);
        assert_eq!((inspected.verdict, inspected.opened.unwrap().keys[0].len()), (Verdict::Valid, 12));
    }
}

#[test]
fn i62_candidates_are_bounded_and_the_first_of_a_key_counts() {
    let ca = ca();
    for (cipher, reason) in [("-aes-256-gcm", Undecryptable), ("-aes-256-cbc", IntegrityUnproven)] {
        let message = encrypted_mail(SITI, &ca.cms(&signed_entity(P256), &format!("-encrypt {cipher} rsa.pem")));
        let wrong = |key: String| ContentKey { key, octets: Zeroizing::new(vec![9; 32]) };
        let run = |before: &[ContentKey]| {
            finish_keys(
                &message,
                ca.options(),
                |_| Vec::new(),
                &[],
                |need| [before.to_vec(), ca.content_keys(&["rsa"], need)].concat(),
            )
        };
        let others = |count: u8| {
            let unlike = |number: u8| ContentKey { key: number.to_string(), octets: Zeroizing::new(vec![number; 32]) };
            (0..count).map(unlike).collect::<Vec<_>>()
        };
        assert_eq!(run(&others(7)).verdict, Verdict::Valid);
        assert_eq!(run(&others(8)).reasons, [reason]);
        // Many recipients: the same content key again and again is one.
        let same = |count: usize| (0..count).map(|number| wrong(number.to_string())).collect::<Vec<_>>();
        let most = ca.options().limits.recipients;
        assert_eq!(run(&same(most - 1)).verdict, Verdict::Valid);
        assert_eq!(run(&same(most)).reasons, [reason]);
        assert_eq!(run(&[wrong("rsa".to_owned())]).reasons, [reason]);
        // Of another length: fails like a wrong one.
        let short = ContentKey { key: "rsa".to_owned(), octets: Zeroizing::new(vec![9; 5]) };
        let inspected = run(&[short]);
        assert_eq!(inspected.reasons, [reason]);
        assert!(inspected.asked_private_key && inspected.opened.is_none());
    }
}

#[test]
fn keys_are_asked_for_last_alone_and_once() {
    let ca = ca();
    let inner = ca.cms(&signed_entity(P256), "-encrypt -aes-256-gcm rsa.pem");
    let text = ca.signed_content(&entity_of(&inner), SITI, "-signer budi.pem -inkey budi.key");
    let asked = RefCell::new(Vec::new());
    let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca.options() };
    let mut step = inspect(Bytes::from(text), hard);
    let inspected = loop {
        match step {
            Step::Done(inspected) => break inspected,
            Step::Need(needs, paused) => {
                asked.borrow_mut().push(needs.iter().map(|need| format!("{need:?}")).collect::<Vec<_>>());
                // Keys that nobody has asked for are dropped.
                let keys = |need: &Need| ca.content_keys(&["rsa"], need);
                step = paused.resume(needs.iter().map(|need| Fact::ContentKeys(keys(need))).collect());
            }
        }
    };
    let asked = asked.into_inner();
    let of_keys: Vec<_> =
        asked.iter().map(|round| round.iter().filter(|need| need.starts_with("ContentKeys")).count()).collect();
    assert_eq!(of_keys, [0, 1], "{asked:#?}");
    assert_eq!(asked[1].len(), 1);
    assert!(inspected.decrypted);
}

#[test]
fn structure_asks_for_no_keys() {
    let message = encrypted_mail(SITI, &ca().cms(ENTITY, "-encrypt -des3 rsa.pem"));
    let options = Options { scope: Scope::Structure, ..ca().options() };
    let Step::Done(inspected) = inspect(Bytes::from(message), options) else { panic!("asked for facts") };
    assert_eq!((inspected.structure, inspected.verdict), (Structure::SmimeEncrypted, Verdict::None));
}

/// Two readers, two senders: some show the inner one.
#[test]
fn i46_a_from_inside_that_is_another_one() {
    let ca = ca();
    let inner =
        |from: &str| [format!("From: {from}\r\nAuthentication-Results: x; smime=pass\r\n").as_bytes(), ENTITY].concat();
    let run = |entity: &[u8], verdict: Verdict, reasons: &[Reason]| {
        let message = encrypted_mail(SITI, &ca.cms(entity, "-encrypt -aes-256-gcm rsa.pem"));
        let inspected = check_open(&message, &["rsa"], verdict, reasons);
        assert_eq!(&inspected.opened.unwrap().entity[..], entity);
    };
    run(&inner("siti@EXAMPLE.id"), Verdict::None, &[]);
    run(&inner("budi@example.id"), Verdict::Invalid, &[Ambiguous]);
    let lying = signed_entity_of(&inner("budi@example.id"), P256);
    run(&lying, Verdict::Invalid, &[Ambiguous]);
    run(&signed_entity_of(&inner("siti@example.id"), P256), Verdict::Valid, &[]);
    // The same sender under a name that passes for another address.
    run(&signed_entity_of(&inner("Siti <siti@example.id>"), P256), Verdict::Valid, &[]);
    let named = signed_entity_of(&inner("\"bupati@example.id\" <siti@example.id>"), P256);
    run(&named, Verdict::Invalid, &[Ambiguous]);
}

#[test]
fn plaintext_is_in_no_debug_text() {
    let ca = ca();
    let message = encrypted_mail(
        SITI,
        &ca.cms(&entity_of(&ca.cms(ENTITY, "-encrypt -aes-256-gcm rsa.pem")), "-encrypt -aes-256-gcm rsa.pem"),
    );
    let Step::Need(needs, paused) = inspect(Bytes::from(message), ca.options()) else { panic!("no needs") };
    let facts = needs.iter().map(|need| Fact::ContentKeys(ca.content_keys(&["rsa"], need))).collect::<Vec<_>>();
    assert!(!format!("{facts:?}").contains("octets"));
    let Step::Need(_, paused) = paused.resume(facts) else { panic!("no needs") };
    assert!(!format!("{paused:?}").contains("pkcs7-mime"));
}
