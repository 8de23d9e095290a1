//! The demo server: a page that chats and echoes, at http://127.0.0.1:8080.

mod chat;
mod routes;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use async_signal::{Signal, Signals};
use clap::{Parser, ValueEnum};
use smol::stream::StreamExt;
use sockless_driver::Server;

/// A server that chats and echoes over WebSockets.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; with port 0 the system picks one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,

    /// The runtime to serve on.
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    runtime: RuntimeName,

    /// Logs what peers do wrong, and how sessions end.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RuntimeName {
    AsyncStd,
    Smol,
    Tokio,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let level = if options.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).init();
    match options.runtime {
        RuntimeName::AsyncStd => async_std::task::block_on(serve_on_async_std(&options.listen)),
        RuntimeName::Smol => smol::block_on(serve_on_smol(&options.listen)),
        RuntimeName::Tokio => serve_on_tokio(&options.listen),
    }
}

async fn serve_on_async_std(listen: &str) -> io::Result<()> {
    serve(sockless_async_std::bind(listen).await?, next_interrupt()).await
}

async fn serve_on_smol(listen: &str) -> io::Result<()> {
    serve(sockless_smol::bind(listen).await?, next_interrupt()).await
}

#[tokio::main]
async fn serve_on_tokio(listen: &str) -> io::Result<()> {
    serve(sockless_tokio::bind(listen).await?, tokio::signal::ctrl_c()).await
}

/// Serves until Ctrl-C.
async fn serve(server: Server, ctrl_c: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    if let Some(addr) = server.local_addr() {
        announce(&format!("listening on http://{addr}"))?;
    }
    let shutdown = async {
        if let Err(error) = ctrl_c.await {
            tracing::error!(%error, "Ctrl-C cannot be waited for");
            std::future::pending::<()>().await;
        }
    };
    let report = server.serve_until(routes::router(), shutdown).await;
    announce(&format!(
        "shut down: {} connections ended, {} were terminated",
        report.drained, report.terminated
    ))
}

/// Ctrl-C for runtimes that have no signals of their own.
async fn next_interrupt() -> io::Result<()> {
    let mut signals = Signals::new([Signal::Int])?;
    signals.next().await.map_or(Ok(()), |signal| signal.map(drop))
}

/// Prints a line at once: whoever started the server may be waiting for it in a pipe.
fn announce(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
