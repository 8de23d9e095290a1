//! What users of Ktor asked for that concerns sessions and routes, each as a test named after what it
//! demands. The numbers are those of the table in `docs/ktor.md`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use sockless_core::{
    Cause, Chunk, CloseCode, CloseReason, Closed, Config, Frame, Message, Opcode, Party, Timeout,
};
use sockless_driver::{Sender, Session, TrySendError};
use sockless_routing::{Router, respond, websocket};
use sockless_sim::{Sim, WireDirection};
use tracing::Level;

use crate::logs::Loudest;
use crate::support::{SECOND, Told, at_root, close, echo, expect_close};

/// 1.
#[test]
fn a_full_queue_stops_reading_and_control_frames_pass() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(asleep(&sim))));
        let endless = Config::default().high_water(usize::MAX);
        let mut client = app.open("/").config(endless).await;
        // As much as is read ahead is taken, and no more than fits a pipe besides.
        client.send(vec![0; 10_000]).await;
        client.ping("are you there?");
        for _ in 0..100 {
            client.send(vec![0; 10_000]).await;
        }
        assert_eq!(client.recv_pong().await, "are you there?");
        sim.sleep(SECOND).await;
        let taken = client.wire().stats().bytes_written;
        assert!(taken < 400_000, "{taken} bytes were taken of a million");
    });
}

/// 1.
#[test]
fn a_peer_that_does_not_read_is_waited_for_by_default() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: Session| {
            let teller = teller.clone();
            async move {
                let mut sent = 0;
                while session.sender().try_send(vec![0; 1000]).is_ok() {
                    sent += 1;
                }
                teller.tell(sent);
                session.closed().await;
            }
        };
        let client = sim.app(at_root(websocket(handler))).open("/").await;
        client.wire().stall(WireDirection::Inbound);
        let sent = told.told().await;
        assert!((60..80).contains(&sent), "{sent} messages of 1000 bytes were queued");
    });
}

/// 2.
#[test]
fn limits_are_finite_by_default_and_refuse_at_the_header() {
    Sim::check(0..10, |sim| async move {
        let mut client = sim.app(at_root(websocket(echo))).open("/").raw().await;
        // The header of a frame of a terabyte, without its payload.
        client.write(b"\x82\xFF\0\0\x01\0\0\0\0\0\0\0\0\0").await;
        expect_close(&mut client, 1009).await;
        client.expect_end().await;
    });
}

/// 5.
#[test]
fn a_ping_timeout_ends_the_session_and_the_transport() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move {
                let received = session.recv().await.unwrap_err();
                let sent = session.send("too late").await.unwrap_err();
                teller.tell((received, sent));
            }
        };
        let config = Config::default().ping_interval(30 * SECOND);
        let app = sim.app(at_root(websocket(handler).config(config)));
        let client = app.open("/").await;
        client.wire().stall(WireDirection::Inbound);
        let (received, sent) = told.told().await;
        assert_eq!((received.cause(), &received), (&Cause::Timeout(Timeout::Ping), &sent));
        sim.sleep(20 * SECOND).await;
        assert_eq!(app.connections(), 0);
    });
}

/// 6.
#[test]
fn a_closing_handshake_has_a_deadline() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(async |_session: Session| {})));
        let mut client = app.open("/").raw().await;
        client.expect(close(1000, "")).await;
        // The client neither answers nor goes.
        sim.sleep(11 * SECOND).await;
        assert_eq!(app.connections(), 0);
        client.expect_end().await;
    });
}

/// 9.
#[test]
fn an_upgrade_is_refused_with_a_status_before_the_101() {
    Sim::check(0..10, |sim| async move {
        let refuses = async |_request| {
            let mut response = http::Response::new("pay first\n".into());
            *response.status_mut() = http::StatusCode::PAYMENT_REQUIRED;
            Err(response)
        };
        let app = sim.app(at_root(websocket(echo).guard(refuses)));
        let refused = app.open("/").refused().await;
        assert_eq!((refused.status().as_u16(), &refused.body()[..]), (402, &b"pay first\n"[..]));
    });
}

/// 10.
#[test]
fn after_close_a_loop_ends_and_sends_fail() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move {
                session.close(CloseCode::NORMAL);
                let late = session.sender().try_send("too late");
                assert_eq!(late, Err(TrySendError::Closed("too late".into())));
                // What was on its way is still received.
                let message = session.recv().await;
                let end = session.recv().await;
                teller.tell((message, end, session.send("too late").await));
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").raw().await;
        client.send(Frame::new(Opcode::Text, "on its way".into())).await;
        client.expect(close(1000, "")).await;
        client.send(close(1000, "")).await;
        let (message, end, sent) = told.told().await;
        assert_eq!(message.unwrap(), "on its way".into());
        let end = end.unwrap_err();
        assert_eq!((end.by(), end.is_clean()), (Party::Local, true));
        assert_eq!(sent, Err(end));
    });
}

/// 10, 15.
#[test]
fn background_work_stops_with_its_session() {
    Sim::check(0..10, |sim| async move {
        let ticks = Arc::new(AtomicU32::new(0));
        let (counted, ticker) = (ticks.clone(), sim.clone());
        let handler = move |mut session: Session| {
            let (ticks, sim) = (counted.clone(), ticker.clone());
            async move {
                session.spawn(async move {
                    loop {
                        sim.sleep(SECOND).await;
                        ticks.fetch_add(1, Ordering::Relaxed);
                    }
                });
                let _ = session.recv().await;
            }
        };
        let client = sim.app(at_root(websocket(handler))).open("/").await;
        sim.sleep(Duration::from_millis(2500)).await;
        client.close(CloseCode::NORMAL);
        sim.sleep(100 * SECOND).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 2);
    });
}

/// 11.
#[test]
fn the_end_is_told_once_and_last_with_who_why_and_what() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move {
                let mut log = Vec::new();
                let closed = loop {
                    match session.recv().await {
                        Ok(message) => log.push(message),
                        Err(closed) => break closed,
                    }
                };
                // Again, and the same.
                assert_eq!(session.recv().await, Err(closed.clone()));
                teller.tell((log, closed));
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.send("a message").await;
        client.close((CloseCode::new(4000).unwrap(), "done here"));
        let (log, closed) = told.told().await;
        assert_eq!(log, [Message::from("a message")]);
        assert_eq!((closed.by(), closed.is_clean()), (Party::Peer, true));
        assert_eq!(closed.received().map(CloseReason::text), Some("done here"));
        assert_eq!(
            closed.to_string(),
            "closed by the peer: the closing handshake is complete; received 4000 done here; sent \
             4000 done here"
        );
    });
}

/// 12.
#[test]
fn an_ordinary_disconnect_is_no_error() {
    let handler = async |mut session: Session| -> Result<(), Closed> {
        loop {
            session.recv().await?;
        }
    };
    let loudest = Loudest::of(|| {
        Sim::check(0..5, |sim| async move {
            let app = sim.app(at_root(websocket(handler)));
            app.open("/").await.close(CloseCode::GOING_AWAY);
            app.open("/").await.terminate();
            app.open("/").await.wire().cut();
            sim.sleep(100 * SECOND).await;
        });
    });
    assert_eq!(loudest, Some(Level::DEBUG), "nothing, or something louder, was logged");
    // A handshake that is refused most often is a mistake in a client's or a proxy's settings.
    let loudest = Loudest::of(|| {
        Sim::check(0..5, |sim| async move {
            sim.app(at_root(websocket(handler))).open("/nowhere").refused().await;
        });
    });
    assert_eq!(loudest, Some(Level::INFO), "nothing, or something louder, was logged");
}

/// 12.
#[test]
fn a_handler_that_fails_is_an_error_in_the_log_and_1011_on_the_wire() {
    let fails = async |_session: Session| Err::<(), _>("the database's password is wrong");
    let loudest = Loudest::of(|| {
        Sim::check(0..5, |sim| async move {
            let mut client = sim.app(at_root(websocket(fails))).open("/").await;
            let closed = client.expect_closed(1011).await;
            assert_eq!(closed.received().map(CloseReason::text), Some(""));
        });
    });
    assert_eq!(loudest, Some(Level::ERROR));
}

/// 13.
#[test]
fn codes_go_both_ways_unchanged() {
    let codes = (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]);
    for code in codes.filter_map(CloseCode::new) {
        Sim::check(0..2, |sim| async move {
            let closes = move |session: Session| async move { session.close((code, "why")) };
            let router =
                Router::new().route("/", websocket(closes)).route("/echo", websocket(echo));
            let app = sim.app(router);
            app.open("/").await.expect_closed(code.get()).await;
            let mut client = app.open("/echo").await;
            client.close((code, "why"));
            let closed = client.expect_closed(code.get()).await;
            assert_eq!(closed.received().map(CloseReason::text), Some("why"));
        });
    }
}

/// 14.
#[test]
fn a_long_reason_is_cut_at_a_character() {
    Sim::check(0..5, |sim| async move {
        let closes = async |session: Session| session.close((CloseCode::NORMAL, "ä".repeat(100)));
        let closed = sim.app(at_root(websocket(closes))).open("/").await.expect_closed(1000).await;
        assert_eq!(closed.received().map(CloseReason::text), Some(&*"ä".repeat(61)));
    });
}

/// 16.
#[test]
fn several_subprotocols_share_a_path_and_the_session_knows_which() {
    Sim::check(0..5, |sim| async move {
        let tells = |name: &'static str| {
            websocket(move |session: Session| async move {
                let chosen = session.request().subprotocol().unwrap_or("none").to_owned();
                session.send(format!("{name}: {chosen}")).await
            })
        };
        let router = || {
            Router::new()
                .route("/", tells("new").protocol("v2").protocol("v3"))
                .route("/", tells("old").protocol("v1"))
        };
        let app = sim.app(router());
        app.open("/").subprotocol("v1").subprotocol("v2").await.expect("old: v1").await;
        app.open("/").subprotocol("v9").subprotocol("v3").await.expect("new: v3").await;
        assert_eq!(app.open("/").subprotocol("v9").refused().await.status(), 400);
        // The server's order, where it says so.
        let app = sim.app(router().prefer_server_protocols(true));
        app.open("/").subprotocol("v1").subprotocol("v2").await.expect("new: v2").await;
        // Without one in common, where a handler takes that.
        let app = sim.app(router().route("/", tells("any")));
        app.open("/").subprotocol("v9").await.expect("any: none").await;
    });
}

/// 17.
#[test]
fn a_path_is_positional_a_subprotocol_is_named_and_routes_are_listed() {
    let router = Router::new()
        .route("/chat", websocket(echo).protocol("chat.v1"))
        .route("/page", respond(|_request| http::Response::new("".into())));
    assert_eq!(router.to_string(), "/chat (WebSocket: chat.v1)\n/page (GET, HEAD)\n");
}

/// 18.
#[test]
fn the_upgrade_headers_are_lists_without_regard_to_case() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(at_root(websocket(echo)));
        let request = Request::get("/")
            .header("connection", "Keep-Alive, uPGRADE")
            .header("upgrade", "h2c")
            .header("upgrade", "WebSocket")
            .header("content-type", "application/json")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(app.request(request.body(()).unwrap()).await.status(), 101);
    });
}

/// 19.
#[test]
fn one_message_goes_in_chunks_both_ways() {
    Sim::check(0..10, |sim| async move {
        let handler = async |mut session: Session| -> Result<(), Closed> {
            let sender = session.sender();
            let mut reader = session.reader().await?;
            let mut writer = sender.writer().await?;
            while let Some(chunk) = reader.chunk().await? {
                writer.write(chunk).await.expect("all chunks are of one kind");
            }
            writer.finish("").await.expect("the session is open");
            drop(reader);
            session.closed().await;
            Ok(())
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        let part = "zwölf Boxkämpfer ".repeat(1000);
        for last in [false, false, true] {
            client.send_chunk(Chunk { data: part.clone().into(), last }).await;
        }
        client.expect(part.repeat(3)).await;
    });
}

/// 20.
#[test]
fn a_slow_member_does_not_hold_up_a_broadcast() {
    Sim::check(0..10, |sim| async move {
        let members: Arc<Mutex<Vec<Sender>>> = Arc::default();
        let joins = members.clone();
        let handler = move |session: Session| {
            joins.lock().unwrap().push(session.sender());
            async move {
                session.closed().await;
            }
        };
        let app = sim.app(at_root(websocket(handler)));
        let (mut quick, mut slow) = (app.open("/").await, app.open("/").await);
        slow.wire().stall(WireDirection::Inbound);
        for number in 0..1000 {
            let news = Message::from(format!("{number}{}", "!".repeat(1000)));
            // One allocation for all members; who has fallen behind is sent away.
            members.lock().unwrap().retain(|member| match member.try_send(news.clone()) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error, TrySendError::Full(news.clone().into()));
                    member.close((CloseCode::TRY_AGAIN_LATER, "you have fallen behind"));
                    false
                }
            });
            quick.expect(news).await;
        }
        assert_eq!(members.lock().unwrap().len(), 1);
        slow.wire().resume(WireDirection::Inbound);
        assert_eq!(slow.closed().await.received().unwrap().text(), "you have fallen behind");
    });
}

/// 20.
#[test]
fn a_server_that_stops_says_1001() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(echo)));
        let mut clients = [app.open("/").await, app.open("/").await];
        let report = app.shutdown(SECOND).await;
        assert_eq!((report.drained, report.terminated), (2, 0));
        for client in &mut clients {
            client.expect_closed(1001).await;
        }
    });
}

/// A handler that receives nothing for an hour.
fn asleep(
    sim: &Sim,
) -> impl Fn(Session) -> sockless_driver::BoxFuture<'static, ()> + Send + Sync + 'static {
    let sim = sim.clone();
    move |session| {
        let sim = sim.clone();
        Box::pin(async move {
            sim.sleep(3600 * SECOND).await;
            drop(session);
        })
    }
}
