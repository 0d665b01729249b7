//! Encrypted mail made by others, with the keys it was made for.

use super::*;
use segel::cms::enveloped_data::Envelope;
use segel::cms::recipient_info::{RecipientIdentifier, SealedKey};
use segel::cms::{ContentInfo, ContentKind};
use segel::keys::import;
use segel::keys::software::OpenKey;
use segel::reason::Reason;
use segel::smime::inspect::{Integrity, LayerKind};
use std::process::Command;

struct Pair {
    certificate: Certificate,
    key: OpenKey,
}

fn pairs(file: &Path, password: &str) -> Vec<Pair> {
    let imported = import::pkcs12(&std::fs::read(file).unwrap(), password);
    let pairs = imported.unwrap_or_else(|error| panic!("{}: {error}", file.display())).pairs;
    let open = |pair: import::Imported| Pair {
        key: OpenKey::from_pkcs8(&pair.key_der).unwrap(),
        certificate: pair.certificate,
    };
    pairs.into_iter().map(open).collect()
}

fn is_meant(recipient: &Recipient, certificate: &Certificate) -> bool {
    match &recipient.identifier {
        RecipientIdentifier::IssuerAndSerial(issuer, serial) => {
            certificate.serial() == serial && certificate.issuer().matches(issuer)
        }
        RecipientIdentifier::KeyIdentifier(octets) => certificate.subject_key_identifier() == Some(octets.as_slice()),
        RecipientIdentifier::None => false,
    }
}

fn answer(pairs: &[Pair], recipients: &[Recipient], length: usize) -> Vec<ContentKey> {
    let mut found = Vec::new();
    for (recipient, pair) in recipients.iter().flat_map(|recipient| pairs.iter().map(move |pair| (recipient, pair))) {
        if is_meant(recipient, &pair.certificate)
            && let Ok(octets) = pair.key.content_key(&recipient.sealed, length)
        {
            found.push(ContentKey { key: pair.certificate.serial_hex(), octets });
        }
    }
    found
}

fn thunderbird_options(folder: &Path, allow_weak: &[Digest]) -> Options {
    Options { allow_weak: allow_weak.to_vec(), ..options(&[folder.join("smime/TestCA.pem")], "2026-11-22T00:00:00Z") }
}

/// The outermost signed layer decides, and what is encrypted by CBC inside is not signed.
const SIGNED_AROUND_CBC: [&str; 8] = [
    "smime/alice.env.sig.SHA1.opaque.eml",
    "smime/alice.env.dsig.SHA1.multipart.eml",
    "smime/alice.env.sig.SHA256.opaque.eml",
    "smime/alice.env.dsig.SHA256.multipart.eml",
    "smime/alice.env.sig.SHA1.opaque.dave.sig.SHA1.opaque.eml",
    "smime/alice.env.dsig.SHA1.multipart.dave.sig.SHA1.opaque.eml",
    "smime/alice.env.sig.SHA256.opaque.dave.sig.SHA256.opaque.eml",
    "smime/alice.env.dsig.SHA256.multipart.dave.sig.SHA256.opaque.eml",
];

/// With Bob's key: opened wherever Thunderbird opens it, and valid wherever the signature inside is.
#[test]
fn i10_i51_thunderbird_with_the_recipients_key() {
    let Some(folder) = corpus("thunderbird") else { return };
    let bob = pairs(&folder.join("smime/Bob.p12"), "nss");
    let manifest = manifest(&folder.join("manifest.json"));
    let mut wrong = Vec::new();
    let mut opened = 0;
    for (list, allow_weak) in [("default_policy", &[][..]), ("allow_sha1", &[Digest::Sha1][..])] {
        let options = thunderbird_options(&folder, allow_weak);
        for case in manifest[list].as_array().unwrap() {
            let file = case["file"].as_str().unwrap();
            let claims = |key: &str| case[key] == true;
            if !file.contains(".env") {
                continue;
            }
            let inspected = judge_with(mail(&folder.join(file)), &options, &|r, length| answer(&bob, r, length));
            let unproven = inspected.reasons.contains(&Reason::IntegrityUnproven);
            let valid = inspected.verdict == Verdict::Valid;
            let around = SIGNED_AROUND_CBC.contains(&file);
            let agrees = if around {
                inspected.signed && !valid && unproven
            } else {
                claims("sig") == inspected.signed && claims("sig_good") == valid && unproven != valid
            };
            // Proven is what may be shown, and nothing else.
            let shown = inspected.opened.is_some() == valid && !(around && inspected.opened.is_some());
            opened += usize::from(valid);
            if !(agrees && shown && inspected.decrypted && inspected.asked_private_key) {
                wrong.push(format!("{file}: {:?} {:?}, expected {case}", inspected.verdict, inspected.reasons));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(opened, 6);
}

/// The octets of a mail's one CMS object.
fn object(message: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(message).unwrap();
    let body = &text[text.find("\r\n\r\n").unwrap()..];
    let base64: String = body.chars().filter(|letter| !letter.is_whitespace()).collect();
    data_encoding::BASE64.decode(base64.as_bytes()).unwrap()
}

/// The same mail around another CMS object.
fn with_object(message: &[u8], object: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(message).unwrap();
    let head = &text[..text.find("\r\n\r\n").unwrap() + 4];
    let mut out = head.as_bytes().to_vec();
    for line in data_encoding::BASE64.encode(object).as_bytes().chunks(76) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[test]
fn i51_thunderbird_with_flipped_blocks_is_never_opened() {
    let Some(folder) = corpus("thunderbird") else { return };
    let bob = pairs(&folder.join("smime/Bob.p12"), "nss");
    let options = thunderbird_options(&folder, &[]);
    for file in ["alice.env.eml", "alice.dsig.SHA256.multipart.env.eml", "alice.sig.SHA256.opaque.env.eml"] {
        let message = mail(&folder.join("smime").join(file));
        let good = object(&message);
        let info = ContentInfo::from_ber(good.clone(), &Limits::default()).unwrap();
        let ciphertext = Envelope::read(&info).unwrap().ciphertext_length();
        // In BER the ciphertext is cut into pieces; the closing octets are 00 00, five times.
        let start = good.len() - 10 - ciphertext;
        let mut seen = Vec::new();
        for at in (start..good.len() - 10).step_by((ciphertext / 40).max(1)) {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            let inspected = judge_with(with_object(&message, &bad), &options, &|r, length| answer(&bob, r, length));
            // A piece's own tag or length, in which case it is no CMS object any more.
            if inspected.reasons == [Reason::Malformed] {
                continue;
            }
            assert_eq!(inspected.reasons, [Reason::IntegrityUnproven], "{file} at {at}");
            assert!(inspected.opened.is_none() && inspected.layers.len() == 1);
            seen.push(format!("{:?} {:?}", inspected.layers, inspected.warnings));
        }
        assert!(seen.len() > 20, "{}", seen.len());
        seen.dedup();
        assert_eq!(seen.len(), 1, "{file}");
    }
}

/// Nothing of the covert content is opened unless it is the whole message.
#[test]
fn i50_covert_content_stays_closed() {
    let Some(folder) = corpus("rub-nds-covert-content") else { return };
    let manager = pairs(&folder.join("assets/secret-keys/manager@bigcorporation.pfx"), "test12345678");
    let (mut attacks, mut controls) = (0, 0);
    for case in manifest(&folder.join("manifest.json"))["cases"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let message = mail(&folder.join(file));
        let inspected =
            judge_with(message, &options(&[], "2019-11-01T00:00:00Z"), &|r, length| answer(&manager, r, length));
        let is_control = case["technology"] == "smime" && case["kind"] == "control";
        assert!(inspected.opened.is_none(), "{file}");
        assert_eq!(inspected.asked_private_key, is_control, "{file}: {:?}", inspected.reasons);
        assert_eq!(inspected.decrypted, is_control, "{file}");
        controls += usize::from(is_control);
        if case["technology"] == "smime" && !is_control {
            attacks += 1;
            assert!(inspected.reasons.contains(&Reason::Partial), "{file}: {:?}", inspected.reasons);
        }
        if is_control {
            assert_eq!(inspected.reasons, [Reason::IntegrityUnproven], "{file}");
        }
    }
    assert!(attacks >= 3 && controls >= 1, "{attacks} {controls}");
}

/// OpenSSL takes the content key out of RSAES-PKCS1-v1_5: keys of these corpora are too short for us.
fn by_openssl(key: &Path, recipients: &[Recipient]) -> Vec<ContentKey> {
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for (index, recipient) in recipients.iter().enumerate() {
        let SealedKey::RsaPkcs1(sealed) = &recipient.sealed else { continue };
        let file = folder.path().join("sealed");
        std::fs::write(&file, sealed).unwrap();
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-decrypt", "-inkey"]).arg(key).arg("-in").arg(&file);
        let output = command.output().unwrap();
        if output.status.success() {
            found.push(ContentKey { key: index.to_string(), octets: output.stdout.into() });
        }
    }
    found
}

/// The keys of these are not there: to whom and how is read all the same, and nothing else is claimed.
#[test]
fn i12_bouncy_castle_aes() {
    let Some(folder) = corpus("bouncycastle") else { return };
    for (file, cipher) in [("test128", "aes128-cbc"), ("test192", "aes192-cbc"), ("test256", "aes256-cbc")] {
        let message = mail(&folder.join(format!("mail-smime/{file}.message")));
        let inspected = judge(message, &options(&[], "2006-01-01T00:00:00Z"));
        assert_eq!(inspected.layers[0].content_encryption.as_deref(), Some(cipher));
        assert_eq!(inspected.layers[0].recipients[0].kind, "rsa-pkcs1");
        assert_eq!((inspected.verdict, inspected.decrypted), (Verdict::None, false), "{file}");
    }
}

/// RFC 4134 section 5: Triple DES and RC2.
#[test]
fn i10_rfc_4134_enveloped() {
    let Some(folder) = corpus("rfc4134") else { return };
    let folder = folder.join("bc-test-data");
    let key = folder.join("BobPrivRSAEncrypt.pri");
    let content = std::fs::read(folder.join("ExContent.bin")).unwrap();
    let read = |file: &str| {
        let info = ContentInfo::from_ber(std::fs::read(folder.join(file)).unwrap(), &Limits::default()).unwrap();
        assert_eq!(info.kind, ContentKind::Enveloped);
        Envelope::read(&info).unwrap()
    };
    let envelope = read("5.1.bin");
    assert_eq!(envelope.content_encryption, "des-ede3-cbc");
    let keys = by_openssl(&key, &envelope.recipients);
    assert_eq!(&envelope.open(&keys[0].octets).unwrap()[..], content);
    assert!(read("5.2.bin").cipher.is_none(), "RC2");
    let message = mail(&folder.join("5.3.eml"));
    let inspected = judge_with(message, &options(&[], "2001-01-01T00:00:00Z"), &|r, _| by_openssl(&key, r));
    assert_eq!(inspected.reasons, [Reason::IntegrityUnproven]);
    assert_eq!(inspected.warnings, ["weak-encryption"]);
    assert_eq!(inspected.layers[0].integrity, Some(Integrity::Unproven));
}

/// Keys that others made, and what OpenSSL encrypts to them.
#[test]
fn i10_keys_of_mimekit_and_thunderbird() {
    let files = [
        ("mimekit", "smime/rsa/smime.pfx", "no.secret"),
        ("thunderbird", "smime/Bob.p12", "nss"),
        ("thunderbird", "smime/Fran-ec.p12", "nss"),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    std::fs::write(path("entity"), "Content-Type: text/plain\r\n\r\nHalo\r\n").unwrap();
    for (name, file, password) in files {
        let Some(folder) = corpus(name) else { continue };
        let pairs = pairs(&folder.join(file), password);
        std::fs::write(path("to.pem"), pairs[0].certificate.to_pem()).unwrap();
        let mut command = Command::new("openssl");
        command.args(["cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "DER", "-in"]).arg(path("entity"));
        let output = command.arg("-out").arg(path("der")).arg(path("to.pem")).output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        let head =
            b"From: a@example.id\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        let message = with_object(head, &std::fs::read(path("der")).unwrap());
        let inspected =
            judge_with(message, &options(&[], "2026-11-22T00:00:00Z"), &|r, length| answer(&pairs, r, length));
        assert_eq!((inspected.verdict, inspected.decrypted), (Verdict::None, true), "{file}: {:?}", inspected.reasons);
        assert_eq!(&inspected.opened.unwrap().entity[..], b"Content-Type: text/plain\r\n\r\nHalo\r\n");
    }
}

/// Objects of OpenSSL's tests that are not what they say.
#[test]
fn i53_openssl_oddities_are_not_opened() {
    let Some(folder) = corpus("openssl") else { return };
    let pem = std::fs::read_to_string(folder.join("cms-msg/enveloped-content-type-for-aes-gcm.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let gcm_as_enveloped = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let head =
        b"From: a@example.id\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    for object in [gcm_as_enveloped, std::fs::read(folder.join("cms-msg/missing-kdf.der")).unwrap()] {
        let message = with_object(head, &object);
        let inspected = judge_with(message, &options(&[], "2026-11-22T00:00:00Z"), &|_, length| {
            vec![ContentKey { key: "any".to_owned(), octets: vec![1; length].into() }]
        });
        assert!(inspected.opened.is_none() && inspected.verdict != Verdict::Valid);
        assert!(inspected.layers.iter().all(|layer| layer.kind == LayerKind::Enveloped));
        println!("{:?} {:?}", inspected.verdict, inspected.reasons);
    }
}
