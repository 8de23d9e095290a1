//! `WebSocketEngineSuite`: whole conversations, and transports that go away.

use std::time::Duration;

use sockless_core::{Cause, CloseCode, CloseReason, Closed, Config, Opcode, ProtocolError};
use sockless_driver::{RawSession, Session};
use sockless_routing::{Router, websocket, websocket_raw};
use sockless_sim::{Link, Sim};

use crate::support::{SECOND, Told, at_root, close, echo, expect_close, numbered, text};

#[test]
fn disconnect_during_consuming() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move {
                while session.recv().await.is_ok() {}
                teller.tell(session.closed().await);
            }
        };
        let client = sim.app(at_root(websocket(handler))).open("/").await;
        client.terminate();
        assert_eq!(told.told().await.cause(), &Cause::Eof);
    });
}

#[test]
fn disconnect_during_sending() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: Session| {
            let teller = teller.clone();
            async move {
                while session.send(vec![0; 1000]).await.is_ok() {}
                teller.tell(session.closed().await);
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.recv().await;
        client.wire().cut();
        let closed = told.told().await;
        assert!(matches!(closed.cause(), Cause::Transport(_)), "{closed}");
    });
}

/// The end is known while the handler sleeps, and what was tied to the session has stopped by then.
#[test]
fn disconnect_during_downtime() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let (teller, sleeper) = (told.clone(), sim.clone());
        let handler = move |session: Session| {
            let (teller, sim) = (teller.clone(), sleeper.clone());
            async move {
                let sender = session.sender();
                sim.spawn(async move { teller.tell(sender.closed().await) });
                sim.sleep(10 * SECOND).await;
            }
        };
        let app = sim.app(at_root(websocket(handler)));
        app.open("/").await.terminate();
        let closed = sim.timeout(5 * SECOND, told.told()).await.expect("the end is not known");
        assert_eq!(closed.cause(), &Cause::Eof);
        sim.sleep(11 * SECOND).await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn raw_disconnect_during_consuming() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: RawSession| {
            let teller = teller.clone();
            async move {
                while session.recv().await.is_ok() {}
                teller.tell(session.closed().await);
            }
        };
        drop(sim.app(at_root(websocket_raw(handler))).open("/").raw().await);
        assert_eq!(told.told().await.cause(), &Cause::Eof);
    });
}

#[test]
fn generic_sequence() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move { teller.tell((session.recv().await, session.recv().await)) }
        };
        let app = sim.app_over(at_root(websocket(handler)), &Link::default().short_reads(3));
        let mut client = app.open("/").raw().await;
        // RFC 6455 §5.7: "Hello" in a masked text; then a Close of 1000, masked with zeros.
        client.write(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").await;
        client.write(b"\x88\x82\0\0\0\0\x03\xe8").await;
        client.expect(close(1000, "")).await;
        client.expect_end().await;
        let (hello, end) = told.told().await;
        assert_eq!(hello.unwrap().as_text(), Some("Hello"));
        assert_eq!(end.unwrap_err().received(), Some(&CloseCode::NORMAL.into()));
    });
}

#[test]
fn ping_pong() {
    Sim::check(0..20, |sim| async move {
        let handler = async |session: Session| {
            session.reconfigure(|config| {
                let milliseconds = Duration::from_millis;
                config.ping_interval(milliseconds(50)).ping_timeout(milliseconds(120))
            });
            session.closed().await;
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").raw().await;
        for _ in 0..5 {
            let ping = client.recv().await;
            assert!(ping.fin && ping.opcode == Opcode::Ping && !ping.payload.is_empty());
            client.send(sockless_core::Frame { opcode: Opcode::Pong, ..ping }).await;
        }
        client.send(close(1000, "")).await;
        client.expect(close(1000, "")).await;
        client.expect_end().await;
    });
}

#[test]
fn connection_with_content_type() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(echo)));
        let mut client = app.open("/").header("content-type", "application/json").await;
        client.send("hello").await;
        client.expect("hello").await;
    });
}

#[test]
fn receive_messages() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move {
                let mut received = Vec::new();
                while let Ok(message) = session.recv().await {
                    received.push(message.as_text().unwrap_or_default().to_owned());
                }
                teller.tell(received);
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        for len in 1..=125 {
            client.send("x".repeat(len)).await;
        }
        client.close(CloseCode::NORMAL);
        client.expect_closed(1000).await;
        assert_eq!(told.told().await, (1..=125).map(|len| "x".repeat(len)).collect::<Vec<_>>());
    });
}

#[test]
fn produce_messages() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| -> Result<(), Closed> {
            for len in 1..=125 {
                session.send("x".repeat(len)).await?;
            }
            Ok(())
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        for len in 1..=125 {
            client.expect("x".repeat(len)).await;
        }
        client.expect_closed(1000).await;
    });
}

#[test]
fn a_lot_of_frames() {
    const COUNT: u32 = 100_000;
    Sim::check(0..1, |sim| async move {
        let handler = async |session: Session| -> Result<(), Closed> {
            for number in 0..COUNT {
                session.send(numbered(number)).await?;
            }
            Ok(())
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        for number in 0..COUNT {
            client.expect(numbered(number)).await;
        }
        client.expect_closed(1000).await;
    });
}

#[test]
fn server_closing_first() {
    Sim::check(0..20, |sim| async move {
        let handler = async |session: Session| session.close((CloseCode::TRY_AGAIN_LATER, "test"));
        let mut client = sim.app(at_root(websocket(handler))).open("/").raw().await;
        client.expect(close(1013, "test")).await;
        client.send(close(1013, "test")).await;
        client.expect_end().await;
    });
}

#[test]
fn client_closing_first() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move { teller.tell((session.recv().await, session.send("too late").await)) }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.close((CloseCode::GOING_AWAY, "leaving"));
        let closed = client.expect_closed(1001).await;
        assert_eq!(closed.received().map(CloseReason::text), Some("leaving"));
        let (received, sent) = told.told().await;
        assert_eq!(sent.unwrap_err(), received.unwrap_err());
    });
}

/// What a server has for its sessions is the router's state.
#[test]
fn session_inherits_server_context() {
    #[derive(Clone)]
    struct Name(&'static str);

    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| -> Result<(), Closed> {
            let Name(name) = session.request().get().expect("the router has one");
            session.send(*name).await
        };
        let nested = Router::new().route("/", websocket(handler));
        let app = sim.app(Router::new().state(Name("the server")).nest("/nested", nested));
        app.open("/nested").await.expect("the server").await;
    });
}

#[test]
fn session_cancelled_on_server_stop() {
    Sim::check(0..20, |sim| async move {
        struct Dropped(Told<()>);

        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.tell(());
            }
        }

        let told = Told::new();
        let teller = told.clone();
        let handler = move |_session: Session| {
            let dropped = Dropped(teller.clone());
            async move {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            }
        };
        let app = sim.app(at_root(websocket(handler)));
        let mut client = app.open("/").await;
        let report = app.shutdown(Duration::ZERO).await;
        assert_eq!((report.drained, report.terminated), (0, 1));
        told.told().await;
        client.closed().await;
    });
}

/// The handler is told what the peer broke. A Close frame is its own to send: a session of frames sends
/// none by itself.
#[test]
fn corrupt_frame_with_bad_opcode() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: RawSession| {
            let teller = teller.clone();
            async move { teller.tell((session.recv().await, session.recv().await)) }
        };
        let app = sim.app(
            Router::new().route("/raw", websocket_raw(handler)).route("/session", websocket(echo)),
        );
        let mut client = app.open("/raw").raw().await;
        client.send(text("fine")).await;
        client.write(b"\x83\x00").await;
        client.expect_end().await;
        let (fine, end) = told.told().await;
        assert_eq!(fine.unwrap(), text("fine"));
        let broken = Cause::Protocol(ProtocolError::OpcodeReserved(3));
        assert_eq!(end.unwrap_err().cause(), &broken);

        let mut client = app.open("/session").raw().await;
        client.write(b"\x83\x00").await;
        expect_close(&mut client, 1002).await;
        client.expect_end().await;
    });
}

/// The reserved bits are extensions', and without one they are a breach.
#[test]
fn fragmented_flags_without_an_extension() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(echo).config(Config::default())));
        let mut client = app.open("/").raw().await;
        client.write(b"\x41\x80\0\0\0\0").await;
        expect_close(&mut client, 1002).await;
    });
}
