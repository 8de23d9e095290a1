//! The servers: what each is called, what it can do, and how one of them is run.

mod epoll;
pub mod limits;
mod ours;
#[cfg_attr(not(feature = "peers"), path = "no_peers.rs")]
mod peers;

use std::future::Future;
use std::net::SocketAddr;
use std::process;

use clap::{Args, ValueEnum};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};

use crate::{Result, cpu};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// tokio; writes back what it read, mask and all: no WebSocket at all after the handshake.
    Raw,
    /// As `raw`, without a buffer for each connection: one of the thread, read into when there is something.
    RawShared,
    /// The least that an echo of messages can do on tokio: parse, unmask in place, one write for each read.
    Limit,
    /// Ours: a router and an `async fn(Session)`.
    Sockless,
    /// Ours without a runtime: the core in the loop of `examples/src/epoll`.
    SocklessEpoll,
    /// tokio-tungstenite, `send` for each message.
    Tungstenite,
    /// tokio-tungstenite with a read buffer of 8 KiB: `feed`, and `flush` when no message is ready.
    TungsteniteBatch,
    /// fastwebsockets on the bare stream, a write for each message: it has no other way.
    Fastwebsockets,
    /// tokio-websockets, `send` for each message.
    TokioWebsockets,
    /// tokio-websockets: all messages that are ready (at most 64) are taken, answered and flushed.
    TokioWebsocketsBatch,
    /// soketto, a flush for each message.
    Soketto,
    /// yawc, `send` for each message.
    Yawc,
    /// yawc with the settings of its own benchmark: at most 32 ready messages are taken, answered and flushed.
    YawcBatch,
    /// yawc as its documentation has it for many idle connections: buffers of 1 KiB, and a pool where it compresses.
    YawcSmall,
    /// axum's `ws`, `send` for each message.
    Axum,
}

/// What a server is to do.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Messages are compressed: permessage-deflate, without context takeover.
    #[arg(long)]
    pub deflate: bool,
    /// Who sends a message sends it to all that are connected, itself among them, rather than only to itself.
    #[arg(long)]
    pub fan_out: bool,
}

impl Server {
    /// As the command line has it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it is somebody else's: neither a limit nor ours.
    pub fn is_peer(self) -> bool {
        !self.is_ours() && !matches!(self, Self::Raw | Self::RawShared | Self::Limit)
    }

    /// Whether it is ours.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Sockless | Self::SocklessEpoll)
    }

    /// Whether it has a way to do that.
    pub fn can(self, job: Job) -> bool {
        // soketto can compress, but not in one build with the others.
        let deflates =
            self.is_ours() || matches!(self, Self::Yawc | Self::YawcBatch | Self::YawcSmall);
        // Its handler knows its own connection only; bytes that are written back as they came go nowhere else.
        let fans_out = !matches!(self, Self::Raw | Self::RawShared | Self::SocklessEpoll);
        (deflates || !job.deflate) && (fans_out || !job.fan_out)
    }

    /// Those that were named, or all; and of these the ones that can do the job. Says whom it leaves out.
    pub fn chosen(named: &[Self], job: Job) -> Vec<Self> {
        let named = if named.is_empty() { Self::compiled() } else { named.to_vec() };
        let (can, cannot): (Vec<_>, Vec<_>) = named.into_iter().partition(|it| it.can(job));
        if !cannot.is_empty() {
            let names: Vec<_> = cannot.into_iter().map(Self::name).collect();
            println!("left out, for they have no way to do this: {}\n", names.join(", "));
        }
        can
    }

    fn compiled() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|server| cfg!(feature = "peers") || !server.is_peer()).collect()
    }
}

/// `serve`
#[derive(Args)]
pub struct Options {
    /// Which server.
    server: Server,
    #[command(flatten)]
    job: Job,
    /// Where to listen; with port 0 the system picks one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Stay on this CPU.
    #[arg(long)]
    cpu: Option<usize>,
    /// Threads of the runtime; one is tokio's runtime of the current thread.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Runs one server for ever.
pub fn serve(options: &Options) -> Result<()> {
    let Options { server, job, listen, .. } = *options;
    if !server.can(job) {
        return Err(format!("{} has no way to do this", server.name()).into());
    }
    if let Some(cpu) = options.cpu {
        cpu::pin(cpu)?;
    }
    cpu::raise_open_files()?;
    let announce = |addr| println!("{} {addr} {}", server.name(), process::id());
    if server == Server::SocklessEpoll {
        return epoll::serve(listen, job, announce);
    }
    let runtime = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        announce(listener.local_addr()?);
        run(server, job, listener).await
    })
}

async fn run(server: Server, job: Job, listener: TcpListener) -> Result<()> {
    match server {
        Server::Raw => accept(listener, limits::raw).await,
        Server::RawShared => accept(listener, limits::raw_shared).await,
        Server::Limit if job.fan_out => limits::serve_fan_out(listener).await,
        Server::Limit => accept(listener, limits::limit).await,
        Server::Sockless => ours::serve(listener, job).await,
        peer => peers::serve(peer, job, listener).await,
    }
}

/// A task for each connection. How one ends is nobody's business here: the load generator notices.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                stream.set_nodelay(true)?;
                let serving = serve(stream);
                tokio::spawn(async move { drop(serving.await) });
            }
            // Out of file descriptors: the next may find one.
            Err(error) if error.kind() == io::ErrorKind::Other => tokio::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    }
}
