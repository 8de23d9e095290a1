//! The servers: their names, their capabilities, and running one of them.

mod epoll;
pub mod limits;
mod ours;
#[cfg_attr(not(feature = "peers"), path = "no_peers.rs")]
mod peers;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::process;

use clap::{Args, ValueEnum};
use tokio::io::{self, AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Result, cpu};
use tls::{Encrypted, Listener};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// tokio; writes back the bytes that it read, still masked: not a WebSocket server after the handshake.
    Raw,
    /// As `raw`, with one read buffer for the thread instead of one for each connection.
    RawShared,
    /// The minimal echo of messages on tokio: parse, unmask in place, one write for each read.
    Limit,
    /// Ours: a router and an `async fn(Session)`.
    Sockless,
    /// Ours without a router: a `Service` that accepts all requests.
    SocklessBare,
    /// Ours with a router that checks the origin, and has a guard and a value of state.
    SocklessGuarded,
    /// Ours without a runtime: the core in the loop of `examples/src/epoll`.
    SocklessEpoll,
    /// tokio-tungstenite, `send` for each message.
    Tungstenite,
    /// tokio-tungstenite with a read buffer of 8 KiB: `feed`, and `flush` when no message is ready.
    TungsteniteBatch,
    /// fastwebsockets on the bare stream, a write for each message, its only mode.
    Fastwebsockets,
    /// tokio-websockets, `send` for each message.
    TokioWebsockets,
    /// tokio-websockets: all messages that are ready (at most 64) are received, answered and flushed together.
    TokioWebsocketsBatch,
    /// soketto, a flush for each message.
    Soketto,
    /// yawc, `send` for each message.
    Yawc,
    /// yawc with the settings of its own benchmark: at most 32 ready messages are received, answered and flushed together.
    YawcBatch,
    /// yawc as documented for many idle connections: buffers of 1 KiB, and a pool of compressors.
    YawcSmall,
    /// axum's `ws`, `send` for each message.
    Axum,
}

/// A connection, plain or encrypted.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for S {}

/// The task of a server.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Compresses messages by permessage-deflate, without context takeover.
    #[arg(long)]
    pub deflate: bool,
    /// Sends each message to all connections, including its sender, instead of only to its sender.
    #[arg(long)]
    pub fan_out: bool,
    /// Encrypts the connections, with one config of rustls for all servers.
    #[arg(long)]
    pub tls: bool,
    /// Seconds between two pings on a connection.
    #[arg(skip)]
    pub pings: Option<u64>,
}

impl Server {
    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// True for the servers of other libraries: neither a limit nor ours.
    pub fn is_peer(self) -> bool {
        !self.is_ours() && !matches!(self, Self::Raw | Self::RawShared | Self::Limit)
    }

    /// True for the servers on sockless.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Sockless | Self::SocklessBare | Self::SocklessGuarded | Self::SocklessEpoll
        )
    }

    /// True if the server can do `job`.
    pub fn can(self, job: Job) -> bool {
        // soketto's compression cannot be in one build with the others'.
        let deflates =
            self.is_ours() || matches!(self, Self::Yawc | Self::YawcBatch | Self::YawcSmall);
        // The raw servers do not parse frames, and the handler of the epoll loop has access to its own connection only.
        let fans_out = !matches!(
            self,
            Self::Raw
                | Self::RawShared
                | Self::SocklessBare
                | Self::SocklessGuarded
                | Self::SocklessEpoll
        );
        let pings = matches!(self, Self::Sockless | Self::SocklessBare | Self::SocklessGuarded);
        let encrypts = if job.fan_out {
            self == Self::Sockless
        } else {
            // axum's `serve` has no TLS of its own, and the others read from sockets.
            !matches!(self, Self::RawShared | Self::SocklessEpoll | Self::Axum)
        };
        (deflates || !job.deflate)
            && (fans_out || !job.fan_out)
            && (pings || job.pings.is_none())
            && (encrypts || !job.tls)
    }

    /// Those of the named servers, or of all, that can do the job. Prints the names of the others.
    pub fn chosen(named: &[Self], job: Job) -> Vec<Self> {
        let named = if named.is_empty() { Self::compiled() } else { named.to_vec() };
        let (can, cannot): (Vec<_>, Vec<_>) = named.into_iter().partition(|it| it.can(job));
        if !cannot.is_empty() {
            let names: Vec<_> = cannot.into_iter().map(Self::name).collect();
            println!("without the servers that do not support this: {}\n", names.join(", "));
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
    /// The server to run.
    server: Server,
    #[command(flatten)]
    job: Job,
    /// Sends a ping on each connection each time so many seconds have passed.
    #[arg(long)]
    pings: Option<u64>,
    /// The address to listen on; with port 0 the system picks one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The CPU to run on.
    #[arg(long)]
    cpu: Option<usize>,
    /// Threads of the runtime; 1 is tokio's current-thread runtime.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Runs one server until the process is terminated.
pub fn serve(options: &Options) -> Result<()> {
    let Options { server, listen, pings, .. } = *options;
    let job = Job { pings, ..options.job };
    if !server.can(job) {
        let name = server.name();
        return Err(format!(
            "{name} does not support --deflate, --fan-out, --tls or --pings as given"
        )
        .into());
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
        let acceptor = job.tls.then(tls::config).transpose()?.map(TlsAcceptor::from);
        let listener = Listener { tcp: TcpListener::bind(listen).await?, acceptor };
        announce(listener.tcp.local_addr()?);
        run(server, job, listener).await
    })
}

/// Serves each connection by a function of any stream, which is compiled for plain and for encrypted ones.
macro_rules! serve_each {
    ($listener:expr, $serve:expr) => {
        match $listener {
            Listener { tcp, acceptor: None } => accept(tcp, $serve).await,
            Listener { tcp, acceptor: Some(tls) } => accept_encrypted(tcp, tls, $serve).await,
        }
    };
}
use serve_each;

async fn run(server: Server, job: Job, listener: Listener) -> Result<()> {
    match server {
        Server::Raw => serve_each!(listener, limits::raw),
        Server::RawShared => accept(listener.plain()?, limits::raw_shared).await,
        Server::Limit if job.fan_out => limits::serve_fan_out(listener.plain()?).await,
        Server::Limit => serve_each!(listener, limits::limit),
        Server::Sockless => ours::serve(listener, job).await,
        Server::SocklessBare => ours::serve_bare(listener, job).await,
        Server::SocklessGuarded => ours::serve_guarded(listener, job).await,
        peer => peers::serve(peer, job, listener).await,
    }
}

/// Spawns a task for each connection. Errors of a connection are ignored here: the load generator reports them.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future + Send + 'static,
{
    loop {
        let Some(stream) = next(&listener).await? else { continue };
        let serving = serve(stream);
        tokio::spawn(async move { drop(serving.await) });
    }
}

/// Spawns a task for each connection, which begins with the TLS handshake.
async fn accept_encrypted<F>(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    serve: impl Fn(Encrypted) -> F + Clone + Send + 'static,
) -> Result<()>
where
    F: Future + Send + 'static,
{
    loop {
        let Some(stream) = next(&listener).await? else { continue };
        let (accepting, serve) = (acceptor.accept(stream), serve.clone());
        tokio::spawn(async move {
            if let Ok(stream) = accepting.await {
                drop(serve(stream).await);
            }
        });
    }
}

/// The next connection; `None` if no file descriptor is free: one may be later.
async fn next(listener: &TcpListener) -> Result<Option<TcpStream>> {
    match listener.accept().await {
        Ok((stream, _)) => {
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == io::ErrorKind::Other => {
            tokio::task::yield_now().await;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
