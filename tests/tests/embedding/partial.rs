//! A message as it comes: what has arrived of it is taken, whatever its length.

use sockless_core::{Chunk, Config, Deflate, Event, Message};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, PING, TEXT, TEXT_BEGINS};

/// Polls until there are no further events, and then for the part of a message that has arrived.
fn poll_all(end: &mut End) -> Vec<Event> {
    let mut events = end.poll();
    while let Some(event) = end.connection.poll_partial(&mut end.inbound, end.now) {
        let is_empty = matches!(&event, Event::Chunk(part) if part.data.is_empty() && !part.last);
        assert!(!is_empty, "a chunk of nothing");
        events.push(event);
        events.extend(end.poll());
    }
    events
}

fn receive(end: &mut End, bytes: impl AsRef<[u8]>) -> Vec<Event> {
    end.inbound.extend_from_slice(bytes.as_ref());
    poll_all(end)
}

fn chunk(data: impl Into<Message>, last: bool) -> Event {
    let data = data.into();
    Event::Chunk(Chunk { data, last })
}

#[test]
fn fragments_come_one_by_one() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let peer = end.peer;
        assert_eq!(receive(&mut end, peer.frame(TEXT_BEGINS, "one")), [chunk("one", false)]);
        assert_eq!(receive(&mut end, peer.ping("?")), [Event::Ping("?".into())]);
        assert_eq!(receive(&mut end, peer.frame(GOES_ON, "two")), [chunk("two", false)]);
        assert_eq!(receive(&mut end, peer.frame(ENDS, "three")), [chunk("three", true)]);
        assert_eq!(receive(&mut end, peer.text("next")), [Event::Message("next".into())]);
    }
}

#[test]
fn a_long_frame_arrives_in_chunks_although_it_would_stay_in_the_read_buffer() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let payload: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let frame = end.peer.binary(&payload);
        let header_len = frame.len() - payload.len();
        assert_eq!(receive(&mut end, &frame[..header_len]), []);
        let mut at = header_len;
        for len in [1, 3, 50_000, 1_000] {
            let reported = receive(&mut end, &frame[at..at + len]);
            let bytes = payload[at - header_len..at - header_len + len].to_vec();
            assert_eq!(reported, [chunk(bytes, false)]);
            at += len;
        }
        let rest = payload[at - header_len..].to_vec();
        assert_eq!(receive(&mut end, &frame[at..]), [chunk(rest, true)]);
    }
}

#[test]
fn a_character_that_is_cut_waits_for_its_rest() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let frame = end.peer.text("a€b");
        let (begin, rest) = frame.split_at(frame.len() - 3);
        assert_eq!(receive(&mut end, begin), [chunk("a", false)]);
        assert_eq!(receive(&mut end, &rest[..1]), []);
        assert_eq!(receive(&mut end, &rest[1..2]), [chunk("€", false)]);
        assert_eq!(receive(&mut end, &rest[2..]), [chunk("b", true)]);
    }
}

#[test]
fn control_frames_and_headers_without_payload_give_no_partial_event() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let ping = end.peer.ping("12345");
        assert_eq!(receive(&mut end, &ping[..ping.len() - 2]), []);
        assert_eq!(receive(&mut end, &ping[ping.len() - 2..]), [Event::Ping("12345".into())]);
        for first in [TEXT, BINARY, TEXT_BEGINS, BINARY_BEGINS, PING] {
            let mut end = End::new(role, Config::default());
            let header = end.peer.header(first, 5);
            assert_eq!(receive(&mut end, header), []);
        }
    }
}

#[test]
fn no_event_follows_the_end() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let frame = end.peer.frame(TEXT_BEGINS, "half");
        assert_eq!(end.receive(frame), []);
        end.connection.abort(end.now);
        assert_eq!(end.connection.poll_partial(&mut end.inbound, end.now), None);
        assert!(matches!(end.poll()[..], [Event::Closed(_)]));
        assert_eq!(end.connection.poll_partial(&mut end.inbound, end.now), None);
    }
}

#[test]
fn whatever_the_cuts_nothing_is_lost_or_doubled() {
    for seed in 0..600 {
        let mut rng = fastrand::Rng::with_seed(seed);
        for role in BOTH {
            let mut config = Config::default();
            let compressed = rng.bool();
            if compressed {
                config = config.extension(Deflate::default().min_len(0));
            }
            if rng.bool() {
                config = config.max_send_frame_len(rng.usize(1..200));
            }
            let mut from = End::new(peer(role), config.clone());
            if rng.bool() {
                config = config.recv_chunk_len(rng.usize(0..100));
            }
            let messages: Vec<Message> = (0..rng.usize(1..6)).map(|_| any(&mut rng)).collect();
            for message in &messages {
                from.connection.send(message.clone(), from.now).unwrap();
            }
            let wire = from.drain();
            let mut end = End::new(role, config);
            let (mut rest, mut events) = (&wire[..], Vec::new());
            while !rest.is_empty() {
                let most = rest.len().min(rng.usize(1..400));
                let (part, after) = rest.split_at(rng.usize(1..=most));
                rest = after;
                let partial = rng.u8(0..3) > 0;
                if partial && rng.u8(0..8) == 0 {
                    end.connection.set_chunk_len(rng.bool().then(|| rng.u32(0..50)));
                }
                let reported = if partial { receive(&mut end, part) } else { end.receive(part) };
                events.extend(reported);
            }
            assert_eq!(joined(events), messages, "seed {seed}, {role:?}");
            assert!(end.connection.is_open());
        }
    }
}

fn peer(role: sockless_core::Role) -> sockless_core::Role {
    if role == BOTH[0] { BOTH[1] } else { BOTH[0] }
}

fn any(rng: &mut fastrand::Rng) -> Message {
    let len = rng.usize(0..3_000) / rng.usize(1..50);
    if rng.bool() {
        let text: String = std::iter::repeat_with(|| *rng.choice(&['a', 'ä', '€', '𐍈']).unwrap())
            .take(len)
            .collect();
        Message::from(text)
    } else {
        Message::from(std::iter::repeat_with(|| rng.u8(..)).take(len).collect::<Vec<u8>>())
    }
}

/// The messages, of which some came in chunks.
fn joined(events: Vec<Event>) -> Vec<Message> {
    let (mut messages, mut begun) = (Vec::new(), None::<(bool, Vec<u8>)>);
    for event in events {
        match event {
            Event::Message(message) => {
                assert!(begun.is_none(), "inside of another");
                messages.push(message);
            }
            Event::Chunk(Chunk { data, last }) => {
                let (is_text, bytes) = begun.get_or_insert_with(|| (data.is_text(), Vec::new()));
                assert_eq!(*is_text, data.is_text());
                assert!(last || !data.is_empty(), "a chunk of nothing");
                bytes.extend_from_slice(data.as_bytes());
                if last {
                    let (is_text, bytes) = begun.take().unwrap();
                    messages.push(match is_text {
                        true => String::from_utf8(bytes).unwrap().into(),
                        false => bytes.into(),
                    });
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(begun.is_none(), "no end");
    messages
}
