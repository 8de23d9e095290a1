//! Bytes to send that the transport owns until it has sent them, and a failure that drops what waits.

use std::time::Duration;

use sockless_core::{
    Cause, Chunk, CloseCode, Config, Connection, Event, Instant, Negotiated, Output, Role,
    TransportAction,
};
use sockless_tests::end::{BOTH, End, drain};
use sockless_tests::wire::{self, CLOSE};

#[test]
fn bytes_in_flight_are_unsent_until_they_are_reported_sent() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().high_water(1000));
        end.connection.send(vec![1; 5000], end.now).unwrap();
        end.connection.send("short", end.now).unwrap();
        let lent = drain(&mut end.clone().connection);
        let mut owned = Vec::new();
        while let Some(bytes) = end.connection.outbound().pop() {
            owned.extend_from_slice(&bytes);
        }
        assert_eq!(owned, lent);
        let outbound = end.connection.outbound();
        assert_eq!((outbound.remaining(), outbound.in_flight()), (0, owned.len()));
        assert_eq!((outbound.taken(), outbound.queued()), (0, owned.len() as u64));
        assert!(outbound.chunk().is_empty() && outbound.chunks().next().is_none());
        assert!(!end.connection.is_writable() && !end.connection.wants_write());
        assert!(end.connection.outbound().reclaim().is_none(), "nothing was sent");

        // The write timeout runs, and what was sent is progress.
        let Output::Wait(wait) = end.connection.poll_output(&mut end.inbound, end.now) else {
            panic!("there is nothing to write")
        };
        assert_eq!(wait.until, Some(end.now + Duration::from_secs(60)));
        end.now = end.now + Duration::from_secs(59);
        end.connection.outbound().sent(4500);
        let Output::Wait(wait) = end.connection.poll_output(&mut end.inbound, end.now) else {
            panic!("there is nothing to write")
        };
        assert_eq!(wait.until, Some(end.now + Duration::from_secs(60)));
        assert!(end.connection.is_writable());

        // The end waits for the rest. More than that counts as that.
        end.close(CloseCode::NORMAL);
        end.receive(end.peer.close(1000, ""));
        end.connection.handle_eof(end.now);
        let close = end.connection.outbound().pop().expect("the Close frame");
        assert_eq!(wire::read_all(&close)[0].first, CLOSE);
        let output = end.connection.poll_output(&mut end.inbound, end.now);
        assert!(matches!(output, Output::Wait(_)), "{output:?}");
        end.connection.outbound().sent(usize::MAX);
        end.connection.outbound().sent(1);
        let output = end.connection.poll_output(&mut end.inbound, end.now);
        assert!(matches!(output, Output::Close), "{output:?}");
        assert!(end.connection.outbound().reclaim().is_some());
    }
}

#[test]
fn any_mix_of_lent_and_owned_bytes_is_what_was_queued() {
    for seed in 0..500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut end = End::new(Role::Server, Config::default());
        let (mut queued, mut received, mut in_flight) = (0, Vec::new(), 0);
        for _ in 0..200 {
            match rng.u8(0..7) {
                0 => {
                    let len = rng.usize(0..12_000) / rng.usize(1..100);
                    end.connection.send(vec![rng.u8(..); len], end.now).unwrap();
                    queued += 1;
                }
                1 | 2 => {
                    let mut outbound = end.connection.outbound();
                    let count = rng.usize(0..=outbound.chunk().len());
                    received.extend_from_slice(&outbound.chunk()[..count]);
                    outbound.advance(count);
                }
                3 => {
                    if let Some(bytes) = end.connection.outbound().pop() {
                        in_flight += bytes.len();
                        received.extend_from_slice(&bytes);
                    }
                }
                4 => {
                    let sent = rng.usize(0..=in_flight);
                    in_flight -= sent;
                    end.connection.outbound().sent(sent);
                }
                5 => {
                    let mut outbound = end.connection.outbound();
                    let len = rng.usize(0..=outbound.remaining());
                    received.extend_from_slice(&outbound.copy_to_bytes(len));
                }
                _ => {
                    let outbound = end.connection.outbound();
                    let len: usize = outbound.chunks().map(<[u8]>::len).sum();
                    assert_eq!(len, outbound.remaining(), "seed {seed}");
                    assert_eq!(in_flight, outbound.in_flight(), "seed {seed}");
                    let known = outbound.taken() as usize + in_flight;
                    assert_eq!(known, received.len(), "seed {seed}");
                }
            }
        }
        received.extend(drain(&mut end.connection));
        assert_eq!(wire::read_all(&received).len(), queued, "seed {seed}");
    }
}

#[test]
fn more_than_waits_is_advanced_as_all() {
    let mut end = End::new(Role::Server, Config::default());
    end.connection.send("x", end.now).unwrap();
    end.connection.outbound().advance(1000);
    assert!(!end.connection.outbound().has_remaining());
}

#[test]
fn a_swap_of_what_is_borrowed_changes_nothing_that_is_queued() {
    let mut ends =
        [End::new(Role::Server, Config::default()), End::new(Role::Server, Config::default())];
    let now = Instant::EPOCH;
    ends[0].connection.send("first", now).unwrap();
    ends[1].connection.send("second", now).unwrap();
    let [one, two] = &mut ends;
    let (mut a, mut b) = (one.connection.outbound(), two.connection.outbound());
    std::mem::swap(&mut a, &mut b);
    assert_eq!((&a.chunk()[2..], &b.chunk()[2..]), (&b"second"[..], &b"first"[..]));
    assert_eq!(drain(&mut ends[0].connection), b"\x81\x05first");
    assert_eq!(drain(&mut ends[1].connection), b"\x81\x06second");
}

/// Wherever the transport stands, it finishes the frame it has begun, and then comes the Close frame.
#[test]
fn a_failure_drops_what_has_not_begun_to_be_sent() {
    for role in BOTH {
        let mut whole = End::new(role, Config::default().max_send_frame_len(6000));
        whole.connection.send("short", whole.now).unwrap();
        whole.connection.send(vec![1; 6000], whole.now).unwrap();
        whole.connection.send("short", whole.now).unwrap();
        let first = Chunk { data: vec![2; 7000].into(), last: false };
        whole.connection.send_chunk(first, whole.now).unwrap();
        let all = drain(&mut whole.clone().connection);
        for position in (0..=all.len()).step_by(7).chain([all.len()]) {
            for owned in [false, true] {
                let mut end = whole.clone();
                let mut sent = Vec::new();
                while !owned && sent.len() < position {
                    let mut outbound = end.connection.outbound();
                    let count = outbound.chunk().len().min(position - sent.len());
                    sent.extend_from_slice(&outbound.chunk()[..count]);
                    outbound.advance(count);
                }
                while owned && sent.len() < position {
                    sent.extend_from_slice(&end.connection.outbound().pop().unwrap());
                }
                let before = sent.len();
                end.connection.fail((CloseCode::INTERNAL_ERROR, "given up"), end.now);
                let [Event::Closed(closed)] = &end.poll()[..] else { panic!("it has ended") };
                assert_eq!(closed.cause(), &Cause::Failed);
                assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
                sent.extend(drain(&mut end.connection));
                let frames = wire::read_all(&sent);
                let close = frames.last().unwrap();
                assert_eq!(close.first, CLOSE, "at {position}");
                assert_eq!(&close.payload[2..], b"given up");
                // Only the frame that had begun, if any, was finished.
                let lens: Vec<_> = wire::read_all(&all).iter().map(len_of).collect();
                let mut boundary = 0;
                for len in lens {
                    boundary += if boundary < before { len } else { 0 };
                }
                assert_eq!(sent.len() - len_of(close), boundary, "at {position}");
            }
        }
    }
}

/// The length of a frame on the wire.
fn len_of(frame: &wire::Read) -> usize {
    let key_len = if frame.key.is_some() { 4 } else { 0 };
    let len_len = match frame.payload.len() {
        0..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    2 + len_len + key_len + frame.payload.len()
}

#[test]
fn a_failure_after_a_close_frame_does_nothing() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.close(CloseCode::NORMAL);
        end.connection.fail(CloseCode::INTERNAL_ERROR, end.now);
        assert_eq!(end.poll(), []);
        assert_eq!(end.sent().len(), 1);
    }
    let now = Instant::EPOCH;
    let mut server = Connection::server(Negotiated::default(), Default::default(), now);
    server.abort(now);
    server.fail(CloseCode::INTERNAL_ERROR, now);
    assert!(!server.outbound().has_remaining());
}
