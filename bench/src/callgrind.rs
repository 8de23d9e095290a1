//! Running a program under callgrind, and reading its report.
//!
//! The crate `gungraun` measures benchmark functions in a harness of its own, with a runner that must be installed at the
//! same version. The counts here are differences between two runs of a server whose load comes from another process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

use crate::Result;

/// Figures by name: of a function or of a system call.
pub type Counts = BTreeMap<String, u64>;

/// Counts of a whole program run, in user space.
#[derive(Debug, PartialEq, Eq)]
pub struct Totals {
    pub instructions: u64,
    /// Calls of allocation functions, by function.
    pub allocations: Counts,
}

/// The allocation functions of the C library.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// The words that precede the command line of the program.
pub fn tool(report: &Scratch) -> Vec<String> {
    let mut words = vec!["valgrind".to_owned(), "--tool=callgrind".to_owned()];
    // Each name in full; otherwise a number replaces a name that the report had before.
    words.push("--compress-strings=no".to_owned());
    words.push(format!("--callgrind-out-file={}", report.0.display()));
    words
}

/// Reads the report of a program that has ended.
pub fn totals(report: &Scratch) -> Result<Totals> {
    parse(&report.read()?)
}

fn parse(report: &str) -> Result<Totals> {
    let (mut instructions, mut allocations, mut callee) = (None, Counts::new(), "");
    for line in report.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=")
            && ALLOCATORS.contains(&callee)
        {
            let calls = calls.split(' ').next().unwrap_or_default();
            *allocations.entry(callee.to_owned()).or_default() += calls.parse::<u64>()?;
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = Some(total.trim().parse()?);
        }
    }
    let instructions = instructions.ok_or("callgrind wrote no totals")?;
    Ok(Totals { instructions, allocations })
}

/// The instructions of each function itself, by source file, which shows the inlined code separately.
pub fn functions(report: &Scratch) -> Result<Counts> {
    let options = ["--auto=no", "--threshold=100"];
    let output = Command::new("callgrind_annotate").args(options).arg(&report.0).output()?;
    let mut counts = Counts::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // 12,345 ( 1.23%)  /path/to/file.rs:function [object]
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let Ok(count) = count.replace(',', "").parse::<u64>() else { continue };
        let Some((_, place)) = rest.split_once("%)") else { continue };
        let place = place.trim();
        let Some((file, function)) = place.split_once(':') else { continue };
        let function = function.rsplit_once(" [").map_or(function, |(function, _)| function);
        let name = format!("{} in {}", last_parts(file), unrecursed(function));
        *counts.entry(name).or_default() += count;
    }
    if counts.is_empty() { Err("callgrind_annotate gave nothing".into()) } else { Ok(counts) }
}

/// The last three components of a path, enough to identify the file.
fn last_parts(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}

/// A function's name without the level of its recursion.
fn unrecursed(function: &str) -> &str {
    function.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches('\'')
}

/// A temporary file for the report of a tool, removed on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("bench-{}-{name}", process::id())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn read(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.0)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The tool may not have written it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_allocators_are_counted_for_every_caller() {
        let report = "fn=main\n12 40\ncfn=malloc\ncalls=3 3281 \n0 2078\ncfn=free\ncalls=9 1 \n0 1\n\
                      fn=other\ncfn=malloc_consolidate\ncalls=60 4711 \n* 5\ncfn=malloc\ncalls=2 3281 \n\
                      * 350\ncfn=realloc\ncalls=1 7 \n\ntotals: 10804611\n";
        let expected =
            [("malloc", 5), ("realloc", 1)].map(|(name, count)| (name.to_owned(), count));
        let totals = Totals { instructions: 10_804_611, allocations: expected.into() };
        assert_eq!(parse(report).unwrap(), totals);
        assert!(parse("fn=main\n").is_err(), "the report of a killed program has no totals");
    }
}
