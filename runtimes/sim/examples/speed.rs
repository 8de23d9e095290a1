//! Measures the simulator: echoes over a pipe and over WebSockets, in seeds and echoes per second.
//!
//! Run it with `cargo run --release -p sockless-sim --example speed`, of two versions in turn, and
//! compare the best of several runs.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

use std::time::{Duration, Instant};

use sockless::sim::{Link, Sim, SimIo};
use sockless::{Closed, Router, Session, websocket};

fn main() {
    let jitter = Link::default().jitter(Duration::from_millis(1));
    for (name, link) in [("ideal", Link::default()), ("jitter", jitter)] {
        for (echoes, seeds) in [(10, 2000), (1000, 40)] {
            measure(&format!("pipe, {name}"), seeds, echoes, |seed| pipe(seed, echoes, &link));
            measure(&format!("kit, {name}"), seeds, echoes, |seed| kit(seed, echoes, &link));
        }
    }
}

fn measure(name: &str, seeds: u64, echoes: u64, run: impl Fn(u64)) {
    // The best of several, since other programs run beside this one.
    let best = (0..9).map(|_| {
        let start = Instant::now();
        (0..seeds).for_each(&run);
        start.elapsed()
    });
    let seconds = best.min().unwrap_or_default().as_secs_f64();
    let (per_seed, per_echo) = (seeds as f64 / seconds, (seeds * echoes) as f64 / seconds);
    println!("{name:14} {echoes:5} echoes: {per_seed:10.0} seeds/s {per_echo:10.0} echoes/s");
}

fn pipe(seed: u64, echoes: u64, link: &Link) {
    let sim = Sim::new(seed);
    sim.run(async {
        let (here, there) = sim.pipe_over(link);
        sim.spawn(echo_bytes(there));
        for _ in 0..echoes {
            here.write_all(b"hello, world").await.unwrap();
            assert_eq!(here.read_exact(12).await.unwrap(), "hello, world");
        }
    });
}

async fn echo_bytes(io: SimIo) {
    while let Ok(bytes) = io.read_some().await {
        if bytes.is_empty() || io.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn kit(seed: u64, echoes: u64, link: &Link) {
    let sim = Sim::new(seed);
    sim.run(async {
        let router = Router::new().route("/", websocket(echo));
        let mut client = sim.app_over(router, link).open("/").await;
        for _ in 0..echoes {
            client.send("hello, world").await;
            client.expect("hello, world").await;
        }
    });
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}
