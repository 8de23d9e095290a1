//! RFC 6455 §5.6, §8.1: text is UTF-8, and known not to be at the first impossible byte.

use sockless_core::{Config, Event, ProtocolError};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{ENDS, GOES_ON, TEXT, TEXT_BEGINS};

const MIXED: &str = "κόσμε €𐍈\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}";

/// Bytes that are no text: what leads up to the first impossible one, and it.
const BAD: [(&[u8], u8); 12] = [
    (b"", 0x80),
    (b"", 0xC0),
    (b"", 0xC1),
    (b"", 0xF5),
    (b"", 0xFF),
    (b"\xC3", 0x28),
    (b"\xE0", 0x9F),
    (b"\xED", 0xA0),
    (b"\xE2\x82", 0x28),
    (b"\xF0", 0x8F),
    (b"\xF4", 0x90),
    (b"\xF0\x90\x8D", 0x28),
];

#[test]
fn text_may_be_cut_anywhere_into_two_fragments() {
    for role in BOTH {
        for cut in 0..=MIXED.len() {
            let (first, second) = MIXED.as_bytes().split_at(cut);
            let mut end = End::new(role, Config::default());
            let bytes = end.peer.fragments(TEXT_BEGINS, &[first, b"", second]);
            assert_eq!(end.receive(bytes), [Event::Message(MIXED.into())]);
        }
    }
}

#[test]
fn text_may_arrive_cut_anywhere() {
    for role in BOTH {
        for chunk in 1..MIXED.len() {
            let mut end = End::new(role, Config::default());
            let bytes = end.peer.text(MIXED);
            let events: Vec<_> = bytes.chunks(chunk).flat_map(|part| end.receive(part)).collect();
            assert_eq!(events, [Event::Message(MIXED.into())]);
        }
    }
}

#[test]
fn a_whole_text_that_is_not_utf8_fails() {
    for role in BOTH {
        for (lead, bad) in BAD {
            let mut end = End::new(role, Config::default());
            let text = [b"fine", lead, &[bad], b"fine"].concat();
            let events = end.receive(end.peer.frame(TEXT, text));
            end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);
        }
    }
}

#[test]
fn the_first_impossible_byte_fails_whatever_is_still_to_come() {
    for role in BOTH {
        for (lead, bad) in BAD {
            // In one frame that is not there yet.
            let mut end = End::new(role, Config::default());
            let bytes = end.peer.frame(TEXT, [b"fine", lead, &[bad], &[b'x'; 50]].concat());
            let start = bytes.len() - 50 - 1;
            assert_eq!(end.receive(&bytes[..start]), []);
            let events = end.receive(&bytes[start..=start]);
            end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);

            // In an unfinished message, split inside a character.
            let mut end = End::new(role, Config::default());
            assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, lead)), []);
            let events = end.receive(end.peer.frame(GOES_ON, [bad]));
            end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);
        }
    }
}

#[test]
fn text_that_ends_inside_of_a_character_fails() {
    for role in BOTH {
        for whole in ["é", "€", "𐍈"] {
            for keep in 1..whole.len() {
                let cut = &whole.as_bytes()[..keep];
                let mut end = End::new(role, Config::default());
                let events = end.receive(end.peer.frame(TEXT, cut));
                end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);

                let mut end = End::new(role, Config::default());
                assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, cut)), []);
                let events = end.receive(end.peer.frame(ENDS, ""));
                end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);
            }
        }
    }
}

#[test]
fn binary_is_not_checked() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let bytes = end.peer.binary([0xFF, 0xC0, 0x80]);
        assert_eq!(end.receive(bytes), [Event::Message(vec![0xFF, 0xC0, 0x80].into())]);
    }
}
