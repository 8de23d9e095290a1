//! The demo server: a page that chats and echoes, at http://127.0.0.1:8080 or, with a certificate,
//! at https.

mod chat;
mod routes;
mod shards;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_signal::{Signal, Signals};
use clap::{Parser, ValueEnum};
use smol::stream::StreamExt;
use sockless::{Config, Deflate};
use sockless_driver::tls::{TlsAcceptor, TlsError};
use sockless_driver::{Server, ShutdownReport};

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

    /// Serves on N threads that share the address and no connection, each with a runtime of its
    /// own: on Linux and FreeBSD, with the runtime tokio.
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroUsize>,

    /// Serves https and wss, with the certificate chain in FILE (PEM); `kill -HUP` reads it again.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in FILE (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Compresses messages for clients that offer it, by an agreement like EXTENSION; `off` does not.
    #[arg(long, value_name = "EXTENSION", default_value = DEFLATE)]
    deflate: String,

    /// Logs what peers do wrong, and how sessions end.
    #[arg(long, short)]
    verbose: bool,
}

/// Nothing is remembered from one message to the next, so that idle connections hold nothing.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

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
    match (options.runtime, options.shards) {
        (RuntimeName::AsyncStd, None) => async_std::task::block_on(serve_on_async_std(&options)),
        (RuntimeName::Smol, None) => smol::block_on(serve_on_smol(&options)),
        (RuntimeName::Tokio, None) => serve_on_tokio(&options),
        (RuntimeName::Tokio, Some(count)) => serve_in_shards(&options, count),
        // One executor for the whole program.
        (_, Some(_)) => Err(io::Error::other("--shards needs --runtime tokio")),
    }
}

async fn serve_on_async_std(options: &Options) -> io::Result<()> {
    serve(sockless_async_std::bind(&options.listen).await?, options, next_interrupt()).await
}

async fn serve_on_smol(options: &Options) -> io::Result<()> {
    serve(sockless_smol::bind(&options.listen).await?, options, next_interrupt()).await
}

#[tokio::main]
async fn serve_on_tokio(options: &Options) -> io::Result<()> {
    serve(sockless_tokio::bind(&options.listen).await?, options, tokio::signal::ctrl_c()).await
}

fn serve_in_shards(options: &Options, count: NonZeroUsize) -> io::Result<()> {
    let certificate = options.certificate().map_err(io::Error::other)?;
    let mut shards = shards::bind(&options.listen, count)?;
    if let Some(certificate) = &certificate {
        shards = shards.tls(&certificate.acceptor);
    }
    announce_listening(shards.local_addr(), certificate.as_ref())?;
    let router = routes::router(options.config()?);
    let shutdown = until(next_interrupt(), certificate);
    announce_shutdown(shards.serve_until(&router, shutdown))
}

/// Serves until Ctrl-C.
async fn serve(
    mut server: Server,
    options: &Options,
    ctrl_c: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let certificate = options.certificate().map_err(io::Error::other)?;
    if let Some(certificate) = &certificate {
        server = server.tls(certificate.acceptor.clone());
    }
    announce_listening(server.local_addr(), certificate.as_ref())?;
    let router = routes::router(options.config()?);
    announce_shutdown(server.serve_until(router, until(ctrl_c, certificate)).await)
}

/// Waits for Ctrl-C, and reads the certificate again when it has changed meanwhile.
async fn until(ctrl_c: impl Future<Output = io::Result<()>>, certificate: Option<Certificate<'_>>) {
    let shutdown = async {
        if let Err(error) = ctrl_c.await {
            tracing::error!(%error, "Ctrl-C cannot be waited for");
            std::future::pending::<()>().await;
        }
    };
    let reloading = async {
        if let Some(certificate) = certificate {
            certificate.reload_on_hangup().await;
        }
        std::future::pending::<()>().await;
    };
    smol::future::or(shutdown, reloading).await;
}

fn announce_listening(
    addr: Option<SocketAddr>,
    certificate: Option<&Certificate<'_>>,
) -> io::Result<()> {
    let scheme = if certificate.is_some() { "https" } else { "http" };
    addr.map_or(Ok(()), |addr| announce(&format!("listening on {scheme}://{addr}")))
}

fn announce_shutdown(report: ShutdownReport) -> io::Result<()> {
    announce(&format!(
        "shut down: {} connections ended, {} were terminated",
        report.drained, report.terminated
    ))
}

/// What the server shows to those who come by TLS, and where it was read.
struct Certificate<'a> {
    acceptor: TlsAcceptor,
    chain: &'a Path,
    key: &'a Path,
}

impl Options {
    /// What holds for every route.
    fn config(&self) -> io::Result<Config> {
        let config =
            Config::default().ping_interval(Duration::from_secs(30)).max_message_len(16 << 20);
        if self.deflate == "off" {
            return Ok(config);
        }
        let deflate: Deflate = self.deflate.parse().map_err(io::Error::other)?;
        Ok(config.extension(deflate))
    }

    fn certificate(&self) -> Result<Option<Certificate<'_>>, TlsError> {
        let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let acceptor = TlsAcceptor::from_pem_files(chain, key)?;
        Ok(Some(Certificate { acceptor, chain, key }))
    }
}

impl Certificate<'_> {
    /// Reads the files again each time that the program is told to by SIGHUP: connections that are
    /// there keep their certificate, new ones get the new.
    #[cfg(unix)]
    async fn reload_on_hangup(&self) {
        let mut hangups = match Signals::new([Signal::Hup]) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(%error, "SIGHUP cannot be waited for"),
        };
        while let Some(Ok(_)) = hangups.next().await {
            match self.acceptor.reload_pem_files(self.chain, self.key) {
                Ok(()) => tracing::warn!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "the certificate stays the old one"),
            }
        }
    }

    #[cfg(not(unix))]
    async fn reload_on_hangup(&self) {
        let Self { chain: _, key: _, .. } = self;
    }
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
