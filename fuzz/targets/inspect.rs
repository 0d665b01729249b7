#![no_main]
#![doc = "Tries `segel_fuzz::inspect`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::inspect::check(data));
