//! The echo servers: what each is called, and how one of them is run.

pub mod limits;
mod ours;
mod peers;

use std::future::Future;
use std::net::SocketAddr;
use std::process;

use clap::{Args, ValueEnum};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};

use crate::{Result, cpu};

/// An echo server.
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
    /// axum's `ws`, `send` for each message.
    Axum,
}

impl Server {
    /// All of them, the limits first.
    pub const ALL: &[Self] = &[
        Self::Raw,
        Self::RawShared,
        Self::Limit,
        Self::Sockless,
        Self::Tungstenite,
        Self::TungsteniteBatch,
        Self::Fastwebsockets,
        Self::TokioWebsockets,
        Self::TokioWebsocketsBatch,
        Self::Soketto,
        Self::Yawc,
        Self::YawcBatch,
        Self::Axum,
    ];

    /// As the command line has it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it is somebody else's: neither a limit nor ours.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Raw | Self::RawShared | Self::Limit | Self::Sockless)
    }
}

/// `serve`
#[derive(Args)]
pub struct Options {
    /// Which server.
    server: Server,
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
    if let Some(cpu) = options.cpu {
        cpu::pin(cpu)?;
    }
    cpu::raise_open_files()?;
    let runtime = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        let pid = process::id();
        println!("{} {} {pid}", options.server.name(), listener.local_addr()?);
        run(options.server, listener).await
    })
}

async fn run(server: Server, listener: TcpListener) -> Result<()> {
    match server {
        Server::Raw => accept(listener, limits::raw).await,
        Server::RawShared => accept(listener, limits::raw_shared).await,
        Server::Limit => accept(listener, limits::limit).await,
        Server::Sockless => ours::serve(listener).await,
        Server::Tungstenite => accept(listener, peers::tungstenite).await,
        Server::TungsteniteBatch => accept(listener, peers::tungstenite_batch).await,
        Server::Fastwebsockets => accept(listener, peers::fastwebsockets).await,
        Server::TokioWebsockets => accept(listener, peers::tokio_websockets).await,
        Server::TokioWebsocketsBatch => accept(listener, peers::tokio_websockets_batch).await,
        Server::Soketto => accept(listener, peers::soketto).await,
        Server::Yawc => accept(listener, peers::yawc).await,
        Server::YawcBatch => accept(listener, peers::yawc_batch).await,
        Server::Axum => peers::axum(listener).await,
    }
}

/// A task for each connection. How one ends is nobody's business here: the load generator notices.
async fn accept<F>(listener: TcpListener, echo: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                stream.set_nodelay(true)?;
                let echoing = echo(stream);
                tokio::spawn(async move { drop(echoing.await) });
            }
            // Out of file descriptors: the next may find one.
            Err(error) if error.kind() == io::ErrorKind::Other => tokio::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    }
}
