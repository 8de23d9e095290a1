//! Codecs without I/O: the costs of parsing, encoding and echoing a frame.

#[cfg(feature = "peers")]
mod memory;
#[cfg_attr(not(feature = "peers"), path = "codec/no_peers.rs")]
mod peers;

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant as Clock;

use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};
use sockless_core::{Config, Connection, Event, Instant, Negotiated};

use crate::Result;
use crate::callgrind::{self, Scratch, Totals};
use crate::load::{masked_frame, text};
use crate::servers::limits;

/// The approximate number of bytes that arrive at once.
const BURST_LEN: usize = 64 * 1024;

/// `codec`
#[derive(Args)]
pub struct Options {
    /// Payload lengths in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 1024, 65_536])]
    size: Vec<usize>,
    /// The work to measure [default: all].
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// The codecs to measure [default: all].
    #[arg(long, value_delimiter = ',')]
    by: Vec<By>,
    /// Counts instructions with callgrind (needs valgrind) instead of nanoseconds.
    #[arg(long)]
    instructions: bool,
    /// Does the work for this many bursts and prints nothing: the process that runs under callgrind.
    #[arg(long, hide = true)]
    bursts: Option<usize>,
}

/// The work to do with each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Parse masked frames in a buffer that was just filled.
    Parse,
    /// Parse and validate text in several scripts.
    ParseText,
    /// Encode frames into a buffer.
    Encode,
    /// Parse binary frames, and encode them again.
    Echo,
}

/// The code that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Only the copy that replaces the read or the write.
    Memcpy,
    /// The minimum: unmasks in place. It can neither encode separately nor validate.
    Limit,
    Sockless,
    Tungstenite,
    Fastwebsockets,
    TokioWebsockets,
}

impl By {
    fn can(self, work: Work) -> bool {
        match self {
            Self::Memcpy | Self::Sockless => true,
            Self::Limit => !matches!(work, Work::Encode | Work::ParseText),
            _ => cfg!(feature = "peers"),
        }
    }
}

/// Frames that arrive at once.
struct Burst {
    wire: Vec<u8>,
    /// Static, so that no codec pays for reference counts, which are not part of encoding.
    payload: &'static [u8],
    frames: usize,
}

impl Burst {
    fn new(work: Work, size: usize) -> Self {
        let (first, payload) = match work {
            Work::ParseText => (0x81, text(size)),
            _ => (0x82, (0..size).map(|index| index as u8).collect()),
        };
        let frame = masked_frame(first, &payload, [0xA7, 0x31, 0x5C, 0xE9]);
        let frames = (BURST_LEN / frame.len()).max(1);
        Self { wire: frame.repeat(frames), payload: payload.leak(), frames }
    }
}

/// Prints a table of means over many bursts.
pub fn main(options: &Options) -> Result<()> {
    let works = if options.work.is_empty() { Work::value_variants() } else { &options.work };
    let bys = if options.by.is_empty() { By::value_variants() } else { &options.by };
    if let Some(bursts) = options.bursts {
        let burst = Burst::new(works[0], options.size[0]);
        return perform(works[0], bys[0], &burst, bursts);
    }
    let unit = if options.instructions { "instructions" } else { "ns (GB/s of payload)" };
    println!(
        "{unit} for each frame; parsing includes one copy of its bytes into the buffer, as by a read\n"
    );
    print!("| |");
    for size in &options.size {
        print!(" {size} B |");
    }
    println!("\n|---|{}", "---:|".repeat(options.size.len()));
    for &work in works {
        for &by in bys.iter().filter(|by| by.can(work)) {
            print!("| {} {} |", name(work), name(by));
            for &size in &options.size {
                if options.instructions {
                    print!(" {:.0} |", in_user_space(work, by, size)?[0]);
                } else {
                    let nanos = nanoseconds(work, by, size)?;
                    print!(" {nanos:.1} ({:.2}) |", size as f64 / nanos);
                }
            }
            println!();
        }
    }
    Ok(())
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The minimum of several runs.
fn nanoseconds(work: Work, by: By, size: usize) -> Result<f64> {
    let burst = Burst::new(work, size);
    let bursts = 200;
    perform(work, by, &burst, bursts)?;
    let mut least = f64::INFINITY;
    for _ in 0..10 {
        let start = Clock::now();
        perform(work, by, &burst, bursts)?;
        least = least.min(start.elapsed().as_nanos() as f64);
    }
    Ok(least / (bursts * burst.frames) as f64)
}

/// Instructions and allocations for each frame: the difference between two runs of this program, so that its start
/// cancels out.
pub fn in_user_space(work: Work, by: By, size: usize) -> Result<[f64; 2]> {
    let (few, many) = (20, 60);
    let [fewer, more] = [watched(work, by, size, few)?, watched(work, by, size, many)?];
    let allocations = |totals: &Totals| totals.allocations.values().sum::<u64>() as f64;
    let counts = [
        more.instructions as f64 - fewer.instructions as f64,
        allocations(&more) - allocations(&fewer),
    ];
    Ok(counts.map(|count| count / ((many - few) * Burst::new(work, size).frames) as f64))
}

fn watched(work: Work, by: By, size: usize, bursts: usize) -> Result<Totals> {
    let report = Scratch::new("codec");
    let tool = callgrind::tool(&report);
    let output = Command::new(&tool[0])
        .args(&tool[1..])
        .arg(env::current_exe()?)
        .args(["codec", "--work", &name(work), "--by", &name(by)])
        .args(["--size", &size.to_string(), "--bursts", &bursts.to_string()])
        .output()
        .map_err(|error| format!("{}: {error}", tool[0]))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    callgrind::totals(&report)
}

fn perform(work: Work, by: By, burst: &Burst, bursts: usize) -> Result<()> {
    match by {
        By::Memcpy => memcpy(work, burst, bursts),
        By::Limit => limit(burst, bursts),
        By::Sockless => sockless(work, burst, bursts)?,
        peer => peers::perform(peer, work, burst, bursts)?,
    }
    Ok(())
}

fn memcpy(work: Work, burst: &Burst, bursts: usize) {
    let mut buffer = Vec::with_capacity(burst.wire.len());
    let mut written = Vec::with_capacity(burst.wire.len());
    for _ in 0..bursts {
        buffer.clear();
        buffer.extend_from_slice(black_box(&burst.wire));
        black_box(&mut buffer);
        if matches!(work, Work::Echo) {
            written.clear();
            written.extend_from_slice(&buffer);
            black_box(&mut written);
        }
    }
}

fn limit(burst: &Burst, bursts: usize) {
    let mut buffer = Vec::with_capacity(burst.wire.len());
    for _ in 0..bursts {
        buffer.clear();
        buffer.extend_from_slice(black_box(&burst.wire));
        let echo = limits::echo(&mut buffer);
        assert_eq!(echo.taken, burst.wire.len());
        black_box(&buffer[..echo.replies]);
    }
}

fn sockless(work: Work, burst: &Burst, bursts: usize) -> Result<()> {
    let now = Instant::EPOCH;
    let config = Arc::new(Config::default());
    let mut connection = Connection::server(Negotiated::default(), config, now);
    let mut inbound = BytesMut::with_capacity(burst.wire.len());
    for _ in 0..bursts {
        if matches!(work, Work::Encode) {
            for _ in 0..burst.frames {
                connection.send(Bytes::from_static(black_box(burst.payload)), now)?;
            }
            drain(&mut connection);
            continue;
        }
        inbound.extend_from_slice(black_box(&burst.wire));
        let mut frames = 0;
        while let Some(event) = connection.poll_event(&mut inbound, now) {
            frames += 1;
            match (work, event) {
                (Work::Echo, Event::Message(message)) => connection.send(message, now)?,
                (_, event) => drop(black_box(event)),
            }
        }
        assert_eq!(frames, burst.frames);
        drain(&mut connection);
    }
    Ok(())
}

/// Takes everything out of the outgoing queue, as a write would.
fn drain(connection: &mut Connection) {
    let mut outbound = connection.outbound();
    while outbound.has_remaining() {
        let len = black_box(outbound.chunk()).len();
        outbound.advance(len);
    }
}
