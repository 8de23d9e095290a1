//! Sessions in parts and in many hands: halves, senders, foreign wakers, `Stream` and `Sink`.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use sockless_core::{Cause, CloseCode, Closed, Config, Instant, Message, Role};
use sockless_driver::Session;
use sockless_sim::{Link, Sim};
use sockless_tests::wire::{PING, PONG};

use sockless_tests::opened::{
    HOUR, SECOND, any_link, as_str, on_both_sides, open, open_over, receive_all,
};

#[test]
fn halves_work_in_two_tasks_of_their_own() {
    on_both_sides(20, |sim, role| async move {
        let spawner = sim.clone();
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async move |session| {
            let (sender, mut receiver) = session.split();
            let sending = spawner.spawn(async move {
                for i in 0..100 {
                    sender.send(format!("out {i}")).await.unwrap();
                }
                sender.closed().await
            });
            let receiving = spawner.spawn(async move {
                let mut received = 0;
                while let Some(message) = receiver.next().await {
                    assert_eq!(message.as_text(), Some(&*format!("in {received}")));
                    received += 1;
                }
                received
            });
            (sending.await, receiving.await)
        })
        .await;
        for i in 0..100 {
            tested.peer.text(&format!("in {i}")).await;
        }
        for i in 0..100 {
            tested.peer.expect_text(&format!("out {i}")).await;
        }
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (closed, received) = tested.output.await.expect("it returned");
        assert_eq!((closed.cause(), received), (&Cause::ClosingHandshake, 100));
    });
}

#[test]
fn a_dropped_receiver_drops_arriving_messages_and_blocks_no_task() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().read_ahead(1_000);
        let tested = open(&sim, role, config, async move |session| {
            let (sender, receiver) = session.split();
            drop(receiver);
            clock.sleep(SECOND).await;
            sender.send("still here").await.unwrap();
            sender.closed().await
        })
        .await;
        for _ in 0..1_000 {
            tested.peer.send(tested.peer.write.binary([7; 1_000])).await;
        }
        tested.peer.expect_text("still here").await;
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert!(tested.output.await.expect("it returned").is_clean());
    });
}

#[test]
fn many_senders_keep_each_its_own_order() {
    on_both_sides(20, |sim, role| async move {
        let spawner = sim.clone();
        let config = Config::default().high_water(200);
        let link = any_link(&sim).capacity(300);
        let tested = open_over(&sim, role, &link, config, async move |session| {
            let tasks = (0..20_u8).map(|name| {
                let (sender, clock) = (session.sender(), spawner.clone());
                spawner.spawn(async move {
                    for i in 0..20_u8 {
                        sender.send(vec![name, i]).await.unwrap();
                        if clock.draw(0..5) == 0 {
                            clock.sleep(Duration::from_millis(1)).await;
                        }
                    }
                })
            });
            join_all(tasks).await;
        })
        .await;
        let mut next = [0; 20];
        for _ in 0..400 {
            let payload = tested.peer.frame().await.payload;
            let expected = &mut next[usize::from(payload[0])];
            assert_eq!(payload[1], *expected);
            *expected += 1;
        }
        assert_eq!(next, [20; 20]);
        tested.peer.expect_close(1000).await;
    });
}

#[test]
fn a_recv_that_races_a_timer_loses_no_message() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async move |mut session| {
            let (mut texts, mut ticks) = (Vec::new(), 0);
            loop {
                let tick = clock.sleep(Duration::from_millis(3));
                match select(pin!(session.recv()), tick).await {
                    Either::Left((Ok(message), _)) => {
                        texts.push(message.as_text().unwrap().to_owned());
                    }
                    Either::Left((Err(_), _)) => return (texts, ticks),
                    Either::Right(_) => ticks += 1,
                }
            }
        })
        .await;
        let expected: Vec<_> = (0..50).map(|i| format!("message {i}")).collect();
        for text in &expected {
            tested.peer.text(text).await;
            sim.sleep(Duration::from_millis(sim.draw(0..10))).await;
        }
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (texts, ticks) = tested.output.await.expect("it returned");
        assert_eq!(texts, expected);
        assert!(ticks > 10, "{ticks}");
    });
}

#[test]
fn a_recv_under_a_waker_of_its_own_is_woken() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async move |session| {
            let (sender, mut receiver) = session.split();
            let echoing = async {
                while let Ok(message) = receiver.recv().await {
                    sender.send(message).await.unwrap();
                }
                "echoed"
            };
            let ticking = async {
                for _ in 0..50 {
                    clock.sleep(SECOND).await;
                }
                "ticked"
            };
            let closing = async {
                sender.closed().await;
                "closed"
            };
            // Each future gets a waker of its own.
            let all: FuturesUnordered<_> =
                [echoing.boxed(), ticking.boxed(), closing.boxed()].into_iter().collect();
            let mut done: Vec<_> = all.collect().await;
            done.sort_unstable();
            done
        })
        .await;
        for i in 0..50 {
            tested.peer.text(&format!("message {i}")).await;
            tested.peer.expect_text(&format!("message {i}")).await;
        }
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(vec!["closed", "echoed", "ticked"]));
    });
}

#[test]
fn sends_and_receives_joined_in_one_future_all_come_through() {
    on_both_sides(20, |sim, role| async move {
        let config = Config::default().high_water(100);
        let link = any_link(&sim).capacity(100);
        let tested = open_over(&sim, role, &link, config, async move |session| {
            let (sender, mut receiver) = session.split();
            let out = join_all((0..50).map(|i| sender.send(format!("out {i}"))));
            let flushed = async {
                sender.send("begin").await.unwrap();
                sender.flush().await
            };
            let receiving = async {
                let mut received = 0;
                while received < 50 && receiver.recv().await.is_ok() {
                    received += 1;
                }
                received
            };
            let ((sent, flushed), received) = join(join(out, flushed), receiving).await;
            assert!(sent.iter().all(Result::is_ok) && flushed.is_ok());
            received
        })
        .await;
        let peer = std::sync::Arc::new(tested.peer);
        let writer = std::sync::Arc::clone(&peer);
        sim.spawn(async move {
            for i in 0..50 {
                writer.text(&format!("in {i}")).await;
            }
        });
        let mut texts = Vec::new();
        for _ in 0..51 {
            texts.push(as_str(&peer.frame().await).to_owned());
        }
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 51, "none is doubled");
        peer.expect_close(1000).await;
        peer.close(1000).await;
        peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(50));
    });
}

#[test]
fn flush_waits_until_the_transport_has_taken_all_and_no_longer() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let narrow = Link::default().capacity(1_000).held_until_flush(true);
        let tested = open_over(&sim, role, &narrow, Config::default(), async move |session| {
            session.flush().await.unwrap();
            session.send("short").await.unwrap();
            session.flush().await.unwrap();
            assert_eq!(clock.now(), Instant::EPOCH, "there was room");
            session.send(vec![7; 5_000]).await.unwrap();
            session.flush().await.unwrap();
            let written = clock.now();
            // After a close too: the Close frame is flushed like the rest.
            session.close(CloseCode::NORMAL);
            session.flush().await.unwrap();
            let end = session.closed().await;
            // And when all is over: everything had been flushed.
            session.flush().await.unwrap();
            (written, end)
        })
        .await;
        tested.peer.expect_text("short").await;
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.frame().await.payload.len(), 5_000);
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (written, end) = tested.output.await.expect("it returned");
        assert_eq!(written, Instant::EPOCH + SECOND);
        assert!(end.is_clean());
    });
}

#[test]
fn flush_returns_how_the_session_ended_when_something_was_left() {
    on_both_sides(10, |sim, role| async move {
        let narrow = Link::default().capacity(1_000);
        let tested = open_over(&sim, role, &narrow, Config::default(), async |session| {
            session.send(vec![7; 5_000]).await.unwrap();
            (session.flush().await, session.closed().await)
        })
        .await;
        sim.sleep(SECOND).await;
        drop(tested.peer);
        let (flushed, closed) = tested.output.await.expect("it returned");
        assert_eq!(flushed, Err(closed));
    });
}

#[test]
fn a_session_is_a_stream_and_has_a_sink() {
    on_both_sides(20, |sim, role| async move {
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async |session: Session| {
            let (sender, mut stream) = session.split();
            let mut sink = sender.sink();
            let upper = |message: Message| message.as_text().map(str::to_uppercase);
            let mut replies = (&mut stream)
                .filter_map(|message| std::future::ready(upper(message)))
                .take(3)
                .map(Ok::<_, Closed>);
            sink.send_all(&mut replies).await?;
            SinkExt::close(&mut sink).await?;
            Ok::<_, Closed>(stream.next().await)
        })
        .await;
        for text in ["one", "two", "three"] {
            tested.peer.text(text).await;
            tested.peer.expect_text(&text.to_uppercase()).await;
        }
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let left = tested.output.await.expect("it returned");
        assert_eq!(left, Ok(None));
    });
}

/// `SinkExt::send` would wait until the message is written, and `SinkExt::close` would take no reason.
#[test]
fn send_and_close_mean_the_same_with_the_traits_of_futures_in_scope() {
    on_both_sides(5, |sim, role| async move {
        let link = Link::default().capacity(100);
        let config = Config::default().high_water(10_000);
        let tested = open_over(&sim, role, &link, config, async |mut session: Session| {
            let borrowed = &mut session;
            let sent = borrowed.send("-".repeat(1_000)).now_or_never();
            borrowed.close((CloseCode::GOING_AWAY, "bye"));
            sent
        })
        .await;
        tested.peer.expect_text(&"-".repeat(1_000)).await;
        tested.peer.expect_close(1001).await;
        tested.peer.close(1001).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(Some(Ok(()))), "it is queued at once");
    });
}

#[test]
fn closing_a_sink_waits_for_the_peer_without_spinning() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session: Session| {
            session.sink::<Message>().close().await
        })
        .await;
        tested.peer.expect_close(1000).await;
        // Virtual time moves only when no task can run.
        sim.sleep(SECOND).await;
        assert_eq!(sim.now(), Instant::EPOCH + SECOND);
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(Ok(())));
    });
}

#[test]
fn a_sink_does_not_swallow_a_message_that_comes_too_late() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let tested = open(&sim, role, Config::default(), async move |session: Session| {
            session.close(CloseCode::NORMAL);
            clock.sleep(SECOND / 2).await;
            session.sink().send("too late").await
        })
        .await;
        tested.peer.expect_close(1000).await;
        sim.sleep(SECOND).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let sent = tested.output.await.expect("it returned");
        assert!(sent.is_err_and(|closed| closed.is_clean()));
    });
}

/// The peer takes all that was sent before the flush at 1 s, and another sender goes on meanwhile.
#[test]
fn a_flush_of_a_sink_waits_for_what_was_sent_before_it() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let narrow = Link::default().capacity(1_000).held_until_flush(true);
        let tested = open_over(&sim, role, &narrow, Config::default(), async move |session| {
            let mut sink = session.sink();
            sink.feed(vec![7; 5_000]).await.unwrap();
            let mut flush = sink.flush();
            assert!((&mut flush).now_or_never().is_none());
            session.send(vec![8; 5_000]).await.unwrap();
            flush.await.unwrap();
            clock.now()
        })
        .await;
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.frame().await.payload.len(), 5_000);
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.frame().await.payload.len(), 5_000);
        tested.peer.expect_close(1000).await;
        assert_eq!(tested.output.await, Some(Instant::EPOCH + SECOND));
    });
}

#[test]
fn a_sink_waits_for_room() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().high_water(1_000);
        let narrow = Link::default().capacity(500);
        let tested = open_over(&sim, role, &narrow, config, async move |session: Session| {
            let mut sink = session.sink();
            for i in 0..50 {
                sink.feed(format!("{i:0>100}")).await.unwrap();
            }
            sink.flush().await.unwrap();
        })
        .await;
        sim.sleep(SECOND).await;
        assert!(tested.wire.stats().bytes_written < 2_000);
        for i in 0..50 {
            tested.peer.expect_text(&format!("{i:0>100}")).await;
        }
        tested.peer.expect_close(1000).await;
    });
}

#[test]
fn settings_change_on_a_live_session_with_effect_at_once() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let tested = open(&sim, role, Config::default(), async move |session| {
            clock.sleep(SECOND * 100).await;
            session.reconfigure(|config| config.ping_interval(SECOND * 10));
            clock.sleep(SECOND * 25).await;
            session.reconfigure(|config| config.ping_interval(None).max_message_len(10));
            session.closed().await
        })
        .await;
        for ping in 1..=2 {
            let frame = tested.peer.frame().await;
            assert_eq!(
                (frame.first, sim.now()),
                (PING, Instant::EPOCH + SECOND * (100 + 10 * ping))
            );
            tested.peer.send(tested.peer.write.pong(frame.payload)).await;
        }
        sim.sleep(HOUR).await;
        tested.peer.send(tested.peer.write.ping("nothing in between?")).await;
        assert_eq!(tested.peer.frame().await.first, PONG);
        tested.peer.text("more than ten bytes").await;
        tested.peer.expect_close(1009).await;
        tested.peer.io.shutdown().await.unwrap();
        tested.output.await;
    });
}

#[test]
fn any_number_of_tasks_may_wait_for_the_end() {
    on_both_sides(10, |sim, role| async move {
        let spawner = sim.clone();
        let tested = open(&sim, role, Config::default(), async move |mut session| {
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let sender = session.sender();
                    spawner.spawn(async move { (sender.closed().await, sender.closed().await) })
                })
                .collect();
            let end = receive_all(&mut session).await.1;
            for task in tasks {
                assert_eq!(task.await, (end.clone(), end.clone()));
            }
        })
        .await;
        assert_eq!(tested.peer.close_and_drain(4000).await, []);
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(()));
    });
}

#[test]
fn a_client_session_closes_when_its_last_handle_is_dropped() {
    Sim::check(0..10, |sim| async move {
        let mut listener = sim.listen("server");
        let client = sim.clone();
        let connecting = sim.spawn(async move { client.connect("ws://server/").await.unwrap() });
        let peer = sockless_tests::opened::Peer::of_a_client(listener.accept().await).await;
        let session = connecting.await;
        let sender = session.sender();
        drop(session);
        sender.send("one handle left").await.unwrap();
        sim.sleep(HOUR).await;
        peer.expect_text("one handle left").await;
        drop(sender);
        peer.expect_close(1000).await;
        assert_eq!(sim.now(), Instant::EPOCH + HOUR);
        peer.close(1000).await;
        peer.io.shutdown().await.unwrap();
        assert_eq!(peer.rest().await, []);
        assert_eq!(sim.now(), Instant::EPOCH + HOUR);
    });
}

#[test]
fn a_sender_outlives_its_handler() {
    Sim::check(0..10, |sim| async move {
        let tested = open(&sim, Role::Server, Config::default(), async |session| session.sender());
        let tested = tested.await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        let sender = tested.output.await.expect("it returned");
        let closed = sender.closed().await;
        assert!(closed.is_clean());
        assert_eq!(sender.send("too late").await, Err(closed));
    });
}
