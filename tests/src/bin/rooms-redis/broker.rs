//! The Redis server under test: [`Broker`].

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sockless::rooms::RedisBus;
use sockless::tokio::TokioRuntime;

use crate::hosts::LIMIT;

/// The state of the server after it was killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Kept,
    Lost,
}

/// A Redis server in a directory of its own.
pub(crate) struct Broker {
    program: PathBuf,
    dir: PathBuf,
    data: Data,
    port: u16,
    process: Option<Child>,
}

/// The program that the command line names.
pub(crate) fn program() -> io::Result<PathBuf> {
    std::env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Broker {
    pub(crate) fn new(program: PathBuf, data: Data) -> io::Result<Self> {
        let kind = if data == Data::Kept { "kept" } else { "lost" };
        let dir =
            std::env::temp_dir().join(format!("sockless-redis-{}-{kind}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Ok(Self { program, dir, data, port, process: None })
    }

    pub(crate) fn data(&self) -> Data {
        self.data
    }

    pub(crate) fn tcp_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn unix_url(&self) -> String {
        format!("redis+unix://{}", self.dir.join("redis.sock").display())
    }

    /// The bus of the campaign.
    pub(crate) fn bus(&self) -> io::Result<RedisBus> {
        let bus = RedisBus::new(&self.unix_url(), TokioRuntime).map_err(io::Error::other)?;
        Ok(if self.data == Data::Kept { bus.durable() } else { bus })
    }

    /// Starts the server, and returns once it accepts connections.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let socket = self.dir.join("redis.sock");
        let _ = fs::remove_file(&socket);
        let log = fs::File::create(self.dir.join("log"))?;
        let append_only = if self.data == Data::Kept { "yes" } else { "no" };
        let mut command = Command::new(&self.program);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""]);
        command.args(["--appendonly", append_only, "--dir"]).arg(&self.dir);
        command.arg("--unixsocket").arg(&socket);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let process = self.process.insert(process);
        let begun = Instant::now();
        let is_up = || UnixStream::connect(&socket).is_ok();
        while !(is_up() && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()) {
            if process.try_wait()?.is_some() || begun.elapsed() > LIMIT {
                let log = fs::read_to_string(self.dir.join("log"))?;
                return Err(io::Error::other(format!("redis-server did not start:\n{log}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends the server by SIGKILL, so that it does nothing any more.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
