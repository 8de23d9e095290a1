//! Much of everything: messages, bytes, conversations, refusals.

use std::sync::Arc;

use sockless_core::{Config, Message, Role};
use sockless_driver::{ConnectionServer, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Link, Sim};

use sockless_tests::opened::{any_link, echo, open, receive_all};

#[test]
fn a_hundred_thousand_small_messages_arrive_in_order() {
    const COUNT: u32 = 100_000;
    Sim::check(0..1, |sim| async move {
        let receiver = async |mut session: Session| receive_all(&mut session).await.0;
        let tested = open(&sim, Role::Server, Config::default(), receiver).await;
        for batch in 0..COUNT / 1_000 {
            let numbers = batch * 1_000..(batch + 1) * 1_000;
            let frames: Vec<u8> =
                numbers.flat_map(|i| tested.peer.write.binary(i.to_be_bytes())).collect();
            tested.peer.send(frames).await;
        }
        tested.peer.close(1000).await;
        tested.peer.expect_close(1000).await;
        let messages = tested.output.await.expect("it returned");
        assert_eq!(messages.len(), COUNT as usize);
        for (i, message) in messages.iter().enumerate() {
            assert_eq!(message.as_bytes(), (i as u32).to_be_bytes());
        }
    });
}

#[test]
fn a_hundred_thousand_small_messages_leave_in_order() {
    const COUNT: u32 = 100_000;
    Sim::check(0..1, |sim| async move {
        let tested = open(&sim, Role::Server, Config::default(), async |session| {
            for i in 0..COUNT {
                session.send(i.to_be_bytes().to_vec()).await.unwrap();
            }
        })
        .await;
        for i in 0..COUNT {
            let frame = tested.peer.io.read_exact(6).await.unwrap();
            assert_eq!(&frame[2..], i.to_be_bytes());
        }
        tested.peer.expect_close(1000).await;
    });
}

#[test]
fn twenty_mebibytes_go_both_ways() {
    Sim::check(0..2, |sim| async move {
        let config = Config::default().max_message_len(20 << 20);
        let router = Router::new()
            .websockets(config.clone())
            .route("/echo", websocket(async |session| drop(echo(session).await)));
        let link = Link::default().capacity(1 << 20).short_reads(300_000).short_writes(300_000);
        let server = sim.bind_over("server", &link);
        sim.spawn(server.serve(router));
        let mut session = sim.connect("ws://server/echo").config(config).await.unwrap();
        for text in [true, false] {
            let bytes: Vec<u8> = (b'a'..=b'z').cycle().take(20 << 20).collect();
            let message = match text {
                true => Message::from(String::from_utf8(bytes).unwrap()),
                false => Message::from(bytes),
            };
            session.send(message.clone()).await.unwrap();
            // Not by `assert_eq`, which would print it.
            assert!(session.recv().await.unwrap() == message);
        }
    });
}

#[test]
fn a_hundred_conversations_in_one_router_do_not_mix() {
    Sim::check(0..5, |sim| async move {
        let handler = async |mut session: Session| {
            let name = session.request().param_str("name").expect("it is in the path").to_owned();
            while let Ok(message) = session.recv().await {
                let reply = format!("{name}: {}", message.as_text().unwrap());
                session.send(reply).await?;
            }
            Ok::<_, sockless_core::Closed>(())
        };
        let router = Router::new().route("/talk/{name}", websocket(handler));
        let host = ConnectionServer::new(router, sim.runtime());
        let (server, spawner, serving) =
            (sim.listen_over("server", &any_link(&sim)), sim.clone(), host.clone());
        sim.spawn(async move {
            let mut server = server;
            loop {
                let io = server.accept().await;
                spawner.spawn(serving.serve_connection(Box::new(io), None, None));
            }
        });
        let talks: Vec<_> = (0..100)
            .map(|i| {
                let client = sim.clone();
                sim.spawn(async move {
                    let talk = async |mut session: Session| {
                        for turn in 0..10 {
                            session.send(format!("turn {turn}")).await.unwrap();
                            let reply = session.recv().await.unwrap();
                            assert_eq!(reply, Message::from(format!("client-{i}: turn {turn}")));
                        }
                    };
                    client
                        .connect(&format!("ws://server/talk/client-{i}"))
                        .run(talk)
                        .await
                        .unwrap();
                })
            })
            .collect();
        for talk in talks {
            talk.await;
        }
        sim.sleep(sockless_tests::opened::SECOND).await;
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn ten_thousand_upgrades_to_nowhere_leave_no_task_behind() {
    Sim::check(0..1, |sim| async move {
        let served = Arc::new(());
        let handler = {
            let held = Arc::clone(&served);
            move |session: Session| {
                let held = Arc::clone(&held);
                async move { drop((session, held)) }
            }
        };
        let host =
            ConnectionServer::new(Router::new().route("/here", websocket(handler)), sim.runtime());
        for i in 0..10_000 {
            let (near, far) = sim.pipe();
            let serving = sim.spawn(host.serve_connection(Box::new(near), None, None));
            let request =
                sockless_tests::opened::REQUEST.replace("GET /", &format!("GET /nowhere/{i}"));
            far.write_all(request.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let answer = far.read_to_end().await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 404 "), "{answer:?}");
            serving.await;
        }
        assert_eq!(host.connections(), 0);
        assert_eq!(Arc::strong_count(&served), 2, "one here, one in the route");
        assert_eq!(sim.now(), sockless_core::Instant::EPOCH);
    });
}
