//! The program around a session: tasks that it spawns, its clock, several members, and the log.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless_core::trace::JsonTrace;
use sockless_core::{
    CloseCode, CloseReason, Closed, Config, Frame, Message, Opcode, Overflow, Party, Role,
};
use sockless_driver::{Sender, Session, TrySendError};
use sockless_routing::websocket;
use sockless_sim::{Sim, WireDirection};
use sockless_tests::handlers::{at_root, echo, observed};
use sockless_tests::logs;
use sockless_tests::opened::SECOND;
use sockless_tests::wire::close_body;
use tracing::Level;

#[test]
fn a_task_that_a_session_spawned_stops_with_the_session() {
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

#[test]
fn a_session_has_counters_and_shows_its_frames_to_an_observer() {
    Sim::check(0..10, |sim| async move {
        let lines = Arc::new(Mutex::new(String::new()));
        let recorded = lines.clone();
        let handler = move |mut session: Session| {
            let lines = recorded.clone();
            async move {
                let write = move |line: &str| lines.lock().unwrap().push_str(line);
                session.set_observer(Some(Box::new(JsonTrace::new(Role::Server, write))));
                let message = session.recv().await.unwrap();
                session.send(message).await.unwrap();
                session.flush().await.unwrap();
                let stats = session.stats();
                assert_eq!((stats.received.text_frames, stats.sent.text_frames), (1, 1));
                assert_eq!((stats.queued_bytes, stats.held_bytes), (0, 0));
                assert!(stats.received.bytes == 11 && stats.sent.bytes >= 7);
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.send("hello").await;
        client.expect("hello").await;
        client.expect_closed(1000).await;
        sim.settle().await;
        let lines = lines.lock().unwrap();
        let events: Vec<_> = lines.lines().filter_map(|line| line.split('"').nth(5)).collect();
        let expected = [
            "websocket:frame_parsed",
            "websocket:frame_created",
            "websocket:frame_created",
            "websocket:state_updated",
            "websocket:frame_parsed",
            "websocket:state_updated",
        ];
        assert_eq!(events[1..], expected, "{lines}");
        assert!(
            !lines.contains("hello") && lines.ends_with("\"received_code\":1000}}\n"),
            "{lines}"
        );
    });
}

#[test]
fn a_handler_keeps_time_on_the_clock_of_its_runtime() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| {
            let began = session.now();
            for second in 1..=3_u32 {
                session.sleep(SECOND).await;
                let elapsed = session.now().saturating_since(began);
                session.send(format!("{second}: {}", elapsed >= SECOND * second)).await.unwrap();
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        for second in 1..=3 {
            client.expect(format!("{second}: true")).await;
        }
    });
}

#[test]
fn after_close_a_loop_that_receives_ends_and_sends_fail() {
    Sim::check(0..10, |sim| async move {
        let (route, ends) = observed(async |mut session: Session| {
            session.close(CloseCode::NORMAL);
            let late = session.sender().try_send("too late");
            assert_eq!(
                late,
                Err(TrySendError::Closed { message: "too late".into(), closed: None })
            );
            // A message that the peer sent before it received our Close frame is still received.
            let message = session.recv().await;
            let end = session.recv().await;
            (message, end, session.send("too late").await)
        });
        let mut client = sim.app(at_root(route)).open("/").raw().await;
        client.send(Frame::new(Opcode::Text, "on its way".into())).await;
        client.expect(close()).await;
        client.send(close()).await;
        let (message, end, sent) = ends.recv().await.unwrap();
        assert_eq!(message.unwrap(), "on its way");
        let end = end.unwrap_err();
        assert_eq!((end.by(), end.is_clean()), (Party::Local, true));
        assert_eq!(sent, Err(end));
    });
}

#[test]
fn a_flush_after_close_waits_for_the_close_frame() {
    Sim::check(0..20, |sim| async move {
        let (route, flushed) = observed(async |session: Session| {
            session.close(CloseCode::NORMAL);
            session.flush().await
        });
        let mut client = sim.app(at_root(route)).open("/").raw().await;
        client.expect(close()).await;
        client.send(close()).await;
        client.expect_end().await;
        assert_eq!(flushed.recv().await.unwrap(), Ok(()));
    });
}

#[test]
fn the_end_is_returned_again_and_its_display_names_both_close_frames() {
    Sim::check(0..10, |sim| async move {
        let (route, ends) = observed(async |mut session: Session| {
            let message = session.recv().await;
            let closed = session.recv().await.unwrap_err();
            assert_eq!(session.recv().await, Err(closed.clone()));
            (message, closed)
        });
        let mut client = sim.app(at_root(route)).open("/").await;
        client.send("a message").await;
        client.close((CloseCode::new(4000).unwrap(), "done here"));
        let (message, closed) = ends.recv().await.unwrap();
        assert_eq!(message, Ok(Message::from("a message")));
        assert_eq!((closed.by(), closed.is_clean()), (Party::Peer, true));
        assert_eq!(closed.received().map(CloseReason::text), Some("done here"));
        let shown = closed.to_string();
        assert!(shown.starts_with("closed by the peer"), "{shown}");
        assert_eq!(shown.matches("4000 done here").count(), 2, "{shown}");
    });
}

#[test]
fn a_slow_member_does_not_delay_a_broadcast() {
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
            // All members share one allocation; a member whose queue is full is dropped.
            members.lock().unwrap().retain(|member| match member.try_send(news.clone()) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error, TrySendError::Full(news.clone().into()));
                    member.close((CloseCode::TRY_AGAIN_LATER, "too slow"));
                    false
                }
            });
            quick.expect(news).await;
        }
        assert_eq!(members.lock().unwrap().len(), 1);
        slow.wire().resume(WireDirection::Inbound);
        assert_eq!(slow.closed().await.received().unwrap().text(), "too slow");
    });
}

#[test]
fn the_smallest_queues_pass_everything_in_order() {
    let smallest = Config::default().read_ahead(0).high_water(1);
    Sim::check(0..10, |sim| {
        let app = sim.app(at_root(websocket(echo).config(smallest.clone())));
        async move {
            let mut client = app.open("/").await;
            for number in 0..100 {
                client.send(number.to_string()).await;
            }
            for number in 0..100 {
                client.expect(number.to_string()).await;
            }
            client.close(CloseCode::NORMAL);
            client.expect_closed(1000).await;
        }
    });
}

#[test]
fn an_ordinary_disconnect_is_logged_at_debug_and_a_rejected_handshake_at_info() {
    let handler = async |mut session: Session| -> Result<(), Closed> {
        loop {
            session.recv().await?;
        }
    };
    let level = logs::max_level(|| {
        Sim::check(0..5, |sim| async move {
            let app = sim.app(at_root(websocket(handler)));
            app.open("/").await.close(CloseCode::GOING_AWAY);
            app.open("/").await.terminate();
            app.open("/").await.wire().cut();
            sim.sleep(100 * SECOND).await;
        });
    });
    assert_eq!(level, Some(Level::DEBUG));
    let level = logs::max_level(|| {
        Sim::check(0..5, |sim| async move {
            sim.app(at_root(websocket(handler))).open("/nowhere").refused().await;
        });
    });
    assert_eq!(level, Some(Level::INFO));
}

#[test]
fn a_handler_that_fails_is_logged_as_an_error_and_the_peer_gets_1011_without_a_text() {
    let fails = async |_session: Session| Err::<(), _>("the database's password is wrong");
    let level = logs::max_level(|| {
        Sim::check(0..5, |sim| async move {
            let mut client = sim.app(at_root(websocket(fails))).open("/").await;
            let closed = client.expect_closed(1011).await;
            assert_eq!(closed.received().map(CloseReason::text), Some(""));
        });
    });
    assert_eq!(level, Some(Level::ERROR));
}

/// The defaults are those of the documentation.
#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Config::default();
    assert_eq!(
        (config.get_ping_interval(), config.get_ping_timeout()),
        (None, Duration::from_secs(15))
    );
    assert_eq!((config.get_max_message_len(), config.get_max_frame_len()), (1 << 20, u64::MAX));
    assert_eq!((config.get_high_water(), config.get_read_ahead()), (64 << 10, 64 << 10));
    assert_eq!(
        (config.get_send_overflow(), config.get_recv_overflow()),
        (Overflow::Wait, Overflow::Wait)
    );
    assert_eq!(
        (config.get_masking(), config.get_closing_timeout()),
        (sockless_core::Masking::Clients, Duration::from_secs(5))
    );
}

#[test]
fn a_meaningless_setting_becomes_the_nearest_valid_one() {
    let config = Config::default()
        .ping_interval(Duration::ZERO)
        .high_water(0)
        .max_send_frame_len(0)
        .recv_chunk_len(0)
        .max_message_len(0)
        .max_head_len(0)
        .ping_timeout(Duration::ZERO)
        .opening_timeout(Duration::ZERO)
        .closing_timeout(Duration::ZERO)
        .write_timeout(Duration::ZERO);
    assert_eq!(config.get_ping_interval(), None);
    assert_eq!(
        (config.get_high_water(), config.get_max_send_frame_len(), config.get_recv_chunk_len()),
        (1, 1, 4)
    );
    // What cannot be switched off would fail each connection; the rest is off.
    let least = Duration::from_millis(1);
    assert_eq!(config.get_ping_timeout(), least);
    assert_eq!((config.get_opening_timeout(), config.get_closing_timeout()), (least, least));
    assert_eq!((config.get_max_head_len(), config.get_write_timeout()), (128, None));
    // An empty message is still one.
    assert_eq!(config.get_max_message_len(), 0);
}

fn close() -> Frame {
    Frame::new(Opcode::Close, close_body(1000, "").into())
}
