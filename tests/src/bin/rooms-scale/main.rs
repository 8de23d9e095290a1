//! What rooms cost at scale, on this machine:
//!
//! * `rooms-scale fan-out`: CPU of a delivery from 1 member to 1,000, beside senders that a program keeps itself;
//! * `rooms-scale all-to-all`: system calls of a delivery among 320 members who all publish, by `strace`;
//! * `rooms-scale redis REDIS_SERVER`: deliveries a second, and their latency, of two servers that share rooms.

#![allow(clippy::disallowed_methods, reason = "it measures processes, by the system's clock")]

mod load;
mod process;
mod serve;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use load::Load;
use process::{Node, Redis, cpu};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match *args {
        ["fan-out"] => measured(fan_out()),
        ["all-to-all"] => measured(all_to_all()),
        ["redis", program] => measured(redis(Path::new(program))),
        ["serve", kind] => serve::run(kind, None),
        ["serve", kind, url] => serve::run(kind, Some(url)),
        _ => {
            eprintln!("usage: rooms-scale fan-out | all-to-all | redis REDIS_SERVER");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rooms-scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measured(measure: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure)
}

/// Rounds of both, one after the other, so that other load on the machine meets both alike.
async fn fan_out() -> io::Result<()> {
    const MEMBERS: usize = 1000;
    const ROUNDS: usize = 41;
    let (senders, rooms) = (Node::start(&["senders"])?, Node::start(&["rooms"])?);
    let mut by_senders = Load::open(&[senders.addr], MEMBERS, 1, 100).await?;
    let mut by_rooms = Load::open(&[rooms.addr], MEMBERS, 1, 100).await?;
    by_senders.windows(20, 8).await;
    by_rooms.windows(20, 8).await;
    for at_once in [8, 1] {
        let (mut costs, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
        for round in 0..ROUNDS {
            let mut pair = [0.0; 2];
            // Each is the first in every other round.
            for which in [round % 2, 1 - round % 2] {
                let (node, load) = match which {
                    0 => (&senders, &mut by_senders),
                    _ => (&rooms, &mut by_rooms),
                };
                pair[which] = cost(node, load, at_once).await?;
                costs[which].push(pair[which]);
            }
            ratios.push(pair[1] / pair[0]);
        }
        let [senders, rooms] = costs.map(median);
        println!(
            "1 to {MEMBERS}, {at_once} at once: senders {senders:.0} ns a delivery, rooms {rooms:.0} ns, {:.3} times as much \
             (medians of {ROUNDS} rounds)",
            median(ratios)
        );
    }
    Ok(())
}

/// The CPU of a delivery, in nanoseconds, with so many messages at once.
async fn cost(node: &Node, load: &mut Load, at_once: usize) -> io::Result<f64> {
    let before = cpu(node.pid)?;
    let deliveries = load.windows(64 / at_once, at_once).await;
    Ok((cpu(node.pid)? - before).as_nanos() as f64 / deliveries as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The difference between two runs, so that what opening takes cancels out.
async fn all_to_all() -> io::Result<()> {
    const MEMBERS: usize = 320;
    let mut runs = Vec::new();
    for rounds in [5, 25] {
        let mut node = Node::traced(&["rooms"])?;
        let mut load = Load::open(&[node.addr], MEMBERS, 1, 20).await?;
        let deliveries = load.everyone(rounds).await;
        drop(load);
        runs.push((deliveries as f64, node.calls()? as f64));
    }
    let (deliveries, calls) = (runs[1].0 - runs[0].0, runs[1].1 - runs[0].1);
    println!("{MEMBERS} to {MEMBERS}: {:.4} system calls a delivery", calls / deliveries);
    Ok(())
}

async fn redis(program: &Path) -> io::Result<()> {
    const MEMBERS: usize = 1000;
    const ROOMS: usize = 10;
    const TIME: Duration = Duration::from_secs(8);
    let redis = Redis::start(program)?;
    let nodes = [Node::start(&["redis", &redis.url])?, Node::start(&["redis", &redis.url])?];
    let addrs = nodes.each_ref().map(|node| node.addr);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut load = Load::open(&addrs, MEMBERS, ROOMS, 100).await?;
    load.windows(10, 8).await;
    let pids = [nodes[0].pid, nodes[1].pid, redis.pid(), std::process::id()];
    let before = pids.map(cpu);
    let (most, deliveries) = load.closed(TIME, 8).await;
    println!("{MEMBERS} members in {ROOMS} rooms on 2 servers: {most:.0} deliveries/s");
    let after = pids.map(cpu);
    let mut each = [0.0; 4];
    for ((each, before), after) in each.iter_mut().zip(before).zip(after) {
        *each = (after? - before?).as_nanos() as f64 / deliveries as f64;
    }
    let [node, other_node, server, clients] = each;
    println!(
        "CPU a delivery: servers {:.0} ns, Redis {server:.0} ns, clients {clients:.0} ns",
        node + other_node
    );
    let half = load.open_loop(TIME, most / 2.0 / (MEMBERS / ROOMS) as f64).await;
    println!(
        "at half of that: {:.0} deliveries/s, p50 {:?}, p99 {:?}",
        half.rate, half.p50, half.p99
    );
    Ok(())
}
