//! Messages that wait in a session: replaced, cancelled, passed by others, dropped by a failure.

use sockless_core::{Cause, CloseCode, Config, Message, Priority};
use sockless_sim::Link;

use sockless_tests::opened::{SECOND, as_str, on_both_sides, open_over};

/// A link that takes so little that what follows a long message waits.
fn narrow() -> Link {
    Link::default().capacity(1_000)
}

const LONG: usize = 30_000;

#[test]
fn a_peer_that_reads_slowly_gets_the_latest_and_the_urgent_first() {
    on_both_sides(10, |sim, role| async move {
        let tested = open_over(&sim, role, &narrow(), Config::default(), async |session| {
            session.send(vec![7; LONG]).await.unwrap();
            session.send(Message::from("bulk").priority(Priority::Bulk)).await.unwrap();
            for number in 0..50 {
                session.send(Message::from(format!("at {number}")).latest(1)).await.unwrap();
            }
            session.send(Message::from("cancelled").latest(2)).await.unwrap();
            session.send(Message::from("stop").priority(Priority::Urgent)).await.unwrap();
            assert_eq!(session.cancel(2).unwrap().into_message(), Message::from("cancelled"));
            assert!(session.cancel(2).is_none());
            session.flush().await.unwrap();
            assert!(session.cancel(1).is_none(), "it was sent");
        })
        .await;
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.frame().await.payload.len(), LONG);
        for expected in ["stop", "at 49", "bulk"] {
            assert_eq!(as_str(&tested.peer.frame().await), expected);
        }
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(()));
    });
}

#[test]
fn a_full_queue_takes_what_replaces_a_message_that_waits() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().high_water(LONG + 1_000);
        let tested = open_over(&sim, role, &narrow(), config, async |session| {
            let sender = session.sender();
            session.send(vec![7; LONG]).await.unwrap();
            session.send(Message::from("old").latest(1)).await.unwrap();
            while sender.try_send(Message::from("filler").priority(Priority::Bulk)).is_ok() {}
            sender.try_send(Message::from("new").latest(1)).unwrap();
            session.send(Message::from("newest").latest(1)).await.unwrap();
            assert!(sender.try_send(Message::from("other").latest(2)).is_err());
        })
        .await;
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.frame().await.payload.len(), LONG);
        assert_eq!(as_str(&tested.peer.frame().await), "newest");
        tested.peer.close_and_drain(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(()));
    });
}

#[test]
fn a_failed_session_sends_its_reason_ahead_of_what_waits() {
    on_both_sides(10, |sim, role| async move {
        let tested = open_over(&sim, role, &narrow(), Config::default(), async |session| {
            session.send(vec![7; LONG]).await.unwrap();
            session.send(vec![8; LONG]).await.unwrap();
            session.send(Message::from("latest").latest(1)).await.unwrap();
            session.fail((CloseCode::INTERNAL_ERROR, "given up"));
            session.closed().await
        })
        .await;
        sim.sleep(SECOND).await;
        // Of the first frame a part may have left.
        let mut frame = tested.peer.frame().await;
        if frame.payload.len() == LONG {
            frame = tested.peer.frame().await;
        }
        assert_eq!(&frame.payload[2..], b"given up");
        tested.peer.io.shutdown().await.unwrap();
        let closed = tested.output.await.expect("it returned");
        assert_eq!(closed.cause(), &Cause::Failed);
        assert_eq!(closed.sent().map(|reason| reason.text()), Some("given up"));
    });
}
