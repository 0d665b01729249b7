use super::identity;
use rcgen::{CertificateParams, KeyPair, SanType};

/// A certificate with these names.
fn certificate(names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn mail(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn host(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

#[test]
fn s44_a_certificate_names_its_holder() {
    for (names, expected) in [
        (vec![mail("siti@kabupaten.go.id")], Some("siti@kabupaten.go.id")),
        (vec![host("relay.example"), mail("Siti@kabupaten.go.id")], Some("Siti@kabupaten.go.id")),
        (vec![host("Relay.Example"), host("other.example")], Some("relay.example")),
        (vec![mail("no address"), host("relay.example")], Some("relay.example")),
        (vec![host("*.example")], None),
        (vec![host("a.example\0b")], None),
        (vec![], None),
    ] {
        assert_eq!(identity(&certificate(names.clone())).as_deref(), expected, "{names:?}");
    }
    assert_eq!(identity(b"no certificate"), None);
}
