#![no_main]
#![doc = "Tries `segel_fuzz::signing`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::signing::check(data));
