//! Fairness: how long a connection with few messages waits for the busy ones of the same server.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::child::Running;
use crate::load::{Driver, Header, Latencies, Shape, Stream, Target, Until, masked_frame};
use crate::servers::{Job, Server};
use crate::{Result, cpu, table};

/// The time between two messages of the quiet connection.
const PERIOD: Duration = Duration::from_millis(2);
/// The length of such a message.
const MESSAGE_LEN: usize = 16;
/// The warm-up of a server, as a share of the measured time.
const BEFORE: f64 = 0.25;

/// `neighbour`
#[derive(Args)]
pub struct Options {
    /// The servers to compare [default: all].
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    /// The load of the busy connections.
    #[command(flatten)]
    busy: Shape,
    /// The number of rounds; the figures are their medians.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds for which each server is measured in each round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The CPU that the servers run on.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU that the load generator runs on.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
}

/// The results of one server in one round.
struct Figures {
    /// Of the quiet connection.
    p50: f64,
    p99: f64,
    /// The server's CPU time for each message of the busy connections.
    cpu: f64,
    /// The share of the time in which the server ran: near 1, it is what the load waits for.
    busy: f64,
}

/// Runs all rounds, and prints a table.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    cpu::pin(options.load_cpu)?;
    let servers = Server::chosen(&options.servers, options.busy.job);
    let mut found: Vec<Vec<Figures>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for (&server, figures) in servers.iter().zip(&mut found) {
            figures.push(measure(options, server)?);
        }
    }
    let quiet = if options.busy.job.fan_out { "A ping of " } else { "" };
    println!(
        "{quiet}{MESSAGE_LEN} B every {} ms beside {}; the median of {} rounds of {} s\n",
        PERIOD.as_millis(),
        options.busy,
        options.rounds,
        options.seconds
    );
    println!("{:<24} {:>9} {:>9} {:>11} {:>6}", "", "p50 ms", "p99 ms", "CPU us/msg", "busy");
    for (server, figures) in servers.iter().zip(&found) {
        let median = |of: fn(&Figures) -> f64| table::median(figures.iter().map(of).collect());
        println!(
            "{:<24} {:>9.2} {:>9.2} {:>11.2} {:>6.2}",
            server.name(),
            median(|it| it.p50),
            median(|it| it.p99),
            median(|it| it.cpu),
            median(|it| it.busy)
        );
    }
    Ok(())
}

fn measure(options: &Options, server: Server) -> Result<Figures> {
    let running = Running::start(server, options.busy.job, Some(options.server_cpu))?;
    let target = running.target()?;
    let mut driver = Driver::open(&target, options.busy)?;
    driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds * BEFORE)?))?;
    let limit = Duration::try_from_secs_f64(options.seconds)?;
    let is_over = AtomicBool::new(false);
    let before = cpu::time(running.pid)?;
    let (report, waits) = thread::scope(|scope| {
        let quiet = scope.spawn(|| {
            waits(&target, options.busy.job.fan_out, &is_over).map_err(|error| error.to_string())
        });
        let report = driver.run(Until::Elapsed(limit));
        is_over.store(true, Ordering::Relaxed);
        (report, quiet.join())
    });
    let (report, spent) = (report?, cpu::time(running.pid)? - before);
    let waits = waits.map_err(|_| "the quiet connection's thread panicked")??;
    // Its load ends first, so that the last message of the other is answered.
    drop(driver);
    running.stop()?;
    let millis = |share| waits.quantile(share).as_secs_f64() * 1e3;
    Ok(Figures {
        p50: millis(0.5),
        p99: millis(0.99),
        cpu: spent.as_secs_f64() * 1e6 / report.messages as f64,
        busy: spent.as_secs_f64() / report.elapsed.as_secs_f64(),
    })
}

/// How long each message of the quiet connection waits for its echo. It has priority over the load on their CPU.
///
/// With fan-out it is one of the members, and sends pings: a message would go to all.
fn waits(target: &Target, is_member: bool, is_over: &AtomicBool) -> Result<Latencies> {
    rustix::process::setpriority_process(None, -20)
        .map_err(|error| format!("the priority needs CAP_SYS_NICE: {error}"))?;
    let mut stream = target.connect(Job::default())?;
    let first = if is_member { 0x89 } else { 0x82 };
    let frame = masked_frame(first, &[7; MESSAGE_LEN], [0xA7, 0x31, 0x5C, 0xE9]);
    let (mut received, mut waits) = (Vec::new(), Latencies::default());
    while !is_over.load(Ordering::Relaxed) {
        let sent = Instant::now();
        stream.write_all(&frame)?;
        await_reply(&mut stream, &mut received)?;
        waits.record(sent.elapsed());
        thread::sleep(PERIOD.saturating_sub(sent.elapsed()));
    }
    Ok(waits)
}

/// Reads to the end of the frame with our payload, and drops what comes before it.
fn await_reply(stream: &mut Stream, received: &mut Vec<u8>) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(header) = Header::parse(received) {
            let end = header.len + usize::try_from(header.payload)?;
            if received.len() < end {
                break;
            }
            let is_ours = received[header.len..end] == [7; MESSAGE_LEN];
            received.drain(..end);
            if is_ours {
                return Ok(());
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed the quiet connection".into()),
            len => received.extend_from_slice(&buffer[..len]),
        }
    }
}
