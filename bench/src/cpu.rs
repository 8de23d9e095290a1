//! Figures that Linux has about a process: its CPUs, its CPU time, its memory.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Result;

/// Open files besides the connections.
const OTHER_FILES: u64 = 64;

/// Pins the calling thread, and the threads and processes that it starts, to one CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|error| format!("cannot pin to CPU {cpu}: {error}"))?;
    Ok(())
}

/// The CPU time of the threads of a process, in user space and in the kernel.
pub fn time(pid: Pid) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The first figure is the time on a CPU, in nanoseconds.
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = stat.split(' ').next().ok_or("schedstat is empty")?;
        nanos += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// A figure of `/proc/PID/status`, such as `VmRSS` or `VmHWM`, in bytes.
pub fn memory(pid: Pid, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or(format!("/proc/{pid}/status has no {name}"))?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// Raises the limit of open files to the maximum, for child processes too, and returns it.
pub fn raise_open_files() -> Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// As many of `connections` as a limit of open files allows.
pub fn within(files: u64, connections: usize) -> Result<usize> {
    Ok(connections.min(usize::try_from(files.saturating_sub(OTHER_FILES))?))
}
