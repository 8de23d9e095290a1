//! Whatever a peer does, a session holds a bounded number of bytes; what is full waits, and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sockless_core::{Cause, Config, Instant, Overflow, Timeout};
use sockless_driver::{Session, TrySendError};
use sockless_sim::Link;
use sockless_tests::wire::{CLOSE, PING, PONG, Read};

use sockless_tests::opened::{
    HOUR, SECOND, as_str, close_code, on_both_sides, open, open_over, receive_all,
};

#[test]
fn send_waits_while_high_water_bytes_are_on_their_way_to_a_peer_that_never_reads() {
    on_both_sides(10, |sim, role| async move {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let config = Config::default().high_water(10_000).write_timeout(None);
        let narrow = Link::default().capacity(2_000);
        let tested = open_over(&sim, role, &narrow, config, async move |session| {
            for _ in 0..100 {
                session.send(vec![7; 992]).await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
            session.flush().await.unwrap();
        })
        .await;
        sim.sleep(HOUR).await;
        // 2,000 bytes have arrived with the peer, 2,000 are under way, 10,000 wait, and one message lies
        // across the mark.
        let waiting = sent.load(Ordering::Relaxed) * 1_000;
        assert!((11_000..=15_000).contains(&waiting), "{waiting} bytes were taken");
        for _ in 0..100 {
            assert_eq!(tested.peer.frame().await.payload, [7; 992]);
        }
        tested.peer.expect_close(1000).await;
        assert_eq!(sent.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn try_send_gives_the_message_back_while_the_queue_is_full() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().high_water(10_000);
        let narrow = Link::default().capacity(2_000);
        let tested = open_over(&sim, role, &narrow, config, async |session| {
            let mut sent = 0;
            let full = loop {
                match session.try_send(format!("message {sent}")) {
                    Ok(()) => sent += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(full, TrySendError::Full(format!("message {sent}").into()));
            sent
        })
        .await;
        // The Close frame of the handler that has returned is the answer, too.
        let mut texts = vec![tested.peer.frame().await];
        texts.extend(tested.peer.close_and_drain(1000).await);
        for (i, frame) in texts.iter().enumerate() {
            assert_eq!(as_str(frame), format!("message {i}"));
        }
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(texts.len()));
    });
}

#[test]
fn a_flood_of_pings_from_a_peer_that_does_not_read_costs_no_more_than_the_queue() {
    on_both_sides(5, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().high_water(10_000);
        let narrow = Link::default().capacity(2_000);
        let tested = open_over(&sim, role, &narrow, config, async move |session| {
            clock.sleep(HOUR).await;
            drop(session);
        })
        .await;
        for ping in 0..10_000 {
            tested.peer.send(tested.peer.write.ping(format!("{ping:0>100}"))).await;
        }
        sim.settle().await;
        let mut pongs: Vec<Read> = tested.peer.close_and_drain(1000).await;
        assert!(pongs.iter().all(|frame| frame.first == PONG));
        let newest = pongs.pop().expect("a pong");
        assert!(pongs.len() * 102 < 13_000, "{} pongs were held", pongs.len());
        // The end of the flood is still there, unless the Close frame came first.
        let newest: usize = as_str(&newest).trim_start_matches('0').parse().unwrap_or(0);
        assert!(newest > 0);
    });
}

#[test]
fn reading_stops_at_read_ahead_and_goes_on_when_something_was_received() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().read_ahead(10_000);
        let narrow = Link::default().capacity(2_000);
        let tested = open_over(&sim, role, &narrow, config, async move |mut session| {
            clock.sleep(HOUR).await;
            receive_all(&mut session).await
        })
        .await;
        // A ping before the flood is answered, although no task receives.
        tested.peer.send(tested.peer.write.ping("early")).await;
        assert_eq!(tested.peer.frame().await.first, PONG);
        let peer = Arc::new(tested.peer);
        let writer = Arc::clone(&peer);
        let writing = sim.spawn(async move {
            for i in 0..100 {
                writer.text(&format!("{i:0>1000}")).await;
            }
            writer.close(1000).await;
        });
        sim.sleep(SECOND * 60).await;
        let read = tested.wire.stats().bytes_read;
        assert!((9_000..15_000).contains(&read), "{read} bytes were read");
        // Once full, not even the clock makes it read on.
        sim.sleep(SECOND * 60).await;
        assert_eq!(tested.wire.stats().bytes_read, read);
        writing.await;
        assert!(sim.now() >= Instant::EPOCH + HOUR);
        peer.expect_close(1000).await;
        peer.io.shutdown().await.unwrap();
        let (messages, closed) = tested.output.await.expect("it returned");
        let expected: Vec<_> = (0..100).map(|i| format!("{i:0>1000}")).collect();
        let texts: Vec<_> = messages.iter().map(|message| message.as_text().unwrap()).collect();
        assert_eq!(texts, expected);
        assert!(closed.is_clean());
    });
}

#[test]
fn a_slow_receiver_makes_no_buffer_grow() {
    on_both_sides(5, |sim, role| async move {
        let received = Arc::new(AtomicUsize::new(0));
        let (clock, counter) = (sim.clone(), Arc::clone(&received));
        let config = Config::default().read_ahead(10_000);
        let roomy = Link::default().capacity(1 << 20);
        let tested = open_over(&sim, role, &roomy, config, async move |mut session| {
            for _ in 0..200 {
                clock.sleep(SECOND).await;
                let message = session.recv().await.unwrap();
                counter.fetch_add(message.len(), Ordering::Relaxed);
            }
        })
        .await;
        let flood: Vec<u8> =
            (0..10_000).flat_map(|_| tested.peer.write.text("a short one")).collect();
        let peer = Arc::new(tested.peer);
        let writer = Arc::clone(&peer);
        sim.spawn(async move { drop(writer.io.write_all(&flood).await) });
        for _ in 0..190 {
            sim.sleep(SECOND).await;
            let held = tested.wire.stats().bytes_read as usize - received.load(Ordering::Relaxed);
            // One read brings up to 64 KiB, and is not followed by another while it is too much.
            assert!(held < 10_000 + (64 << 10) + 20_000, "{held} bytes are held");
        }
        sim.sleep(SECOND * 60).await;
        drop(peer);
        tested.output.await;
    });
}

#[test]
fn a_peer_is_not_blamed_for_silence_while_it_is_not_read() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default()
            .read_ahead(1_000)
            .ping_interval(SECOND * 30)
            .ping_timeout(SECOND * 15)
            .message_timeout(SECOND * 20);
        let tested = open(&sim, role, config, async move |mut session| {
            clock.sleep(HOUR).await;
            receive_all(&mut session).await
        })
        .await;
        // More than is read ahead, and the beginning of a message.
        let mut messages: Vec<u8> =
            (0..50).flat_map(|_| tested.peer.write.binary([7; 100])).collect();
        messages.extend(tested.peer.write.frame(0x01, "half"));
        tested.peer.send(messages).await;
        let mut pings = 0;
        let close = loop {
            let frame = tested.peer.frame().await;
            if frame.first != PING {
                break frame;
            }
            pings += 1;
            tested.peer.send(tested.peer.write.pong(frame.payload)).await;
        };
        let closed_at = sim.now();
        // Pings go on, though their answers are not read.
        assert_eq!((pings, close.first, close_code(&close)), (120, CLOSE, Some(1008)));
        let (messages, closed) = tested.output.await.expect("it returned");
        assert_eq!(messages.len(), 50);
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Message));
        // From here on it was read again, and had its whole time again.
        assert_eq!(closed_at, Instant::EPOCH + HOUR + SECOND * 20);
    });
}

#[test]
fn without_a_write_timeout_a_peer_that_never_reads_times_out_by_the_ping_timeout() {
    on_both_sides(5, |sim, role| async move {
        let config = Config::default()
            .high_water(1_000)
            .ping_interval(SECOND * 30)
            .ping_timeout(SECOND * 15)
            .write_timeout(None);
        let narrow = Link::default().capacity(2_000);
        let tested = open_over(&sim, role, &narrow, config, async move |session| {
            loop {
                if let Err(closed) = session.send("into the void").await {
                    return closed;
                }
            }
        })
        .await;
        let closed = tested.output.await.expect("it returned");
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Ping));
        assert!(sim.now() <= Instant::EPOCH + SECOND * 60, "{:?}", sim.now());
        drop(tested.peer);
    });
}

#[test]
fn what_is_read_ahead_may_shrink_on_a_live_session() {
    on_both_sides(10, |sim, role| async move {
        let (clock, spawner) = (sim.clone(), sim.clone());
        let tested = open(&sim, role, Config::default(), async move |mut session| {
            // The queue fills, and then its limit falls below what it holds.
            clock.sleep(SECOND).await;
            let sender = session.sender();
            spawner.spawn(async move { sender.reconfigure(|config| config.read_ahead(100)) }).await;
            receive_all(&mut session).await.0.len()
        })
        .await;
        let messages: Vec<u8> = (0..50).flat_map(|_| tested.peer.write.binary([7; 100])).collect();
        tested.peer.send(messages).await;
        sim.sleep(SECOND * 2).await;
        tested.peer.text("still there?").await;
        assert_eq!(tested.peer.close_and_drain(1000).await, []);
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(51));
    });
}

#[test]
fn a_full_queue_of_messages_closes_with_1013_if_it_is_set_to() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().read_ahead(1_000).recv_overflow(Overflow::Close);
        let tested = open(&sim, role, config, async move |mut session| {
            clock.sleep(HOUR).await;
            receive_all(&mut session).await
        })
        .await;
        let messages: Vec<u8> = (0..50).flat_map(|_| tested.peer.write.binary([7; 100])).collect();
        tested.peer.send(messages).await;
        tested.peer.expect_close(1013).await;
        assert_eq!(sim.now(), Instant::EPOCH);
        tested.peer.close(1013).await;
        tested.peer.io.shutdown().await.unwrap();
        let (messages, closed) = tested.output.await.expect("it returned");
        assert!(!messages.is_empty(), "what was read ahead can still be received");
        assert_eq!(closed.sent().and_then(|sent| sent.code()).map(|code| code.get()), Some(1013));
    });
}

#[test]
fn a_full_queue_to_the_peer_closes_with_1013_if_it_is_set_to() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().high_water(1_000).send_overflow(Overflow::Close);
        let narrow = Link::default().capacity(500);
        let tested = open_over(&sim, role, &narrow, config, async move |session| {
            loop {
                if let Err(closed) = session.send([7; 100].to_vec()).await {
                    return closed;
                }
            }
        })
        .await;
        sim.sleep(SECOND).await;
        let frames = tested.peer.close_and_drain_any().await;
        assert_eq!(frames.last().map(close_code), Some(Some(1013)));
        let closed = tested.output.await.expect("it returned");
        assert_eq!(closed.sent().and_then(|sent| sent.code()).map(|code| code.get()), Some(1013));
        assert!(closed.is_clean());
    });
}

#[test]
fn the_end_is_known_although_no_task_receives() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().read_ahead(1_000);
        let tested = open(&sim, role, config, async move |session| {
            clock.sleep(SECOND).await;
            session.terminate();
            session.closed().await
        })
        .await;
        let messages: Vec<u8> = (0..50).flat_map(|_| tested.peer.write.binary([7; 100])).collect();
        tested.peer.send(messages).await;
        let closed = tested.output.await.expect("it returned");
        assert_eq!(closed.cause(), &Cause::Aborted);
    });
}

#[test]
fn a_failed_transport_is_noticed_although_no_task_receives() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().read_ahead(1_000).ping_interval(SECOND * 30);
        let tested = open(&sim, role, config, async move |mut session| {
            let closed = session.closed().await;
            (closed, receive_all(&mut session).await.0.len())
        })
        .await;
        let messages: Vec<u8> = (0..50).flat_map(|_| tested.peer.write.binary([7; 100])).collect();
        tested.peer.send(messages).await;
        sim.sleep(SECOND).await;
        // The session does not read, and watches its transport instead.
        tested.wire.cut();
        let (closed, received) = tested.output.await.expect("it returned");
        assert!(matches!(closed.cause(), Cause::Transport(_)), "{closed}");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND);
        assert!((1..=50).contains(&received), "what was read ahead can still be received");
    });
}

#[test]
fn an_end_right_behind_more_than_is_read_ahead_is_noticed() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().read_ahead(1_000);
        let tested = open(&sim, role, config, async move |mut session| {
            // Half of them are taken, so that the rest is read.
            for _ in 0..45 {
                session.recv().await.unwrap();
            }
            let closed = session.closed().await;
            (closed, receive_all(&mut session).await.0.len())
        })
        .await;
        let messages: Vec<u8> = (0..50).flat_map(|_| tested.peer.write.binary([7; 100])).collect();
        tested.peer.send(messages).await;
        drop(tested.peer);
        let (closed, received) = tested.output.await.expect("it returned");
        assert_eq!((closed.cause(), received), (&Cause::Eof, 5));
    });
}

#[test]
fn after_a_handler_returned_no_task_receives_and_nothing_grows() {
    on_both_sides(5, |sim, role| async move {
        let config = Config::default().read_ahead(1_000);
        let tested = open(&sim, role, config, async |_session| "done").await;
        tested.peer.expect_close(1000).await;
        // A peer that talks on instead of answering may not have come to our Close frame: it is read and
        // dropped, for twelve closing timeouts at most.
        let mut sent = 0;
        while tested.peer.io.write_all(&tested.peer.write.binary([7; 1000])).await.is_ok() {
            sent += 1;
            sim.sleep(SECOND / 100).await;
        }
        assert!((5900..6100).contains(&sent), "{sent}");
        assert_eq!(tested.output.await, Some("done"));
        assert!(sim.now() <= Instant::EPOCH + SECOND * 61);
    });
}

/// It has room for none more until it has come to the long one.
#[test]
fn a_handler_that_receives_is_not_stalled_however_long_the_backlog_stays_full() {
    on_both_sides(3, |sim, role| async move {
        let config = Config::default().read_ahead(10_000).stall_timeout(SECOND * 30);
        let clock = sim.clone();
        let handler = async move |mut session: Session| {
            clock.sleep(SECOND).await;
            let mut received = 0;
            while let Ok(message) = session.recv().await {
                received += usize::from(message.len() > 1);
                clock.sleep(SECOND * 10).await;
            }
            received
        };
        let tested = open_over(&sim, role, &Link::default(), config, handler).await;
        for _ in 0..20 {
            tested.peer.text("short").await;
        }
        // These do not fit, and wait in the transport.
        for _ in 0..20 {
            tested.peer.text(&"long".repeat(5000)).await;
        }
        tested.peer.close_and_drain(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(40));
    });
}

#[test]
fn without_a_limit_all_is_read_ahead_and_received_after_the_end() {
    on_both_sides(3, |sim, role| async move {
        let config = Config::default().read_ahead(usize::MAX);
        let clock = sim.clone();
        let tested = open_over(&sim, role, &Link::default(), config, async move |mut session| {
            clock.sleep(HOUR).await;
            receive_all(&mut session).await.0.len()
        })
        .await;
        for _ in 0..100 {
            tested.peer.text(&"more".repeat(5000)).await;
        }
        tested.peer.close_and_drain(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(100));
    });
}
