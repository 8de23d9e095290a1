//! Pings that are awaited, and the pongs of a peer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use sockless_core::Config;
use sockless_driver::Session;
use sockless_tests::wire::PING;

use sockless_tests::opened::{SECOND, as_str, on_both_sides, open};

#[test]
fn a_ping_returns_its_round_trip() {
    on_both_sides(10, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session: Session| {
            assert_eq!(session.round_trip(), None);
            let round_trip = session.ping("are you there").unwrap().await.unwrap();
            (round_trip, session.round_trip())
        })
        .await;
        let ping = tested.peer.frame().await;
        assert_eq!((ping.first, as_str(&ping)), (PING, "are you there"));
        sim.sleep(SECOND * 3).await;
        tested.peer.send(tested.peer.write.pong("something else")).await;
        sim.sleep(SECOND * 2).await;
        tested.peer.send(tested.peer.write.pong("are you there")).await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (awaited, last) = tested.output.await.expect("it returned");
        assert!(awaited >= SECOND * 5 && awaited < SECOND * 6, "{awaited:?}");
        assert_eq!(last, Some(awaited));
    });
}

#[test]
fn the_pings_of_the_interval_are_measured_too() {
    on_both_sides(5, |sim, role| async move {
        let config = Config::default().ping_interval(SECOND * 10);
        let tested = open(&sim, role, config, async |session: Session| {
            session.sleep(SECOND * 15).await;
            session.round_trip()
        })
        .await;
        let ping = tested.peer.frame().await;
        assert_eq!(ping.first, PING);
        sim.sleep(SECOND * 2).await;
        tested.peer.send(tested.peer.write.pong(&ping.payload)).await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let round_trip = tested.output.await.expect("it returned").expect("it was answered");
        assert!(round_trip >= SECOND * 2 && round_trip < SECOND * 3, "{round_trip:?}");
    });
}

/// Not for the deadline of a pong that has come, either.
#[test]
fn an_idle_session_is_woken_for_its_pings_and_their_pongs_only() {
    on_both_sides(5, |sim, role| async move {
        let config = Config::default().ping_interval(SECOND * 25).ping_timeout(SECOND * 15);
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let tested = open(&sim, role, config, async move |session: Session| {
            let mut closed = pin!(session.closed());
            poll_fn(|cx| {
                counted.fetch_add(1, Ordering::Relaxed);
                closed.as_mut().poll(cx)
            })
            .await
        })
        .await;
        let mut before = 0;
        for ping in 1..=5 {
            let frame = tested.peer.frame().await;
            assert_eq!(frame.first, PING);
            tested.peer.send(tested.peer.write.pong(&frame.payload)).await;
            sim.sleep(SECOND).await;
            let polls = polls.load(Ordering::Relaxed);
            // The first time it was also polled as it began.
            assert!(ping == 1 || polls - before <= 2, "{} polls for a ping", polls - before);
            before = polls;
        }
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        tested.output.await.expect("it returned");
    });
}

#[test]
fn the_pong_of_a_later_ping_answers_those_before_it() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session: Session| {
            let [first, second, third] = ["1", "2", "3"].map(|ping| session.ping(ping).unwrap());
            first.await.unwrap();
            second.await.unwrap();
            third.now_or_never().is_none()
        })
        .await;
        for _ in 0..3 {
            assert_eq!(tested.peer.frame().await.first, PING);
        }
        tested.peer.send(tested.peer.write.pong("2")).await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(true), "the third is not answered");
    });
}

#[test]
fn a_ping_ends_with_the_session() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session: Session| {
            let ended = session.ping("").unwrap().await;
            (ended, session.closed().await)
        })
        .await;
        assert_eq!(tested.peer.frame().await.first, PING);
        tested.peer.close(1001).await;
        tested.peer.expect_close(1001).await;
        tested.peer.io.shutdown().await.unwrap();
        let (ended, closed) = tested.output.await.expect("it returned");
        assert_eq!(ended, Err(closed));
    });
}

#[test]
fn pongs_are_visible_on_request_the_newest_first() {
    on_both_sides(5, |sim, role| async move {
        let clock = sim.clone();
        let tested = open(&sim, role, Config::default(), async move |session: Session| {
            let mut pongs = session.pongs();
            let first = pongs.recv().await.unwrap();
            clock.sleep(SECOND * 10).await;
            let newest = pongs.recv().await.unwrap();
            assert!(pongs.recv().now_or_never().is_none());
            let closed = pongs.recv().await.unwrap_err();
            (first, newest, closed)
        })
        .await;
        for payload in ["heartbeat 1", "heartbeat 2", "heartbeat 3"] {
            tested.peer.send(tested.peer.write.pong(payload)).await;
            sim.sleep(SECOND * 3).await;
        }
        sim.sleep(SECOND * 10).await;
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (first, newest, closed) = tested.output.await.expect("it returned");
        assert_eq!((&first[..], &newest[..]), (&b"heartbeat 1"[..], &b"heartbeat 3"[..]));
        assert!(closed.is_clean());
    });
}
