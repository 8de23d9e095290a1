//! Codecs without I/O: what a frame costs to take in, to put out, and to echo.

use std::hint::black_box;
use std::process::{self, Command};
use std::sync::Arc;
use std::time::Instant as Clock;
use std::{env, fs};

use bytes::{Buf, Bytes, BytesMut};
use clap::{Args, ValueEnum};
use sockless::{Config, Connection, Event, Instant, Message, Negotiated};
use tokio_tungstenite::tungstenite;

use crate::Result;
use crate::load::masked_frame;
use crate::servers::limits;

mod memory;

use memory::Memory;

/// About so much arrives at once.
const BURST_LEN: usize = 64 * 1024;

/// `codec`
#[derive(Args)]
pub struct Options {
    /// Bytes of a frame's payload.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 1024, 65_536])]
    size: Vec<usize>,
    /// What to do; all if none is named.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Who does it; all if none is named.
    #[arg(long, value_delimiter = ',')]
    by: Vec<By>,
    /// Count instructions with callgrind (valgrind must be installed) instead of nanoseconds.
    #[arg(long)]
    instructions: bool,
    /// Only do the work for so many bursts, and print nothing: what callgrind watches.
    #[arg(long, hide = true)]
    bursts: Option<usize>,
}

/// What is done with each frame.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Work {
    /// Take masked frames out of a buffer that was just filled.
    Parse,
    /// Put frames into a buffer.
    Encode,
    /// Both.
    Echo,
}

/// Whose code does it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum By {
    /// Only the copy that stands for the read, or for the write.
    Memcpy,
    /// The least: unmasks in place. It cannot encode by itself.
    Limit,
    Sockless,
    Tungstenite,
}

/// Frames that arrive at once.
struct Burst {
    wire: Vec<u8>,
    payload: Bytes,
    frames: usize,
}

impl Burst {
    fn new(size: usize) -> Self {
        let payload: Vec<u8> = (0..size).map(|index| index as u8).collect();
        let frame = masked_frame(0x82, &payload, [0xA7, 0x31, 0x5C, 0xE9]);
        let frames = (BURST_LEN / frame.len()).max(1);
        Self { wire: frame.repeat(frames), payload: payload.into(), frames }
    }
}

/// Prints a table; a frame's figures are means over many bursts.
pub fn main(options: &Options) -> Result<()> {
    let works = if options.work.is_empty() { Work::value_variants() } else { &options.work };
    let bys = if options.by.is_empty() { By::value_variants() } else { &options.by };
    if let Some(bursts) = options.bursts {
        perform(works[0], bys[0], &Burst::new(options.size[0]), bursts)?;
        return Ok(());
    }
    let unit = if options.instructions { "instructions" } else { "ns" };
    println!(
        "{unit} a frame; to parse includes one copy of its bytes into the buffer, as a read does\n"
    );
    print!("{:<24}", "");
    for size in &options.size {
        print!(" {size:>10} B");
    }
    println!();
    for &work in works {
        for &by in bys {
            if matches!((work, by), (Work::Encode, By::Limit)) {
                continue;
            }
            print!("{:<24}", format!("{} {}", name(work), name(by)));
            for &size in &options.size {
                let figure = if options.instructions {
                    instructions(work, by, size)?
                } else {
                    nanoseconds(work, by, size)?
                };
                print!(" {figure:>12.1}");
            }
            println!();
        }
    }
    Ok(())
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The least of several runs.
fn nanoseconds(work: Work, by: By, size: usize) -> Result<f64> {
    let burst = Burst::new(size);
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

/// The difference between two runs of this program, so that its start falls out.
pub fn instructions(work: Work, by: By, size: usize) -> Result<f64> {
    let (few, many) = (20, 60);
    let more = callgrind(work, by, size, many)? - callgrind(work, by, size, few)?;
    Ok(more / ((many - few) * Burst::new(size).frames) as f64)
}

fn callgrind(work: Work, by: By, size: usize, bursts: usize) -> Result<f64> {
    let file = env::temp_dir().join(format!("bench-codec-{}", process::id()));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["codec", "--work", &name(work), "--by", &name(by)])
        .args(["--size", &size.to_string(), "--bursts", &bursts.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let written = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let totals = written.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.ok_or("callgrind wrote no totals")?.trim().parse()?)
}

fn perform(work: Work, by: By, burst: &Burst, bursts: usize) -> Result<()> {
    match by {
        By::Memcpy => memcpy(work, burst, bursts),
        By::Limit => limit(burst, bursts),
        By::Sockless => sockless(work, burst, bursts)?,
        By::Tungstenite => tungstenite(work, burst, bursts)?,
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
    let mut inbound = BytesMut::with_capacity(2 * burst.wire.len());
    let message = Message::from(burst.payload.clone());
    for _ in 0..bursts {
        if matches!(work, Work::Encode) {
            for _ in 0..burst.frames {
                connection.send(black_box(&message).clone())?;
            }
            drain(&mut connection);
            continue;
        }
        inbound.extend_from_slice(black_box(&burst.wire));
        let mut frames = 0;
        while let Some(event) = connection.poll_event(&mut inbound, now) {
            frames += 1;
            match (work, event) {
                (Work::Echo, Event::Message(message)) => connection.send(message)?,
                (_, event) => drop(black_box(event)),
            }
        }
        assert_eq!(frames, burst.frames);
        drain(&mut connection);
    }
    Ok(())
}

/// Looks at all that waits, as a write would.
fn drain(connection: &mut Connection) {
    let outbound = connection.outbound();
    while outbound.has_remaining() {
        let len = black_box(outbound.chunk()).len();
        outbound.advance(len);
    }
}

fn tungstenite(work: Work, burst: &Burst, bursts: usize) -> Result<()> {
    use tungstenite::protocol::{Role, WebSocket};
    use tungstenite::{Error, Message};

    let mut socket = WebSocket::from_raw_socket(Memory::default(), Role::Server, None);
    let message = Message::Binary(burst.payload.clone());
    for _ in 0..bursts {
        if matches!(work, Work::Encode) {
            for _ in 0..burst.frames {
                socket.write(black_box(&message).clone())?;
            }
            socket.flush()?;
            continue;
        }
        socket.get_mut().fill(black_box(&burst.wire));
        let mut frames = 0;
        loop {
            match socket.read() {
                Ok(message) if matches!(work, Work::Echo) => socket.write(message)?,
                Ok(message) => drop(black_box(message)),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
            frames += 1;
        }
        assert_eq!(frames, burst.frames);
        socket.flush()?;
    }
    Ok(())
}
