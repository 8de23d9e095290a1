//! Servers as child processes, which report their address and pid.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::load::Target;
use crate::servers::{Job, Server};

/// A server that listens, terminated on drop.
pub struct Running {
    child: Child,
    addr: SocketAddr,
    encrypts: bool,
    /// The process of the server itself; under a tool it is not the child process.
    pub pid: Pid,
}

impl Running {
    /// Starts a server, on the given CPU only if there is one.
    pub fn start(server: Server, job: Job, cpu: Option<usize>) -> Result<Self> {
        Self::start_under(&[], server, job, cpu)
    }

    /// Starts a server under a tool whose last arguments are the command to run.
    pub fn start_under(
        tool: &[String],
        server: Server,
        job: Job,
        cpu: Option<usize>,
    ) -> Result<Self> {
        let mut words = tool.to_vec();
        words.push(std::env::current_exe()?.to_string_lossy().into_owned());
        words.extend(["serve".to_owned(), server.name()]);
        words.extend(job.deflate.then(|| "--deflate".to_owned()));
        words.extend(job.tls.then(|| "--tls".to_owned()));
        words.extend(job.fan_out.then(|| "--fan-out".to_owned()));
        words.extend(job.pings.map(|seconds| format!("--pings={seconds}")));
        words.extend(cpu.map(|cpu| format!("--cpu={cpu}")));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        if !tool.is_empty() {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let words_of_line: Vec<&str> = line.split_whitespace().collect();
        let &[_, addr, pid] = words_of_line.as_slice() else {
            let ended = child.wait()?;
            return Err(format!("{} did not start: {ended}", words.join(" ")).into());
        };
        let pid = Pid::from_raw(pid.parse()?).ok_or("the server printed no pid")?;
        Ok(Self { child, addr: addr.parse()?, encrypts: job.tls, pid })
    }

    /// The server as a target of load.
    pub fn target(&self) -> Result<Target> {
        let target = Target::from(self.addr);
        if self.encrypts { target.encrypted(false) } else { Ok(target) }
    }

    /// Terminates the server, and waits until its tool, if any, has written the report.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            kill_process(self.pid, Signal::TERM)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A destructor has no caller to report the error to.
        let _ = self.end();
    }
}
