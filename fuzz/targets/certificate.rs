#![no_main]
#![doc = "Tries `segel_fuzz::certificate`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::certificate::check(data));
