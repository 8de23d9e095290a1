//! RFC 6455 §5.4: fragments, and what may stand between them.

use sockless_core::{Config, Event, Message, ProtocolError};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, TEXT, TEXT_BEGINS, read_all};

#[test]
fn fragments_are_joined() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let bytes = end.peer.fragments(TEXT_BEGINS, &["one ", "", "two ", "three"]);
        assert_eq!(end.receive(bytes), [Event::Message("one two three".into())]);
        let bytes = end.peer.fragments(BINARY_BEGINS, &[&[1_u8, 2][..], &[3], &[]]);
        assert_eq!(end.receive(bytes), [Event::Message(vec![1, 2, 3].into())]);
        let bytes = end.peer.fragments(TEXT_BEGINS, &["", "", ""]);
        assert_eq!(end.receive(bytes), [Event::Message("".into())]);
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let peer = end.peer;
        assert_eq!(end.receive(peer.frame(TEXT_BEGINS, "a\u{20ac}")), []);
        assert_eq!(end.receive(peer.ping("1")), [Event::Ping("1".into())]);
        assert_eq!(end.receive(peer.frame(GOES_ON, "b")), []);
        assert_eq!(end.receive(peer.pong("2")), [Event::Pong("2".into())]);
        assert_eq!(end.receive(peer.frame(ENDS, "c")), [Event::Message("a€bc".into())]);
        let sent = end.sent();
        assert_eq!((sent.len(), sent[0].first, &sent[0].payload[..]), (1, 0x8A, &b"1"[..]));
    }
}

#[test]
fn a_continuation_of_nothing_fails() {
    for role in BOTH {
        for first in [GOES_ON, ENDS] {
            let mut end = End::new(role, Config::default());
            let whole = end.peer.text("whole");
            assert_eq!(end.receive(whole), [Event::Message("whole".into())]);
            let events = end.receive(end.peer.frame(first, "more"));
            end.assert_fails_with(1002, ProtocolError::ContinuationUnexpected, &events);
        }
    }
}

#[test]
fn a_message_inside_of_another_fails() {
    for role in BOTH {
        for first in [TEXT, BINARY, TEXT_BEGINS, BINARY_BEGINS] {
            let mut end = End::new(role, Config::default());
            assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "begun")), []);
            let events = end.receive(end.peer.frame(first, "another"));
            end.assert_fails_with(1002, ProtocolError::MessageUnfinished, &events);
        }
    }
}

#[test]
fn too_many_fragments_fail() {
    for role in BOTH {
        let config = Config::default().max_fragments(3);
        let mut end = End::new(role, config.clone());
        let bytes = end.peer.fragments(TEXT_BEGINS, &["a", "b", "c"]);
        assert_eq!(end.receive(bytes), [Event::Message("abc".into())]);
        let events = end.receive(end.peer.fragments(BINARY_BEGINS, &["", "", "", ""]));
        end.assert_fails_with(1008, ProtocolError::TooManyFragments { max: 3 }, &events);

        let mut end = End::new(role, config.max_fragments(0));
        let events = end.receive(end.peer.text(""));
        end.assert_fails_with(1008, ProtocolError::TooManyFragments { max: 0 }, &events);
    }
}

#[test]
fn as_many_fragments_as_the_default_allows_arrive() {
    for role in BOTH {
        for part in ["", "x"] {
            let mut end = End::new(role, Config::default());
            let bytes = end.peer.fragments(TEXT_BEGINS, &vec![part; 131_072]);
            let whole = part.repeat(131_072);
            assert_eq!(end.receive(bytes), [Event::Message(whole.into())]);

            let mut end = End::new(role, Config::default());
            let events = end.receive(end.peer.fragments(TEXT_BEGINS, &vec![part; 131_073]));
            let error = ProtocolError::TooManyFragments { max: 131_072 };
            end.assert_fails_with(1008, error, &events);
        }
    }
}

#[test]
fn long_messages_are_sent_in_fragments() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().max_send_frame_len(5));
        for (text, expected) in [
            ("", vec![(TEXT, "")]),
            ("12345", vec![(TEXT, "12345")]),
            ("123456", vec![(TEXT_BEGINS, "12345"), (ENDS, "6")]),
            ("1234567890a", vec![(TEXT_BEGINS, "12345"), (GOES_ON, "67890"), (ENDS, "a")]),
        ] {
            assert_eq!(end.connection.send(text, end.now), Ok(()));
            let sent = end.sent();
            let sent: Vec<_> = sent.iter().map(|f| (f.first, &f.payload[..])).collect();
            let expected: Vec<_> = expected.iter().map(|&(f, p)| (f, p.as_bytes())).collect();
            assert_eq!(sent, expected);
        }
        let long: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
        let mut end = End::new(role, Config::default().max_send_frame_len(5000));
        assert_eq!(end.connection.send(long.clone(), end.now), Ok(()));
        let sent = end.sent();
        assert_eq!((sent.len(), sent[0].first, sent[19].first), (20, BINARY_BEGINS, ENDS));
        let joined: Vec<u8> = sent.into_iter().flat_map(|frame| frame.payload).collect();
        assert_eq!(joined, long);
    }
}

#[test]
fn the_peer_of_each_role_understands_fragments() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().max_send_frame_len(3));
        assert_eq!(end.connection.send("a€𐍈ä", end.now), Ok(()));
        let bytes = end.drain();
        assert_eq!(read_all(&bytes).len(), 4);
        let other = BOTH[usize::from(role == BOTH[0])];
        let mut peer = End::new(other, Config::default());
        assert_eq!(peer.receive(bytes), [Event::Message(Message::from("a€𐍈ä"))]);
    }
}
