#![no_main]
#![doc = "Tries `segel_fuzz::smtp_commands`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::smtp_commands::check(data));
