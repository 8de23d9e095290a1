//! Counts that no busy machine disturbs: system calls by strace, instructions by callgrind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

use clap::{Args, ValueEnum};

use crate::child::Running;
use crate::load::{Driver, Shape, Target, Until};
use crate::servers::Server;
use crate::{Result, cpu};

/// `count`
#[derive(Args)]
pub struct Options {
    /// What to count.
    what: What,
    /// Which servers; all if none is named.
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    #[command(flatten)]
    shape: Shape,
    /// Messages to count; each server is run twice, and this is the difference.
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// So many lines of what takes most.
    #[arg(long, default_value_t = 6)]
    top: usize,
}

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// User-space instructions of the whole process, by function: needs valgrind.
    Instructions,
    /// System calls: needs strace.
    Syscalls,
}

/// Figures by name: of a function or of a system call.
type Counts = BTreeMap<String, u64>;

/// Counts for each server.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    println!("{}, {} messages", options.shape, options.messages);
    let servers = if options.servers.is_empty() { Server::ALL } else { &options.servers };
    for &server in servers {
        let per_message = per_message(options.what, server, options.shape, options.messages)?;
        let total: f64 = per_message.values().sum();
        println!("\n{:<24} {total:>10.3} a message", server.name());
        let mut most: Vec<_> = per_message.iter().filter(|(_, count)| **count > 0.0005).collect();
        most.sort_by(|a, b| b.1.total_cmp(a.1));
        for (name, count) in most.into_iter().take(options.top) {
            println!("  {count:>10.3} {:>5.1} %  {name}", 100.0 * count / total);
        }
    }
    Ok(())
}

/// The difference between a run with messages and one with fewer: what starting, opening and ending cost
/// falls out.
pub fn per_message(
    what: What,
    server: Server,
    shape: Shape,
    messages: u64,
) -> Result<BTreeMap<String, f64>> {
    let warm_up = messages / 4;
    let fewer = run(what, server, shape, warm_up)?;
    let more = run(what, server, shape, warm_up + messages)?;
    let share = |name: &String, count: u64| {
        (count as f64 - fewer.get(name).copied().unwrap_or(0) as f64) / messages as f64
    };
    Ok(more.iter().map(|(name, count)| (name.clone(), share(name, *count))).collect())
}

fn run(what: What, server: Server, shape: Shape, messages: u64) -> Result<Counts> {
    let file = Scratch::new(&server.name());
    let tool = match what {
        What::Instructions => vec![
            "valgrind".into(),
            "--tool=callgrind".into(),
            format!("--callgrind-out-file={}", file.0.display()),
        ],
        What::Syscalls => {
            vec![
                "strace".into(),
                "-f".into(),
                "-c".into(),
                "-o".into(),
                file.0.display().to_string(),
            ]
        }
    };
    let running = Running::start_under(&tool, server, None)?;
    let mut driver = Driver::open(&Target::from(running.addr), shape)?;
    driver.run(Until::Messages(messages))?;
    running.stop()?;
    match what {
        What::Instructions => instructions(&file.0),
        What::Syscalls => syscalls(&fs::read_to_string(&file.0)?),
    }
}

/// Each function's own instructions by the source file that they come from, which tells what was inlined.
fn instructions(file: &Path) -> Result<Counts> {
    let options = ["--auto=no", "--threshold=100"];
    let output = Command::new("callgrind_annotate").args(options).arg(file).output()?;
    let mut counts = Counts::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // 12,345 ( 1.23%)  /path/to/file.rs:function [object]
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let Ok(count) = count.replace(',', "").parse::<u64>() else { continue };
        let Some((_, place)) = rest.split_once("%)") else { continue };
        let place = place.trim();
        let Some((file, function)) = place.split_once(':') else { continue };
        let function = function.rsplit_once(" [").map_or(function, |(function, _)| function);
        *counts.entry(format!("{} in {}", last_parts(file), unrecursed(function))).or_default() +=
            count;
    }
    if counts.is_empty() {
        return Err("callgrind_annotate gave nothing".into());
    }
    Ok(counts)
}

/// The end of a path: enough to know the file by.
fn last_parts(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}

/// A function's name without the level of its recursion.
fn unrecursed(function: &str) -> &str {
    function.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches('\'')
}

/// The table of `strace -c`: share, seconds, time of a call, calls, errors if any, name.
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
    if counts.is_empty() { Err("strace counted nothing".into()) } else { Ok(counts) }
}

/// A file for a tool's report, removed when it has been read.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("bench-{}-{name}", process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = fs::remove_file(&self.0);
    }
}
