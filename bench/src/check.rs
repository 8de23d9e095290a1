//! Finds regressions without a clock, by comparing our counts with those in a file.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;

use crate::codec::{self, By, Work};
use crate::count::{self, Load};
use crate::idle;
use crate::load::{Shape, Visits};
use crate::servers::{Job, Server};
use crate::{Result, cpu, pings};

/// `check`
#[derive(Args)]
pub struct Options {
    /// The file with the expected counts: a figure and its name on each line.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt"))]
    file: PathBuf,
    /// Writes the file instead of comparing with it.
    #[arg(long)]
    write: bool,
    /// The accepted increase of a figure over that in the file, in per cent.
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
}

/// Idle connections whose memory is measured.
const IDLE: usize = 5000;

/// The accepted absolute increase: for figures close to zero, a ratio has no meaning.
const SLACK: f64 = 0.01;

const HEADER: &str = "\
# Counts of sockless that `sockless-bench check` compares with. They do not depend on a clock, so they are valid on a
# busy machine. A figure may exceed its line by 3 % and 0.01; a lower figure passes, and should replace its line.
# Instructions and allocations are counted by callgrind in user space, for each frame or message; system calls by
# strace, bytes from the process's resident memory. They depend on the compiler, the C library and valgrind, whose versions are below, and a CPU without AVX2
# runs other code. After an update of those, or after a change that intentionally costs or saves, write the file again
# and explain it in the commit: bench/check --write
";

/// Compares with the file, or writes it.
pub fn main(options: &Options) -> Result<()> {
    cpu::raise_open_files()?;
    let figures = measure()?;
    let tools = format!("# {}", tools()?);
    if options.write {
        let mut text = format!("{HEADER}{tools}\n");
        for (name, figure) in &figures {
            writeln!(text, "{figure:>10.3}  {name}")?;
        }
        return Ok(fs::write(&options.file, text)?);
    }
    let text = fs::read_to_string(&options.file)?;
    let mut worse = 0;
    for (name, figure) in &figures {
        let before = find(&text, name)
            .ok_or_else(|| format!("no line {name:?} in the file; its count is {figure:.3}"))?;
        let is_worse = is_worse(*figure, before, options.tolerance);
        worse += usize::from(is_worse);
        let change = if before > SLACK { 100.0 * (figure / before - 1.0) } else { 0.0 };
        let verdict = if is_worse { "  WORSE" } else { "" };
        println!("{before:>10.3} {figure:>10.3} {change:>+7.1} %  {name}{verdict}");
    }
    if worse == 0 {
        return Ok(());
    }
    if !text.lines().any(|line| line == tools) {
        println!("the file was written with other tools than these:\n{tools}");
    }
    Err(format!("{worse} figures are worse by over {} %", options.tolerance).into())
}

fn is_worse(figure: f64, before: f64, tolerance: f64) -> bool {
    figure > before * (1.0 + tolerance / 100.0) + SLACK
}

fn find(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let (figure, of) = line.trim_start().split_once("  ")?;
        if of == name { figure.parse().ok() } else { None }
    })
}

/// The tools that the figures depend on, with their versions.
fn tools() -> Result<String> {
    let commands = [("rustc", "--version"), ("valgrind", "--version"), ("ldd", "--version")];
    let versions = commands.map(|(program, option)| {
        let output = Command::new(program).arg(option).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().to_owned())
    });
    Ok(versions.into_iter().collect::<Result<Vec<_>, String>>()?.join(", "))
}

fn measure() -> Result<Vec<(String, f64)>> {
    let mut figures = Vec::new();
    for work in [Work::Parse, Work::ParseText, Work::Encode, Work::Echo] {
        for size in [16, 1024, 65_536] {
            let [instructions, allocations] = codec::in_user_space(work, By::Sockless, size)?;
            figures.push((format!("instructions of a codec: {work:?} {size} B"), instructions));
            figures.push((format!("allocations of a codec: {work:?} {size} B"), allocations));
        }
    }
    for (shape, messages) in [
        (shape(16, 100, 16, ECHO), 20_000),
        (shape(1024, 100, 1, ECHO), 20_000),
        (shape(1024, 100, 1, DEFLATE), 2_000),
        (shape(1024, 100, 1, FAN_OUT), 20_000),
    ] {
        let [instructions, allocations] =
            count::in_user_space(Server::Sockless, Load::Messages(shape), messages)?;
        figures.push((format!("Instructions of a server's {}", deed(shape)), instructions));
        figures.push((format!("Allocations of a server's {}", deed(shape)), allocations));
    }
    for shape in [
        shape(1024, 1, 1, ECHO),
        shape(1024, 100, 1, ECHO),
        shape(1024, 100, 16, ECHO),
        shape(1024, 100, 1, FAN_OUT),
    ] {
        let count = count::system_calls(Server::Sockless, Load::Messages(shape), 20_000)?;
        figures.push((format!("Syscalls of a server's {}", deed(shape)), count));
    }
    for (server, of) in OPENINGS {
        let load = Load::Visits(Visits::of(0));
        let [instructions, allocations] = count::in_user_space(server, load, 2_000)?;
        figures.push((
            format!("Instructions of a connection that opens and ends: {of}"),
            instructions,
        ));
        figures
            .push((format!("Allocations of a connection that opens and ends: {of}"), allocations));
        let count = count::system_calls(server, load, 2_000)?;
        figures.push((format!("Syscalls of a connection that opens and ends: {of}"), count));
    }
    let late = Load::Visits(Visits { late: true, ..Visits::of(0) });
    let count = count::system_calls(Server::SocklessBare, late, 500)?;
    figures.push(("Syscalls of a connection whose request comes 1 ms late".to_owned(), count));
    for job in [ECHO, DEFLATE] {
        let shape = shape(1024, IDLE, 1, job);
        let bytes = idle::measure(Server::Sockless, shape, Duration::from_secs(1))?;
        figures
            .push((format!("Bytes of an idle connection after an {}", deed(shape)), bytes as f64));
    }
    let pinging = pings::measure(Server::Sockless, IDLE, (3, 1), None)?;
    let name = format!("Bytes of an idle connection that is pinged: ({IDLE})");
    figures.push((name, pinging.memory as f64));
    Ok(figures)
}

/// The servers of which an opening is counted.
const OPENINGS: [(Server, &str); 3] = [
    (Server::SocklessBare, "a service"),
    (Server::Sockless, "a router"),
    (Server::SocklessGuarded, "a router with origins, state and a guard"),
];

const ECHO: Job = Job { deflate: false, fan_out: false, tls: false, pings: None };
const DEFLATE: Job = Job { deflate: true, ..ECHO };
const FAN_OUT: Job = Job { fan_out: true, ..ECHO };

fn shape(size: usize, connections: usize, depth: usize, job: Job) -> Shape {
    Shape { connections, depth, size, text: false, zeros: false, fragments: 1, job }
}

fn deed(shape: Shape) -> String {
    format!("{}: {shape}", if shape.job.fan_out { "delivery" } else { "echo" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "# header\n    12.500  parse 16 B\n     7.000  parse 1\n";
        assert_eq!(find(text, "parse 1"), Some(7.0));
        assert_eq!(find(text, "parse 16 B"), Some(12.5));
        assert_eq!(find(text, "parse"), None);
    }

    #[test]
    fn an_increase_beyond_the_tolerance_is_worse() {
        assert!(is_worse(1.05, 1.0, 3.0));
        assert!(is_worse(0.02, 0.0, 3.0), "one in fifty instead of none");
        assert!(is_worse(104.0, 100.0, 3.0) && is_worse(0.14, 0.126, 3.0));
        assert!(!is_worse(102.9, 100.0, 3.0) && !is_worse(0.009, 0.0, 3.0));
        assert!(!is_worse(50.0, 100.0, 3.0), "a decrease is not worse");
    }
}
