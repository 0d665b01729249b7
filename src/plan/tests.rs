//! The copies of incoming mail.

use super::*;
use crate::crypto::ContentCipher;
use crate::mail::header::{From, FromTexts};
use crate::mail::{Address, BodyType, Domain, Envelope, ReversePath};
use crate::policy::{
    self, Decision, DomainPolicy, Encrypt, Facts, IncomingPolicy, Policy, RecipientFacts, Side, Sign, Substitute,
    Triggers, Unvouched,
};
use crate::smime::Verdict;
use crate::smime::inspect::{Evidence, Opened};

const MAIL: &[u8] =
    b"From: rina@mitra.test\r\nSubject: s\r\nContent-Type: application/pkcs7-mime\r\nMIME-Version: 1.0\r\n\r\nMIIB\r\n";

fn inspected(entity: &'static [u8]) -> Inspected {
    Inspected {
        verdict: Verdict::None,
        reasons: Vec::new(),
        warnings: Vec::new(),
        from: From::Mailbox(Address::parse("rina@mitra.test").unwrap()),
        signed: false,
        encrypted: true,
        decrypted: true,
        covers_whole_message: true,
        revocation_soft: false,
        layers: Vec::new(),
        deciding: None,
        structure: Structure::SmimeEncrypted,
        sealed: false,
        evidence: Evidence::default(),
        opened: Some(Opened { entity: Bytes::from_static(entity), keys: vec![vec!["siti".to_owned()]] }),
        asked_private_key: true,
        harvest: None,
    }
}

/// Siti has a key for it, Budi has none.
fn copies(entity: &'static [u8]) -> Copies {
    let policy = Policy {
        hostname: "gw.own.test".to_owned(),
        domains: vec![DomainPolicy {
            domain: Domain::parse("own.test").unwrap(),
            sign: Sign::Required,
            encrypt: Encrypt::WhenPossible,
            content_encryption: ContentCipher::Aes256Cbc,
            substitute: Substitute::None,
            unvouched: Unvouched::Refuse,
        }],
        authorise: Vec::new(),
        rules: Vec::new(),
        allow_downgrade: Vec::new(),
        incoming: IncomingPolicy::default(),
        hash: String::new(),
    };
    let facts = Facts {
        login: None,
        sender: crate::mail::authentication::SenderAuthentication::default(),
        side: Side::Outside,
        envelope: Envelope::new(
            ReversePath::Null,
            ["siti@own.test", "budi@own.test"].map(|text| Address::parse(text).unwrap()).to_vec(),
            BodyType::SevenBit,
        ),
        inspected: inspected(entity),
        from_texts: FromTexts::default(),
        own_keys: Vec::new(),
        substitutes: Vec::new(),
        unopened: Some(Inspected { opened: None, decrypted: false, ..inspected(entity) }),
        recipients: vec![
            RecipientFacts { asked_keys: vec!["siti".to_owned()], ..RecipientFacts::default() },
            RecipientFacts::default(),
        ],
        triggers: Triggers::default(),
        already_encrypted: false,
        passed: false,
        returns_opened: false,
        bypass: false,
        first_seen: None,
        again: None,
    };
    let Decision::Accept(decided) = policy::decide(&facts, &policy, Timestamp::UNIX_EPOCH) else { panic!("refused") };
    let source = Source {
        content: MAIL,
        inspected: &facts.inspected,
        unopened: facts.unopened.as_ref(),
        sender: &facts.sender,
        own: &[],
        received: "Received: x\r\n",
        hostname: "gw.own.test",
        id: "1",
        now: Timestamp::UNIX_EPOCH,
        random: [0; 16],
        limits: &Limits::default(),
    };
    let Plan::Done(copies) = plan(&decided, &source).unwrap() else { panic!("nothing is signed") };
    copies
}

fn text(copy: &Copy) -> String {
    String::from_utf8_lossy(copy.content.bytes()).into_owned()
}

#[test]
fn i11_one_copy_opened_and_one_closed() {
    for entity in
        [&b"Content-Type: text/plain\r\n\r\nsecret\r\n"[..], b"Content-Type: text/plain\r\n\r\nsecret \xe9\r\n"]
    {
        let copies = copies(entity);
        assert_eq!(copies.by_recipient, [Some(0), Some(1)]);
        let treatments: Vec<_> = copies.copies.iter().map(|copy| copy.treatment).collect();
        assert_eq!(treatments, ["decrypted", "unopened"]);
        assert!(text(&copies.copies[0]).contains("secret") && !text(&copies.copies[1]).contains("secret"));
    }
}

/// What no server may be sent (RFC 5321 section 2.3.8) would be lost on its way.
#[test]
fn i11_what_can_not_be_sent_stays_closed() {
    for entity in [
        &b"Content-Type: text/plain\r\n\r\nsecret\nmore\r\n"[..],
        b"Content-Type: text/plain\r\n\r\nsecret\rmore\r\n",
        b"Content-Type: text/plain\r\n\r\nsecret\0more\r\n",
        b"Content-Type: text/plain\r\n\r\nsecret\r\n\r",
        b"Content-Type: text/plain\n\nsecret\n",
    ] {
        let copies = copies(entity);
        assert_eq!((copies.by_recipient.as_slice(), copies.copies.len()), (&[Some(0), Some(0)][..], 1));
        assert_eq!(copies.copies[0].treatment, "unopened");
        let text = text(&copies.copies[0]);
        assert!(!text.contains("secret") && text.ends_with("\r\n\r\nMIIB\r\n"), "{text}");
    }
}

/// Only what says how the content is to be read comes out of it.
#[test]
fn i41_no_other_field_is_lifted_from_inside() {
    let copies = copies(
        b"Content-Type: text/plain\r\ncontent-disposition: inline\r\nContent-Segel-Verdict: valid\r\nContent-X: y\r\n\
          Subject: inside\r\nX-Spam: no\r\n\r\nsecret\r\n",
    );
    let text = text(&copies.copies[0]);
    for there in ["Content-Type: text/plain\r\n", "content-disposition: inline\r\n", "Subject: inside\r\n", "From: "] {
        assert_eq!(text.matches(there).count(), 1, "{there}: {text}");
    }
    for absent in ["Content-Segel", "Content-X", "X-Spam", "pkcs7"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

/// A field of ours that hides behind a bare CR goes, and what stood below the header section inside stays below it.
#[test]
fn i42_what_is_inside_never_becomes_a_field_around_it() {
    let entity =
        b"Content-Type: text/plain\r\nContent-Description: x\rReturn-Path: <a@b>\r\n\r\nSegel-Verdict: forged\r\n";
    for copy in &copies(entity).copies {
        let text = text(copy);
        let (section, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!section.contains("forged") && !section.contains("Return-Path"), "{text}");
    }
}
