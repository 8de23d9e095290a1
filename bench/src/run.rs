//! The comparison: every server under every load, in rounds, so that a disturbance affects all of them equally.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::child::Running;
use crate::load::{Driver, Shape, Until};
use crate::servers::{Job, Server};
use crate::table::{self, Figures, Row};
use crate::{Result, cpu, plot};

/// The warm-up of a server, as a share of the measured time.
const BEFORE: f64 = 0.25;
/// The number of messages in flight with fan-out.
const AHEAD: usize = 8;

/// `run`
#[derive(Args)]
pub struct Options {
    /// The servers to compare [default: all]. The ratios need `limit` and a peer among them.
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    /// The number of rounds; the figures are their medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for which each server is measured under each load in each round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Message lengths in bytes [default: 16,125,1024,16384,65536,1048576; with --fan-out 1024].
    #[arg(long, value_delimiter = ',')]
    size: Vec<usize>,
    /// Connections, and messages in flight on each.
    #[arg(long, value_delimiter = ',', value_parser = load, default_values = ["1x1", "100x1", "100x16"])]
    load: Vec<(usize, usize)>,
    /// Sends text in several scripts instead of binary messages.
    #[arg(long)]
    text: bool,
    /// Frames per message.
    #[arg(long, default_value_t = 1)]
    fragments: usize,
    /// Sends JSON compressed by permessage-deflate, without context takeover.
    #[arg(long)]
    deflate: bool,
    /// Encrypts the connections, with one config of rustls for all servers.
    #[arg(long)]
    tls: bool,
    /// Measures fan-out instead of echoes: one of this many connections sends, with 8 messages in flight, and all receive.
    #[arg(long, value_delimiter = ',', conflicts_with = "load")]
    fan_out: Vec<usize>,
    /// Then also measures latencies at this many messages per second, independent of the replies; `half` is half the rate
    /// of the best peer.
    #[arg(long, value_parser = rate)]
    rate: Option<Rate>,
    /// The CPU that the servers run on.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU that the load generator runs on.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Also draws the table into this SVG file.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// The rate of messages that are sent without waiting for replies.
#[derive(Clone, Copy, Debug)]
enum Rate {
    /// Half the rate of the best peer.
    Half,
    /// Messages per second.
    Fixed(f64),
}

fn load(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('x')
        .and_then(|(connections, depth)| Some((connections.parse().ok()?, depth.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is not CONNECTIONSxDEPTH, such as 100x16"))
}

fn rate(text: &str) -> Result<Rate, String> {
    match (text, text.parse::<f64>()) {
        ("half", _) => Ok(Rate::Half),
        (_, Ok(rate)) if rate > 0.0 => Ok(Rate::Fixed(rate)),
        _ => {
            Err(format!("{text:?} is neither `half` nor a positive number of messages per second"))
        }
    }
}

/// Runs all rounds, and prints the tables.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    cpu::pin(options.load_cpu)?;
    let fan_out = !options.fan_out.is_empty();
    let job = Job { deflate: options.deflate, tls: options.tls, fan_out, pings: None };
    let servers = Server::chosen(&options.servers, job);
    let shapes = shapes(options, job);
    let closed: Vec<_> = shapes.iter().map(|&shape| (shape, None)).collect();
    let tables = rounds(options, &servers, &closed)?;
    println!(
        "(connections,depth); the median of {} rounds of {} s",
        options.rounds, options.seconds
    );
    let loads: Vec<_> = shapes.iter().map(Shape::to_string).zip(tables).collect();
    for (title, rows) in &loads {
        table::print(title, unit(job), rows);
    }
    if let Some(file) = &options.svg {
        plot::draw(file, &loads)?;
    }
    let Some(rate) = options.rate else { return Ok(()) };
    let rate_of = |(&shape, (_, rows)): (&Shape, &(String, Vec<Row>))| match rate {
        Rate::Half => (shape, Some(table::best_rate(rows) / shape.deliveries() as f64 / 2.0)),
        Rate::Fixed(rate) => (shape, Some(rate)),
    };
    let open: Vec<_> = shapes.iter().zip(&loads).map(rate_of).collect();
    let tables = rounds(options, &servers, &open)?;
    for ((shape, rate), rows) in open.iter().zip(&tables) {
        let title = format!("{shape} at {:.0} messages/s", rate.unwrap_or_default());
        table::print_latencies(&title, unit(job), rows);
    }
    Ok(())
}

/// The unit of the counts.
fn unit(job: Job) -> &'static str {
    if job.fan_out { "delivery" } else { "msg" }
}

fn shapes(options: &Options, job: Job) -> Vec<Shape> {
    let Options { text, fragments, .. } = *options;
    let (sizes, loads) = if job.fan_out {
        (vec![1024], options.fan_out.iter().map(|&connections| (connections, AHEAD)).collect())
    } else {
        (vec![16, 125, 1024, 16_384, 65_536, 1_048_576], options.load.clone())
    };
    let sizes = if options.size.is_empty() { &sizes } else { &options.size };
    let shapes = sizes.iter().flat_map(|&size| {
        let of_load = move |&(connections, depth)| Shape {
            connections,
            depth,
            size,
            text,
            zeros: false,
            fragments,
            job,
        };
        loads.iter().map(of_load)
    });
    shapes.collect()
}

/// Measures every server under every load, at a fixed rate where there is one; returns a table for each load.
fn rounds(
    options: &Options,
    servers: &[Server],
    loads: &[(Shape, Option<f64>)],
) -> Result<Vec<Vec<Row>>> {
    let mut found: Vec<Vec<Vec<Figures>>> = vec![Vec::new(); loads.len()];
    for round in 1..=options.rounds {
        for (&(shape, rate), rounds) in loads.iter().zip(&mut found) {
            eprintln!("round {round} of {}: {shape}", options.rounds);
            let figures = servers.iter().map(|&server| {
                let named = |error| format!("{}, {shape}: {error}", server.name());
                // One retry, so that a single failure does not discard hours of measurements.
                measure(options, server, shape, rate).map_err(named).or_else(|error| {
                    eprintln!("{error}; one retry");
                    measure(options, server, shape, rate).map_err(named)
                })
            });
            rounds.push(figures.collect::<Result<_, _>>()?);
        }
    }
    Ok(found.iter().map(|rounds| table::rows(rounds)).collect())
}

/// Measures a newly started server under one load.
fn measure(options: &Options, server: Server, shape: Shape, rate: Option<f64>) -> Result<Figures> {
    let running = Running::start(server, shape.job, Some(options.server_cpu))?;
    let mut driver = Driver::open(&running.target()?, shape)?;
    driver.set_rate(rate);
    driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds * BEFORE)?))?;
    let before = cpu::time(running.pid)?;
    let report = driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds)?))?;
    let spent = cpu::time(running.pid)? - before;
    let peak_memory = cpu::memory(running.pid, "VmHWM")? as f64;
    running.stop()?;
    let quantile = |share| report.latencies.quantile(share);
    Ok(Figures {
        server,
        rate: report.rate(),
        cpu: spent.as_nanos() as f64 / report.messages as f64,
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999),
        delay: report.delays.quantile(0.99),
        peak_memory,
    })
}
