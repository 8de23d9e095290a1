//! The opening handshake on arbitrary bytes: see `sockless_fuzz::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockless_fuzz::head(data));
