//! The load generator: one thread, bare sockets, and frames that were encoded in advance.

mod churn;
mod connection;
mod driver;
mod fan_out;
mod frames;
mod latencies;
mod pongs;
mod replies;
mod stream;

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use clap::Args;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};

use crate::servers::Job;
use crate::{Result, cpu};

pub use churn::{Churn, Encryption, Visits};
pub use connection::Target;
pub use driver::{Driver, Until};
pub use frames::{masked_frame, text};
pub use latencies::Latencies;
pub use pongs::Pongs;
pub use replies::Header;
pub use stream::Stream;

/// The load: connections, and the messages that each of them sends.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The number of connections.
    #[arg(long, default_value_t = 100)]
    pub connections: usize,
    /// Messages in flight on each connection: each reply releases the next message.
    #[arg(long, default_value_t = 1)]
    pub depth: usize,
    /// The length of a message in bytes.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Sends text in several scripts instead of binary messages.
    #[arg(long)]
    pub text: bool,
    /// Sends zeros: with --deflate, messages of 1 MiB that arrive as 1 KiB.
    #[arg(long)]
    pub zeros: bool,
    /// Frames per message.
    #[arg(long, default_value_t = 1)]
    pub fragments: usize,
    #[command(flatten)]
    pub job: Job,
}

impl Shape {
    /// The number of replies to a message.
    pub fn deliveries(&self) -> usize {
        if self.job.fan_out { self.connections } else { 1 }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, depth, size, text, zeros, fragments, job } = *self;
        let size = match size {
            size if size >= 1 << 20 && size % (1 << 20) == 0 => format!("{} MiB", size >> 20),
            size if size >= 1 << 10 && size % (1 << 10) == 0 => format!("{} KiB", size >> 10),
            size => format!("{size} B"),
        };
        let text = if text { " text" } else { "" };
        let zeros = if zeros { " of zeros" } else { "" };
        let fragments = if fragments > 1 { format!(" in {fragments}") } else { String::new() };
        let deflate = if job.deflate { " deflate" } else { "" };
        let tls = if job.tls { " over TLS" } else { "" };
        let to_all = if job.fan_out { " to all of" } else { "" };
        write!(f, "{size}{text}{zeros}{fragments}{deflate}{tls}{to_all} ({connections},{depth})")
    }
}

/// `load`
#[derive(Args)]
pub struct Options {
    /// The URL of the server, such as ws://127.0.0.1:8080/echo, or wss: with any certificate. It must echo each message
    /// once; with --fan-out it must send each message of the first connection to all connections.
    #[arg(long)]
    url: Target,
    #[command(flatten)]
    shape: Shape,
    /// Seconds to measure.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds to run before that.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Sends this many messages per second in all, independent of the replies. Latencies then count from the time that
    /// a message was due, and --depth has no effect.
    #[arg(long)]
    rate: Option<f64>,
    /// The CPU to run on.
    #[arg(long)]
    cpu: Option<usize>,
}

/// Puts load on one server.
pub fn main(options: &Options) -> Result<()> {
    if let Some(cpu) = options.cpu {
        cpu::pin(cpu)?;
    }
    cpu::raise_open_files()?;
    let shape =
        Shape { job: Job { tls: options.url.encrypts(), ..options.shape.job }, ..options.shape };
    let mut driver = Driver::open(&options.url, shape)?;
    driver.set_rate(options.rate);
    driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.warm_up)?))?;
    let report = driver.run(Until::Elapsed(Duration::try_from_secs_f64(options.seconds)?))?;
    let quantile = |share| report.latencies.quantile(share);
    println!("{shape}");
    let unit = if options.shape.job.fan_out { "deliveries/s" } else { "messages/s" };
    println!("{unit:<12} {:>12.0}", report.rate());
    println!("{:<12} {:>12.1}", "MB/s", report.rate() * options.shape.size as f64 / 1e6);
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        println!("{name:<12} {:>12.1} us", quantile(share).as_secs_f64() * 1e6);
    }
    Ok(())
}

/// Waits until sockets are ready; returns false after `limit`.
fn wait(epoll: &OwnedFd, events: &mut Vec<Event>, limit: Duration) -> Result<bool> {
    events.clear();
    let limit = Timespec::try_from(limit)?;
    match epoll::wait(epoll, rustix::buffer::spare_capacity(events), Some(&limit)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
