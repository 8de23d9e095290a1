//! Bugs of handlers: what lies between two of its awaits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless::{Closed, Config, Message, Router, Session, websocket};
use sockless_sim::{Crash, Disk, Link};
use tokio::sync::{Notify, mpsc};

use crate::hunt::{MS, SECOND, hunt};

/// A dispatcher that acknowledges a job before, or after, it is on the disk.
async fn dispatch(mut session: Session, disk: Disk, is_planted: bool) -> Result<(), Closed> {
    loop {
        let job = session.recv().await?;
        let name = job.as_text().unwrap_or_default().to_owned();
        disk.write(&name, "job");
        if !is_planted {
            disk.sync();
        }
        session.send(job).await?;
        session.sleep(MS).await;
        disk.sync();
    }
}

#[test]
fn an_acknowledgement_before_the_disk_is_synced() {
    hunt(
        "ack before persist",
        "acknowledged, and lost",
        |sim, mut choices, is_planted| async move {
            let machine = sim.machine("jobs");
            let world = sim.clone();
            machine.run(move |machine| {
                let disk = machine.disk();
                let handler = move |session| dispatch(session, disk.clone(), is_planted);
                world.serve("jobs", Router::new().route("/", websocket(handler)))
            });
            sim.settle().await;
            let mut client = sim.connect("ws://jobs/").await.unwrap();
            let crash = sim.sleep(Duration::from_micros(choices.draw(0..20_000)));
            let crashed = machine.clone();
            let crashing = sim.spawn(async move {
                crash.await;
                crashed.crash(Crash::Power);
            });
            let mut acknowledged = Vec::new();
            for job in 0..20 {
                if client.send(format!("job {job}")).await.is_err() {
                    break;
                }
                match sim.timeout(SECOND, client.recv()).await {
                    Some(Ok(job)) => acknowledged.push(job),
                    _ => break,
                }
            }
            crashing.await;
            for job in &acknowledged {
                let kept = machine.disk().read(job.as_text().unwrap_or_default());
                assert!(kept.is_some(), "{job:?} was acknowledged, and lost");
            }
        },
    );
}

/// Leases a job for 5 s, and forgets it then; the worker reports when it is done.
async fn lease(mut session: Session, is_planted: bool) -> Result<(), Closed> {
    let mut leases = BTreeMap::from([(1, session.now())]);
    session.send("job 1").await?;
    let expiry = session.sleep(5 * SECOND);
    let done = tokio::select! {
        biased;
        () = expiry => { leases.remove(&1); session.recv().await? }
        done = session.recv() => done?,
    };
    drop(done);
    if is_planted {
        leases.remove(&1).expect("a job that is done was leased");
    }
    session.send("thanks").await
}

#[test]
fn a_lease_that_expires_at_the_instant_of_the_report() {
    let expected = "the handler of / panicked at +5s: a job that is done was leased";
    hunt("timer tie", expected, |sim, mut choices, is_planted| async move {
        let handler = move |session| lease(session, is_planted);
        let mut worker = sim.app(Router::new().route("/", websocket(handler))).open("/").await;
        worker.recv().await;
        // Times are multiples of half a second, so that they coincide.
        sim.sleep(choices.draw(1..11) as u32 * 500 * MS).await;
        worker.send("done").await;
        worker.expect("thanks").await;
    });
}

/// Two tasks that fill each other's queue before they empty their own.
async fn exchange(mut session: Session, is_planted: bool) -> Result<(), Closed> {
    let room = if is_planted { 2 } else { 16 };
    let (to_worker, mut jobs) = mpsc::channel::<Message>(room);
    let (to_session, mut results) = mpsc::channel::<Message>(room);
    let sender = session.sender();
    session.spawn(async move {
        while let Some(job) = jobs.recv().await {
            to_session.send(job).await.ok();
        }
    });
    loop {
        let job = session.recv().await?;
        if job.as_text() != Some("results") {
            to_worker.send(job).await.ok();
            continue;
        }
        while let Ok(result) = results.try_recv() {
            sender.send(result).await?;
            // The worker goes on meanwhile.
            session.sleep(MS).await;
        }
        sender.send("all").await?;
    }
}

#[test]
fn a_deadlock_with_pings() {
    hunt(
        "deadlock with pings",
        "only keep-alive has been active",
        |sim, mut choices, is_planted| async move {
            let config = Config::default().ping_interval(30 * SECOND);
            let handler = move |session| exchange(session, is_planted);
            let router = Router::new().websockets(config).route("/", websocket(handler));
            let mut client = sim.app_over(router, &Link::default().jitter(2 * MS)).open("/").await;
            for job in 0..choices.draw(1..12) {
                client.send(format!("job {job}")).await;
            }
            client.send("results").await;
            while client.next().await.unwrap().as_text() != Some("all") {}
        },
    );
}

#[test]
fn a_wake_up_between_the_check_and_the_wait_is_missed() {
    async fn publish(mut session: Session, news: Arc<(Mutex<bool>, Notify)>) -> Result<(), Closed> {
        session.recv().await?;
        *news.0.lock().unwrap() = true;
        news.1.notify_waiters();
        Ok(())
    }
    async fn subscribe(
        session: Session,
        news: Arc<(Mutex<bool>, Notify)>,
        is_planted: bool,
    ) -> Result<(), Closed> {
        let mut notified = std::pin::pin!(news.1.notified());
        if !is_planted {
            notified.as_mut().enable();
        }
        let is_published = *news.0.lock().unwrap();
        if !is_published {
            // Between the check and the wait.
            session.send("wait").await?;
            session.sleep(MS).await;
            if is_planted {
                notified.set(news.1.notified());
            }
            notified.await;
        }
        session.send("news").await
    }
    let place = "<tokio::sync::notify::Notified as core::future::future::Future>::poll at ";
    hunt("missed wake-up", place, |sim, _, is_planted| async move {
        let news = Arc::new((Mutex::new(false), Notify::new()));
        let publisher = news.clone();
        let router = Router::new()
            .route("/publish", websocket(move |session| publish(session, publisher.clone())))
            .route("/", websocket(move |session| subscribe(session, news.clone(), is_planted)));
        let app = sim.app_over(router, &Link::default().jitter(3 * MS));
        let (mut publisher, mut reader) = (app.open("/publish").await, app.open("/").await);
        publisher.send("now").await;
        while reader.recv().await.as_text() != Some("news") {}
    });
}

#[derive(Default)]
struct Room(Mutex<BTreeMap<u64, String>>);

/// Lists who is online. A peer that vanishes leaves, if the room asks whether it is there.
#[test]
fn a_silent_peer_that_stays_online() {
    async fn join(mut session: Session, id: u64, room: Arc<Room>) -> Result<(), Closed> {
        room.0.lock().unwrap().insert(id, "online".to_owned());
        let ended = loop {
            match session.recv().await {
                Ok(_) => session.send("ok").await?,
                Err(closed) => break closed,
            }
        };
        room.0.lock().unwrap().remove(&id);
        Err(ended)
    }
    hunt("presence leak", "is online an hour later", |sim, mut choices, is_planted| async move {
        let (room, ids) = (Arc::new(Room::default()), Arc::new(Mutex::new(0)));
        let (joined, config) = (room.clone(), Config::default());
        let config = if is_planted { config } else { config.ping_interval(30 * SECOND) };
        let handler = move |session| {
            let mut next = ids.lock().unwrap();
            *next += 1;
            join(session, *next, joined.clone())
        };
        let app = sim.app(Router::new().websockets(config).route("/", websocket(handler)));
        let mut client = app.open("/").await;
        client.send("hi").await;
        client.expect("ok").await;
        if choices.draw(0..3) == 0 {
            client.wire().vanish();
        } else {
            client.terminate();
        }
        sim.sleep(3600 * SECOND).await;
        assert!(room.0.lock().unwrap().is_empty(), "a peer is online an hour later");
    });
}

#[test]
fn a_gap_after_a_reconnect() {
    async fn feed(mut session: Session, is_planted: bool) -> Result<(), Closed> {
        let from = session.recv().await?;
        let from: u64 = from.as_text().unwrap_or_default().parse().unwrap_or(0);
        // The bug counts from the time of the connection.
        let now = session.now().since_epoch().as_secs();
        for number in if is_planted && from > 0 { now.max(from) } else { from }.. {
            let due = sockless::Instant::EPOCH + number as u32 * SECOND;
            session.sleep(due.saturating_since(session.now())).await;
            session.send(number.to_string()).await?;
        }
        Ok(())
    }
    hunt("gap after reconnect", "a gap", |sim, mut choices, is_planted| async move {
        let handler = move |session| feed(session, is_planted);
        let app = sim.app(Router::new().route("/", websocket(handler)));
        let mut expected = 0;
        while expected < 20 {
            let mut client = app.open("/").await;
            client.try_send(expected.to_string()).unwrap();
            let (wire, cut) = (client.wire(), sim.sleep(choices.draw(1..100_000) as u32 * MS / 10));
            sim.spawn(async move {
                cut.await;
                wire.cut();
            });
            while let Ok(number) = client.next().await {
                assert_eq!(number.as_text(), Some(&*expected.to_string()), "a gap");
                expected += 1;
            }
            sim.sleep(choices.draw(0..3000) as u32 * MS).await;
        }
    });
}

#[test]
fn a_second_join_before_the_first_has_left() {
    /// Joins by name, and leaves by name.
    async fn join(mut session: Session, room: Arc<Room>, is_planted: bool) -> Result<(), Closed> {
        let name = session.recv().await?.as_text().unwrap_or_default().to_owned();
        let id = session.now().since_epoch().as_nanos() as u64;
        room.0.lock().unwrap().insert(if is_planted { 0 } else { id }, name);
        session.send("joined").await?;
        let ended = session.closed().await;
        // It is only now that the old session leaves, with the entry of the new one.
        room.0.lock().unwrap().remove(&if is_planted { 0 } else { id });
        Err(ended)
    }
    hunt("double join", "is online, and not listed", |sim, mut choices, is_planted| async move {
        let room = Arc::new(Room::default());
        let joined = room.clone();
        let config = Config::default().ping_interval(SECOND).ping_timeout(SECOND);
        let handler = move |session| join(session, joined.clone(), is_planted);
        let app = sim.app(Router::new().websockets(config).route("/", websocket(handler)));
        let mut first = app.open("/").await;
        first.send("ada").await;
        first.expect("joined").await;
        first.wire().vanish();
        sim.sleep(choices.draw(1..5000) as u32 * MS).await;
        let mut second = app.open("/").await;
        second.send("ada").await;
        second.expect("joined").await;
        sim.sleep(10 * SECOND).await;
        assert!(!room.0.lock().unwrap().is_empty(), "ada is online, and not listed");
    });
}

#[test]
fn a_panic_on_a_rare_interleaving() {
    async fn take(
        mut session: Session,
        seats: Arc<Mutex<u32>>,
        is_planted: bool,
    ) -> Result<(), Closed> {
        session.recv().await?;
        let left = *seats.lock().unwrap();
        if left > 0 {
            if is_planted {
                session.sleep(MS).await;
            }
            let mut seats = seats.lock().unwrap();
            *seats = seats.checked_sub(1).expect("a seat was left");
        }
        session.send("done").await
    }
    hunt("swallowed panic", "panicked at", |sim, _, is_planted| async move {
        let seats = Arc::new(Mutex::new(1));
        let handler = move |session| take(session, seats.clone(), is_planted);
        let router = Router::new().route("/", websocket(handler));
        let app = sim.app_over(router, &Link::default().jitter(20 * MS));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let app = app.clone();
                sim.spawn(async move {
                    let mut client = app.open("/").await;
                    client.send("a seat").await;
                    client.closed().await;
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
    });
}
