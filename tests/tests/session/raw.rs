//! Raw sessions: the handler sees every frame, and nothing is sent that it did not send.

use sockless_core::{
    Cause, Closed, Config, Deflate, Frame, Message, Opcode, Overflow, Party, ProtocolError, Rsv,
};
use sockless_driver::{BoxError, RawSendError, RawSession};
use sockless_routing::{Router, WebSocketRoute, websocket_raw};
use sockless_sim::{Sim, WireDirection};
use sockless_tests::handlers::{at_root, observed_raw};
use sockless_tests::opened::SECOND;
use sockless_tests::wire::close_body;

use smol::channel::Receiver;

#[test]
fn a_raw_handler_answers_pings_itself_and_ends_without_a_close_frame() {
    Sim::check(0..20, |sim| async move {
        let handler = async |mut session: RawSession| {
            let frame = session.recv().await.unwrap();
            assert_eq!(frame, Frame::new(Opcode::Ping, "are you there?".into()));
            session.send(Frame::new(Opcode::Pong, "yes".into())).await.unwrap();
        };
        let mut client = sim.app(at_root(websocket_raw(handler))).open("/").raw().await;
        client.send(Frame::new(Opcode::Ping, "are you there?".into())).await;
        client.expect(Frame::new(Opcode::Pong, "yes".into())).await;
        client.expect_end().await;
    });
}

#[test]
fn a_close_frame_is_received_as_any_other_frame() {
    Sim::check(0..20, |sim| async move {
        let (route, received) = receives_all();
        let app = sim.app(Router::new().route("/", route).route("/echo", websocket_raw(echo)));
        let mut client = app.open("/").raw().await;
        client.send(close(1000)).await;
        client.wire().end(WireDirection::Outbound);
        assert_eq!(received.recv().await.unwrap().0, [close(1000)]);
        client.expect_end().await;

        let mut client = app.open("/echo").raw().await;
        client.send(text("text")).await;
        client.send(close(1000)).await;
        client.expect(text("text")).await;
        client.expect(close(1000)).await;
        client.expect_end().await;
    });
}

#[test]
fn frames_before_the_end_of_the_transport_are_received_first() {
    Sim::check(0..20, |sim| async move {
        let (route, received) = receives_all();
        let mut client = sim.app(at_root(route)).open("/").raw().await;
        client.send(text("the last frame")).await;
        client.wire().end(WireDirection::Outbound);
        let (frames, closed) = received.recv().await.unwrap();
        assert_eq!(frames, [text("the last frame")]);
        assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::Eof));
        client.expect_end().await;
    });
}

#[test]
fn a_raw_handler_gets_a_protocol_error_and_no_close_frame_is_sent() {
    Sim::check(0..20, |sim| async move {
        let (route, received) = receives_all();
        let mut client = sim.app(at_root(route)).open("/").raw().await;
        client.send(text("fine")).await;
        client.write(b"\x83\x00").await;
        client.expect_end().await;
        let (frames, closed) = received.recv().await.unwrap();
        assert_eq!(frames, [text("fine")]);
        assert_eq!(closed.cause(), &Cause::Protocol(ProtocolError::OpcodeReserved(3)));
    });
}

#[test]
fn a_frame_that_is_sent_after_terminate_fails_with_the_end() {
    Sim::check(0..20, |sim| async move {
        let (route, sent) = observed_raw(async |session: RawSession| {
            session.flush().await.unwrap();
            session.terminate();
            session.send(text("too late")).await
        });
        let app = sim.app(at_root(route));
        let mut client = app.open("/").raw().await;
        match sent.recv().await.unwrap() {
            Err(RawSendError::Closed(closed)) => assert_eq!(closed.cause(), &Cause::Aborted),
            other => panic!("{other:?}"),
        }
        client.expect_end().await;
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn a_raw_handler_that_fails_flushes_and_ends_the_transport() {
    Sim::check(0..20, |sim| async move {
        let handler = async |session: RawSession| {
            session.send(text("the last frame")).await?;
            Err::<(), BoxError>("it failed".into())
        };
        let mut client = sim.app(at_root(websocket_raw(handler))).open("/").raw().await;
        client.expect(text("the last frame")).await;
        client.expect_end().await;
    });
}

#[test]
fn a_shutdown_ends_raw_sessions_too() {
    Sim::check(0..20, |sim| async move {
        let (route, _) = receives_all();
        let app = sim.app(at_root(route));
        let mut client = app.open("/").raw().await;
        let report = app.shutdown(SECOND).await;
        assert_eq!(report.drained + report.terminated, 1);
        client.expect_end().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn a_full_queue_of_frames_ends_the_session_if_it_is_set_to() {
    Sim::check(0..10, |sim| async move {
        let sleeper = sim.clone();
        let (route, received) = observed_raw(move |mut session: RawSession| {
            let sim = sleeper.clone();
            async move {
                sim.sleep(SECOND).await;
                let first = session.recv().await;
                while session.recv().await.is_ok() {}
                (first, session.closed().await)
            }
        });
        let config = Config::default().recv_overflow(Overflow::Close).read_ahead(1000);
        let mut client = sim.app(at_root(route.config(config))).open("/").raw().await;
        for number in 0..100 {
            client.send(numbered(number)).await;
        }
        client.expect_end().await;
        // The frames that were read ahead are still received.
        let (first, closed) = received.recv().await.unwrap();
        assert_eq!(first.unwrap(), numbered(0));
        assert_eq!((closed.by(), closed.received()), (Party::Local, None));
    });
}

#[test]
fn a_full_queue_to_the_peer_ends_the_session_if_it_is_set_to() {
    Sim::check(0..10, |sim| async move {
        let (route, sent) = observed_raw(async |session: RawSession| {
            for number in 0..100_000 {
                session.send(numbered(number)).await?;
            }
            Ok(())
        });
        let config = Config::default().send_overflow(Overflow::Close);
        // The client reads nothing.
        let _client = sim.app(at_root(route.config(config))).open("/").raw().await;
        match sent.recv().await.unwrap() {
            Err(RawSendError::Closed(closed)) => assert_eq!(closed.by(), Party::Local),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn raw_sessions_negotiate_extensions_only_when_asked_to_and_get_frames_as_they_came() {
    Sim::check(0..5, |sim| async move {
        let handler = async |mut session: RawSession| {
            let frame = session.recv().await.unwrap();
            assert_eq!((frame.rsv, frame.opcode), (Rsv::RSV1, Opcode::Text));
            session.send(frame).await.unwrap();
        };
        let router = Router::new()
            .websockets(deflated())
            .route("/", websocket_raw(handler))
            .route("/asked", websocket_raw(handler).negotiate_extensions());
        let app = sim.app(router);
        let plain = app.open("/").config(deflated()).await;
        assert!(!plain.response().headers().contains_key("sec-websocket-extensions"));
        let mut asked = app.open("/asked").config(deflated()).await;
        assert_eq!(asked.response().headers()["sec-websocket-extensions"], "permessage-deflate");
        asked.send("hello ".repeat(50)).await;
        asked.expect("hello ".repeat(50)).await;
    });
}

#[test]
fn a_raw_session_that_becomes_one_of_messages_applies_its_extensions() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: RawSession| {
            let mut session = session.into_session();
            let message: Message = session.recv().await.unwrap();
            session.send(message).await.unwrap();
        };
        let route = websocket_raw(handler).negotiate_extensions();
        let app = sim.app(Router::new().websockets(deflated()).route("/", route));
        let mut client = app.open("/").config(deflated()).await;
        client.send("hello ".repeat(50)).await;
        client.expect("hello ".repeat(50)).await;
        client.expect_closed(1000).await;
    });
}

/// A handler that returns the frames that it received, and how the session ended.
fn receives_all() -> (WebSocketRoute, Receiver<(Vec<Frame>, Closed)>) {
    observed_raw(async |mut session: RawSession| {
        let mut frames = Vec::new();
        loop {
            match session.recv().await {
                Ok(frame) => frames.push(frame),
                Err(closed) => return (frames, closed),
            }
        }
    })
}

/// Sends back each frame, the Close frame last.
async fn echo(mut session: RawSession) -> Result<(), Closed> {
    loop {
        let frame = session.recv().await?;
        let is_close = frame.opcode == Opcode::Close;
        let _ = session.send(frame).await;
        if is_close {
            return Ok(());
        }
    }
}

fn text(text: &'static str) -> Frame {
    Frame::new(Opcode::Text, text.into())
}

fn numbered(number: u32) -> Frame {
    Frame::new(Opcode::Text, number.to_string().into())
}

fn close(code: u16) -> Frame {
    Frame::new(Opcode::Close, close_body(code, "").into())
}

/// Compresses everything, and keeps the context on both sides.
fn deflated() -> Config {
    Config::default().extension(
        Deflate::default()
            .min_len(0)
            .server_no_context_takeover(false)
            .client_no_context_takeover(false),
    )
}
