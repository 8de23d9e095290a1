//! Two ends against each other: see `sockless_fuzz::pair`.
#![no_main]

libfuzzer_sys::fuzz_target!(|session: sockless_fuzz::Session| sockless_fuzz::pair(session));
