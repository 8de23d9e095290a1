//! Connections that come and go: the CPU time of a server for each connection, in interleaved rounds.

use std::time::Duration;

use clap::Args;

use crate::child::Running;
use crate::load::{Churn, Encryption, Until, Visits};
use crate::servers::{Job, Server};
use crate::table::{self, Figures};
use crate::{Result, cpu};

/// The warm-up of a server, as a share of the measured time.
const BEFORE: f64 = 0.25;

/// `churn`
#[derive(Args)]
pub struct Options {
    /// The servers to compare [default: all that do the opening handshake].
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    /// The number of rounds; the figures are their medians.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds for which each server is measured in each round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Messages of 16 bytes that are echoed on each connection before the client ends it.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 10])]
    echoes: Vec<usize>,
    /// Connections at a time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Offers permessage-deflate to all servers. Those that support it agree; no message is compressed.
    #[arg(long)]
    deflate: bool,
    /// Sends each request 1 ms after its connection, as over a network, when the server has looked for it in vain.
    #[arg(long)]
    late: bool,
    /// Encrypts the connections. Handshakes are full, and one at a time.
    #[arg(long)]
    tls: bool,
    /// With --tls, each connection resumes the session of an earlier one.
    #[arg(long, requires = "tls")]
    resume: bool,
    /// The CPU that the servers run on.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU that the load generator runs on.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
}

/// Runs all rounds, and prints a table for each number of echoes.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    cpu::pin(options.load_cpu)?;
    let job = Job { tls: options.tls, ..Job::default() };
    let servers = Server::chosen(&options.servers, job);
    let Options { connections, deflate, late, .. } = *options;
    let encryption = match (options.tls, options.resume) {
        (false, _) => Encryption::None,
        (true, false) => Encryption::Full,
        (true, true) => Encryption::Resumed,
    };
    let loads: Vec<_> = options
        .echoes
        .iter()
        .map(|&echoes| Visits { connections, echoes, deflate, late, encryption })
        .collect();
    let mut found: Vec<Vec<Vec<Figures>>> = vec![Vec::new(); loads.len()];
    for round in 1..=options.rounds {
        for (&visits, rounds) in loads.iter().zip(&mut found) {
            eprintln!("round {round} of {}: {visits}", options.rounds);
            let figures = servers.iter().map(|&server| {
                let named = |error| format!("{}, {visits}: {error}", server.name());
                measure(options, server, visits).map_err(named)
            });
            rounds.push(figures.collect::<Result<_, _>>()?);
        }
    }
    println!("the median of {} rounds of {} s", options.rounds, options.seconds);
    for (visits, rounds) in loads.iter().zip(&found) {
        table::print_churn(&visits.to_string(), &table::rows(rounds));
    }
    Ok(())
}

/// Measures a newly started server.
fn measure(options: &Options, server: Server, visits: Visits) -> Result<Figures> {
    let plain = Job { tls: options.tls, ..Job::default() };
    let compresses = Job { deflate: visits.deflate, ..plain };
    let job = if server.can(compresses) { compresses } else { plain };
    let running = Running::start(server, job, Some(options.server_cpu))?;
    let mut churn = Churn::open(&running.target()?, visits)?;
    churn.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds * BEFORE)?))?;
    let before = cpu::time(running.pid)?;
    let limit = Duration::try_from_secs_f64(options.seconds)?;
    let ended = churn.run(Until::Elapsed(limit))?;
    let spent = cpu::time(running.pid)? - before;
    running.stop()?;
    Ok(Figures::of_churn(server, ended, spent, limit))
}
