//! Prints a digest of simulated runs, to compare builds: the same seed has the same trace in each, to the last byte.

use std::time::Duration;

use sockless::sim::{Link, Sim};
use sockless::{Closed, Config, Deflate, Router, Session, websocket};

const SEEDS: u64 = 50;

fn main() {
    let digest = (0..SEEDS).fold(0, |digest: u64, seed| {
        let sim = Sim::new(seed);
        sim.record_trace();
        sim.run(talk(sim.clone()));
        fnv(&sim.trace().to_string()) ^ digest.rotate_left(1)
    });
    println!("digest of {SEEDS} traces: {digest:016x}");
}

/// Clients over a bad network, one of which vanishes.
async fn talk(sim: Sim) {
    let ms = Duration::from_millis;
    let link = Link::default().latency(ms(3)).jitter(ms(2)).short_reads(9).short_writes(7);
    let config =
        Config::default().extension(Deflate::default()).ping_interval(ms(20)).ping_timeout(ms(40));
    let router = Router::new().route("/", websocket(echo).config(config));
    let app = sim.app_over(router, &link);
    let clients = (0..3).map(|client| {
        let (app, len) = (app.clone(), sim.draw(1..600) as usize);
        let sim = sim.clone();
        sim.clone().spawn(async move {
            let mut conversation = app.open("/").await;
            for message in 0..3 {
                let text = format!("{client} {message} {}", "x".repeat(len));
                conversation.send(text.as_str()).await;
                conversation.expect(text.as_str()).await;
                sim.sleep(ms(30)).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await;
    }
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}
