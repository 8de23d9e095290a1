//! Frames in chunks out of arbitrary bytes: see `sockless_fuzz::frame_parts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockless_fuzz::frame_parts(data));
