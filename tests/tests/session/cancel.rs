//! Nothing is lost, doubled or stuck when a future is dropped, at whichever await.

use std::sync::Arc;
use std::time::Duration;

use sockless_core::{Cause, CloseCode, Config, Frame, Instant, Opcode};
use sockless_driver::{ClientConnection, ConnectionServer, RawSession};
use sockless_routing::{Router, websocket, websocket_raw};
use sockless_sim::{Link, Sim, poll_at_most};
use sockless_tests::wire::BINARY;

use sockless_tests::opened::{
    HOUR, Once, Peer, REQUEST, SECOND, any_link, as_str, echo, on_both_sides, open, open_over,
};

#[test]
fn a_dropped_recv_loses_no_message() {
    on_both_sides(40, |sim, role| async move {
        let (link, chance) = (any_link(&sim), sim.clone());
        let tested = open_over(&sim, role, &link, Config::default(), async move |mut session| {
            let mut texts = Vec::new();
            loop {
                let polls = chance.draw(0..4) as usize;
                match poll_at_most(polls, session.recv()).await {
                    Some(Ok(message)) => texts.push(message.as_text().unwrap().to_owned()),
                    Some(Err(closed)) => return (texts, closed),
                    None => chance.sleep(Duration::from_millis(chance.draw(0..20))).await,
                }
            }
        })
        .await;
        let expected: Vec<_> = (0..100).map(|i| format!("message {i}")).collect();
        for text in &expected {
            tested.peer.text(text).await;
        }
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let (texts, closed) = tested.output.await.expect("it returned");
        assert_eq!(texts, expected);
        assert!(closed.is_clean());
    });
}

#[test]
fn a_dropped_send_has_sent_nothing_and_a_finished_one_has_sent_once() {
    on_both_sides(40, |sim, role| async move {
        let chance = sim.clone();
        let config = Config::default().high_water(500);
        let link = any_link(&sim).capacity(300);
        let tested = open_over(&sim, role, &link, config, async move |session| {
            let mut sent = Vec::new();
            for i in 0..200 {
                let text = format!("message {i} {}", "x".repeat(chance.draw(0..100) as usize));
                let polls = chance.draw(0..4) as usize;
                match poll_at_most(polls, session.send(text.clone())).await {
                    Some(result) => {
                        result.unwrap();
                        sent.push(text);
                    }
                    None => chance.sleep(Duration::from_millis(chance.draw(0..20))).await,
                }
            }
            session.flush().await.unwrap();
            sent
        })
        .await;
        let mut texts = Vec::new();
        loop {
            let frame = tested.peer.frame().await;
            if frame.first == 0x88 {
                break;
            }
            texts.push(as_str(&frame).to_owned());
        }
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await.expect("it returned"), texts);
        assert!(!texts.is_empty());
    });
}

#[test]
fn a_dropped_flush_or_closed_leaves_the_session_as_it_was() {
    on_both_sides(20, |sim, role| async move {
        let clock = sim.clone();
        let narrow = Link::default().capacity(100).latency(SECOND / 10);
        let tested = open_over(&sim, role, &narrow, Config::default(), async move |mut session| {
            session.send("x".repeat(2_000)).await.unwrap();
            for polls in 0..5 {
                assert_eq!(poll_at_most(polls, session.flush()).await, None);
                assert_eq!(poll_at_most(polls.min(1), session.closed()).await, None);
            }
            session.flush().await.unwrap();
            assert!(clock.now() > Instant::EPOCH + SECOND);
            let end = session.recv().await.unwrap_err();
            (end, session.closed().await)
        })
        .await;
        assert_eq!(tested.peer.frame().await.payload.len(), 2_000);
        assert_eq!(tested.peer.close_and_drain(1000).await, []);
        tested.peer.io.shutdown().await.unwrap();
        let (end, closed) = tested.output.await.expect("it returned");
        assert_eq!(end, closed);
    });
}

#[test]
fn dropped_futures_of_a_raw_session_lose_and_double_no_frame() {
    Sim::check(0..40, |sim| async move {
        let chance = sim.clone();
        let handler = move |mut session: RawSession| {
            let chance = chance.clone();
            async move {
                let mut echoed = None;
                loop {
                    let polls = chance.draw(0..4) as usize;
                    if let Some(frame) = echoed.take() {
                        let frame: Frame = frame;
                        match poll_at_most(polls, session.send(frame.clone())).await {
                            Some(result) => result.unwrap(),
                            None => echoed = Some(frame),
                        }
                        poll_at_most(polls, session.flush()).await;
                        continue;
                    }
                    match poll_at_most(polls, session.recv()).await {
                        Some(Ok(frame)) if frame.opcode == Opcode::Close => {
                            return session.send(frame).await.unwrap();
                        }
                        Some(Ok(frame)) => echoed = Some(frame),
                        Some(Err(_)) => return,
                        None => chance.sleep(Duration::from_millis(chance.draw(0..20))).await,
                    }
                }
            }
        };
        let config = Config::default().high_water(200);
        let router = Router::new().websockets(config).route("/", websocket_raw(handler));
        let (near, far) = sim.pipe_over(&any_link(&sim));
        let serving = sim.spawn(sim.serve_connection(near, router));
        let peer = Arc::new(Peer::of_a_server(far).await);
        let writer = Arc::clone(&peer);
        sim.spawn(async move {
            for i in 0..100 {
                writer.text(&format!("message {i}")).await;
            }
            writer.close(1000).await;
        });
        for i in 0..100 {
            peer.expect_text(&format!("message {i}")).await;
        }
        peer.expect_close(1000).await;
        assert_eq!(peer.rest().await, []);
        peer.io.shutdown().await.unwrap();
        serving.await;
    });
}

#[test]
fn a_connect_dropped_at_any_await_leaves_nothing_behind() {
    let connected = |polls| {
        let (sim, mut ended) = (Sim::new(polls), None);
        sim.run(async {
            let link = Link::default().latency(SECOND);
            let mut listener = sim.listen_over("server", &link);
            let router = Router::new().route("/", websocket(async |s| drop(echo(s).await)));
            let host = ConnectionServer::new(router, sim.runtime());
            let serving = host.clone();
            let spawner = sim.clone();
            sim.spawn(async move {
                loop {
                    let io = listener.accept().await;
                    spawner.spawn(serving.serve_connection(Box::new(io), None, None));
                }
            });
            let url = "ws://server/";
            let session = poll_at_most(polls as usize, sim.connect(url).into_future()).await;
            ended = Some(session.is_some());
            if let Some(session) = session {
                assert_eq!(host.connections(), 1);
                drop(session.unwrap());
            }
            sim.sleep(SECOND * 20).await;
            assert_eq!(host.connections(), 0, "after {polls} polls");
        });
        ended.expect("it ran")
    };
    let last = (0..50).find(|&polls| connected(polls)).expect("it connects");
    assert!(last >= 3, "there are awaits to drop it at: {last}");
}

#[test]
fn a_run_dropped_at_any_await_takes_its_transport_along() {
    for polls in 0..11 {
        let sim = Sim::new(polls as u64);
        sim.run(async {
            let (near, far) = sim.pipe_over(&Link::default().latency(SECOND));
            let accepting = sim.spawn(Peer::of_a_client(far));
            let request = http::Request::get("ws://server/").body(()).unwrap();
            let runtime = sim.runtime();
            let connected =
                ClientConnection::handshake(Box::new(near), request, Arc::default(), runtime)
                    .await
                    .unwrap();
            let peer = accepting.await;
            let clock = sim.clone();
            let sender = Arc::new(std::sync::Mutex::new(None));
            let out = Arc::clone(&sender);
            let running = connected.run(async move |session| {
                *out.lock().unwrap() = Some(session.sender());
                for _ in 0..10 {
                    session.send("tick").await.unwrap();
                    clock.sleep(SECOND).await;
                }
                clock.sleep(HOUR).await;
            });
            assert_eq!(poll_at_most(polls, running).await, None);
            // The peer and every handle see the end.
            let frames = peer.rest().await;
            assert!(frames.iter().all(|frame| frame.first == 0x81), "{frames:?}");
            let sender = sender.lock().unwrap().take();
            if let Some(sender) = sender {
                let closed = sender.closed().await;
                assert_eq!(closed.cause(), &Cause::Aborted);
                assert_eq!(sender.send("too late").await, Err(closed));
            }
        });
    }
}

#[test]
fn a_shutdown_dropped_at_any_await_can_be_taken_up_again() {
    for polls in 0..2 {
        let sim = Sim::new(polls as u64);
        sim.run(async {
            let host = ConnectionServer::new(
                Router::new().route("/", websocket(async |s| drop(echo(s).await))),
                sim.runtime(),
            );
            let mut peers = Vec::new();
            for _ in 0..3 {
                let (near, far) = sim.pipe();
                sim.spawn(host.serve_connection(Box::new(near), None, None));
                peers.push(Peer::of_a_server(far).await);
            }
            let first = poll_at_most(polls, host.shutdown(SECOND)).await;
            assert_eq!(first, None, "the peers have not answered");
            sim.settle().await;
            // Dropping it has terminated none.
            assert_eq!(host.connections(), 3);
            let again = host.clone();
            let clock = sim.clone();
            let shutdown = sim.spawn(async move { (again.shutdown(SECOND).await, clock.now()) });
            // It reports the connections that are open when it is first polled.
            sim.settle().await;
            for peer in &peers[..2] {
                peer.expect_close(1001).await;
                peer.close(1001).await;
            }
            let (report, at) = shutdown.await;
            assert_eq!((report.drained, report.terminated), (2, 1));
            assert_eq!(at, Instant::EPOCH + SECOND);
            assert_eq!(host.connections(), 0);
        });
    }
}

#[test]
fn a_serve_connection_dropped_at_any_await_takes_transport_and_handler_along() {
    for polls in 0..8 {
        let sim = Sim::new(polls as u64);
        sim.run(async {
            let (near, far) = sim.pipe();
            let (clock, noticed) = (sim.clone(), Arc::new(()));
            let held = Arc::clone(&noticed);
            let service = Once::new(Config::default(), async move |session| {
                for _ in 0..20 {
                    session.send("tick").await.unwrap();
                    clock.sleep(SECOND).await;
                }
                drop(held);
            });
            let host = ConnectionServer::new(service, sim.runtime());
            let serving = host.serve_connection(Box::new(near), None, None);
            far.write_all(REQUEST.as_bytes()).await.unwrap();
            assert_eq!(host.connections(), 1);
            assert_eq!(poll_at_most(polls, serving).await, None);
            assert_eq!(host.connections(), 0);
            drop(host);
            assert_eq!(Arc::strong_count(&noticed), 1, "the handler is gone");
            far.read_to_end().await.expect("the stream has ended");
        });
    }
}

#[test]
fn senders_that_stop_waiting_leave_the_others_their_turn() {
    on_both_sides(20, |sim, role| async move {
        let spawner = sim.clone();
        let config = Config::default().high_water(100);
        let narrow = Link::default().capacity(100);
        let tested = open_over(&sim, role, &narrow, config, async move |session| {
            session.send(vec![0; 1000]).await.unwrap();
            let tasks: Vec<_> = (1..=20)
                .map(|i: u8| {
                    let (sender, clock) = (session.sender(), spawner.clone());
                    spawner.spawn(async move {
                        let patience = Duration::from_millis(clock.draw(0..200));
                        let sending = sender.send(vec![i; 50]);
                        clock.timeout(patience, sending).await.map(|sent| sent.map(|()| i))
                    })
                })
                .collect();
            let mut sent = Vec::new();
            for task in tasks {
                sent.extend(task.await.map(Result::unwrap));
            }
            session.close(CloseCode::NORMAL);
            sent
        })
        .await;
        sim.sleep(SECOND / 10).await;
        assert_eq!(tested.peer.frame().await.payload.len(), 1000);
        let mut received = Vec::new();
        loop {
            let frame = tested.peer.frame().await;
            if frame.first != BINARY {
                break;
            }
            received.push(frame.payload[0]);
        }
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        received.sort_unstable();
        assert_eq!(tested.output.await.expect("it returned"), received);
    });
}

#[test]
fn a_close_that_is_only_asked_for_needs_no_future() {
    on_both_sides(10, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |session| {
            session.close(CloseCode::GOING_AWAY);
            poll_at_most(1, session.closed()).await
        })
        .await;
        tested.peer.expect_close(1001).await;
        tested.peer.close(1001).await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(None));
    });
}
