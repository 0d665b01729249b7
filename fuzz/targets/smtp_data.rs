#![no_main]
#![doc = "Tries `segel_fuzz::smtp_data`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::smtp_data::check(data));
