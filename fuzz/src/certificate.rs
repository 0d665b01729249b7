//! Certificates: what is read is what was given, in DER and in PEM.

use segel::mail::Address;
use segel::pki::{Certificate, Purpose};

/// One certificate as DER, and `data` as a file of them.
pub fn check(data: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.der(), data);
        one(&certificate);
        let read = Certificate::bundle(certificate.to_pem().as_bytes()).expect("our own PEM");
        assert!(matches!(&read[..], [same] if same.der() == data));
    }
    if let Ok(found) = Certificate::bundle(data) {
        found.iter().for_each(one);
    }
}

fn one(certificate: &Certificate) {
    let own = [certificate.spki_der(), certificate.subject().der(), certificate.issuer().der(), certificate.serial()];
    assert!(own.iter().all(|part| part.len() <= certificate.der().len()));
    assert!(certificate.subject().matches(certificate.subject()));
    if certificate.is_self_signed() {
        assert!(
            certificate.verify_signed_by(certificate).is_ok() && certificate.subject().matches(certificate.issuer())
        );
    }
    let other = Address::parse("nobody@elsewhere.invalid").expect("an address");
    for address in certificate.addresses() {
        assert!(certificate.names_address(address), "{address}");
        assert!(!address.as_str().chars().any(char::is_control));
    }
    if certificate.names_address(&other) {
        assert!(certificate.addresses().iter().any(|address| address.same_mailbox(&other)));
    }
    let _ = (certificate.key_info(), certificate.is_ca(), certificate.key_usage(), certificate.extended_key_usage());
    let _ = (certificate.not_before(), certificate.not_after(), certificate.subject_key_identifier());
    let _ = (certificate.subject().to_string(), certificate.serial_hex(), certificate.has_too_many_names());
    for purpose in [Purpose::EmailSign, Purpose::EmailEncrypt, Purpose::Any] {
        let _ = purpose.allows_end_entity(certificate);
    }
}
