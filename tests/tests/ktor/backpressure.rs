//! `WebSocketBackpressureTest` and its neighbours: queues that are full. They are bounded in bytes here,
//! so the smallest bound takes the place of a capacity of one.

use std::time::Duration;

use sockless_core::{CloseCode, Config, Frame, Opcode, Overflow, Party};
use sockless_driver::{RawSendError, RawSession, Session};
use sockless_routing::{WebSocketRoute, websocket, websocket_raw};
use sockless_sim::{Sim, WireDirection};

use crate::support::{SECOND, Told, at_root, close, echo, echo_frames, numbered};

#[test]
fn session_backpressure() {
    let smallest = Config::default().read_ahead(0).high_water(1);
    for route in [websocket(echo), websocket_raw(echo_frames)] {
        Sim::check(0..10, |sim| {
            let app = sim.app(at_root(route.clone().config(smallest.clone())));
            async move {
                let mut client = app.open("/").await;
                for number in 0..100 {
                    client.send(numbered(number)).await;
                }
                for number in 0..100 {
                    client.expect(numbered(number)).await;
                }
                client.close(CloseCode::NORMAL);
                client.expect_closed(1000).await;
            }
        });
    }
}

#[test]
fn session_outgoing_overflow() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: Session| {
            let teller = teller.clone();
            async move {
                for number in 0..1000 {
                    if let Err(closed) = session.send(vec![0; 1000]).await {
                        return teller.tell((number, closed));
                    }
                }
            }
        };
        let config = Config::default().send_overflow(Overflow::Close);
        let mut client = sim.app(at_root(websocket(handler).config(config))).open("/").await;
        // Nothing of it is read for a second.
        client.wire().stall(WireDirection::Inbound);
        sim.sleep(SECOND).await;
        client.wire().resume(WireDirection::Inbound);
        let (number, closed) = told.told().await;
        assert_eq!(closed.sent().and_then(|sent| sent.code()), Some(CloseCode::TRY_AGAIN_LATER));
        // What was taken arrives, the oldest too.
        for _ in 0..number {
            client.recv().await;
        }
        client.expect_closed(1013).await;
    });
}

#[test]
fn session_incoming_overflow() {
    Sim::check(0..10, |sim| async move {
        let config = Config::default().recv_overflow(Overflow::Close).read_ahead(1000);
        let app = sim.app(at_root(asleep(&sim).config(config)));
        let mut client = app.open("/").await;
        for number in 0..100 {
            client.send(numbered(number)).await;
        }
        client.expect_closed(1013).await;
    });
}

/// A session of frames has no Close frame of its own to send: it ends, and what was received ahead can
/// still be received.
#[test]
fn raw_session_incoming_overflow() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let (teller, sleeper) = (told.clone(), sim.clone());
        let handler = move |mut session: RawSession| {
            let (teller, sim) = (teller.clone(), sleeper.clone());
            async move {
                sim.sleep(SECOND).await;
                let first = session.recv().await;
                while session.recv().await.is_ok() {}
                teller.tell((first, session.closed().await));
            }
        };
        let config = Config::default().recv_overflow(Overflow::Close).read_ahead(1000);
        let app = sim.app(at_root(websocket_raw(handler).config(config)));
        let mut client = app.open("/").raw().await;
        for number in 0..100 {
            client.send(text(number)).await;
        }
        client.expect_end().await;
        let (first, closed) = told.told().await;
        assert_eq!(first.unwrap(), text(0));
        assert_eq!((closed.by(), closed.received()), (Party::Local, None));
    });
}

#[test]
fn raw_session_outgoing_overflow() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: RawSession| {
            let teller = teller.clone();
            async move {
                for number in 0..100_000 {
                    if let Err(error) = session.send(text(number)).await {
                        return teller.tell(error);
                    }
                }
            }
        };
        let config = Config::default().send_overflow(Overflow::Close);
        let app = sim.app(at_root(websocket_raw(handler).config(config)));
        // Nothing is read of what is sent.
        let _client = app.open("/").raw().await;
        match told.told().await {
            RawSendError::Closed(closed) => assert_eq!(closed.by(), Party::Local),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn outgoing_capacity() {
    Sim::check(0..5, |sim| async move {
        let handler = async |session: Session| {
            let sender = session.sender();
            for number in 0..1000 {
                sender.try_send(numbered(number)).expect("a thousand of them fit");
            }
            session.closed().await;
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.wire().stall(WireDirection::Inbound);
        sim.sleep(SECOND).await;
        client.wire().resume(WireDirection::Inbound);
        for number in 0..1000 {
            client.expect(numbered(number)).await;
        }
    });
}

/// `WebSocketTest` of the client: a session that nobody reads takes what fits and lets the rest wait.
#[test]
fn incoming_overflow() {
    Sim::check(0..5, |sim| async move {
        let mut client = sim.app(at_root(asleep(&sim))).open("/").raw().await;
        for number in 0..1000 {
            client.send(text(number)).await;
        }
        client.send(close(1000, "")).await;
        client.expect(close(1000, "")).await;
        client.expect_end().await;
    });
}

fn text(number: u32) -> Frame {
    Frame::new(Opcode::Text, number.to_string().into())
}

/// A handler that receives nothing for an hour.
fn asleep(sim: &Sim) -> WebSocketRoute {
    let sim = sim.clone();
    websocket(move |session: Session| {
        let sim = sim.clone();
        async move {
            sim.sleep(Duration::from_secs(3600)).await;
            drop(session);
        }
    })
}
