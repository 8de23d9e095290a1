//! The laws of WebSocket are checked on every connection: each violation is planted, and caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sockless::{Closed, Frame, Opcode, RawSession, Router, Session, websocket, websocket_raw};
use sockless_driver::Io;
use sockless_sim::{Link, Sim};

/// Returns the message of the failure.
fn failure<Fut: Future<Output = ()>>(scenario: impl Fn(Sim) -> Fut) -> Option<String> {
    let run = catch_unwind(AssertUnwindSafe(|| Sim::check(3..4, scenario)));
    run.err().map(|panic| *panic.downcast::<String>().expect("a message"))
}

/// Writes bytes as a driver does.
async fn drive(io: &mut sockless_sim::SimIo, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let slices = [std::io::IoSlice::new(bytes)];
        let len = std::future::poll_fn(|cx| Io::poll_write(io, cx, &slices)).await.unwrap();
        bytes = &bytes[len..];
    }
}

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n";

/// A client of ours sends `client`, and then a server of ours `server`.
fn exchange(extensions: &str, client: &[u8], server: &[u8]) -> Option<String> {
    let run = |sim: Sim, link: Link| {
        let response = [RESPONSE, extensions.as_bytes(), b"\r\n"].concat();
        let (client, server) = (client.to_vec(), server.to_vec());
        async move {
            let (mut one, mut other) = sim.pipe_over(&link);
            drive(&mut one, REQUEST).await;
            drive(&mut other, &response).await;
            drive(&mut one, &client).await;
            drive(&mut other, &server).await;
        }
    };
    let whole = failure(|sim| run(sim, Link::default()));
    let cut = failure(|sim| run(sim, Link::default().short_writes(3)));
    // What was written of the payload differs.
    let head =
        |message: &Option<String>| Some(message.as_ref()?.split(" bytes").next()?.to_owned());
    assert_eq!(head(&whole), head(&cut));
    whole
}

/// Asserts that what the server writes breaks a law, in the frame of this text.
#[track_caller]
fn server_breaks(bytes: &[u8], law: &str, frame: &str) {
    let message = exchange("", b"", bytes).expect(law);
    let expected = format!("seed 3: the server of connection #1 GET /chat {law} at +0ns: {frame}");
    let line = message.lines().next().unwrap();
    assert!(line.starts_with(&expected), "expected {expected:?}, got {line:?}");
    assert!(message.contains("\nreplay: SOCKLESS_SIM=3 cargo test"), "{message}");
}

#[test]
fn each_law_is_checked_and_named() {
    let after = "sends a frame after its Close frame (RFC 6455 §5.5.1)";
    server_breaks(b"\x88\0\x81\x02hi", after, "frame 2: Text, 2 bytes: \"hi\"");
    server_breaks(b"\x88\x02\x03\xe8\x88\x02\x03\xe8", after, "frame 2: Close, 2 bytes: 1000");
    let unknown = "sends an unknown opcode (RFC 6455 §5.2)";
    server_breaks(b"\x83\0", unknown, "frame 1: opcode 3, 0 bytes");
    server_breaks(b"\x8b\0", unknown, "frame 1: opcode 11, 0 bytes");
    let masks = "masks as its role does not allow (RFC 6455 §5.1)";
    server_breaks(b"\x81\x82\0\0\0\0hi", masks, "frame 1: Text, 2 bytes");
    let rsv = "sets a reserved bit that was not negotiated (RFC 6455 §5.2)";
    server_breaks(b"\xc1\x02hi", rsv, "frame 1: Text, compressed, 2 bytes");
    server_breaks(b"\xa1\x02hi", rsv, "frame 1: Text, 2 bytes");
    let part = "sends a control frame that is not final (RFC 6455 §5.5)";
    server_breaks(b"\x09\0", part, "frame 1: Ping, not final, 0 bytes");
    let long = "sends a control frame of more than 125 bytes (RFC 6455 §5.5)";
    server_breaks(
        &[b"\x89\x7e\x00\x7e", &[b'x'; 126][..]].concat(),
        long,
        "frame 1: Ping, 126 bytes",
    );
    let length = "encodes a length in more bytes than it needs (RFC 6455 §5.2)";
    server_breaks(b"\x82\x7e\0\x02hi", length, "frame 1: Binary, 2 bytes");
    server_breaks(b"\x82\x7f\0\0\0\0\0\0\0\x02hi", length, "frame 1: Binary, 2 bytes");
    let begun = "continues a message that it has not begun (RFC 6455 §5.4)";
    server_breaks(b"\x80\x02hi", begun, "frame 1: Continuation, 2 bytes");
    let finished = "begins a message before the last one is finished (RFC 6455 §5.4)";
    server_breaks(b"\x01\x02hi\x89\0\x81\x02ho", finished, "frame 3: Text, 2 bytes");
    let text = "sends text that is not UTF-8 (RFC 6455 §5.6)";
    server_breaks(b"\x81\x02\xc3(", text, "frame 1: Text, 2 bytes");
    server_breaks(b"\x01\x01\xc3\x80\x01(", text, "frame 2: Continuation, 1 bytes");
    let ends = "sends text that ends within a character (RFC 6455 §5.6)";
    server_breaks(b"\x81\x02h\xc3", ends, "frame 1: Text, 2 bytes");
    let half = "sends a Close frame with half a code (RFC 6455 §5.5.1)";
    server_breaks(b"\x88\x01\x03", half, "frame 1: Close, 1 bytes");
    let code = "sends a Close code that may not be sent (RFC 6455 §7.4)";
    server_breaks(b"\x88\x02\x03\xed", code, "frame 1: Close, 2 bytes: 1005");
    let reason = "sends a Close reason that is not UTF-8 (RFC 6455 §5.5.1)";
    server_breaks(b"\x88\x03\x03\xe8\xff", reason, "frame 1: Close, 3 bytes: 1000");
}

#[test]
fn a_client_has_to_mask() {
    let message = exchange("", b"\x81\x02hi", b"").unwrap();
    let expected = "the client of connection #1 GET /chat masks as its role does not allow";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_pongs_of_a_session_of_frames_are_its_own() {
    let ping = b"\x89\x82\0\0\0\0hi\x89\x82\0\0\0\0ho";
    for pongs in [&b"\x8a\x02hi\x8a\x02ho"[..], b"\x8a\x02ho", b"\x8a\x02ha\x8a\0"] {
        assert_eq!(exchange("", ping, pongs), None);
    }
}

#[test]
fn what_the_laws_allow_is_left_alone() {
    let fragments =
        b"\x01\x01\xc3\x89\x01x\x80\x01\xa4\x02\x01\xff\x00\x00\x80\x01\xff\x88\x05\x0b\xb8bye";
    assert_eq!(exchange("", b"", fragments), None);
    assert!(exchange(DEFLATE, b"", b"\x41\x01\xf2\xc0\x06\x48\xcd\xc9\xc9\x07\x00").is_some());
    assert!(exchange(DEFLATE, b"", b"\xc9\0").is_some());
    let other = "sec-websocket-extensions: x-other\r\n";
    assert_eq!(exchange(other, b"", b"\xf1\x01\xff"), None);
    // What is no WebSocket is not looked at.
    let plain = failure(|sim| async move {
        let (mut one, mut other) = sim.pipe();
        drive(&mut one, b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n\x83\0").await;
        drive(&mut other, b"HTTP/1.1 200 OK\r\n\r\n\x83\0").await;
    });
    assert_eq!(plain, None);
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A compressed text of one stored block.
fn stored(text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap();
    let block = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), text, &[0]].concat();
    [&[0xc1, u8::try_from(block.len()).unwrap()], &block[..]].concat()
}

#[test]
fn compressed_messages_are_checked_too() {
    // RFC 7692 §7.2.3.2: the second message refers to the first, which comes in two fragments.
    let hello = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(exchange(DEFLATE, b"", hello), None);
    let forgets = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let twice = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".repeat(2);
    assert_eq!(exchange(forgets, b"", &twice), None);
    assert_eq!(exchange(DEFLATE, b"", &stored("Grüße".as_bytes())), None);
    // Binary messages are of any bytes.
    let mut binary = stored(b"\xff\xc3");
    binary[0] = 0xc2;
    assert_eq!(exchange(DEFLATE, b"", &binary), None);
    for (bytes, law) in [
        (&stored(b"\xc3("), "sends text that is not UTF-8 (RFC 6455 §5.6)"),
        (&stored(b"h\xc3"), "sends text that ends within a character (RFC 6455 §5.6)"),
        (&b"\xc1\x01\xff".to_vec(), "sends compressed data that is invalid (RFC 7692 §7.2.2)"),
        (&b"\xc2\x01\xff".to_vec(), "sends compressed data that is invalid (RFC 7692 §7.2.2)"),
    ] {
        let message = exchange(DEFLATE, b"", bytes).expect(law);
        let expected =
            format!("seed 3: the server of connection #1 GET /chat {law} at +0ns: frame 1:");
        assert!(message.starts_with(&expected), "{message}");
        // Each message is checked from its start.
        let second = [&stored("ü".as_bytes())[..], bytes].concat();
        assert!(exchange(DEFLATE, b"", &second).expect(law).contains(law));
        // A last block has been sent (RFC 7692 §7.2.3.4): nothing that this end sends later can be checked.
        let last = [b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", &bytes[..]].concat();
        assert_eq!(exchange(DEFLATE, b"", &last), None);
    }
}

#[test]
fn a_close_frame_is_answered_before_the_stream_is_shut_down() {
    let run = |reads: bool| {
        failure(move |sim| async move {
            let (mut one, mut other) = sim.pipe();
            drive(&mut one, REQUEST).await;
            drive(&mut other, &[RESPONSE, b"\r\n"].concat()).await;
            drive(&mut one, b"\x88\x80\0\0\0\0").await;
            if reads {
                other.read_exact(REQUEST.len() + 6).await.unwrap();
            }
            std::future::poll_fn(|cx| Io::poll_shutdown(&mut other, cx)).await.unwrap();
        })
    };
    let message = run(true).unwrap();
    let expected =
        "the server of connection #1 GET /chat shuts down without answering a Close frame";
    assert!(message.contains(expected), "{message}");
    assert!(message.contains("at +0ns: after frame 0\n"), "{message}");
    assert_eq!(run(false), None);
}

/// Sends a message after its Close frame.
async fn unruly(session: RawSession) {
    let _ = session.send(Frame::new(Opcode::Close, "".into())).await;
    let _ = session.send(Frame::new(Opcode::Text, "and".into())).await;
}

#[test]
fn a_handler_of_frames_that_breaks_a_law_fails_the_run_unless_that_is_tolerated() {
    let run = |tolerate: fn(&Sim)| {
        failure(move |sim| async move {
            tolerate(&sim);
            sim.spawn(sim.serve("server", Router::new().route("/", websocket_raw(unruly))));
            let mut client = sim.connect("ws://server/").await.unwrap();
            let _ = client.recv().await;
        })
    };
    let message = run(|_| {}).expect("a violation");
    let expected = "the server of connection #1 GET / sends a frame after its Close frame";
    assert!(message.contains(expected), "{message}");
    assert_eq!(run(Sim::tolerate_violations), None);
    let one_end = failure(|sim| async move {
        sim.spawn(sim.serve("server", Router::new().route("/", websocket_raw(unruly))));
        let connecting = sim.connect("ws://server/").await;
        sim.wires("server").iter().for_each(sockless_sim::Wire::tolerate_violations);
        let _ = connecting.unwrap().recv().await;
    });
    // The end may have broken the law before it was exempt.
    assert!(one_end.is_none_or(|message| message.contains("sends a frame after")));
}

#[test]
fn a_peer_that_a_test_controls_may_break_all_laws() {
    async fn echo(mut session: Session) -> Result<(), Closed> {
        loop {
            let message = session.recv().await?;
            session.send(message).await?;
        }
    }
    let run = failure(|sim| async move {
        let app = sim.app(Router::new().route("/", websocket(echo)));
        let mut client = app.open("/").raw().await;
        client.send(Frame::new(Opcode::Text, "hi".into())).await;
        client.recv().await;
        client.write(b"\x83\x80\0\0\0\0").await;
        client.recv().await;
        client.write(b"\x81\x02hi").await;
        client.expect_end().await;
    });
    assert_eq!(run, None);
}
