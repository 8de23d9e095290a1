//! The processes that are measured: [`Node`] and [`Redis`].

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server, which ends with this value.
pub(crate) struct Node {
    process: Child,
    pub(crate) pid: u32,
    pub(crate) addr: SocketAddr,
    /// The summary of `strace`.
    trace: Option<PathBuf>,
}

impl Node {
    pub(crate) fn start(args: &[&str]) -> io::Result<Self> {
        Self::spawn(Command::new(std::env::current_exe()?), args, None)
    }

    /// Starts it under `strace`, which counts its system calls.
    pub(crate) fn traced(args: &[&str]) -> io::Result<Self> {
        let trace = std::env::temp_dir().join(format!("rooms-scale-{}", std::process::id()));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&trace).arg(std::env::current_exe()?);
        Self::spawn(command, args, Some(trace))
    }

    fn spawn(mut command: Command, args: &[&str], trace: Option<PathBuf>) -> io::Result<Self> {
        command.arg("serve").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?)
            .read_line(&mut line)?;
        let parsed = line
            .trim()
            .split_once(' ')
            .and_then(|(pid, addr)| Some((pid.parse().ok()?, addr.parse().ok()?)));
        let (pid, addr) = parsed.ok_or_else(|| io::Error::other("the server did not start"))?;
        Ok(Self { process, pid, addr, trace })
    }

    /// Ends it, and returns how many system calls it has made.
    pub(crate) fn calls(&mut self) -> io::Result<u64> {
        drop(self.process.stdin.take());
        self.process.wait()?;
        let trace = self.trace.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let text = fs::read_to_string(trace)?;
        let total = text.lines().find(|line| line.trim_end().ends_with("total"));
        let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        calls.ok_or_else(|| io::Error::other(format!("no summary:\n{text}")))
    }
}

/// The CPU time of the threads of a process.
pub(crate) fn cpu(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(trace) = &self.trace {
            let _ = fs::remove_file(trace);
        }
    }
}

/// A Redis server that keeps nothing.
pub(crate) struct Redis {
    process: Child,
    pub(crate) url: String,
}

impl Redis {
    pub(crate) fn start(program: &Path) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        let process = command.stdout(Stdio::null()).spawn()?;
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("the Redis server did not start"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { process, url: format!("redis://127.0.0.1:{port}") })
    }
}

impl Redis {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
