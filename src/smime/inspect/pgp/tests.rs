use super::{Pgp, pgp};
use crate::limits::Limits;
use crate::mail::mime;

/// A packet in the new format with a length of five octets.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0xc0 | tag, 255], &length[..], body].concat()
}

fn armour(kind: &str, octets: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(octets);
    format!("-----BEGIN PGP {kind}-----\r\nComment: x\r\n\r\n{base64}\r\n=AAAA\r\n-----END PGP {kind}-----\r\n")
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|number| u8::try_from(number * 151 % 251).unwrap()).collect()
}

fn encrypted(armour: &str) -> String {
    format!(
        "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n\
         --b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
         --b\r\nContent-Type: application/octet-stream\r\n\r\n{armour}\r\n--b--\r\n"
    )
}

fn signed(second: &str) -> String {
    format!(
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256; boundary=b\r\n\r\n\
         --b\r\n\r\nHalo.\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\n{second}\r\n--b--\r\n"
    )
}

fn check(message: &str, expected: Option<Pgp>) {
    let structure = mime::parse(message.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(pgp(&structure, message.as_bytes()), expected, "{message}");
}

#[test]
fn o56_encrypted_is_what_only_a_private_key_opens() {
    let (key, data) = (packet(1, &noise(90)), packet(18, &noise(300)));
    let is = |packets: &[&[u8]], expected| check(&encrypted(&armour("MESSAGE", &packets.concat())), expected);
    let yes = Some(Pgp::Encrypted);
    is(&[&key, &data], yes);
    is(&[&packet(10, b"PGP"), &key, &packet(3, &noise(20)), &key, &packet(20, &noise(300))], yes);
    // Old lengths; parts of 256 octets and the rest; a length of two octets.
    is(&[&[0x84, 90], &noise(90), &[0xd2, 232], &noise(256), &[44], &noise(44)], yes);
    is(&[&key, &[0xd2, 192, 8], &noise(200)], yes);
    is(&[&key, &[0xa7], &noise(400)], yes);
    // A literal, a compressed and a signed message are there for everybody to read.
    is(&[&packet(11, b"b\0\0\0\0\0Rahasia.")], None);
    is(&[&packet(8, &noise(100))], None);
    is(&[&key, &packet(11, b"b\0\0\0\0\0Rahasia.")], None);
    is(&[&key, &data, &packet(11, b"b\0\0\0\0\0Rahasia.")], None);
    is(&[&packet(11, b"b\0\0\0\0\0Rahasia."), &key, &data], None);
    // Nobody's key, a password alone, no data, text where a ciphertext should be.
    is(&[&data], None);
    is(&[&packet(3, &noise(20)), &data], None);
    is(&[&key], None);
    is(&[&key, &packet(18, &b"Rapat hari Senin. ".repeat(8))], None);
    is(&[&packet(1, &b"Rapat hari Senin. ".repeat(8)), &data], None);
    // No packets at all, and packets that end too late or too early.
    is(&[b"Rahasia, tidak terenkripsi."], None);
    is(&[&key, &data, b"x"], None);
    is(&[&key, &data[..data.len() - 1]], None);
    is(&[], None);
    check(&encrypted("-----BEGIN PGP MESSAGE-----\r\n\r\nRahasia sekali.\r\n-----END PGP MESSAGE-----"), None);
}

#[test]
fn o56_an_armour_holds_nothing_else() {
    let whole = armour("MESSAGE", &[packet(1, &noise(90)), packet(18, &noise(300))].concat());
    check(&encrypted(&whole), Some(Pgp::Encrypted));
    let replaced = |from: &str, to: &str| {
        assert!(whole.contains(from));
        check(&encrypted(&whole.replacen(from, to, 1)), None);
    };
    replaced("Comment: x\r\n", "Rahasia sekali\r\n");
    replaced("Comment: x\r\n", &format!("Comment: {}\r\n", "x".repeat(200)));
    replaced("Comment: x\r\n", &"Comment: x\r\n".repeat(6));
    replaced("=AAAA\r\n", "=AAAA\r\nUmFoYXNpYQ==\r\n");
    replaced("=AAAA\r\n", "=AAAA\r\nRahasia\r\n");
    replaced("-----BEGIN PGP MESSAGE-----", "Rahasia\r\n-----BEGIN PGP MESSAGE-----");
    replaced("-----END PGP MESSAGE-----", "-----END PGP MESSAGE-----\r\nRahasia");
    replaced("PGP MESSAGE-----\r\n", "PGP MESSAGE----- Rahasia\r\n");
    let third = encrypted(&whole).replace("\r\n--b--", "\r\n--b\r\n\r\nRahasia.\r\n--b--");
    check(&third, None);
    check(&encrypted(&whole).replace("\r\n\r\n--b\r\n", "\r\n\r\nRahasia.\r\n--b\r\n"), None);
}

#[test]
fn o56_signed_is_what_has_a_signature() {
    let signature = packet(2, &noise(100));
    check(&signed(&armour("SIGNATURE", &signature)), Some(Pgp::Signed));
    check(&signed(&armour("SIGNATURE", &[&signature[..], &signature].concat())), Some(Pgp::Signed));
    check(&signed(&armour("SIGNATURE", &[])), None);
    check(&signed(&armour("SIGNATURE", &packet(18, &noise(100)))), None);
    check(&signed(&armour("MESSAGE", &signature)), None);
    check(&signed("tanda tangan"), None);
    check(&signed(&armour("SIGNATURE", &signature)).replace("application/pgp-signature\r\n", "text/plain\r\n"), None);
    check(
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        None,
    );
}
