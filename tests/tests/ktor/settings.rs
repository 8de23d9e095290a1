//! The options of the plugin: their defaults, and that what makes no sense cannot be said.

use std::time::Duration;

use sockless_core::{Config, Masking, Overflow};

#[test]
fn defaults_are_those_that_are_documented() {
    let config = Config::default();
    assert_eq!(
        (config.get_ping_interval(), config.get_ping_timeout()),
        (None, Duration::from_secs(15))
    );
    assert_eq!((config.get_max_message_len(), config.get_max_frame_len()), (1 << 20, u64::MAX));
    assert_eq!((config.get_high_water(), config.get_read_ahead()), (64 << 10, 64 << 10));
    assert_eq!(
        (config.get_send_overflow(), config.get_recv_overflow()),
        (Overflow::Wait, Overflow::Wait)
    );
    assert_eq!(
        (config.get_masking(), config.get_closing_timeout()),
        (Masking::Clients, Duration::from_secs(5))
    );
}

#[test]
fn options_without_a_meaning_take_the_nearest_that_has_one() {
    let config = Config::default()
        .ping_interval(Duration::ZERO)
        .high_water(0)
        .max_send_frame_len(0)
        .recv_chunk_len(0)
        .max_message_len(0);
    assert_eq!(config.get_ping_interval(), None);
    assert_eq!(
        (config.get_high_water(), config.get_max_send_frame_len(), config.get_recv_chunk_len()),
        (1, 1, 4)
    );
    // An empty message is still one.
    assert_eq!(config.get_max_message_len(), 0);
}
