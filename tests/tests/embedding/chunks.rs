//! Messages too long to hold: in chunks, both ways.

use sockless_core::{
    Chunk, CloseReason, Config, Event, Message, ProtocolError, SendError, TransportAction,
};
use sockless_tests::end::{BOTH, End};
use sockless_tests::pair::{Pair, Weather};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, TEXT, TEXT_BEGINS};

#[test]
fn a_message_up_to_the_length_of_a_chunk_is_whole() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(8));
        for first in [TEXT, BINARY] {
            let bytes = end.peer.frame(first, "12345678");
            assert!(matches!(end.receive(bytes)[..], [Event::Message(_)]));
        }
        let bytes = end.peer.fragments(TEXT_BEGINS, &["1234", "5678", ""]);
        assert_eq!(end.receive(bytes), [Event::Message("12345678".into())]);
    }
}

#[test]
fn a_longer_one_arrives_in_chunks_within_one_frame() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(8));
        let bytes = end.peer.text("123456789");
        assert_eq!(end.receive(bytes), [text("12345678", false), text("9", true)]);
        let bytes = end.peer.binary([7; 16]);
        assert_eq!(end.receive(bytes), [binary(&[7; 8], false), binary(&[7; 8], true)]);
        let bytes = end.peer.binary([7; 20]);
        let reported = [binary(&[7; 8], false), binary(&[7; 8], false), binary(&[7; 4], true)];
        assert_eq!(end.receive(bytes), reported);
    }
}

#[test]
fn a_longer_one_arrives_in_chunks_over_fragments() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(8));
        let bytes = end.peer.fragments(TEXT_BEGINS, &["123", "", "456789abcdefg", "h", "", ""]);
        let reported = [text("12345678", false), text("9abcdefg", false), text("h", true)];
        assert_eq!(end.receive(bytes), reported);
        let bytes = end.peer.fragments(BINARY_BEGINS, &[[7; 8], [8; 8]]);
        assert_eq!(end.receive(bytes), [binary(&[7; 8], false), binary(&[8; 8], true)]);
    }
}

#[test]
fn chunks_come_as_soon_as_they_are_full_and_more_is_known_to_follow() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(4));
        let bytes = end.peer.binary([7; 10]);
        let payload = bytes.len() - 10;
        assert_eq!(end.receive(&bytes[..payload + 3]), []);
        assert_eq!(end.receive(&bytes[payload + 3..payload + 4]), [binary(&[7; 4], false)]);
        assert_eq!(end.receive(&bytes[payload + 4..payload + 9]), [binary(&[7; 4], false)]);
        assert_eq!(end.receive(&bytes[payload + 9..]), [binary(&[7; 2], true)]);
    }
}

#[test]
fn control_frames_come_between_chunks() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(4));
        let peer = end.peer;
        assert_eq!(end.receive(peer.frame(TEXT_BEGINS, "12345")), [text("1234", false)]);
        assert_eq!(end.receive(peer.ping("?")), [Event::Ping("?".into())]);
        assert_eq!(end.receive(peer.frame(GOES_ON, "678")), []);
        assert_eq!(end.receive(peer.pong("!")), [Event::Pong("!".into())]);
        let reported = [text("5678", false), text("9", true)];
        assert_eq!(end.receive(peer.frame(ENDS, "9")), reported);
    }
}

#[test]
fn chunks_of_text_never_split_a_character() {
    let whole = "aä€𐍈".repeat(20);
    for role in BOTH {
        for recv_chunk_len in 4..14 {
            for chunk in [1, 2, 3, 5, 7, 1000] {
                let mut end = End::new(role, Config::default().recv_chunk_len(recv_chunk_len));
                let bytes = end.peer.text(&whole);
                let events: Vec<_> = bytes.chunks(chunk).flat_map(|c| end.receive(c)).collect();
                let mut joined = String::new();
                for (i, event) in events.iter().enumerate() {
                    let Event::Chunk(Chunk { data, last }) = event else {
                        panic!("{event:?}");
                    };
                    joined += data.as_text().expect("text");
                    assert_eq!(*last, i + 1 == events.len());
                    assert!(data.len() <= recv_chunk_len);
                    assert!(
                        *last || data.len() + 3 >= recv_chunk_len,
                        "{data:?} of {recv_chunk_len}"
                    );
                }
                assert_eq!(joined, whole);
            }
        }
    }
}

#[test]
fn a_chunk_is_at_least_as_long_as_a_character() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(0));
        let bytes = end.peer.text("𐍈𐍈");
        assert_eq!(end.receive(bytes), [text("𐍈", false), text("𐍈", true)]);
    }
}

#[test]
fn text_in_chunks_that_is_not_utf8_fails_where_it_is_not() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(4));
        let events = end.receive(end.peer.frame(TEXT, b"1234567\xFFmore"));
        assert_eq!(events[0], text("1234", false));
        end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);
    }
}

#[test]
fn limits_hold_for_chunks() {
    for role in BOTH {
        let config = Config::default().recv_chunk_len(4).max_message_len(10);
        let mut end = End::new(role, config);
        let events = end.receive(end.peer.header(BINARY, 11));
        let error = ProtocolError::MessageTooLong { len: 11, max: 10 };
        end.assert_fails_with(1009, error, &events);
    }
}

#[test]
fn the_length_of_chunks_may_change_within_a_message() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let bytes = end.peer.binary([7; 20]);
        let (first, second) = bytes.split_at(bytes.len() - 10);
        assert_eq!(end.receive(first), []);
        end.connection.set_config(Config::default().recv_chunk_len(4).into(), end.now);
        let reported = [binary(&[7; 4], false), binary(&[7; 4], false)];
        assert_eq!(end.poll(), reported);
        end.connection.set_config(Config::default().into(), end.now);
        assert_eq!(end.receive(second), [binary(&[7; 12], true)]);

        let mut end = End::new(role, Config::default());
        assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "0123456789")), []);
        end.connection.set_config(Config::default().recv_chunk_len(4).into(), end.now);
        let reported = [text("0123456789", false), text("a", true)];
        assert_eq!(end.receive(end.peer.frame(ENDS, "a")), reported);
    }
}

#[test]
fn an_end_within_a_message_in_chunks_leaves_it_unfinished() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().recv_chunk_len(4));
        assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "123456")).len(), 1);
        assert!(matches!(end.eof()[..], [Event::Closed(_)]));
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
    }
}

#[test]
fn a_message_is_sent_in_chunks() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        for (data, last) in [("one", false), ("", false), ("two", false), ("", true)] {
            assert_eq!(end.connection.send_chunk(chunk(data, last), end.now), Ok(()));
        }
        assert_eq!(end.connection.send_chunk(chunk("whole", true), end.now), Ok(()));
        assert_eq!(end.connection.send("after", end.now), Ok(()));
        let sent = end.sent();
        let sent: Vec<_> = sent.iter().map(|f| (f.first, &f.payload[..])).collect();
        let expected: [(u8, &[u8]); 6] = [
            (TEXT_BEGINS, b"one"),
            (GOES_ON, b""),
            (GOES_ON, b"two"),
            (ENDS, b""),
            (TEXT, b"whole"),
            (TEXT, b"after"),
        ];
        assert_eq!(sent, expected);
    }
}

#[test]
fn long_chunks_are_sent_in_fragments() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().max_send_frame_len(3));
        assert_eq!(end.connection.send_chunk(chunk("1234567", false), end.now), Ok(()));
        assert_eq!(end.connection.send_chunk(chunk("89abc", true), end.now), Ok(()));
        let firsts: Vec<u8> = end.sent().iter().map(|frame| frame.first).collect();
        assert_eq!(firsts, [TEXT_BEGINS, GOES_ON, GOES_ON, GOES_ON, ENDS]);
    }
}

#[test]
fn nothing_else_is_sent_inside_of_a_message_in_chunks_but_control_frames() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send_chunk(chunk("begun", false), end.now), Ok(()));
        assert_eq!(end.connection.send("whole", end.now), Err(SendError::MessageUnfinished));
        let other = Chunk { data: vec![1].into(), last: true };
        assert_eq!(end.connection.send_chunk(other, end.now), Err(SendError::MessageUnfinished));
        assert_eq!(end.connection.ping("?", end.now), Ok(()));
        assert_eq!(end.receive(end.peer.ping("?")).len(), 1);
        assert_eq!(end.connection.send_chunk(chunk("ended", true), end.now), Ok(()));
        assert_eq!(end.connection.send("whole", end.now), Ok(()));
        let firsts: Vec<u8> = end.sent().iter().map(|frame| frame.first).collect();
        assert_eq!(firsts, [TEXT_BEGINS, 0x89, 0x8A, ENDS, TEXT]);
        end.close(CloseReason::EMPTY);
        let late = chunk("late", true);
        assert_eq!(end.connection.send_chunk(late, end.now), Err(SendError::Closing));
    }
}

#[test]
fn a_message_sent_in_chunks_arrives_in_chunks() {
    let config = Config::default().recv_chunk_len(1000).max_send_frame_len(300);
    let mut pair = Pair::new([config.clone(), config], Weather { chunk: 77, ..Weather::FINE }, 3);
    let data: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
    for (i, part) in data.chunks(1700).enumerate() {
        let chunk = Chunk { data: part.to_vec().into(), last: i == 5 };
        assert_eq!(pair.ends[0].connection.send_chunk(chunk, pair.ends[0].now), Ok(()));
    }
    pair.turn();
    assert_eq!(pair.received(1), [Message::from(data)]);
    assert_eq!(pair.events[1].len(), 10);
}

fn text(data: &'static str, last: bool) -> Event {
    Event::Chunk(chunk(data, last))
}

fn binary(data: &[u8], last: bool) -> Event {
    let data = data.to_vec().into();
    Event::Chunk(Chunk { data, last })
}

fn chunk(data: &'static str, last: bool) -> Chunk {
    let data = data.into();
    Chunk { data, last }
}
