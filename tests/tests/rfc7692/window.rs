//! Windows: nothing refers further back than was agreed on.

use sockless_core::Role;
use sockless_tests::end::End;

use crate::support::{eager, noise, with};

/// The length of what is sent for noise that comes again after `distance` bytes.
fn sent_len(bits: u8, level: u8, distance: usize) -> usize {
    let deflate = eager().level(level).server_max_window_bits(bits);
    let mut server = End::new(Role::Server, with(deflate));
    server.connection.send(noise(distance, 3).repeat(4), server.now).unwrap();
    let frames = server.sent();
    // A message that does not get shorter is sent uncompressed.
    frames[0].payload.len()
}

#[test]
fn a_compressor_keeps_to_its_window() {
    for bits in 8..=15_u8 {
        for level in 1..=9 {
            let beyond = (1 << bits) + 10;
            let len = sent_len(bits, level, beyond);
            // A reference would do for three of the four.
            assert!(len > 3 * beyond, "{bits} bits, level {level}: {len} for 4 times {beyond}");
        }
    }
}

#[test]
fn a_compressor_uses_its_window() {
    for bits in 8..=15_u8 {
        // The bytes that zlib keeps free for lookahead do not belong to the window.
        let within = (1_usize << bits).saturating_sub(300).max(200);
        let len = sent_len(bits, 9, within);
        assert!(len < 2 * within, "{bits} bits: {len} for 4 times {within}");
    }
}
