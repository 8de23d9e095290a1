//! Regressions without a clock: counts of ours, compared with those of a file.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::Result;
use crate::codec::{self, By, Work};
use crate::count;
use crate::load::Shape;
use crate::servers::{Job, Server};

/// `check`
#[derive(Args)]
pub struct Options {
    /// The file: a figure and its name on each line.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt"))]
    file: PathBuf,
    /// Write the file rather than compare with it.
    #[arg(long)]
    write: bool,
    /// How much more than the file's a figure may be, in per cent.
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
}

/// Figures this small are as good as none, and a share of one says nothing.
const SLACK: f64 = 0.01;

const HEADER: &str = "\
# Counts of sockless, which `sockless-bench check` compares with: no clock is in them, so they hold on a busy
# machine. A figure may be 3 % above its line, and 0.01; what is below it passes, and is worth a new line.
# Instructions and allocations are callgrind's, of user space, for each frame or message; system calls strace's.
# They change with the compiler, the C library and valgrind, whose versions are told below, and a CPU without AVX2
# takes other paths. So after an update of those, and after a change that is meant to cost or to save, write the file
# anew, and say in the commit why: bench/check --write
";

/// Compares, or writes.
pub fn main(options: &Options) -> Result<()> {
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
            .ok_or_else(|| format!("the file has no {name:?}, which is {figure:.3} now"))?;
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
        println!("the file was not written with these tools:\n{tools}");
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

/// The versions that the figures depend on.
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
        let [instructions, allocations] = count::in_user_space(Server::Sockless, shape, messages)?;
        figures.push((format!("Instructions of a server's {}", deed(shape)), instructions));
        figures.push((format!("Allocations of a server's {}", deed(shape)), allocations));
    }
    for shape in [
        shape(1024, 1, 1, ECHO),
        shape(1024, 100, 1, ECHO),
        shape(1024, 100, 16, ECHO),
        shape(1024, 100, 1, FAN_OUT),
    ] {
        let count = count::system_calls(Server::Sockless, shape, 20_000)?;
        figures.push((format!("Syscalls of a server's {}", deed(shape)), count));
    }
    Ok(figures)
}

const ECHO: Job = Job { deflate: false, fan_out: false };
const DEFLATE: Job = Job { deflate: true, fan_out: false };
const FAN_OUT: Job = Job { deflate: false, fan_out: true };

fn shape(size: usize, connections: usize, depth: usize, job: Job) -> Shape {
    Shape { connections, depth, size, text: false, fragments: 1, job }
}

fn deed(shape: Shape) -> String {
    format!("{}: {shape}", if shape.job.fan_out { "delivery" } else { "echo" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let text = "# header\n    12.500  parse 16 B\n     7.000  parse 1\n";
        assert_eq!(find(text, "parse 1"), Some(7.0));
        assert_eq!(find(text, "parse 16 B"), Some(12.5));
        assert_eq!(find(text, "parse"), None);
    }

    #[test]
    fn more_than_the_tolerance_is_worse() {
        assert!(is_worse(1.05, 1.0, 3.0));
        assert!(is_worse(0.02, 0.0, 3.0), "one in fifty, where there was none");
        assert!(is_worse(104.0, 100.0, 3.0) && is_worse(0.14, 0.126, 3.0));
        assert!(!is_worse(102.9, 100.0, 3.0) && !is_worse(0.009, 0.0, 3.0));
        assert!(!is_worse(50.0, 100.0, 3.0), "better is not worse");
    }
}
