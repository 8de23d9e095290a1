//! The events of an end do not depend on how its bytes were split, even if one or several faults are in
//! them.

use sockless_core::{Chunk, CloseCode, Config, Event, Message, Role};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY_BEGINS, ENDS, GOES_ON, PING, TEXT, TEXT_BEGINS, Writer};

use crate::support::{Compressor, RSV1, RSV2, eager, prose, with};

#[test]
fn faults_are_found_in_the_order_in_which_they_stand() {
    let mut ends = [0; 4];
    for seed in 0..1000 {
        let mut chance = fastrand::Rng::with_seed(seed);
        for role in BOTH {
            let config = some_config(&mut chance);
            let wire = some_frames(&mut chance, role);
            let whole = play(role, &config, &wire, wire.len());
            for len in [1, 2, 7, chance.usize(1..400)] {
                assert_eq!(play(role, &config, &wire, len), whole, "{seed}, cut every {len}");
            }
            if let Some(Event::Closed(closed)) = whole.0.last() {
                let codes = [1009, 1007, 1002].map(Some);
                let code = closed.sent().and_then(|reason| reason.code()).map(CloseCode::get);
                ends[codes.iter().position(|&one| one == code).unwrap_or(3)] += 1;
            }
        }
    }
    // The cases are worth their while only as long as they end in many ways.
    assert!(ends.iter().all(|&times| times > 100), "{ends:?}");
}

/// Limits among which any may be the first to be reached.
fn some_config(chance: &mut fastrand::Rng) -> Config {
    let ratio = chance.bool().then(|| chance.u32(1..40));
    let config = with(eager().max_ratio(ratio)).max_message_len(chance.u64(1..40_000));
    if chance.bool() { config.recv_chunk_len(chance.usize(4..6000)) } else { config }
}

/// Messages in fragments with pings between them, some with a few bytes changed, before or after they
/// were compressed, or with an end that is missing.
fn some_frames(chance: &mut fastrand::Rng, role: Role) -> Vec<u8> {
    let peer = Writer { masks: role == Role::Server };
    let mut wire = Vec::new();
    for _ in 0..chance.usize(1..4) {
        let mut text = prose(chance.usize(8..2000), chance.u64(..)).into_bytes();
        text = text.repeat(chance.usize(1..20));
        spoil(chance, &mut text);
        let mut payload = Compressor::new().message(&text);
        spoil(chance, &mut payload);
        if chance.u8(..8) == 0 {
            payload.truncate(chance.usize(1..=payload.len()));
        }
        let mut first = if chance.bool() { TEXT_BEGINS } else { BINARY_BEGINS } | RSV1;
        let max_send_frame_len = chance.usize(1..=payload.len() + 1);
        let mut fragments = payload.chunks(max_send_frame_len).peekable();
        while let Some(fragment) = fragments.next() {
            let last = if fragments.peek().is_none() { ENDS } else { 0 };
            let foreign = if chance.u8(..40) == 0 { RSV2 } else { 0 };
            wire.extend(peer.frame(first | last | foreign, fragment));
            wire.extend(peer.frame(PING, "?"));
            first = GOES_ON;
        }
    }
    wire
}

fn spoil(chance: &mut fastrand::Rng, bytes: &mut [u8]) {
    while chance.u8(..3) == 0 {
        let at = chance.usize(..bytes.len());
        bytes[at] ^= 1 << chance.u8(..8);
    }
}

/// The events and the output of an end.
fn play(role: Role, config: &Config, wire: &[u8], len: usize) -> (Vec<Event>, Vec<u8>) {
    let mut end = End::new(role, config.clone());
    let mut events: Vec<_> = wire.chunks(len).flat_map(|chunk| end.receive(chunk)).collect();
    events.extend(end.eof());
    (events, end.drain())
}

#[test]
fn a_whole_chunk_leaves_before_what_is_wrong_behind_it() {
    for role in BOTH {
        let text = [b"eight by", &b"\xFF"[..]].concat();
        let compressed = Compressor::new().message(&text);
        for (first, payload) in [(TEXT, &text), (TEXT | RSV1, &compressed)] {
            let mut end = End::new(role, with(eager()).recv_chunk_len(8));
            let wire = end.peer.frame(first, payload);
            let events = end.receive(wire);
            let chunk = Chunk { data: Message::from("eight by"), last: false };
            assert_eq!(events[0], Event::Chunk(chunk), "{first:x}");
            assert!(matches!(events[1..], [Event::Closed(_)]), "{events:?}");
        }
    }
}
