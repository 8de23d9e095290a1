//! The NATS server under test: [`Broker`].

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sockless::rooms::NatsBus;

use crate::hosts::LIMIT;

/// What the server has after it was killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Kept,
    Lost,
}

/// A NATS server in a directory of its own.
pub(crate) struct Broker {
    program: PathBuf,
    dir: PathBuf,
    data: Data,
    /// The directory with its certificate, if it requires TLS.
    certificates: Option<PathBuf>,
    /// The same one each time it is started, once the server has chosen it.
    port: Option<u16>,
    process: Option<Child>,
}

impl Broker {
    pub(crate) fn new(program: PathBuf, data: Data) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sockless-nats-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir)?;
        Ok(Self { program, dir, data, certificates: None, port: None, process: None })
    }

    /// Lets it require TLS, with a certificate for `localhost`.
    pub(crate) fn with_tls(mut self, certificates: &Path) -> Self {
        self.certificates = Some(certificates.to_owned());
        self
    }

    pub(crate) fn data(&self) -> Data {
        self.data
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://localhost:{}", self.port.unwrap_or_default())
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.unwrap_or_default()).into()
    }

    /// The bus of the campaign.
    pub(crate) fn bus(&self) -> io::Result<NatsBus> {
        let bus = NatsBus::new(&self.url()).map_err(io::Error::other)?;
        Ok(if self.data == Data::Kept { bus.durable() } else { bus })
    }

    /// Starts the server, and returns once it accepts connections.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let log = fs::File::create(self.dir.join("log"))?;
        let port = self.port.map_or("-1".to_owned(), |port| port.to_string());
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir"]);
        command.arg(self.dir.join("store")).arg("--ports_file_dir").arg(&self.dir);
        if let Some(certificates) = &self.certificates {
            command.arg("--tls").arg("--tlscert").arg(certificates.join("cert.pem"));
            command.arg("--tlskey").arg(certificates.join("key.pem"));
        }
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let id = process.id();
        let process = self.process.insert(process);
        let begun = Instant::now();
        loop {
            if let Some(port) = ports(&self.dir, id) {
                self.port = Some(port);
                return Ok(());
            }
            if process.try_wait()?.is_some() || begun.elapsed() > LIMIT {
                let log = fs::read_to_string(self.dir.join("log"))?;
                return Err(io::Error::other(format!("nats-server did not start:\n{log}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the server by SIGKILL, so that it does nothing any more.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The port in the file that the server writes once it accepts connections: `NAME_ID.ports`.
fn ports(dir: &Path, id: u32) -> Option<u16> {
    let end = format!("_{id}.ports");
    let mut entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let file = entries.find(|entry| entry.file_name().to_string_lossy().ends_with(&end))?;
    let text = fs::read_to_string(file.path()).ok()?;
    let (_, rest) = text.split_once("://127.0.0.1:")?;
    let (port, _) = rest.split_once('"')?;
    port.parse().ok()
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
