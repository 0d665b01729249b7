#![no_main]
#![doc = "Tries `segel_fuzz::ber`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::ber::check(data));
