//! A session is always driven: while its handler awaits something else entirely.

use std::time::Duration;

use sockless_core::{Cause, CloseCode, Closed, Config, Instant, Party, Timeout};
use sockless_driver::Session;
use sockless_sim::Sim;
use sockless_tests::served::Served;
use sockless_tests::wire::{BINARY, CLOSE, PING, PONG, TEXT, TEXT_BEGINS, Writer};

use sockless_tests::opened::{
    HOUR, SECOND, any_link, as_str, close_code, on_both_sides, open, open_over,
};

#[test]
fn a_handler_that_sleeps_for_an_hour_still_answers_pings() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async move |session| {
            clock.sleep(HOUR).await;
            drop(session);
        })
        .await;
        for minute in 0..5 {
            let payload = format!("ping {minute}");
            tested.peer.send(tested.peer.write.ping(&payload)).await;
            let asked = sim.now();
            let pong = tested.peer.frame().await;
            assert_eq!((pong.first, as_str(&pong)), (PONG, &*payload));
            assert!(sim.now().saturating_since(asked) < SECOND);
            sim.sleep(SECOND * 60).await;
        }
        tested.peer.expect_close(1000).await;
        assert!(sim.now() >= Instant::EPOCH + HOUR);
        tested.peer.close(1000).await;
        tested.output.await;
    });
}

#[test]
fn a_handler_that_sleeps_for_an_hour_notices_a_dead_peer() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().ping_interval(SECOND * 30).ping_timeout(SECOND * 15);
        let (reported, watcher) = (sim.clone(), sim.clone());
        let tested = open(&sim, role, config, async move |mut session| {
            let sender = session.sender();
            let noticed = watcher.spawn(async move { (sender.closed().await, reported.now()) });
            clock.sleep(HOUR).await;
            let (closed, at) = noticed.await;
            assert_eq!(session.recv().await, Err(closed.clone()));
            assert_eq!(session.send("too late").await, Err(closed.clone()));
            assert_eq!(session.closed().await, closed);
            (closed, at)
        })
        .await;
        let frames = tested.peer.rest().await;
        assert_eq!(frames.iter().map(|frame| frame.first).collect::<Vec<_>>(), [PING, CLOSE]);
        assert_eq!(close_code(&frames[1]), Some(1011));
        let (closed, at) = tested.output.await.expect("it returned");
        assert_eq!(at, Instant::EPOCH + SECOND * 45);
        assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::Timeout(Timeout::Ping)));
        assert_eq!(closed.sent().and_then(|sent| sent.code()), Some(CloseCode::INTERNAL_ERROR));
        assert_eq!(closed.received(), None);
        assert_eq!(sim.now(), Instant::EPOCH + HOUR);
    });
}

#[test]
fn every_deadline_fires_while_the_handler_sleeps() {
    let default = Config::default;
    let cases = [
        (default().idle_timeout(SECOND * 10), Timeout::Idle, 1001, 10),
        (default().max_age(SECOND * 20), Timeout::MaxAge, 1001, 20),
        (default().message_timeout(SECOND * 30), Timeout::Message, 1008, 30),
    ];
    for (config, timeout, code, seconds) in cases {
        on_both_sides(5, |sim, role| {
            let config = config.clone();
            async move {
                let clock = sim.clone();
                let tested = open(&sim, role, config, async move |session| {
                    clock.sleep(HOUR).await;
                    session.closed().await
                })
                .await;
                // A message begins, and goes no further.
                tested.peer.send(tested.peer.write.frame(TEXT_BEGINS, "half")).await;
                tested.peer.expect_close(code).await;
                assert_eq!(sim.now(), Instant::EPOCH + SECOND * seconds);
                tested.peer.close(code).await;
                let closed = tested.output.await.expect("it returned");
                assert_eq!(closed.cause(), &Cause::Timeout(timeout));
                assert_eq!(closed.by(), Party::Local);
            }
        });
    }
}

#[test]
fn the_closing_deadline_fires_while_the_handler_sleeps() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let tested = open(&sim, role, Config::default(), async move |session| {
            session.close(CloseCode::NORMAL);
            let sender = session.sender();
            let watch = clock.clone();
            let noticed = clock.spawn(async move { (sender.closed().await, watch.now()) });
            clock.sleep(HOUR).await;
            noticed.await
        })
        .await;
        tested.peer.expect_close(1000).await;
        assert_eq!(tested.peer.rest().await, []);
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 5);
        let (closed, at) = tested.output.await.expect("it returned");
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Closing));
        assert_eq!(at, Instant::EPOCH + SECOND * 5);
    });
}

#[test]
fn a_closing_handshake_completes_while_the_handler_sleeps() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async move |session| {
            clock.sleep(HOUR).await;
            session.closed().await
        })
        .await;
        tested.peer.close(3000).await;
        tested.peer.expect_close(3000).await;
        assert!(sim.now() < Instant::EPOCH + SECOND * 30);
        // A client waits until the server has ended the transport (RFC 6455 §7.1.1).
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.peer.rest().await, []);
        assert!(sim.now() < Instant::EPOCH + SECOND * 30);
        let closed = tested.output.await.expect("it returned");
        assert!(closed.is_clean());
        assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    });
}

#[test]
fn what_was_sent_leaves_while_the_handler_sleeps() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async move |session| {
            session.send("first").await.unwrap();
            session.send("x".repeat(20_000)).await.unwrap();
            clock.sleep(HOUR).await;
            session.sender().try_send("second").unwrap();
            clock.sleep(HOUR).await;
        })
        .await;
        tested.peer.expect_text("first").await;
        assert_eq!(tested.peer.frame().await.payload.len(), 20_000);
        // A narrow link takes its latency for each handful of bytes.
        let most = Duration::from_secs(30 * 60);
        assert!(sim.now() < Instant::EPOCH + most, "{:?}", sim.now());
        tested.peer.expect_text("second").await;
        assert!(sim.now() >= Instant::EPOCH + HOUR);
        assert!(sim.now() < Instant::EPOCH + HOUR + SECOND);
        let frames = tested.peer.close_and_drain(1000).await;
        assert_eq!(frames, []);
        tested.output.await;
    });
}

#[test]
fn a_neighbour_sends_while_the_handler_sleeps() {
    Sim::check(0..20, |sim| async move {
        let role = sockless_core::Role::Server;
        let (clock, spawner) = (sim.clone(), sim.clone());
        let tested = open(&sim, role, Config::default(), async move |session| {
            let sender = session.sender();
            let ticking = clock.clone();
            spawner.spawn(async move {
                for tick in 0..10 {
                    ticking.sleep(SECOND).await;
                    sender.send(format!("tick {tick}")).await.unwrap();
                }
            });
            clock.sleep(HOUR).await;
        })
        .await;
        for tick in 0..10 {
            let frame = tested.peer.frame().await;
            assert_eq!((frame.first, as_str(&frame)), (TEXT, &*format!("tick {tick}")));
            assert_eq!(sim.now(), Instant::EPOCH + SECOND * (tick + 1));
        }
    });
}

#[test]
fn a_flood_leaves_the_neighbours_their_turn() {
    // In messages: in one turn at most 4096, or 32 reads.
    for (len, header_len, times, most) in [(16, 2, 20_000, 4096), (64 << 10, 10, 300, 32)] {
        let mut server = Served::new(Config::default(), async |mut session: Session| {
            while let Ok(message) = session.recv().await {
                session.send(message).await?;
            }
            Ok::<_, Closed>(())
        });
        let message = Writer { masks: true }.frame(BINARY, vec![7; len]);
        server.peer().say(&message, times);
        let (mut turns, mut before) = (0, server.peer().written);
        while server.poll() {
            let written = server.peer().written;
            let messages = (written - before) / (len + header_len) as u64;
            assert!((1..=most).contains(&messages), "{messages} messages of {len} B in one turn");
            (turns, before) = (turns + 1, written);
        }
        assert_eq!(server.peer().left, 0);
        assert!(turns > 2);
    }
}
