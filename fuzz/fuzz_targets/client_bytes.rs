//! A client receives arbitrary bytes: see `sockless_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockless_fuzz::session(sockless_core::Role::Client, data));
