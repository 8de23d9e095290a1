//! A run that goes wrong fails, and its one message says what, where and how to repeat it.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};
use std::time::Duration;

use sockless::bytes::Bytes;
use sockless::http::Response;
use sockless::{BoxError, Closed, Config, Request, Router, Session, respond, websocket};
use sockless_sim::{Link, Sim};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Returns the message of the panic of `run`.
fn failure(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
    *panic.downcast::<String>().expect("a panic with a message")
}

#[track_caller]
fn assert_has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in:\n{message}");
    }
}

async fn panics(mut session: Session) -> Result<(), Closed> {
    session.recv().await?;
    panic!("the disk is full");
}

#[test]
fn a_handler_that_panics_fails_the_run() {
    let message = failure(|| {
        Sim::check(3..9, |sim| async move {
            let app = sim.app(Router::new().route("/jobs", websocket(panics)));
            let mut client = app.open("/jobs").await;
            client.send("job").await;
            sim.sleep(SECOND).await;
        });
    });
    let first = "seed 3: the handler of /jobs panicked at +0ns: the disk is full\n  \
        at runtimes/sim/tests/honest.rs:";
    assert!(message.starts_with(first), "{message}");
    let replay =
        "replay: SOCKLESS_SIM=3 cargo test -p sockless-sim a_handler_that_panics_fails_the_run";
    assert!(message.ends_with(replay), "{message}");
}

#[test]
fn guards_and_responses_that_panic_fail_the_run() {
    async fn guard(_: Request) -> Result<Request, Response<Bytes>> {
        panic!("a guard")
    }
    let guarded = || Router::new().guard(guard).route("/", websocket(echo));
    let page = || Router::new().route("/", respond(|_| -> Response<_> { panic!("a page") }));
    let get = failure(|| {
        let sim = Sim::new(2);
        sim.run(sim.app(page()).get("/"));
    });
    let open = failure(|| {
        let sim = Sim::new(2);
        sim.run(sim.app(guarded()).open("/").refused());
    });
    for (message, text) in [(get, "a page"), (open, "a guard")] {
        assert_has(&message, &["seed 2: ", &format!("panicked at +0ns: {text}")]);
    }
}

#[test]
fn a_panic_that_the_code_under_test_catches_fails_the_run() {
    let message = failure(|| {
        Sim::new(1).run(async {
            let _ = catch_unwind(|| panic!("caught"));
        });
    });
    assert_has(&message, &["seed 1: main panicked at +0ns: caught"]);
}

#[test]
fn a_panic_in_a_drop_at_the_end_fails_the_run() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let message = failure(|| {
        let sim = Sim::new(1);
        sim.run(async {
            sim.spawn(async {
                let _bomb = Bomb;
                pending::<()>().await;
            });
            sim.settle().await;
        });
    });
    assert_has(&message, &["seed 1: what was dropped at the end panicked at +0ns: dropped"]);
}

#[test]
fn tolerated_panics_are_listed() {
    Sim::check(0..5, |sim| async move {
        sim.tolerate_panics();
        let app = sim.app(Router::new().route("/", websocket(panics)));
        let mut client = app.open("/").await;
        client.send("job").await;
        client.expect_closed(1011).await;
        assert_eq!(sim.panics(), ["the disk is full"]);
    });
    let message = failure(|| {
        let sim = Sim::new(1);
        sim.tolerate_panics();
        sim.run(async { panic!("main") });
    });
    assert_has(&message, &["seed 1: main panicked at +0ns: main"]);
}

#[test]
fn handlers_that_ended_with_an_error_are_listed() {
    async fn fails(mut session: Session) -> Result<(), BoxError> {
        let text = session.recv().await?;
        let number: u32 = text.as_text().unwrap_or_default().parse()?;
        session.send(number.to_string()).await?;
        Ok(())
    }
    let message = failure(|| {
        Sim::check(4..5, |sim| async move {
            let app = sim.app(Router::new().route("/double", websocket(fails)));
            let mut client = app.open("/double").await;
            client.send("two").await;
            client.expect_closed(1011).await;
            let failed = sim.failed_handlers();
            assert_eq!((failed.len(), &*failed[0].path), (1, "/double"));
            assert_eq!(failed[0].error, "invalid digit found in string");
            client.recv().await;
        });
    });
    let listed = "handlers that ended with an error:\n  /double at +0ns: invalid digit found";
    assert_has(&message, &["seed 4: main panicked", listed]);
}

/// Two tasks that wait for each other, while pings keep the connection alive.
async fn relay(session: Session) -> Result<(), Closed> {
    let (full, _kept) = mpsc::channel(1);
    loop {
        full.send(()).await.ok();
        session.send("relayed").await?;
    }
}

#[test]
fn a_deadlock_with_keep_alive_names_where_each_task_waits() {
    let message = failure(|| {
        Sim::check(5..6, |sim| async move {
            let config = Config::default().ping_interval(30 * SECOND);
            let app = sim.app(Router::new().websockets(config).route("/relay", websocket(relay)));
            let client = app.open("/relay").await;
            client.wire();
            pending::<()>().await;
        });
    });
    let first = "seed 5: deadlock: only keep-alive has been active for 3630s at +3630s";
    assert!(message.starts_with(first), "{message}");
    let handler = "(spawned by the driver) waits for connection #1 GET /relay, and for \
        <tokio::sync::batch_semaphore::Acquire as core::future::future::Future>::poll at \
        tests/honest.rs:";
    assert_has(
        &message,
        &["main waits for something that keeps no waker", handler, "s > Pong, 8 bytes"],
    );
}

#[test]
fn a_test_that_waits_for_a_message_beside_pings_is_in_a_deadlock() {
    let message = failure(|| {
        Sim::check(5..6, |sim| async move {
            let config = Config::default().ping_interval(30 * SECOND);
            let app = sim.app(Router::new().websockets(config).route("/", websocket(echo)));
            let mut client = app.open("/").await;
            client.next().await.unwrap();
        });
    });
    assert!(message.starts_with("seed 5: deadlock: only keep-alive"), "{message}");
    assert_has(
        &message,
        &["main waits for sockless_sim::kit::conversation::Conversation::poll_peer at"],
    );
}

#[test]
fn a_test_that_receives_pings_for_hours_is_in_no_deadlock() {
    Sim::check(0..3, |sim| async move {
        let config = Config::default().ping_interval(30 * SECOND);
        let app = sim.app(Router::new().websockets(config).route("/", websocket(echo)));
        let mut client = app.open("/").await;
        for _ in 0..500 {
            client.recv_ping().await;
        }
        assert_eq!(sim.now().since_epoch(), 500 * 30 * SECOND);
    });
}

#[test]
fn a_session_that_ends_by_a_late_deadline_is_no_deadlock() {
    Sim::check(0..3, |sim| async move {
        let config = Config::default().max_age(7200 * SECOND);
        let app = sim.app(Router::new().websockets(config).route("/", websocket(echo)));
        let mut client = app.patience(9999 * SECOND).open("/").await;
        client.closed().await;
        assert_eq!(sim.now().since_epoch(), 7200 * SECOND);
    });
}

#[test]
fn a_failure_has_the_transcripts_of_all_connections() {
    let message = failure(|| {
        Sim::check(6..7, |sim| async move {
            let link = Link::default().short_reads(3).short_writes(5);
            sim.spawn(
                sim.bind_over("server", &link).serve(Router::new().route("/e", websocket(echo))),
            );
            let mut client = sim.connect("ws://server/e").await.unwrap();
            client.send("hello").await.unwrap();
            assert_eq!(client.recv().await.unwrap(), "hello");
            let (here, there) = sim.pipe();
            here.write_all(b"\x01\x02").await.unwrap();
            there.wire().cut();
            panic!("enough");
        });
    });
    let parts = [
        "connections (> from the client, < from the server):\n  connection #1 GET /e, opened at +0ns",
        "> GET /e HTTP/1.1",
        "< HTTP/1.1 101 Switching Protocols",
        "> Text, 5 bytes: \"hello\"",
        "< Text, 5 bytes: \"hello\"",
        "connection #2, opened at +0ns",
        "> 2 bytes: \"\\u{1}\\u{2}\"",
        "< the test cuts the connection",
    ];
    assert_has(&message, &parts);
}

#[test]
fn a_failed_expectation_has_one_transcript_of_its_conversation() {
    let message = failure(|| {
        Sim::check(7..8, |sim| async move {
            let mut client = sim.app(Router::new().route("/", websocket(echo))).open("/").await;
            client.send("hello").await;
            client.expect("hi").await;
        });
    });
    assert_has(&message, &["seed 7: main panicked at +0ns: runtimes/sim/tests/honest.rs:"]);
    assert_eq!(message.matches("> \"hello\"").count(), 1, "{message}");
    assert!(!message.contains("connections ("), "{message}");
}

/// Runs a test of this file that is ignored otherwise, in a process of its own.
fn child(name: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_failure_is_printed_once() {
    let output = child("child_panics", &[]);
    assert!(!output.status.success());
    let printed = stderr(&output);
    assert_eq!(printed.matches("the disk is full").count(), 1, "{printed}");
    assert_eq!(printed.matches("panicked at").count(), 2, "the harness's and ours: {printed}");
    // The line of the test, not one of the simulator.
    assert_has(&printed, &["panicked at runtimes/sim/tests/honest.rs:"]);
}

#[test]
#[ignore = "run in a process of its own"]
fn child_panics() {
    Sim::check(0..1, |sim| async move {
        let mut client = sim.app(Router::new().route("/", websocket(panics))).open("/").await;
        client.send("job").await;
        client.recv().await;
    });
}

#[test]
fn the_environment_selects_the_seed() {
    let output = child("child_names_its_seed", &[("SOCKLESS_SIM", "41")]);
    assert_has(&stderr(&output), &["seed 41: main panicked", "replay: SOCKLESS_SIM=41 cargo test"]);
    let output = child("child_names_its_seed", &[("SOCKLESS_SIM", "x")]);
    assert_has(&stderr(&output), &["SOCKLESS_SIM=x is invalid"]);
}

#[test]
#[ignore = "run in a process of its own"]
fn child_names_its_seed() {
    Sim::check(0..1, |_| async { panic!("here") });
}

#[test]
fn a_poll_that_spins_in_the_simulator_is_named_and_fails_the_test() {
    let output = child("child_spins_in_the_simulator", &[("SOCKLESS_SIM_WATCHDOG", "1")]);
    let place = "sockless_sim::sim::Sim::now at tests/honest.rs:";
    let what = "seed 12: main panicked at +0ns: a poll has not returned for 1 s of real time";
    assert_has(&stderr(&output), &[what, place]);
}

#[test]
#[ignore = "run in a process of its own"]
fn child_spins_in_the_simulator() {
    let sim = Sim::new(12);
    sim.run(async { while sim.now().since_epoch() < SECOND {} });
}

#[test]
fn a_poll_that_spins_elsewhere_is_named_and_ends_the_process() {
    let output = child("child_spins", &[("SOCKLESS_SIM_WATCHDOG", "1")]);
    assert_eq!(output.status.code(), Some(101));
    let what = "seed 13: task 1 (spawned at runtimes/sim/tests/honest.rs:";
    let replay = "replay: SOCKLESS_SIM=13 cargo test -p sockless-sim";
    assert_has(&stderr(&output), &[what, "a poll has not returned for 1 s of real time", replay]);
}

#[test]
#[ignore = "run in a process of its own"]
fn child_spins() {
    Sim::check(13..14, |sim| async move {
        sim.spawn(async {
            loop {
                std::hint::spin_loop();
            }
        })
        .await;
    });
}

/// Sends what two channels have, in an order that only the thread's own generator decides.
async fn selects(session: Session) -> Result<(), Closed> {
    let ((a, mut from_a), (b, mut from_b)) = (mpsc::channel(32), mpsc::channel(32));
    for number in 0..32_u8 {
        let _ = (a.try_send(number), b.try_send(number));
    }
    drop((a, b));
    loop {
        let text = tokio::select! {
            Some(number) = from_a.recv() => format!("a{number}"),
            Some(number) = from_b.recv() => format!("b{number}"),
            else => return Ok(()),
        };
        session.send(text).await?;
    }
}

/// Sends the keys of a map in its order.
#[expect(clippy::disallowed_types, clippy::iter_over_hash_type, reason = "this is what is found")]
async fn iterates(session: Session) -> Result<(), Closed> {
    let map: std::collections::HashMap<u32, ()> = (0..16).map(|number| (number, ())).collect();
    for number in map.keys() {
        session.send(number.to_string()).await?;
    }
    Ok(())
}

/// Sends how long it has run in real time.
#[expect(clippy::disallowed_methods, reason = "this is what is found")]
async fn measures(session: Session) -> Result<(), Closed> {
    let start = std::time::Instant::now();
    session.sleep(SECOND).await;
    session.send(format!("{:?}", start.elapsed())).await
}

fn chancy() -> Router {
    Router::new()
        .route("/select", websocket(selects))
        .route("/map", websocket(iterates))
        .route("/instant", websocket(measures))
}

/// Runs one seed of a handler, and returns its fingerprint and the bytes that arrived.
fn seen(seed: u64, path: &str) -> (u64, Vec<u8>) {
    let sim = Sim::new(seed);
    let bytes = sim.run(async {
        let io = sim.app(chancy()).dial();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        io.write_all(head.as_bytes()).await.unwrap();
        io.read_to_end().await.unwrap()
    });
    (sim.fingerprint(), bytes.into())
}

#[test]
fn fingerprints_are_equal_if_and_only_if_the_bytes_are() {
    for path in ["/select", "/map"] {
        let mut differed = 0;
        for seed in 0..100 {
            let (one, other) = (seen(seed, path), seen(seed, path));
            assert_eq!(one.0 == other.0, one.1 == other.1, "{path}, seed {seed}");
            differed += u32::from(one.1 != other.1);
        }
        assert!(differed > 90, "{path}: {differed} of 100 differ");
    }
}

#[test]
fn a_check_names_the_event_the_task_and_the_place_where_two_runs_part() {
    for (path, function) in [("/select", "selects"), ("/map", "iterates"), ("/instant", "measures")]
    {
        let mut named = 0;
        for seed in 0..20 {
            let check = || {
                Sim::check(seed..seed + 1, |sim| async move {
                    let mut client = sim.app(chancy()).open(path).await;
                    client.closed().await;
                });
            };
            let Err(panic) = catch_unwind(check) else { continue };
            let message = panic.downcast::<String>().unwrap();
            let event = "of connection #1 writes ";
            let parts = ["not deterministic", "two runs part at event ", event, "\n  in task 1 ("];
            assert_has(&message, &parts);
            named += 1;
        }
        assert!(named >= 19, "{function}: {named} of 20");
    }
}

#[test]
fn a_write_in_which_two_runs_part_is_named_with_its_line() {
    let count = std::cell::Cell::new(0_u8);
    let message = failure(|| {
        Sim::check(1..2, |sim| {
            count.set(count.get() + 1);
            let byte = count.get();
            async move { sim.pipe().0.write_all(&[byte]).await.unwrap() }
        });
    });
    let place = "\n  in sockless_sim::io::SimIo::write_all at tests/honest.rs:";
    assert_has(&message, &["two runs part at event 2:", place, "\n  in main\n"]);
}

#[test]
fn a_line_that_wakes_tasks_in_another_order_is_named() {
    let is_second = std::cell::Cell::new(false);
    let message = failure(|| {
        Sim::check(1..2, |sim| {
            let reverse = is_second.replace(true);
            async move {
                let mut senders = Vec::new();
                for _ in 0..16 {
                    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
                    sim.spawn(receiver);
                    senders.push(sender);
                }
                sim.settle().await;
                if reverse {
                    senders.reverse();
                }
                senders.into_iter().for_each(|sender| sender.send(()).unwrap());
                sim.settle().await;
            }
        });
    });
    let cause = "\n  main woke task 1 (spawned at ";
    let second = " in the first run, and task 16 (spawned at ";
    let (wakes, place) = (" in the second\n  in tokio::sync::oneshot::", " at tests/honest.rs:");
    assert_has(&message, &["two runs part at event ", " runs\n", cause, second, wakes, place]);
}

#[test]
fn a_condition_that_fails_names_the_poll_before() {
    let message = failure(|| {
        Sim::check(1..2, |sim| async move {
            let is_done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let done = is_done.clone();
            sim.always("it is not done", move || {
                !is_done.load(std::sync::atomic::Ordering::Relaxed)
            });
            let task = async move { done.store(true, std::sync::atomic::Ordering::Relaxed) };
            sim.spawn(task).await;
        });
    });
    let begin = "seed 1: a condition failed after a poll of task 1";
    assert_has(&message, &[begin, " at +0ns: does not hold: it is not done\n"]);
}

#[test]
fn a_run_that_is_shorter_than_the_first_is_noticed() {
    let count = std::cell::Cell::new(0_u64);
    let message = failure(|| {
        Sim::check(1..2, |sim| {
            count.set(count.get() + 1);
            let rest = 3 - count.get();
            async move {
                let (here, _there) = sim.pipe();
                for _ in 0..rest {
                    here.write_all(b"x").await.unwrap();
                }
            }
        });
    });
    assert_has(&message, &["two runs part at event 3:", "second run: the end"]);
}

#[test]
fn a_wake_up_by_another_thread_is_named() {
    let message = failure(|| {
        let sim = Sim::new(15);
        sim.run(async {
            let (done, wait) = tokio::sync::oneshot::channel();
            let worker = std::thread::Builder::new().name("worker".to_owned());
            let worker = worker.spawn(move || done.send(()).unwrap()).unwrap();
            let waiting = sim.spawn(async move { wait.await.unwrap() });
            // Runs until the thread has woken the task, or has come first.
            let (mut worker, mut polls) = (Some(worker), 0_u64);
            while worker.as_ref().is_some_and(|worker| !worker.is_finished()) {
                sim.sleep(SECOND).await;
                polls += 1;
            }
            worker.take().unwrap().join().unwrap();
            let _ = (waiting.await, polls);
            panic!("the thread came first");
        });
    });
    let named = message.contains("was woken by the thread \"worker\"");
    assert!(named || message.contains("the thread came first"), "{message}");
}

#[test]
fn a_task_that_another_thread_wakes_is_named() {
    use std::task::{Poll, Waker};
    let message = failure(|| {
        let sim = Sim::new(16);
        sim.run(async {
            let waker: Waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            std::thread::spawn(move || waker.wake()).join().unwrap();
            pending::<()>().await;
        });
    });
    assert_has(
        &message,
        &["seed 16: not deterministic: main was woken by the thread \"without a name\""],
    );
}

#[test]
fn a_lost_wake_up_is_named() {
    let message = failure(|| {
        let sim = Sim::new(17);
        sim.run(async {
            let mut polls = 0;
            std::future::poll_fn(|_| {
                polls += 1;
                if polls == 1 { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
            })
            .await;
        });
    });
    assert_has(
        &message,
        &["deadlock", "main waits for nothing: it could continue, but was not woken"],
    );
}

#[test]
fn two_processes_run_a_seed_equally_or_name_the_difference() {
    let run = |name| child(name, &[]);
    let (one, other) = (run("child_prints_fingerprints"), run("child_prints_fingerprints"));
    assert!(one.status.success() && other.status.success(), "{}", stderr(&one));
    let fingerprints = |output: &Output| -> Vec<String> {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| line.starts_with("fingerprint ")).map(str::to_owned).collect()
    };
    assert_eq!(fingerprints(&one).len(), 20);
    assert_eq!(fingerprints(&one), fingerprints(&other));
    for name in ["child_selects", "child_iterates"] {
        for _ in 0..2 {
            assert_has(&stderr(&run(name)), &["not deterministic", "two runs part at event "]);
        }
    }
}

#[test]
#[ignore = "run in a process of its own"]
fn child_prints_fingerprints() {
    let link = Link::default().latency(SECOND).jitter(SECOND).short_reads(20).short_writes(30);
    for seed in 0..20 {
        let sim = Sim::new(seed);
        sim.run(async {
            let app = sim.app_over(Router::new().route("/", websocket(echo)), &link);
            let mut clients = Vec::new();
            for _ in 0..3 {
                let mut client = app.open("/").await;
                let task = async move {
                    client.send("hello").await;
                    client.expect("hello").await;
                };
                clients.push(sim.spawn(task));
            }
            for client in clients {
                client.await;
            }
        });
        println!("\nfingerprint {:x}", sim.fingerprint());
    }
}

#[test]
#[ignore = "run in a process of its own"]
fn child_selects() {
    opens("/select");
}

#[test]
#[ignore = "run in a process of its own"]
fn child_iterates() {
    opens("/map");
}

fn opens(path: &str) {
    Sim::check(0..5, |sim| {
        let path = path.to_owned();
        async move {
            let mut client = sim.app(chancy()).open(&path).await;
            client.closed().await;
        }
    });
}
