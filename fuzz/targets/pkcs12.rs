#![no_main]
#![doc = "Tries `segel_fuzz::pkcs12`."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segel_fuzz::pkcs12::check(data));
