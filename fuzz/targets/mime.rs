#![no_main]
#![doc = "Tries `segel_fuzz::mime`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::mime::check(data));
