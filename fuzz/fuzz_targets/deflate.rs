//! permessage-deflate on arbitrary bytes: see `sockless_fuzz::deflate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockless_fuzz::deflate(data));
