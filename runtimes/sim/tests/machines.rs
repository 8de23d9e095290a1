//! Machines: crashes, restarts, pauses, clocks, disks, partitions, and the wires between them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless::{Closed, Config, ConnectError, Router, Session, websocket};
use sockless_sim::{Crash, Link, Machine, Sim, SimIo};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Runs an echo at the name of a machine.
fn serve_echo(sim: &Sim, name: &'static str) -> Machine {
    let (machine, world) = (sim.machine(name), sim.clone());
    machine.run(move |_| {
        let config = Config::default().ping_interval(10 * SECOND).ping_timeout(5 * SECOND);
        let router = Router::new().websockets(config).route("/", websocket(echo));
        world.bind_over(name, &Link::tcp()).serve(router)
    });
    machine
}

async fn open(sim: &Sim, name: &str) -> Session {
    sim.settle().await;
    sim.connect(&format!("ws://{name}/")).await.unwrap()
}

async fn assert_echoes(session: &mut Session) {
    session.send("hello").await.unwrap();
    assert_eq!(session.recv().await.unwrap(), "hello");
}

#[test]
fn a_process_that_crashes_resets_its_connections_and_refuses_new_ones() {
    Sim::check(0..20, |sim| async move {
        let server = serve_echo(&sim, "server");
        let mut client = open(&sim, "server").await;
        assert_echoes(&mut client).await;
        let before = sim.unfinished();
        server.crash(Crash::Process);
        assert!(sim.unfinished() < before);
        let closed = client.closed().await;
        assert!(!closed.is_clean(), "{closed}");
        assert_eq!(sim.now().since_epoch(), Duration::ZERO);
        let error = sim.connect("ws://server/").await.unwrap_err();
        assert!(matches!(error, ConnectError::Dial { .. }), "{error:?}");
        server.restart();
        assert_echoes(&mut open(&sim, "server").await).await;
    });
}

#[test]
fn a_machine_without_power_is_silent() {
    Sim::check(0..20, |sim| async move {
        let server = serve_echo(&sim, "server");
        let mut client = open(&sim, "server").await;
        assert_echoes(&mut client).await;
        server.crash(Crash::Power);
        // No end arrives, and a new connection takes as long as the power is away.
        assert!(sim.timeout(60 * SECOND, client.closed()).await.is_none());
        assert!(sim.timeout(5 * SECOND, sim.dial("server")).await.is_none());
        let world = sim.clone();
        let dialling = sim.spawn(async move { world.dial("server").await.map(drop) });
        sim.sleep(SECOND).await;
        server.restart();
        sim.settle().await;
        assert_echoes(&mut open(&sim, "server").await).await;
        // It was dialled before the program listened again, or after.
        let _ = dialling.await;
    });
}

#[test]
fn memory_is_lost_and_the_disk_keeps_what_was_synced() {
    let mut kept = std::collections::BTreeSet::new();
    let seen = Mutex::new(&mut kept);
    Sim::check(0..50, |sim| {
        let seen = &seen;
        async move {
            let (machine, runs) = (sim.machine("store"), Arc::new(Mutex::new(Vec::new())));
            let log = runs.clone();
            machine.run(move |machine| {
                let (disk, log) = (machine.disk(), log.clone());
                async move {
                    log.lock().unwrap().push(disk.files());
                    disk.write("synced", "1");
                    disk.sync();
                    disk.write("one", "2");
                    disk.write("two", "3");
                    disk.remove("synced");
                    std::future::pending::<()>().await;
                }
            });
            sim.settle().await;
            machine.crash(Crash::Process);
            assert_eq!(machine.disk().files(), ["one", "two"]);
            machine.restart();
            sim.settle().await;
            machine.crash(Crash::Power);
            let files = machine.disk().files();
            assert_eq!(machine.disk().read("one").unwrap(), "2");
            seen.lock().unwrap().insert(files.join(" "));
            let runs = runs.lock().unwrap();
            assert_eq!(*runs, [vec![], vec!["one".to_owned(), "two".to_owned()]]);
        }
    });
    // All prefixes of the changes: no removal, and the removal.
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["one synced two", "one two"]);
}

#[test]
fn a_paused_machine_does_nothing_and_then_goes_on() {
    Sim::check(0..20, |sim| async move {
        let server = serve_echo(&sim, "server");
        let mut client = open(&sim, "server").await;
        assert_echoes(&mut client).await;
        server.pause();
        client.send("hello").await.unwrap();
        assert!(sim.timeout(4 * SECOND, client.recv()).await.is_none());
        server.resume();
        assert_eq!(client.recv().await.unwrap(), "hello");
        assert_eq!(sim.now().since_epoch(), 4 * SECOND);
    });
}

#[test]
fn a_machine_has_a_clock_of_its_own() {
    Sim::check(0..5, |sim| async move {
        let (machine, world) = (sim.machine("clock"), sim.clone());
        let ticks = Arc::new(Mutex::new(Vec::new()));
        let log = ticks.clone();
        machine.run(move |_| {
            let (sim, log) = (world.clone(), log.clone());
            async move {
                loop {
                    sim.sleep(SECOND).await;
                    log.lock().unwrap().push(sim.now().since_epoch());
                }
            }
        });
        let ticked = || ticks.lock().unwrap().len();
        sim.sleep(10 * SECOND + MS).await;
        assert_eq!(ticked(), 10);
        // Twice as fast: 20 ticks in 10 s.
        machine.set_clock_rate(1_000_000);
        sim.sleep(10 * SECOND).await;
        assert_eq!(ticked(), 30);
        machine.set_clock_rate(-500_000);
        sim.sleep(10 * SECOND).await;
        assert_eq!(ticked(), 35);
        machine.set_clock_rate(0);
        let before = machine.now();
        machine.jump(3600 * SECOND);
        assert_eq!(machine.now(), before + 3600 * SECOND);
        sim.settle().await;
        assert_eq!(ticked(), 36, "the timer was due");
        assert_eq!(sim.now().since_epoch(), 30 * SECOND + MS);
        let ticks = ticks.lock().unwrap();
        assert!(ticks.windows(2).all(|pair| pair[1] >= pair[0] + SECOND), "{ticks:?}");
    });
}

#[test]
fn a_jump_of_the_clock_makes_a_server_give_up_its_peers() {
    Sim::check(0..10, |sim| async move {
        let server = serve_echo(&sim, "server");
        let client = open(&sim, "server").await;
        server.jump(60 * SECOND);
        // A ping is due; the pong arrives in time on either clock.
        assert!(sim.timeout(4 * SECOND, client.closed()).await.is_none());
    });
}

#[test]
fn a_partition_separates_machines_until_it_is_healed() {
    Sim::check(0..20, |sim| async move {
        serve_echo(&sim, "a");
        serve_echo(&sim, "b");
        let (mut to_a, mut to_b) = (open(&sim, "a").await, open(&sim, "b").await);
        sim.partition(&["a"], &["", "b"]);
        to_a.send("hello").await.unwrap();
        assert!(sim.timeout(3 * SECOND, to_a.recv()).await.is_none());
        assert_echoes(&mut to_b).await;
        assert!(sim.timeout(3 * SECOND, sim.dial("a")).await.is_none());
        sim.heal_between("a", "b");
        assert!(sim.timeout(3 * SECOND, to_a.recv()).await.is_none());
        sim.heal();
        assert_eq!(to_a.recv().await.unwrap(), "hello");
        drop(sim.dial("a").await.unwrap());
    });
}

#[test]
fn a_partition_of_one_direction_passes_the_other() {
    Sim::check(0..20, |sim| async move {
        let (machine, world) = (sim.machine("a"), sim.clone());
        machine.run(move |_| {
            let mut listener = world.listen("a");
            async move {
                let io = listener.accept().await;
                io.write_all(b"from a").await.unwrap();
                assert_eq!(io.read_some().await.unwrap(), "to a");
            }
        });
        sim.settle().await;
        let io = sim.dial("a").await.unwrap();
        sim.partition_one_way(&[""], &["a"]);
        io.write_all(b"to a").await.unwrap();
        assert_eq!(io.read_some().await.unwrap(), "from a");
        let unfinished = sim.unfinished();
        sim.sleep(SECOND).await;
        assert_eq!(sim.unfinished(), unfinished);
        sim.heal();
        sim.settle().await;
        assert_eq!(sim.unfinished(), unfinished - 1);
    });
}

#[test]
fn the_wires_of_a_name_are_found() {
    Sim::check(0..5, |sim| async move {
        serve_echo(&sim, "server");
        let (first, second) = (open(&sim, "server").await, open(&sim, "server").await);
        let wires = sim.wires("server");
        assert_eq!((wires.len(), sim.wires("nowhere").len()), (2, 0));
        wires[0].cut();
        assert!(!first.closed().await.is_clean());
        drop(first);
        sim.settle().await;
        assert_eq!(sim.wires("server").len(), 1);
        assert!(sim.timeout(SECOND, second.closed()).await.is_none());
    });
}

#[test]
fn a_reset_of_the_other_end_is_noticed_by_writing() {
    let pair = |sim: &Sim| -> (SimIo, SimIo) { sim.pipe_over(&Link::tcp().latency(MS)) };
    Sim::check(0..5, |sim| async move {
        let (here, there) = pair(&sim);
        here.wire().reset_peer();
        let reset = std::io::ErrorKind::ConnectionReset;
        assert_eq!(there.read_some().await.unwrap_err().kind(), reset);
        assert!(sim.timeout(SECOND, here.read_some()).await.is_none());
        here.write_all(b"are you there?").await.unwrap();
        assert_eq!(here.read_some().await.unwrap_err().kind(), reset);
    });
}

#[test]
fn a_bandwidth_spreads_bytes_over_time() {
    Sim::check(0..5, |sim| async move {
        let (here, there) = sim.pipe_over(&Link::default().bandwidth(1000).capacity(500));
        let world = sim.clone();
        let writing = sim.spawn(async move {
            here.write_all(&[7; 2000]).await.unwrap();
            world.now().since_epoch()
        });
        assert_eq!(there.read_exact(1000).await.unwrap().len(), 1000);
        assert_eq!(sim.now().since_epoch(), SECOND);
        there.read_exact(1000).await.unwrap();
        assert_eq!(sim.now().since_epoch(), 2 * SECOND);
        // The writer waited for room.
        assert_eq!(writing.await, 1500 * MS);
    });
}

#[test]
fn a_peer_that_drips_is_closed_by_the_message_rate() {
    Sim::check(0..5, |sim| async move {
        let drip = Link::default().bandwidth(10);
        let app = sim.app(Router::new().route("/", websocket(echo)));
        let mut client = app.patience(600 * SECOND).open("/").await;
        client.wire().set_link(sockless_sim::WireDirection::Outbound, drip);
        client.try_send("x".repeat(10_000)).unwrap();
        let closed = client.closed().await;
        assert_eq!(closed.received().and_then(|reason| reason.code()).map(|c| c.get()), Some(1008));
    });
}

#[test]
fn presets_differ_in_time() {
    let round_trip = |link: Link| {
        let sim = Sim::new(1);
        sim.run(async {
            let app = sim.app_over(Router::new().route("/", websocket(echo)), &link);
            let mut client = app.open("/").await;
            client.send("x".repeat(50_000)).await;
            client.recv().await;
        });
        sim.now()
    };
    let times = [Link::wifi(), Link::mobile(), Link::satellite()].map(round_trip);
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_failure_names_the_machine() {
    let panic = std::panic::catch_unwind(|| {
        let sim = Sim::new(3);
        sim.run(async {
            sim.machine("jobs").run(|_| async { panic!("no disk") });
            std::future::pending::<()>().await;
        });
    });
    let message = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("seed 3: task 1 of jobs (spawned at "), "{message}");
}

#[test]
fn accepts_that_fail_do_not_lose_the_connection() {
    Sim::check(0..5, |sim| async move {
        serve_echo(&sim, "server");
        sim.settle().await;
        sim.fail_accepts("server", (0..3).map(|_| std::io::Error::from_raw_os_error(24)));
        assert_echoes(&mut open(&sim, "server").await).await;
        assert!(sim.now().since_epoch() > Duration::ZERO);
    });
}
