//! A host that cuts the read buffer short between two calls has lost bytes, and no more than that.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{Config, Deflate, Event, Instant, RawConnection, Role, Seed, TransportAction};
use sockless_tests::end::{BOTH, End, peer_of};
use sockless_tests::wire::{BINARY_BEGINS, TEXT_BEGINS, Writer};

/// Frames of every kind, some of them too long to be whole in one read.
fn wire(peer: Writer, rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..rng.usize(1..12) {
        let payload = vec![b'x'; rng.usize(0..9_000) / rng.usize(1..200)];
        wire.extend(match rng.u8(0..6) {
            0 => peer.text(std::str::from_utf8(&payload).unwrap()),
            1 => peer.binary(payload),
            2 => peer.ping(&payload[..payload.len().min(125)]),
            3 => peer.fragments(TEXT_BEGINS, &["ä€".as_bytes(), &payload, "𐍈".as_bytes()]),
            4 => peer.fragments(BINARY_BEGINS, &[&payload[..], &payload[..], &payload[..]]),
            _ => peer.frame(0x41, payload),
        });
    }
    wire
}

/// Cuts the buffer at a random place, now and then.
fn cut(inbound: &mut BytesMut, rng: &mut fastrand::Rng) {
    if rng.u8(0..3) == 0 {
        inbound.truncate(rng.usize(0..=inbound.len()));
    }
}

#[test]
fn a_connection_whose_buffer_is_cut_short_panics_never_and_ends_in_order() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        for role in BOTH {
            let mut config = Config::default();
            if rng.bool() {
                config = config.recv_chunk_len(rng.usize(0..300));
            }
            if rng.bool() {
                config = config.extension(Deflate::default());
            }
            let mut end = End::new(role, config);
            let wire = wire(end.peer, &mut rng);
            let mut rest = &wire[..];
            let mut events = Vec::new();
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rng.usize(1..=rest.len()));
                rest = after;
                end.inbound.extend_from_slice(part);
                for _ in 0..rng.usize(0..8) {
                    cut(&mut end.inbound, &mut rng);
                    let polled = end.connection.poll_event(&mut end.inbound, end.now);
                    let none = polled.is_none();
                    events.extend(polled);
                    cut(&mut end.inbound, &mut rng);
                    if none && rng.bool() {
                        events.extend(end.connection.poll_partial(&mut end.inbound, end.now));
                        cut(&mut end.inbound, &mut rng);
                    }
                    end.connection.bytes_needed(&end.inbound);
                }
            }
            events.extend(end.eof());
            let last = events.last();
            assert!(matches!(last, Some(Event::Closed(_))), "seed {seed}: {last:?}");
            let ends = events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
            assert_eq!(ends, 1, "seed {seed}");
            end.drain();
            end.wait(Duration::from_secs(1000));
            assert_eq!(end.connection.transport_action(), TransportAction::Close, "seed {seed}");
        }
    }
}

#[test]
fn frames_out_of_a_buffer_that_is_cut_short_and_put_back_panic_never() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        for role in BOTH {
            let config = Arc::new(Config::default().accept_any_masking(rng.bool()));
            let mut raw = match role {
                Role::Client => RawConnection::client(Seed::new([7; 32]), config),
                Role::Server => RawConnection::server(config),
            };
            let wire = wire(peer_of(role), &mut rng);
            let (mut rest, mut inbound) = (&wire[..], BytesMut::new());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rng.usize(1..=rest.len()));
                rest = after;
                inbound.extend_from_slice(part);
                let mut frames = Vec::new();
                for _ in 0..rng.usize(0..8) {
                    cut(&mut inbound, &mut rng);
                    if let Some(Ok(frame)) = raw.poll_frame(&mut inbound, Instant::EPOCH) {
                        frames.push(frame);
                    }
                    cut(&mut inbound, &mut rng);
                    raw.bytes_needed(&inbound);
                }
                if rng.bool() {
                    let waiting = inbound.len();
                    raw.put_back(frames, &mut inbound);
                    assert!(inbound.len() >= waiting);
                }
            }
        }
    }
}
