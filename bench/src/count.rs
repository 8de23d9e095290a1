//! Counts that other load on the machine does not change: system calls by strace, instructions and allocations by
//! callgrind.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::callgrind::{self, Counts, Scratch, Totals};
use crate::child::Running;
use crate::load::{Churn, Driver, Encryption, Pongs, Shape, Until, Visits};
use crate::servers::{Job, Server};
use crate::{Result, cpu};

/// `count`
#[derive(Args)]
pub struct Options {
    /// The operations to count.
    what: What,
    /// The servers [default: all].
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    #[command(flatten)]
    shape: Shape,
    /// Counts for each connection that is opened, has this many echoes of 16 bytes and is ended by the client, one
    /// connection at a time, instead of for each message. Of the load, only --tls and --deflate apply, the latter as an offer.
    #[arg(long)]
    churn: Option<usize>,
    /// With --churn, sends each request 1 ms after its connection, as over a network.
    #[arg(long, requires = "churn")]
    late: bool,
    /// Messages to count, with --fan-out deliveries, with --churn connections, with --pings pings: each server runs
    /// twice, with this difference.
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// The number of lines to print, highest counts first.
    #[arg(long, default_value_t = 6)]
    top: usize,
    /// Counts the pings of the server, one a second on each connection, and their pongs.
    #[arg(long, conflicts_with = "churn")]
    pings: bool,
}

/// The load under which operations are counted.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// For each message or delivery.
    Messages(Shape),
    /// For each connection.
    Visits(Visits),
    /// For each ping of the server that is answered, on so many connections, once a second on each.
    Pings(usize),
}

impl Load {
    fn job(self) -> Job {
        match self {
            Self::Messages(shape) => shape.job,
            Self::Visits(Visits { deflate, encryption, .. }) => {
                Job { deflate, tls: encryption != Encryption::None, ..Job::default() }
            }
            Self::Pings(_) => Job { pings: Some(1), ..Job::default() },
        }
    }
}

/// Operations that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// User-space instructions of the whole process, by function (needs valgrind).
    Instructions,
    /// Allocations of the whole process, by allocation function (needs valgrind).
    Allocations,
    /// System calls, by name (needs strace).
    Syscalls,
}

/// Prints the counts of each server.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    let Shape { job, .. } = options.shape;
    let late = options.late;
    let encryption = if job.tls { Encryption::Full } else { Encryption::None };
    let visits = |echoes| Visits { deflate: job.deflate, late, encryption, ..Visits::of(echoes) };
    let (load, unit) = match options.churn {
        Some(echoes) => (Load::Visits(visits(echoes)), "connection"),
        None if options.pings => (Load::Pings(options.shape.connections), "ping"),
        None if job.fan_out => (Load::Messages(options.shape), "delivery"),
        None => (Load::Messages(options.shape), "message"),
    };
    match load {
        Load::Messages(shape) => println!("{shape}, {} messages", options.messages),
        Load::Visits(visits) => println!("{visits}, {} connections", options.messages),
        Load::Pings(connections) => {
            println!("({connections}), a ping every second, {} pings", options.messages);
        }
    }
    for server in Server::chosen(&options.servers, load.job()) {
        let counts = counts(options.what, server, load, options.messages)?;
        let per_message =
            counts.iter().map(|(name, count)| (name, count / options.messages as f64));
        let mut most: Vec<_> = per_message.collect();
        let total: f64 = most.iter().map(|(_, count)| count).sum();
        println!("\n{:<24} {total:>10.3} per {unit}", server.name());
        most.retain(|(_, count)| *count > 0.0005);
        most.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (name, count) in most.into_iter().take(options.top) {
            println!("  {count:>10.3} {:>5.1} %  {name}", 100.0 * count / total);
        }
    }
    Ok(())
}

/// Instructions and allocations for each message, connection or ping.
pub fn in_user_space(server: Server, load: Load, messages: u64) -> Result<[f64; 2]> {
    let report = Scratch::new(&server.name());
    let of = |messages| -> Result<Totals> {
        run(&callgrind::tool(&report), server, load, messages)?;
        callgrind::totals(&report)
    };
    let [fewer, more] = twice(messages, of)?;
    let allocations = difference(&fewer.allocations, &more.allocations);
    let instructions = more.instructions as f64 - fewer.instructions as f64;
    Ok([instructions, allocations.values().sum()].map(|count| count / messages as f64))
}

/// System calls for each message or connection.
pub fn system_calls(server: Server, load: Load, messages: u64) -> Result<f64> {
    let counts = counts(What::Syscalls, server, load, messages)?;
    Ok(counts.values().sum::<f64>() / messages as f64)
}

/// The counts for `messages` messages or connections.
fn counts(what: What, server: Server, load: Load, messages: u64) -> Result<BTreeMap<String, f64>> {
    let report = Scratch::new(&server.name());
    let of = |messages| -> Result<Counts> {
        if what == What::Syscalls {
            let tool = ["strace", "-f", "-c", "-o"].map(str::to_owned);
            let file = report.path().display().to_string();
            run(&[tool.as_slice(), &[file]].concat(), server, load, messages)?;
            return syscalls(&report.read()?);
        }
        run(&callgrind::tool(&report), server, load, messages)?;
        match what {
            What::Allocations => Ok(callgrind::totals(&report)?.allocations),
            _ => callgrind::functions(&report),
        }
    };
    let [fewer, more] = twice(messages, of)?;
    Ok(difference(&fewer, &more))
}

/// Two runs that differ by `messages` messages, so that the costs of starting, opening and ending cancel out.
fn twice<T>(messages: u64, of: impl Fn(u64) -> Result<T>) -> Result<[T; 2]> {
    let warm_up = messages / 4;
    Ok([of(warm_up)?, of(warm_up + messages)?])
}

fn difference(fewer: &Counts, more: &Counts) -> BTreeMap<String, f64> {
    let over = |(name, count): (&String, &u64)| {
        let before = fewer.get(name).copied().unwrap_or(0);
        (name.clone(), *count as f64 - before as f64)
    };
    more.iter().map(over).collect()
}

fn run(tool: &[String], server: Server, load: Load, messages: u64) -> Result<()> {
    let running = Running::start_under(tool, server, load.job(), None)?;
    let target = running.target()?;
    match load {
        Load::Messages(shape) => {
            Driver::open(&target, shape)?.run(Until::Messages(messages))?;
        }
        Load::Visits(visits) => {
            Churn::open(&target, visits)?.run(Until::Messages(messages))?;
        }
        Load::Pings(connections) => {
            Pongs::open(&target, connections, Duration::ZERO)?.answer_some(messages)?;
        }
    }
    running.stop()
}

/// Parses the table of `strace -c`, whose columns are share, seconds, time per call, calls, errors if any, name.
fn syscalls(table: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(calls), Some(name)) = (words.get(3), words.last()) else { continue };
        if let Ok(calls) = calls.parse()
            && *name != "total"
        {
            counts.insert((*name).to_owned(), calls);
        }
    }
    if counts.is_empty() { Err("strace reported no system calls".into()) } else { Ok(counts) }
}
