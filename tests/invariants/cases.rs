//! Inputs that fuzzing has found, each named by what it shows.

use super::checks;

/// 60 times two octets are no domain: in A-labels they are more than 255. Such an address was sent as `MAIL FROM` that no
/// server can read.
#[test]
fn an_address_that_is_taken_can_be_sent() {
    let address = format!("u@{}id", "ü.".repeat(60));
    checks::smtp_data::check(format!("{address}\r\nchoices.").as_bytes());
    checks::smtp_data::check(format!("{address}\r\nchoicez.").as_bytes());
}

/// X.690 section 8.6.4 lets a constructed BIT STRING have no segment; it grows by the octet of unused bits.
#[test]
fn a_bit_string_of_no_segments_is_an_empty_one() {
    checks::ber::check(b"\x23\0");
    checks::ber::check(b"\x30\x06\x23\0\x23\0\x23\0");
    // After a segment with unused bits, it takes nothing away.
    checks::ber::check(b"\x23\x80\x03\x02\x06\x40\x23\0\0\0");
    // Segments in segments, some of them empty, as a fuzzer has nested them.
    let nested = data_encoding::BASE64.decode(
        b"I4ADDQADDQYJTCpWVlZSI4AjgAMNAAMNBglMKlZWVlYjgCOAAw0AAw0GCUwqVlZWVlZWAAADDQYJTCpWVlZWVlZWI4AAACMAAAA=",
    );
    checks::ber::check(&nested.unwrap());
}

/// A reader that looks for delimiters while it decodes finds one in the middle of a line; here it had three parts, and for
/// everybody else there were two.
#[test]
fn a_delimiter_in_the_middle_of_a_line_is_no_clear_mail() {
    let head = "From: a@b.example\r\nContent-Type: multipart/alternative; boundary=\"=_b\"\r\n\r\n";
    let part = "--=_b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>";
    let mail = format!("{head}{part}one\r\n{part}two--=_b\r\nContent-Type: text/html\r\n\r\n<p>three\r\n--=_b--\r\n");
    checks::readers::check(mail.as_bytes());
    let structure = segel::mail::mime::parse(mail.as_bytes(), &segel::limits::Limits::default()).unwrap();
    assert_eq!(structure.ambiguities, [segel::mail::mime::Ambiguity::Boundary]);
}

/// A reader that looks for the empty line alone reads over the delimiter behind the fields; the last part was none for it.
#[test]
fn a_header_that_a_delimiter_ends_is_no_clear_mail() {
    let head = "From: a@b.example\nContent-Type: multipart/related; boundary=\"=_1\"\n\n";
    let mail = format!("{head}--=_1\nContent-Type: text/html\n\n<p>\n--=_1\nContent-Type: image/png\n--=_1--\n");
    checks::readers::check(mail.as_bytes());
    let structure = segel::mail::mime::parse(mail.as_bytes(), &segel::limits::Limits::default()).unwrap();
    assert_eq!(structure.ambiguities, [segel::mail::mime::Ambiguity::HeaderEnd]);
}

/// `mail-parser` loses the field behind a date that is none; it is asked for the author alone.
#[test]
fn a_date_that_is_none_hides_no_author() {
    checks::headers::check(
        b"Date: Wed, 22 Jul 2015 01:02:29 +090p\nFrom: Atsushi <x@x.example>\nTo: y@y.example\n\ntext\n",
    );
}

/// A form feed behind a boundary is a blank for one reader and belongs to the boundary for another, which then sees no parts.
#[test]
fn a_blank_of_some_readers_behind_a_boundary_is_no_clear_mail() {
    for blank in ["\u{b}", "\u{c}", "\u{1c}", "\u{1f}"] {
        let head = format!("From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b{blank}\r\n\r\n");
        let mail = format!("{head}--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b--\r\n");
        checks::readers::check(mail.as_bytes());
        let structure = segel::mail::mime::parse(mail.as_bytes(), &segel::limits::Limits::default()).unwrap();
        assert!(structure.ambiguities.contains(&segel::mail::mime::Ambiguity::Parameter), "{blank:?}");
    }
}

/// A field went that stood behind a bare CR, and the empty line behind it became part of the line before: the body's first
/// lines were fields for whoever ends lines at LF.
#[test]
fn i42_a_field_that_goes_takes_no_empty_line_along() {
    checks::headers::check(b"A: b\rReturn-Path: <x@y.example>\r\n\r\nSegel-Verdict: valid\r\n");
    checks::headers::check(b"A: b\rReturn-Path: <x@y.example>\n\nSegel-Verdict: valid\n");
}

/// A terminal obeys U+008C in an address as it obeys an escape.
#[test]
fn a_control_character_is_no_part_of_an_address() {
    checks::headers::check("From: siti@example.id\nTo: y\n\nfr\u{8c}22@dom.example\n".as_bytes());
}

/// Whom two commands name is one recipient.
#[test]
fn a_recipient_who_is_named_twice_gets_one_mail() {
    checks::smtp_data::check(b"u@y.example\r\nz.xn--`NOO\rNOOP\nm");
    checks::smtp_data::check(b"\"a b>\\\"<@\"@x.Example\r85\xbd202-5");
}

/// U+00A0 before a type or a name is a blank for some readers and part of the word for others; a fold behind `boundary=` hides
/// the value from some.
#[test]
fn what_only_some_readers_skip_is_no_clear_mail() {
    let parts = "--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b--\r\n";
    for (value, expected) in [
        ("\u{a0} multipart/mixed; boundary=\"b\"", segel::mail::mime::Ambiguity::EightBitHeader),
        ("multipart/mixed\u{3000}; boundary=\"b\"", segel::mail::mime::Ambiguity::EightBitHeader),
        ("multipart/mixed;\u{a0}boundary=\"b\"", segel::mail::mime::Ambiguity::Boundary),
        ("multipart/mixed; boundary=\r\n \"b\"", segel::mail::mime::Ambiguity::Boundary),
    ] {
        let mail = format!("From: a@b.example\r\nContent-Type: {value}\r\n\r\n{parts}");
        checks::readers::check(mail.as_bytes());
        let structure = segel::mail::mime::parse(mail.as_bytes(), &segel::limits::Limits::default()).unwrap();
        assert!(structure.ambiguities.contains(&expected), "{value:?}: {:?}", structure.ambiguities);
    }
    // The other reader loses the field behind a date that is none.
    checks::readers::check(b"Date: -04D0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\n\n\n--b--");
}
