//! Attacks on the demo with its own settings, at full scale and in real time, run by hand:
//! `cargo test --profile quick -p sockless-examples --test demo scale -- --ignored --nocapture`.
//!
//! On a virtual clock and at smaller scale, `cargo test` runs the same: in `tests/tests`, the tests of
//! `server/budget.rs`, and `a_close_completes_promptly_however_much_is_unread` in `liveness/closing.rs`.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use sockless::extension::{Agreed, Extension};
use sockless::proto::{Connection, Negotiated};
use sockless::{Config, Deflate, Seed};

use crate::Demo;

const SECOND: Duration = Duration::from_secs(1);

const DEFLATE: &str = "permessage-deflate";

/// A binary frame, and one that begins a message.
const BINARY: u8 = 0x82;
const BINARY_BEGINS: u8 = 0x02;
const CLOSE: u8 = 0x88;

#[test]
#[ignore = "takes a minute of real time"]
fn peers_that_never_read_are_gone_within_80_seconds() {
    let demo = Demo::start(&[]);
    let before = Use::of(&demo);
    let began = Instant::now();
    let peers: Vec<_> = (0..20).map(|_| open(&demo, "/echo", "")).collect();
    for peer in &peers {
        let mut peer = peer.try_clone().expect("a descriptor");
        // It sends until it is stopped.
        thread::spawn(move || while peer.write_all(&frame(BINARY, &[7; 1 << 20])).is_ok() {});
    }
    let most = watch(&demo, before, began + 80 * SECOND);
    println!("20 that never read: gone after {:?}, {most} MiB more at most", began.elapsed());
}

#[test]
#[ignore = "takes a minute of real time"]
fn unfinished_bombs_take_256_mib_at_most_and_are_gone_within_75_seconds() {
    let demo = Demo::start(&["--deflate", DEFLATE]);
    let before = Use::of(&demo);
    let bomb = bomb(15 << 20);
    assert!(bomb.len() < 17_000, "{} bytes", bomb.len());
    let began = Instant::now();
    let offer = format!("Sec-WebSocket-Extensions: {DEFLATE}; client_no_context_takeover\r\n");
    let peers: Vec<_> = (0..100).map(|_| open(&demo, "/echo", &offer)).collect();
    for mut peer in &peers {
        // Those that hold more than their share are ended meanwhile.
        let _ = peer.write_all(&bomb);
    }
    let most = watch(&demo, before, began + 75 * SECOND);
    println!("100 unfinished bombs: gone after {:?}, {most} MiB more at most", began.elapsed());
    assert!(most <= 256, "{most} MiB");
}

#[test]
#[ignore = "takes a minute of real time"]
fn a_message_of_a_byte_each_half_second_ends_within_100_seconds() {
    let demo = Demo::start(&[]);
    let mut peer = open(&demo, "/echo", "");
    let began = Instant::now();
    peer.write_all(&frame(BINARY_BEGINS, &[7; 60_000])[..8]).expect("it is open");
    peer.set_read_timeout(Some(SECOND / 2)).expect("a timeout");
    let mut received = [0; 128];
    let len = loop {
        peer.write_all(&[7]).expect("it is open");
        match peer.read(&mut received) {
            Ok(0) => panic!("it ends without a Close frame"),
            Ok(len) if received[0] == CLOSE => break len,
            // A ping, to which any byte is an answer.
            Ok(_) => {}
            Err(error) => assert!(is_timeout(error.kind()), "{error}"),
        }
        assert!(began.elapsed() < 100 * SECOND, "it goes on");
    };
    let code = u16::from_be_bytes([received[2], received[3]]);
    let reason = String::from_utf8_lossy(&received[4..len]);
    println!("a byte each 0.5 s: {code} {reason:?} after {:?}", began.elapsed());
    assert_eq!(code, 1008);
}

#[test]
#[ignore = "measures real time"]
fn a_close_with_300_kb_on_the_way_takes_less_than_a_second() {
    let demo = Demo::start(&[]);
    for _ in 0..3 {
        let began = Instant::now();
        let mut peer = open(&demo, "/close/1000", "");
        for _ in 0..300 {
            peer.write_all(&frame(BINARY, &[7; 1_000])).expect("it reads to the end");
        }
        let mut close = [0; 4];
        peer.read_exact(&mut close).expect("a Close frame");
        assert_eq!(close[..2], [CLOSE, 2]);
        peer.write_all(&frame(CLOSE, &close[2..])).expect("it waits for the answer");
        assert_eq!(peer.read(&mut close).expect("a clean end"), 0);
        println!("/close/1000 with 300 KB on the way: {:?}", began.elapsed());
        assert!(began.elapsed() < SECOND);
    }
}

/// The resources that a process uses.
#[derive(Clone, Copy)]
struct Use {
    descriptors: usize,
    mebibytes: usize,
}

impl Use {
    fn of(demo: &Demo) -> Self {
        let of = |file: &str| format!("/proc/{}/{file}", demo.process.id());
        let status = fs::read_to_string(of("status")).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|kib| kib.trim().strip_suffix(" kB"));
        let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("its resident memory");
        Self { descriptors: fs::read_dir(of("fd")).expect("it runs").count(), mebibytes: kib >> 10 }
    }
}

/// Waits until the demo has dropped all connections, in MiB how much it held at most meanwhile.
fn watch(demo: &Demo, before: Use, until: Instant) -> usize {
    let mut most = 0;
    loop {
        let now = Use::of(demo);
        most = most.max(now.mebibytes.saturating_sub(before.mebibytes));
        if now.descriptors <= before.descriptors {
            return most;
        }
        let left = now.descriptors - before.descriptors;
        assert!(Instant::now() < until, "{left} descriptors are left, {most} MiB more at most");
        thread::sleep(SECOND / 10);
    }
}

/// Opens a WebSocket. Bytes behind the head of the response are left unread.
fn open(demo: &Demo, path: &str, header: &str) -> TcpStream {
    let mut stream = TcpStream::connect(demo.addr()).expect("it listens");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(head.contains(DEFLATE), header.contains(DEFLATE), "{head}");
    stream
}

/// A frame of a client whose key is zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..0x1_0000 => {
            frame.push(0xFE);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xFF);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A compressed message of `len` zeros that lacks its end.
fn bomb(len: usize) -> Vec<u8> {
    let deflate = Deflate::default().level(9);
    let (answer, _) = deflate.answer(&deflate.offers()[0]).expect("an answer to oneself");
    let codec = deflate.confirm(&answer).expect("one's own answer");
    let mut negotiated = Negotiated::default();
    negotiated.extensions.push(Agreed::new(&deflate, answer, codec));
    let now = sockless::proto::Instant::EPOCH;
    let mut client =
        Connection::client(negotiated, Seed::new([7; 32]), Config::default().into(), now);
    client.send(vec![0; len], now).expect("it is open");
    let mut bytes = Vec::new();
    while client.outbound().has_remaining() {
        let mut outbound = client.outbound();
        let chunk = outbound.chunk().to_vec();
        outbound.advance(chunk.len());
        bytes.extend(chunk);
    }
    // The last frame of the message becomes the first of several.
    assert_eq!(bytes[0], 0xC2);
    bytes[0] &= 0x7F;
    bytes
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
