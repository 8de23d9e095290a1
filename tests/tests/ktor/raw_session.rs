//! `RawWebSocketTest`: a session of frames, in which nothing goes by itself.

use sockless_core::{Cause, Closed, Frame, Opcode, Party};
use sockless_driver::{RawSendError, RawSession};
use sockless_routing::{WebSocketRoute, websocket_raw};
use sockless_sim::{Sim, WireDirection};

use crate::support::{SECOND, Told, at_root, close, echo_frames, text};

#[test]
fn smoke() {
    Sim::check(0..20, |sim| async move {
        let handler = async |mut session: RawSession| {
            let frame = session.recv().await.unwrap();
            assert_eq!(frame, Frame::new(Opcode::Ping, "are you there?".into()));
            session.send(Frame::new(Opcode::Pong, "by hand".into())).await.unwrap();
        };
        let mut client = sim.app(at_root(websocket_raw(handler))).open("/").raw().await;
        client.send(Frame::new(Opcode::Ping, "are you there?".into())).await;
        client.expect(Frame::new(Opcode::Pong, "by hand".into())).await;
        // Without a Close frame: the handler has sent none.
        client.expect_end().await;
    });
}

/// The end of what the peer sends is the end: a peer that is done says so with a Close frame.
#[test]
fn server_incoming_disconnected() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let mut client = sim.app(at_root(handler)).open("/").raw().await;
        client.send(text("last words")).await;
        client.wire().end(WireDirection::Outbound);
        let (frames, closed) = told.told().await;
        assert_eq!(frames, [text("last words")]);
        assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::Eof));
        client.expect_end().await;
    });
}

#[test]
fn server_incoming_connection_loss() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let app = sim.app(at_root(handler));
        let client = app.open("/").raw().await;
        client.wire().cut();
        let (frames, closed) = told.told().await;
        assert!(frames.is_empty() && matches!(closed.cause(), Cause::Transport(_)), "{closed}");
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn close_sequence_initiated_by_client() {
    Sim::check(0..20, |sim| async move {
        let mut client = sim.app(at_root(websocket_raw(echo_frames))).open("/").raw().await;
        client.send(text("text")).await;
        client.send(close(1000, "")).await;
        client.expect(text("text")).await;
        client.expect(close(1000, "")).await;
        client.expect_end().await;
    });
}

#[test]
fn close_sequence_initiated_by_client_no_messages() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let mut client = sim.app(at_root(handler)).open("/").raw().await;
        client.send(close(1000, "")).await;
        client.wire().end(WireDirection::Outbound);
        assert_eq!(told.told().await.0, [close(1000, "")]);
        client.expect_end().await;
    });
}

#[test]
fn send_to_closed() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: RawSession| {
            let teller = teller.clone();
            async move {
                session.flush().await.unwrap();
                session.terminate();
                teller.tell(session.send(text("too late")).await);
            }
        };
        let mut client = sim.app(at_root(websocket_raw(handler))).open("/").raw().await;
        match told.told().await {
            Err(RawSendError::Closed(closed)) => assert_eq!(closed.cause(), &Cause::Aborted),
            other => panic!("{other:?}"),
        }
        client.expect_end().await;
    });
}

#[test]
fn server_terminate() {
    Sim::check(0..20, |sim| async move {
        let handler = async |session: RawSession| {
            session.flush().await.unwrap();
            session.terminate();
            session.closed().await;
        };
        let app = sim.app(at_root(websocket_raw(handler)));
        app.open("/").raw().await.expect_end().await;
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

/// What is above a session is the host: when that is stopped, the handler goes too.
#[test]
fn parent_cancellation() {
    Sim::check(0..20, |sim| async move {
        let (handler, _) = receives_all();
        let app = sim.app(at_root(handler));
        let mut client = app.open("/").raw().await;
        let report = app.shutdown(SECOND).await;
        assert_eq!(report.drained + report.terminated, 1);
        client.expect_end().await;
        assert_eq!(app.connections(), 0);
    });
}

/// Whatever the handler does, there is no Close frame but its own, and what it sent goes out.
#[test]
fn a_handler_that_fails_ends_the_transport() {
    Sim::check(0..20, |sim| async move {
        let handler = async |session: RawSession| {
            session.send(text("last words")).await?;
            Err::<(), sockless_driver::BoxError>("no more".into())
        };
        let mut client = sim.app(at_root(websocket_raw(handler))).open("/").raw().await;
        client.expect(text("last words")).await;
        client.expect_end().await;
    });
}

/// A handler that tells which frames it received, and how the session ended.
fn receives_all() -> (WebSocketRoute, Told<(Vec<Frame>, Closed)>) {
    let told = Told::new();
    let teller = told.clone();
    let handler = move |mut session: RawSession| {
        let teller = teller.clone();
        async move {
            let mut frames = Vec::new();
            loop {
                match session.recv().await {
                    Ok(frame) => frames.push(frame),
                    Err(closed) => return teller.tell((frames, closed)),
                }
            }
        }
    };
    (websocket_raw(handler), told)
}
