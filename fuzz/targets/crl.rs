#![no_main]
#![doc = "Tries `segel_fuzz::crl`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::crl::check(data));
