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

/// An output to be filled.
const NOTHING: sockless_output =
    sockless_output { kind: 0, code: 0, read: 0, write: 0, data: ptr::null(), len: 0, until: 0 };

/// The number of times that something happened.
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
    /// It was asked to shut down the sending side of its transport.
    is_shut_down: bool,
    /// It was asked to drop its transport.
    is_dropped: bool,
    /// When it is to be polled again.
    until: u64,
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
            is_shut_down: false,
            is_dropped: false,
            until: SOCKLESS_NEVER,
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
            self.turn_of(side, usize::MAX);
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
            0..20 => {
                let room = self.rng.usize(..300);
                self.turn_of(side, room);
            }
            20..40 => self.deliver(side),
            40..52 => {
                // A loop that breaks off in the middle of its turn.
                let (most, mut room) = (self.rng.usize(..3), self.rng.usize(..300));
                for _ in 0..most {
                    self.poll(side, &mut room);
                }
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
                self.turn_of(side, 0);
            }
            // Time does not go back, whatever the caller says.
            90..92 => {
                self.now = self.rng.u64(..=now);
                self.poll(side, &mut 0);
                self.now = now;
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
        let none = ptr::null_mut();
        let mut output = NOTHING;
        // SAFETY: null is allowed everywhere.
        let refused = unsafe {
            [
                sockless_feed(none, ptr::null(), 0, now),
                sockless_feed(connection, ptr::null(), 1, now),
                sockless_feed(connection, ptr::dangling(), usize::MAX, now),
                sockless_feed_eof(none, now),
                sockless_poll(none, &raw mut output, now),
                sockless_poll(connection, ptr::null_mut(), now),
                sockless_sent(none, 0, now),
                sockless_sent(connection, usize::MAX, now),
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

    /// Feeds an end a part of what travels to it.
    fn deliver(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let len = self.rng.usize(..=end.wire.len());
        let bytes = end.wire.drain(..len).collect::<Vec<_>>();
        // SAFETY: there are as many bytes.
        let fed = unsafe { sockless_feed(end.connection, bytes.as_ptr(), bytes.len(), self.now) };
        assert_eq!(fed, 0);
    }

    /// Polls an end until it is to wait or to drop its transport, which takes up to `room` bytes.
    fn turn_of(&mut self, side: usize, mut room: usize) {
        // A turn is bounded by the library.
        for _ in 0..100_000 {
            if let SOCKLESS_WAIT | SOCKLESS_DROP = self.poll(side, &mut room) {
                return;
            }
        }
        panic!("the turn does not end");
    }

    /// Does the next thing that an end asks for, and returns its kind.
    fn poll(&mut self, side: usize, room: &mut usize) -> i32 {
        let (mut output, end) = (NOTHING, &mut self.ends[side]);
        // SAFETY: the output can be written to.
        let polled = unsafe { sockless_poll(end.connection, &raw mut output, self.now) };
        assert_eq!(polled, 0);
        let data = match output.len {
            0 => &[][..],
            // SAFETY: there are as many bytes, until the next call for the connection.
            len => unsafe { std::slice::from_raw_parts(output.data, len) },
        };
        match output.kind {
            SOCKLESS_WRITE => {
                assert!(!data.is_empty() && !end.is_shut_down && !end.is_dropped);
                let (taken, connection) = (data.len().min(*room), end.connection);
                *room -= taken;
                self.ends[1 - side].wire.extend_from_slice(&data[..taken]);
                // SAFETY: the connection was not freed.
                let sent = unsafe { sockless_sent(connection, taken, self.now) };
                assert_eq!(sent, 0);
            }
            SOCKLESS_SHUTDOWN_WRITE => {
                assert!(end.is_closed && !std::mem::replace(&mut end.is_shut_down, true));
            }
            SOCKLESS_WAIT => end.until = output.until,
            SOCKLESS_DROP => {
                assert!(end.is_closed, "the end comes before");
                (end.is_dropped, end.until) = (true, SOCKLESS_NEVER);
            }
            kind => {
                let data = data.to_vec();
                self.note_event(side, kind, data);
            }
        }
        output.kind
    }

    /// Notes an event, which must be possible.
    fn note_event(&mut self, side: usize, kind: i32, data: Vec<u8>) {
        let end = &mut self.ends[side];
        assert!(!end.is_closed, "after the last event: {kind} {data:?}");
        match kind {
            SOCKLESS_OPEN => {
                let target = if side == 0 { &b""[..] } else { b"/b" };
                assert!(!end.is_open && (self.spoilt || data == target), "{data:?}");
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

    /// Both ends do all that they can do now.
    fn turn(&mut self) {
        for side in [0, 1, 0, 1] {
            self.turn_of(side, usize::MAX);
            let end = &mut self.ends[1 - side];
            let bytes = std::mem::take(&mut end.wire);
            // SAFETY: there are as many bytes.
            let fed =
                unsafe { sockless_feed(end.connection, bytes.as_ptr(), bytes.len(), self.now) };
            assert_eq!(fed, 0);
            self.turn_of(1 - side, usize::MAX);
        }
    }

    /// Runs to the end of both ends, which must come in time.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.turn();
            if self.ends.iter().all(|end| end.is_dropped) {
                return;
            }
            for side in [0, 1] {
                if self.ends[side].is_dropped || self.ends[side].is_shut_down {
                    // SAFETY: the connection was not freed.
                    let ended =
                        unsafe { sockless_feed_eof(self.ends[1 - side].connection, self.now) };
                    assert_eq!(ended, 0);
                }
            }
            match self.ends.iter().map(|end| end.until).min() {
                Some(SOCKLESS_NEVER) | None => {
                    let side = self.ends.iter().position(|end| !end.is_dropped).unwrap();
                    let connection = self.ends[side].connection;
                    // SAFETY: there is no reason.
                    let closed =
                        unsafe { sockless_close(connection, 1000, ptr::null(), 0, self.now) };
                    assert_eq!(closed, 0);
                }
                Some(next) => self.now = self.now.max(next),
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
