//! Random handlers against random peers over faulty links: nothing panics, nothing hangs, and every
//! session ends exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockless_core::{CloseCode, CloseReason, Config, Overflow};
use sockless_driver::{BoxError, ConnectionServer, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Sim, SimIo, Wire, WireDirection, poll_at_most};
use sockless_tests::wire::Writer;

use sockless_tests::opened::{REQUEST, SECOND, any_link};

#[test]
fn whatever_both_sides_do_every_session_ends_once_and_the_server_is_empty_again() {
    Sim::check(0..600, |sim| async move {
        // Some handlers do.
        sim.tolerate_panics();
        let ended = Arc::new(AtomicUsize::new(0));
        let opened = Arc::new(AtomicUsize::new(0));
        let router = router(&sim, &opened, &ended);
        let host = ConnectionServer::new(router, sim.runtime());
        let mut peers = Vec::new();
        for _ in 0..1 + sim.draw(0..4) {
            let (near, far) = sim.pipe_over(&any_link(&sim));
            let wire = near.wire();
            sim.spawn(host.serve_connection(Box::new(near), None, None));
            let world = sim.clone();
            peers.push(match sim.draw(0..3) {
                0 => sim.spawn(async move { client(&world, far).await }),
                _ => sim.spawn(async move { peer(&world, Arc::new(far), wire).await }),
            });
        }
        if sim.draw(0..4) == 0 {
            sim.sleep(Duration::from_millis(sim.draw(0..20_000))).await;
            let most = SECOND * 20;
            let shutdown = host.shutdown(Duration::from_millis(sim.draw(0..10_000)));
            sim.timeout(most, shutdown).await.expect("a shutdown comes to an end");
            assert_eq!(host.connections(), 0);
        }
        for peer in peers {
            peer.await;
        }
        // Handlers sleep up to ten minutes altogether, deadlines are far shorter.
        sim.sleep(SECOND * 3600).await;
        assert_eq!(host.connections(), 0);
        let (opened, ended) = (opened.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
        assert_eq!(opened, ended, "sessions that were opened and that ended");
    });
}

fn router(sim: &Sim, opened: &Arc<AtomicUsize>, ended: &Arc<AtomicUsize>) -> Router {
    let config = Config::default()
        .high_water(1 + sim.draw(0..5_000) as usize)
        .read_ahead(sim.draw(0..5_000) as usize)
        .max_message_len(sim.draw(100..5_000))
        .ping_interval(SECOND * (1 + sim.draw(0..20) as u32))
        .ping_timeout(SECOND * (1 + sim.draw(0..10) as u32))
        .idle_timeout(SECOND * 60)
        .max_age(SECOND * 600)
        .closing_timeout(SECOND * (1 + sim.draw(0..5) as u32));
    let config = match sim.draw(0..4) {
        0 => config.recv_chunk_len(50 + sim.draw(0..100) as usize),
        1 => config.recv_overflow(Overflow::Close),
        2 => config.send_overflow(Overflow::Close),
        _ => config.max_send_frame_len(1 + sim.draw(0..100) as usize),
    };
    let (world, opened, ended) = (sim.clone(), Arc::clone(opened), Arc::clone(ended));
    let handler = move |session: Session| {
        opened.fetch_add(1, Ordering::Relaxed);
        let (world, ended) = (world.clone(), Arc::clone(&ended));
        let sender = session.sender();
        world.spawn(async move {
            let first = sender.closed().await;
            ended.fetch_add(1, Ordering::Relaxed);
            assert_eq!(sender.closed().await, first);
        });
        behave(world.clone(), session)
    };
    Router::new().websockets(config).route("/", websocket(handler))
}

/// Does one thing after the other, as chance has it.
async fn behave(sim: Sim, mut session: Session) -> Result<(), BoxError> {
    for _ in 0..sim.draw(0..60) {
        let polls = 1 + sim.draw(0..4) as usize;
        match sim.draw(0..16) {
            0..=4 => drop(session.recv().await?),
            5 => drop(poll_at_most(polls, session.recv()).await.transpose()?),
            6..=7 => session.send(vec![7; sim.draw(0..6_000) as usize]).await?,
            8 => drop(poll_at_most(polls, session.send("x".repeat(300))).await.transpose()?),
            9 => session.flush().await?,
            10 => drop(poll_at_most(polls, session.flush()).await),
            11 => sim.sleep(Duration::from_millis(sim.draw(0..10_000))).await,
            12 => session.reconfigure(|config| config.read_ahead(sim.draw(0..3_000) as usize)),
            13 => {
                let sender = session.sender();
                sim.spawn(async move { drop(sender.send("from a neighbour").await) });
            }
            14 if sim.draw(0..4) == 0 => session.close(CloseCode::GOING_AWAY),
            15 => match sim.draw(0..20) {
                0 => session.terminate(),
                1 => std::panic::resume_unwind(Box::new("a bug of ours")),
                2 => return Err("something of ours went wrong".into()),
                3 => drop(session.closed().await),
                4 => drop(session.ping("by hand")),
                _ => {}
            },
            _ => {}
        }
    }
    Ok(())
}

/// Writes frames, good and bad, and does not always read.
async fn peer(sim: &Sim, io: Arc<SimIo>, wire: Wire) {
    let write = Writer { masks: true };
    let reader = Arc::clone(&io);
    let (clock, reads) = (sim.clone(), sim.draw(0..5) > 0);
    let reading = sim.spawn(async move {
        if reads {
            while reader.read_some().await.is_ok_and(|bytes| !bytes.is_empty()) {
                if clock.draw(0..10) == 0 {
                    clock.sleep(Duration::from_millis(clock.draw(0..3_000))).await;
                }
            }
        }
    });
    let mut bytes = REQUEST.as_bytes().to_vec();
    for _ in 0..sim.draw(0..40) {
        let payload = vec![b'x'; sim.draw(0..300) as usize];
        match sim.draw(0..24) {
            0..=9 => bytes.extend(write.frame(0x81, &payload)),
            10..=13 => bytes.extend(write.fragments(0x02, &[&payload[..], &payload, b"end"])),
            14 => bytes.extend(write.ping("are you there?")),
            15 => bytes.extend(write.pong("I am")),
            16 => bytes.extend(write.binary(vec![7; 5_000])),
            17 if sim.draw(0..4) == 0 => bytes.extend(write.close(1000, "bye")),
            18 if sim.draw(0..4) == 0 => bytes.extend((0..50).map(|_| sim.draw(0..256) as u8)),
            19 if sim.draw(0..4) == 0 => wire.stall(WireDirection::Outbound),
            20 => wire.resume(WireDirection::Outbound),
            21 => sim.sleep(Duration::from_millis(sim.draw(0..5_000))).await,
            22 if sim.draw(0..20) == 0 => wire.cut(),
            _ => {
                let writing = io.write_all(&bytes);
                let patience = Duration::from_millis(sim.draw(0..30_000));
                if !matches!(sim.timeout(patience, writing).await, Some(Ok(()))) {
                    break;
                }
                bytes.clear();
            }
        }
    }
    if sim.draw(0..2) == 0 {
        // Half of them go without a word, the others end what they write and stay a while.
        let _ = io.shutdown().await;
        sim.sleep(Duration::from_millis(sim.draw(0..30_000))).await;
    }
    drop((io, reading));
    wire.end(WireDirection::Inbound);
    wire.resume(WireDirection::Outbound);
}

/// A client of ours, which behaves like a handler.
async fn client(sim: &Sim, io: SimIo) {
    let request = http::Request::get("ws://server/").body(()).unwrap();
    let config = Arc::new(
        Config::default().ping_interval(SECOND * 10).max_age(SECOND * 300).high_water(2_000),
    );
    let connecting =
        sockless_driver::ClientConnection::handshake(Box::new(io), request, config, sim.runtime());
    let Ok(connected) = connecting.await else { return };
    let world = sim.clone();
    let running = connected.run(async move |session| {
        let sender = session.sender();
        let behaving = std::panic::AssertUnwindSafe(behave(world, session));
        // A panic would be the caller's, which is this test.
        let behaved = futures_util::FutureExt::catch_unwind(behaving).await;
        sender.close(CloseReason::EMPTY);
        drop(behaved);
    });
    running.await;
}
