//! What a seed decides is the same in each process, and what it does not decide is never silent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use sockless::{Closed, Router, Session, websocket};
use sockless_sim::{Link, Sim};

const MS: Duration = Duration::from_millis(1);

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

async fn talk(sim: Sim) {
    let link = Link::default().latency(3 * MS).jitter(2 * MS).short_reads(9).short_writes(7);
    let app = sim.app_over(Router::new().route("/", websocket(echo)), &link);
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let (app, len) = (app.clone(), sim.draw(1..60) as usize);
            sim.spawn(async move {
                let mut session = app.open("/").await;
                for message in 0..3 {
                    let text = format!("{client} {message} {}", "x".repeat(len));
                    session.send(text.as_str()).await;
                    session.expect(text.as_str()).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await;
    }
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// Returns a digest of the traces of twenty seeds. It is the same with and without optimisations, too:
/// `cargo test --test same_everywhere child -- --ignored --nocapture`, and with `--release`.
fn digest() -> u64 {
    (0..20).fold(0, |digest, seed| {
        let sim = Sim::new(seed);
        sim.record_trace();
        sim.run(talk(sim.clone()));
        digest ^ fnv(&sim.trace().to_string()).rotate_left(seed as u32)
    })
}

#[test]
#[ignore = "run in a process of its own"]
fn child_prints_its_digest() {
    println!("digest {:x}", digest());
}

#[test]
fn two_processes_have_the_same_traces_to_the_last_byte() {
    let here = format!("digest {:x}", digest());
    for _ in 0..2 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_prints_its_digest", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains(&here), "expected {here}, got {printed}");
    }
}

/// Two ready branches of a `select!` whose order the seed does not decide.
async fn undecided(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        let first = tokio::select! {
            () = std::future::ready(()) => "left",
            () = std::future::ready(()) => "right",
        };
        session.send(message).await?;
        session.send(first).await?;
    }
}

/// The iteration order of a map.
#[expect(clippy::disallowed_types, reason = "what is tested")]
async fn unordered(mut session: Session) -> Result<(), Closed> {
    loop {
        session.recv().await?;
        let members: std::collections::HashMap<u8, u8> = (0..8).map(|name| (name, name)).collect();
        for member in members.into_keys() {
            session.send(vec![member]).await?;
        }
    }
}

/// Runs two runs of each of a hundred seeds. Returns how many were equal, named, and silent.
fn runs<Fut>(handler: fn(Session) -> Fut, replies: usize) -> [usize; 3]
where
    Fut: Future<Output = Result<(), Closed>> + Send + 'static,
{
    let mut counts = [0; 3];
    for seed in 0..100 {
        let transcripts = std::sync::Mutex::new(Vec::new());
        let run = || {
            Sim::check(seed..seed + 1, |sim| {
                let (app, transcripts) =
                    (sim.app(Router::new().route("/", websocket(handler))), &transcripts);
                async move {
                    let mut client = app.open("/").await;
                    let mut transcript = Vec::new();
                    for _ in 0..3 {
                        client.send("go").await;
                        for _ in 0..replies {
                            transcript.push(client.recv().await);
                        }
                    }
                    transcripts.lock().unwrap().push(transcript);
                }
            });
        };
        let failed = catch_unwind(AssertUnwindSafe(run)).err();
        let transcripts = transcripts.into_inner().unwrap();
        let are_equal = transcripts.len() == 2 && transcripts[0] == transcripts[1];
        let index = match failed {
            Some(message) => {
                let message = message.downcast::<String>().unwrap();
                assert!(message.contains("not deterministic at"), "{message}");
                assert!(message.contains("two runs part at event "), "{message}");
                1
            }
            None if are_equal => 0,
            None => 2,
        };
        counts[index] += 1;
    }
    counts
}

#[test]
fn no_select_is_silent() {
    let [equal, named, silent] = runs(undecided, 2);
    println!("select!: {equal} equal, {named} named, {silent} silent of 100");
    assert!(silent == 0 && named > 0, "{silent} are silent, {named} named");
}

#[test]
fn no_order_of_a_map_is_silent() {
    let [equal, named, silent] = runs(unordered, 8);
    println!("HashMap: {equal} equal, {named} named, {silent} silent of 100");
    assert!(silent == 0 && named > 0, "{silent} are silent, {named} named");
}
