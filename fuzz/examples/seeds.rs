//! Writes the seeds of the corpora, from `fuzz/`: `cargo run --example seeds`.

use std::path::Path;

use sockless_core::{Config, Deflate, Role};
use sockless_tests::end::End;
use sockless_tests::wire::{BINARY_BEGINS, CLOSE, ENDS, GOES_ON, TEXT, TEXT_BEGINS, Writer};

/// Default settings, in chunks of 3 and 5 bytes.
const USUAL: [u8; 8] = [0, 0, 0, 0, 0, 0, 3, 5];

fn main() -> std::io::Result<()> {
    for (target, masks) in [("server_bytes", true), ("client_bytes", false)] {
        for (name, settings, bytes) in sessions(Writer { masks }) {
            write(target, name, &[&settings[..], &bytes].concat())?;
        }
    }
    for (name, masks) in [("client", true), ("server", false)] {
        for (seed, _, bytes) in sessions(Writer { masks }) {
            for (rules, flags) in [("strict", 0), ("any", 7)] {
                let settings = [flags, 0, 3, 5];
                write("frame_parts", &format!("{name}-{rules}-{seed}"), &[&settings, &bytes[..]].concat())?;
            }
        }
    }
    for (name, kind, head) in HEADS {
        write("heads", name, &[&[kind, 7], head.as_bytes()].concat())?;
    }
    for (name, bytes) in compressed() {
        write("deflate", name, &bytes)?;
    }
    // Operations have no format to write down: bytes of every kind will do.
    for seed in 1..=8_u8 {
        let bytes: Vec<u8> = (0..400_u32).map(|i| ((i * i * u32::from(seed)) >> 3) as u8).collect();
        write("pair", &format!("bytes-{seed}"), &bytes)?;
    }
    Ok(())
}

fn sessions(peer: Writer) -> Vec<(&'static str, [u8; 8], Vec<u8>)> {
    let text = "aä€𐍈".repeat(8);
    let (first, second) = text.as_bytes().split_at(21);
    let pieces = [0, 9, 0, 0, 0, 0, 3, 5];
    let limits = [0, 0, 100, 50, 3, 40, 3, 5];
    let interleaved = [
        peer.frame(TEXT_BEGINS, first),
        peer.ping("?"),
        peer.frame(GOES_ON, second),
        peer.pong("!"),
        peer.frame(ENDS, ""),
    ];
    vec![
        ("text", USUAL, peer.text(&text)),
        ("binary", USUAL, peer.binary([7; 300])),
        ("long", USUAL, peer.binary([7; 5000])),
        ("ping", USUAL, peer.ping("?").repeat(4)),
        ("fragments", USUAL, interleaved.concat()),
        ("fragments-pieces", pieces, interleaved.concat()),
        ("pieces-text", pieces, peer.text(&text)),
        ("pieces-binary", pieces, peer.fragments(BINARY_BEGINS, &[[7; 20], [8; 20]])),
        ("close", USUAL, [peer.close(1000, "bye"), peer.text("late")].concat()),
        (
            "close-answered",
            [1, 0, 0, 0, 0, 0, 3, 5],
            [peer.text("x"), peer.close(4000, "")].concat(),
        ),
        ("close-waits", [2, 0, 0, 0, 0, 0, 3, 5], peer.close(1000, "")),
        ("close-empty", USUAL, peer.frame(CLOSE, "")),
        ("close-short", USUAL, peer.frame(CLOSE, "x")),
        ("close-code", USUAL, peer.close(1006, "")),
        ("close-text", USUAL, peer.frame(CLOSE, b"\x03\xE8\xFF")),
        ("text-invalid", USUAL, peer.frame(TEXT, b"fine\xED\xA0\x80")),
        ("text-cut", USUAL, peer.frame(TEXT, b"\xE2\x82")),
        ("mask", USUAL, Writer { masks: !peer.masks }.text("wrong")),
        ("reserved-bit", USUAL, peer.frame(0xC1, "x")),
        ("opcode", USUAL, peer.frame(0x83, "x")),
        ("control-fragmented", USUAL, peer.frame(0x09, "x")),
        ("control-long", USUAL, peer.header(0x89, 126)),
        ("length-wide", USUAL, peer.header_of_width(0x82, 5, 8)),
        ("length-top", USUAL, peer.header(0x82, 1 << 63)),
        ("length-claimed", USUAL, peer.header(0x82, u64::MAX >> 1)),
        ("continuation", USUAL, peer.frame(ENDS, "x")),
        ("unfinished", USUAL, peer.frame(TEXT_BEGINS, "x").repeat(2)),
        (
            "limit-message",
            limits,
            peer.binary([7; 49]).into_iter().chain(peer.binary([7; 51])).collect(),
        ),
        ("limit-fragments", limits, peer.fragments(TEXT_BEGINS, &["a", "b", "c", "d"])),
        ("limit-water", limits, [peer.ping([7; 30]).repeat(5), peer.text("x")].concat()),
    ]
}

/// Settings, then frames of compressed messages, or messages between two ends.
fn compressed() -> Vec<(&'static str, Vec<u8>)> {
    let forgets = Deflate::default().min_len(0);
    let remembers = forgets.clone().server_no_context_takeover(false);
    let small = remembers.clone().server_max_window_bits(9);
    let (prose, zeros) = ("a tide comes in, ".repeat(20), "\0".repeat(3000));
    let both: [&str; 3] = [&prose, &zeros, "short"];
    // The bytes that a client receives, and those that a server without context takeover receives.
    let incoming = |settings: [u8; 6], deflate: &Deflate, messages: &[&str]| {
        [&settings[..], &frames(deflate, messages)].concat()
    };
    vec![
        ("client", incoming([1, 0, 0, 0, 3, 5], &forgets, &both)),
        ("client-remembers", incoming([3, 0, 0, 0, 3, 5], &remembers, &[&prose, &prose, &zeros])),
        ("client-small", incoming([3 | 6 << 3, 0, 0, 0, 3, 5], &small, &[&prose, &prose])),
        ("client-pieces", incoming([3, 0, 9, 0, 3, 5], &remembers, &both)),
        ("server", incoming([0, 0, 0, 0, 3, 5], &forgets, &both)),
        ("server-limit", incoming([0, 0, 0, 20, 3, 5], &forgets, &[&zeros])),
        ("server-ratio", incoming([0, 10 << 3, 9, 0, 3, 5], &forgets, &[&zeros.repeat(4)])),
        ("server-corrupt", [&[0, 0, 0, 0, 3, 5, 0, 9][..], &[7; 9]].concat()),
        // A block in each of two frames with a ping between them, stored; then one that goes on forever.
        ("server-stored", [&[0, 0, 0, 0, 3, 5][..], STORED].concat()),
        ("pair", [&[0x80, 0, 0, 0, 3, 5][..], MESSAGES].concat()),
        ("pair-remembers", [&[0x86, 0, 9, 0, 3, 5][..], MESSAGES].concat()),
        ("pair-small", [&[0x86 | 6 << 3, 6, 0, 0, 60, 5][..], MESSAGES].concat()),
    ]
}

const STORED: &[u8] = b"\x01\x08\0\x03\0\xFC\xFFabc\x08\x08\0\x03\0\xFC\xFFdef\0\x02\0\xFF";

const MESSAGES: &[u8] = b"\x08\x05\x20hello\x01\x05\x20hello\x0E\x03\0abc\x03\x04\xFFpart\x04\x01\0?\x02\x07\x09letters\x00\0\0";

/// The input of `sockless_fuzz::frames`: the messages as a server sends them, each in two frames.
fn frames(deflate: &Deflate, messages: &[&str]) -> Vec<u8> {
    let mut server = End::new(Role::Server, Config::default().extension(deflate.clone()));
    let mut bytes = Vec::new();
    for &message in messages {
        server.connection.send(message.to_owned(), server.now).expect("it is open");
        for frame in server.sent() {
            let plain = if frame.first & 0x40 == 0 { 2 } else { 0 };
            let (first, last) = frame.payload.split_at(frame.payload.len() / 2);
            for (goes_on, part) in [(1, first), (0, last)] {
                bytes.extend([4 | plain | goes_on, u8::try_from(part.len()).expect("it is short")]);
                bytes.extend(part);
            }
        }
    }
    bytes
}

const HEADS: [(&str, u8, &str); 12] = [
    (
        "request",
        0,
        concat!(
            "GET /chat?x=1 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\nOrigin: https://example.org\r\n\r\n\u{1}frames",
        ),
    ),
    ("request-plain", 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("request-body", 0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
    ("request-chunked", 0, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("request-old", 0, "GET / HTTP/1.0\r\n\r\n"),
    ("request-folded", 0, "GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n"),
    ("request-newlines", 0, "GET / HTTP/1.1\nHost: a\n\n"),
    (
        "request-long",
        8,
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n",
    ),
    ("request-wrong", 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (
        "response",
        1,
        concat!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: one\r\n\r\n\u{1}frames",
        ),
    ),
    ("response-refused", 1, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    (
        "response-interim",
        1,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
    ),
];

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target);
    std::fs::create_dir_all(&corpus)?;
    std::fs::write(corpus.join(name), bytes)
}
