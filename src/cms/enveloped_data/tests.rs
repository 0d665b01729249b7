use super::*;
use crate::cms::content_info::ID_DATA;

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [3; 12];
const PLAIN: &[u8] = b"Content-Type: text/plain\r\n\r\nHalo\r\n";

/// AuthEnvelopedData without recipients; `attributes` are the members of authAttrs.
fn sealed(cipher: ContentCipher, parameters: &[u8], attributes: Option<&[u8]>) -> Vec<Vec<u8>> {
    let aad = attributes.map_or(Vec::new(), |members| encode::tlv(SET, &[members]));
    let (ciphertext, tag) = cipher.seal(&KEY[..cipher.key_length()], &NONCE, &aad, PLAIN).unwrap();
    let algorithm = encode::tlv(SEQUENCE, &[&encode::identifier(&cipher.oid()).unwrap(), parameters]);
    let content = encode::tlv(0x80, &[&ciphertext]);
    vec![
        vec![INTEGER, 1, 0],
        vec![SET, 0],
        encode::tlv(SEQUENCE, &[&encode::identifier(&ID_DATA).unwrap(), &algorithm, &content]),
        attributes.map_or(Vec::new(), |members| encode::tlv(0xa1, &[members])),
        encode::tlv(OCTET_STRING, &[&tag]),
    ]
}

fn joined(fields: &[Vec<u8>]) -> Bytes {
    encode::tlv(SEQUENCE, &[&fields.concat()]).into()
}

#[test]
fn i10_reads_chacha20() {
    let parameters = encode::tlv(OCTET_STRING, &[&NONCE]);
    let fields = sealed(ContentCipher::ChaCha20Poly1305, &parameters, None);
    let envelope = auth_envelope(&joined(&fields)).unwrap();
    assert_eq!(envelope.open(&KEY).unwrap().as_slice(), PLAIN);
    let mut short = fields;
    short[4] = encode::tlv(OCTET_STRING, &[&[0; 12]]);
    assert_eq!(auth_envelope(&joined(&short)), Err(CmsError::Malformed("mac")));
}

#[test]
fn i52_auth_attrs_are_authenticated() {
    let gcm = encode::tlv(SEQUENCE, &[&encode::tlv(OCTET_STRING, &[&NONCE]), &[INTEGER, 1, 16]]);
    // contentType: id-data.
    let member = [
        &[0x30, 24, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3, 0x31, 11][..],
        &encode::identifier(&ID_DATA).unwrap(),
    ]
    .concat();
    let fields = sealed(ContentCipher::Aes256Gcm, &gcm, Some(&member));
    let open = |fields: &[Vec<u8>]| auth_envelope(&joined(fields)).unwrap().open(&KEY).map(|plain| plain.to_vec());
    assert_eq!(open(&fields).unwrap(), PLAIN);
    // One octet of an attribute, no attributes, and attributes where there were none.
    let mut changed = fields.clone();
    *changed[3].last_mut().unwrap() ^= 1;
    assert_eq!(open(&changed), Err(OpenError::Failed));
    changed[3] = Vec::new();
    assert_eq!(open(&changed), Err(OpenError::Failed));
    let mut without = sealed(ContentCipher::Aes256Gcm, &gcm, None);
    assert_eq!(open(&without).unwrap(), PLAIN);
    without[3] = fields[3].clone();
    assert_eq!(open(&without), Err(OpenError::Failed));
}

#[test]
fn i52_parameters_of_gcm() {
    let nonce = encode::tlv(OCTET_STRING, &[&NONCE]);
    let check = |parameters: &[u8], expected: Result<Option<ContentCipher>, CmsError>| {
        let fields = sealed(ContentCipher::Aes128Gcm, parameters, None);
        assert_eq!(auth_envelope(&joined(&fields)).map(|envelope| envelope.cipher), expected, "{parameters:x?}");
    };
    let malformed = Err(CmsError::Malformed("GCMParameters"));
    check(&encode::tlv(SEQUENCE, &[&nonce, &[INTEGER, 1, 16]]), Ok(Some(ContentCipher::Aes128Gcm)));
    // The default is 12, and the tag has 16.
    check(&encode::tlv(SEQUENCE, &[&nonce]), Err(CmsError::Malformed("mac")));
    for length in [0, 4, 8, 11, 17, 0x80] {
        check(&encode::tlv(SEQUENCE, &[&nonce, &[INTEGER, 1, length]]), malformed);
    }
    check(&encode::tlv(SEQUENCE, &[&nonce, &[INTEGER, 2, 0, 16]]), malformed);
    check(&[], malformed);
    check(&nonce, malformed);
    // Nonces of other lengths are allowed and not implemented.
    for length in [1, 8, 16] {
        let nonce = encode::tlv(OCTET_STRING, &[&vec![1; length]]);
        check(&encode::tlv(SEQUENCE, &[&nonce, &[INTEGER, 1, 16]]), Ok(None));
    }
}

#[test]
fn i10_content_must_be_there() {
    let gcm = encode::tlv(SEQUENCE, &[&encode::tlv(OCTET_STRING, &[&NONCE]), &[INTEGER, 1, 16]]);
    let mut fields = sealed(ContentCipher::Aes256Gcm, &gcm, None);
    let whole = joined(&fields);
    assert!(auth_envelope(&whole).is_ok());
    // As the other type it has something that is no attribute.
    assert_eq!(envelope(&whole), Err(CmsError::Malformed("EnvelopedData")));
    let algorithm = encode::tlv(SEQUENCE, &[&encode::identifier(&ContentCipher::Aes256Gcm.oid()).unwrap(), &gcm]);
    fields[2] = encode::tlv(SEQUENCE, &[&encode::identifier(&ID_DATA).unwrap(), &algorithm]);
    assert_eq!(auth_envelope(&joined(&fields)), Err(CmsError::Malformed("EncryptedContentInfo")));
    assert_eq!(envelope(&joined(&fields[..3])), Err(CmsError::Malformed("EncryptedContentInfo")));
}

#[test]
fn i10_initialisation_vectors_have_their_length() {
    for (cipher, right) in [(ContentCipher::Aes256Cbc, 16), (ContentCipher::DesEde3Cbc, 8)] {
        for length in [0, 8, 12, 16, 17] {
            let iv = encode::tlv(OCTET_STRING, &[&vec![1; length]]);
            let algorithm = encode::tlv(SEQUENCE, &[&encode::identifier(&cipher.oid()).unwrap(), &iv]);
            let content = [encode::identifier(&ID_DATA).unwrap(), algorithm, encode::tlv(0x80, &[&[0; 16]])].concat();
            let fields = [vec![INTEGER, 1, 0], vec![SET, 0], encode::tlv(SEQUENCE, &[&content])];
            let found = envelope(&joined(&fields)).map(|envelope| envelope.cipher);
            let expected = if length == right { Ok(Some(cipher)) } else { Err(CmsError::Malformed("IV")) };
            assert_eq!(found, expected, "{length}");
        }
    }
}
