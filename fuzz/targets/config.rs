#![no_main]
#![doc = "Tries `segel_fuzz::config`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::config::check(data));
