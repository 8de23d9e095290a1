//! The closing handshake of sessions whose peers are slow, talk on, or do not answer, by name.

use std::time::Duration;

use sockless_core::{Cause, CloseCode, Closed, Config, Message, Party, Role, Timeout};
use sockless_driver::Session;
use sockless_sim::{Link, Sim};
use sockless_tests::end::BOTH;
use sockless_tests::wire::CLOSE;
use tokio::sync::oneshot;

use crate::expected::PROMPT;
use crate::peer::{Frames, read_at_rate};
use crate::world::World;
use sockless_tests::opened::{HOUR, Once, SECOND, close_code};

const LONG: usize = 64 << 10;

fn tcp() -> [Link; 2] {
    let link = Link::tcp().latency(Duration::from_millis(10));
    [link.clone(), link]
}

/// A handler that sends as many long messages, and returns.
async fn send_and_return(session: Session, messages: usize) {
    for _ in 0..messages {
        session.send(Message::from(vec![7; LONG])).await.expect("the peer reads");
    }
}

fn assert_all_came(frames: &Frames, messages: usize) {
    let code = frames.close.as_ref().and_then(close_code);
    let got = (frames.messages, frames.payload, code, frames.after_close);
    assert_eq!(got, (messages, messages * LONG, Some(1000), 0));
}

fn assert_clean(closed: &Closed, by: Party) {
    assert_eq!(
        (closed.by(), closed.cause(), closed.is_clean()),
        (by, &Cause::ClosingHandshake, true)
    );
}

#[test]
fn a_peer_that_reads_slowly_gets_all_that_was_sent_and_the_close_frame() {
    for role in BOTH {
        Sim::check(0..3, |sim| async move {
            let handler = |session| send_and_return(session, 32);
            // The queue at the close takes the peer longer to read than the closing timeout.
            let config = Config::default().high_water(1 << 20);
            let world = World::open(&sim, role, tcp(), config, handler).await;
            let (frames, end) =
                read_at_rate(&sim, &world.peer, 8 << 10, Duration::from_millis(100)).await;
            assert_all_came(&frames, 32);
            end.expect("the end of the stream");
            assert_clean(&world.closed.await.unwrap().1, Party::Local);
        });
    }
}

#[test]
fn a_peer_that_talks_while_it_reads_slowly_gets_all_that_was_sent_and_a_clean_close() {
    for role in BOTH {
        Sim::check(0..3, |sim| async move {
            let handler = |session| send_and_return(session, 48);
            let config = Config::default().high_water(2 << 20);
            let world = World::open(&sim, role, tcp(), config, handler).await;
            let mut frames = Frames::default();
            for tenths in 1.. {
                let bytes = world.peer.io.read_up_to(20_000).await.expect("no reset");
                if bytes.is_empty() {
                    break;
                }
                for answer in frames.add(&bytes) {
                    world.peer.send(world.peer.write.frame(answer.first, &answer.payload)).await;
                }
                if tenths % 10 == 0 && frames.close.is_none() {
                    world.peer.text("word").await;
                }
                sim.sleep(SECOND / 10).await;
            }
            assert_all_came(&frames, 48);
            assert_clean(&world.closed.await.unwrap().1, Party::Local);
        });
    }
}

#[test]
fn a_server_whose_handler_is_slow_gets_all_that_a_client_sent_before_it_closed() {
    Sim::check(0..3, |sim| async move {
        let [link, _] = tcp();
        let (client, server) = sim.pipe_over(&link);
        let (tell, reported) = oneshot::channel();
        let service = Once::new(Config::default(), |mut session: Session| async move {
            let mut received = 0;
            let closed = loop {
                match session.recv().await {
                    Ok(_) => received += 1,
                    Err(closed) => break closed,
                }
                session.sleep(SECOND).await;
            };
            let _ = tell.send((received, closed));
        });
        sim.spawn(sim.serve_connection(server, service));
        let config = Config::default().high_water(1 << 20);
        let session = sim.connect_over(client, "ws://server/").config(config).await.unwrap();
        for _ in 0..48 {
            session.send(Message::from(vec![7; LONG])).await.expect("the server reads");
        }
        session.close(CloseCode::NORMAL);
        session.closed().await;
        let (received, closed) = reported.await.unwrap();
        assert_eq!(received, 48, "{closed}");
        assert_eq!(closed.received().and_then(|reason| reason.code()), Some(CloseCode::NORMAL));
    });
}

#[test]
fn a_close_completes_promptly_however_much_is_unread() {
    for role in BOTH {
        Sim::check(0..3, |sim| async move {
            let (ask, asked) = oneshot::channel::<()>();
            let handler = |session: Session| async move {
                asked.await.unwrap();
                session.close(CloseCode::NORMAL);
                session.closed().await;
            };
            let world = World::open(&sim, role, tcp(), Config::default(), handler).await;
            // Less than the buffers hold, and more than is read ahead.
            for _ in 0..150 {
                world.peer.text(&"x".repeat(1_000)).await;
            }
            sim.sleep(SECOND).await;
            let began = sim.now();
            ask.send(()).unwrap();
            let close = world.peer.frame().await;
            assert_eq!((close.first, close_code(&close)), (CLOSE, Some(1000)));
            world.peer.send(world.peer.write.frame(CLOSE, &close.payload)).await;
            world.peer.io.shutdown().await.unwrap();
            let (at, closed) = world.closed.await.unwrap();
            assert_clean(&closed, Party::Local);
            let took = at.saturating_since(began);
            assert!(took < SECOND, "it took {took:?}");
        });
    }
}

/// The end of a session whose handler sends 20 KB, for which its transport has no room, and returns.
async fn end_after_returning(sim: &Sim, role: Role, reads: bool) -> (Duration, Closed) {
    let link = Link::tcp().latency(Duration::from_millis(10));
    let links = [link.clone(), link.buffers(2 << 10, 2 << 10)];
    let handler = |session: Session| async move {
        session.send(Message::from(vec![7; 20_000])).await.expect("there is room in the queue");
    };
    let world = World::open(sim, role, links, Config::default(), handler).await;
    let began = sim.now();
    let peer = world.peer;
    let peer = sim.spawn({
        let sim = sim.clone();
        async move {
            while reads && peer.io.read_some().await.is_ok_and(|bytes| !bytes.is_empty()) {}
            sim.sleep(HOUR).await;
            drop(peer);
        }
    });
    let (at, closed) = sim.timeout(HOUR / 2, world.closed).await.expect("it ends").unwrap();
    drop(peer);
    (at.saturating_since(began), closed)
}

#[test]
fn an_unwritten_close_is_distinguished_from_an_unanswered_one() {
    for role in BOTH {
        for (reads, timeout, within) in
            [(false, Timeout::Write, 60 * SECOND), (true, Timeout::Closing, 5 * SECOND)]
        {
            Sim::check(0..3, |sim| async move {
                let (took, closed) = end_after_returning(&sim, role, reads).await;
                let got = (closed.by(), closed.cause());
                assert_eq!(got, (Party::Local, &Cause::Timeout(timeout)), "{closed:?}");
                assert!(took <= within + PROMPT, "it took {took:?}");
            });
        }
    }
}

/// At any rate: the closing timeout is over long before the peer has read what the kernels hold. Its answer
/// to the Close frame may come too late, and be answered with a reset.
#[test]
fn a_peer_that_reads_very_slowly_gets_all_that_was_sent_and_the_close_frame() {
    for role in BOTH {
        for [receive, send] in [[64 << 10, 64 << 10], [64 << 10, 4 << 20]] {
            Sim::check(0..2, |sim| async move {
                let links = tcp().map(|tcp| tcp.buffers(send, receive));
                let handler = |session| send_and_return(session, 8);
                let world = World::open(&sim, role, links, Config::default(), handler).await;
                let (frames, _) =
                    read_at_rate(&sim, &world.peer, 1 << 10, Duration::from_millis(100)).await;
                assert_all_came(&frames, 8);
                let (_, closed) = world.closed.await.unwrap();
                let cause = closed.cause();
                let is_known =
                    matches!(cause, Cause::ClosingHandshake | Cause::Timeout(Timeout::Closing));
                assert!(closed.by() == Party::Local && is_known, "{closed:?}");
            });
        }
    }
}

/// A transport that was dropped when the answer did not come would meet the word with a reset, which takes
/// from the peer what it has not read.
#[test]
fn a_peer_that_speaks_after_the_closing_timeout_gets_all_that_was_sent_and_the_close_frame() {
    for role in BOTH {
        Sim::check(0..3, |sim| async move {
            let handler = |session| send_and_return(session, 1);
            let world = World::open(&sim, role, tcp(), Config::default(), handler).await;
            sim.sleep(SECOND * 7).await;
            world.peer.text("word").await;
            sim.sleep(SECOND).await;
            let (frames, end) = read_at_rate(&sim, &world.peer, 64 << 10, SECOND / 10).await;
            assert_all_came(&frames, 1);
            end.expect("the end of the stream");
            let (_, closed) = world.closed.await.unwrap();
            let got = (closed.by(), closed.cause());
            assert_eq!(got, (Party::Local, &Cause::Timeout(Timeout::Closing)), "{closed:?}");
        });
    }
}

/// Its answers come late by all that the kernels hold before our pings, a minute of its reading; what it
/// takes meanwhile says that it is there.
#[test]
fn a_slow_reader_that_answers_each_ping_on_reading_it_does_not_time_out() {
    for role in BOTH {
        Sim::check(0..2, |sim| async move {
            let links = tcp().map(|tcp| tcp.buffers(2 << 20, 2 << 20));
            let config = Config::default().ping_interval(SECOND * 30).ping_timeout(SECOND * 15);
            let handler = |session| send_and_return(session, 160);
            let world = World::open(&sim, role, links, config, handler).await;
            let (frames, _) = read_at_rate(&sim, &world.peer, 64 << 10, SECOND).await;
            assert_all_came(&frames, 160);
            let (_, closed) = world.closed.await.unwrap();
            let cause = closed.cause();
            let is_known =
                matches!(cause, Cause::ClosingHandshake | Cause::Timeout(Timeout::Closing));
            assert!(closed.by() == Party::Local && is_known, "{closed:?}");
        });
    }
}
