//! Responses of servers that are not a handshake.

use sockless_core::Instant;
use sockless_core::handshake::HandshakeError;
use sockless_driver::{ConnectError, ConnectStep};
use sockless_sim::Sim;

use crate::support::{DEADLINE, MS, SECOND, WRONG_ACCEPT, answer, error, script};

#[test]
fn a_silent_server_times_out_at_the_deadline() {
    Sim::check(0..5, |sim| async move {
        script(&sim, "server", async |io| io);
        let error = error(&sim, "ws://server/").await;
        let reported = matches!(error, ConnectError::Timeout { step: ConnectStep::Response, .. });
        assert!(reported && error.is_transient(), "{error}");
        let text = error.to_string();
        let waited = "opening_timeout = 10s passed while waiting for the response of server:80 (";
        assert!(text.starts_with(waited), "{text}");
        assert_eq!(sim.now(), DEADLINE);
    });
}

#[test]
fn an_endless_head_ends_at_the_limit() {
    Sim::check(0..5, |sim| async move {
        let endless = format!("HTTP/1.1 101 X\r\n{}", "A: aaaaaaaaaaaaa\r\n".repeat(99));
        let long = format!("{endless}B: {}", "b".repeat(64 << 10));
        answer(&sim, "lines", "HTTP/1.1 101 X\r\n".to_owned() + &"A: b\r\n".repeat(9999), false);
        answer(&sim, "long", long, false);
        for (host, limit) in [("lines", "128"), ("long", "max_head_len = 16384")] {
            let error = error(&sim, &format!("ws://{host}/")).await;
            let reported =
                matches!(error, ConnectError::Handshake { error: HandshakeError::Head(_), .. });
            assert!(reported && error.to_string().contains(limit), "{error}");
        }
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

/// Dripping bytes do not move the deadline.
#[test]
fn a_head_that_drips_ends_at_the_deadline() {
    Sim::check(0..5, |sim| async move {
        let clock = sim.clone();
        let mut listener = sim.listen("server");
        sim.spawn(async move {
            let io = listener.accept().await;
            let _ = io.write_all(b"HTTP/1.1 101 ").await;
            while io.write_all(b"x").await.is_ok() {
                clock.sleep(SECOND).await;
            }
        });
        let error = error(&sim, "ws://server/").await;
        assert!(
            matches!(error, ConnectError::Timeout { step: ConnectStep::Response, .. }),
            "{error}"
        );
        assert_eq!(sim.now(), DEADLINE);
    });
}

#[test]
fn each_wrong_answer_is_named_with_who_gave_it() {
    let accepted = |line: &str| {
        // The key is drawn from the seed, so the accept cannot be right: it is looked at last.
        format!("{}{line}\r\n\r\n", WRONG_ACCEPT.trim_end())
    };
    let answers = [
        (WRONG_ACCEPT.to_owned(), "Sec-WebSocket-Accept does not match the key"),
        (accepted("\r\nUpgrade: h2c"), "Upgrade: websocket"),
        ("HTTP/1.1 101 X\r\n\r\n".to_owned(), "Upgrade: websocket"),
        ("\x16\x03\x01 no HTTP at all".to_owned(), "wss"),
        (String::new(), "the transport ended"),
        ("HTTP/1.1 101 Switch".to_owned(), "the transport ended"),
    ];
    for (text, reported) in answers {
        Sim::check(0..3, |sim| {
            let text = text.clone();
            async move {
                answer(&sim, "server", text.clone(), true);
                let error = error(&sim, "ws://server/").await;
                let is_handshake = matches!(error, ConnectError::Handshake { .. });
                let shown = error.to_string();
                assert!(is_handshake && shown.contains(reported), "{text:?}: {shown}");
                assert!(shown.contains("server:80 (198.18.0."), "{shown}");
                assert_eq!(sim.now(), Instant::EPOCH);
            }
        });
    }
}

/// A server that answers as it should, but for one line more.
#[test]
fn what_was_not_offered_is_named() {
    for (line, reported) in [
        ("Sec-WebSocket-Protocol: other", "the subprotocol \"other\", which was not offered"),
        ("Sec-WebSocket-Extensions: x-other", "x-other"),
    ] {
        Sim::check(0..3, |sim| async move {
            script(&sim, "server", move |io| async move {
                let head = io.read_until(b"\r\n\r\n").await.unwrap();
                let answer = crate::support::accepting(&head, &[line]);
                io.write_all(&answer).await.unwrap();
                io
            });
            let error = sim.connect("ws://server/").subprotocol("mine").await.unwrap_err();
            let is_handshake = matches!(error, ConnectError::Handshake { .. });
            assert!(is_handshake && error.to_string().contains(reported), "{error}");
            assert!(!error.is_transient());
        });
    }
}

/// U+009B alone begins what a terminal obeys, and is text as far as HTTP is concerned.
#[test]
fn what_a_server_writes_is_shown_escaped() {
    for line in [
        "Sec-WebSocket-Protocol: \u{9b}31mred",
        "Sec-WebSocket-Extensions: red\u{9b}31m",
        "Sec-WebSocket-Extensions: red; a=\"\u{9b}31m\"",
        "Upgrade: \u{9b}31mred",
    ] {
        Sim::check(0..3, |sim| async move {
            script(&sim, "server", move |io| async move {
                let head = io.read_until(b"\r\n\r\n").await.unwrap();
                io.write_all(&crate::support::accepting(&head, &[line])).await.unwrap();
                io
            });
            let error = sim.connect("ws://server/").subprotocol("mine").await.unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains(char::is_control), "{shown:?}");
            }
        });
    }
}

#[test]
fn a_refusal_comes_whole() {
    let long = "x".repeat(70_000);
    let answers = [
        ("Content-Length: 4\r\n\r\nbusyrest".to_owned(), false, "busy", true),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n".to_owned(),
            false,
            "busy",
            true,
        ),
        ("\r\nuntil the end".to_owned(), true, "until the end", true),
        ("Content-Length: 9\r\n\r\ncut".to_owned(), true, "cut", false),
        (format!("Content-Length: 70000\r\n\r\n{long}"), false, &long[..65536], false),
    ];
    for (text, ends, body, whole) in answers {
        Sim::check(0..3, |sim| {
            let text = format!("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n{text}");
            async move {
                answer(&sim, "server", text, ends);
                let error = error(&sim, "ws://server/").await;
                assert!(error.is_transient(), "{error}");
                let ConnectError::Rejected { response, complete, .. } = error else {
                    panic!("{error}");
                };
                assert_eq!(response.status(), 503);
                assert_eq!(response.headers()["retry-after"], "7");
                assert!(*response.body() == *body, "{:?}", response.body());
                assert_eq!((complete, sim.now()), (whole, Instant::EPOCH));
            }
        });
    }
}

#[test]
fn a_refusal_whose_body_does_not_end_comes_at_the_deadline() {
    Sim::check(0..3, |sim| async move {
        answer(&sim, "server", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno such", false);
        let error = error(&sim, "ws://server/").await;
        assert!(!error.is_transient(), "{error}");
        let ConnectError::Rejected { response, complete: false, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((&response.body()[..], sim.now()), (&b"no such"[..], DEADLINE));
    });
}

/// A server that keeps the connection and states no length would have us wait for its end.
#[test]
fn a_refusal_of_no_stated_length_comes_soon() {
    for encoding in ["", "Transfer-Encoding: gzip\r\n"] {
        Sim::check(0..3, |sim| async move {
            let text = format!("HTTP/1.1 403 Forbidden\r\n{encoding}\r\nnot for you");
            answer(&sim, "server", text, false);
            let error = error(&sim, "ws://server/").await;
            let ConnectError::Rejected { response, complete: false, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(&response.body()[..], b"not for you");
            assert_eq!(sim.now(), Instant::EPOCH + SECOND);
        });
    }
}

/// Slow single bytes extend neither that second nor the deadline.
#[test]
fn a_refusal_that_drips_comes_soon() {
    for (late, due) in [(3 * SECOND, 4 * SECOND), (9500 * MS, 10 * SECOND)] {
        Sim::check(0..3, |sim| async move {
            let clock = sim.clone();
            let mut listener = sim.listen("server");
            sim.spawn(async move {
                let io = listener.accept().await;
                clock.sleep(late).await;
                let _ = io.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
                while io.write_all(b"x").await.is_ok() {
                    clock.sleep(100 * MS).await;
                }
            });
            let error = error(&sim, "ws://server/").await;
            assert!(matches!(error, ConnectError::Rejected { complete: false, .. }), "{error}");
            assert_eq!(sim.now(), Instant::EPOCH + due);
        });
    }
}

/// RFC 9112 §5.2 leaves it to a client to refuse folded lines; where two parsers differ on them, one
/// is fooled. It is the same in an answer that opens, in one that refuses, and in a redirect.
#[test]
fn folded_header_lines_are_refused_in_every_answer() {
    for text in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade:\r\n websocket\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nX: a\r\n\tb\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: ws://other/\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n folded: first\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nX: a\r\n \r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nX: a\r\n b\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
    ] {
        Sim::check(0..3, |sim| async move {
            answer(&sim, "server", text, true);
            for redirects in [0, 3] {
                let connecting = sim.connect("ws://server/").redirects(redirects);
                let error = connecting.await.unwrap_err();
                let is_handshake = matches!(error, ConnectError::Handshake { .. });
                assert!(is_handshake && !error.is_transient(), "{error}");
                assert!(error.to_string().contains("folded values are obsolete"), "{error}");
            }
        });
    }
}
