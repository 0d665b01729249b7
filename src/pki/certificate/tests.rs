use super::*;

#[cfg(feature = "demo")]
fn made() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x8a, 0x01]));
    params.subject_alt_names.push(rcgen::SanType::Rfc822Name("siti@kab.go.id".try_into().unwrap()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
#[cfg(feature = "demo")]
fn a_certificate_keeps_its_octets() {
    let der = made();
    let certificate = Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.der(), der);
    assert_eq!(certificate.serial_hex(), "8a01");
    assert_eq!(certificate.sha256(), crypto::sha256(&der));
    assert!(certificate.is_self_signed() && certificate.is_ca());
    assert_eq!(certificate.key_info(), KeyInfo::Ec { curve: Curve::P256 });
    let pem = certificate.to_pem();
    let two = format!("text\r\n{pem}-----BEGIN X-----\nAAAA\n-----END X-----\n{pem}");
    let read = Certificate::bundle(two.replace('\n', "\r\n").as_bytes()).unwrap();
    assert_eq!(read, [certificate.clone(), certificate.clone()]);
    assert_eq!(Certificate::bundle(&der).unwrap(), [certificate]);
    for bad in
        ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
    {
        assert!(Certificate::bundle(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
#[cfg(feature = "demo")]
fn i06_no_changed_octet_in_a_certificate_panics_or_verifies() {
    let der = made();
    for end in 0..der.len() {
        assert!(Certificate::from_der(&der[..end]).is_err());
    }
    assert!(Certificate::from_der(&[&der[..], &[0]].concat()).is_err());
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut changed = der.clone();
            changed[at] ^= 1 << bit;
            if let Ok(certificate) = Certificate::from_der(&changed) {
                assert!(!certificate.is_self_signed(), "octet {at} bit {bit}");
                assert!(!certificate.subject().to_string().contains('\n'));
                certificate.addresses();
            }
        }
    }
}

#[test]
fn serial_numbers_are_shown_without_their_sign_octet() {
    for (content, expected) in [(&[0u8][..], "00"), (&[0, 0x8a], "8a"), (&[0x0a, 0x1b], "0a1b"), (&[0xff], "ff")] {
        assert_eq!(serial_hex(content), expected);
    }
}
