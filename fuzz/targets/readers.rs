#![no_main]
#![doc = "Tries `segel_fuzz::readers`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::readers::check(data));
