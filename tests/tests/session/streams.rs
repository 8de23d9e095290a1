//! Readers: a message as it arrives, in the session's own task and in another one.

use std::time::Duration;

use bytes::Bytes;
use sockless_core::{Cause, Closed, Config, Instant, Message, ProtocolError, Role};
use sockless_driver::{BoxFuture, Receiver, Session};
use sockless_sim::Sim;
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, TEXT, TEXT_BEGINS};

use sockless_tests::opened::{
    SECOND, Tested, any_link, on_both_sides, open, open_over, receive_all,
};

/// Where the receiver lives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Home {
    Handler,
    Task,
}

const HOMES: [Home; 2] = [Home::Handler, Home::Task];

/// Opens a session whose receiver `receive` has, in the handler or in a task of its own.
async fn open_at<T: Send + 'static>(
    sim: &Sim,
    role: Role,
    home: Home,
    config: Config,
    receive: impl FnOnce(Receiver, Sim) -> BoxFuture<'static, T> + Send + 'static,
) -> Tested<T> {
    let clock = sim.clone();
    open(sim, role, config, async move |session: Session| {
        let (sender, receiver) = session.split();
        let receiving = receive(receiver, clock.clone());
        let received = match home {
            Home::Handler => receiving.await,
            Home::Task => clock.spawn(receiving).await,
        };
        drop(sender);
        received
    })
    .await
}

/// All chunks of the next message, and when they came.
async fn chunks(receiver: &mut Receiver, clock: &Sim) -> Result<Vec<(Bytes, Instant)>, Closed> {
    let mut reader = receiver.reader().await?;
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.chunk().await? {
        assert_eq!(chunk.is_text(), reader.is_text());
        chunks.push((chunk.into_bytes(), clock.now()));
    }
    Ok(chunks)
}

fn at(seconds: u32) -> Instant {
    Instant::EPOCH + SECOND * seconds
}

#[test]
fn fragments_a_second_apart_come_a_second_apart() {
    for home in HOMES {
        on_both_sides(5, |sim, role| async move {
            let tested = open_at(&sim, role, home, Config::default(), |mut receiver, clock| {
                Box::pin(async move { chunks(&mut receiver, &clock).await })
            })
            .await;
            for (first, text) in [(TEXT_BEGINS, "one"), (GOES_ON, "two"), (ENDS, "three")] {
                sim.sleep(SECOND).await;
                tested.peer.send(tested.peer.write.frame(first, text)).await;
            }
            tested.peer.close_and_drain_any().await;
            tested.peer.io.shutdown().await.unwrap();
            let chunks = tested.output.await.expect("it returned").unwrap();
            let expected = [("one", at(1)), ("two", at(2)), ("three", at(3))];
            assert_eq!(chunks, expected.map(|(text, at)| (Bytes::from(text), at)), "{home:?}");
        });
    }
}

#[test]
fn a_long_frame_is_delivered_in_chunks_as_it_arrives() {
    for home in HOMES {
        on_both_sides(5, |sim, role| async move {
            let tested = open_at(&sim, role, home, Config::default(), |mut receiver, clock| {
                Box::pin(async move { chunks(&mut receiver, &clock).await })
            })
            .await;
            let payload: Vec<u8> = (0..=255).cycle().take(100_000).collect();
            let frame = tested.peer.write.binary(&payload);
            let header_len = frame.len() - payload.len();
            let (mut from, mut expected) = (0, Vec::new());
            for (i, len) in [5, 1_000, 30_000, 68_995].into_iter().enumerate() {
                sim.sleep(SECOND).await;
                let to = from + len + if i == 0 { header_len } else { 0 };
                tested.peer.send(&frame[from..to]).await;
                let at = at(i as u32 + 1);
                expected.extend(std::iter::repeat_n(at, len));
                from = to;
            }
            tested.peer.close_and_drain_any().await;
            tested.peer.io.shutdown().await.unwrap();
            let chunks = tested.output.await.expect("it returned").unwrap();
            assert!(chunks.iter().all(|(chunk, _)| chunk.len() <= 16 << 10));
            let joined: Vec<u8> = chunks.iter().flat_map(|(chunk, _)| chunk.to_vec()).collect();
            assert!(joined == payload, "{home:?}");
            let times: Vec<Instant> =
                chunks.iter().flat_map(|(chunk, at)| vec![*at; chunk.len()]).collect();
            assert!(times == expected, "each byte is given when it comes, {home:?}");
        });
    }
}

#[test]
fn a_reader_that_comes_late_gets_at_once_what_has_arrived() {
    for home in HOMES {
        on_both_sides(5, |sim, role| async move {
            let tested = open_at(&sim, role, home, Config::default(), |mut receiver, clock| {
                Box::pin(async move {
                    clock.sleep(SECOND * 10).await;
                    chunks(&mut receiver, &clock).await
                })
            })
            .await;
            // It lies in the read buffer, as it is no longer than a message that comes whole.
            let frame = tested.peer.write.binary(vec![7; 100_000]);
            let (begun, rest) = frame.split_at(frame.len() - 10_000);
            tested.peer.send(begun).await;
            sim.sleep(SECOND * 20).await;
            tested.peer.send(rest).await;
            tested.peer.close_and_drain_any().await;
            tested.peer.io.shutdown().await.unwrap();
            let chunks = tested.output.await.expect("it returned").unwrap();
            let by = |time| {
                let by_then = chunks.iter().filter(|(_, at)| *at <= time);
                by_then.map(|(chunk, _)| chunk.len()).sum::<usize>()
            };
            assert_eq!((by(at(10)), by(at(20))), (90_000, 100_000), "{home:?}");
        });
    }
}

#[test]
fn a_chunk_never_cuts_a_character() {
    for home in HOMES {
        on_both_sides(5, |sim, role| async move {
            let tested = open_at(&sim, role, home, Config::default(), |mut receiver, clock| {
                Box::pin(async move { chunks(&mut receiver, &clock).await })
            })
            .await;
            for byte in tested.peer.write.text("a€𐍈") {
                tested.peer.send([byte]).await;
                sim.sleep(SECOND).await;
            }
            tested.peer.close_and_drain_any().await;
            tested.peer.io.shutdown().await.unwrap();
            let chunks = tested.output.await.expect("it returned").unwrap();
            let chunks: Vec<&[u8]> = chunks.iter().map(|(chunk, _)| &chunk[..]).collect();
            assert_eq!(chunks, ["a", "€", "𐍈"].map(str::as_bytes));
        });
    }
}

/// Some of what a receiver may do: reads, dropped readers, `recv`.
async fn receive_any(receiver: &mut Receiver, clock: &Sim) -> (Vec<Option<Message>>, Closed) {
    let mut received = Vec::new();
    loop {
        let how = clock.draw(0..3);
        if how == 0 {
            match receiver.recv().await {
                Ok(message) => received.push(Some(message)),
                Err(closed) => return (received, closed),
            }
            continue;
        }
        let mut reader = match receiver.reader().await {
            Ok(reader) => reader,
            Err(closed) => return (received, closed),
        };
        let most = if how == 1 { u64::MAX } else { clock.draw(0..3) };
        let (is_text, mut bytes) = (reader.is_text(), Vec::new());
        let mut is_whole = false;
        for _ in 0..most {
            match reader.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk.as_bytes()),
                Ok(None) => {
                    is_whole = true;
                    break;
                }
                Err(closed) => return (received, closed),
            }
            if clock.draw(0..4) == 0 {
                clock.sleep(Duration::from_millis(clock.draw(0..50))).await;
            }
        }
        received.push(is_whole.then(|| match is_text {
            true => String::from_utf8(bytes).unwrap().into(),
            false => bytes.into(),
        }));
    }
}

#[test]
fn joined_chunks_are_the_message_even_if_a_reader_is_dropped_in_between() {
    for home in HOMES {
        on_both_sides(60, |sim, role| async move {
            let mut config = Config::default();
            if sim.draw(0..2) == 0 {
                config = config.recv_chunk_len(4 + sim.draw(0..500) as usize);
            }
            if sim.draw(0..2) == 0 {
                config = config.read_ahead(sim.draw(0..2_000) as usize);
            }
            let (link, clock) = (any_link(&sim), sim.clone());
            let tested = open_over(&sim, role, &link, config, async move |session: Session| {
                let (sender, mut receiver) = session.split();
                let spawner = clock.clone();
                let receiving = async move { receive_any(&mut receiver, &clock).await };
                let received = match home {
                    Home::Handler => receiving.await,
                    Home::Task => spawner.spawn(receiving).await,
                };
                drop(sender);
                received
            })
            .await;
            let mut sent = Vec::new();
            for _ in 0..8 {
                let len = (sim.draw(0..3_000) / (1 + sim.draw(0..30))) as usize;
                let text: String = "aä€𐍈".chars().cycle().take(len).collect();
                let bytes = text.as_bytes();
                let cut = sim.draw(0..bytes.len() as u64 + 1) as usize;
                let (begins, whole) =
                    [(TEXT_BEGINS, TEXT), (BINARY_BEGINS, BINARY)][sim.draw(0..2) as usize];
                match sim.draw(0..2) {
                    0 => tested.peer.send(tested.peer.write.frame(whole, bytes)).await,
                    _ => {
                        tested.peer.send(tested.peer.write.frame(begins, &bytes[..cut])).await;
                        sim.sleep(Duration::from_millis(sim.draw(0..50))).await;
                        tested.peer.send(tested.peer.write.frame(ENDS, &bytes[cut..])).await;
                    }
                }
                sent.push(match whole {
                    TEXT => Message::from(text),
                    _ => Message::from(text.into_bytes()),
                });
            }
            assert_eq!(tested.peer.close_and_drain(1000).await, []);
            tested.peer.io.shutdown().await.unwrap();
            let (received, closed) = tested.output.await.expect("it returned");
            assert!(closed.is_clean());
            assert_eq!(received.len(), sent.len(), "{home:?}");
            for (received, sent) in received.iter().zip(&sent) {
                assert!(received.as_ref().is_none_or(|received| received == sent), "{home:?}");
            }
        });
    }
}

/// Settings that hold 1 000 bytes, and stream 100 000.
fn streaming() -> Config {
    Config::default().max_message_len(1_000).max_streamed_len(100_000).read_ahead(5_000)
}

#[test]
fn a_reader_takes_what_is_too_long_to_be_held() {
    for home in HOMES {
        on_both_sides(10, |sim, role| async move {
            let tested = open_at(&sim, role, home, streaming(), |mut receiver, clock| {
                Box::pin(async move {
                    let long = chunks(&mut receiver, &clock).await?;
                    let next = receiver.recv().await?;
                    let closed = chunks(&mut receiver, &clock).await.unwrap_err();
                    Ok::<_, Closed>((long, next, closed))
                })
            })
            .await;
            tested.peer.send(tested.peer.write.binary(vec![7; 100_000])).await;
            tested.peer.send(tested.peer.write.binary([7; 1_000])).await;
            tested.peer.send(tested.peer.write.header(BINARY, 100_001)).await;
            tested.peer.expect_close(1009).await;
            tested.peer.io.shutdown().await.unwrap();
            let (long, next, closed) = tested.output.await.expect("it returned").unwrap();
            assert!(long.iter().all(|(chunk, _)| chunk.len() <= 1_000));
            assert_eq!(long.iter().map(|(chunk, _)| chunk.len()).sum::<usize>(), 100_000);
            assert_eq!(next.len(), 1_000);
            let error = ProtocolError::StreamTooLong { len: 100_001, max: 100_000 };
            assert_eq!(closed.cause(), &Cause::Protocol(error));
        });
    }
}

#[test]
fn recv_refuses_what_is_too_long_to_be_held_and_all_behind_it() {
    for home in HOMES {
        on_both_sides(10, |sim, role| async move {
            let config = streaming().read_ahead(1 << 20);
            let tested = open_at(&sim, role, home, config, |mut receiver, clock| {
                Box::pin(async move {
                    let first = receiver.recv().await?;
                    // The rest is read ahead meanwhile.
                    clock.sleep(SECOND).await;
                    let closed = receiver.recv().await.unwrap_err();
                    assert_eq!(receiver.recv().await, Err(closed.clone()));
                    Ok::<_, Closed>((first, closed))
                })
            })
            .await;
            tested.peer.text("first").await;
            tested.peer.send(tested.peer.write.binary([7; 1_001])).await;
            tested.peer.text("behind").await;
            tested.peer.expect_close(1009).await;
            tested.peer.io.shutdown().await.unwrap();
            let (first, closed) = tested.output.await.expect("it returned").unwrap();
            assert_eq!(first, Message::from("first"));
            let error = ProtocolError::MessageTooLong { len: 1_001, max: 1_000 };
            assert_eq!(closed.cause(), &Cause::Protocol(error), "{home:?}");
        });
    }
}

#[test]
fn recv_gives_nothing_from_behind_what_it_refused_though_the_peer_has_closed() {
    on_both_sides(10, |sim, role| async move {
        let clock = sim.clone();
        let config = streaming().read_ahead(1 << 20);
        let tested = open(&sim, role, config, async move |mut session| {
            clock.sleep(SECOND).await;
            receive_all(&mut session).await
        })
        .await;
        tested.peer.text("first").await;
        tested.peer.send(tested.peer.write.binary([7; 1_001])).await;
        tested.peer.text("behind").await;
        assert_eq!(tested.peer.close_and_drain(1000).await, []);
        tested.peer.io.shutdown().await.unwrap();
        let (messages, closed) = tested.output.await.expect("it returned");
        assert_eq!(messages, [Message::from("first")]);
        assert!(closed.is_clean());
    });
}
