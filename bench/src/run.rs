//! The comparison: every server under every load, in rounds, so that a disturbance hits them all alike.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::child::Running;
use crate::load::{Driver, Shape, Target, Until};
use crate::servers::Server;
use crate::table::{self, Figures};
use crate::{Result, cpu, plot};

/// How long a server runs before it is measured, as a share of the time measured.
const BEFORE: f64 = 0.25;

/// `run`
#[derive(Args)]
pub struct Options {
    /// Which servers; all if none is named. Ratios need `limit` and a peer among them.
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    /// Rounds, of which the median is told.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each server is measured under each load in each round, in seconds.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Bytes of a message.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 125, 1024, 16_384, 65_536, 1_048_576])]
    size: Vec<usize>,
    /// Connections and messages in flight on each.
    #[arg(long, value_delimiter = ',', value_parser = load, default_values = ["1x1", "100x1", "100x16"])]
    load: Vec<(usize, usize)>,
    /// Text of mixed scripts rather than binary.
    #[arg(long)]
    text: bool,
    /// Frames of a message.
    #[arg(long, default_value_t = 1)]
    fragments: usize,
    /// The CPU of the servers.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU of the load generator.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Also draw what the table says.
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn load(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('x')
        .and_then(|(connections, depth)| Some((connections.parse().ok()?, depth.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is not CONNECTIONSxDEPTH, such as 100x16"))
}

/// Runs all rounds, then prints.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    cpu::pin(options.load_cpu)?;
    let servers = if options.servers.is_empty() { Server::ALL } else { &options.servers };
    let shapes = shapes(options);
    let mut found: Vec<Vec<Vec<Figures>>> = vec![Vec::new(); shapes.len()];
    for round in 1..=options.rounds {
        for (shape, rounds) in shapes.iter().zip(&mut found) {
            eprintln!("round {round} of {}: {shape}", options.rounds);
            let figures = servers.iter().map(|server| {
                let measured = measure(options, *server, *shape);
                measured.map_err(|error| format!("{}, {shape}: {error}", server.name()))
            });
            rounds.push(figures.collect::<Result<_, _>>()?);
        }
    }
    let loads: Vec<_> = shapes
        .iter()
        .zip(&found)
        .map(|(shape, rounds)| (shape.to_string(), table::rows(rounds)))
        .collect();
    println!(
        "(connections,depth); the median of {} rounds of {} s",
        options.rounds, options.seconds
    );
    for (title, rows) in &loads {
        table::print(title, rows);
    }
    if let Some(file) = &options.svg {
        fs::write(file, plot::svg(&loads))?;
    }
    Ok(())
}

fn shapes(options: &Options) -> Vec<Shape> {
    let Options { text, fragments, .. } = *options;
    let of_size = |&size| {
        options.load.iter().map(move |&(connections, depth)| Shape {
            connections,
            depth,
            size,
            text,
            fragments,
        })
    };
    options.size.iter().flat_map(of_size).collect()
}

/// A server that was just started, under one load.
fn measure(options: &Options, server: Server, shape: Shape) -> Result<Figures> {
    let running = Running::start(server, Some(options.server_cpu))?;
    let mut driver = Driver::open(&Target::from(running.addr), shape)?;
    driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds * BEFORE)?))?;
    let before = cpu::time(running.pid)?;
    let report = driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds)?))?;
    let spent = cpu::time(running.pid)? - before;
    let peak_memory = cpu::memory(running.pid, "VmHWM")? as f64;
    running.stop()?;
    if report.messages == 0 {
        return Err("no reply in the time measured: give it more --seconds".into());
    }
    let quantile = |share| report.latencies.quantile(share);
    Ok(Figures {
        server,
        rate: report.rate(),
        cpu: spent.as_nanos() as f64 / report.messages as f64,
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999),
        peak_memory,
    })
}
