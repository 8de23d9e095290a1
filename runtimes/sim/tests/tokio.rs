//! Handlers that use tokio run in virtual time.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sockless::{Closed, Config, Router, Session, websocket};
use sockless_sim::{Link, Sim};
use tokio::sync::{Notify, mpsc};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn failure(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
    *panic.downcast::<String>().expect("a panic with a message")
}

/// Sends a count every second, from a task of tokio, until it has been silent for 3 s.
async fn counts(mut session: Session) -> Result<(), Closed> {
    let (tick, mut ticks) = mpsc::channel(1);
    let ticking = tokio::spawn(async move {
        let mut interval = tokio::time::interval(SECOND);
        for count in 0.. {
            interval.tick().await;
            if tick.send(count).await.is_err() {
                return count;
            }
        }
        unreachable!("it counts on")
    });
    loop {
        tokio::select! {
            biased;
            received = tokio::time::timeout(3 * SECOND, session.recv()) => match received {
                Ok(message) => session.send(message?).await?,
                Err(_) => break,
            },
            Some(count) = ticks.recv() => session.send(format!("{count}")).await?,
        }
    }
    drop(ticks);
    let _ = ticking.await;
    Ok(())
}

#[test]
fn time_and_tasks_of_tokio_follow_the_virtual_clock() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(Router::new().route("/", websocket(counts)));
        let mut client = app.open("/").await;
        for (second, count) in ["0", "1", "2"].into_iter().enumerate() {
            client.expect(count).await;
            assert_eq!(sim.now().since_epoch(), second as u32 * SECOND);
        }
        let start = tokio::time::Instant::now();
        sim.sleep(1500 * MS).await;
        assert_eq!(start.elapsed(), 1500 * MS);
        tokio::time::sleep(250 * MS).await;
        assert_eq!(sim.now().since_epoch(), 3750 * MS);
    });
}

#[test]
fn the_two_clocks_wait_for_each_other() {
    Sim::check(0..20, |sim| async move {
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for wait in [7, 3, 5, 1, 9_u32] {
            let (seen, sleep) = (log.clone(), sim.sleep(wait * SECOND));
            tasks.push(sim.spawn(async move {
                sleep.await;
                seen.lock().unwrap().push(wait);
            }));
            let log = log.clone();
            tokio::spawn(async move {
                tokio::time::sleep((wait + 1) * SECOND).await;
                log.lock().unwrap().push(wait + 1);
            });
        }
        tokio::time::sleep(20 * SECOND).await;
        assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(sim.now().since_epoch(), 20 * SECOND);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let link = Link::default().latency(3 * MS).jitter(2 * MS).short_reads(20).short_writes(30);
    let run = |seed| {
        let sim = Sim::new(seed);
        sim.run(async {
            let app = sim.app_over(Router::new().route("/", websocket(counts)), &link);
            for _ in 0..3 {
                let mut client = app.open("/").await;
                client.expect("0").await;
                client.send("hello").await;
                client.expect("hello").await;
                client.expect("1").await;
            }
        });
        (sim.fingerprint(), sim.now())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(0).0, run(1).0);
}

#[test]
fn a_deadlock_is_found_and_names_the_places() {
    async fn waits(_session: Session) {
        let notify = Notify::new();
        notify.notified().await;
    }
    let message = failure(|| {
        Sim::check(1..2, |sim| async move {
            let app = sim.app(Router::new().route("/", websocket(waits)));
            let _client = app.open("/").await;
            tokio::spawn(async { tokio::time::sleep(SECOND).await }).await.unwrap();
            pending::<()>().await;
        });
    });
    assert!(message.starts_with("seed 1: deadlock: no task can run and no timer is set at +1s"));
    let place = "<tokio::sync::notify::Notified as core::future::future::Future>::poll at tests/";
    assert!(message.contains(place), "{message}");
}

#[test]
fn a_deadlock_beside_a_busy_task_of_tokio_is_found() {
    let message = failure(|| {
        let sim = Sim::new(2);
        sim.run(async {
            tokio::spawn(async {
                loop {
                    tokio::time::sleep(3600 * SECOND).await;
                }
            });
            pending::<()>().await;
        });
    });
    assert!(message.starts_with("seed 2: deadlock: only tasks of tokio::spawn"), "{message}");
}

#[test]
fn a_panic_in_a_task_of_tokio_fails_the_run() {
    let message = failure(|| {
        let sim = Sim::new(3);
        sim.run(async {
            let task = tokio::spawn(async { panic!("spawned") });
            sim.sleep(SECOND).await;
            let _: Result<(), _> = task.await;
        });
    });
    let first =
        "seed 3: a task of tokio::spawn panicked at +0ns: spawned\n  at runtimes/sim/tests/";
    assert!(message.starts_with(first), "{message}");
}

#[test]
fn tasks_of_tokio_are_dropped_at_the_end() {
    let witness = Arc::new(());
    let held = witness.clone();
    Sim::new(4).run(async move {
        tokio::spawn(async move {
            pending::<()>().await;
            drop(held);
        });
        tokio::task::yield_now().await;
    });
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_blocking_task_is_named() {
    let message = failure(|| {
        let sim = Sim::new(5);
        sim.run(async {
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            // If the thread was faster than the first poll.
            panic!("the thread came first");
        });
    });
    let named = message.contains("not deterministic: main was woken by the thread \"tokio-r");
    assert!(named || message.contains("the thread came first"), "{message}");
}

#[test]
fn a_busy_simulation_lets_the_tasks_of_tokio_run() {
    let sim = Sim::new(6);
    sim.run(async {
        let mut task = tokio::spawn(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        while !task.is_finished() {
            // Always ready to run again.
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                std::task::Poll::Ready(())
            })
            .await;
            sockless_sim::poll_at_most(1, &mut task).await;
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn pings_follow_the_virtual_clock_beside_tokio() {
    async fn sleeps(session: Session) -> Result<(), Closed> {
        tokio::time::sleep(100 * SECOND).await;
        session.send("awake").await
    }
    Sim::check(0..5, |sim| async move {
        let config = Config::default().ping_interval(30 * SECOND);
        let app = sim.app(Router::new().websockets(config).route("/", websocket(sleeps)));
        let mut client = app.patience(200 * SECOND).open("/").await;
        for ping in 1..=3 {
            client.recv_ping().await;
            assert_eq!(sim.now().since_epoch(), ping * 30 * SECOND);
        }
        client.expect("awake").await;
        assert_eq!(sim.now().since_epoch(), 100 * SECOND);
    });
}
