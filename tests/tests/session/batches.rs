//! What is sent while a handler is polled leaves in one vectored write, and what has arrived comes in
//! one read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sockless_core::{Config, Role};
use sockless_driver::ConnectionServer;
use sockless_sim::{Link, Sim};
use sockless_tests::wire::{BINARY, TEXT};

use sockless_tests::opened::{Once, Peer, echo, on_both_sides, open, open_over};

#[test]
fn replies_made_in_one_poll_leave_in_one_write() {
    on_both_sides(10, |sim, role| async move {
        let mut tested = open(&sim, role, Config::default(), async |mut session| {
            session.recv().await.unwrap();
            for reply in 0..50 {
                session.send(format!("reply {reply}")).await.unwrap();
            }
            session.recv().await.unwrap_err();
        })
        .await;
        sim.settle().await;
        let before = tested.wire.stats().writes;
        tested.peer.text("go").await;
        for reply in 0..50 {
            tested.peer.expect_text(&format!("reply {reply}")).await;
        }
        assert_eq!(tested.wire.stats().writes - before, 1);
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        (&mut tested.output).await;
    });
}

#[test]
fn long_payloads_leave_in_one_vectored_write_with_the_short_ones() {
    on_both_sides(10, |sim, role| async move {
        let roomy = Link::default().capacity(1 << 20);
        let tested = open_over(&sim, role, &roomy, Config::default(), async |mut session| {
            session.recv().await.unwrap();
            session.send("short").await.unwrap();
            session.send(vec![1; 20_000]).await.unwrap();
            session.send("short again").await.unwrap();
            session.send(vec![2; 20_000]).await.unwrap();
            session.recv().await.unwrap_err();
        })
        .await;
        sim.settle().await;
        let before = tested.wire.stats().writes;
        tested.peer.text("go").await;
        let lens = [(TEXT, 5), (BINARY, 20_000), (TEXT, 11), (BINARY, 20_000)];
        for len in lens {
            let frame = tested.peer.frame().await;
            assert_eq!((frame.first, frame.payload.len()), len);
        }
        let stats = tested.wire.stats();
        assert_eq!(stats.writes - before, 1);
        assert!(stats.most_slices >= 4, "{stats:?}");
    });
}

#[test]
fn an_echo_of_depth_16_takes_a_read_and_a_write_per_batch() {
    on_both_sides(10, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), echo).await;
        sim.settle().await;
        let before = tested.wire.stats();
        for batch in 0..20 {
            let text = |i| format!("message {i} of batch {batch}");
            let messages: Vec<u8> =
                (0..16).flat_map(|i| tested.peer.write.text(&text(i))).collect();
            tested.peer.send(messages).await;
            for i in 0..16 {
                tested.peer.expect_text(&text(i)).await;
            }
        }
        let after = tested.wire.stats();
        assert_eq!((after.reads - before.reads, after.writes - before.writes), (20, 20));
    });
}

#[test]
fn a_batch_of_echoes_wakes_its_task_once() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let host = ConnectionServer::new(
            Once::new(Config::default(), async |s| drop(echo(s).await)),
            sim.runtime(),
        );
        let mut serving = Box::pin(host.serve_connection(Box::new(near), None, None));
        let polls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&polls);
        sim.spawn(std::future::poll_fn(move |cx| {
            counter.fetch_add(1, Ordering::Relaxed);
            serving.as_mut().poll(cx)
        }));
        let peer = Peer::of_a_server(far).await;
        sim.settle().await;
        let before = polls.load(Ordering::Relaxed);
        for _ in 0..20 {
            let messages: Vec<u8> = (0..16).flat_map(|_| peer.write.text("ding")).collect();
            peer.send(messages).await;
            for _ in 0..16 {
                peer.expect_text("ding").await;
            }
            sim.settle().await;
        }
        assert_eq!(polls.load(Ordering::Relaxed) - before, 20, "polls for 20 batches");
    });
}

#[test]
fn messages_of_neighbours_are_batched_too() {
    Sim::check(0..10, |sim| async move {
        let spawner = sim.clone();
        let tested = open(&sim, Role::Server, Config::default(), async move |mut session| {
            for name in ["one", "two", "three"] {
                let sender = session.sender();
                spawner.spawn(async move {
                    for _ in 0..10 {
                        sender.send(name).await.unwrap();
                    }
                });
            }
            session.recv().await.unwrap_err();
        })
        .await;
        sim.settle().await;
        // The tasks of one instant run in any order, so the driver may come between them.
        assert!(tested.wire.stats().writes <= 1 + 3, "{:?}", tested.wire.stats());
        for _ in 0..30 {
            tested.peer.frame().await;
        }
    });
}
