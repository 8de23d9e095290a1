//! A session that closes while it does not receive: what was read ahead is still received, what comes after
//! it is dropped, and there is no gap in between.

use std::time::Duration;

use sockless_core::{Closed, Config, Message};
use sockless_driver::Session;
use sockless_sim::Sim;
use sockless_tests::wire::{BINARY_BEGINS, CLOSE, close_body};

use sockless_tests::opened::{SECOND, any_link, on_both_sides, open, open_over, receive_all};

fn numbered(i: usize) -> String {
    format!("{i:04} {}", "x".repeat(100))
}

/// The number of the numbered messages, which must be the first ones.
#[track_caller]
fn prefix_len(messages: &[Message]) -> usize {
    for (i, message) in messages.iter().enumerate() {
        assert_eq!(message.as_text(), Some(&*numbered(i)), "a gap");
    }
    messages.len()
}

#[test]
fn close_gets_through_when_as_much_is_read_ahead_as_may_be() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().read_ahead(1_000);
        let tested = open(&sim, role, config, async move |mut session| {
            clock.sleep(SECOND * 10).await;
            session.close(sockless_core::CloseCode::NORMAL);
            let closed = session.closed().await;
            (clock.now(), closed, receive_all(&mut session).await)
        })
        .await;
        for i in 0..100 {
            tested.peer.text(&numbered(i)).await;
        }
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (at, closed, (messages, again)) = tested.output.await.expect("it returned");
        assert!(closed.is_clean(), "{closed}");
        assert_eq!(closed, again);
        assert!(at < sockless_core::Instant::EPOCH + SECOND * 11);
        let len = prefix_len(&messages);
        assert!((5..100).contains(&len), "{len}");
    });
}

/// Closes, and receives slowly.
async fn close_and_receive(mut session: Session, clock: Sim) -> (Vec<Message>, Closed) {
    clock.sleep(Duration::from_millis(clock.draw(0..3_000))).await;
    session.close(sockless_core::CloseCode::NORMAL);
    let mut messages = Vec::new();
    loop {
        // Mostly slower than the peer sends, and sometimes at once.
        if clock.draw(0..3) > 0 {
            clock.sleep(Duration::from_millis(clock.draw(0..400))).await;
        }
        match session.recv().await {
            Ok(message) => messages.push(message),
            Err(closed) => return (messages, closed),
        }
    }
}

#[test]
fn what_a_slow_receiver_gets_after_it_has_closed_is_a_prefix() {
    on_both_sides(100, |sim, role| async move {
        let clock = sim.clone();
        let mut config = Config::default().read_ahead(200 + sim.draw(0..2_000) as usize);
        config = config.closing_timeout(SECOND * 1_000);
        if sim.draw(0..2) == 0 {
            config = config.recv_chunk_len(4 + sim.draw(0..60) as usize);
        }
        let link = any_link(&sim);
        let tested =
            open_over(&sim, role, &link, config, move |session| close_and_receive(session, clock))
                .await;
        for i in 0..60 {
            let text = numbered(i);
            match sim.draw(0..3) {
                0 => {
                    let parts = [&text.as_bytes()[..50], &text.as_bytes()[50..]];
                    let begins = sockless_tests::wire::TEXT_BEGINS;
                    tested.peer.send(tested.peer.write.fragments(begins, &parts)).await;
                }
                _ => tested.peer.text(&text).await,
            }
            sim.sleep(Duration::from_millis(sim.draw(0..100))).await;
        }
        tested.peer.send(tested.peer.write.frame(CLOSE, close_body(1000, ""))).await;
        tested.peer.io.shutdown().await.unwrap();
        let (messages, closed) = tested.output.await.expect("it returned");
        assert!(closed.is_clean(), "{closed}");
        prefix_len(&messages);
    });
}

#[test]
fn what_was_dropped_leaves_no_half_a_message_and_nothing_behind_it() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let config = Config::default().read_ahead(300).closing_timeout(SECOND * 1_000);
        let tested = open(&sim, role, config, async move |mut session| {
            clock.sleep(SECOND).await;
            session.close(sockless_core::CloseCode::NORMAL);
            clock.sleep(SECOND * 10).await;
            let mut messages = Vec::new();
            let closed = loop {
                match session.recv().await {
                    Ok(message) => messages.push(message),
                    Err(closed) => break closed,
                }
                clock.sleep(SECOND * 2).await;
            };
            (messages, closed)
        })
        .await;
        for i in 0..10 {
            tested.peer.text(&numbered(i)).await;
        }
        sim.sleep(SECOND * 5).await;
        tested.peer.send(tested.peer.write.frame(BINARY_BEGINS, "half")).await;
        tested.peer.send(tested.peer.write.frame(0x80, "rest")).await;
        // While the handler receives again, with room for all of it.
        for _ in 0..20 {
            sim.sleep(SECOND).await;
            tested.peer.text("behind").await;
        }
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (messages, closed) = tested.output.await.expect("it returned");
        assert!(closed.is_clean(), "{closed}");
        let len = prefix_len(&messages);
        assert!((1..10).contains(&len), "{len}");
    });
}
