#![no_main]
#![doc = "Tries `segel_fuzz::cms`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::cms::check(data));
