//! What connections cost that are idle but for pings, which the server sends and the client answers.

use std::time::{Duration, Instant};

use clap::Args;

use crate::child::Running;
use crate::load::Pongs;
use crate::servers::{Job, Server};
use crate::{Result, cpu};

/// `pings`
#[derive(Args)]
pub struct Options {
    /// The servers [default: those that can send pings].
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    /// Connections; fewer if the limit of open files is too low.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Seconds between two pings on a connection. The connections are opened in as many seconds.
    #[arg(long, default_value_t = 25)]
    interval: u64,
    /// Intervals that are measured.
    #[arg(long, default_value_t = 2)]
    intervals: u32,
    /// The number of rounds; the figures are their medians.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The CPU that the servers run on.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU that the load generator runs on.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
}

/// What a connection costs.
pub struct Cost {
    /// Microseconds of CPU time in a second.
    cpu: f64,
    /// Bytes of RSS.
    pub memory: u64,
    /// Pings in an interval.
    pings: f64,
}

/// Measures the servers in interleaved rounds.
pub fn main(options: &Options) -> Result<()> {
    let files = cpu::raise_open_files()?;
    cpu::pin(options.load_cpu)?;
    let connections = cpu::within(files, options.connections)?;
    let servers = Server::chosen(&options.servers, job(options.interval));
    let mut found: Vec<Vec<Cost>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (&server, costs) in servers.iter().zip(&mut found) {
            let intervals = (options.interval, options.intervals);
            costs.push(measure(server, connections, intervals, Some(options.server_cpu))?);
        }
    }
    println!(
        "{connections} connections with a ping every {} s, the median of {} rounds\n",
        options.interval, options.rounds
    );
    println!("{:<24} {:>14} {:>10} {:>16}", "", "CPU us/s each", "bytes each", "pings/interval");
    for (server, costs) in servers.iter().zip(&mut found) {
        costs.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
        let Cost { cpu, memory, pings } = costs[costs.len() / 2];
        println!("{:<24} {cpu:>14.3} {memory:>10} {pings:>16.2}", server.name());
    }
    Ok(())
}

/// What a server's connections cost for a number of intervals of so many seconds.
pub fn measure(
    server: Server,
    connections: usize,
    (seconds, intervals): (u64, u32),
    server_cpu: Option<usize>,
) -> Result<Cost> {
    let running = Running::start(server, job(seconds), server_cpu)?;
    let interval = Duration::from_secs(seconds);
    let empty = cpu::memory(running.pid, "VmRSS")?;
    let mut pongs = Pongs::open(&running.target()?, connections, interval)?;
    // All have had a ping.
    pongs.answer(Instant::now() + interval)?;
    let (start, before) = (Instant::now(), cpu::time(running.pid)?);
    let answered = pongs.answer(start + interval * intervals)?;
    let spent = cpu::time(running.pid)? - before;
    let memory = cpu::memory(running.pid, "VmRSS")?.saturating_sub(empty) / connections as u64;
    running.stop()?;
    let each = |figure: f64| figure / connections as f64;
    Ok(Cost {
        cpu: each(spent.as_secs_f64() * 1e6 / start.elapsed().as_secs_f64()),
        memory,
        pings: each(answered as f64) / f64::from(intervals),
    })
}

fn job(seconds: u64) -> Job {
    Job { pings: Some(seconds), ..Job::default() }
}
