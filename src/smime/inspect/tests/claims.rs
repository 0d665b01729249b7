//! What outgoing mail only claims to be.

use super::*;
use crate::asn1::{tag, write_tlv};
use crate::cms::enveloped_data::NewEnvelope;
use crate::cms::recipient_info::NewRecipient;
use crate::crypto::ContentCipher;

fn structure(message: &[u8]) -> (Structure, bool) {
    let options = Options { scope: Scope::Structure, ..ca().options() };
    let Step::Done(inspected) = inspect(Bytes::copy_from_slice(message), options) else { panic!("asked for facts") };
    // It is the same to mail that is looked at in full.
    assert_eq!(inspected.structure, ca().inspect(message).structure);
    (inspected.structure, inspected.sealed)
}

fn sealed_mail(der: &[u8]) -> Vec<u8> {
    let fields = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\
                  Content-Transfer-Encoding: base64\r\n";
    mail(SITI, fields, &base64(der))
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|number| u8::try_from(number * 151 % 251).unwrap()).collect()
}

fn to(key: &[u8]) -> NewRecipient {
    let certificate = ca().certificate("rsa");
    NewRecipient::transported(certificate.issuer().der(), certificate.serial(), false, key).unwrap()
}

fn envelope(cipher: ContentCipher, ciphertext: &[u8], recipients: Vec<NewRecipient>) -> Vec<u8> {
    let (nonce, tag) = (noise(cipher.nonce_length()), noise(if cipher.is_authenticated() { 16 } else { 0 }));
    NewEnvelope { cipher, nonce: &nonce, recipients, ciphertext, tag: &tag }.to_der().unwrap()
}

/// `der`, a ContentInfo, with one more field at the end of its content.
fn with_field(der: &[u8], field: &[u8]) -> Vec<u8> {
    let mut info = crate::asn1::Fields::within(der, tag::SEQUENCE).unwrap();
    let kind = info.required(tag::OID).unwrap().whole;
    let inner = crate::asn1::Fields::within(info.required(tag::context(0)).unwrap().content, tag::SEQUENCE).unwrap();
    let content = write_tlv(tag::SEQUENCE, &[inner.rest(), field].concat());
    write_tlv(tag::SEQUENCE, &[kind, &write_tlv(tag::context(0), &content)].concat())
}

#[test]
fn o56_only_a_signature_counts_as_signed() {
    let ca = ca();
    let signed = ca.signed(SITI, P256);
    assert_eq!(structure(&signed), (Structure::SmimeSigned, false));
    assert_eq!(structure(&opaque_mail(&cms(ca, "claims", &format!("{P256} -nodetach")))).0, Structure::SmimeSigned);
    // By whom, and whether it holds, is not asked.
    assert_eq!(structure(&replace(&signed, "ini surat", "changed")).0, Structure::SmimeSigned);
    let clear = |second: &[u8]| {
        let head =
            "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b\r\n";
        let body = [
            b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\
              Content-Transfer-Encoding: base64\r\n\r\n",
            second,
            b"\r\n--b--\r\n",
        ];
        mail(SITI, head, &body.concat())
    };
    let certificates = ca.openssl("crl2pkcs7 -nocrl -certfile issuing.pem -outform DER");
    let enveloped = ca.cms(ENTITY, "-encrypt -aes-256-cbc rsa.pem");
    for (what, message) in [
        ("no signature", clear(&base64(b"no signature"))),
        ("an empty one", clear(b"")),
        ("text", clear(b"tanda tangan")),
        ("certificates for a signature", clear(&base64(&certificates))),
        ("an envelope for a signature", clear(&base64(&enveloped))),
        ("junk", opaque_mail(b"junk")),
        ("nothing", opaque_mail(b"")),
        ("certificates", opaque_mail(&certificates)),
        ("a signature of what is elsewhere", opaque_mail(&cms(ca, "claims2", P256))),
        ("digested data", opaque_mail(&ca.cms(ENTITY, "-digest_create"))),
        ("another type", opaque_mail(&write_tlv(tag::SEQUENCE, &[6, 1, 42, 0xa0, 2, 5, 0]))),
    ] {
        assert_eq!(structure(&message), (Structure::Plain, false), "{what}");
    }
}

#[test]
fn o56_only_what_hides_its_content_counts_as_encrypted() {
    use ContentCipher::{Aes128Cbc, Aes256Cbc, Aes256Gcm, DesEde3Cbc};
    let ca = ca();
    for line in ["-aes-256-cbc rsa.pem", "-aes-128-cbc p256.pem", "-aes-256-gcm rsa.pem p256.pem"] {
        assert_eq!(
            structure(&sealed_mail(&ca.cms(ENTITY, &format!("-encrypt {line}")))),
            (Structure::SmimeEncrypted, true)
        );
    }
    let text = b"Rapat hari Senin pukul delapan, di ruang kepala dinas. ".repeat(16);
    let key = noise(256);
    let check = |what: &str, der: &[u8], expected: (Structure, bool)| {
        assert_eq!(structure(&sealed_mail(der)), expected, "{what}");
    };
    let (sealed, open) = ((Structure::SmimeEncrypted, true), (Structure::SmimeEncrypted, false));
    // What everybody can read where a ciphertext should be is signed like any letter, too.
    let letter = (Structure::Plain, false);
    let good = envelope(Aes256Cbc, &noise(64), vec![to(&key)]);
    check("to somebody", &good, sealed);
    check("GCM", &envelope(Aes256Gcm, &noise(33), vec![to(&key)]), sealed);
    check("text", &envelope(Aes256Cbc, &text, vec![to(&key)]), letter);
    check("text and GCM", &envelope(Aes256Gcm, &text, vec![to(&key)]), letter);
    check("a short text", &envelope(Aes256Cbc, b"Rapat jam delapan", vec![to(&key)]), letter);
    check(
        "text between noise",
        &envelope(Aes256Gcm, &[noise(500), text.clone(), noise(500)].concat(), vec![to(&key)]),
        letter,
    );
    check("nothing", &envelope(Aes256Gcm, b"", vec![to(&key)]), letter);
    check("half a block", &envelope(Aes128Cbc, &noise(40), vec![to(&key)]), open);
    check("triple DES", &envelope(DesEde3Cbc, &noise(64), vec![to(&key)]), open);
    check("a key that is none", &envelope(Aes256Cbc, &noise(64), vec![to(b"key")]), open);
    check("a key that is text", &envelope(Aes256Cbc, &noise(64), vec![to(&text[..256])]), open);
    check("a key that is a letter", &envelope(Aes256Cbc, &noise(64), vec![to(&noise(5000))]), open);
    check("to nobody", &envelope(Aes256Cbc, &noise(64), Vec::new()), (Structure::Plain, false));
    let attributes = write_tlv(0xa1, &write_tlv(tag::OCTET_STRING, &text));
    check("text beside it", &with_field(&good, &attributes), open);
    check("a password", &ca.cms(ENTITY, "-encrypt -aes-256-cbc -pwri_password rahasia"), open);
    check("junk", b"junk", (Structure::Plain, false));
    check("an empty one", &write_tlv(tag::SEQUENCE, &[]), (Structure::Plain, false));
    // A signature around it is what a reader sees first; beside other parts nothing is hidden.
    let signed = ca.signed_content(&sealed_mail(&good), SITI, &format!("{P256} -nodetach"));
    assert_eq!(structure(&signed), (Structure::SmimeSigned, false));
    let lenient = sealed_mail(&good).strip_suffix(b"\r\n").unwrap().to_vec();
    assert_eq!(structure(&[lenient, b"\r\n\r\nRahasia!\r\n".to_vec()].concat()), open);
}
