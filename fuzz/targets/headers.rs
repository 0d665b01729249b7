#![no_main]
#![doc = "Tries `segel_fuzz::headers`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::headers::check(data));
