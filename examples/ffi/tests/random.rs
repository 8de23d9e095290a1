//! Random operations through the C interface, legal and misused: no panic, no endless loop, and one `SOCKLESS_CLOSED`, which is the
//! last event.
//!
//! By default 2,000 seeds; `SOCKLESS_FFI_SEEDS=1000000 cargo test --release -p sockless-example-ffi` runs more. A failure names its
//! seed, and `SOCKLESS_FFI_SEED` runs that one alone.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the calls of one list are allowed for one reason"
)]

use std::ptr;

use fastrand::Rng;
use sockless_example_ffi::*;

#[test]
fn random_operations_end_with_one_closed() {
    let variable = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = variable("SOCKLESS_FFI_SEED") {
        Run::new(seed).go();
        return;
    }
    let seeds = variable("SOCKLESS_FFI_SEEDS").unwrap_or(2_000);
    let mut seen = Seen::default();
    for seed in 0..seeds {
        let case = std::panic::catch_unwind(|| Run::new(seed).go());
        seen.add(&case.unwrap_or_else(|_| panic!("failed with SOCKLESS_FFI_SEED={seed}")));
    }
    println!("{seeds} seeds: {seen:?}");
    // The operations are varied enough to reach all that there is.
    assert!(seen.opened > seeds / 2, "{seen:?}");
    assert!(seen.messages > seeds / 2 && seen.pings > seeds / 20, "{seen:?}");
    assert!(seen.refused > seeds && seen.failed > seeds / 50, "{seen:?}");
}

/// How often something happened.
#[derive(Debug, Default)]
struct Seen {
    opened: u64,
    messages: u64,
    pings: u64,
    /// Calls that returned an error.
    refused: u64,
    /// Ends that closed before they were open.
    failed: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.messages += other.messages;
        self.pings += other.pings;
        self.refused += other.refused;
        self.failed += other.failed;
    }
}

/// One end, what travels to it, and what was seen of it.
struct End {
    connection: *mut sockless_connection,
    wire: Vec<u8>,
    sent: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
    is_open: bool,
    is_closed: bool,
}

/// A client and a server, connected to each other.
struct Run {
    rng: Rng,
    now: u64,
    ends: [End; 2],
    /// True once bytes on their way were changed or lost: then the ends may receive anything.
    spoilt: bool,
    seen: Seen,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let now = rng.u64(..1_000_000);
        let key: [u8; 32] = std::array::from_fn(|_| rng.u8(..));
        // SAFETY: both strings end with a NUL, and the seed has 32 bytes.
        let client = unsafe { sockless_client(c"a".as_ptr(), c"/b".as_ptr(), key.as_ptr(), now) };
        let ends = [client, sockless_server(now)].map(|connection| End {
            connection,
            wire: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            is_open: false,
            is_closed: false,
        });
        assert!(ends.iter().all(|end| !end.connection.is_null()));
        Self { rng, now, ends, spoilt: false, seen: Seen::default() }
    }

    fn go(mut self) -> Seen {
        if self.rng.u8(..) < 230 {
            // Otherwise the first operations disturb the opening handshake.
            self.turn();
        }
        for _ in 0..self.rng.usize(..40) {
            let side = self.rng.usize(..2);
            self.operate(side);
        }
        self.settle();
        for side in [0, 1] {
            for _ in 0..4 {
                self.operate(side);
            }
            self.take_events(side, usize::MAX);
            assert!(self.ends[side].is_closed);
        }
        for (one, other) in [(0, 1), (1, 0)] {
            let (sent, received) = (&self.ends[one].sent, &self.ends[other].received);
            assert!(self.spoilt || sent.starts_with(received), "{sent:?} {received:?}");
        }
        for end in &self.ends {
            // SAFETY: it is not used any more.
            unsafe { sockless_free(end.connection) };
        }
        self.seen
    }

    /// Does one thing with an end.
    fn operate(&mut self, side: usize) {
        let (connection, now) = (self.ends[side].connection, self.now);
        match self.rng.u8(..100) {
            0..20 => self.move_output(side),
            20..40 => self.deliver(side),
            40..52 => {
                let most = self.rng.usize(..3);
                self.take_events(side, most);
            }
            52..67 => self.send(side),
            67..72 => {
                let payload = self.noise(130);
                // SAFETY: the payload has as many bytes.
                let pinged =
                    unsafe { sockless_ping(connection, payload.as_ptr(), payload.len(), now) };
                self.check(pinged);
                assert!(payload.len() <= 125 || pinged < 0);
            }
            72..75 => {
                let reason = self.noise(200);
                let code =
                    *self.rng.choice(&[1000, 1001, 1005, 1011, 3000, 4999, 0, 65_535]).unwrap();
                let (reason, len) = (reason.as_ptr(), reason.len());
                // SAFETY: the reason has as many bytes.
                let closed = unsafe { sockless_close(connection, code, reason, len, now) };
                self.check(closed);
            }
            75 => {
                // SAFETY: the connection was not freed.
                let aborted = unsafe { sockless_abort(connection, now) };
                self.check(aborted);
                self.spoilt = true;
            }
            76 => {
                // SAFETY: the connection was not freed.
                let ended = unsafe { sockless_feed_eof(connection, now) };
                self.check(ended);
            }
            77..80 => {
                let noise = self.noise(40);
                self.spoilt = true;
                self.ends[side].wire.extend(noise);
            }
            80..82 => {
                let wire = &mut self.ends[side].wire;
                if !wire.is_empty() {
                    let at = self.rng.usize(..wire.len());
                    wire[at] ^= 1 << self.rng.u8(..8);
                    self.spoilt = true;
                }
            }
            82..90 => {
                self.now += [1, 100, 3_000, 70_000][self.rng.usize(..4)];
                self.tick(side);
            }
            // Time does not go back, whatever the caller says.
            90..92 => {
                let before = self.rng.u64(..=now);
                // SAFETY: the connection was not freed.
                let ticked = unsafe { sockless_tick(connection, before) };
                self.check(ticked);
            }
            92..100 => self.misuse(side),
            _ => unreachable!(),
        }
    }

    fn send(&mut self, side: usize) {
        let (connection, now) = (self.ends[side].connection, self.now);
        let most = if self.rng.u8(..) < 5 { 70_000 } else { 200 };
        let payload = self.noise(most);
        let (data, len) = (payload.as_ptr(), payload.len());
        let is_text = self.rng.bool();
        let sent = if is_text {
            // SAFETY: the payload has as many bytes.
            unsafe { sockless_send_text(connection, data, len, now) }
        } else {
            // SAFETY: the payload has as many bytes.
            unsafe { sockless_send_binary(connection, data, len, now) }
        };
        assert!(!is_text || sent < 0 || str::from_utf8(&payload).is_ok());
        self.check(sent);
        if sent == 0 {
            self.ends[side].sent.push(payload);
        }
    }

    /// Calls that cannot be right return an error, and change nothing.
    fn misuse(&mut self, side: usize) {
        let (connection, now) = (self.ends[side].connection, self.now);
        let (none, mut len) = (ptr::null_mut(), 7);
        let mut event = sockless_event { kind: 0, code: 0, data: ptr::null(), len: 0 };
        // SAFETY: null is allowed everywhere.
        let refused = unsafe {
            [
                sockless_feed(none, ptr::null(), 0, now),
                sockless_feed(connection, ptr::null(), 1, now),
                sockless_feed(connection, ptr::dangling(), usize::MAX, now),
                sockless_feed_eof(none, now),
                sockless_tick(none, now),
                sockless_next_event(none, &raw mut event, now),
                sockless_next_event(connection, ptr::null_mut(), now),
                sockless_sent(none, 0, now),
                sockless_sent(connection, usize::MAX, now),
                sockless_transport(none),
                sockless_send_text(connection, ptr::null(), 1, now),
                sockless_send_text(connection, b"\xFF".as_ptr(), 1, now),
                sockless_send_binary(none, ptr::null(), 0, now),
                sockless_send_binary(connection, ptr::null(), usize::MAX, now),
                sockless_ping(connection, [0; 126].as_ptr(), 126, now),
                sockless_close(connection, 1005, ptr::null(), 0, now),
                sockless_close(connection, 1000, b"\xFF".as_ptr(), 1, now),
                sockless_abort(none, now),
            ]
        };
        for code in refused {
            assert!(code < 0);
            self.check(code);
        }
        // SAFETY: null is allowed everywhere.
        unsafe {
            assert!(sockless_output(none, &raw mut len).is_null() && len == 0);
            assert!(sockless_output(connection, ptr::null_mut()).is_null());
            assert_eq!(sockless_timeout(none), SOCKLESS_NEVER);
            sockless_free(none);
            let key = [0; 32];
            for (host, target, seed) in [
                (ptr::null(), c"/".as_ptr(), key.as_ptr()),
                (c"a".as_ptr(), ptr::null(), key.as_ptr()),
                (c"a".as_ptr(), c"/".as_ptr(), ptr::null()),
                (c"a b".as_ptr(), c"/".as_ptr(), key.as_ptr()),
                (c"a".as_ptr(), c"b".as_ptr(), key.as_ptr()),
                (c"\xFF".as_ptr(), c"/".as_ptr(), key.as_ptr()),
            ] {
                assert!(sockless_client(host, target, seed, now).is_null());
            }
        }
    }

    /// Moves a part of the output of an end to the other's wire.
    fn move_output(&mut self, side: usize) {
        let (connection, mut len) = (self.ends[side].connection, 0);
        // SAFETY: `len` can be written to.
        let output = unsafe { sockless_output(connection, &raw mut len) };
        let taken = self.rng.usize(..=len);
        if taken > 0 {
            // SAFETY: there are at least as many bytes, until the next call for the connection.
            let bytes = unsafe { std::slice::from_raw_parts(output, taken) };
            self.ends[1 - side].wire.extend_from_slice(bytes);
        }
        // SAFETY: the connection was not freed.
        let sent = unsafe { sockless_sent(connection, taken, self.now) };
        assert_eq!(sent, 0);
    }

    /// Feeds an end a part of what travels to it.
    fn deliver(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let len = self.rng.usize(..=end.wire.len());
        let bytes = end.wire.drain(..len).collect::<Vec<_>>();
        // SAFETY: there are as many bytes.
        let fed = unsafe { sockless_feed(end.connection, bytes.as_ptr(), bytes.len(), self.now) };
        assert_eq!(fed, 0);
    }

    /// Takes up to `most` events, and all of them must be possible.
    fn take_events(&mut self, side: usize, most: usize) {
        for count in 0..most {
            // More than all bytes that an end is ever fed.
            assert!(count < 10_000_000, "the events do not end");
            let mut event = sockless_event { kind: 0, code: 0, data: ptr::null(), len: 0 };
            let end = &mut self.ends[side];
            // SAFETY: the event can be written to.
            match unsafe { sockless_next_event(end.connection, &raw mut event, self.now) } {
                0 => return,
                1 => {}
                error => panic!("{error}"),
            }
            assert!(!end.is_closed, "after the last event: {event:?}");
            // SAFETY: the event says how many there are, until the next call for the connection.
            let data = unsafe { std::slice::from_raw_parts(event.data, event.len) }.to_vec();
            match event.kind {
                SOCKLESS_OPEN => {
                    let target = if side == 0 { &b""[..] } else { b"/b" };
                    assert!(!end.is_open && (self.spoilt || data == target), "{event:?}");
                    end.is_open = true;
                    self.seen.opened += 1;
                }
                SOCKLESS_CLOSED => {
                    assert!(str::from_utf8(&data).is_ok_and(|text| !text.contains('\n')));
                    self.seen.failed += u64::from(!end.is_open);
                    end.is_closed = true;
                }
                kind => {
                    assert!(end.is_open && (SOCKLESS_TEXT..=SOCKLESS_PEER_CLOSED).contains(&kind));
                    self.seen.pings += u64::from(kind == SOCKLESS_PING);
                    if kind <= SOCKLESS_BINARY {
                        self.seen.messages += 1;
                        end.received.push(data);
                    }
                }
            }
        }
    }

    fn tick(&mut self, side: usize) {
        // SAFETY: the connection was not freed.
        let ticked = unsafe { sockless_tick(self.ends[side].connection, self.now) };
        assert_eq!(ticked, 0);
    }

    /// Both ends do all that they can do now.
    fn turn(&mut self) {
        for side in [0, 1, 0, 1] {
            for _ in 0..4 {
                self.move_output(side);
            }
            loop {
                let mut len = 0;
                // SAFETY: `len` can be written to.
                unsafe { sockless_output(self.ends[side].connection, &raw mut len) };
                if len == 0 {
                    break;
                }
                self.move_output(side);
            }
            let end = &mut self.ends[1 - side];
            let bytes = std::mem::take(&mut end.wire);
            // SAFETY: there are as many bytes.
            let fed =
                unsafe { sockless_feed(end.connection, bytes.as_ptr(), bytes.len(), self.now) };
            assert_eq!(fed, 0);
            self.take_events(1 - side, usize::MAX);
        }
    }

    /// Runs to the end of both ends, which must come in time.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.turn();
            if self.ends.iter().all(|end| end.is_closed) {
                return;
            }
            // SAFETY: the connections were not freed.
            let next = self.ends.iter().map(|end| unsafe { sockless_timeout(end.connection) });
            match next.min() {
                Some(SOCKLESS_NEVER) | None => {
                    let side = self.ends.iter().position(|end| !end.is_closed).unwrap();
                    let connection = self.ends[side].connection;
                    // SAFETY: there is no reason.
                    let closed =
                        unsafe { sockless_close(connection, 1000, ptr::null(), 0, self.now) };
                    assert_eq!(closed, 0);
                }
                Some(next) => {
                    self.now = self.now.max(next);
                    self.tick(0);
                    self.tick(1);
                }
            }
        }
        panic!("the ends do not end");
    }

    /// Counts an error, which must not be a panic.
    fn check(&mut self, code: i32) {
        assert!((SOCKLESS_E_INVALID..=0).contains(&code), "{code}");
        self.seen.refused += u64::from(code < 0);
    }

    /// Up to `most` bytes, more often text than not.
    fn noise(&mut self, most: usize) -> Vec<u8> {
        let len = self.rng.usize(..=most);
        if self.rng.u8(..4) == 0 {
            (0..len).map(|_| self.rng.u8(..)).collect()
        } else {
            vec![self.rng.lowercase() as u8; len]
        }
    }
}
