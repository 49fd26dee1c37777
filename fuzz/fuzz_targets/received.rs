//! See `received` in host/hub/src/fuzz.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aih::fuzz::received(data));
