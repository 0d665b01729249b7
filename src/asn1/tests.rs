use super::*;

const SIGNED: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const ENVELOPED: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.replace(' ', "").as_bytes()).unwrap()
}

fn indefinite(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[tag, 0x80][..], &parts.concat(), &[0, 0]].concat()
}

fn definite(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    assert!(content.len() < 128);
    [&[tag, u8::try_from(content.len()).unwrap()][..], &content].concat()
}

#[test]
fn i02_ber_becomes_der() {
    let check = |ber: &str, der: &str| {
        let (ber, der) = (hex(ber), hex(der));
        let got = ber_to_der(&ber, &Limits::default()).unwrap();
        assert_eq!(*got, *der);
        assert_eq!(matches!(got, Cow::Borrowed(_)), ber == der);
    };
    check("30 03 02 01 05", "30 03 02 01 05");
    check("30 80 02 01 05 00 00", "30 03 02 01 05");
    check("30 81 03 02 01 05", "30 03 02 01 05");
    check("30 84 00 00 00 03 02 01 05", "30 03 02 01 05");
    check("24 80 04 01 61 04 02 62 63 00 00", "04 03 61 62 63");
    check("24 08 04 01 61 24 03 04 01 62", "04 02 61 62");
    check("24 80 00 00", "04 00");
    check("23 80 03 02 00 ff 03 02 04 f0 00 00", "03 03 04 ff f0");
    check("2c 80 04 01 61 04 01 62 00 00", "0c 02 61 62");
    // SET OF keeps its order.
    check("31 80 02 01 09 02 01 01 00 00", "31 06 02 01 09 02 01 01");
    check("bf 81 00 80 02 01 05 00 00", "bf 81 00 03 02 01 05");
    check("7f 1f 80 02 01 05 00 00", "7f 1f 03 02 01 05");
}

#[test]
fn i02_tag_zero_depends_on_the_content_type() {
    let data: &[u8] = &[0x06, 0x01, 0x2a];
    let algorithm: &[u8] = &[0x30, 0x00];
    let chunk: &[u8] = &[0x04, 0x02, 0x61, 0x62];
    let version: &[u8] = &[0x02, 0x01, 0x00];
    let build = |outer: &[u8]| {
        let info = indefinite(0x30, &[data, algorithm, &indefinite(0xa0, &[chunk, chunk])]);
        indefinite(0x30, &[outer, &indefinite(0xa0, &[&indefinite(0x30, &[version, &[0x31, 0x00], &info])])])
    };
    let expected = |outer: &[u8], content: &[u8]| {
        let info = definite(0x30, &[data, algorithm, content]);
        definite(0x30, &[outer, &definite(0xa0, &[&definite(0x30, &[version, &[0x31, 0x00], &info])])])
    };
    let limits = Limits::default();
    let implicit = definite(0x80, &[b"abab"]);
    let explicit = definite(0xa0, &[chunk, chunk]);
    assert_eq!(*ber_to_der(&build(ENVELOPED), &limits).unwrap(), *expected(ENVELOPED, &implicit));
    assert_eq!(*ber_to_der(&build(SIGNED), &limits).unwrap(), *expected(SIGNED, &explicit));
}

#[test]
fn i06_broken_input_is_an_error() {
    let check = |ber: &str, expected: Asn1Error| {
        assert_eq!(ber_to_der(&hex(ber), &Limits::default()).unwrap_err(), expected, "{ber}");
    };
    check("", Asn1Error::Malformed(0));
    check("30", Asn1Error::Malformed(0));
    check("30 05 02 01 05", Asn1Error::Malformed(0));
    check("30 03 02 02 05", Asn1Error::Malformed(2));
    check("30 03 02 01 05 00", Asn1Error::Trailing);
    check("30 80 02 01 05", Asn1Error::Malformed(5));
    check("30 80 02 01 05 00 01 00", Asn1Error::Malformed(5));
    check("30 02 00 00", Asn1Error::Malformed(2));
    check("04 80 00 00", Asn1Error::Malformed(0));
    check("30 88 ff ff ff ff ff ff ff ff", Asn1Error::Malformed(0));
    check("30 89 01 00 00 00 00 00 00 00 00", Asn1Error::Malformed(0));
    check("30 ff", Asn1Error::Malformed(0));
    check("22 03 02 01 05", Asn1Error::Malformed(0));
    check("10 00", Asn1Error::Malformed(0));
    check("24 80 0c 01 61 00 00", Asn1Error::Malformed(2));
    check("23 80 03 02 01 fe 03 02 00 ff 00 00", Asn1Error::Malformed(6));
    check("23 80 03 00 00 00", Asn1Error::Malformed(2));
    check("1f 1e 00", Asn1Error::Malformed(0));
    check("1f 80 1f 00", Asn1Error::Malformed(0));
    check("1f ff ff ff ff 7f 00", Asn1Error::Malformed(0));
}

#[test]
fn i06_limits_hold() {
    let limits = Limits { asn1_elements: 4, asn1_integer: 2, asn1_oid: 2, message: 64, ..Limits::default() };
    let check = |ber: &str, expected: Asn1Error| {
        assert_eq!(ber_to_der(&hex(ber), &limits).unwrap_err(), expected, "{ber}");
    };
    check("30 0c 05 00 05 00 05 00 05 00 05 00 05 00", Asn1Error::TooComplex(8));
    check("02 03 01 02 03", Asn1Error::TooComplex(2));
    check("06 03 01 02 03", Asn1Error::TooComplex(2));
    assert_eq!(ber_to_der(&[0; 65], &limits).unwrap_err(), Asn1Error::TooComplex(64));
}

#[test]
fn i06_deep_nesting_ends_at_the_limit() {
    let limits = Limits::default();
    for tag in [0x30u8, 0x24, 0xa0] {
        let mut ber = [tag, 0x80].repeat(10_000);
        assert_eq!(ber_to_der(&ber, &limits).unwrap_err(), Asn1Error::TooComplex(limits.asn1_depth * 2));
        ber.extend([0, 0].repeat(10_000));
        assert_eq!(ber_to_der(&ber, &limits).unwrap_err(), Asn1Error::TooComplex(limits.asn1_depth * 2));
    }
}

#[test]
fn i06_every_cut_and_every_changed_octet_ends() {
    let chunk: &[u8] = &[0x04, 0x02, 0x61, 0x62];
    let info = indefinite(0x30, &[ENVELOPED, &[0x30, 0x00], &indefinite(0xa0, &[chunk, chunk])]);
    let whole = indefinite(0x30, &[ENVELOPED, &indefinite(0xa0, &[&indefinite(0x30, &[&[0x02, 0x01, 0x00], &info])])]);
    let limits = Limits::default();
    for end in 0..whole.len() {
        assert!(ber_to_der(&whole[..end], &limits).is_err());
    }
    for at in 0..whole.len() {
        for octet in 0..=255 {
            let mut changed = whole.clone();
            changed[at] = octet;
            if let Ok(der) = ber_to_der(&changed, &limits) {
                // What comes out is DER: converting it again changes nothing.
                let again = ber_to_der(&der, &limits);
                assert!(again.is_ok_and(|again| again == der), "{at} {octet}");
            }
        }
    }
}

#[test]
fn i06_large_input_takes_linear_time() {
    let chunk = [&[0x04, 0x82, 0x03, 0xe8][..], &[b'x'; 1000]].concat();
    let content = indefinite(0x24, &[&chunk.repeat(4000)]);
    let ber = indefinite(0x30, &[SIGNED, &indefinite(0xa0, &[&indefinite(0x30, &[&content])])]);
    let der = ber_to_der(&ber, &Limits::default()).unwrap();
    assert!(der.len() > 4_000_000 && der.len() < 4_000_100);
    let bits = indefinite(0x30, &[&indefinite(0x23, &[&[0x03, 0x02, 0x00, 0xff]]).repeat(20_000)]);
    assert!(ber_to_der(&bits, &Limits::default()).is_ok());
}

#[test]
fn tlv_is_strict() {
    let (tlv, rest) = read_tlv(&[0x02, 0x01, 0x05, 0xaa]).unwrap();
    assert_eq!((tlv.tag, tlv.content, tlv.whole, rest), (2, &[5u8][..], &[2u8, 1, 5][..], &[0xaau8][..]));
    for bad in ["", "02", "02 81 01 05", "02 02 05", "30 80 00 00", "1f 1f 00"] {
        assert!(read_tlv(&hex(bad)).is_err(), "{bad}");
    }
}
