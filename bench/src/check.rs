//! Regressions without a clock: counts of ours, compared with those of a file.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::Result;
use crate::codec::{self, By, Work};
use crate::count::{self, What};
use crate::load::Shape;
use crate::servers::Server;

/// `check`
#[derive(Args)]
pub struct Options {
    /// The file: a name and a figure on each line.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt"))]
    file: PathBuf,
    /// Write the file rather than compare with it.
    #[arg(long)]
    write: bool,
    /// How much more than the file's a figure may be, in per cent.
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
}

/// What to count with a server, beside the codec.
const MESSAGES: u64 = 20_000;

const HEADER: &str = "\
# Counts of sockless, which `sockless-bench check` compares with: no clock is in them, so they hold on a busy
# machine. Instructions are callgrind's and change with the compiler and the C library: after an update of
# those, and after a change that is meant to cost or to save, write the file anew with `check --write`.
";

/// Compares, or writes.
pub fn main(options: &Options) -> Result<()> {
    let figures = measure()?;
    if options.write {
        let mut text = HEADER.to_owned();
        for (name, figure) in &figures {
            writeln!(text, "{figure:>10.3}  {name}")?;
        }
        return Ok(fs::write(&options.file, text)?);
    }
    let text = fs::read_to_string(&options.file)?;
    let mut worse = 0;
    for (name, figure) in &figures {
        let before = find(&text, name).ok_or_else(|| format!("the file has no {name:?}"))?;
        let change = 100.0 * (figure / before - 1.0);
        let verdict = if change > options.tolerance { "WORSE" } else { "" };
        worse += usize::from(change > options.tolerance);
        println!("{before:>10.3} {figure:>10.3} {change:>+7.1} %  {name} {verdict}");
    }
    match worse {
        0 => Ok(()),
        worse => Err(format!("{worse} figures are worse by over {} %", options.tolerance).into()),
    }
}

fn find(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let (figure, of) = line.trim_start().split_once("  ")?;
        if of == name { figure.parse().ok() } else { None }
    })
}

fn measure() -> Result<Vec<(String, f64)>> {
    let mut figures = Vec::new();
    for work in [Work::Parse, Work::Encode, Work::Echo] {
        for size in [16, 1024, 65_536] {
            let figure = codec::instructions(work, By::Sockless, size)?;
            figures.push((format!("instructions of a codec: {work:?} {size} B"), figure));
        }
    }
    for (what, size, connections, depth) in [
        (What::Instructions, 16, 100, 16),
        (What::Syscalls, 1024, 1, 1),
        (What::Syscalls, 1024, 100, 1),
        (What::Syscalls, 1024, 100, 16),
    ] {
        let shape = Shape { connections, depth, size, text: false, fragments: 1 };
        let counts = count::per_message(what, Server::Sockless, shape, MESSAGES)?;
        figures.push((format!("{what:?} of a server's echo: {shape}"), counts.values().sum()));
    }
    Ok(figures)
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
}
