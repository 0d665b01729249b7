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
}
