//! The frame layer alone: everything is delivered, nothing is answered.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sockless_core::{
    Config, Connection, Event, Frame, FrameHead, Instant, Negotiated, Opcode, ProtocolError,
    RawConnection, Role, Rsv, Seed, SendError, Staging,
};
use sockless_tests::end::{BOTH, broken_rule, peer_of};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, CLOSE, ENDS, PING, Writer, read_all};

const NOW: Instant = Instant::EPOCH;

#[test]
fn frames_are_delivered_as_they_are() {
    for role in BOTH {
        let (mut raw, peer) = (raw(role, Config::default()), peer_of(role));
        let bytes = [
            peer.frame(0x01, b"\xFF not utf8"),
            peer.ping("?"),
            peer.frame(0x00, ""),
            // Two messages at once, a continuation of nothing, a wrong code: not this layer's.
            peer.frame(0x82, "two"),
            peer.frame(0x80, "end"),
            peer.frame(0x80, "nothing"),
            peer.close(1006, "!"),
            peer.frame(CLOSE, "x"),
            peer.binary("after"),
        ];
        let mut inbound = BytesMut::from(&bytes.concat()[..]);
        let reported: Vec<_> = std::iter::from_fn(|| raw.poll_frame(&mut inbound, NOW)).collect();
        let expected = [
            frame(false, Opcode::Text, b"\xFF not utf8"),
            frame(true, Opcode::Ping, b"?"),
            frame(false, Opcode::Continuation, b""),
            frame(true, Opcode::Binary, b"two"),
            frame(true, Opcode::Continuation, b"end"),
            frame(true, Opcode::Continuation, b"nothing"),
            frame(true, Opcode::Close, b"\x03\xEE!"),
            frame(true, Opcode::Close, b"x"),
            frame(true, Opcode::Binary, b"after"),
        ];
        assert_eq!(reported, expected.map(Ok));
        assert_eq!(sent(&mut raw), [], "nothing is answered");
    }
}

#[test]
fn a_violation_is_reported_once_and_nothing_after_it() {
    for role in BOTH {
        let peer = peer_of(role);
        let wrong = Writer { masks: !peer.masks };
        let mask = match role {
            Role::Client => ProtocolError::MaskUnexpected,
            Role::Server => ProtocolError::MaskMissing,
        };
        let long = u64::MAX >> 1;
        let max = 1 << 20;
        let breaches = [
            (wrong.binary("x"), mask),
            (peer.frame(0xC2, "x"), ProtocolError::ReservedBitSet),
            (peer.frame(0x83, "x"), ProtocolError::OpcodeReserved(3)),
            (peer.frame(0x09, "x"), ProtocolError::ControlFragmented),
            (peer.header(PING, 126), ProtocolError::ControlTooLong),
            (peer.header_of_width(BINARY, 5, 2), ProtocolError::LengthNotMinimal),
            (peer.header(BINARY, 1 << 63), ProtocolError::LengthInvalid),
            (peer.header(BINARY, long), ProtocolError::FrameTooLong { len: long, max }),
        ];
        for (bytes, error) in breaches {
            let mut raw = raw(role, Config::default());
            let mut inbound = BytesMut::from(&[peer.binary("fine"), bytes].concat()[..]);
            assert!(raw.poll_frame(&mut inbound, NOW).is_some_and(|frame| frame.is_ok()));
            let closed = raw.poll_frame(&mut inbound, NOW).expect("an end").expect_err("no frame");
            assert_eq!(broken_rule(closed), error);
            assert_eq!(raw.bytes_needed(&inbound), 0);
            for _ in 0..3 {
                inbound.extend_from_slice(&peer.binary("late"));
                assert_eq!(raw.poll_frame(&mut inbound, NOW), None);
                assert_eq!(inbound.len(), 0);
            }
            assert_eq!(sent(&mut raw), []);
        }
    }
}

#[test]
fn the_shorter_of_both_limits_holds() {
    for role in BOTH {
        for config in [
            Config::default().max_frame_len(5).max_message_len(9),
            Config::default().max_frame_len(9).max_message_len(5),
        ] {
            let mut raw = raw(role, config);
            let mut inbound = BytesMut::from(&peer_of(role).binary("12345")[..]);
            assert!(raw.poll_frame(&mut inbound, NOW).is_some_and(|frame| frame.is_ok()));
            inbound.extend_from_slice(&peer_of(role).header(BINARY, 6));
            let error = ProtocolError::FrameTooLong { len: 6, max: 5 };
            let closed = raw.poll_frame(&mut inbound, NOW).expect("an end").expect_err("no frame");
            assert_eq!(broken_rule(closed), error);
        }
    }
}

#[test]
fn any_frame_is_sent() {
    for role in BOTH {
        let mut raw = raw(role, Config::default());
        let rsv = Rsv::RSV1.union(Rsv::RSV3);
        assert!(rsv.contains(Rsv::RSV3) && !rsv.contains(Rsv::RSV2));
        let odd = Frame { fin: false, rsv, opcode: Opcode::Continuation, payload: "odd".into() };
        assert_eq!(raw.send(odd, NOW), Ok(()));
        assert_eq!(raw.send(Frame::new(Opcode::Close, Bytes::from(vec![7; 125])), NOW), Ok(()));
        let too_long = Frame::new(Opcode::Pong, Bytes::from(vec![7; 126]));
        assert_eq!(raw.send(too_long, NOW), Err(SendError::ControlTooLong { len: 126 }));
        let long = Bytes::from(vec![7; 100_000]);
        assert_eq!(raw.send(Frame::new(Opcode::Binary, long), NOW), Ok(()));
        assert!(!raw.is_writable());
        let sent = sent(&mut raw);
        assert!(raw.is_writable());
        let firsts: Vec<u8> = sent.iter().map(|frame| frame.first).collect();
        assert_eq!(firsts, [0x50, 0x88, 0x82]);
        assert_eq!(sent[2].payload, vec![7; 100_000]);
        for frame in sent {
            assert_eq!(frame.key.is_some(), role == Role::Client);
        }
    }
}

#[test]
fn the_missing_bytes_are_known_while_a_payload_arrives() {
    for role in BOTH {
        let mut raw = raw(role, Config::default());
        let mut inbound = BytesMut::new();
        assert_eq!(raw.bytes_needed(&inbound), 0);
        inbound.extend_from_slice(&peer_of(role).header(BINARY, 100));
        assert_eq!(raw.poll_frame(&mut inbound, NOW), None);
        assert_eq!(raw.bytes_needed(&inbound), 100);
        inbound.extend_from_slice(&[0; 60]);
        assert_eq!(raw.bytes_needed(&inbound), 40);
        assert_eq!(raw.poll_frame(&mut inbound, NOW), None);
        assert_eq!(raw.bytes_needed(&inbound), 40);
        inbound.extend_from_slice(&[0; 70]);
        assert_eq!(raw.bytes_needed(&inbound), 0);
        assert!(raw.poll_frame(&mut inbound, NOW).is_some());
        assert_eq!(inbound.len(), 30);
    }
}

#[test]
fn a_short_payload_does_not_pin_the_read_buffer_and_a_long_one_is_not_copied() {
    for role in BOTH {
        for (len, copied) in [(4096, true), (4097, false)] {
            let mut raw = raw(role, Config::default());
            let mut inbound = BytesMut::with_capacity(64 << 10);
            inbound.extend_from_slice(&peer_of(role).binary(vec![7; len]));
            let block = inbound.as_ptr_range();
            let Some(Ok(frame)) = raw.poll_frame(&mut inbound, NOW) else {
                panic!("a frame");
            };
            assert_eq!(!block.contains(&frame.payload.as_ptr()), copied, "{len}");
        }
    }
}

#[test]
fn messages_are_put_on_top_of_frames() {
    for role in BOTH {
        let mut raw = raw(role, Config::default());
        let peer = peer_of(role);
        let mut inbound = BytesMut::from(&[peer.binary("raw"), peer.text("message")].concat()[..]);
        assert!(raw.poll_frame(&mut inbound, NOW).is_some());
        assert_eq!(raw.send(Frame::new(Opcode::Binary, "raw".into()), NOW), Ok(()));
        let mut connection = Connection::from_raw(raw, Negotiated::default(), NOW);
        assert_eq!(connection.role(), role);
        assert_eq!(connection.subprotocol(), None);
        let event = connection.poll_event(&mut inbound, NOW);
        assert_eq!(event, Some(Event::Message("message".into())));
        assert_eq!(connection.send("message", NOW), Ok(()));
        let mut outbound = connection.outbound();
        let waiting = outbound.remaining();
        assert_eq!(read_all(&outbound.copy_to_bytes(waiting)).len(), 2);
    }
}

#[test]
fn a_proxy_passes_frames_through() {
    // A client's frames, through a server's end and a client's, reach the next server unchanged.
    let client = Writer { masks: true };
    let bytes = [
        client.fragments(BINARY_BEGINS, &["one", "two"]),
        client.ping("?"),
        client.frame(ENDS, "odd"),
    ];
    let mut inbound = BytesMut::from(&bytes.concat()[..]);
    let (mut front, mut back) =
        (raw(Role::Server, Config::default()), raw(Role::Client, Config::default()));
    while let Some(frame) = front.poll_frame(&mut inbound, NOW) {
        assert_eq!(back.send(frame.expect("sound"), NOW), Ok(()));
    }
    let unmasked = |frame: sockless_tests::wire::Read| (frame.first, frame.payload);
    let passed: Vec<_> = sent(&mut back).into_iter().map(unmasked).collect();
    let original: Vec<_> = read_all(&bytes.concat()).into_iter().map(unmasked).collect();
    assert_eq!(passed, original);
}

#[test]
fn heads_agree_with_frames_written_by_hand() {
    for masks in [false, true] {
        let writer = Writer { masks };
        for len in [0, 125, 126, 65_535, 65_536, u64::MAX >> 1] {
            for first in [0x82, 0x42, 0x00] {
                let bytes = writer.header(first, len);
                let decoded = FrameHead::decode(&bytes);
                let Ok(Some((head, header_len))) = decoded else {
                    panic!("{decoded:?}");
                };
                assert_eq!((head.len, header_len), (len, bytes.len()));
                assert_eq!(head.mask.is_some(), masks);
                let mut encoded = [0; FrameHead::MAX_LEN];
                let encoded_len = head.encode(&mut encoded);
                assert_eq!(encoded[..encoded_len], bytes);
            }
        }
    }
}

#[test]
fn unsent_bytes_are_the_same_however_they_are_taken() {
    for role in BOTH {
        for step in [41, 1000, 5000, 1 << 20] {
            let mut raw = raw(role, Config::default());
            let mut taken = Vec::new();
            for len in [0, 10, 4096, 4097, 10, 20_000, 20_000, 3000, 3000, 3000, 1] {
                assert_eq!(raw.send(Frame::new(Opcode::Binary, vec![7; len].into()), NOW), Ok(()));
                take_some(&mut raw, step, &mut taken);
            }
            while raw.outbound().has_remaining() {
                take_some(&mut raw, step, &mut taken);
            }
            let lens: Vec<usize> = read_all(&taken).iter().map(|f| f.payload.len()).collect();
            assert_eq!(lens, [0, 10, 4096, 4097, 10, 20_000, 20_000, 3000, 3000, 3000, 1]);
        }
    }
}

#[test]
fn room_is_lent_and_given_back() {
    for role in BOTH {
        let mut raw = raw(role, Config::default());
        assert_eq!(raw.outbound().lend(Staging::with_capacity(8192)).capacity(), 0);
        assert_eq!(raw.outbound().lend(Staging::with_capacity(9000)).capacity(), 8192);
        assert_eq!(raw.send(Frame::new(Opcode::Binary, "x".into()), NOW), Ok(()));
        assert!(raw.outbound().reclaim().is_none(), "it is in use");
        assert_eq!(raw.outbound().lend(Staging::with_capacity(1)).capacity(), 1, "it is in use");
        let queued = raw.outbound().queued();
        assert_eq!(sent(&mut raw).len(), 1);
        assert_eq!((raw.outbound().queued(), raw.outbound().taken()), (queued, queued));
        let mut room = raw.outbound().reclaim().expect("nothing waits in it");
        room.reserve(9000);
        assert!(room.capacity() >= 9000);
        assert_eq!(raw.outbound().reclaim().map(|room| room.capacity()), Some(0));
    }
}

/// Takes up to `step` bytes as a vectored write would, and checks that its slices are what waits.
fn take_some(raw: &mut RawConnection, step: usize, taken: &mut Vec<u8>) {
    let mut outbound = raw.outbound();
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let count = outbound.chunks_vectored(&mut slices);
    let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
    assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
    assert_eq!(all.len(), outbound.remaining());
    assert!(all.starts_with(outbound.chunk()) && (all.is_empty() || !outbound.chunk().is_empty()));
    let len = all.len().min(step);
    taken.extend_from_slice(&all[..len]);
    outbound.advance(len);
}

fn raw(role: Role, config: Config) -> RawConnection {
    let raw = match role {
        Role::Client => RawConnection::client(Seed::new([7; 32]), Arc::new(config)),
        Role::Server => RawConnection::server(Arc::new(config)),
    };
    assert_eq!(raw.role(), role);
    raw
}

fn frame(fin: bool, opcode: Opcode, payload: &'static [u8]) -> Frame {
    let payload = payload.into();
    Frame { fin, rsv: Rsv::NONE, opcode, payload }
}

fn sent(raw: &mut RawConnection) -> Vec<sockless_tests::wire::Read> {
    let mut outbound = raw.outbound();
    let waiting = outbound.remaining();
    read_all(&outbound.copy_to_bytes(waiting))
}
