//! Background tasks of a session, and a session that is used in two ways at once.

use std::sync::Arc;

use sockless_core::{CloseCode, Config, Message};
use sockless_driver::{Sender, Session};

use sockless_tests::opened::{HOUR, SECOND, on_both_sides, open};

#[test]
fn a_task_returns_its_output() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session: Session| {
            let sender = session.sender();
            let task = session.spawn(async move {
                sender.sleep(SECOND).await;
                7
            });
            assert!(!task.is_finished());
            let output = task.await;
            (output, session.now())
        })
        .await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (output, _) = tested.output.await.expect("it returned");
        assert_eq!(output, Some(7));
    });
}

#[test]
fn an_aborted_task_is_dropped() {
    on_both_sides(5, |sim, role| async move {
        let clock = sim.clone();
        let tested = open(&sim, role, Config::default(), async move |session: Session| {
            let held = Arc::new(());
            let (kept, sender) = (held.clone(), session.sender());
            let task = session.spawn(async move {
                sender.sleep(HOUR).await;
                drop(kept);
            });
            clock.sleep(SECOND).await;
            assert_eq!(Arc::strong_count(&held), 2);
            task.abort();
            let output = task.await;
            (output, Arc::strong_count(&held))
        })
        .await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some((None, 1)));
        assert!(sim.now() < sockless_core::Instant::EPOCH + SECOND * 10);
    });
}

#[test]
fn a_task_ends_with_its_session() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session: Session| {
            let sender = session.sender();
            let task = session.spawn(async move { sender.sleep(HOUR).await });
            session.closed().await;
            (task.await, session.now())
        })
        .await;
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (output, at) = tested.output.await.expect("it returned");
        assert_eq!(output, None);
        assert!(at < sockless_core::Instant::EPOCH + SECOND * 60);
    });
}

/// `recv` and `sleep` in either order; `sleep` borrows nothing.
#[test]
fn a_task_that_receives_sees_the_end_of_its_session() {
    on_both_sides(20, |sim, role| async move {
        let (seen, see) = smol::channel::unbounded();
        let tested = open(&sim, role, Config::default(), async move |session: Session| {
            let (sender, mut receiver) = session.split();
            let task = sender.spawn(async move {
                let mut count = 0;
                while receiver.recv().await.is_ok() {
                    count += 1;
                }
                // It waits for nothing else.
                count
            });
            let _ = seen.try_send(task.await);
        })
        .await;
        tested.peer.text("one").await;
        tested.peer.text("two").await;
        tested.peer.close(1000).await;
        assert_eq!(see.recv().await, Ok(Some(2)));
    });
}

#[test]
fn a_session_waits_for_a_message_or_a_time() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |mut session: Session| {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                let (sender, receiver) = session.halves();
                tokio::select! {
                    message = receiver.recv() => seen.push(message.unwrap()),
                    () = sender.sleep(SECOND) => sender.send("a second").await.unwrap(),
                }
            }
            tokio::select! {
                () = session.sleep(SECOND) => session.send("in time").await.unwrap(),
                message = session.recv() => panic!("there is no message: {message:?}"),
            }
            seen
        })
        .await;
        tested.peer.text("one").await;
        tested.peer.expect_text("a second").await;
        tested.peer.text("two").await;
        tested.peer.expect_text("in time").await;
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await.expect("it returned"), ["one", "two"]);
    });
}

/// A message passes through in chunks: a reader and a writer at once.
#[test]
fn a_session_reads_and_writes_in_chunks_at_once() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |mut session: Session| {
            let (sender, receiver): (&Sender, _) = session.halves();
            let mut reader = receiver.reader().await.unwrap();
            let mut writer = sender.writer().await.unwrap();
            while let Some(chunk) = reader.chunk().await.unwrap() {
                writer.write(chunk).await.unwrap();
            }
            writer.finish(Message::text("")).await.unwrap();
            sender.close(CloseCode::NORMAL);
        })
        .await;
        tested.peer.send(tested.peer.write.frame(0x01, "one, ")).await;
        tested.peer.send(tested.peer.write.frame(0x80, "two")).await;
        let mut text = Vec::new();
        loop {
            let frame = tested.peer.frame().await;
            text.extend_from_slice(&frame.payload);
            if frame.first & 0x80 != 0 {
                break;
            }
        }
        assert_eq!(text, b"one, two");
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert!(tested.output.await.is_some());
    });
}
